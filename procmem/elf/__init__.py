"""ELF files: headers by the specification's names, sizes as GNU size counts them."""

from __future__ import annotations

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem.elf.demangling import demangle
    from procmem.elf.headers import Ehdr, ElfFile, Phdr, Shdr, open_elf
    from procmem.elf.programs import Bridge, Program, Step, program
    from procmem.elf.sizing import ObjectSize, SectionSize, Sums, size, sizes

__all__ = [
    "Bridge",
    "Ehdr",
    "ElfFile",
    "ObjectSize",
    "Phdr",
    "Program",
    "SectionSize",
    "Shdr",
    "Step",
    "Sums",
    "demangle",
    "open_elf",
    "program",
    "size",
    "sizes",
]

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours
    from procmem._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "demangling": "demangle",
            "headers": "Ehdr ElfFile Phdr Shdr open_elf",
            "programs": "Bridge Program Step program",
            "sizing": "ObjectSize SectionSize Sums size sizes",
        },
    )
