"""The parts of a process's memory: what of its regions and of RSS malloc and Python account for."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from procmem.regions.kinds import RegionKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from procmem.regions.region import ResidentRegion

__all__ = ["HeapPart", "HeapSpan", "parts_of"]

K = RegionKind
GROUPS = {
    K.STACK: ("stacks", "of threads, with their guards"),
    K.THREAD_STACK: ("stacks", "of threads, with their guards"),
    K.GUARD: ("stacks", "of threads, with their guards"),
    K.FILE: ("mapped files", "files that are neither program nor library"),
    K.SHARED_MEMORY: ("shared memory", "shm_open(3), memfd_create(2), shmget(2), MAP_SHARED"),
    K.HUGETLB: ("huge pages", "of hugetlbfs, which RSS does not include"),
    K.DEVICE: ("devices", "memory of drivers"),
    **dict.fromkeys(
        (K.TEXT, K.RODATA, K.RELRO, K.DATA, K.BSS),
        ("program and libraries", "code, constants, data and bss of ELF files"),
    ),
    **dict.fromkeys((K.VDSO, K.VVAR, K.VSYSCALL, K.UPROBES), ("of the kernel", "vdso and vvar")),
}
OTHER = "other anonymous memory", "mapped by the program, by libraries or by other allocators"
ROOM = (
    "malloc: room of arenas",
    "heaps of 64 MiB (1 MiB in 32-bit programs) are reserved as a whole",
)
BESIDE = "Python: beside its arenas", "what aligning pools leaves, and other mappings in between"
OUTSIDE = "outside malloc in [heap]", "memory below the break that malloc did not obtain"


class HeapSpan(NamedTuple):
    """A range of addresses that belongs to malloc or to Python.

    Attributes:
        start, end: addresses.
        resident: its resident bytes.
        owner: "malloc", "mapped" or "python".
    """

    start: int
    end: int
    resident: int
    owner: str


class HeapPart(NamedTuple):
    """A part of a process's memory. The parts of a process add up to its VSZ and to its RSS.

    Attributes:
        name: such as "malloc: in use".
        size: bytes of address space.
        resident: bytes in memory.
        cause: what it consists of, in a few words.
        guess: whether the part is concluded from what is no proof.
    """

    name: str
    size: int
    resident: int
    cause: str
    guess: bool = False


def parts_of(
    regions: Sequence[ResidentRegion], spans: Iterable[HeapSpan], inside: Sequence[HeapPart]
) -> list[HeapPart]:
    """Parts that add up to the sizes and the resident bytes of all regions.

    Args:
        regions: all regions of the process.
        spans: the ranges whose inside is known, without overlaps.
        inside: the parts that these consist of.
    """
    ordered = sorted(spans)
    starts = [span.start for span in ordered]
    rest: dict[tuple[str, str, bool], list[int]] = {}
    for region in regions:
        if region.start >> 63:
            continue  # [vsyscall] is in the kernel's half: VSZ leaves it out
        size, resident = region.size, region.rss or 0
        malloc = False
        for span in ordered[max(0, bisect_right(starts, region.start) - 1) :]:
            if span.start >= region.end:
                break
            common = min(span.end, region.end) - max(span.start, region.start)
            if common <= 0:
                continue
            size -= common
            resident -= span.resident
            malloc = malloc or span.owner == "malloc"
        if not size and not resident:
            continue
        row = rest.setdefault(group_of(region, malloc=malloc), [0, 0])
        row[0] += size
        row[1] += resident
    return [
        *inside,
        *(
            # More than the region had is known of what has grown since the regions were read.
            HeapPart(name, size, max(resident, 0), cause, guess)
            for (name, cause, guess), (size, resident) in rest.items()
        ),
    ]


def group_of(region: ResidentRegion, *, malloc: bool) -> tuple[str, str, bool]:
    """Name, cause and certainty of the part that the rest of a region belongs to."""
    kind = region.kind
    if kind is K.ARENA or (malloc and kind is not K.HEAP):
        return (*ROOM, region.kind_guess and not malloc)
    use = region.use
    if use is not None and use.name == "CPython objects":
        return (*BESIDE, use.guess)
    if use is not None and kind in (K.ANON, K.HEAP):
        return use.name, use.evidence, use.guess
    if kind is K.HEAP:
        return (*OUTSIDE, False)
    group = GROUPS.get(kind)
    return (*OTHER, False) if group is None else (*group, region.kind_guess)
