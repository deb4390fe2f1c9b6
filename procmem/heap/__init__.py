"""What malloc and Python hold inside the heap of another process, read without touching it."""
