"""The type of a file by its first bytes, and why a file can't be run."""

from __future__ import annotations

import errno
import os
import platform
import struct
import sys

__all__ = ["built", "foreign", "main_is_data", "packed", "why_not_run"]

MACH_O = (b"\xfe\xed\xfa\xce", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe")
FAT = b"\xca\xfe\xba\xbe"
"""Of a Mach-O file for several machines, and of Java's classes: the next word, a count of machines
or a version of the format, tells which (magic(5))."""

MAGICS = (
    (b"!<arch>\n", "a static library"),
    (b"!<thin>\n", "a static library"),
    (b"gpch", "a precompiled header"),
    (b"CPCH", "a precompiled header"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    (b"\xde\xc0\x17\x0b", "LLVM bitcode"),
    (b"\0asm", "WebAssembly"),
    (b"dex\n", "Android bytecode"),
    (b"MZ", "a program for Windows (PE)"),
)

PACKED = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x5d\0\0", "lzma"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
    (b"LZIP", "lzip"),
)

TYPES = {1: "an object file", 4: "a core dump"}
MACHINES = {
    2: "SPARC", 3: "i386", 8: "MIPS", 20: "PowerPC", 21: "PowerPC64", 22: "S/390",
    40: "ARM", 43: "SPARC64", 62: "x86-64", 183: "AArch64 (ARM)",
    243: "RISC-V", 258: "LoongArch",
}  # fmt: skip
"""e_machine (elf(5), and the ELF specification's registry)."""


RELATED = {"x86_64": (3,), "aarch64": (40,)}
"""Of the 32-bit programs that a 64-bit kernel may run."""


def built(head: bytes) -> str:
    r"""The kind of compiled file, by its first 64 bytes; empty: it is none.

    >>> built(b"int main(void)")
    ''
    >>> built(b"\xcf\xfa\xed\xfe\x07\0\0\1")
    'a program for macOS (Mach-O)'
    """
    if head.startswith(b"\x7fELF"):
        elf = elf_header(head)
        return "an ELF file" if elf is None else TYPES.get(elf[0], "a program or library (ELF)")
    if head.startswith(MACH_O):
        return "a program for macOS (Mach-O)"
    if head.startswith(FAT):
        few = len(head) >= 8 and int.from_bytes(head[4:8], "big") < 40
        return "a program for macOS (Mach-O)" if few else "a Java class"
    # Python's own test, in Python/pythonrun.c: such a file is run whatever its name.
    if head[2:4] == b"\r\n" and 3000 <= int.from_bytes(head[:2], "little") < 4000:
        return "Python bytecode"
    for magic, words in MAGICS:
        if head.startswith(magic):
            return words if magic != b"MZ" or b"\0" in head else ""
    return ""


def foreign(head: bytes) -> bool:
    """Whether it is a program for another machine or system, which can't be run here."""
    elf = elf_header(head) if head.startswith(b"\x7fELF") else None
    if elf is not None:
        return elf[1] not in (own_machine(), *RELATED.get(platform.machine(), ()))
    return "macOS" in built(head) or "Windows" in built(head)


def packed(head: bytes) -> str:
    r"""The kind of archive or compressed file, by its first 265 bytes; empty: it is none.

    >>> packed(b"PK\x03\x04..."), packed(b"#include")
    ('zip', '')
    """
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in PACKED if head.startswith(magic)), "")


def elf_header(head: bytes) -> tuple[int, int, int] | None:
    """e_type, e_machine and the class in bits; None: the header is incomplete."""
    if len(head) < 20 or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    kind, machine = struct.unpack_from("<HH" if head[5] == 1 else ">HH", head, 16)
    return kind, machine, 32 * head[4]


def own_machine() -> int | None:
    """e_machine of this interpreter, and so of programs that run here."""
    try:
        with open(sys.executable, "rb") as file:
            found = elf_header(file.read(64))
    except OSError:
        return None
    return found[1] if found else None


def main_is_data(path: str) -> str:
    """A phrase about a program whose main is an array, that is machine code written as numbers.

    Empty: main is a function, or there are no symbols.
    """
    from procmem.elf.headers import open_elf
    from procmem.elf.symbols import OBJECT, types_of
    from procmem.errors import ElfError

    try:
        with open_elf(path) as elf:
            is_data = OBJECT in types_of(elf, "main")
    except (ElfError, OSError):
        return ""
    return "has an array for its main, not a function" if is_data else ""


LONGEST_LINE = 256
"""Of a script's first line (BINPRM_BUF_SIZE in include/uapi/linux/binfmts.h)."""


def why_not_run(number: int, data: bytes, mode: int, *, is_directory: bool = False) -> str:
    """Why execve(2) refused a file, to be appended to its name and "can't be run:".

    Args:
        number: errno.
        data: its first 64 KiB.
        mode: its permissions.
        is_directory: it is a directory.
    """
    if is_directory:
        return "it is a directory"
    if number == errno.EACCES:
        if not mode & 0o111:
            return "it is not executable (chmod +x)"
        return "its interpreter is not executable" if data.startswith(b"#!") else (
            "it, or a directory on the way to it, may not be accessed")  # fmt: skip
    if number == errno.ENOENT:
        return missing(data)
    if number == errno.ELOOP:
        return "its first line names a script whose first line names a script, and so on"
    if number == errno.ETXTBSY:
        return "a process still has it open for writing"
    if number in (errno.ENOEXEC, errno.EINVAL, errno.ELIBBAD):
        return what_instead(data)
    return os.strerror(number)


def missing(data: bytes) -> str:
    """A sentence about the interpreter or loader of a file, which does not exist."""
    if data.startswith(b"#!"):
        line = data[2 : data.find(b"\n") if b"\n" in data else LONGEST_LINE].lstrip(b" \t")
        name = line.split()[0].decode(errors="replace") if line.split() else ""
        if line.endswith(b"\r") or b"\r" in line.split(b" ")[0]:
            return (
                "its lines end as on Windows (CR LF), and so its first line names the interpreter "
                f"{name!r} followed by a carriage return: save it with Unix line ends"
            )
        return f"its interpreter, {name}, does not exist here"
    loader = interpreter(data)
    if loader:
        return f"its loader, {loader}, does not exist here: it was linked for another system"
    return "its interpreter or loader does not exist here"


def interpreter(data: bytes) -> str:
    """The loader in the PT_INTERP of an ELF file; empty: there is none in these bytes."""
    found = elf_header(data)
    if not data.startswith(b"\x7fELF") or found is None or len(data) < 64:
        return ""
    order = "<" if data[5] == 1 else ">"
    wide = found[2] == 64
    start = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    for number in range(count):
        at = start + number * size
        if at + (40 if wide else 20) > len(data):
            return ""
        if struct.unpack_from(order + "I", data, at)[0] == 3:
            offset = struct.unpack_from(
                order + ("Q" if wide else "I"), data, at + (8 if wide else 4)
            )
            length = struct.unpack_from(
                order + ("Q" if wide else "I"), data, at + (32 if wide else 16)
            )
            name = data[offset[0] : offset[0] + length[0]].rstrip(b"\0")
            return name.decode(errors="replace") if name.isascii() else ""
    return ""


def what_instead(data: bytes) -> str:
    """What a file is that can't be run on this machine."""
    if not data:
        return "it is an empty file"
    elf = elf_header(data) if data.startswith(b"\x7fELF") else None
    if elf is not None and elf[0] in TYPES:
        more = ": it was compiled, but not linked" if elf[0] == 1 else ""
        return f"it is {TYPES[elf[0]]}, not a program{more}"
    if elf is not None and (elf[1] != own_machine() or elf[2] != 8 * struct.calcsize("P")):
        name = MACHINES.get(elf[1], f"machine {elf[1]}")
        return (
            f"it is not a program for this machine, but for {name}, {elf[2]} bits, and this is "
            f"{platform.machine()}"
        )
    if data.startswith(b"\x7fELF"):
        return "it is not a program for this machine: its ELF header is broken or cut off"
    if words := built(data[:64]):
        return f"it is not a program for this machine: it is {words}"
    if kind := packed(data[:300]):
        return f"it is not a program for this machine: it is a {kind} file"
    if data.startswith(b"#!"):
        return "the interpreter in its first line can't be executed"
    if b"\0" not in data:
        return (
            "it is not a program for this machine: it is text, and a script begins with a line "
            "such "
            "as #!/bin/sh"
        )
    return "it is not a program for this machine"
