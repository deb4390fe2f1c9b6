"""What malloc and Python have allocated in another process, read without changing its memory."""
