"""Archives of ar(1): the members, one by one, by their headers.

Source: ar(5) of the BSDs for the headers and their long names (#1/), the
documentation of GNU ar for its own (a member "//"), for the symbol tables and
for thin archives, whose members lie in files beside them.
"""

from __future__ import annotations

import os

from procmem.elf.source import fail, open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.elf.source import Source

__all__ = ["MAGIC", "Archive", "Member", "is_archive"]

MAGIC = b"!<arch>\n"
THIN = b"!<thin>\n"
HEADER = 60

MALFORMED = "malformed archive"
NOT_RECOGNIZED = "file format not recognized"

MOST = 1 << 18
"""Members of one archive that are read."""

LONGEST = 1 << 26
"""Bytes of a table of long names that is read."""

LONGEST_NAME = 1 << 14

MOST_NAMED = 64
"""Times that a thin archive may name one file: each costs as much as the file."""


class Member:
    """A file in an archive.

    Attributes:
        name: as GNU size prints it; with its directory in a thin archive.
        source: its bytes; open until the next member is asked for.
        archive: path of the archive that it lies in: another than was asked for if a thin
            archive leads there.
    """

    __slots__ = ("archive", "name", "source")

    def __init__(self, name: bytes, source: Source, archive: bytes) -> None:
        self.name = name
        self.source = source
        self.archive = archive


def is_archive(head: bytes) -> bool:
    """Whether a file that starts like this is an archive."""
    return head[:8] in (MAGIC, THIN)


def number(text: bytes) -> int | None:
    """What C's scanf reads as a number at the start of a text, modulo 2**64."""
    text = text.lstrip(b" ")
    negative = text[:1] == b"-"
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    length = 0
    while digits[length : length + 1].isdigit():
        length += 1
    if not length:
        return None
    value = int(digits[:length])
    return -value % (1 << 64) if negative else value


class Archive:
    """An archive over an open source.

    Raises:
        ElfError: its symbol table or its table of long names is damaged.
        OSError
    """

    def __init__(self, source: Source, *, inner: bool = False) -> None:
        self.source = source
        self.path = os.fsencode(source.path)
        self.thin = source.read(0, 8) == THIN
        self._names: bytes | None = None
        self._inner = inner
        self._others: dict[bytes, Archive] = {}
        self._named: dict[bytes, int] = {}
        self._first = self._read_tables()

    def _read_tables(self) -> int:
        """Reads the tables before the members; returns where the members begin."""
        at = 8
        if 8 < self.source.size < 24:
            fail(self.source.path, NOT_RECOGNIZED)
        for _ in range(2):
            head = self.source.read(at, HEADER)
            if head[:16] not in (b"/".ljust(16), b"/SYM64/".ljust(16), b"__.SYMDEF".ljust(16),
                                 b"__.SYMDEF/".ljust(16)):  # fmt: skip
                break
            size = self._table_size(head, at)
            if head[:2] == b"/ ":
                count = int.from_bytes(self.source.read(at + HEADER, 4), "big")
                if size < 4 or 4 + 4 * count > size:
                    fail(self.source.path, NOT_RECOGNIZED)
            at += HEADER + size + size % 2
        head = self.source.read(at, HEADER)
        if head[:16] in (b"//".ljust(16), b"ARFILENAMES/".ljust(16)):
            size = self._table_size(head, at)
            if size > LONGEST:
                fail(self.source.path, f"a table of {size} bytes of names; {LONGEST} are read")
            self._names = self.source.read(at + HEADER, size)
            at += HEADER + size + size % 2
        return at

    def _table_size(self, head: bytes, at: int) -> int:
        size = number(head[48:58])
        if head[58:] != b"`\n":
            fail(self.source.path, MALFORMED)
        if size is None or size > self.source.size - at - HEADER:
            fail(self.source.path, NOT_RECOGNIZED)
        return size

    def members(self) -> Iterator[Member]:
        """The members in order, tables left out.

        Raises:
            ElfError: a header is damaged, or the file of a thin archive's member is missing
                or no regular file.
            OSError
        """
        at = self._first
        try:
            for _ in range(MOST):
                member, at = self._member(at)
                if member is None:
                    return
                try:
                    yield member
                finally:
                    if member.source.owns:
                        member.source.close()
            fail(self.source.path, f"more than {MOST} members")
        finally:
            for other in self._others.values():
                other.source.close()

    def _member(self, at: int) -> tuple[Member | None, int]:
        """The member whose header is at this offset, and the offset of the next header."""
        source = self.source
        # Behind a size that no file has, there is no header.
        if at < 0 or at >> 63:
            fail(source.path, MALFORMED if at < 0 else "file truncated")
        head = source.read(at, HEADER)
        if len(head) < HEADER:
            return None, at
        size = number(head[48:58])
        if head[58:] != b"`\n" or size is None:
            fail(source.path, MALFORMED)
        start = at + HEADER
        name, origin, inside = self._name(head[:16], start, size)
        if self.thin:
            return self._outside(name, origin), start
        member = Member(name, source.window(start + inside, size - inside), self.path)
        following = start + size
        return member, -1 if following >> 64 else following + following % 2

    def _name(self, field: bytes, start: int, size: int) -> tuple[bytes, int, int]:
        """Name, place in an inner archive (thin ones), bytes that the name takes of the data."""
        if field[:3] == b"#1/" and field[3:4].isdigit():
            length = number(field[3:]) or 0
            raw = self.source.read(start, min(length, LONGEST_NAME))
            if length > size or length > self.source.size - start:
                fail(self.source.path, MALFORMED)
            return raw.partition(b"\0")[0], 0, length
        if field[:1] in (b"/", b" ") and self._names is not None and (
            field[1:2].isdigit() or field[1:2] == b"-"
        ):  # fmt: skip
            index = number(field[1:]) or 0
            if index >= len(self._names):
                fail(self.source.path, MALFORMED)
            end = self._names.find(b"\n", index, index + LONGEST_NAME)
            raw = self._names[index : index + LONGEST_NAME if end < 0 else end]
            raw = raw.partition(b"\0")[0].removesuffix(b"/").replace(b"\\", b"/")
            _, _, origin = field.partition(b":")
            return raw, (number(origin) or 0) if self.thin else 0, 0
        for stop in (b"\0", b"/", b" "):
            if stop in field:
                return field.partition(stop)[0], 0, 0
        return field[:15], 0, 0

    def _outside(self, name: bytes, origin: int) -> Member:
        """A member of a thin archive: a file beside it, or a member of an archive there."""
        path = os.path.join(os.path.dirname(self.path), name)
        if not origin:
            self._named[path] = self._named.get(path, 0) + 1
            if self._named[path] > MOST_NAMED:
                fail(self.source.path, f"one file is named more than {MOST_NAMED} times")
            return Member(path, self._open(path), self.path)
        other = self._others.get(path)
        if other is None:
            opened = self._open(path)
            if self._inner or opened.read(0, 8) != MAGIC:
                opened.close()
                fail(self.source.path, MALFORMED)
            try:
                other = Archive(opened, inner=True)
            except BaseException:
                opened.close()
                raise
            if len(self._others) >= 16:
                self._others.pop(next(iter(self._others))).source.close()
            self._others[path] = other
        member, _ = other._member(origin)
        if member is None:
            fail(self.source.path, MALFORMED)
        return member

    def _open(self, path: bytes) -> Source:
        try:
            return open_source(path)
        except OSError as error:
            fail(self.source.path, f"{error.strerror}")
        except ValueError:  # no regular file
            fail(self.source.path, NOT_RECOGNIZED)
