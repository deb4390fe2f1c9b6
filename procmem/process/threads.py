"""Threads and where their stacks lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem.moments.usage import Thread

if TYPE_CHECKING:
    from typing import Any

    from procmem.procfs import ProcessFiles
    from procmem.regions import RegionTable

__all__ = ["label_stacks", "threads_of"]

LOOKS = 3
"""A thread shows its stack pointer only when it waits: one that runs is looked at again."""


def threads_of(files: ProcessFiles, table: RegionTable[Any]) -> list[Thread]:
    """The threads of a process; the stacks' regions are those of `table`."""
    from procmem.errors import NoSuchProcess, Unsupported

    found = []
    missed = False
    for tid in files.thread_ids():
        try:
            name = files.read(f"task/{tid}/comm").rstrip(b"\n").decode("utf-8", "surrogateescape")
            pointer = stack_pointer(files, tid)
        except (NoSuchProcess, Unsupported):
            missed = True
            continue
        region = None if pointer is None else table.find(pointer)
        found.append(Thread(tid, name, region, pointer))
    if missed:
        # Has a thread ended, or the whole process?
        files.check_running()
    label_stacks(table, found)
    return found


def stack_pointer(files: ProcessFiles, tid: int) -> int | None:
    from procmem.errors import AccessDenied

    for _ in range(LOOKS):
        try:
            fields = files.read(f"task/{tid}/syscall").split()
        except (AccessDenied, ProcessLookupError):
            return None
        if len(fields) >= 3:
            return int(fields[-2], 16) or None
    return None


def label_stacks(table: RegionTable[Any], threads: list[Thread]) -> None:
    """Names the stacks of threads that were seen in them, in the table's own kinds."""
    named = [t for t in threads if t.stack is not None and t.stack.raw_pathname != b"[stack]"]
    if not named:
        return
    # Its patterns take a millisecond to compile, which not every user of Process needs.
    from procmem.regions.kinds import Kind, RegionKind

    block = table._block
    table[0].kind  # noqa: B018 - tells all kinds, which are then corrected
    kinds = list(block.kinds or ())
    for thread in named:
        region = thread.stack
        if region is None or kinds[region._index].kind is RegionKind.STACK:
            continue
        if kinds[region._index].kind in (RegionKind.ANON, RegionKind.THREAD_STACK, RegionKind.BSS):
            kinds[region._index] = Kind(
                RegionKind.THREAD_STACK, None, "stack pointer", f"stack of thread {thread.tid}"
            )
    block.kinds = kinds
