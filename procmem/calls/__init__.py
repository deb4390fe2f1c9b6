"""Calls of this process on its own memory."""
