"""Calls of this process on its own memory: mmap(2) and its kin, with their effect measured."""

from __future__ import annotations

TYPE_CHECKING = False
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

# Names are imported when they are first used: most users need one part.
_HOMES = {
    "procmem.calls._bracket": "Bracket Reading bracket",
    "procmem.calls._brk": "BrkTrip brk brk_trip sbrk",
    "procmem.calls.constants": "Advice Map Mremap Msync Prot",
    "procmem.calls._mmap": "mmap",
    "procmem.calls.mapping": "Mapping Resident Touched",
    "procmem.calls.raw": "madvise mincore mlock mprotect mremap msync munlock munmap",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name in _HOME_OF:
            from importlib import import_module

            value = getattr(import_module(_HOME_OF[name]), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
