"""The sections that GNU size counts of a core file, from its segments and notes.

Sections are made of program headers: only PT_LOAD counts. The notes add
sections that only the SysV view shows, such as the registers of each thread.
"""

from __future__ import annotations

from struct import Struct

from procmem.elf.counting import (
    ALLOC,
    CODE_FLAG,
    CONTENTS,
    NOT_RECOGNIZED,
    READONLY,
    berkeley,
    gnu,
)
from procmem.elf.source import fail
from procmem.elf.spec import (
    PF_W,
    PF_X,
    PN_XNUM,
    PT_DYNAMIC,
    PT_GNU_EH_FRAME,
    PT_GNU_RELRO,
    PT_GNU_SFRAME,
    PT_GNU_STACK,
    PT_INTERP,
    PT_LOAD,
    PT_NOTE,
    PT_NULL,
    PT_PHDR,
    PT_SHLIB,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.elf.headers import ElfFile

__all__ = ["CoreSections", "notes"]

NAMES = {
    PT_NULL: b"null",
    PT_LOAD: b"load",
    PT_DYNAMIC: b"dynamic",
    PT_INTERP: b"interp",
    PT_NOTE: b"note",
    PT_SHLIB: b"shlib",
    PT_PHDR: b"phdr",
    PT_GNU_EH_FRAME: b"eh_frame_hdr",
    PT_GNU_STACK: b"stack",
    PT_GNU_RELRO: b"relro",
    PT_GNU_SFRAME: b"sframe",
}

MOST_NOTES = 1 << 18
"""Notes of one core that are read: a thread has five or six."""

NT_PRSTATUS, NT_FPREGSET, NT_PRPSINFO, NT_AUXV = 1, 2, 3, 6
NT_FILE, NT_SIGINFO = 0x46494C45, 0x53494749

# Of a thread: a section named after it, and one without its number for the first.
THREAD_NOTES: dict[tuple[bytes | None, int], bytes] = {
    (None, NT_FPREGSET): b".reg2",
    (None, NT_SIGINFO): b".note.linuxcore.siginfo",
    (None, NT_FILE): b".note.linuxcore.file",
    (b"LINUX", 0x46E62B7F): b".reg-xfp",
    (b"LINUX", 0x202): b".reg-xstate",
    (b"LINUX", 0x203): b".reg-ssp",
    (b"LINUX", 0x100): b".reg-ppc-vmx",
    (b"LINUX", 0x102): b".reg-ppc-vsx",
    (b"LINUX", 0x300): b".reg-s390-high-gprs",
    (b"LINUX", 0x400): b".reg-arm-vfp",
    (b"LINUX", 0x401): b".reg-aarch-tls",
    (b"LINUX", 0x402): b".reg-aarch-hw-break",
    (b"LINUX", 0x403): b".reg-aarch-hw-watch",
    (b"LINUX", 0x405): b".reg-aarch-sve",
    (b"LINUX", 0x406): b".reg-aarch-pauth",
    (b"GDB", 0xFF000000): b".gdb-tdesc",
    (b"GDB", 0x900): b".reg-riscv-csr",
}

# Size of prstatus: offset of pr_pid, offset and size of the registers.
STATUS = {336: (32, 112, 216), 296: (24, 72, 216), 144: (24, 72, 68)}

# Size of prpsinfo: offsets of pr_pid, pr_fname (16 bytes) and pr_psargs (80 bytes).
INFO = {136: (24, 40, 56), 128: (12, 32, 48), 124: (12, 28, 44)}


class CoreSections:
    """The sections that GNU's library makes of a core file.

    Attributes:
        command: the command line of the process, if a note has it.

    Raises:
        ElfError: GNU does not recognise the file.
        OSError
    """

    core = True

    def __init__(self, elf: ElfFile) -> None:
        self.elf = elf
        self.warnings: list[str] = []
        self.command: bytes | None = None
        header, source = elf.header, elf.source
        if not header.e_phoff:
            fail(source.path, NOT_RECOGNIZED)
        if header.e_phentsize != elf.layout.phdr.size:
            fail(source.path, NOT_RECOGNIZED)
        if header.e_phnum == PN_XNUM and header.e_shoff < elf.layout.ehdr.size + 16:
            elf.phnum = PN_XNUM
        self._extra: dict[int, list[tuple[bytes, int]]] = {}
        self._seen: set[bytes] = set()
        self._pid = self._lwp = 0
        self._room = MOST_NOTES
        beyond = False
        for index, fields in enumerate(elf.raw_segments()):
            if fields[0] == PT_NOTE:
                self._read_notes(index, fields)
            if fields[5] and fields[2] + fields[5] > source.size:
                beyond = True
        if beyond:
            self.warnings.append("has a segment extending past end of file")

    def _read_notes(self, index: int, fields: tuple[int, ...]) -> None:
        offset, size, align = fields[2], fields[5], fields[7]
        source = self.elf.source
        if not size or size == (1 << 64) - 1:
            return
        if size > source.size or offset > source.size - size:
            fail(source.path, NOT_RECOGNIZED)
        found: list[tuple[bytes, int]] = []
        for name, kind, at, length in notes(self.elf, offset, size, align):
            self._room -= 1
            if self._room < 0:
                fail(source.path, f"more than {MOST_NOTES} notes")
            self._note(found, name, kind, at, length)
        if found:
            self._extra[index] = found

    def _note(
        self, found: list[tuple[bytes, int]], name: bytes, kind: int, at: int, length: int
    ) -> None:
        read, order = self.elf.source.read, self.elf.layout.order
        owner = name.rstrip(b"\0")
        if kind == NT_PRSTATUS and length in STATUS:
            pid_at, _, size = STATUS[length]
            self._lwp = Struct(order + "i").unpack(read(at + pid_at, 4).ljust(4, b"\0"))[0]
            self._pid = self._pid or self._lwp
            self._add(found, b".reg", size)
        elif kind == NT_PRPSINFO and length in INFO:
            pid_at, _, args_at = INFO[length]
            self._pid = Struct(order + "i").unpack(read(at + pid_at, 4).ljust(4, b"\0"))[0]
            command = read(at + args_at, 80).partition(b"\0")[0]
            self.command = command.removesuffix(b" ")
        elif kind == NT_AUXV:
            found.append((b".auxv", length))
        else:
            made = THREAD_NOTES.get((owner, kind)) or THREAD_NOTES.get((None, kind))
            if made is not None:
                self._add(found, made, length)

    def _add(self, found: list[tuple[bytes, int]], name: bytes, size: int) -> None:
        found.append((b"%s/%d" % (name, self._lwp or self._pid), size))
        if name not in self._seen:
            self._seen.add(name)
            found.append((name, size))

    def common(self) -> int:
        """A core has no common symbols."""
        return 0

    def rows(self) -> Iterator[tuple[bytes, int, int, int]]:
        """Name, address, size and flags of each section, in GNU's order."""
        for index, (kind, perms, _, vaddr, _, filesz, memsz, _) in enumerate(
            self.elf.raw_segments()
        ):
            name = b"%s%d" % (NAMES.get(kind, b"proc"), index)
            flags = 0 if perms & PF_W else READONLY
            if kind == PT_LOAD:
                flags |= ALLOC
                if perms & PF_X:
                    flags |= CODE_FLAG
            split = 0 < filesz < memsz
            if filesz:
                yield name + b"a" * split, vaddr, filesz, flags | CONTENTS
            if memsz > filesz:
                address = (vaddr + filesz) & (1 << 64) - 1
                yield name + b"b" * split, address, memsz - filesz, flags
            for extra, size in self._extra.get(index, ()):
                yield extra, 0, size, CONTENTS

    def sums(self) -> tuple[list[int], list[int]]:
        """As ObjectSections.sums()."""
        ours, theirs = [0, 0, 0, 0], [0, 0, 0, 0]
        for _, _, size, flags in self.rows():
            ours[berkeley(flags)] += size
            theirs[gnu(flags)] += size
        return ours, theirs


def notes(
    elf: ElfFile, offset: int, size: int, align: int
) -> Iterator[tuple[bytes, int, int, int]]:
    """The notes of a segment or section: name, type, offset and size of the description.

    Raises:
        ElfError: one reaches beyond its end.
        OSError
    """
    source = elf.source
    unpack = Struct(elf.layout.order + "III").unpack
    align = max(align, 4)
    if align not in (4, 8):
        fail(source.path, NOT_RECOGNIZED)
    at, end = offset, offset + size
    while at < end:
        if end - at < 12:
            fail(source.path, NOT_RECOGNIZED)
        head = source.read(at, 12)
        if len(head) < 12:
            fail(source.path, "the file was cut short while it was read")
        namesz, descsz, kind = unpack(head)
        if namesz > end - at - 12:
            fail(source.path, NOT_RECOGNIZED)
        desc = at + (12 + namesz + align - 1) // align * align
        if descsz and (desc >= end or descsz > end - desc):
            fail(source.path, NOT_RECOGNIZED)
        yield source.read(at + 12, min(namesz, 32)), kind, desc, descsz
        at = desc + (descsz + align - 1) // align * align
