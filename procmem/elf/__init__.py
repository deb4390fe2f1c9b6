"""ELF files: headers by the specification's names, sizes as GNU size counts them."""

from __future__ import annotations

TYPE_CHECKING = False
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

# Names are imported when they are first used: most users need one part.
_HOMES = {
    "procmem.elf.demangling": "demangle",
    "procmem.elf.headers": "Ehdr ElfFile Phdr Shdr open_elf",
    "procmem.elf.programs": "Bridge Program Step program",
    "procmem.elf.sizing": "ObjectSize SectionSize Sums size sizes",
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
