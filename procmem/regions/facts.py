"""Facts about a process beside its regions, on which kinds and uses rest."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.regions.kinds import RegionKind

__all__ = ["Facts", "Stack"]


class Stack(NamedTuple):
    """The stack of a thread, or of one that has ended.

    Attributes:
        tid: the thread's ID; 0: it has ended.
        pointer: its stack pointer; None: not shown, since the thread runs.
        descriptor: an address inside its descriptor, which the C library puts at the top of
            the stack; None: there is none.
        start, end: of the block that the C library mapped for it, guard and all; None: not known.
        guard: bytes of guard at the start of the block.
        marked: whether the guard consists of marks in the page table (MADV_GUARD_INSTALL).
    """

    tid: int
    pointer: int | None = None
    descriptor: int | None = None
    start: int | None = None
    end: int | None = None
    guard: int = 0
    marked: bool = False


class Facts:
    """Facts from threads, memory and ELF files.

    Attributes:
        main: the ID of the first thread, whose stack is [stack].
        stacks: of the threads that live.
        ended: stacks of threads that have ended, known by their descriptors.
        all_located: whether each thread but the first has its stack in `stacks`.
        heaps: malloc heaps of arenas that were checked (heap_info of glibc), by address: the bytes
            that are writable.
        memory_read: whether memory could be read, so that what is not in `heaps` is none.
        unread: addresses where a heap may be, and whose page is not resident.
        headers: by start of the region what ELF headers say: its kind, the file's name, and the
            start of the file's first region.
        objects: names of the files whose headers were read.
        programs: what the ELF files contain, such as "go", with what says so.
        go_heap: address and size of the state of the Go runtime's heap (runtime.mheap_).
        checked: uses by start of the region that were checked in memory, with what says so.
    """

    def __init__(self, main: int = 0) -> None:
        self.main = main
        self.stacks: list[Stack] = []
        self.ended: list[Stack] = []
        self.all_located = False
        self.heaps: dict[int, int] = {}
        self.memory_read = False
        self.unread: set[int] = set()
        self.headers: dict[int, tuple[RegionKind, str, int]] = {}
        self.objects: set[str] = set()
        self.programs: dict[str, str] = {}
        self.go_heap: tuple[int, int] | None = None
        self.checked: dict[int, tuple[str, str]] = {}
