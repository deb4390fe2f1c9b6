"""Recordings: snapshots of a live process at intervals, and what grew in them."""
