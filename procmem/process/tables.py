"""The page tables of a live process: those that it must have, compared with VmPTE."""

from __future__ import annotations

import os
from typing import NamedTuple

from procmem.pages.pagemap import LIMIT, PageState
from procmem.pages.scan import IS_FILE, IS_HUGE, Range, scan_ranges
from procmem.pages.tables import (
    AARCH64_4K,
    AARCH64_16K,
    AARCH64_64K,
    X86_64,
    X86_64_5,
    PagingScheme,
)
from procmem.process.pages import pagemap_of
from procmem.procfs.text import parse_status
from procmem.procfs.totals import in_bytes
from procmem.regions.read import Queries
from procmem.regions.region import PAGE_SIZE

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem.procfs import ProcessFiles

__all__ = ["PageTables", "TableLevel", "machine_scheme", "page_tables_of", "this_machine"]

ATTEMPTS = 4


class TableLevel(NamedTuple):
    """The tables of one level that a process must have.

    Attributes:
        name: such as "PMD".
        covers: bytes of address space that one such table maps.
        tables: how many.
        counted: whether VmPTE counts them. It does not count the top level.
    """

    name: str
    covers: int
    tables: int
    counted: bool


class PageTables(NamedTuple):
    """The page tables of a process.

    Attributes:
        scheme: how the machine translates addresses.
        levels: the top level first.
        predicted: bytes of the counted tables that its present pages need.
        vm_pte: bytes of page tables that the kernel counts (VmPTE of proc_pid_status(5)).
        bound: "exact": both are equal. "lower bound": it has more than its pages need now.
            "moved": it changed while it was read.
            "unexplained": it has fewer; the only known cause are shared tables of hugetlbfs.
        why: the reason in words.
    """

    scheme: PagingScheme
    levels: tuple[TableLevel, ...]
    predicted: int
    vm_pte: int
    bound: str
    why: str

    @property
    def difference(self) -> int:
        """Bytes by which VmPTE is larger than predicted."""
        return self.vm_pte - self.predicted

    @property
    def exact(self) -> bool:
        """Whether its present pages account for every table."""
        return self.bound == "exact"


WHY = {
    "exact": "every table holds a page that is present, in swap, or a guard page",
    "lower bound": "tables that once held pages are kept until the range around them is unmapped; "
    "tables of devices' memory and [vvar] don't show in pagemap",
    "moved": "the process mapped, touched or gave back memory while it was read",
    "unexplained": "tables of hugetlbfs can be shared between processes and are charged to one",
}


def machine_scheme(machine: str, page_size: int, cpu_flags: str = "") -> PagingScheme:
    """How this machine translates the addresses of processes.

    Args:
        machine: as in uname(2).
        page_size: in bytes.
        cpu_flags: of /proc/cpuinfo: with la57 x86-64 has five levels.

    Raises:
        Unsupported: procmem does not know its page tables.
    """
    if machine == "x86_64":
        return X86_64_5 if "la57" in cpu_flags.split() else X86_64
    if machine == "aarch64":
        for scheme in (AARCH64_4K, AARCH64_16K, AARCH64_64K):
            if scheme.page_size == page_size:
                return scheme
    from procmem.errors import Unsupported

    raise Unsupported("page tables", f"how {machine} lays them out is not known to procmem")


def cpu_flags() -> str:
    """The flags of the first processor; empty if they can't be read."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            return next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return ""


def this_machine() -> PagingScheme:
    """How this machine translates addresses.

    Raises:
        Unsupported: procmem does not know its page tables.
    """
    return machine_scheme(os.uname().machine, PAGE_SIZE, cpu_flags())


def page_tables_of(files: ProcessFiles) -> PageTables:
    """The tables of a process; see Process.page_tables()."""
    scheme = this_machine()
    for _ in range(ATTEMPTS):
        before = charged(files)
        counts = tables_of(scheme, mapped(files), files)
        moved = charged(files) != before
        if not moved:
            break
    # Linux does not count the top level, nor the second one of five.
    first = len(scheme.levels) - 3 if len(scheme.levels) > 3 else 1
    levels = tuple(
        TableLevel(name, covers << bits, count, i >= first)
        for i, (name, covers, bits, count) in enumerate(
            zip(scheme.names, scheme.covers, scheme.levels, counts, strict=True)
        )
    )
    predicted = sum(
        level.tables * size
        for level, size in zip(levels, scheme.table_bytes, strict=True)
        if level.counted
    )
    bound = "exact" if before == predicted else "lower bound"
    if before < predicted:
        bound = "unexplained"
    if moved:
        bound = "moved"
    return PageTables(scheme, levels, predicted, before, bound, WHY[bound])


def charged(files: ProcessFiles) -> int:
    """VmPTE in bytes."""
    while True:
        name = files.memory_name("status")
        told = in_bytes(parse_status(files.read(name), f"{files.path}/{name}").get("VmPTE"))
        if told is not None:
            return told
        if not files.is_live:
            from procmem.errors import Unsupported

            raise Unsupported("VmPTE", f"{files.path}/{name} does not tell it")
        files.explain_empty()


def mapped(files: ProcessFiles) -> list[Range]:
    """All ranges that are present or in swap: start, end, and the categories of PAGEMAP_SCAN."""
    with files.memory("pagemap", beside_maps=True) as file:
        try:
            found = scan_ranges(file.fd, 0, LIMIT, IS_HUGE | IS_FILE)
        except OSError as error:
            files.fail(error, file.path)
        file.check()
    if found is not None:
        return found
    return [
        (run.start, run.end, 0)
        for run in pagemap_of(files, 0, LIMIT).runs()
        if run.state is not PageState.ABSENT
    ]


def tables_of(scheme: PagingScheme, ranges: list[Range], files: ProcessFiles) -> list[int]:
    """How many tables of each level some ranges need."""
    sizes = scheme.covers
    # Pages mapped by entries of one level need the tables down to that level.
    by_level: dict[int, list[tuple[int, int]]] = {len(sizes) - 1: []}
    queries = Queries(files)
    for start, end, categories in ranges:
        level = len(sizes) - 1
        if categories & IS_HUGE:
            told = queries.page_size(start) or PAGE_SIZE
            if told > PAGE_SIZE:
                level = max(i for i, size in enumerate(sizes) if size >= told)
            elif categories & IS_FILE:
                level -= 1
            # The kernel keeps a table for each anonymous huge page, to split it later.
        by_level.setdefault(level, []).append((start, end))
    counts = [1]
    for level in range(1, len(sizes)):
        deep = [each for at, spans in by_level.items() if at >= level for each in spans]
        counts.append(scheme.tables_needed(deep).levels[level].tables if deep else 0)
    return counts
