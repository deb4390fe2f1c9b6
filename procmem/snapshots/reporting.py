"""Gathers what a report shows of a snapshot or a diff, as escaped data for procmem.picture.page."""

from __future__ import annotations

import os
import time
from functools import cache

from procmem.names import escaped
from procmem.picture.embedded import is_report
from procmem.picture.page import ReportPage, ReportTable, page_html
from procmem.regions.kinds import kind_word, name_word
from procmem.regions.region import MeasuredRegion, ResidentRegion
from procmem.snapshots.diffs import LAGGING, MOVED_ON
from procmem.snapshots.moment import KERNEL_HALF
from procmem.snapshots.output import MAGIC, check_output, replacing
from procmem.snapshots.saved import frame
from procmem.units import about, approximate, count, kib, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from procmem.regions import RegionTable
    from procmem.snapshots.diffs import MomentDiff
    from procmem.snapshots.moment import Moment

__all__ = [
    "NO_PAGES",
    "RECONCILED",
    "check_report",
    "default_name",
    "diff_facts",
    "diff_page",
    "heap_table",
    "kept_bytes",
    "moment_name",
    "moment_page",
    "moment_regions",
    "reconciled_of",
    "region_columns",
    "subject_of",
    "taken_at",
    "threads_table",
    "totals_of",
    "write_report",
]

REPORT = "report of procmem"


def check_report(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Checks that a report may be written to a file, before anything is read.

    Raises:
        OSError: as check_output(): another program's file has that name.
    """
    check_output(path, force=force, is_ours=is_report, what=REPORT)


def write_report(
    page: ReportPage, path: str | os.PathLike[str] | None, name: str, *, force: bool = False
) -> str:
    """Writes a report to a file; the file is replaced when all has been written.

    Args:
        page: the report.
        path: the file; None: `name` in the current directory.
        name: the default name.
        force: as for Snapshot.save().

    Returns:
        The path.

    Raises:
        FileExistsError, OSError: as for Snapshot.save().
    """
    chosen = name if path is None else os.fspath(path)
    check_report(chosen, force=force)
    text = page_html(page)
    with replacing(chosen, force=force, is_ours=is_report, what=REPORT) as file:
        file.write(text)
    return chosen


def default_name(moment: Moment, what: str = "") -> str:
    """The name of a report's file, such as procmem-1234-recording.html."""
    pid = moment.identity.pid
    parts = ["procmem", *([] if pid is None else [str(pid)]), *([what] if what else [])]
    return "-".join(parts if len(parts) > 1 else [*parts, "report"]) + ".html"


def kept_bytes(moments: Iterable[Moment]) -> bytes:
    """A file of snapshots, as Snapshot.save_all() writes it."""
    return b"".join([MAGIC, *map(frame, moments)])


# ---- one snapshot ------------------------------------------------------------------


def region_columns(table: RegionTable[Any]) -> dict[str, Any]:
    """The regions of a table, column by column; None in place of a column that was not read.

    Addresses are hexadecimal, because JavaScript's numbers are exact up to 2**53 only. gap is the
    number of bytes between a region and the one before it. Of kinds and uses there are the
    different words, and for each region the number of its word; where the use is not known, it is
    the kind.
    """
    regions = list(table)

    def words(values: Iterable[str]) -> dict[str, Any]:
        numbers: dict[str, int] = {}
        of = [numbers.setdefault(value, len(numbers)) for value in values]
        return {"words": list(map(escaped, numbers)), "of": of}

    def column(name: str, kind: type = MeasuredRegion) -> list[int | None] | None:
        if not issubclass(table.region_type, kind):
            return None
        found = [getattr(region, name) for region in regions]
        return None if found and all(value is None for value in found) else found

    shown = cache(escaped)
    kinds = [kind_word(region) for region in regions]
    uses = [
        kind if region.use is None else str(region.use)
        for region, kind in zip(regions, kinds, strict=True)
    ]
    ends = [0, *(region.end for region in regions)]
    shared = None
    if issubclass(table.region_type, MeasuredRegion):
        parts = [(region.shared_clean, region.shared_dirty) for region in regions]
        shared = [None if one is None or other is None else one + other for one, other in parts]
    return {
        "count": len(regions),
        "start": [f"{region.start:x}" for region in regions],
        "end": [f"{region.end:x}" for region in regions],
        "gap": [
            max(0, region.start - end) if at else 0
            for at, (region, end) in enumerate(zip(regions, ends, strict=False))
        ],
        "size": [region.size for region in regions],
        "perms": [str(region.perms) for region in regions],
        "kind": words(kinds),
        "use": words(uses),
        "name": [shown(name_word(region)) for region in regions],
        "path": [shown(region.pathname or "") for region in regions],
        "rss": column("rss") or column("rss", ResidentRegion),
        "pss": column("pss"),
        "uss": column("uss"),
        "swap": column("swap") or column("swap", ResidentRegion),
        "dirty": column("private_dirty"),
        "shared": shared,
        "huge": column("anon_huge_pages"),
        "locked": column("locked"),
    }


def moment_regions(moment: Moment, label: str = "") -> dict[str, Any]:
    """The regions of a snapshot, with a label."""
    return {"label": label, **region_columns(moment.regions)}


def taken_at(moment: Moment) -> str:
    """When a snapshot was taken, in local time; empty: not known."""
    if moment.clock is None:
        return ""
    return time.strftime(
        "%Y-%m-%d %H:%M:%S %Z", time.localtime(moment.clock.realtime / 1e9)
    ).strip()


def moment_name(moment: Moment, *, begins: bool = False) -> str:
    """The process that a snapshot is of, in a few words, which may begin a sentence."""
    who = moment.identity
    if who.pid is None:
        return who.comm or ("A process" if begins else "a process")
    word = "Process" if begins else "process"
    return f"{word} {who.pid}" + ("" if who.comm is None else f" ({who.comm})")


def subject_of(moment: Moment) -> list[tuple[str, str]]:
    """What a snapshot is of: names and values."""
    who, kernel = moment.identity, moment.kernel
    found = [
        ("Process", moment_name(moment, begins=True).removeprefix("Process ")),
        ("Program", who.exe or ""),
        ("Command", " ".join(who.cmdline or ())),
        ("Taken", taken_at(moment)),
        ("Read from", moment.source),
        ("Kernel", "" if kernel is None else f"Linux {kernel.release}, {kernel.machine}"),
        ("Regions", f"{len(moment.regions):,} (detail {moment.detail})"),
        ("Threads", "" if moment.threads is None else f"{len(moment.threads):,}"),
    ]
    if moment.faults is not None:
        found.append(
            ("Page faults", f"{moment.faults.minor:,} minor, {moment.faults.major:,} major")
        )
    found += [(f"Not read: {what}", why) for what, why in moment.unavailable.items()]
    return [(name, value) for name, value in found if value]


def totals_of(moment: Moment) -> list[tuple[str, int | None, str]]:
    """The totals of a snapshot: name, bytes and a remark."""
    table, memory = moment.regions, moment.memory
    rss = moment.rss
    remark = ""
    if moment.rss_error:
        remark = f"off by up to {about(moment.rss_error)}"
    found: list[tuple[str, int | None, str]] = [
        ("VSZ", moment.vsz, "address space"),
        ("RSS", rss, remark or "in memory"),
    ]
    if issubclass(table.region_type, MeasuredRegion):
        found += [
            ("PSS", table.total("pss"), "shared pages divided by their users"),
            ("USS", table.total("uss"), "freed when it ends"),
        ]
    if moment.swap is not None:
        found.append(("Swap", moment.swap, ""))
    if moment.page_tables is not None:
        found.append(("Page tables", moment.page_tables, "in neither VSZ nor RSS"))
    if memory is not None and memory.peak_rss is not None:
        found.append(("Peak RSS", memory.peak_rss, "VmHWM, since it started"))
    return found


RECONCILED = (
    "text Total",
    "bytes Bytes",
    "text Against",
    "bytes Bytes",
    "signed Difference",
    "text Why",
)


def reconciled_of(moment: Moment) -> ReportTable:
    """The totals of a snapshot against the sums of its regions."""
    table, memory = moment.regions, moment.memory
    shaky = moment.moved or not table.consistent
    rows: list[Sequence[Any]] = []

    def add(left: str, one: int | None, right: str, other: int | None, otherwise: str) -> None:
        if one is None or other is None:
            return
        why = "" if one == other else MOVED_ON if shaky else otherwise
        rows.append((left, one, right, other, one - other, why))

    lagging = (
        "no known cause" if moment.kernel is not None and moment.kernel.rss_error == 0 else LAGGING
    )
    sizes = sum(region.size for region in table if region.start < KERNEL_HALF)
    if memory is not None:
        add("VmSize", memory.vsz, "Σ Size of the regions", sizes, "no known cause")
        if issubclass(table.region_type, MeasuredRegion | ResidentRegion):
            add("VmRSS", memory.rss, "Σ Rss of the regions", table.total("rss"), lagging)
        parts = memory.rss_anon, memory.rss_file, memory.rss_shmem
        if None not in parts:
            add(
                "VmRSS", memory.rss, "RssAnon + RssFile + RssShmem",
                sum(part or 0 for part in parts), "no known cause",
            )  # fmt: skip
        if issubclass(table.region_type, MeasuredRegion):
            add("VmSwap", memory.swap, "Σ Swap of the regions", table.total("swap"), SHARED_SWAP)
    note = "" if rows else "The snapshot has no totals of the kernel to compare its regions with."
    return ReportTable("How the totals reconcile", RECONCILED, rows, note)


SHARED_SWAP = "VmSwap has no swapped pages of shared memory; or the kernel's count of pages lags"


def heap_table(moment: Moment) -> list[ReportTable]:
    """What malloc and Python held, if the snapshot has it."""
    heap = moment.heap
    if heap is None:
        return []
    columns = (
        "text Arena", "bytes From the kernel", "bytes In use", "bytes In threads' caches",
        "bytes Free", "bytes Free and in memory", "bytes malloc_trim(0) would return",
    )  # fmt: skip
    rows: list[Sequence[Any]] = [
        (
            f"{'main' if one.main else 'arena'} {one.address:x}", one.system, one.in_use,
            one.tcache, one.free, one.resident_free, one.trimmable,
        )
        for one in heap.arenas
    ]  # fmt: skip
    if heap.mmapped is not None and heap.arenas:
        rows.append(("mappings of their own", heap.mmapped, heap.mmapped, 0, 0, 0, 0))
    if heap.python_in_use is not None:
        rows.append(
            (
                "Python's small objects",
                heap.python_system,
                heap.python_in_use,
                0,
                heap.python_free,
                None,
                None,
            )
        )
    note = "" if heap.certain else f"Not certain: {'; '.join(heap.doubts)}."
    return [ReportTable("What malloc and Python hold", columns, rows, note)]


def threads_table(moment: Moment) -> list[ReportTable]:
    """The threads with their stacks."""
    if not moment.threads:
        return []
    rows = []
    for one in moment.threads:
        stack = one.stack
        rows.append(
            (
                one.tid, one.name,
                None if stack is None else stack.start, None if stack is None else stack.size,
                getattr(stack, "rss", None), one.arena,
            )
        )  # fmt: skip
    columns = (
        "id Thread", "text Name", "address Region of its stack", "bytes Size",
        "bytes In memory", "address malloc arena",
    )  # fmt: skip
    return [ReportTable("Threads", columns, rows, "The region may contain more than the stack.")]


NO_PAGES = (
    "The pages were not read: a snapshot has the sums of each region, not its single pages. "
    "“procmem report PID” of a live process has them."
)


def moment_page(moment: Moment) -> ReportPage:
    """The report of a snapshot."""
    at = taken_at(moment)
    kinds = largest_kinds(moment)
    who = moment_name(moment, begins=True) + (f", {at}" if at else "")
    summary = [f"{who}: VSZ {kib(moment.vsz)}, RSS {rss_words(moment)}."]
    if kinds:
        summary.append(f"Most of it: {', '.join(kinds)}.")
    return ReportPage(
        f"Memory of {moment_name(moment)}",
        subject_of(moment),
        summary,
        totals_of(moment),
        reconciled_of(moment),
        [*heap_table(moment), *threads_table(moment)],
        [moment_regions(moment, at)],
        pages_missing=NO_PAGES,
        kept=kept_bytes([moment]),
        kept_note='The snapshot is in this file without loss: procmem.load("FILE.html") and the '
        "commands of procmem, such as "
        "“procmem maps FILE.html”, read it. The file makes no connection to any network.",
    )


def rss_words(moment: Moment) -> str:
    return approximate(kib(moment.rss), moment.rss_error) if moment.rss is not None else "not known"


def largest_kinds(moment: Moment, most: int = 3) -> list[str]:
    """The kinds with most memory, each with its RSS; none if the regions were not measured."""
    if moment.detail == "maps":
        return []
    sums: dict[str, int] = {}
    for region in moment.regions:
        sums[kind_word(region)] = sums.get(kind_word(region), 0) + (region.rss or 0)
    ranked = sorted(sums.items(), key=lambda one: -one[1])[:most]
    return [f"{word} {about(value)}" for word, value in ranked if value]


# ---- two snapshots -----------------------------------------------------------------


def diff_facts(found: MomentDiff) -> dict[str, Any]:
    """What a diff says: the totals, each cause with its evidence, and the other sentences."""
    more = [f"{words[0].upper()}{words[1:]}." for words in (found.heap.words if found.heap else ())]
    for name, why in found.remainder.why.items():
        what = name.upper() if len(name) == 3 else f"{name} faults"
        more.append(f"Remainder of {what}, {remainder(found, name)}: {why}.")
    return {
        "vsz": found.vsz,
        "rss": found.rss,
        "rss_error": found.rss_error,
        "swap": found.swap,
        "minor": found.minor,
        "causes": [[escaped(one.words), escaped("; ".join(one.evidence))] for one in found.causes],
        "more": [escaped(words) for words in (*more, *found.notes)],
    }


def remainder(found: MomentDiff, name: str) -> str:
    value = getattr(found.remainder, name)
    return signed(value) if len(name) == 3 else f"{value:+,}"


CAUSES = (
    "text What happened",
    "signed VSZ",
    "signed RSS",
    "number Regions",
    "text Evidence",
)
CHANGED = (
    "text What", "address Start", "signed VSZ", "signed RSS", "signed Copied",
    "number Minor faults", "text Region", "text Why",
)  # fmt: skip

MOST_CHANGES = 2000
"""Changed regions that the table shows: the largest."""


def subjects_of(before: Moment, after: Moment) -> list[tuple[str, str]]:
    """What two snapshots are of; what differs stands there twice."""
    one, other = dict(subject_of(before)), dict(subject_of(after))
    found: list[tuple[str, str]] = []
    for name in dict.fromkeys([*one, *other]):
        if one.get(name) == other.get(name):
            found.append((name, one[name]))
        else:
            sides = (f"{name}, before", one.get(name, "")), (f"{name}, after", other.get(name, ""))
            found += [side for side in sides if side[1]]
    return found


def diff_page(found: MomentDiff) -> ReportPage:
    """The report of a diff."""
    before, after = found.before, found.after
    facts = diff_facts(found)
    rss = "not known" if found.rss is None else approximate(signed(found.rss), found.rss_error)
    span = f" in {found.elapsed / 1e9:,.1f} s" if found.elapsed else ""
    head = (
        f"VSZ {signed(found.vsz)}, RSS {rss}{span}; {count(len(found.changes), 'region')} changed."
    )
    causes = [
        (one.words, one.vsz, one.rss, len(one.changes), "; ".join(one.evidence))
        for one in found.causes
    ]
    changes = list(found.changes)
    largest = sorted(changes, key=lambda one: -max(abs(one.vsz), abs(one.rss or 0)))[:MOST_CHANGES]
    rows = [
        (
            ", ".join(map(str, one.kinds)), one.start, one.vsz, one.rss, one.copied, one.minor,
            f"{name_word(one.region)} ({kind_word(one.region)})", one.why,
        )
        for one in sorted(largest, key=lambda one: one.start)
    ]  # fmt: skip
    left = (
        ""
        if len(rows) == len(changes)
        else f"The largest {len(rows):,} of {len(changes):,} changes."
    )
    return ReportPage(
        f"What changed in {moment_name(after)}",
        subjects_of(before, after),
        [head, *(f"{words}." for words, *_ in facts["causes"][:5]), *facts["more"]],
        [(f"{name} after", value, remark) for name, value, remark in totals_of(after)],
        reconciled_of(after),
        [
            ReportTable("Causes", CAUSES, causes, "" if causes else "Nothing changed."),
            ReportTable("Changed regions", CHANGED, rows, left),
            *heap_table(after),
        ],
        [
            moment_regions(before, f"before {taken_at(before)}".strip()),
            moment_regions(after, f"after {taken_at(after)}".strip()),
        ],
        pages_missing=NO_PAGES,
        kept=kept_bytes([before, after]),
        kept_note='Both snapshots are in this file without loss: procmem.load("FILE.html", 0) is '
        "the one before, "
        'procmem.load("FILE.html", 1) the one after; “procmem diff FILE.html:0 FILE.html:1” '
        "prints the diff. "
        "The file makes no connection to any network.",
    )
