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
        wall: seconds from its start, those left out in which it waited for the grader, or
            (a single process, up to nine times as many) for a CPU.
        processes: processes and threads at a time.
        descriptors: open files of each process (RLIMIT_NOFILE).
        file_size: of each file that it writes (RLIMIT_FSIZE).
        disk: what lies in its directory, all together.
        files: how many files lie there.
        output: what it prints.
        memory: of all its processes: by a cgroup where there can be one, else by looking. The
            address space is never limited, since that would change what is measured.
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
"""For a program, if not told otherwise."""

BUILDING = Limits(cpu=60, wall=120, processes=256)
"""For building, if not told otherwise."""
