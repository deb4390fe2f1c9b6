"""Page faults of each kind, caused on purpose."""

from __future__ import annotations

import os

from procmem.errors import BadArgument, Unsupported
from procmem.experiments.model.vmas import EXEC
from procmem.experiments.specimen.arguments import WORD
from procmem.experiments.specimen.kernel import has_swap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.experiments.specimen.arguments import Area
    from procmem.experiments.specimen.calls import Calls
    from procmem.experiments.specimen.step import Step

__all__ = ["FAULTS", "provoke"]

FAULTS = (
    "minor", "major", "swap", "null", "unmapped", "kernel", "non-canonical", "read-only", "text",
    "prot-none", "no-exec", "past-end",
)  # fmt: skip
"""The kinds of page faults that Specimen.fault() causes."""


def provoke(specimen: Calls, kind: str) -> Step:
    """Specimen.fault()."""
    if kind not in FAULTS:
        raise BadArgument(f"no fault {kind!r}; there are {', '.join(FAULTS)}")
    size, bits = specimen.space.rules.page_size, specimen.space.rules.address_bits
    if kind == "null":
        return specimen.read(0)
    if kind == "kernel":
        return specimen.read(-(1 << bits) & WORD)
    if kind == "non-canonical":
        if os.uname().machine != "x86_64":
            raise Unsupported("a non-canonical address", "only x86-64 has those")
        return specimen.read(1 << 60)
    if kind == "text":
        return specimen.touch(
            next(r.start for r in specimen.space.vmas.all if r.prot & EXEC) * size
        )
    if kind in ("major", "past-end"):
        return on_file(specimen, kind)
    prot = {"read-only": "r", "prot-none": ""}.get(kind, "rw")
    area = mapped(specimen.mmap(pages=1, prot=prot))
    if kind == "unmapped":
        specimen.munmap(area)
    elif kind == "swap":
        if not has_swap():
            raise Unsupported("swap", "there is no swap space; swapon(8) adds some, as root")
        specimen.touch(area)
        specimen.madvise(area, "pageout")
    elif kind == "no-exec":
        specimen.touch(area)
        return specimen.jump(area.start)
    return specimen.touch(area, write=kind not in ("unmapped", "prot-none", "swap"))


def on_file(specimen: Calls, kind: str) -> Step:
    from procmem.experiments.specimen.backing import disk_file, memory_file

    size = specimen.space.rules.page_size
    if kind == "past-end":
        with memory_file(1, size) as fd:
            area = mapped(specimen.mmap(pages=2, prot="r", file=fd))
        return specimen.read(area, start=1)
    with disk_file(1, size) as fd:
        area = mapped(specimen.mmap(pages=1, prot="r", file=fd, warm=False))
        return specimen.read(area)


def mapped(step: Step) -> Area:
    area = step.mapping
    assert area is not None  # noqa: S101 - for mypy: mmap's steps have one
    return area
