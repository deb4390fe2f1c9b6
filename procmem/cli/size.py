"""procmem size: options, output and exit status of GNU size 2.40.

A thousand files take at most 1.4 times as long as with GNU size, so modules are imported only where
they are needed, and a plain file is handled by one call of C.
"""

from __future__ import annotations

import os
import sys

from procmem.cli.options import Options, UsageError, options_text
from procmem.cli.terminal import fitted_help
from procmem.native import ffi, lib
from procmem.view.size import (
    BERKELEY_HEADING,
    GNU_HEADING,
    berkeley_line,
    gnu_line,
    sysv_table,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from procmem.elf.archive import Archive
    from procmem.elf.cores import CoreSections
    from procmem.elf.sections import ObjectSections
    from procmem.elf.source import Source

__all__ = ["main"]

MISSING, MALFORMED, NOT_RECOGNIZED = 1, 2, 3
"""Exit statuses; the command exits with that of the last error."""

HEAD = """\
usage: procmem size [OPTION]... [FILE]...

Bytes of text, data and bss of ELF files, or of each member of an archive, as
size of GNU Binutils 2.40 prints them. Without a file: a.out. @FILE stands for
arguments that are read from FILE.

"""

TABLE = (
    (("-A", "-B", "-G"), "", "the format: System V, Berkeley (the default), GNU"),
    (("--format",), "sysv|berkeley|gnu", "the same"),
    (("-d", "-o", "-x"), "", "decimal (the default), octal or hexadecimal numbers"),
    (("--radix",), "10|8|16", "the same"),
    (("-t", "--totals"), "", "a line of totals (not with -A)"),
    (("--common",), "", "count common symbols as bss"),
    (("--target",), "NAME", "checked, and not needed"),
    (("-f",), "", "ignored"),
    (("--json",), "", "everything known about each file"),
    (
        ("--format",),
        "json|csv|jsonl|html|arrow|parquet",
        "the same as JSON, or a row for each file for other programs",
    ),
    (
        ("--explain",),
        "",
        "why each section counts as it does, and how the sums become bytes of address space",
    ),
    (("--color",), "auto|always|never", "checked; this output has no colours"),
    (("-h", "--help"), "", "this help"),
    (("-v", "-V", "--version"), "", "the version"),
)

NOTES = """\

Exit status: 0; 1 a file is missing, empty or no ordinary file, or usage; 2 an
archive is malformed; 3 a format is not recognised. The last error's counts.
"""

SHORT = "ABGHhVvdfotx"
LONG = {
    "common": "common",
    "format": "format",
    "radix": "radix",
    "target": "target",
    "totals": "t",
    "version": "v",
    "help": "h",
    "json": "json",
    "explain": "explain",
}
FORMATS = {"s": "A", "b": "B", "g": "G"}
DATA = ("json", "jsonl", "csv", "html", "arrow", "parquet")
"""Further words that --format takes: GNU size has none that begin with these letters."""
RADIX = {"d": 10, "o": 8, "x": 16}
TARGETS = (
    "default elf64-x86-64 elf32-i386 elf32-iamcu elf32-x86-64 elf64-little elf64-big elf32-little "
    "elf32-big"
).split()
DEEPEST = 2000
"""The limit of argument files (@FILE) that refer to each other."""


class SizeRequest:
    """The parsed command line.

    Attributes:
        format: "A", "B", "G", "explain", or one of DATA.
        radix: 8, 10 or 16.
    """

    def __init__(self) -> None:
        self.format = "B"
        self.radix = 10
        self.totals = False
        self.common = False
        self.target: str | None = None


def main(argv: list[str]) -> int:
    """Runs the command.

    Args:
        argv: its arguments; see `procmem size --help`.

    Returns:
        The exit status of GNU size.
    """
    request = SizeRequest()
    try:
        if any(word.startswith("@") for word in argv):
            argv = expanded(argv)
        files = understand(argv, request)
    except UsageError as error:
        # The first line is that of size, byte for byte.
        message = f"size: {shown(str(error))}\n" if str(error) else ""
        sys.stderr.write(f"{message}usage: procmem size [OPTION]... [FILE]... (--help)\n")
        return MISSING
    if files is None:
        return 0
    names = [os.fsencode(name) for name in files] or [b"a.out"]
    if request.format in DATA:
        from procmem.cli.size_explained import as_data

        if request.format in ("arrow", "parquet") and sys.stdout.isatty():
            sys.stderr.write(
                f"size: --format={request.format} is no text: redirect the output to a file\n"
            )
            return MISSING
        return as_data(names, request.format)
    if request.format == "explain":
        from procmem.cli.size_explained import explain

        return explain(names)
    printer = Printer(request)
    for name in names:
        printer.file(name)
    return printer.finish()


# ---- the command line -----------------------------------------------------------


def expanded(argv: list[str]) -> list[str]:
    """The arguments with each @FILE replaced by the words in it, if it can be read."""
    done: list[str] = []
    todo = argv[::-1]
    opened = 0
    while todo:
        word = todo.pop()
        if word[:1] == "@" and len(word) > 1 and opened < DEEPEST:
            try:
                from procmem.elf.source import open_source

                with open_source(word[1:]) as source:
                    text = source.read(0, 1 << 22)
            except (OSError, ValueError):
                done.append(word)
                continue
            opened += 1
            todo += [os.fsdecode(part) for part in words(text)][::-1]
        else:
            done.append(word)
    return done


def words(text: bytes) -> Iterator[bytes]:
    """The words of an argument file: quotes keep white space, a backslash keeps the next byte."""
    word = bytearray()
    begun = False
    quote = 0
    bytes_left = iter(text)
    for byte in bytes_left:
        if byte == 0x5C:
            begun = True
            word += bytes([next(bytes_left, 0x5C)])
        elif quote:
            if byte == quote:
                quote = 0
            else:
                word.append(byte)
        elif byte in b"'\"":
            quote, begun = byte, True
        elif byte in b" \t\n\v\f\r":
            if begun:
                yield bytes(word)
                word.clear()
                begun = False
        else:
            word.append(byte)
            begun = True
    if begun:
        yield bytes(word)


def understand(argv: list[str], request: SizeRequest) -> list[str] | None:
    """Fills in the request. Returns the files; None if only --help or --version was given.

    Raises:
        UsageError
    """
    wants_help = wants_version = False
    options = Options(argv, SHORT, LONG, ("format", "radix", "target"))
    given: dict[str, None] = {}
    for option, value in options:
        given[option] = None
        if option in ("A", "B", "G", "json", "explain"):
            request.format = option
        elif option in RADIX:
            request.radix = RADIX[option]
        elif option == "t":
            request.totals = True
        elif option == "common":
            request.common = True
        elif option == "target":
            request.target = value
        elif option == "format":
            if value in DATA:
                given["json"] = given.pop("format")
                request.format = value
                continue
            if (value or "")[:1].lower() not in FORMATS:
                raise UsageError(f"invalid argument to --format: {value}")
            request.format = FORMATS[(value or "")[0].lower()]
        elif option == "radix":
            request.radix = atoi(value or "")
            if request.radix not in (8, 10, 16):
                raise UsageError(f"Invalid radix: {value}\n")
        elif option == "h":
            wants_help = True
        elif option == "H":
            raise UsageError
        elif option in "vV":
            wants_version = True
    if wants_version:
        from procmem._version import __version__

        sys.stdout.write(f"procmem size {__version__}, as size of GNU Binutils 2.40\n")
        return None
    if wants_help:
        from procmem.cli.examples import examples_text

        sys.stdout.write(fitted_help(HEAD + options_text(TABLE) + NOTES))
        sys.stdout.write(examples_text("procmem size"))
        return None
    for ours in ("json", "explain"):
        others = [
            option for option in given if option in OF_TABLES or option in ("json", "explain")
        ]
        if ours in given and others != [ours]:
            other = next(option for option in others if option != ours)
            shown_as = f"-{other}" if len(other) == 1 else f"--{other}"
            raise UsageError(
                f"--{ours} has bytes and no table: it cannot be combined with {shown_as}"
            )
    return options.operands


OF_TABLES = ("A", "B", "G", "d", "o", "x", "t", "common", "format", "radix")
"""Options that affect only the table."""


def atoi(text: str) -> int:
    """The decimal number at the start of a text, as atoi(3) reads it; 0 if there is none."""
    digits = text.lstrip(" \t\n\v\f\r")
    sign = -1 if digits.startswith("-") else 1
    digits = digits[1:] if digits[:1] in ("-", "+") else digits
    length = 0
    while digits[length : length + 1] in tuple("0123456789"):
        length += 1
    return sign * int(digits[: min(length, 18)] or 0)


# ---- files ------------------------------------------------------------------------


def shown(text: str) -> str:
    """The text of a message, as size prints it; on a terminal with control characters escaped."""
    if not sys.stderr.isatty():
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    from procmem.view.names import printable

    return printable(text)


class Printer:
    """Prints the sizes of all files."""

    def __init__(self, request: SizeRequest) -> None:
        self.request = request
        self.status = 0
        self.sums = [0, 0, 0]
        self.out = sys.stdout.buffer
        self.terminal = sys.stdout.isatty()
        self.seen = False
        # Common symbols and the other formats need more than sums.
        self.plain = request.format != "A" and not request.common and not request.target
        self.words = ffi.new("uint64_t[]", lib.PM_SIZE_WORDS)
        self.first = 3 if request.format == "G" else 0

    def file(self, path: bytes) -> None:
        """One file of the command line."""
        if self.plain and not lib.pm_elf_size(path, self.words):
            first = self.first
            self.sums_line(ffi.unpack(self.words + first, 3), path)
            return
        from procmem.elf.source import open_source

        try:
            with open_source(path) as source:
                if not source.size:
                    self.status = MISSING
                elif self.request.target and self.request.target not in TARGETS:
                    self.complain(path + b": invalid bfd target", MISSING)
                else:
                    self.opened(source, path)
        except OSError as error:
            self.cannot_open(path, error)
        except ValueError as error:
            reason = getattr(error, "reason", "")
            if reason.startswith("is "):
                self.complain(b"Warning: '%s' %s" % (path, reason.encode()), MISSING)
            else:
                raise

    def cannot_open(self, path: bytes, error: OSError) -> None:
        words = (error.strerror or "").encode()
        if error.errno == 2 and not os.path.lexists(path):
            self.complain(b"'%s': No such file" % path, MISSING)
            return
        try:
            os.stat(path)
        except FileNotFoundError:
            self.complain(b"'%s': No such file" % path, MISSING)
        except OSError:
            self.complain(b"Warning: could not locate '%s'.  reason: %s" % (path, words), MISSING)
        else:
            self.complain(b"%s: %s" % (path, words), MISSING)

    def opened(self, source: Source, path: bytes) -> None:
        from procmem.elf.sizing import open_archive

        try:
            archive = open_archive(source)
        except ValueError as error:
            reason = getattr(error, "reason", "")
            self.complain(
                b"%s: %s" % (path, reason.encode()),
                MALFORMED if reason == "malformed archive" else NOT_RECOGNIZED,
            )
            return
        if archive is None:
            self.object(source, path, None)
        else:
            self.archive(archive, path)

    def archive(self, archive: Archive, path: bytes) -> None:
        from procmem.elf.sizing import open_archive

        members = archive.members()
        while True:
            try:
                member = next(members, None)
            except ValueError as error:
                reason = getattr(error, "reason", "")
                self.complain(b"%s: %s" % (path, reason.encode()), MALFORMED)
                return
            if member is None:
                return
            try:
                if open_archive(member.source) is not None:
                    continue
            except ValueError:
                pass
            self.object(member.source, member.name, member.archive)

    def object(self, source: Source, name: bytes, archive: bytes | None) -> None:
        from procmem.elf.sizing import read_sections

        try:
            sections = read_sections(source)
        except ValueError:
            self.complain(name + b": file format not recognized", NOT_RECOGNIZED)
            return
        for warning in sections.warnings[:1]:
            self.complain(b"warning: %s %s" % (name, warning.encode()), None)
        if self.request.format == "A":
            self.table(sections, name, archive)
            return
        ours, theirs = sections.sums()
        sums = [value & (1 << 64) - 1 for value in (theirs if self.first else ours)[1:4]]
        if self.request.common:
            sums[2] = (sums[2] + sections.common()) & (1 << 64) - 1
        label = name if archive is None else b"%s (ex %s)" % (name, archive)
        self.sums_line(sums, label + core_label(sections))

    def line(self, sums: list[int], label: bytes) -> bytes:
        text, data, bss = sums
        form = gnu_line if self.first else berkeley_line
        return form(text, data, bss, label, self.request.radix)

    def sums_line(self, sums: list[int], label: bytes) -> None:
        if not self.seen:
            self.seen = True
            self.out.write(GNU_HEADING if self.first else BERKELEY_HEADING[self.request.radix])
        if self.request.totals:
            self.sums = [(a + b) & (1 << 64) - 1 for a, b in zip(self.sums, sums, strict=True)]
        self.out.write(self.line(sums, self.safe(label)))

    def table(
        self, sections: ObjectSections | CoreSections, name: bytes, archive: bytes | None
    ) -> None:
        heading = name + b"  :" if archive is None else b"%s   (ex %s):" % (name, archive)
        common = sections.common() if self.request.common else None

        def rows() -> Iterator[tuple[bytes, int, int]]:
            for row in sections.rows():
                if row[3]:
                    yield self.safe(row[0]), row[1], row[2]
            if common is not None:
                yield b"*COM*", 0, common

        self.out.writelines(sysv_table(self.safe(heading), rows(), rows(), self.request.radix))
        self.out.write(self.safe(core_label(sections)) + b"\n")

    def safe(self, label: bytes) -> bytes:
        """A name as size prints it; on a terminal with control characters escaped."""
        if not self.terminal or (label.isascii() and label.decode().isprintable()):
            return label
        from procmem.view.names import printable

        return b"\n".join(
            printable(line.decode("utf-8", "surrogateescape")).encode("utf-8", "backslashreplace")
            for line in label.split(b"\n")
        )

    def complain(self, message: bytes, status: int | None) -> None:
        """Writes a line to stderr."""
        self.out.flush()
        stderr = sys.stderr.buffer
        if sys.stderr.isatty():
            message = shown(message.decode("utf-8", "surrogateescape")).encode()
        stderr.write(b"size: " + message + b"\n")
        stderr.flush()
        if status is not None:
            self.status = status

    def finish(self) -> int:
        """Prints the totals and returns the exit status."""
        if self.request.totals and self.request.format != "A":
            self.out.write(self.line(self.sums, b"(TOTALS)"))
        return self.status


def core_label(sections: Any) -> bytes:
    if not sections.core:
        return b""
    command = sections.command
    return b" (core file%s)\n" % (b"" if command is None else b" invoked as " + command)
