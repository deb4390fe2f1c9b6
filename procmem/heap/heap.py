"""Heap: the memory of a process's allocators, in use and free, as far as it can be read."""

from __future__ import annotations

from procmem.heap.arena import HeapSize

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from matplotlib.axes import Axes

    from procmem.heap.arena import HeapArena, Trim
    from procmem.heap.mapped import MappedChunk
    from procmem.heap.others import OtherAllocator
    from procmem.heap.parts import HeapPart
    from procmem.heap.pinned import HeapPages
    from procmem.heap.python import PythonHeap

__all__ = ["Heap"]


ARENA_PARTS = (
    ("in_use", "in use", "heap"),
    ("tcache", "caches of threads", "arena"),
    ("fast", "fast bins", "code"),
    ("free", "free", "reserved"),
    ("top", "free at the end", "other"),
)
"""The parts of an arena, which make up what it has from the kernel: name, words and colour."""


class Heap:
    """What malloc and Python have allocated in a process, read from its resident memory.

    The sums are those of the arenas. They include neither large allocations, each of which malloc
    makes a mapping of its own (`mmapped`), nor memory that the program mapped itself.

    Attributes:
        allocator: which allocator serves malloc: "glibc malloc", "musl malloc", "jemalloc",
            "tcmalloc", "mimalloc", "AddressSanitizer"...; "Go runtime" in a program without malloc;
            None: not known. Only arenas of glibc's malloc are read from inside.
        arenas: the arenas of glibc's malloc, the main arena first.
        mmapped: bytes of allocations that are mappings of their own; None: not known. If not all
            were found, as malloc counts them (mallinfo(3)); but the malloc of glibc 2.43 adds 16
            bytes too many with each realloc(3) of one, and after 256 this can't be seen.
        mmaps: the number of these; None: not known.
        mmap_threshold: the size in bytes from which malloc makes an allocation that does not fit
            into free memory a mapping of its own (M_MMAP_THRESHOLD, mallopt(3)): it changes when
            such an allocation is freed; None: not known, or several C libraries have their own.
        mapped: these, as far as they were found, the largest first.
        python: the memory of CPython's allocator for small objects; None: no CPython 3 was
            found in the process.
        others: what other allocators and runtimes have in their regions, which are not read from
            inside.
        parts: what the process's memory consists of. The sizes add up to VSZ, the resident bytes to
            RSS, but for a difference of `unexplained`.
        pages: how much of each resident page is in use; None: not asked for.
        certain: whether all data structures are consistent, and none changed during the reading.
        doubts: what was inconsistent or changed, a phrase each.
        held: for how many seconds the process was stopped for the reading; None: it was not.
        pid: the process's ID.
        rss: its VmRSS in bytes when the heap was read; None: not known.
    """

    def __init__(
        self,
        arenas: Sequence[HeapArena],
        *,
        allocator: str | None = None,
        mmapped: int | None,
        mmaps: int | None,
        mmap_threshold: int | None = None,
        mapped: Sequence[MappedChunk] = (),
        python: PythonHeap | None,
        parts: Sequence[HeapPart] = (),
        pages: HeapPages | None = None,
        doubts: Sequence[str],
        trim: Trim,
        sizes: Mapping[int, tuple[int, int]],
        pid: int,
        rss: int | None,
    ) -> None:
        self.pid = pid
        self.rss = rss
        self.arenas = tuple(arenas)
        self.allocator = allocator or ("glibc malloc" if arenas else None)
        self.mmapped = mmapped
        self.mmaps = mmaps
        self.mmap_threshold = mmap_threshold
        self.mapped = tuple(mapped)
        self.python = python
        self.others: tuple[OtherAllocator, ...] = ()
        self.parts = tuple(parts)
        self.pages = pages
        self.doubts = tuple(doubts)
        self.held: float | None = None
        self._trim = trim
        self._sizes = dict(sizes)

    def __repr__(self) -> str:
        what = self.allocator or "an unknown allocator"
        return f"<Heap of {what}: {self.in_use} bytes in use, {self.free} free>"

    def _repr_html_(self) -> str:
        """What a notebook shows: what is in use and free, and what makes up the memory."""
        from procmem.heap.html import heap_html

        return heap_html(self, ARENA_PARTS)

    @property
    def certain(self) -> bool:
        """Whether all data structures are consistent, and none changed during the reading."""
        return not self.doubts

    @property
    def system(self) -> int:
        """Bytes that all arenas have obtained from the kernel."""
        return sum(arena.system for arena in self.arenas)

    @property
    def in_use(self) -> int:
        """Bytes in use in all arenas, without the caches of threads."""
        return sum(arena.in_use for arena in self.arenas)

    @property
    def tcache(self) -> int:
        """Bytes in the caches of threads (tcache)."""
        return sum(arena.tcache for arena in self.arenas)

    @property
    def free(self) -> int:
        """Free bytes in all arenas: bins, fast bins and tops (fordblks of mallinfo2(3))."""
        return sum(arena.free + arena.fast + arena.top for arena in self.arenas)

    @property
    def resident_free(self) -> int:
        """Free bytes that are still resident."""
        return sum(arena.resident_free for arena in self.arenas)

    @property
    def trimmable(self) -> int:
        """Resident bytes that malloc_trim(0) would return to the kernel."""
        return self._trim.total

    @property
    def unexplained(self) -> int | None:
        """VmRSS minus the resident bytes of all parts; None: VmRSS is not known.

        Many kernels count RSS per CPU, so that VmRSS lags behind the page table, and a process that
        is not stopped may change between the readings.
        """
        if self.rss is None:
            return None
        return self.rss - sum(part.resident for part in self.parts)

    def trim(self) -> Trim:
        """The memory that malloc_trim(0) would return to the kernel (malloc_trim(3))."""
        return self._trim

    def by_size(self) -> list[HeapSize]:
        """The numbers of chunks in use and free of each size, by ascending size."""
        return [HeapSize(size, *self._sizes[size]) for size in sorted(self._sizes)]

    def plot(self, ax: Axes | None = None) -> Axes:
        """A bar for each arena of malloc: what is in use, cached and free, with matplotlib.

        Args:
            ax: where to draw; None: on a new figure.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        from procmem.picture import plots
        from procmem.picture.shapes import TimeLayer

        names = ["main arena" if one.main else f"arena {one.address:x}" for one in self.arenas]
        layers = [
            TimeLayer(name, key, tuple(getattr(one, part) for one in self.arenas))
            for part, name, key in ARENA_PARTS
        ]
        return plots.stacks(plots.axes_of(ax, "Heap.plot()"), names, layers)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; sizes in bytes, addresses as integers."""
        python = self.python
        return {
            "pid": self.pid,
            "allocator": self.allocator,
            "rss": self.rss,
            "held": self.held,
            "system": self.system,
            "in_use": self.in_use,
            "tcache": self.tcache,
            "free": self.free,
            "resident_free": self.resident_free,
            "trimmable": self.trimmable,
            "mmaps": self.mmaps,
            "mmapped": self.mmapped,
            "mmap_threshold": self.mmap_threshold,
            "certain": self.certain,
            "doubts": list(self.doubts),
            "arenas": [
                {**arena._asdict(), "holes": [hole._asdict() for hole in arena.holes]}
                for arena in self.arenas
            ],
            "mapped": [one._asdict() for one in self.mapped],
            "parts": [part._asdict() for part in self.parts],
            "unexplained": self.unexplained,
            "others": [one._asdict() for one in self.others],
            "pages": None if self.pages is None else self.pages.to_dict(),
            "trim": [one._asdict() for one in self._trim.ranges],
            "sizes": [one._asdict() for one in self.by_size()],
            "python": None
            if python is None
            else {
                "arenas": [
                    {**arena._asdict(), "held": [block._asdict() for block in arena.held]}
                    for arena in python.arenas
                ],
                "allocator": python.allocator,
                "evidence": python.evidence,
                "guess": python.guess,
                "pools": python.pools,
                "pool_size": python.pool_size,
                "in_use": python.in_use,
                "free": python.free,
                "classes": [
                    {"size": block, **one._asdict()} for block, one in python.classes.items()
                ],
            },
        }
