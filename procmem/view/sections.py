"""Tables of the ELF files of a process: sections, totals and the bridge from size to VSZ."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from procmem.regions.kinds import kind_word
from procmem.view.columns import columns, kib
from procmem.view.names import clipped, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from procmem.elf.live import LiveObject

__all__ = ["bridge_tables", "section_tables", "totals_table"]

STATES = {
    "same": "the file on disk",
    "replaced": "replaced on disk",
    "deleted": "deleted on disk",
    "unreadable": "not read",
    "kernel": "the kernel's image",
}

HEADING = ["Section", "Address", "Size", "Resident", "Private", "Swap", "As", "Region"]
WAYS = "<<>>>><<"

RULE = (
    "Bytes. Sections share pages: each counts its own bytes on them.\n"
    "Private: of the resident bytes, those on pages that were written to and copied.\n"
    "As: what size(1) counts the section as.\n"
)

WIDTH = 80
NO_BREAK = "\xa0"


def heading(live: LiveObject) -> str:
    """A line on an object: what it is, and whether it still is the file on disk."""
    parts = [live.owner.value] if live.owner else []
    if live.build_id:
        parts.append(f"build-id {short(live.build_id)}")
    parts.append(f"{len(live.regions)} region{'s' * (len(live.regions) != 1)}")
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
    """As much of a build-id as tells two apart."""
    return build_id[:12]


def section_tables(objects: Sequence[LiveObject]) -> str:
    """The sections of each object, in bytes, with what lies between them and the totals."""
    parts = []
    for live in objects:
        parts.append(heading(live) + "\n")
        if live.image is None:
            parts += [f"  no sections: {printable(live.reason)}\n", f"  total: {totals([live])}\n"]
        else:
            rows = section_rows(live)
            parts.append(columns(HEADING, rows[:-1], WAYS, footer=rows[-1]))
            parts.append(cost_lines(live))
        parts.append("\n")
    if len(objects) > 1:
        parts.append(f"{len(objects)} objects: {totals(objects)}\n")
    return "".join(parts) + RULE


def totals(objects: Iterable[LiveObject]) -> str:
    """The sums of some objects, in words."""
    fields = ("size", "resident", "private", "swapped")
    return ", ".join(f"{field} {sum(getattr(live, field) for live in objects)}" for field in fields)


def section_rows(live: LiveObject) -> list[list[str]]:
    rows = [
        [
            clipped(printable(section.name)) or "(no name)",
            f"{section.address:x}",
            str(section.size),
            str(section.resident),
            str(section.private),
            str(section.swapped),
            section.counts_as,
            "-" if section.region is None else kind_word(section.region),
        ]
        for section in live.sections
    ]
    rows.append(["headers, padding", "", *map(str, live.rest), "", ""])
    total = (live.size, live.resident, live.private, live.swapped)
    rows.append(["total", f"{live.start:x}", *map(str, total), "", ""])
    return rows


def cost_lines(live: LiveObject) -> str:
    """What was copied of the file's writable sections, and by whom."""
    copied = [
        f"{clipped(printable(name))}{NO_BREAK}{size}" for name, size in live.copied.items() if size
    ]
    if not copied:
        return ""
    told = f"copied: {', '.join(copied)}; by relocation alone {live.relocation_cost}"
    lines = fill(
        told, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return lines.replace(NO_BREAK, " ") + "\n"


SORTS = {
    "private": lambda live: -live.private,
    "resident": lambda live: -live.resident,
    "size": lambda live: -live.size,
    "swap": lambda live: -live.swapped,
    "relocation": lambda live: -live.relocation_cost,
    "address": lambda live: live.start,
    "name": lambda live: live.name,
}


def totals_table(objects: Sequence[LiveObject], sort: str = "private") -> str:
    """A row for each object, sizes in KiB.

    Args:
        objects: of one process.
        sort: a key of SORTS: sizes with the largest first, address and name ascending.
    """
    listed = sorted(objects, key=SORTS[sort])

    def sizes(rows: Sequence[LiveObject]) -> list[str]:
        fields = ("size", "resident", "private", "swapped", "relocation_cost")
        return [kib(sum(getattr(live, field) for live in rows)) for field in fields]

    return columns(
        ["Size", "Resident", "Private", "Swap", "Reloc", "Owner", "State", "Build-id", "Object"],
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
        ">>>>><<<<",
        footer=[*sizes(listed), "", "", "KiB", f"{len(listed)} objects"],
    )


def bridge_tables(objects: Sequence[LiveObject]) -> str:
    """For each object the way from text, data and bss of size to its bytes of VSZ."""
    parts = []
    for live in objects:
        if live.image is None:
            parts.append(f"{heading(live)}\n  no headers: {printable(live.reason)}\n")
            continue
        rows = []
        at = 0
        for step in live.bridge():
            if step.what not in ("VSZ", "remainder"):
                at += step.bytes
                rows.append([step.what, f"{step.bytes:+d}", str(at), step.why])
            else:
                rows.append([step.what, "", str(step.bytes), step.why])
        parts.append(heading(live) + "\n" + columns(["Step", "Bytes", "Sum", "Why"], rows, "<>><"))
    return "\n".join(parts)
