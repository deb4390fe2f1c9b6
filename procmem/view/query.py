"""The answer of `procmem query`, as text."""

from __future__ import annotations

from typing import Any

from procmem.regions.kinds import kind_word
from procmem.units import in_unit, unit_name
from procmem.view.colours import by_kind
from procmem.view.columns import pairs
from procmem.view.maps import region_name
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from procmem.regions import MeasuredRegion, Region

__all__ = ["address_answer"]

EVIDENCE = {
    "name": "the kernel's name for it",
    "perms": "its permissions and its file",
    "flags": "its VmFlags",
    "position": "its position among other regions: a guess",
    "elf": "the ELF headers of its file",
    "stack pointer": "a thread's stack pointer",
    "thread descriptor": "the C library's descriptor of the thread",
    "heap header": "the first words of malloc's heap",
    "heap header of a part": "the first words of a heap of malloc in it, which is not all of it",
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
    """What is mapped at an address, one fact per line.

    Args:
        address: the address.
        region: the region that contains it.
        measured: the same region with counters, if they were read.
        code: the object, section, symbol and source line, as far as they are known.
        width: cells per line; None: as many as needed.
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
                ("huge pages", measured.huge or None),
                ("merged (KSM)", measured.ksm or None),
                ("in swap", measured.swap),
            )
            if value is not None
        ]
        if measured.vm_flags:
            meanings = (
                f"{code}: {meaning or 'unknown'}"
                for code, meaning in measured.vm_flags.meanings().items()
            )
            rows.append(("flags", "; ".join(map(printable, meanings))))
    paints = {"kind": lambda text, _: by_kind(text, region.kind.value)}
    if region.use is not None:
        use = region.use.name
        paints["use"] = lambda text, _: by_kind(text, use)
    return pairs(rows, width, paints)


def code_rows(code: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rows from the ELF file of an address."""

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
