"""The memory of the whole machine: all processes, control groups, the page cache."""
