"""The stacks of threads as text: a sentence, a row for each thread, what is not known."""

from __future__ import annotations

from collections import Counter

from procmem.units import about, count, in_unit, unit_name
from procmem.view.colours import by_use
from procmem.view.columns import Column, fitted, prose
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.process.stacks import LiveStack, Stacks

__all__ = ["SORTS", "stacks_sentence", "stacks_text"]

SORTS = ("touched", "in_use", "reserved", "headroom", "tid", "name")

MARK = "?"

MOST_NAMED = 3

FULL = 0.9
"""The share of vm.max_map_count from which on a warning is worth a sentence."""


def stacks_sentence(stacks: Stacks) -> str:
    """What all stacks take, the deepest, and the regions against vm.max_map_count."""
    reserved, touched = stacks.total("reserved"), stacks.total("touched")
    threads = count(len(stacks), "thread")
    verb, has = ("reserves", "has") if len(stacks) == 1 else ("reserve", "have")
    unknown = sum(one.reserved is None for one in stacks)
    if reserved is None or touched is None:
        text = f"{threads}; where {'its stack is' if len(stacks) == 1 else 'their stacks are'} "
        text += "is not known"
    else:
        known = len(stacks) - unknown
        if unknown:
            verb, has = ("reserves", "has") if known == 1 else ("reserve", "have")
            threads = f"{known:,} of {threads}"
        guess = MARK if any(one.guess for one in stacks) else ""
        text = f"{threads} {verb} {about(reserved)}{guess} of stacks"
        text += f" and {has} touched {about(touched)}{guess}"
        deepest = stacks.deepest
        if deepest is not None and known > 1:
            text += (
                f"; the deepest, {printable(deepest.name)} ({deepest.tid}), used {depth(deepest)}"
            )
    if unknown and reserved is not None:
        text += f"; the stack{'s' if unknown > 1 else ''} of {unknown:,} "
        text += f"{'are' if unknown > 1 else 'is'} not known"
    return f"{text}. {regions_sentence(stacks)}"


def depth(stack: LiveStack) -> str:
    """How deep a stack was, of how much it may be."""
    guess = MARK if stack.guess else ""
    touched = f"{about(stack.touched or 0)}{guess}"
    if stack.limit is None:
        return touched
    limit = about(stack.limit)
    unit = f" {limit.split()[-1]}"
    if touched.endswith(unit):
        touched = touched.removesuffix(unit)
    return f"{touched} of {limit}"


def regions_sentence(stacks: Stacks) -> str:
    """How many regions there are of how many, and what most of them are."""
    if stacks.max_regions is None:
        text = count(stacks.regions, "region")
    else:
        text = f"{stacks.regions:,} of {count(stacks.max_regions, 'region')} (vm.max_map_count)"
    if stacks.groups and stacks.regions:
        first = stacks.groups[0]
        share = 100 * first.regions / stacks.regions
        text += f": {share:.0f} % are {first.name}{MARK if first.guess else ''}"
    if stacks.max_regions and stacks.regions >= FULL * stacks.max_regions:
        text += "; without a free one mmap, mprotect and new threads fail with ENOMEM"
    return text + "."


COLUMNS = (
    Column("tid", "TID", ">"),
    Column("name", "Name", rank=1, floor=8),
    Column("state", "State", rank=3),
    Column("reserved", "Reserved", ">", 2),
    Column("touched", "Touched", ">"),
    Column("in_use", "In use", ">"),
    Column("limit", "Limit", ">"),
    Column("headroom", "Headroom", ">", 4),
    Column("guard", "Guard", ">", 5),
    Column("alternate", "On signal stack", ">", 6),
    Column("elsewhere", "Runs on", rank=7, floor=8, paint=by_use),
    Column("limited_by", "Limited by", rank=9, floor=12),
    Column("start", "Start", ">", 8),
    Column("end", "End", ">", 8),
)


def stacks_table(
    stacks: Sequence[LiveStack],
    totals: Stacks,
    *,
    width: int | None,
    unit: str,
    chosen: Sequence[str] | None,
) -> str:
    """A row for each thread, and the sums over all."""
    size = in_unit(unit)

    def row(one: LiveStack) -> list[str]:
        mark = MARK if one.guess else ""

        def figure(value: int | None) -> str:
            return size(value) + (mark if value is not None else "")

        guard = figure(one.guard)
        if one.guard_marks and one.guard:
            guard += "*"
        return [
            str(one.tid),
            printable(one.name),
            one.state,
            figure(one.reserved),
            figure(one.touched),
            figure(one.in_use),
            figure(one.limit),
            figure(one.headroom),
            guard,
            "-" if one.alternate is None else size(one.alternate.size),
            "-" if one.elsewhere is None else printable(one.elsewhere),
            "-" if one.limited_by is None else printable(one.limited_by),
            "-" if one.start is None else f"{one.start:x}",
            "-" if one.end is None else f"{one.end:x}",
        ]

    footer = None
    if len(totals) > 1:
        sums = [size(totals.total(name)) for name in ("reserved", "touched", "in_use")]
        footer = ["", "total", "", *sums, "", "", "", "", "", "", "", ""]
    text = fitted(COLUMNS, map(row, stacks), footer=footer, width=width, chosen=chosen)
    if unit_name(unit):
        text += f"Sizes in {unit_name(unit)}.\n"
    return text


def stacks_notes(stacks: Stacks) -> list[str]:
    """Sentences about what is not known, and why."""
    notes = []
    running = [one for one in stacks if one.in_use is None and one.state == "R"]
    other = [one for one in stacks if one.elsewhere is not None]
    if running:
        notes.append(
            f"{count(len(running), 'thread')} in state R: of a running thread the kernel shows no "
            "stack pointer, so what it has in use is not known (--stop)"
        )
    if other:
        places = Counter(printable(one.elsewhere or "") for one in other).most_common()
        named = ", ".join(f"{name} ({number:,})" for name, number in places[:MOST_NAMED])
        more = f" and {len(places) - MOST_NAMED:,} more" if len(places) > MOST_NAMED else ""
        notes.append(f"Running on other memory than the thread's stack: {named}{more}")
    if any(one.guess for one in stacks):
        notes.append(
            f"{MARK}: the bounds of a region, not proved by a thread descriptor: the stack may be "
            "smaller"
        )
    if any(one.huge for one in stacks):
        huge = sum(one.huge for one in stacks)
        notes.append(
            f"The lowest page of {count(huge, 'stack')} is part of a huge page: less may have been "
            "touched"
        )
    if any(one.guard_marks and one.guard for one in stacks):
        notes.append("*: guard marks in the page table, which split no region")
    if stacks.stopped is not None:
        notes.append(f"Its threads were stopped for {1000 * stacks.stopped.seconds:.1f} ms")
    notes += [one[0].upper() + one[1:] for one in stacks.unknown]
    return notes


def stacks_text(
    stacks: Stacks,
    *,
    width: int | None = None,
    unit: str = "KiB",
    chosen: Sequence[str] | None = None,
    sort: str = "touched",
    top: int | None = None,
) -> str:
    """A sentence, a row for each thread, the regions by purpose, and what is not known.

    Args:
        stacks: what was read.
        width: cells of a line; None: as many as are needed.
        unit: of sizes, one of units.UNITS.
        chosen: keys of the columns to show; None: all.
        sort: one of SORTS; figures in descending order, except headroom.
        top: how many rows to show; None: all.

    Raises:
        BadArgument: there is no column of that key.
    """
    rows = ordered(stacks, sort)
    shown = rows if top is None else rows[:top]
    text = prose(stacks_sentence(stacks), width) + "\n"
    text += stacks_table(shown, stacks, width=width, unit=unit, chosen=chosen)
    if len(shown) < len(rows):
        left = count(len(rows) - len(shown), "other thread")
        verb = "is" if len(rows) - len(shown) == 1 else "are"
        text += prose(f"{left} {verb} not listed (--top).", width)
    groups = ", ".join(
        f"{one.regions:,} {one.name}{MARK if one.guess else ''}" for one in stacks.groups
    )
    text += "\n" + prose(f"Regions: {groups}.", width)
    notes = stacks_notes(stacks)
    return text + "".join(prose(f"{one}.", width) for one in notes)


def ordered(stacks: Stacks, sort: str) -> list[LiveStack]:
    """The threads in the order that is asked for; those without the figure are last."""
    if sort in ("tid", "name"):
        return sorted(stacks, key=lambda one: (getattr(one, sort), one.tid))
    rising = sort == "headroom"

    def key(one: LiveStack) -> tuple[bool, int, int]:
        value = getattr(one, sort)
        return value is None, (value or 0) * (1 if rising else -1), one.tid

    return sorted(stacks, key=key)
