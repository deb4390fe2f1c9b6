"""The text of `procmem size --explain`."""

from __future__ import annotations

from procmem.view.columns import columns, pairs
from procmem.view.names import clipped, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.elf import ObjectSize
    from procmem.elf.programs import Program

__all__ = ["explanation"]

RELRO = {
    "full": "full: all symbols are bound at startup, then read-only",
    "partial": "partial: the table of lazily bound functions remains writable",
    "none": "none",
}
NX = {
    True: "yes: the stack is not executable",
    False: "NO: PT_GNU_STACK requests an executable stack",
    None: "unknown: no PT_GNU_STACK",
}

RULE = """\
Code is text in both formats, read-only sections in Berkeley's, too. Of the
rest, sections with contents are data, others bss. Sections that are not
allocated do not count.
"""


def explanation(size: ObjectSize, program: Program | None) -> str:
    """The sections with their classes, the program's type, and the steps to VSZ; in bytes."""
    label = printable(size.path) + (f" ({printable(size.member)})" if size.member else "")
    text = f"{label}\n\n" + columns(
        ["Section", "Address", "Size", "Berkeley", "GNU", "Header says"],
        (
            [
                clipped(printable(one.name)),
                f"{one.address:x}",
                str(one.size),
                one.counts_as or "-",
                one.counts_as_gnu or "-",
                one.facts,
            ]
            for one in size.sections
        ),
        "<>><<<",
    )
    text += RULE
    text += "\n" + columns(
        ["View", "text", "data", "bss", "total"],
        [
            [name, str(one.text), str(one.data), str(one.bss), str(one.total)]
            for name, one in (("Berkeley", size), ("GNU", size.gnu))
        ],
        "<>>>>",
    )
    if program is None:
        return text
    rows = [
        ("type", program.kind),
        ("interpreter", printable(program.interpreter or "none")),
        ("relro", RELRO[program.relro]),
        ("relro bytes", str(program.relro_size)),
        ("NX", NX[program.nx]),
        ("build-id", program.build_id or "none"),
    ]
    text += "\n" + pairs(rows if program.bridge else [rows[0], rows[-1]])
    bridge = program.bridge
    if bridge is None:
        return text
    steps = [["text + data + bss", str(bridge.start)]]
    steps += [[step.what, f"{step.size:+d}"] for step in bridge.steps if step.size]
    steps += [["address space of its PT_LOAD segments", str(bridge.occupied)]]
    return (
        text
        + "\n"
        + columns(
            ["From size to address space", "Bytes"],
            steps,
            "<>",
            footer=["remainder", str(bridge.remainder)],
        )
    )
