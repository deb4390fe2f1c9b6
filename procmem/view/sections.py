"""Tables of the ELF files of a process: sections, totals and the bridge from size to VSZ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem.view.columns import columns, kib
from procmem.view.names import printable

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

HEADING = ["Section", "Address", "Size", "Resident", "Private", "Swap", "Counts", "Region"]
WAYS = "<<>>>><<"

RULE = (
    "Bytes. A page may hold the ends of several sections; each counts its own bytes on it.\n"
    "Private: of the resident bytes, those on pages that were written to and copied.\n"
)


def heading(live: LiveObject) -> str:
    """A line on an object: what it is, and whether it still is the file on disk."""
    parts = [live.owner.value] if live.owner else []
    if live.build_id:
        parts.append(f"build-id {short(live.build_id)}")
    state = STATES[live.state]
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
    groups = [(live, section_rows(live)) for live in objects]
    every = [HEADING, *(row for _, rows in groups for row in rows), grand_total(objects)]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    form = "  ".join(f"{{:{way}{width}}}" for way, width in zip(WAYS, widths, strict=True)).format
    rule = "  ".join("-" * width for width in widths)
    parts = []
    for live, rows in groups:
        parts.append(heading(live))
        if live.image is None:
            parts.append(f"  no sections: {printable(live.reason)}")
        else:
            parts += [form(*HEADING).rstrip(), rule]
        parts += [form(*row).rstrip() for row in rows]
        cost = cost_line(live)
        parts += [cost, ""] if cost else [""]
    if len(objects) > 1:
        parts += [rule, form(*grand_total(objects)).rstrip()]
    return "\n".join(parts) + "\n" + RULE


def section_rows(live: LiveObject) -> list[list[str]]:
    rows = [
        [
            printable(section.name) or "(no name)",
            f"{section.address:x}",
            str(section.size),
            str(section.resident),
            str(section.private),
            str(section.swapped),
            section.counts_as,
            "-" if section.region is None else section.region.kind.value,
        ]
        for section in live.sections
    ]
    if rows:
        rows.append(["headers, padding", "", *map(str, live.rest), "", ""])
    total = (live.size, live.resident, live.private, live.swapped)
    rows.append(["total", f"{live.start:x}", *map(str, total), "", f"{len(live.regions)} regions"])
    return rows


def cost_line(live: LiveObject) -> str:
    """What was copied of the file's writable sections, and by whom."""
    copied = {name: size for name, size in live.copied.items() if size}
    if not copied:
        return ""
    listed = ", ".join(f"{printable(name)} {size}" for name, size in copied.items())
    return f"copied: {listed}; by relocation alone {live.relocation_cost}"


def grand_total(objects: Iterable[LiveObject]) -> list[str]:
    listed = list(objects)
    sums = [
        sum(getattr(live, field) for live in listed)
        for field in ("size", "resident", "private", "swapped")
    ]
    return ["total", f"{len(listed)} objects", *map(str, sums), "", ""]


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
