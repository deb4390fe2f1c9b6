"""Tracing: the memory calls of a program, recorded as it makes them."""
