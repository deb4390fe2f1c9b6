"""Snapshots that stay packed, in a file or in memory, until one is asked for."""

from __future__ import annotations

import json
import os
import weakref
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from procmem.snapshots.moment import DETAILS
from procmem.snapshots.saved import (
    BAD,
    FRAME,
    MAGIC,
    MOST,
    TOO_LARGE,
    checked,
    content_of,
    damage,
    open_saved,
    unpacked,
    unpacker,
)
from procmem.snapshots.snapshot import snapshot_of

if TYPE_CHECKING:
    from procmem.errors import ParseError
    from procmem.snapshots import Snapshot

__all__ = ["Figures", "Frames", "figures_of", "read_index"]

KEPT = 32
"""Snapshots that stay unpacked after they were asked for."""

HEAD = 1 << 12
"""Bytes that are unpacked at first for the figures alone."""


class Figures(NamedTuple):
    """Of one snapshot: its detail, nanoseconds of CLOCK_MONOTONIC, and bytes. None: not told.

    Attributes:
        rss_error: bytes by which rss may be off; 0: it is exact; None: not known.
        own: of rss and swap what is no file's: RssAnon + RssShmem + VmSwap (proc_pid_status(5)).
    """

    detail: str
    monotonic: int | None
    vsz: int
    rss: int | None
    swap: int | None
    page_tables: int | None
    own: int | None = None
    rss_error: int | None = 0


def own(memory: dict[str, Any]) -> int | None:
    """What of a process's memory is no file's; before Linux 4.5, which has no parts, all of it."""
    parts = memory.get("rss_anon"), memory.get("rss_shmem")
    if None in parts:
        parts = memory.get("rss"), 0
    total = sum(part or 0 for part in parts)
    return None if None in parts else total + (memory.get("swap") or 0)


def figures_of(snapshot: Snapshot) -> Figures:
    """The figures of a snapshot that is at hand."""
    clock = snapshot.clock
    return Figures(
        snapshot.detail,
        None if clock is None else clock.monotonic,
        snapshot.vsz,
        snapshot.rss,
        snapshot.swap,
        snapshot.page_tables,
        None if snapshot.memory is None else own(snapshot.memory._asdict()),
        snapshot.rss_error,
    )


class Stored(Sequence[bytes]):
    """The contents of a file's frames, each read when it is asked for."""

    def __init__(self, fd: int, places: Sequence[int], sizes: Sequence[int]) -> None:
        self._fd = fd
        self._places = places
        self._sizes = sizes
        weakref.finalize(self, os.close, fd)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        return os.pread(self._fd, self._sizes[index], self._places[index])

    def __reduce__(self) -> tuple[object, ...]:
        return list, (self[:],)


class Frames(Sequence["Snapshot"]):
    """Packed snapshots.

    Args:
        contents: of each frame.
        source: where they are from, for errors.
        chosen: the numbers of those that these are; None: all.
    """

    def __init__(
        self, contents: Sequence[bytes], source: str, chosen: Sequence[int] | None = None
    ) -> None:
        self._contents = contents
        self._source = source
        self._chosen = range(len(contents)) if chosen is None else chosen
        self._kept: OrderedDict[int, Snapshot] = OrderedDict()

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> Frames: ...
    def __getitem__(self, index: int | slice) -> Snapshot | Frames:
        if isinstance(index, slice):
            return Frames(self._contents, self._source, self._chosen[index])
        number = self._chosen[index]
        found = self._kept.get(number)
        if found is None:
            content = self._contents[number]
            try:
                found = snapshot_of(unpacked(unpacker(content)(content, MOST)))
            except BAD as error:
                raise self._bad(number, error) from error
            self._kept[number] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _bad(self, number: int, error: Exception) -> ParseError:
        return damage(self._source, f"snapshot {number + 1}", f"no snapshot: {error}")

    def figures(self) -> list[Figures]:
        """The figures of all, without their regions."""
        found = []
        for number in self._chosen:
            content = self._contents[number]
            try:
                found.append(figures_in(head_of(content)))
            except BAD as error:
                raise self._bad(number, error) from error
        return found


def head_of(content: bytes) -> dict[str, Any]:
    """What a frame tells in front of its columns."""
    unpack = unpacker(content)
    data = unpack(content, HEAD)
    size = 4 + int.from_bytes(data[:4], "little")
    if len(data) < size:
        data += unpack(b"", min(size, MOST) - len(data))
    head: dict[str, Any] = json.loads(data[4:size])
    return head


def figures_in(head: dict[str, Any]) -> Figures:
    clock, memory = head["clock"] or {}, head["memory"] or {}
    if head["detail"] not in DETAILS:
        raise ValueError(f"its detail is unknown: {head['detail']!r:.40}")
    return Figures(
        head["detail"],
        checked("monotonic", clock.get("monotonic"), True),
        checked("vsz", head["vsz"]),
        checked("rss", head["rss"], True),
        checked("swap", memory.get("swap"), True),
        checked("page_tables", memory.get("page_tables"), True),
        checked("memory", own(memory), True),
        checked("rss_error", head.get("rss_error", 0), True),
    )


def read_index(path: str | os.PathLike[str]) -> tuple[Frames, ParseError | None]:
    """The whole frames of a file up to its first fault, and that; each passes its checksum.

    Raises:
        ParseError: the file is of another kind.
        OSError
    """
    from procmem.errors import ParseError

    source = os.fspath(path)
    places, sizes = array("Q"), array("Q")
    fault = None
    with open_saved(path) as file:
        start = file.read(len(MAGIC))
        if start != MAGIC:
            raise ParseError(source, 1, start, "no recording")
        at = len(MAGIC)
        while start := file.read(FRAME.size):
            number = len(places) + 1
            bad = partial(damage, source, f"snapshot {number}, at byte {at}")
            at += FRAME.size
            size, checksum = FRAME.unpack(start) if len(start) == FRAME.size else (1, 0)
            content = content_of(file, size)
            if len(content) < size:
                fault = bad("the file was cut off here" if size <= MOST else TOO_LARGE)
                break
            if zlib.crc32(content) != checksum:
                fault = bad("damaged: the checksum is another")
                break
            places.append(at)
            sizes.append(size)
            at += size
        else:
            if not places:
                fault = ParseError(source, 1, b"", "it holds no whole snapshot")
        fd = os.dup(file.fileno())
    return Frames(Stored(fd, places, sizes), source), fault
