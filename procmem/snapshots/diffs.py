"""MomentDiff: what changed between two moments, region by region, and what that leaves open."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from procmem.arrow import Columnar
from procmem.columns import booleans, categories, numbers, sourced
from procmem.snapshots.changes import Change
from procmem.snapshots.comparison import TotalsDiff, is_measured
from procmem.snapshots.heaps import heap_diff
from procmem.units import signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes

    from procmem.arrow import Makers
    from procmem.columns import ArrowColumn
    from procmem.snapshots.changes import Explanation
    from procmem.snapshots.heaps import HeapDiff
    from procmem.snapshots.moment import Moment
    from procmem.snapshots.sums import CauseSum

__all__ = ["MomentDiff", "Remainder"]


class Remainder(NamedTuple):
    """What the changes of regions do not account for in the totals. False if nothing is left.

    Attributes:
        vsz, rss: bytes.
        minor, major: page faults.
        why: the reason for each that is not 0, by its name.
    """

    vsz: int
    rss: int
    minor: int
    major: int
    why: dict[str, str]

    def __bool__(self) -> bool:
        return any(self[:4])


SOURCES = {
    **dict.fromkeys(("start", "end", "perms", "pathname", "vsz"), "maps"),
    **dict.fromkeys(("region_kind", "region_kind_guess"), "concluded, as a region's kind"),
    "region_name": "maps: the path, else kind and use",
    "rss": "smaps: Rss, or pagemap",
    "swap": "smaps: Swap, or pagemap",
    **dict.fromkeys(("copied", "unshared"), "smaps: Private_*, Shared_*, Anonymous"),
    "anon_huge_pages": "smaps: AnonHugePages",
    "lazy_free": "smaps: LazyFree",
    "ksm": "smaps: KSM",
    "hugetlb": "smaps: Shared_Hugetlb + Private_Hugetlb",
    **dict.fromkeys(
        ("kind", "kinds", "minor", "major", "cause", "why", "evidence"),
        "concluded from both snapshots",
    ),
}
"""What each column is read from, or concluded from."""


class MomentDiff(Columnar, TotalsDiff):
    """What changed from one moment to another, region by region; see Diff."""

    __slots__ = ("_changes", "_explanations", "remainder")

    def __init__(self, before: Moment, after: Moment) -> None:
        super().__init__(before, after)
        self._changes: tuple[Change, ...] | None = None
        self._explanations: tuple[Explanation, ...] | None = None
        self.remainder = remainder_of(self)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The regions that changed, by address. Regions that stayed as they were are left out."""
        if self._changes is None:
            members, explain = self.members, self._explain
            self._changes = tuple([Change(row, members, explain) for row in self.tables.rows()])
        return self._changes

    def _explain(self) -> None:
        """Sets the explanation of each change."""
        self.explanations  # noqa: B018 - making them does that

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """The causes, each with the changes that it accounts for."""
        if self._explanations is None:
            from procmem.snapshots.causes import explain

            self._explanations = tuple(explain(self, self.changes))
        return self._explanations

    @property
    def causes(self) -> tuple[CauseSum, ...]:
        """Each cause with its sums and a sentence, the largest first."""
        from procmem.snapshots.sums import sums

        return sums(self.explanations)

    def arrow_makers(self) -> Makers:
        """What makes each column for data frames, a row for each change; sizes in bytes.

        start, end and the rest describe the largest region of a change, as it is after it, or as
        it was, if none is left. `kinds` has all that happened, joined by commas.
        """
        changes = self.changes
        regions = [change.region for change in changes]
        figures = (
            "vsz", "rss", "swap", "copied", "unshared", "anon_huge_pages", "lazy_free", "ksm",
            "hugetlb",
        )  # fmt: skip

        def words(name: str) -> ArrowColumn:
            return categories(name, [str(getattr(change, name)) for change in changes])

        def values(name: str, unit: str) -> ArrowColumn:
            found = [getattr(change, name) for change in changes]
            return numbers(name, found, signed=True).described(unit)

        makers: Makers = {
            "start": lambda: numbers("start", [region.start for region in regions]).described(
                "address"
            ),
            "end": lambda: numbers("end", [region.end for region in regions]).described("address"),
            "perms": lambda: categories("perms", [str(region.perms) for region in regions]),
            "region_kind": lambda: categories(
                "region_kind", [region.kind.value for region in regions]
            ),
            "region_kind_guess": lambda: booleans(
                "region_kind_guess", [region.kind_guess for region in regions]
            ),
            "region_name": lambda: categories("region_name", [region.name for region in regions]),
            "pathname": lambda: categories("pathname", [region.pathname for region in regions]),
            "kind": lambda: words("kind"),
            "kinds": lambda: categories(
                "kinds", [", ".join(map(str, change.kinds)) for change in changes]
            ),
            **{name: partial(values, name, "bytes") for name in figures},
            **{name: partial(values, name, "page faults") for name in ("minor", "major")},
            "cause": lambda: words("cause"),
            "why": lambda: words("why"),
            "evidence": lambda: categories(
                "evidence", ["; ".join(change.evidence) for change in changes]
            ),
        }
        return sourced(makers, SOURCES)

    @property
    def heap(self) -> HeapDiff | None:
        """What changed inside malloc and Python's allocator.

        None: a snapshot has no heap, or they are of two processes.
        """
        if self.same_process is False:
            return None
        return heap_diff(self.before.heap, self.after.heap)

    @property
    def notes(self) -> list[str]:
        """Sentences about the diff as a whole."""
        from procmem.snapshots.causes import notes

        return notes(self, self.changes)

    def __bool__(self) -> bool:
        figures = self.vsz, self.rss, self.minor, self.major, self.heap
        return bool(len(self.tables)) or any(figures)

    def __repr__(self) -> str:
        rss = "" if self.rss is None else f", RSS {signed(self.rss)}"
        return f"<Diff: {len(self.tables)} changes, VSZ {signed(self.vsz)}{rss}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the totals, the causes, and the largest changes."""
        from procmem.snapshots.html import diff_html

        return diff_html(self)

    def svg(self, title: str = "") -> str:
        """The diff as an SVG picture: the causes, and both snapshots side by side.

        Regions that are new, gone or changed are marked, with what changed.

        Args:
            title: the picture's title; empty: it names the process.
        """
        from procmem.snapshots.pictures import diff_svg

        causes = [f"{one.words}." for one in self.causes]
        return diff_svg(self, self.changes, causes, title)

    def plot(self, ax: Axes | None = None, *, figure: str | None = None) -> Axes:
        """A bar for the change of each kind of region, with matplotlib.

        Args:
            ax: where to draw; None: on a new figure.
            figure: "vsz", "rss", "pss" or "uss"; None: "rss" if both snapshots have it, else "vsz".

        Raises:
            MissingExtra: matplotlib is not installed.
            BadArgument: a snapshot does not have the figure.
        """
        from procmem.snapshots.pictures import plot_diff

        return plot_diff(self, ax, figure)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; the snapshots themselves are left out."""
        return {
            "vsz": self.vsz,
            "rss": self.rss,
            "rss_error": self.rss_error,
            "swap": self.swap,
            "page_tables": self.page_tables,
            "minor": self.minor,
            "major": self.major,
            "elapsed": self.elapsed,
            "same_process": self.same_process,
            "remainder": self.remainder._asdict(),
            "notes": self.notes,
            "heap": None if self.heap is None else self.heap.to_dict(),
            "causes": [one.to_dict() for one in self.causes],
            "changes": [change.to_dict() for change in self.changes],
        }


# ---- attributing -------------------------------------------------------------------

MOVED_ON = (
    "the process changed its memory while it was read: regions and totals are of different times"
)


LAGGING = "VmRSS of this kernel lags by up to a batch of pages per CPU or thread"


def remainder_of(found: MomentDiff) -> Remainder:
    """The differences of the totals minus the sums of all changes."""
    before, after, told = found.before, found.after, found.tables
    why: dict[str, str] = {}
    shaky = (
        before.moved or after.moved or not (before.regions.consistent and after.regions.consistent)
    )

    def left(name: str, all_of_it: int | None, told: int, otherwise: str) -> int:
        rest = 0 if all_of_it is None else all_of_it - told
        if rest:
            why[name] = MOVED_ON if shaky else otherwise
        return rest

    measured = is_measured(before, after)
    exact = found.rss_error == 0
    unmeasured = "resident bytes of regions were not read (detail maps)"
    vsz = left("vsz", found.vsz, told.vsz, "no known cause")
    rss = left(
        "rss",
        found.rss,
        told.rss,
        "no known cause" if exact else LAGGING,
    )
    if not measured and rss:
        why["rss"] = unmeasured if exact else f"{unmeasured}; {LAGGING}"
    minor = left(
        "minor",
        found.minor,
        told.minor,
        "not measured by region (detail maps)"
        if not measured
        else "faults that added no page: reads of the zero page, first writes to it or "
        "after fork(2), pages given back in between, page tables",
    )
    major = left(
        "major",
        found.major,
        told.major,
        "the kernel does not show which file's pages were read",
    )
    return Remainder(vsz, rss, minor, major, why)
