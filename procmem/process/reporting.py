"""Gathers what a report shows of a live process: a snapshot, and what no snapshot keeps."""

from __future__ import annotations

from contextlib import suppress

from procmem.pages.pagemap import LIMIT, PageState
from procmem.pages.scan import IS_HUGE, IS_SOFT_DIRTY, scan_ranges
from procmem.picture.page import ReportPage, ReportTable
from procmem.process.pages import pagemap_of
from procmem.process.reconcile import reconcile
from procmem.process.stacks import read_stacks
from procmem.snapshots.reporting import RECONCILED, moment_page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from procmem.pages.scan import Range
    from procmem.process.reconcile import Reconciliation
    from procmem.process.stacks import Stacks
    from procmem.procfs import ProcessFiles
    from procmem.regions import Region
    from procmem.snapshots import Snapshot

__all__ = ["process_page"]

STATES = {
    PageState.ANONYMOUS: 0,
    PageState.ANONYMOUS_SHARED: 1,
    PageState.FILE_SHARED: 1,
    PageState.FILE: 2,
    PageState.SWAPPED: 3,
    PageState.GUARD: 4,
    PageState.ZERO: 5,
}
"""The numbers of the states in a report; page.js has their names in this order."""

HUGE, DIRTY = 8, 16
"""Added to the number of a state."""

MOST_RUNS = 200_000
"""Runs of pages in a report: some 600 KB of it."""

LEFT_OUT = (
    "The pages of this region are not in the report: the process has too many runs of pages that "
    "differ."
)


def process_page(files: ProcessFiles, snapshot: Snapshot) -> ReportPage:
    """The report of a live process.

    Args:
        files: the process.
        snapshot: of it, taken just now.

    Raises:
        NoSuchProcess, ZombieProcess, ProcessChanged: it has ended, or executed another program.
    """
    from procmem.errors import AccessDenied, Unsupported

    page = moment_page(snapshot)
    # What this user may not read, or a saved tree lacks, is left as the snapshot has it.
    with suppress(AccessDenied, Unsupported):
        page.reconciled = reconciled(reconcile(files))
    with suppress(AccessDenied, Unsupported):
        stacks = stacks_table(read_stacks(files))
        page.tables = [*(one for one in page.tables if one.title != "Threads"), stacks]
    if not files.is_live:
        page.pages_missing = "The pages were not read: a saved tree has no page map."
        return page
    try:
        page.pages = pages_of(files, list(snapshot.regions))
    except (AccessDenied, Unsupported) as error:
        page.pages_missing = f"The pages were not read: {error}"
    return page


def reconciled(found: Reconciliation) -> ReportTable:
    """The kernel's totals compared with each other."""
    rows = [
        (one.left, one.left_value, one.right, one.right_value, one.difference, one.why)
        for one in found.comparisons
    ]
    differing = sum(bool(one.difference) for one in found.comparisons)
    note = (
        f"{len(rows):,} comparisons: {len(rows) - differing:,} equal, "
        f"{differing - len(found.unexplained):,} differ for "
        f"a known cause, {len(found.unexplained):,} unexplained."
    )
    if found.moved:
        note += (
            " The memory of the process changed during every attempt, which may be the cause of "
            "differences."
        )
    note += "".join(f" Not read: {name}: {why}." for name, why in found.unavailable.items())
    return ReportTable("How the totals reconcile", RECONCILED, rows, note)


def stacks_table(stacks: Stacks) -> ReportTable:
    """The stack of each thread."""
    columns = (
        "id Thread", "text Name", "text State", "address Start", "bytes Reserved",
        "bytes Touched", "bytes In use", "bytes Limit", "text Limited by", "bytes Guard",
    )  # fmt: skip
    rows = [
        (
            one.tid, one.name + ("?" if one.guess else ""), one.state, one.start, one.reserved,
            one.touched, one.in_use, one.limit, one.limited_by, one.guard,
        )
        for one in stacks
    ]  # fmt: skip
    note = "Touched: how deep the stack ever was."
    if any(one.guess for one in stacks):
        note += " A “?” marks bounds that are those of a region: no thread descriptor proves them."
    note += "".join(f" Not known: {one}." for one in stacks.unknown)
    return ReportTable("Stacks of the threads", columns, rows, note)


# ---- pages -------------------------------------------------------------------------


def pages_of(files: ProcessFiles, regions: Sequence[Region]) -> dict[str, Any]:
    """The runs of pages of each region that has some: first page, number of pages and state.

    Raises:
        AccessDenied, Unsupported: the page map can't be read.
    """
    mapped = [region for region in regions if region.end <= LIMIT]
    if not mapped:
        return {"regions": {}, "page_size": 4096, "huge": False, "dirty": False}
    start, end = mapped[0].start, mapped[-1].end
    pages = pagemap_of(files, start, end)
    with files.memory("pagemap", beside_maps=True) as file:
        flagged = scan_ranges(file.fd, start, end, IS_HUGE | IS_SOFT_DIRTY)
        file.check()
    size = pages.page_size
    found: dict[int, list[int]] = {}
    left_out: dict[int, str] = {}
    flags = Flags(flagged or ())
    runs = 0
    for number, region in enumerate(regions):
        if region.end > LIMIT:
            continue
        made: list[int] = []
        for run in pages.within(region.start, region.end).runs():
            state = STATES.get(run.state)
            if state is not None:
                for first, last, more in flags.cut(run.start, run.end):
                    made += ((first - region.start) // size, (last - first) // size, state + more)
        runs += len(made) // 3
        if runs > MOST_RUNS:
            left_out[number] = LEFT_OUT
        elif made:
            found[number] = made
    return {
        "regions": found,
        "left_out": left_out,
        "page_size": size,
        "huge": flagged is not None,
        "dirty": flagged is not None and pages.soft_dirty is not None,
    }


class Flags:
    """Ranges with flags, in ascending order, which runs in ascending order are cut by."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.ranges = [
            (start, end, HUGE * bool(bits & IS_HUGE) + DIRTY * bool(bits & IS_SOFT_DIRTY))
            for start, end, bits in ranges
            if bits & (IS_HUGE | IS_SOFT_DIRTY)
        ]
        self.at = 0

    def cut(self, start: int, end: int) -> Iterator[Range]:
        """The parts of a run: start, end, and the flags of each."""
        while start < end:
            while self.at < len(self.ranges) and self.ranges[self.at][1] <= start:
                self.at += 1
            if self.at == len(self.ranges) or self.ranges[self.at][0] >= end:
                yield start, end, 0
                return
            first, last, bits = self.ranges[self.at]
            if first > start:
                yield start, first, 0
                start = first
            behind = min(last, end)
            yield start, behind, bits
            start = behind
