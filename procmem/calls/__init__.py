"""Memory system calls on this process itself: mmap(2) and others, with their effects measured."""

from __future__ import annotations

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem.calls._bracket import Bracket, Reading, bracket
    from procmem.calls._brk import BrkTrip, brk, brk_trip, sbrk
    from procmem.calls._mmap import mmap
    from procmem.calls.constants import Advice, Map, Mremap, Msync, Prot
    from procmem.calls.mapping import Mapping, Resident, Touched
    from procmem.calls.raw import (
        madvise,
        mincore,
        mlock,
        mprotect,
        mremap,
        msync,
        munlock,
        munmap,
    )

__all__ = [
    "Advice",
    "Bracket",
    "BrkTrip",
    "Map",
    "Mapping",
    "Mremap",
    "Msync",
    "Prot",
    "Reading",
    "Resident",
    "Touched",
    "bracket",
    "brk",
    "brk_trip",
    "madvise",
    "mincore",
    "mlock",
    "mmap",
    "mprotect",
    "mremap",
    "msync",
    "munlock",
    "munmap",
    "sbrk",
]

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours
    from procmem._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_bracket": "Bracket Reading bracket",
            "_brk": "BrkTrip brk brk_trip sbrk",
            "_mmap": "mmap",
            "constants": "Advice Map Mremap Msync Prot",
            "mapping": "Mapping Resident Touched",
            "raw": "madvise mincore mlock mprotect mremap msync munlock munmap",
        },
    )
