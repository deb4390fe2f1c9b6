"""Allocators that are not read from inside: which one it is, and what its regions contain."""

from __future__ import annotations

from typing import NamedTuple

from procmem.regions.kinds import RegionKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from procmem.regions.region import MeasuredRegion, Region

__all__ = ["OtherAllocator", "allocator_name", "others_in"]

REPLACING = {
    "asan": "AddressSanitizer",
    "tsan": "ThreadSanitizer",
    "msan": "MemorySanitizer",
    "hwasan": "HWAddressSanitizer",
    "jemalloc": "jemalloc",
    "tcmalloc": "tcmalloc",
    "mimalloc": "mimalloc",
}
"""Allocators that take the place of the C library's malloc, if a program is linked with them."""

NOT_ALLOCATORS = frozenset({"CPython objects", "stack of an ended thread"})
"""Uses of anonymous memory that are read from inside, or belong to no allocator."""

ANONYMOUS = frozenset({RegionKind.ANON, RegionKind.HEAP})


class OtherAllocator(NamedTuple):
    """The regions of an allocator whose inside is not read. Sizes are in bytes.

    Attributes:
        name: such as "jemalloc" or "Go heap".
        evidence: what shows that these regions are its own.
        guess: whether that is no proof.
        regions: the number of regions.
        reserved: bytes that may not be accessed (PROT_NONE).
        committed: the other bytes: the allocator may use them.
        resident: bytes in memory.
        swap: bytes in swap.
        lazy_free: resident bytes that the kernel takes when it needs memory (MADV_FREE): free
            memory that still counts as RSS; None: the kernel does not show it.

    Source: LazyFree in smaps (proc_pid_smaps(5)), madvise(2).
    """

    name: str
    evidence: str
    guess: bool
    regions: int
    reserved: int
    committed: int
    resident: int
    swap: int
    lazy_free: int | None


def allocator_name(
    programs: Mapping[str, str], *, glibc: bool, used: bool, paths: Iterable[str]
) -> str | None:
    """Which allocator serves malloc in a process; None: not known.

    Args:
        programs: the runtimes and libraries of the process, and the evidence for each
            (`regions.uses.programs_of`).
        glibc: whether an arena of glibc's malloc was found.
        used: whether one of these has obtained memory.
        paths: the files that the process maps.
    """
    for program, name in REPLACING.items():
        evidence = programs.get(program)
        # A program may contain an allocator for itself, under other names than malloc.
        if evidence is not None and not (used and not evidence.endswith("is mapped")):
            return name
    if glibc:
        return "glibc malloc"
    if "musl" in programs or any("musl" in path for path in paths):
        return "musl malloc"
    if "go" in programs:
        return "Go runtime"
    return None


def is_others(region: Region, allocator: str | None) -> bool:
    """Whether a region belongs to an allocator or a runtime that is not read from inside."""
    if region.kind not in ANONYMOUS:
        return False
    if region.use is not None:
        return region.use.name not in NOT_ALLOCATORS
    return allocator == "musl malloc" and bool(region.perms.write)


def others_in(regions: Sequence[MeasuredRegion], allocator: str | None) -> list[OtherAllocator]:
    """The regions of allocators and runtimes that are not read from inside, the largest first.

    Args:
        regions: with their uses.
        allocator: see allocator_name(). musl's memory has no mark: where musl is the allocator, the
            heap of brk(2) and anonymous memory of no other use are its own, as a guess.
    """
    groups: dict[tuple[str, bool], list[MeasuredRegion]] = {}
    for region in regions:
        if is_others(region, allocator):
            use = region.use
            key = (str(allocator), True) if use is None else (use.name, use.guess)
            groups.setdefault(key, []).append(region)
    found = []
    for (name, guess), members in groups.items():
        first = members[0].use
        closed = sum(one.size for one in members if one.perms.startswith("---"))
        lazy = [one.lazy_free for one in members]
        found.append(
            OtherAllocator(
                name,
                "the process's C library is musl" if first is None else first.evidence,
                guess,
                len(members),
                closed,
                sum(one.size for one in members) - closed,
                sum(one.rss or 0 for one in members),
                sum(one.swap or 0 for one in members),
                None if None in lazy else sum(one or 0 for one in lazy),
            )
        )
    return sorted(found, key=lambda one: one.resident, reverse=True)
