"""The native part: the scanner of maps and smaps, and calls on files of /proc.

All C code is in this folder. `_native` is a cffi module (API mode); `_records` has the
type of the objects that represent scanned records; `_memory` lends the memory of a mapping;
`_arrow` hands tables to data frames. All use the stable ABI (abi3).
"""

from __future__ import annotations

import os

from procmem.native._native import ffi, lib
from procmem.native._records import Record, make, use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["COUNTER_NAMES", "Extra", "Record", "Scan", "ffi", "lib", "make", "use"]

MAPS: int = lib.PM_MAPS
SMAPS: int = lib.PM_SMAPS
RESIDENT: int = lib.PM_RESIDENT
HEADER_WORDS: int = lib.PM_HEADER_WORDS
START: int = lib.PM_START
END: int = lib.PM_END
INODE: int = lib.PM_INODE
DEV: int = lib.PM_DEV
RSS: int = HEADER_WORDS + lib.PM_RSS
SWAP: int = HEADER_WORDS + lib.PM_SWAP
HUGE: int = HEADER_WORDS + lib.PM_HUGE

COUNTER_NAMES: Sequence[str] = tuple(
    ffi.string(lib.pm_counter_names[i]).decode() for i in range(lib.pm_counter_count)
)
"""Counters of smaps that have a word of their own in a record, in the order of the words."""

PART = 1 << 16
"""Bytes that one call reads: a few hundred regions, so that Ctrl-C works between two calls."""

_SEED = int.from_bytes(os.urandom(8), "little")

Extra = tuple[int, bytes, "int | bytes", bool]
"""A counter that procmem does not know: region number, name, value (bytes if it is not a number),
whether it was in kB."""


class Scan:
    """Scans a text of maps or smaps, which is passed to it in parts as it is read.

    Args:
        mode: MAPS, SMAPS (with lines of counters after each region's line) or RESIDENT (maps,
            with space in the records for resident and swapped bytes, from the page table).
        source: the name of the text in errors.

    Raises:
        ParseError: in feed(), feed_from() and finish(), at the first line that is neither
            a region nor (in smaps) a counter.
        MemoryError: there is not enough memory.
    """

    __slots__ = ("_scan", "source")

    def __init__(self, mode: int, source: str) -> None:
        made = lib.pm_scan_new(mode, _SEED)
        if made == ffi.NULL:
            raise MemoryError
        self._scan = ffi.gc(made, lib.pm_scan_free)
        self.source = source

    def feed(self, chunk: bytes) -> None:
        """Scans the next bytes of the text, which may end anywhere in a line.

        Raises:
            ParseError, MemoryError: see Scan.
        """
        if lib.pm_scan_feed(self._scan, chunk, len(chunk)):
            self._fail()

    def feed_from(self, fd: int) -> bool:
        """Reads and scans the next part of an open file, from its file offset on.

        The reads are made in C: the kernel returns about a page at a time, and between two
        reads Python's own code would take as long as the scanner.

        Returns:
            False if the file has ended.

        Raises:
            OSError: read(2) failed.
            ParseError, MemoryError: see Scan.
        """
        got = lib.pm_scan_read(self._scan, fd, PART)
        if got < 0:
            if got == lib.PM_CANT_READ:
                raise OSError(ffi.errno, os.strerror(ffi.errno))
            self._fail()
        return bool(got >= PART)

    def finish(self) -> None:
        """Ends the scan: a last line without a newline is scanned now.

        Raises:
            ParseError, MemoryError: see Scan.
        """
        if lib.pm_scan_finish(self._scan):
            self._fail()

    def _fail(self) -> None:
        scan = self._scan
        if scan.error == ffi.NULL or scan.error_line == ffi.NULL:
            raise MemoryError
        from procmem.errors import ParseError

        raise ParseError(
            self.source,
            scan.lines,
            bytes(ffi.buffer(scan.error_line, scan.error_line_size)),
            ffi.string(scan.error).decode(),
        )

    @property
    def count(self) -> int:
        """The number of regions scanned so far."""
        return int(self._scan.count)

    @property
    def disordered(self) -> bool:
        """Whether a region starts below the end of the region before it."""
        return bool(self._scan.disordered)

    @property
    def unterminated(self) -> bool:
        """Whether the text ended without a newline."""
        return bool(self._scan.unterminated)

    @property
    def stride(self) -> int:
        """The number of 64-bit words in a record."""
        return int(self._scan.stride)

    @property
    def address(self) -> int:
        """The address of the records, valid until the next feed() or the end of this object."""
        return int(ffi.cast("uintptr_t", self._scan.words))

    @property
    def words(self) -> Any:
        """The records, as a cffi pointer to 64-bit words."""
        return self._scan.words

    def column(self, word: int) -> list[int]:
        """The values of one word, one for each record.

        Args:
            word: its index in a record.
        """
        scan = self._scan
        if not scan.count:
            return []
        words = memoryview(ffi.buffer(scan.words, scan.count * scan.stride * 8)).cast("Q")
        return words[word :: scan.stride].tolist()

    def residency(self, record: int) -> tuple[int, int]:
        """The resident and the swapped bytes of a record, in mode RESIDENT."""
        at = record * self.stride
        return int(self._scan.words[at + RSS]), int(self._scan.words[at + SWAP])

    def set_residency(self, record: int, rss: int | None, swap: int | None) -> None:
        """Sets the resident and the swapped bytes of a record, in mode RESIDENT.

        Args:
            record: its number.
            rss: bytes; None: not known.
            swap: bytes; None: not known.
        """
        at = record * self.stride
        for word, value in ((RSS, rss), (SWAP, swap)):
            self._scan.words[at + word] = lib.PM_MISSING if value is None else value

    def strings(self) -> list[bytes]:
        """All strings, by their IDs in the records; ID 0 means that there is none."""
        scan = self._scan
        if not scan.arena_size:
            return [b""] * scan.string_count
        arena = bytes(ffi.buffer(scan.arena, scan.arena_size))
        return [arena[s.offset : s.offset + s.length] for s in scan.strings[0 : scan.string_count]]

    def extras(self) -> list[Extra]:
        """The counters that have no word of their own in the records."""
        if not self._scan.extra_count:
            return []
        strings = self.strings()
        return [
            (
                int(e.region),
                strings[e.key],
                strings[e.text] if e.text else int(e.value),
                bool(e.in_kb),
            )
            for e in self._scan.extras[0 : self._scan.extra_count]
        ]

    def release_text(self) -> None:
        """Frees the strings and all else but the records."""
        lib.pm_scan_release_text(self._scan)
