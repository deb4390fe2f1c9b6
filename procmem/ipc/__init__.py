"""Pipes, shared memory and locks between processes: who holds what, who waits for whom."""
