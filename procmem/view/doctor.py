"""What query, reconcile and doctor say, for people."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

from procmem.regions.kinds import kind_word
from procmem.units import in_unit, signed_in_unit, unit_name
from procmem.view.columns import Column, fitted, pairs, prose
from procmem.view.maps import region_name
from procmem.view.names import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from procmem.process.doctor import Feature
    from procmem.process.reconcile import Reconciliation
    from procmem.regions import MeasuredRegion, Region

__all__ = ["address_answer", "doctor_table", "reconciliation_table"]

EVIDENCE = {
    "name": "the kernel's name for it",
    "perms": "its permissions and its file",
    "flags": "its VmFlags",
    "position": "its place among its neighbours: a guess",
    "elf": "the ELF headers of its file",
    "stack pointer": "a thread's stack pointer",
    "thread descriptor": "the C library's descriptor of the thread",
    "heap header": "the first words of malloc's heap",
    "none": "nothing",
}


def address_answer(
    address: int,
    region: Region,
    measured: MeasuredRegion | None,
    code: Mapping[str, Any] | None = None,
    *,
    width: int | None = None,
    unit: str = "KiB",
) -> str:
    """What lies at an address, line by line.

    Args:
        address: it.
        region: that covers it.
        measured: the same with counters, if they were read.
        code: the object, section, symbol and source line, as far as they are told.
        width: cells of a line; None: as many as are needed.
        unit: of sizes, one of units.UNITS.
    """
    figure, name = in_unit(unit), unit_name(unit)

    def size(value: int) -> str:
        return f"{figure(value)} {name}".rstrip()

    owner = f" of the {region.owner}" if region.owner else ""
    inside = address - region.start
    rows = [
        ("address", f"{address:#x}"),
        ("region", f"{region.start:x}-{region.end:x}, {size(region.size)}, {region.perms}"),
        ("offset in region", f"{inside:#x} of {region.size:#x}"),
        ("kind", f"{kind_word(region)}{owner}"),
        ("told by", EVIDENCE.get(region.kind_evidence, region.kind_evidence)),
        ("name", region_name(region)),
    ]
    if region.use is not None:
        rows.append(("use", f"{printable(str(region.use))}, by {printable(region.use.evidence)}"))
    if region.pathname and region.inode:
        gone = " (deleted)" if region.deleted else ""
        rows += [
            ("file", printable(region.pathname) + gone),
            ("offset in file", f"{region.offset + inside:#x}"),
            ("device, inode", f"{region.dev}, {region.inode}"),
        ]
    rows += code_rows(code or {})
    if measured is not None:
        rows += [
            (label, size(value))
            for label, value in (
                ("resident", measured.rss),
                ("share (PSS)", measured.pss),
                ("only here (USS)", measured.uss),
                ("hugetlb", measured.hugetlb or None),
                ("in swap", measured.swap),
            )
            if value is not None
        ]
        if measured.vm_flags:
            meanings = (
                f"{code}: {meaning or 'not known'}"
                for code, meaning in measured.vm_flags.meanings().items()
            )
            rows.append(("flags", "; ".join(map(printable, meanings))))
    return pairs(rows, width)


def code_rows(code: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What an ELF file says of an address."""

    def within(name: str, offset: int | None) -> str:
        return printable(name) + (f"+{offset:#x}" if offset else "")

    rows = []
    if code.get("object"):
        rows.append(("object", printable(code["object"])))
    if code.get("section"):
        rows.append(("section", within(code["section"], code["offset_in_section"])))
    if code.get("symbol"):
        name = code.get("symbol_demangled") or code["symbol"]
        mark = "?" if code.get("symbol_guess") else ""
        rows.append(("symbol", within(name, code["offset_in_symbol"]) + mark))
    if code.get("source_line"):
        rows.append(("source line", printable(code["source_line"])))
    rows += [("left out", printable(each)) for each in code.get("left_out", ())]
    return rows


def reconciliation_table(
    result: Reconciliation,
    *,
    width: int | None = None,
    unit: str = "KiB",
    chosen: Sequence[str] | None = None,
) -> str:
    """Each pair of totals, the difference and its cause.

    Args:
        result: it.
        width: cells of a line; None: as many as are needed.
        unit: of sizes, one of units.UNITS.
        chosen: keys of the columns to show, in their order; None: all.

    Raises:
        BadArgument: there is no column of that key.
    """
    size, signed = in_unit(unit), signed_in_unit(unit)

    def difference(value: int | None) -> str:
        return signed(value) if value else "="

    rows = [
        [
            one.left,
            size(one.left_value),
            one.right,
            size(one.right_value),
            difference(one.difference),
            one.why,
        ]
        for one in result.comparisons
    ]
    name = unit_name(unit) or "Size"
    # Where the reasons have no room beside the figures they stand below.
    narrow = width is not None and width < BESIDE and chosen is None
    below = narrow and any(row[-1] for row in rows)
    made = [
        Column("total", "Total", floor=12),
        Column("left", name, ">", 2),
        Column("against", "against", floor=12),
        Column("right", name, ">", 1),
        Column("difference", "Difference", ">"),
        *([] if below else [Column("why", "Why", floor=24, wrapped=True)]),
    ]
    text = fitted(made, [row[: len(made)] for row in rows], width=width, chosen=chosen)
    if below:
        text += "\n" + "".join(
            prose(f"{row[0]} against {row[2]}: {row[-1]}", width, "  ") for row in rows if row[-1]
        )
    if result.unavailable:
        text += "\nNot read:\n" + pairs(
            ((f"  {name}", printable(reason)) for name, reason in result.unavailable.items()),
            width,
        )
    equal = sum(not one.difference for one in result.comparisons)
    explained = sum(bool(one.difference) and one.explained for one in result.comparisons)
    text += "\n" + prose(
        f"{len(result.comparisons)} comparisons: {equal} equal, {explained} differ for a known "
        f"cause, {len(result.unexplained)} unexplained.",
        width,
    )
    if result.moved:
        text += prose(
            "The process moved during every attempt: differences may come from that.", width
        )
    return text


BESIDE = 112
"""Cells of a line in which reasons stand beside figures."""


def doctor_table(features: Sequence[Feature], width: int = 80) -> str:
    """What was found, and below each missing part what it costs."""
    name_width = max(len(feature.name) for feature in features)
    indent = " " * (name_width + 7)
    lines = []
    for feature in features:
        serves = feature.serves + (
            f" ({feature.detail})" if feature.found and feature.detail else ""
        )
        here = "yes" if feature.found else "no"
        lines.append(
            fill(
                serves,
                width,
                initial_indent=f"{feature.name:<{name_width}}  {here:<3}  ",
                subsequent_indent=indent,
            )
        )
        if not feature.found:
            why = f" ({feature.detail})" if feature.detail else ""
            lines.append(
                fill(
                    f"without it: {feature.cost}{why}",
                    width,
                    initial_indent=indent,
                    subsequent_indent=indent + "  ",
                )
            )
    return "\n".join(lines) + "\n"
