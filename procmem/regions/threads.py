"""The threads of a process, and their stacks."""

from __future__ import annotations

from typing import NamedTuple

from procmem import errors

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from typing import Any

    from procmem.procfs import ProcessFiles
    from procmem.regions import Region, RegionTable

__all__ = ["Thread", "stack_pointer", "threads_of"]

TRIES = 3
"""How often a thread is read: the kernel shows its stack pointer only while it is blocked."""


class Thread(NamedTuple):
    """A thread of a process.

    Attributes:
        tid: the thread's ID; that of the main thread is the PID.
        name: its command name (comm), at most 15 bytes.
        stack: the region that its stack pointer points into; None if the thread is running,
            or this user may not read it.
        stack_pointer: an address; None in the same cases.
        arena: the address of the first heap of the malloc arena that the thread allocates from;
            None: it has no arena of its own, or that is not known. It is set in snapshots of
            programs that use glibc.

    Source: proc_pid_task(5), proc_pid_comm(5), proc_pid_syscall(5).
    """

    tid: int
    name: str
    stack: Region | None
    stack_pointer: int | None
    arena: int | None = None


def threads_of(files: ProcessFiles, table: RegionTable[Any]) -> list[Thread]:
    """The threads of a process; the stacks' regions are those of `table`.

    Raises:
        NoSuchProcess, ZombieProcess, ProcessChanged: the process has ended meanwhile.
        AccessDenied: this user may not list its threads.
    """
    found = []
    missed = False
    for tid in files.thread_ids():
        try:
            name = files.read(f"task/{tid}/comm").rstrip(b"\n").decode("utf-8", "surrogateescape")
            pointer = stack_pointer(files, tid)
        except (errors.NoSuchProcess, errors.Unsupported):
            missed = True
            continue
        region = None if pointer is None else table.find(pointer)
        found.append(Thread(tid, name, region, pointer))
    if missed:
        # Has a thread ended, or the whole process?
        files.check_running()
    return found


def stack_pointer(files: ProcessFiles, tid: int) -> int | None:
    """The stack pointer of a blocked thread; None: it is running, or this user may not read it."""
    for _ in range(TRIES):
        try:
            fields = files.read(f"task/{tid}/syscall").split()
        except (errors.AccessDenied, ProcessLookupError):
            return None
        if len(fields) >= 3:
            return int(fields[-2], 16) or None
    return None
