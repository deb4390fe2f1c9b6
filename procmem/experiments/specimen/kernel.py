"""What the model must know of this kernel, and of a process that has just started."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from procmem.calls.constants import Map, Prot, advice_of
from procmem.experiments.model.page_tables import Tally
from procmem.experiments.model.space import Space
from procmem.experiments.model.vmas import EXEC, READ, WRITE, Backing, Cache, Vma
from procmem.experiments.specimen.arguments import WORD
from procmem.native import lib
from procmem.pages.states import PRIVATE, SWAPPED, read_states
from procmem.procfs.files import system_file
from procmem.regions import parse_maps, parse_smaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.experiments.model.faults import Rules
    from procmem.experiments.specimen.helper import Helper
    from procmem.procfs.files import ProcessFiles

__all__ = [
    "has_swap",
    "how_regions_join",
    "huge_pages",
    "initial_space",
    "page_size",
]

THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def page_size() -> int:
    """In bytes."""
    return os.sysconf("SC_PAGE_SIZE")


def has_swap() -> bool:
    """Whether this system has swap space."""
    return len((system_file("swaps") or b"").splitlines()) > 1


@lru_cache(maxsize=1)
def huge_pages() -> str:
    """The system's setting of transparent huge pages: "always", "madvise" or "never"."""
    try:
        return THP.read_text().partition("[")[2].partition("]")[0] or "never"
    except OSError:
        return "never"


def how_regions_join(helper: Helper, at: int) -> tuple[bool, bool]:
    """Rules that have changed, tried with two free pages: `uncharges`, `untouched_joins`."""
    size = page_size()
    flags = Map.MAP_PRIVATE | Map.MAP_ANONYMOUS | Map.MAP_FIXED_NOREPLACE

    def map_two() -> None:
        prot = Prot.PROT_READ | Prot.PROT_WRITE
        helper.syscall("mmap", at, 2 * size, prot, flags, WORD, 0)

    map_two()
    helper.syscall("mprotect", at, 2 * size, Prot.PROT_READ)
    read_only = parse_smaps(helper.files.read("smaps")).find(at)
    vm_flags = None if read_only is None else read_only.vm_flags
    uncharges = vm_flags is None or "ac" not in vm_flags
    helper.syscall("munmap", at, 2 * size)

    map_two()
    helper.syscall("madvise", at, size, advice_of("dontdump"))
    helper.measure(lib.PM_OP_TOUCH, at + size, 1, size, 1, 1, 0)
    helper.syscall("madvise", at + size, size, advice_of("dontdump"))
    region = parse_maps(helper.files.read("maps")).find(at)
    joins = region is None or region.end == at + 2 * size
    helper.syscall("munmap", at, 2 * size)
    return uncharges, joins


def initial_space(files: ProcessFiles, known: Rules) -> Space:
    """The regions and page tables that a specimen starts with."""
    size = known.page_size
    table = parse_maps(files.read("maps"), source=f"{files.path}/maps", page_size=size)
    regions, spans = [], []
    for region in table:
        perms = str(region.perms)
        prot = READ * (perms[0] == "r") | WRITE * (perms[1] == "w") | EXEC * (perms[2] == "x")
        special = region.pathname is not None and region.pathname not in ("[heap]", "[stack]")
        flags = {"account"} if prot & WRITE else set()
        if region.pathname == "[stack]":
            flags.add("stack")
        if (region.pathname or "").startswith("[vvar"):
            flags.add("pfnmap")
        regions.append(
            Vma(
                region.start // size,
                region.end // size,
                prot,
                perms[3] == "s",
                Backing("other", Cache(1 << 62)) if special else None,
                region.offset // size if special else region.start // size,
                frozenset(flags),
            )
        )
        spans.append((region.start, region.end))
    space = Space(known, regions)
    pagemap = files.open("pagemap")
    try:
        states = read_states(pagemap, spans, size)
    finally:
        os.close(pagemap)
    ignored = Tally()
    for start, end, state in states.runs:
        region_at = space.vmas.at(start // size)
        if region_at is None:
            continue
        for index, mask in space.tables.masks(start // size, end // size):
            entries = space.tables.make(index, ignored)
            if state == PRIVATE:
                entries.anon |= mask
                space.vmas.prepare_anon(region_at)
            elif state == SWAPPED:
                entries.swap |= mask
            else:
                entries.file |= mask
    return space
