"""Tables of the ELF files of a process: sections, totals and the bridge from size to VSZ."""

from __future__ import annotations

from procmem.procfs import probes
from procmem.regions.kinds import kind_word
from procmem.units import count, in_unit, unit_name
from procmem.view.colours import by_kind
from procmem.view.columns import Column, fitted, prose
from procmem.view.names import clipped, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from procmem.elf.loaded import LiveObject

__all__ = ["bridge_tables", "section_tables", "totals_table"]

STATES = {
    "same": "the file on disk",
    "replaced": "replaced on disk",
    "deleted": "deleted on disk",
    "unreadable": "not read",
    "kernel": "the kernel's image",
}

COLUMNS = [
    Column("section", "Section", floor=16),
    Column("address", "Address", rank=5),
    Column("size", "Size", ">", 1),
    Column("resident", "Resident", ">", 2),
    Column("private", "Private", ">", 3),
    Column("swap", "Swap", ">", 7),
    Column("as", "As", rank=4),
    Column("region", "Region", rank=6, paint=by_kind),
]

RULES = [
    "Sections share pages; each counts only its own bytes.",
    "Private: resident bytes on pages that were written to and therefore copied.",
    "As: how size(1) counts the section.",
]

ZEROS = "Pages that were only read count as resident: this kernel does not tell them apart."

WIDTH = 80
NO_BREAK = "\xa0"


def heading(live: LiveObject) -> str:
    """A line on an object, and whether it is still the file on disk."""
    parts = [live.owner.value] if live.owner else []
    if live.build_id:
        parts.append(f"build-id {short(live.build_id)}")
    parts.append(count(len(live.regions), "region"))
    state = STATES[live.state]
    if live.state == "unreadable" and live.image is not None:
        state = live.reason
    if live.state == "replaced":
        if live.file_build_id and live.file_build_id == live.build_id:
            state += " by the same build"
        elif live.file_build_id:
            state += f" by build-id {short(live.file_build_id)}"
    parts.append(state)
    return f"{printable(live.path)}  ({', '.join(parts)})"


def short(build_id: str) -> str:
    """A shortened build-id."""
    return build_id[:12]


def section_tables(
    objects: Sequence[LiveObject],
    *,
    width: int | None = None,
    chosen: Sequence[str] | None = None,
    unit: str = "B",
) -> str:
    """The sections of each object, with the gaps between them and the totals.

    Args:
        objects: of one process.
        width: cells per line; None: as many as needed.
        chosen: keys of the columns, in their order: section, address, size, resident, private,
            swap, as, region.
        unit: of sizes, one of units.UNITS.

    Raises:
        BadArgument: there is no such column.
    """
    parts = []
    size = in_unit(unit)
    for live in objects:
        parts.append(prose(heading(live), width, "  "))
        if live.image is None:
            parts += [
                prose(f"  no sections: {printable(live.reason)}", width, "    "),
                prose(f"  total: {totals([live], size)}", width, "    "),
            ]
        else:
            rows = section_rows(live, size)
            table = fitted(COLUMNS, rows[:-1], footer=rows[-1], width=width, chosen=chosen)
            parts.append(table)
            parts.append(cost_lines(live, width, size))
        parts.append("\n")
    if len(objects) > 1:
        parts.append(prose(f"{len(objects)} objects: {totals(objects, size)}", width, "  "))
    rules = [f"Sizes in {unit_name(unit)}." if unit != "B" else "Bytes.", *RULES]
    if not probes.has_pagemap_scan():
        rules.append(ZEROS)
    first = f"{rules[0]} {rules[1]}"
    return "".join(parts) + "".join(prose(line, width, "  ") for line in (first, *rules[2:]))


def totals(objects: Iterable[LiveObject], size: Callable[[int | None], str]) -> str:
    """The totals of some objects in words."""
    fields = ("size", "resident", "private", "swapped")
    return ", ".join(
        f"{field} {size(sum(getattr(live, field) for live in objects))}" for field in fields
    )


def section_rows(live: LiveObject, size: Callable[[int | None], str]) -> list[list[str]]:
    rows = [
        [
            clipped(printable(section.name)) or "(no name)",
            f"{section.address:x}",
            size(section.size),
            size(section.resident),
            size(section.private),
            size(section.swapped),
            section.counts_as,
            "-" if section.region is None else kind_word(section.region),
        ]
        for section in live.sections
    ]
    rows.append(["headers, padding", "", *map(size, live.rest), "", ""])
    total = (live.size, live.resident, live.private, live.swapped)
    rows.append(["total", f"{live.start:x}", *map(size, total), "", ""])
    return rows


def cost_lines(live: LiveObject, width: int | None, size: Callable[[int | None], str]) -> str:
    """How much of the writable sections was copied, and by what."""
    copied = [
        f"{clipped(printable(name))}{NO_BREAK}{size(number)}"
        for name, number in live.copied.items()
        if number
    ]
    if not copied:
        return ""
    told = f"copied: {', '.join(copied)}; by relocation alone {size(live.relocation_cost)}"
    return prose(told, width or WIDTH, "  ").replace(NO_BREAK, " ")


SORTS = {
    "private": lambda live: -live.private,
    "resident": lambda live: -live.resident,
    "size": lambda live: -live.size,
    "swap": lambda live: -live.swapped,
    "relocation": lambda live: -live.relocation_cost,
    "address": lambda live: live.start,
    "name": lambda live: live.name,
}


def totals_table(
    objects: Sequence[LiveObject],
    sort: str = "private",
    *,
    width: int | None = None,
    chosen: Sequence[str] | None = None,
    unit: str = "KiB",
) -> str:
    """A row for each object.

    Args:
        objects: of one process.
        sort: a key of SORTS; sizes are sorted in descending, address and name in ascending order.
        width: cells per line; None: as many as needed.
        chosen: keys of the columns: size, resident, private, swap, reloc, owner, state,
            build-id, object.
        unit: of sizes, one of units.UNITS.
    """
    size = in_unit(unit)
    listed = sorted(objects, key=SORTS[sort])

    def sizes(rows: Sequence[LiveObject]) -> list[str]:
        fields = ("size", "resident", "private", "swapped", "relocation_cost")
        return [size(sum(getattr(live, field) for live in rows)) for field in fields]

    return fitted(
        TOTALS,
        (
            [
                *sizes([live]),
                live.owner.value if live.owner else "",
                live.state,
                short(live.build_id or "-"),
                printable(live.name),
            ]
            for live in listed
        ),
        footer=[*sizes(listed), "", "", unit_name(unit), f"{len(listed)} objects"],
        width=width,
        chosen=chosen,
    )


TOTALS = [
    Column("size", "Size", ">", 1),
    Column("resident", "Resident", ">", 2),
    Column("private", "Private", ">"),
    Column("swap", "Swap", ">", 6),
    Column("reloc", "Reloc", ">", 4),
    Column("owner", "Owner", rank=5),
    Column("state", "State", rank=3),
    Column("build-id", "Build-id", rank=7),
    Column("object", "Object", floor=12),
]


def bridge_tables(objects: Sequence[LiveObject], *, width: int | None = None) -> str:
    """For each object, the steps from text, data and bss of size(1) to its VSZ."""
    parts = []
    for live in objects:
        if live.image is None:
            reason = prose(f"  no headers: {printable(live.reason)}", width, "    ")
            parts.append(prose(heading(live), width, "  ") + reason)
            continue
        rows = []
        at = 0
        for step in live.bridge():
            if step.what not in ("VSZ", "remainder"):
                at += step.bytes
                rows.append([step.what, f"{step.bytes:+d}", str(at), step.why])
            else:
                rows.append([step.what, "", str(step.bytes), step.why])
        parts.append(prose(heading(live), width, "  ") + fitted(STEPS, rows, width=width))
    return "\n".join(parts)


STEPS = [
    Column("step", "Step", floor=12),
    Column("bytes", "Bytes", ">", 1),
    Column("sum", "Sum", ">"),
    Column("why", "Why", floor=16, wrapped=True),
]
