"""The native shim: the scanner of maps and smaps, and calls on files of /proc.

All C lives in this folder. `_native` is cffi (API mode), `_records` is the
type of the objects that stand for scanned records. Both are abi3 libraries.
"""

from __future__ import annotations

import os

from procmem.native._native import ffi, lib
from procmem.native._records import Record, make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["COUNTER_NAMES", "Extra", "Record", "Scan", "ffi", "lib", "make"]

MAPS: int = lib.PM_MAPS
SMAPS: int = lib.PM_SMAPS
RESIDENT: int = lib.PM_RESIDENT
HEADER_WORDS: int = lib.PM_HEADER_WORDS
INODE: int = lib.PM_INODE
DEV: int = lib.PM_DEV
RSS: int = HEADER_WORDS + lib.PM_RSS
SWAP: int = HEADER_WORDS + lib.PM_SWAP
HUGE: int = HEADER_WORDS + lib.PM_HUGE

COUNTER_NAMES: Sequence[str] = tuple(
    ffi.string(lib.pm_counter_names[i]).decode() for i in range(lib.pm_counter_count)
)
"""Counters of smaps that have a word of their own, in the order of the words."""

PART = 1 << 16
"""Bytes that one call reads: some hundred regions, so that Ctrl-C is heard in between."""

_SEED = int.from_bytes(os.urandom(8), "little")

Extra = tuple[int, bytes, "int | bytes", bool]
"""An unknown counter: region number, name, value (text if no number), whether it was in kB."""


class Scan:
    """One pass over a text of maps or smaps, fed as it is read.

    Args:
        mode: MAPS, SMAPS (counters stand between the region lines) or RESIDENT (maps, with
            room in the records for what PAGEMAP_SCAN finds).
        source: named in errors.

    Raises:
        ParseError: by feed() and finish(), at the first line that is neither
            a region nor (in smaps) a counter.
        MemoryError
    """

    __slots__ = ("_scan", "source")

    def __init__(self, mode: int, source: str) -> None:
        made = lib.pm_scan_new(mode, _SEED)
        if made == ffi.NULL:
            raise MemoryError
        self._scan = ffi.gc(made, lib.pm_scan_free)
        self.source = source

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes, cut anywhere."""
        if lib.pm_scan_feed(self._scan, chunk, len(chunk)):
            self._fail()

    def feed_from(self, fd: int) -> bool:
        """Takes the next part of an open file, from where it stands. False: it has ended.

        The loop of reads is C's: between two reads of a page each, Python's own
        code costs as much again as the scanner.

        Raises:
            OSError
        """
        got = lib.pm_scan_read(self._scan, fd, PART)
        if got < 0:
            if got == lib.PM_CANT_READ:
                raise OSError(ffi.errno, os.strerror(ffi.errno))
            self._fail()
        return bool(got >= PART)

    def finish(self) -> None:
        """Takes an unterminated last line. The text has ended."""
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
        """Regions seen so far."""
        return int(self._scan.count)

    @property
    def disordered(self) -> bool:
        """Whether a region started below the end of the one before it."""
        return bool(self._scan.disordered)

    @property
    def unterminated(self) -> bool:
        """Whether the text ended without a newline."""
        return bool(self._scan.unterminated)

    @property
    def stride(self) -> int:
        """Words per record."""
        return int(self._scan.stride)

    @property
    def address(self) -> int:
        """Where the records lie: valid while this object lives and is not fed."""
        return int(ffi.cast("uintptr_t", self._scan.words))

    @property
    def words(self) -> Any:
        """The records themselves, as C has them."""
        return self._scan.words

    def column(self, word: int) -> list[int]:
        """One word of every record."""
        scan = self._scan
        if not scan.count:
            return []
        words = memoryview(ffi.buffer(scan.words, scan.count * scan.stride * 8)).cast("Q")
        return words[word :: scan.stride].tolist()

    def residency(self, record: int) -> tuple[int, int]:
        """Resident and swapped bytes that were found for a record."""
        at = record * self.stride
        return int(self._scan.words[at + RSS]), int(self._scan.words[at + SWAP])

    def set_residency(self, record: int, rss: int | None, swap: int | None) -> None:
        """Fills the room that RESIDENT left in a record; None: not to be had."""
        at = record * self.stride
        for word, value in ((RSS, rss), (SWAP, swap)):
            self._scan.words[at + word] = lib.PM_MISSING if value is None else value

    def strings(self) -> list[bytes]:
        """All strings by id; 0 is the absent one."""
        scan = self._scan
        if not scan.arena_size:
            return [b""] * scan.string_count
        arena = bytes(ffi.buffer(scan.arena, scan.arena_size))
        return [arena[s.offset : s.offset + s.length] for s in scan.strings[0 : scan.string_count]]

    def extras(self) -> list[Extra]:
        """The counters without a word of their own."""
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
        """Gives back the strings: only the records stay."""
        lib.pm_scan_release_text(self._scan)
