"""Protection: what a region may be used for, and how mprotect cuts regions."""

from __future__ import annotations

import errno
import os

from procmem.errors import SyscallError
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.specimen import Specimen

__all__ = ["protection"]

RETURN = {"x86_64": 0xC3}
"""The instruction that returns, where it is one byte."""


@experiment("protection", "Protection", "What keeps a program from writing where it should not?")
def protection(tell: Teller) -> None:
    """Makes pages read-only, executable and inaccessible, and tries them."""
    with Specimen() as s:
        read_only(tell, s)
        execution(tell, s)
        guards(tell, s)
        guards_without_regions(tell, s)


def read_only(tell: Teller, s: Specimen) -> None:
    area = tell.mapping("map 3 pages, read and write", s.mmap(pages=3))
    tell.step("write to all", s.touch(area))
    tell.step(
        "make the middle one read-only",
        s.mprotect(area, "r", start=1, pages=1),
        "A region has one protection for all of it: one becomes three.",
    )
    tell.step("read all three", s.read(area))
    tell.step("write to all three", s.touch(area), "The first one works, the second does not.")
    tell.step("make it writable again", s.mprotect(area, "rw", start=1, pages=1))
    tell.step(
        "unmap the middle one",
        s.munmap(area, start=1, pages=1),
        "A part of a mapping may be unmapped, whatever its mmap call had asked for.",
    )
    tell.step("unmap the whole range", s.munmap(area), "A hole in it is no error.")


def execution(tell: Teller, s: Specimen) -> None:
    area = tell.mapping("map a page for code", s.mmap(pages=1))
    code = RETURN.get(os.uname().machine)
    if code is None:
        tell.impossible("write code into it and run it", "only x86-64 returns by a single byte")
        return
    tell.step("write an instruction: return", s.touch(area, value=code))
    tell.step(
        "run it",
        s.jump(area.start),
        "Data is no code: an attacker who can write may not run what he wrote.",
    )
    tell.step("mprotect it to read and execute", s.mprotect(area, "rx"))
    tell.step("run it", s.jump(area.start), "It returned.")
    tell.step("write to it", s.touch(area), "Writable or executable, but not both (W^X).")
    tell.step("unmap it", s.munmap(area))


def guards(tell: Teller, s: Specimen) -> None:
    area = tell.mapping(
        "reserve 6 pages with PROT_NONE",
        s.mmap(pages=6, prot=""),
        "VSZ counts them, though nobody may touch them: a thread's stack has such a page below.",
    )
    tell.step("open the inner 4", s.mprotect(area, "rw", start=1, pages=4))
    tell.step(
        "write on and on from the first of them",
        s.touch(area, start=1, pages=5),
        "Four writes succeed; the fifth runs into the guard page.",
    )
    tell.step("unmap all", s.munmap(area))


def guards_without_regions(tell: Teller, s: Specimen) -> None:
    area = tell.mapping("map 3 pages", s.mmap(pages=3))
    label = "make the middle one a guard (MADV_GUARD_INSTALL)"
    try:
        step = s.madvise(area, "guard_install", start=1, pages=1)
    except SyscallError as error:
        if error.errno != errno.EINVAL:
            raise
        tell.impossible(label, "this kernel lacks MADV_GUARD_INSTALL (Linux 6.13)")
    else:
        tell.step(
            label, step,
            "A mark in the page table instead of a region of its own: one region it stays.",
        )  # fmt: skip
        tell.step("write to all three", s.touch(area))
    tell.step("unmap all", s.munmap(area))
