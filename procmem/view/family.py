"""A family of processes: what each shares with its parent, as a table with bars."""

from __future__ import annotations

from collections import defaultdict

from procmem.picture.palette import tone
from procmem.process.family import PART_TONES
from procmem.procfs import probes
from procmem.units import about, in_unit, unit_name
from procmem.view.colours import by_letter, by_use
from procmem.view.columns import Column, fitted, prose
from procmem.view.maps import region_name
from procmem.view.names import only_ascii, printable, shorter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.process.family import Family, FamilyMember, FamilyRegion

__all__ = ["family_sentence", "family_text", "member_table", "region_table"]

PARTS = ("shared", "copied", "own", "file")

BLOCKS = dict(zip(PARTS, "█▓▒░", strict=True))
LETTERS = dict(zip(PARTS, "#x+.", strict=True))
"""A character of a bar for each part; the letters for terminals that show ASCII only."""

BAR_MIN, BAR_MAX = 10, 40
"""Cells of a bar."""

MOST_NAMED = 5


def letters() -> dict[str, str]:
    return LETTERS if only_ascii() else BLOCKS


def painted_bar(text: str, whole: str) -> str:
    """A bar, or its legend, in colours."""
    return by_letter({letter: tone(PART_TONES[name]) for name, letter in letters().items()})(
        text, whole
    )


def family_sentence(family: Family) -> str:
    """How much the forks still share, and how much they have copied."""
    first = family.members[0]
    who = f"{shorter(printable(first.name), 40)} ({first.pid})"
    forked = family.forked
    others = len(family.members) - 1 - len(forked)
    if not forked:
        if others:
            return (
                f"{who} shares no memory by fork(2): its {plural(others, 'descendant')} run"
                f"{'s' if others == 1 else ''} another program."
            )
        return f"{who} has no child processes."
    shared = span([member.shared for member in forked])
    copied = span([member.copied for member in forked])
    parent = first.shared + first.own
    return (
        f"Of {about(parent)} anonymous memory of {who}, "
        f"{plural(len(forked), 'fork')} still share{'s' if len(forked) == 1 else ''} {shared}"
        f"{' each' if len(forked) > 1 else ''}; {copied} "
        f"{'was' if len(forked) == 1 else 'of each was'} copied since the fork"
        f"{copied_where(forked)}."
    )


def copied_where(forked: Sequence[FamilyMember]) -> str:
    """Where most was copied, as the end of a sentence."""
    by_name: dict[str, int] = defaultdict(int)
    for member in forked:
        for part in member.regions:
            by_name[region_name(part.region)] += part.copied
    whole = sum(by_name.values())
    if not whole:
        return ""
    name = max(by_name, key=lambda each: by_name[each])
    return f", {by_name[name] * 100 // whole} % of it in {shorter(name, 40)}"


def span(sizes: Sequence[int]) -> str:
    low, high = about(min(sizes)), about(max(sizes))
    return low if low == high else f"{low} to {high}"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def member_table(
    family: Family,
    *,
    unit: str = "MiB",
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """A row for each member, with a bar as wide as the screen allows.

    Args:
        family: the family.
        unit: of sizes, one of units.UNITS.
        width: cells per line; None: as many as needed.
        chosen: keys of the columns to show, in their order; None: all.

    Raises:
        BadArgument: there is no such column.
    """
    figure = in_unit(unit)
    made = [
        Column("pid", "PID", ">"),
        Column("name", "Name", floor=14),
        *size_columns(),
        Column("swap", "Swap", ">", 4),
        Column("frees", "Frees", ">", 3),
        Column("picture", f"Picture, {unit_name(unit)}".rstrip(", "), rank=2, paint=painted_bar),
    ]
    names = [
        "  " * member.depth + printable(member.name) + (" (execve)" if member.executed else "")
        for member in family.members
    ]
    longest = max(len(name) for name in names)
    most = max(1, *(member.rss for member in family.members))
    sizes = [
        [figure(getattr(member, name)) for name in (*PARTS, "swapped", "frees")]
        for member in family.members
    ]
    room = BAR_MAX
    if width is not None:
        taken = sum(max(map(len, column)) for column in zip(*sizes, strict=True))
        # The PID and the gaps between all columns.
        room = width - taken - min(longest, 24) - 8 - 2 * (len(made) - 1)
    rows = [
        [str(member.pid), name, *texts, bar(member, most, max(BAR_MIN, min(BAR_MAX, room)))]
        for member, name, texts in zip(family.members, names, sizes, strict=True)
    ]
    legend = ", ".join(f"{letter} {name}" for name, letter in letters().items())
    table = fitted(made, rows, width=width, chosen=chosen)
    return table + "".join(
        painted_bar(line[:1], "") + line[1:] for line in prose(legend, width).splitlines(True)
    )


def size_columns() -> list[Column]:
    return [
        Column("shared", "Shared", ">"),
        Column("copied", "Copied", ">"),
        Column("own", "Own", ">"),
        Column("file", "File", ">", 5),
    ]


def bar(member: FamilyMember, most: int, room: int) -> str:
    """The memory of a member as characters, of which `room` stand for `most` bytes."""
    parts, at, drawn = [], 0, 0
    for name, letter in letters().items():
        at += getattr(member, name)
        end = round(at * room / most)
        parts.append(letter * (end - drawn))
        drawn = end
    return "".join(parts)


def region_table(
    family: Family,
    *,
    limit: int = 0,
    unit: str = "MiB",
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """Where the forks share and where they have copied: a row for each name of a region.

    Args:
        family: the family.
        limit: rows; 0: all.
        unit: as for member_table().
        width: likewise.
        chosen: likewise.

    Raises:
        BadArgument: there is no such column.
    """
    figure = in_unit(unit)
    sums: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(PARTS, 0))
    users: dict[str, set[int]] = defaultdict(set)
    for member in family.forked:
        for part in member.regions:
            name = region_name(part.region)
            add(sums[name], part)
            if part.copied or part.own:
                users[name].add(member.pid)
    rows = [
        [
            *(figure(sizes[kind]) for kind in PARTS),
            f"{len(users[name])} of {len(family.forked)}",
            name,
        ]
        for name, sizes in sorted(sums.items(), key=lambda item: order(item[1]), reverse=True)
    ]
    shown = rows[: limit or None]
    made = [
        *size_columns(),
        Column("wrote", "Wrote", ">", 3),
        Column(
            "region",
            f"Region, {unit_name(unit)}".rstrip(", "),
            floor=16,
            keep_end=True,
            paint=by_use,
        ),
    ]
    total = dict.fromkeys(PARTS, 0)
    for sizes in sums.values():
        for kind in PARTS:
            total[kind] += sizes[kind]
    footer = [*(figure(total[kind]) for kind in PARTS), "", "all forks together"]
    text = fitted(made, shown, footer=footer, width=width, chosen=chosen)
    if len(rows) > len(shown):
        text += prose(f"Not shown: {len(rows) - len(shown)} more (--limit 0 shows all).", width)
    return text


def add(sizes: dict[str, int], part: FamilyRegion) -> None:
    for name in PARTS:
        sizes[name] += getattr(part, name)


def order(sizes: dict[str, int]) -> tuple[int, int, int]:
    return sizes["copied"], sizes["own"], sizes["shared"]


def family_text(
    family: Family,
    *,
    limit: int = 0,
    regions: bool = False,
    unit: str = "MiB",
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """The sentence, the members or the regions, and what is missing."""
    text = prose(family_sentence(family), width) + "\n"
    if regions:
        text += region_table(family, limit=limit, unit=unit, width=width, chosen=chosen)
    else:
        text += member_table(family, unit=unit, width=width, chosen=chosen)
    text += notes(family, width)
    return text


def notes(family: Family, width: int | None) -> str:
    """What was left out, and what is less than certain."""
    found = ""
    if family.forked:
        found += prose(
            "Copied: the fork or its parent has written there since the fork; which of the two "
            "can't be said.",
            width,
        )
        if not family.exact:
            found += prose(
                "Page frames take CAP_SYS_ADMIN: memory that parent and fork each share with "
                "others only would count as shared here.",
                width,
            )
    if not probes.has_pagemap_scan():
        found += prose(
            "Pages that were only read count, too: this kernel does not tell them apart.", width
        )
    if family.unread:
        named = ", ".join(map(str, list(family.unread)[:MOST_NAMED]))
        more = len(family.unread) - MOST_NAMED
        found += prose(
            f"Not read, access denied: {named}{f' and {more} more' if more > 0 else ''}, and their "
            "children.",
            width,
        )
    if family.gone:
        found += prose(f"{plural(family.gone, 'member')} ended meanwhile.", width)
    return "\n" + found if found else ""
