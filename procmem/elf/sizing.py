"""Sizes of files as GNU size counts them, and why a section counts as it does."""

from __future__ import annotations

import os

from procmem.elf.counting import (
    ALLOC,
    BSS,
    CODE,
    CODE_FLAG,
    CONTENTS,
    DATA,
    NONE,
    READONLY,
    berkeley,
    gnu,
)
from procmem.elf.headers import ElfFile
from procmem.elf.sections import ObjectSections
from procmem.elf.source import fail, open_source
from procmem.elf.spec import ET_CORE

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from typing import Any

    from procmem.elf.archive import Archive
    from procmem.elf.cores import CoreSections
    from procmem.elf.source import Source

__all__ = ["ObjectSize", "SectionSize", "Sums", "read_sections", "size", "sizes"]

WRAP = (1 << 64) - 1
KINDS = {NONE: None, CODE: "text", DATA: "data", BSS: "bss"}


class Sums:
    """Bytes of text, data and bss under one view.

    Attributes:
        text, data, bss: bytes.
    """

    __slots__ = ("bss", "data", "text")

    def __init__(self, text: int, data: int, bss: int) -> None:
        self.text = text
        self.data = data
        self.bss = bss

    @property
    def total(self) -> int:
        """All three, modulo 2**64 as GNU adds them."""
        return (self.text + self.data + self.bss) & WRAP

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sums) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int, int, int]:
        return self.text, self.data, self.bss

    def __repr__(self) -> str:
        return f"Sums(text={self.text}, data={self.data}, bss={self.bss})"


class SectionSize:
    """A section as GNU size counts it.

    Attributes:
        name: bytes that are no UTF-8 are kept (surrogateescape).
        address: its address in memory (sh_addr); 0: it is not loaded.
        size: bytes.
        counts_as: "text", "data" or "bss" in the Berkeley view; None: it does not count.
        counts_as_gnu: the same in the GNU view.
        facts: what of its header decides, such as "read-only, with contents".
        why: the reason, in words.
    """

    __slots__ = ("_flags", "address", "name", "size")

    def __init__(self, name: str, address: int, size: int, flags: int) -> None:
        self.name = name
        self.address = address
        self.size = size
        self._flags = flags

    @property
    def counts_as(self) -> str | None:
        """What it counts as in the Berkeley view."""
        return KINDS[berkeley(self._flags)]

    @property
    def counts_as_gnu(self) -> str | None:
        """What it counts as in the GNU view."""
        return KINDS[gnu(self._flags)]

    @property
    def why(self) -> str:
        """Why it counts as it does."""
        if not self._flags & ALLOC:
            return "not allocated: takes no memory, counts in no sum but -A's"
        ours, theirs = self.counts_as, self.counts_as_gnu
        if ours == theirs:
            return f"allocated, {self.facts}: counts as {ours} in both views"
        return f"allocated, {self.facts}: counts as {ours} in Berkeley's view, as {theirs} in GNU's"

    @property
    def facts(self) -> str:
        """The properties of its header that decide, in few words."""
        flags = self._flags
        if not flags & ALLOC:
            return "not allocated"
        if flags & CODE_FLAG:
            return "code"
        access = "read-only" if flags & READONLY else "writable"
        return f"{access}, {'with' if flags & CONTENTS else 'no'} contents"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        names = ("name", "address", "size", "counts_as", "counts_as_gnu", "why")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return (
            f"<SectionSize {self.name} {self.size} at {self.address:#x}: {self.counts_as or '-'}>"
        )


class ObjectSize:
    """The size of an object, executable or core file, or of a member of an archive.

    Attributes:
        path: the file that was asked for.
        member: the member's name if the file is an archive, else None.
        text, data, bss: bytes in the Berkeley view, as `size` prints them.
        gnu: the same in the GNU view (`size -G`).
    """

    __slots__ = ("_place", "_sections", "bss", "data", "gnu", "member", "path", "text")

    def __init__(
        self,
        path: str,
        member: str | None,
        sums: tuple[int, int, int],
        gnu_sums: tuple[int, int, int],
        place: tuple[Any, ...],
    ) -> None:
        self.path = path
        self.member = member
        self.text, self.data, self.bss = sums
        self.gnu = Sums(*gnu_sums)
        # Where the file lies and how it was: its sections are read when they are asked for.
        self._place = place
        self._sections: list[SectionSize] | None = None

    @property
    def total(self) -> int:
        """Text, data and bss, modulo 2**64."""
        return (self.text + self.data + self.bss) & WRAP

    @property
    def sections(self) -> list[SectionSize]:
        """The sections in the order of `size -A`, read when this is first asked for.

        Raises:
            ElfError: the file has changed since its size was taken.
            OSError
        """
        if self._sections is None:
            path, start, length, identity = self._place
            with open_source(path) as whole:
                if whole.identity != identity:
                    fail(path, "it has changed since its size was taken")
                source = whole.window(start, length) if start else whole
                self._sections = [
                    SectionSize(name.decode("utf-8", "surrogateescape"), address, count, flags)
                    for name, address, count, flags in read_sections(source).rows()
                    if flags
                ]
        return self._sections

    def to_dict(self) -> dict[str, Any]:
        """Plain values, sections included.

        Raises:
            ElfError, OSError: as `sections`.
        """
        return {
            "path": self.path,
            "member": self.member,
            "text": self.text,
            "data": self.data,
            "bss": self.bss,
            "total": self.total,
            "gnu": {
                "text": self.gnu.text,
                "data": self.gnu.data,
                "bss": self.gnu.bss,
                "total": self.gnu.total,
            },
            "sections": [section.to_dict() for section in self.sections],
        }

    def __repr__(self) -> str:
        inside = f"({self.member})" if self.member is not None else ""
        return (
            f"<ObjectSize {self.path}{inside}: text {self.text}, data {self.data}, bss {self.bss}>"
        )


def read_sections(source: Source) -> ObjectSections | CoreSections:
    """The sections that GNU's library makes of any ELF file.

    Raises:
        ElfError, OSError
    """
    elf = ElfFile(source)
    if elf.header.e_type == ET_CORE:
        from procmem.elf.cores import CoreSections

        return CoreSections(elf)
    return ObjectSections(elf)


def size(path: str | os.PathLike[str]) -> ObjectSize:
    """The size of an ELF file, as GNU size counts it.

    Args:
        path: an object, shared object, executable, debug or core file.

    Raises:
        ElfError: it is no ELF file, or one that GNU size refuses; an archive has sizes().
        OSError: there is no such file, or it may not be read.
    """
    from procmem.native import ffi, lib

    name = os.fspath(path)
    out = ffi.new("uint64_t[]", WORDS)
    if lib.pm_elf_size(os.fsencode(name), out) == 0:
        found = ffi.unpack(out, WORDS)
        identity = tuple(found[6:10])
        return ObjectSize(
            name, None, tuple(found[:3]), tuple(found[3:6]), (name, 0, found[8], identity)
        )
    with open_source(path) as source:
        if source.read(0, 7) == b"!<arch>" or source.read(0, 7) == b"!<thin>":
            fail(path, "an archive: procmem.elf.sizes() has a size for each member")
        return made(source, read_sections(source), name, None)


WORDS = 10


def sizes(path: str | os.PathLike[str]) -> list[ObjectSize]:
    """The size of an ELF file, or of each member of an archive, as GNU size counts them.

    Archives within archives are skipped, as GNU size does.

    Raises:
        ElfError: it is neither, or damaged, or a member is no ELF file.
        OSError: there is no such file, or it may not be read.
    """
    name = os.fspath(path)
    with open_source(path) as source:
        archive = open_archive(source)
        if archive is None:
            return [made(source, read_sections(source), name, None)]
        found = []
        for member in archive.members():
            if open_archive(member.source) is None:
                label = os.fsdecode(member.name)
                found.append(made(member.source, read_sections(member.source), name, label))
        return found


def open_archive(source: Source) -> Archive | None:
    """The archive in a source, None if it is none.

    Raises:
        ElfError, OSError
    """
    if source.read(0, 2) != b"!<":
        return None
    from procmem.elf.archive import Archive, is_archive

    return Archive(source) if is_archive(source.read(0, 8)) else None


def made(
    source: Source, sections: ObjectSections | CoreSections, path: str, member: str | None
) -> ObjectSize:
    ours, theirs = sections.sums()
    return ObjectSize(
        path,
        member,
        (ours[CODE] & WRAP, ours[DATA] & WRAP, ours[BSS] & WRAP),
        (theirs[CODE] & WRAP, theirs[DATA] & WRAP, theirs[BSS] & WRAP),
        (os.fsdecode(source.path), source.start, source.size, source.identity),
    )
