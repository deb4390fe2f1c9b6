"""Functions for checks: parts of a snapshot, and figures of this machine. Sizes are in bytes.

Checks compute their expectations from these at run time, so that a lab is right on machines with
another page size, libc or limits than its author's.
"""

from __future__ import annotations

import os
import resource
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

from procmem.errors import ProcmemError
from procmem.regions.kinds import Owner, RegionKind
from procmem.regions.region import PAGE_SIZE
from procmem.units import GiB, KiB, MiB

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from procmem.grade.runs.hangs import Relatives
    from procmem.grade.runs.run import Run
    from procmem.grade.sandbox.waiting import ThreadState
    from procmem.heap.heap import Heap
    from procmem.ipc.ends import Pipes
    from procmem.regions import RegionTable
    from procmem.regions.threads import Thread
    from procmem.snapshots import Snapshot
    from procmem.tracing.events import MemoryCall

__all__ = [
    "PAGE",
    "Area",
    "GiB",
    "KiB",
    "MallocState",
    "MiB",
    "anonymous",
    "blocked",
    "bss",
    "count",
    "data",
    "family",
    "heap",
    "libc_version",
    "libraries",
    "malloc_heap",
    "malloc_state",
    "mmap_threshold",
    "pipes",
    "regions",
    "same_bytes",
    "stack",
    "stack_limit",
    "text",
    "thread_stack",
    "threads",
    "top_pad",
]

PAGE: int = PAGE_SIZE
"""The page size of this machine, in bytes."""


class Area(NamedTuple):
    """The sum of some regions. False if there are none.

    Attributes:
        size: bytes of address space; 0: there is no such region.
        rss: bytes in memory; None: the snapshot does not have them.
        regions: the number of regions.
    """

    size: int
    rss: int | None
    regions: int

    def __bool__(self) -> bool:
        return self.regions > 0


def area(found: Iterable[Any], snapshot: Snapshot) -> Area:
    """The sum of regions."""
    table = list(found)
    rss = None if snapshot.detail == "maps" else sum(region.rss or 0 for region in table)
    return Area(sum(region.size for region in table), rss, len(table))


def of_program(snapshot: Snapshot, *kinds: RegionKind) -> Area:
    return area(
        (
            region
            for region in snapshot.regions
            if region.kind in kinds and region.owner in (None, Owner.EXECUTABLE)
        ),
        snapshot,
    )


# ---- parts of a snapshot ----------------------------------------------------------


def heap(snapshot: Snapshot) -> Area:
    """The heap of brk(2): [heap]."""
    return of_program(snapshot, RegionKind.HEAP)


def stack(snapshot: Snapshot) -> Area:
    """The stack of the first thread: [stack]."""
    return of_program(snapshot, RegionKind.STACK)


def text(snapshot: Snapshot) -> Area:
    """The program's code; not that of its libraries."""
    return of_program(snapshot, RegionKind.TEXT)


def data(snapshot: Snapshot) -> Area:
    """The program's initialised variables: its writable segment as far as it has a file."""
    return of_program(snapshot, RegionKind.DATA, RegionKind.RELRO)


def bss(snapshot: Snapshot) -> Area:
    """The program's variables without a value in its file, after the last page of its data."""
    return of_program(snapshot, RegionKind.BSS)


def anonymous(snapshot: Snapshot) -> Area:
    """Memory without a file, except heap, first stack, the program's data and the kernel's.

    So it was mapped by mmap(2): by the program, for arenas of malloc and stacks of threads, or by
    libraries for themselves.
    """
    return area(
        (
            region
            for region in snapshot.regions
            if not region.inode
            and not region.pathname
            and region.kind not in (RegionKind.BSS, RegionKind.RELRO, RegionKind.DATA)
        ),
        snapshot,
    )


def regions(
    snapshot: Snapshot,
    *,
    kind: RegionKind | str | None = None,
    perms: str | None = None,
    path: str | None = None,
) -> RegionTable[Any]:
    """The regions that meet every condition; see RegionTable.filter.

    Raises:
        ValueError: there is no such kind, or perms are not four letters.
    """
    return snapshot.regions.filter(kind=kind, perms=perms, path=path)


def libraries(snapshot: Snapshot) -> tuple[str, ...]:
    """The paths of the shared libraries that are mapped, including the loader, by address."""
    paths = dict.fromkeys(
        region.pathname
        for region in snapshot.regions
        if region.pathname
        and region.perms.execute
        and region.inode
        and region.owner is not Owner.EXECUTABLE
        and region.pathname != snapshot.regions.exe
    )
    return tuple(path for path in paths if path is not None)


def threads(snapshot: Snapshot) -> tuple[Thread, ...]:
    """The threads.

    Raises:
        NotPossibleHere: the snapshot does not have them.
    """
    if snapshot.threads is None:
        from procmem.grade.checks.points import not_possible

        not_possible("the threads of the process can't be read here")
    return snapshot.threads


def malloc_heap(run: Run) -> Heap:
    """The inside of malloc in a program that waits: what is in use, free, and could be returned.

    Raises:
        NotPossibleHere: the C library of this machine is not the GNU one.
        SubmissionError: the program uses another malloc, or has overwritten the structures of
            this one.
    """
    from procmem.grade.checks.points import not_possible
    from procmem.grade.errors import SubmissionError

    found = run.process.heap()
    # glibc 2.43 sets up its main arena at the start, before malloc is called.
    if not any(arena.system for arena in found.arenas):
        if libc_version() is None:
            not_possible("malloc of another C library than the GNU one can't be read")
        raise SubmissionError(
            "the program has no heap of the C library's malloc (another malloc, such as that of "
            "AddressSanitizer, can't be read)"
        )
    if any(arena.chunks is None for arena in found.arenas):
        why = "; ".join(found.doubts) or "its chunks can't be followed"
        raise SubmissionError(f"the program has damaged its heap: {why}")
    return found


class MallocState(NamedTuple):
    """What decides where the next large block comes from.

    Attributes:
        room: the largest request that the main heap can serve without growing, in bytes.
        threshold: the size from which malloc maps a block that does not fit into the heap.
    """

    room: int
    threshold: int


def malloc_state(run: Run) -> MallocState | None:
    """What glibc's malloc will do next in a program that waits.

    Returns:
        None: there is no such heap (another malloc), or it can't be read.

    Source: malloc/malloc.c of glibc: a chunk has a header of a word, and the top keeps MINSIZE.
    """
    from procmem.process.facts import word_size

    try:
        found = run.process.heap()
        word = word_size(run.process.maps())
    except ProcmemError:
        return None
    if not found.arenas or found.mmap_threshold is None:
        return None
    main = found.arenas[0]
    if not main.system or main.largest_free is None:
        return None
    room = max(main.top - 4 * word, main.largest_free) - word
    return MallocState(max(room, 0), found.mmap_threshold)


def family(run: Run) -> Relatives:
    """The program and its descendants: `.pids`, and `family(run)(pid)` is a name for each."""
    from procmem.grade.runs.hangs import Relatives

    return Relatives(run.pid)


def blocked(run: Run) -> tuple[ThreadState, ...]:
    """The threads of a program that waits and of its descendants, and the calls they wait in."""
    from procmem.grade.sandbox import waiting

    return tuple(waiting.threads(family(run).pids) or ())


def pipes(run: Run) -> Pipes:
    """The pipes and FIFOs that the program and its descendants hold ends of, or wait in."""
    from procmem.ipc.blocked import pipes as found_for

    return found_for(family(run).pids)


def count(trace: Iterable[MemoryCall], *names: str) -> int:
    """The number of calls with these names in a trace: count(trace, "mmap", "munmap")."""
    return sum(call.name in names for call in trace)


# ---- files -------------------------------------------------------------------------


def same_bytes(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two files have the same contents.

    Raises:
        SubmissionError: one of them is missing, or is not a regular file.
    """
    with opened(one) as first, opened(other) as second:
        if os.fstat(first.fileno()).st_size != os.fstat(second.fileno()).st_size:
            return False
        while True:
            piece = first.read(MiB)
            if piece != second.read(MiB):
                return False
            if not piece:
                return True


def opened(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file that the submission created, which may be a pipe or a link."""
    from procmem.grade.errors import SubmissionError
    from procmem.grade.sandbox.untrusted import open_below

    place, name = os.path.split(os.path.abspath(path))
    try:
        return open(open_below(place, name), "rb")
    except OSError as error:
        raise SubmissionError(f"{name}: {error.strerror}") from None


# ---- this machine ------------------------------------------------------------------


def stack_limit() -> int | None:
    """The limit of the stack (`ulimit -s`), in bytes; None: it is not limited."""
    soft = resource.getrlimit(resource.RLIMIT_STACK)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def thread_stack() -> int:
    """What pthread_create maps for a stack, without the guard. Source: pthread_create(3)."""
    from procmem.experiments.specimen.libc import default_stack

    return default_stack(os.getpid(), PAGE)


def libc_version() -> tuple[int, ...] | None:
    """The version of the GNU C library here, such as (2, 36); None: it is another libc."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (OSError, ValueError):
        return None
    return tuple(map(int, version.split("."))) if name == "glibc" else None


def mmap_threshold() -> int:
    """The size from which malloc calls mmap here (M_MMAP_THRESHOLD).

    It applies to the chunk: the request plus 8 bytes of malloc's own, rounded up to 16. It is
    measured in a process that has just started; freeing such a chunk raises it.

    Raises:
        NotPossibleHere: no program with libc can be traced here.

    Source: mallopt(3).
    """
    return malloc_figures()[0]


def top_pad() -> int:
    """What malloc requests from brk beyond what it needs (M_TOP_PAD). Measured in the same way.

    Raises:
        NotPossibleHere: no program with libc can be traced here.

    Source: mallopt(3).
    """
    return malloc_figures()[1]


@lru_cache(maxsize=1)
def malloc_figures() -> tuple[int, int]:
    from procmem.errors import Unsupported
    from procmem.experiments import Specimen

    try:
        with Specimen(libc=True) as one:
            grown = one.malloc(1).delta.vsz
            if not grown:
                raise Unsupported("malloc", "its first call requested nothing from the kernel")

            def by_mmap(request: int) -> bool:
                address = one.malloc(request).address
                region = None if address is None else one.process.region_at(address)
                if region is None or region.kind is not RegionKind.HEAP:
                    return True
                # What the heap has left must never hold the next request.
                one.malloc(grown - 32 * KiB)
                return False

            one.malloc(grown - 32 * KiB)
            usual = 128 * KiB - 24
            low, high = grown // 2, 64 * MiB
            if not by_mmap(usual) and by_mmap(usual + 1):
                low, high = usual, usual + 1
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if by_mmap(middle) else (middle, high)
    except ProcmemError as error:
        from procmem.grade.checks.points import not_possible

        not_possible(f"malloc can't be watched here: {error}")
    return (high + 8 + 15) & -16, grown - PAGE
