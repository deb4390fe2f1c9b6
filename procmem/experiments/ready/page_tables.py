"""Page tables: how much memory they take in a process, and how they translate an address."""

from __future__ import annotations

import errno

from procmem.errors import BadArgument, SyscallError
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.specimen import Specimen
from procmem.pages.tables import X86_64, PagingScheme
from procmem.units import size

__all__ = ["page_tables"]


@experiment(
    "page-tables",
    "Page tables",
    "Translating addresses takes memory, too. How much is it?",
)
def page_tables(tell: Teller, *, address: int | None = None, levels: str | None = None) -> None:
    """Reads pages far from each other and measures the tables; or splits an address.

    Args:
        address: splits this address, and does nothing else.
        levels: bits of each level's index and of the offset, such as 10,10,12; default: x86-64.
    """
    if address is not None or levels is not None:
        scheme = scheme_of(levels) if levels else X86_64
        arithmetic(tell, scheme, 0 if address is None else address)
        return
    with Specimen() as s:
        spread(tell, s)
        zero_pages(tell, s)


def spread(tell: Teller, s: Specimen) -> None:
    unit, bits = s.space.rules.page_size, s.space.rules.bits
    one = unit << bits  # what a lowest table spans
    two = one << bits
    three = two << bits
    label = f"map {size(2 * three)}, to read"
    try:
        step = s.mmap(2 * three, prot="r", noreserve=True, place="slot")
    except SyscallError as error:
        if error.errno != errno.ENOMEM:
            raise
        tell.impossible(label, f"{error}: a limit on address space (ulimit -v), or overcommit")
        return
    area = tell.mapping(
        label, step, "Addresses cost nothing. No table is made before the first access."
    )
    tables: list[int | None] = []

    def visit(what: str, at: int, teaches: str) -> None:
        step = tell.step(what, s.read(area, pages=1, start=at // unit), teaches)
        tables.append(step.delta.page_tables)

    visit(
        "read its first page", 0,
        "A table on each level below the top. RSS stays at 0: the page is the zero page, and RSS"
        " does not count page tables.",
    )  # fmt: skip
    visit("read the next page", unit, "The same tables cover it.")
    visit(f"read {size(one)} further on", one, "Another lowest-level table.")
    visit(f"read {size(two)} further on", two, "Another lowest-level table, and one above it.")
    visit(f"read {size(three)} further on", three, "Another on each level below the top.")
    touched = [area.start + at for at in (0, unit, one, two, three)]
    if unit == X86_64.page_size and None not in tables:
        need = X86_64.tables_needed((at, at + unit) for at in touched)
        tell.bytes(
            "tables by arithmetic, without the top level",
            need.size - need.levels[0].size,
            sum(one or 0 for one in tables),
            "Distinct address >> 21, >> 30 and >> 39, 4 KiB each. VmPTE leaves out the top level.",
        )
    tell.step(f"unmap the {size(2 * three)}", s.munmap(area))


def zero_pages(tell: Teller, s: Specimen) -> None:
    unit, bits = s.space.rules.page_size, s.space.rules.bits
    length = unit << 2 * bits
    area = tell.mapping(
        f"map {size(length)}, to read",
        s.mmap(length, prot="r", noreserve=True, place="slot"),
    )
    tell.step(
        "read every page of it",
        s.read(area),
        "RSS stays at 0, yet the kernel uses memory: an entry of 8 bytes for each page.",
    )
    tell.step("read it again", s.read(area))
    tell.step("unmap one half", s.munmap(area, pages=area.pages // 2))
    tell.step("unmap the other", s.munmap(area, start=area.pages // 2), "Nothing is left behind.")


# ---- arithmetic ------------------------------------------------------------------


def scheme_of(text: str) -> PagingScheme:
    """A scheme from the bits of its levels, the offset's last.

    >>> scheme_of("10,10,12")
    PagingScheme((10, 10), page_size=4096, entry_size=4)

    Raises:
        BadArgument
    """
    try:
        *bits, offset = (int(word) for word in text.split(","))
    except ValueError:
        bits, offset = [], 0
    if not bits or min(*bits, offset) < 1 or sum(bits) + offset > 64:
        raise BadArgument(
            "levels are bits such as 10,10,12: each level's index, then the offset, 64 in all;"
            f" not {text!r}"
        )
    return PagingScheme(bits, 1 << offset, 4 if sum(bits) + offset <= 32 else 8)


def arithmetic(tell: Teller, scheme: PagingScheme, address: int) -> None:
    try:
        split = scheme.split(address)
    except ValueError as error:
        raise BadArgument(str(error)) from None
    tell.table(
        f"{address:#x} in {scheme.name or 'a scheme'} of {scheme.address_bits}-bit addresses with"
        f" pages of {size(scheme.page_size)}:",
        ("level", "bits", "index", "entry at byte", "entry covers", "table"),
        [
            (
                one.name,
                f"{one.shift}-{one.shift + one.bits - 1}",
                one.entry,
                one.entry_offset,
                size(one.covers),
                size(scheme.table_bytes[one.level]),
            )
            for one in scheme.walk(address)
        ],
        f"Offset {split.offset:,} ({split.offset:#x}) in page {split.page:,} ({split.page:#x}).",
        f"One access by the program takes {scheme.accesses} to memory without a TLB. A single"
        f" table with an entry for each page would have {size(scheme.single_level_size)}.",
    )
    tell.claim(
        "the parts joined again give the address",
        f"{address:#x}",
        f"{scheme.join(split.indices, split.offset):#x}",
    )
