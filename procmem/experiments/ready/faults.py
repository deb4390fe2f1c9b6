"""Page faults: minor ones, major ones that wait for a disk, and those that end in a signal."""

from __future__ import annotations

from procmem.errors import BadArgument, Unsupported
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.backing import disk_file
from procmem.experiments.specimen.kernel import has_swap
from procmem.experiments.specimen.provoke import FAULTS
from procmem.experiments.specimen.specimen import Specimen

__all__ = ["faults"]

LABELS = {
    "minor": ("write to a new page", ""),
    "major": (
        "read a page of a file on the disk",
        "The process sleeps until the disk has delivered the page.",
    ),
    "swap": ("read a page that was swapped out", ""),
    "null": (
        "read through a NULL pointer",
        "Nothing is mapped at page 0, on purpose: SEGV_MAPERR.",
    ),
    "unmapped": ("read what was unmapped", "There is no region any more: SEGV_MAPERR."),
    "kernel": (
        "read an address of the kernel",
        "The upper half of the address space is the kernel's; SEGV_MAPERR reveals nothing of it.",
    ),
    "non-canonical": (
        "read a non-canonical address",
        "Its upper bits differ: the processor refuses it, and the signal has no address.",
    ),
    "read-only": (
        "write to a read-only page",
        "There is a region, but it does not allow that: SEGV_ACCERR.",
    ),
    "text": ("write to the program's own code", "Code is mapped r-x."),
    "prot-none": ("read a page of PROT_NONE", "The addresses are reserved; no access is allowed."),
    "no-exec": (
        "execute a page of data",
        "The page is present and readable, but not executable (the NX bit).",
    ),
    "past-end": (
        "read beyond the end of a mapped file",
        "There is a region, but the file has no such page: SIGBUS.",
    ),
}


@experiment("faults", "Page faults", "Which kinds of page faults are there, and which are errors?")
def faults(tell: Teller, *, pages: int = 16) -> None:
    """Causes a page fault of every kind.

    Args:
        pages: for how many pages faults are counted.
    """
    if not 0 < pages <= 4096:
        raise BadArgument(f"pages must be 1 to 4,096, not {pages}")
    with Specimen() as s:
        for kind in FAULTS:
            label, teaches = LABELS[kind]
            try:
                tell.step(label, s.fault(kind), teaches)
            except Unsupported as error:
                tell.impossible(label, str(error))
            if kind == "minor":
                many(tell, s, pages)
        with_swap(tell, s, pages)


def many(tell: Teller, s: Specimen, pages: int) -> None:
    area = tell.mapping(f"map {pages} pages", s.mmap(pages=pages))
    tell.step(f"read {pages} new pages", s.read(area))
    tell.step(
        f"write to {pages} pages that were only read",
        s.touch(area, order="random", seed=1),
        "The zero page is mapped, but read-only: a second fault each. The random order makes no"
        " difference.",
    )
    populated = tell.mapping(
        f"map {pages} pages with MAP_POPULATE",
        s.mmap(pages=pages, populate=True),
        "The call itself takes the faults.",
    )
    tell.step("write to them", s.touch(populated))
    try:
        with disk_file(pages, s.space.rules.page_size) as fd:
            cold = s.mmap(pages=pages, prot="r", file=fd, warm=False).mapping
            if cold is None:
                raise BadArgument("nothing was mapped")
            s.madvise(cold, "random")
            tell.step(f"read {pages} pages of a file on the disk", s.read(cold))
    except Unsupported as error:
        tell.impossible(f"read {pages} pages of a file on the disk", str(error))


def with_swap(tell: Teller, s: Specimen, pages: int) -> None:
    label = f"swap {pages} pages out and in again"
    if not has_swap():
        tell.impossible(label, "swap: there is no swap space; swapon(8) adds some, as root")
        return
    area = tell.mapping(f"map {pages} pages", s.mmap(pages=pages))
    tell.step("write to them", s.touch(area))
    tell.step("ask for them to be swapped out", s.madvise(area, "pageout"))
    tell.step("read them again", s.read(area))
