"""CauseSum: everything that happened between two snapshots for the same cause."""

from __future__ import annotations

import os
from typing import NamedTuple

from procmem.snapshots.parts import Amount, Cause, Part
from procmem.units import count, signed

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from procmem.snapshots.changes import Change, Explanation

__all__ = ["CauseSum", "sums"]

C = Cause


class CauseSum(NamedTuple):
    """Everything that happened for the same cause. A region may count in several of them.

    Attributes:
        cause: one of a fixed list.
        words: one sentence, with the sums.
        evidence: the facts that it is concluded from.
        changes: the changes to regions that have this cause, or have it among others.
        size: bytes that were mapped, touched, copied, given back, ...
        vsz: what it adds to VSZ, in bytes.
        rss: what it adds to RSS, in bytes; None: not measured.
    """

    cause: Cause
    words: str
    evidence: tuple[str, ...]
    changes: tuple[Change, ...]
    size: int
    vsz: int
    rss: int | None

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; the changes as their number and their start addresses."""
        return {
            "cause": self.cause.value,
            "why": self.words,
            "evidence": list(self.evidence),
            "size": self.size,
            "vsz": self.vsz,
            "rss": self.rss,
            "regions": len(self.changes),
            "starts": [change.start for change in self.changes],
        }


SENTENCES = {
    C.MEMORY_MAPPED: "VSZ {vsz}: anonymous memory was mapped{where} (mmap, or malloc of large "
    "blocks)",
    C.MEMORY_UNMAPPED: "VSZ {vsz}: anonymous memory was unmapped{where} (munmap, or free of large "
    "blocks)",
    C.ADDRESSES_RESERVED: "VSZ {vsz}: addresses were reserved without permissions{where} (mmap "
    "PROT_NONE)",
    C.LIBRARY_LOADED: "VSZ {vsz}: {files} loaded (dlopen){where}: {names}",
    C.LIBRARY_UNLOADED: "VSZ {vsz}: {files} unloaded (dlclose){where}: {names}",
    C.FILE_MAPPED: "VSZ {vsz}: {files} mapped (mmap){where}: {names}",
    C.FILE_UNMAPPED: "VSZ {vsz}: {files} unmapped (munmap){where}: {names}",
    C.SHARED_MEMORY_ATTACHED: "VSZ {vsz}: shared memory was attached{where}: {names}",
    C.SHARED_MEMORY_DETACHED: "VSZ {vsz}: shared memory was detached{where}: {names}",
    C.REMAPPED: "VSZ {vsz}: memory is at other addresses now{where}: mremap(2), or unmapped and "
    "mapped again",
    C.PROTECTION_CHANGED: "permissions changed{where} (mprotect, or mmap with MAP_FIXED)",
    C.ARENA_GREW: "malloc arenas grew{where} (mprotect): threads allocate",
    C.RENAMED: "names changed{where}: given by the process, or files were deleted or renamed",
}
"""Sentences about several regions whose addresses were mapped, unmapped or changed."""


def sums(explanations: Iterable[Explanation]) -> tuple[CauseSum, ...]:
    """The sum of each cause, the largest first."""
    groups: dict[tuple[Cause, str], list[tuple[Part, tuple[Change, ...]]]] = {}
    for one in explanations:
        for part in one.parts or (whole(one),):
            form = part.many or SENTENCES.get(part.cause) or part.words
            groups.setdefault((part.cause, form), []).append((part, one.changes))
    found = [summed(cause, form, parts) for (cause, form), parts in groups.items()]
    return tuple(sorted(found, key=lambda one: -one.size))


def whole(one: Explanation) -> Part:
    return Part(one.cause, one.words, one.evidence, {"vsz": Amount(one.vsz)}, one.rss)


def summed(cause: Cause, form: str, parts: Sequence[tuple[Part, tuple[Change, ...]]]) -> CauseSum:
    of_them = [part for part, _ in parts]
    changes = tuple({id(c): c for _, these in parts for c in these}.values())
    figures = added(of_them)
    rss = None if any(part.rss is None for part in of_them) else sum(p.rss or 0 for p in of_them)
    first = of_them[0]
    where = f" in {count(len(changes), 'region')}"
    if first.many:
        words = form.format(**figures, where=where)
        evidence = tuple(one.format(**figures) for one in first.many_evidence) or all_of(of_them)
    elif len(parts) == 1 or form == first.words:
        words = first.words if len(parts) == 1 else f"{len(parts):,} × {first.words}"
        evidence = first.evidence
    else:
        names = list(dict.fromkeys(name_of(change) for change in changes if name_of(change)))
        files = count(len(names), "file") + (" was" if len(names) == 1 else " were")
        words = form.format(
            vsz=signed(figures["vsz"]) if "vsz" in figures else "",
            where=where, files=files, names=listed(names),
        )  # fmt: skip
        if (vsz := figures.get("vsz", 0)) > 0 and rss == 0:
            words += "; RSS unchanged: pages are allocated when first touched"
        elif vsz and rss:
            words += f"; RSS {signed(rss)}"
        evidence = all_of(of_them)
    size = sum(part.size for part in of_them)
    return CauseSum(cause, words, evidence, changes, size, figures.get("vsz", 0), rss)


MOST_EVIDENCE = 3
MOST_NAMES = 3


def all_of(parts: Sequence[Part]) -> tuple[str, ...]:
    """The evidence of all parts, each fact once; if there are many, the first ones."""
    evidence = tuple(dict.fromkeys(one for part in parts for one in part.evidence))
    if len(evidence) <= MOST_EVIDENCE:
        return evidence
    return (*evidence[:MOST_EVIDENCE], f"{len(evidence) - MOST_EVIDENCE:,} more")


def added(parts: Sequence[Part]) -> dict[str, Amount]:
    """The sums of the figures of all parts; page sizes are not added up."""
    found: dict[str, int] = {}
    for part in parts:
        for name, value in part.figures.items():
            found[name] = int(value) if name in {"whole", "size"} else found.get(name, 0) + value
    return {name: Amount(value) for name, value in found.items()}


def name_of(change: Change) -> str:
    return os.path.basename(change.region.pathname or "")


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = len(names) - MOST_NAMES
    if more <= 1:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMES])} and {more:,} more"
