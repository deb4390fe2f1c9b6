"""Page faults: those that nobody notices, those that wait for a disk, those that end badly."""

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
    "major": ("read a page of a file on the disk", "The process slept until the disk had it."),
    "swap": ("read a page that was swapped out", ""),
    "null": (
        "read through a NULL pointer",
        "Nothing is mapped at page 0, on purpose: SEGV_MAPERR.",
    ),
    "unmapped": ("read what was unmapped", "No region, no memory: SEGV_MAPERR."),
    "kernel": (
        "read an address of the kernel",
        "The upper half of all addresses is the kernel's; SEGV_MAPERR tells nothing about it.",
    ),
    "non-canonical": (
        "read an address that can't be",
        "Its upper bits are not alike: the processor refuses it, and the signal knows no address.",
    ),
    "read-only": ("write to a read-only page", "The region is there, but not for that: ACCERR."),
    "text": ("write to the program's own code", "Code is mapped r-x."),
    "prot-none": ("read a page of PROT_NONE", "Addresses that are reserved, and nothing else."),
    "no-exec": (
        "execute a page of data",
        "The page is there and may be read: but not run (the NX bit).",
    ),
    "past-end": (
        "read behind the end of a mapped file",
        "The region is there, the file's page is not: SIGBUS.",
    ),
}


@experiment("faults", "Page faults", "Which page faults are there, and which of them hurt?")
def faults(tell: Teller, *, pages: int = 16) -> None:
    """Provokes a fault of every kind.

    Args:
        pages: to count faults over.
    """
    if not 0 < pages <= 4096:
        raise BadArgument(f"{pages} pages: 1 to 4,096 will do")
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
        "The zero page was there, but not for writing: a second fault each. The order is random,"
        " and changes nothing.",
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
        tell.impossible(label, "swap: none is set up; swapon(8) adds some, as root")
        return
    area = tell.mapping(f"map {pages} pages", s.mmap(pages=pages))
    tell.step("write to them", s.touch(area))
    tell.step("ask for them to be swapped out", s.madvise(area, "pageout"))
    tell.step("read them again", s.read(area))
