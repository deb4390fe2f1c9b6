"""Runs of a submitted program: built, started, paused, measured, ended."""
