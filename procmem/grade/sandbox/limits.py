"""What a program may use."""

from __future__ import annotations

from dataclasses import dataclass

from procmem.units import MiB

__all__ = ["BUILDING", "RUNNING", "Limits"]


@dataclass(frozen=True)
class Limits:
    """What a sandboxed program may use; sizes in bytes, times in seconds.

    Attributes:
        cpu: CPU time of each process; whole seconds, rounded up (RLIMIT_CPU).
        wall: seconds from its start, without those in which it waited for the grader, or
            (for a single process, up to nine times the limit) for a CPU.
        processes: the number of processes and threads at a time.
        descriptors: the number of open files of each process (RLIMIT_NOFILE).
        file_size: the size of each file that it writes (RLIMIT_FSIZE).
        disk: the size of all files in its directory together.
        files: the number of files there.
        output: the length of what it prints.
        memory: the memory of all its processes together, limited by a cgroup if possible,
            otherwise measured. The address space is never limited, because that would
            change what is measured.
    """

    cpu: float = 10
    wall: float = 30
    processes: int = 128
    descriptors: int = 256
    file_size: int = 256 * MiB
    disk: int = 512 * MiB
    files: int = 10_000
    output: int = MiB
    memory: int = 1024 * MiB


RUNNING = Limits()
"""The default for a program."""

BUILDING = Limits(cpu=60, wall=120, processes=256)
"""The default for a build."""
