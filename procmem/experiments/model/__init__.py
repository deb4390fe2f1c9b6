"""The model: what the kernel and glibc do to an address space, computed without measuring."""
