"""The memory of the whole system: all processes, control groups, the page cache."""
