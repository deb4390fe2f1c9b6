"""Protection: which accesses a region allows, and how mprotect splits regions."""

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
        "A region has one protection for all its pages: so one region becomes three.",
    )
    tell.step("read all three", s.read(area))
    tell.step("write to all three", s.touch(area), "The first write succeeds, the second does not.")
    tell.step("make it writable again", s.mprotect(area, "rw", start=1, pages=1))
    tell.step(
        "unmap the middle one",
        s.munmap(area, start=1, pages=1),
        "Any part of a mapping may be unmapped.",
    )
    tell.step("unmap the whole range", s.munmap(area), "A gap in the range is no error.")


def execution(tell: Teller, s: Specimen) -> None:
    area = tell.mapping("map a page for code", s.mmap(pages=1))
    code = RETURN.get(os.uname().machine)
    if code is None:
        tell.impossible(
            "write code into it and run it", "only x86-64 has a return instruction of one byte"
        )
        return
    tell.step("write an instruction: return", s.touch(area, value=code))
    tell.step(
        "run it",
        s.jump(area.start),
        "Data is not executable: an attacker who can write memory can't run what was written.",
    )
    tell.step("mprotect it to read and execute", s.mprotect(area, "rx"))
    tell.step("run it", s.jump(area.start), "It returned.")
    tell.step(
        "write to it", s.touch(area), "Memory should be writable or executable, never both (W^X)."
    )
    tell.step("unmap it", s.munmap(area))


def guards(tell: Teller, s: Specimen) -> None:
    area = tell.mapping(
        "reserve 6 pages with PROT_NONE",
        s.mmap(pages=6, prot=""),
        "VSZ counts them, though no access is allowed. A thread's stack has such a page below it.",
    )
    tell.step("make the inner 4 accessible", s.mprotect(area, "rw", start=1, pages=4))
    tell.step(
        "write to page after page from the first of them",
        s.touch(area, start=1, pages=5),
        "Four writes succeed; the fifth hits the guard page.",
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
            "A marker in the page table instead of a region of its own: it stays one region.",
        )  # fmt: skip
        tell.step("write to all three", s.touch(area))
    tell.step("unmap all", s.munmap(area))
