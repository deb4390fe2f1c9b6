"""Snapshots that stay packed, in a file or in memory, until they are asked for."""

from __future__ import annotations

import json
import os
import sys
import weakref
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, overload

from procmem.picture.embedded import START, is_report
from procmem.snapshots.heaps import summary_from
from procmem.snapshots.moment import DETAILS
from procmem.snapshots.saved import (
    BAD,
    FRAME,
    MAGIC,
    MOST,
    SUMS,
    TOO_LARGE,
    checked,
    content_of,
    damage,
    kept_file,
    open_saved,
    sums_of,
    unpacked,
    unpacker,
)
from procmem.snapshots.snapshot import snapshot_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from procmem.errors import ParseError
    from procmem.snapshots import Snapshot
    from procmem.snapshots.heaps import HeapSummary

__all__ = ["PackedSnapshots", "SnapshotFigures", "figures_of", "read_index", "times_of"]

KEPT = 32
"""How many snapshots stay unpacked after they were asked for."""

HEAD = 1 << 12
"""Bytes that are unpacked first, where only the figures are needed."""


class SnapshotFigures(NamedTuple):
    """The figures of one snapshot, in bytes; None: not known.

    Attributes:
        detail: "smaps", "residency" or "maps".
        monotonic: CLOCK_MONOTONIC in nanoseconds.
        own: memory that is not that of files: RssAnon + RssShmem + VmSwap (proc_pid_status(5)).
        rss_error: by how much rss may be off; 0: it is exact; None: not known.
        heap: what malloc and Python held.
        comm, exe: the command name and the executable, which execve(2) changes.
        threads: the number of threads.
        anon_huge_pages, ksm: sums of AnonHugePages and KSM over all regions, where smaps was read.
    """

    detail: str
    monotonic: int | None
    vsz: int
    rss: int | None
    swap: int | None
    page_tables: int | None
    own: int | None = None
    rss_error: int | None = 0
    heap: HeapSummary | None = None
    comm: str | None = None
    exe: str | None = None
    threads: int | None = None
    anon_huge_pages: int | None = None
    ksm: int | None = None


def own(memory: dict[str, Any]) -> int | None:
    """Memory that is not that of files; all of it before Linux 4.5, which has no RssAnon."""
    parts = memory.get("rss_anon"), memory.get("rss_shmem")
    if None in parts:
        parts = memory.get("rss"), 0
    total = sum(part or 0 for part in parts)
    return None if None in parts else total + (memory.get("swap") or 0)


def figures_of(snapshot: Snapshot) -> SnapshotFigures:
    """The figures of an unpacked snapshot."""
    clock = snapshot.clock
    return SnapshotFigures(
        snapshot.detail,
        None if clock is None else clock.monotonic,
        snapshot.vsz,
        snapshot.rss,
        snapshot.swap,
        snapshot.page_tables,
        None if snapshot.memory is None else own(snapshot.memory._asdict()),
        snapshot.rss_error,
        snapshot.heap,
        snapshot.identity.comm,
        snapshot.identity.exe,
        None if snapshot.threads is None else len(snapshot.threads),
        **sums_of(snapshot),
    )


def times_of(figures: Sequence[SnapshotFigures]) -> list[float | None]:
    """Seconds from the first snapshot to each; None: not known."""
    start = figures[0].monotonic if figures else None
    return [
        None if start is None or one.monotonic is None else (one.monotonic - start) / 1e9
        for one in figures
    ]


class Stored(Sequence[bytes]):
    """Packed snapshots in a file, each read when it is asked for."""

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


class PackedSnapshots(Sequence["Snapshot"]):
    """A sequence of packed snapshots, each of which is unpacked when it is asked for.

    Args:
        contents: the packed snapshots.
        source: where they are from, for error messages.
        chosen: the numbers of the snapshots that belong to the sequence; None: all.
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
    def __getitem__(self, index: slice) -> PackedSnapshots: ...
    def __getitem__(self, index: int | slice) -> Snapshot | PackedSnapshots:
        if isinstance(index, slice):
            return PackedSnapshots(self._contents, self._source, self._chosen[index])
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

    def content(self, index: int) -> bytes:
        """A snapshot as it is stored, without the length and checksum of its frame."""
        return self._contents[self._chosen[index]]

    def _bad(self, number: int, error: Exception) -> ParseError:
        return damage(self._source, f"snapshot {number + 1}", f"no snapshot: {error}")

    def figures(self) -> list[SnapshotFigures]:
        """The figures of all snapshots, without unpacking their regions."""
        found = []
        for number in self._chosen:
            content = self._contents[number]
            try:
                found.append(figures_in(head_of(content)))
            except BAD as error:
                raise self._bad(number, error) from error
        return found


def head_of(content: bytes) -> dict[str, Any]:
    """The JSON that precedes the regions in a packed snapshot."""
    unpack = unpacker(content)
    data = unpack(content, HEAD)
    size = 4 + int.from_bytes(data[:4], "little")
    if len(data) < size:
        data += unpack(b"", min(size, MOST) - len(data))
    head: dict[str, Any] = json.loads(data[4:size])
    return head


def figures_in(head: dict[str, Any]) -> SnapshotFigures:
    clock, memory = head["clock"] or {}, head["memory"] or {}
    identity = head["identity"] or {}
    # Files of older versions have none.
    sums = head.get("sums") or {}
    if head["detail"] not in DETAILS:
        raise ValueError(f"its level of detail is unknown: {head['detail']!r:.40}")
    return SnapshotFigures(
        head["detail"],
        checked("monotonic", clock.get("monotonic"), True),
        checked("vsz", head["vsz"]),
        checked("rss", head["rss"], True),
        checked("swap", memory.get("swap"), True),
        checked("page_tables", memory.get("page_tables"), True),
        checked("memory", own(memory), True),
        checked("rss_error", head.get("rss_error", 0), True),
        summary_from(head.get("heap")),
        same(checked("comm", identity.get("comm"), True)),
        same(checked("exe", identity.get("exe"), True)),
        None if head["threads"] is None else len(head["threads"]),
        *(checked(name, sums.get(name), True) for name in SUMS),
    )


def same(text: str | None) -> str | None:
    """The text, of which all snapshots of a recording then share one copy."""
    return None if text is None else sys.intern(text)


def read_index(path: str | os.PathLike[str]) -> tuple[PackedSnapshots, ParseError | None]:
    """The whole snapshots of a file up to its first fault, and the fault; None: it has none.

    The checksum of each snapshot is checked.

    Raises:
        ParseError: the file is not a recording.
        OSError
    """
    from procmem.errors import ParseError

    source = os.fspath(path)
    places, sizes = array("Q"), array("Q")
    fault = None
    with open_saved(path) as file:
        start = file.read(len(MAGIC))
        inside: BinaryIO = file
        if start == START[: len(MAGIC)]:
            data = start + content_of(file, MOST - len(start))
            if not is_report(data):
                raise ParseError(source, 1, start, "no recording")
            inside = kept_file(data, source)
        elif start != MAGIC:
            raise ParseError(source, 1, start, "no recording")
        kept: list[bytes] = []
        at = len(MAGIC)
        while start := inside.read(FRAME.size):
            number = len(places) + 1
            bad = partial(damage, source, f"snapshot {number}, at byte {at}")
            at += FRAME.size
            size, checksum = FRAME.unpack(start) if len(start) == FRAME.size else (1, 0)
            content = content_of(inside, size)
            if len(content) < size:
                fault = bad("the file was cut off here" if size <= MOST else TOO_LARGE)
                break
            if zlib.crc32(content) != checksum:
                fault = bad("damaged: wrong checksum")
                break
            places.append(at)
            sizes.append(size)
            if inside is not file:
                kept.append(content)
            at += size
        else:
            if not places:
                fault = ParseError(source, 1, b"", "it holds no whole snapshot")
        if inside is not file:
            return PackedSnapshots(kept, source), fault
        fd = os.dup(file.fileno())
    return PackedSnapshots(Stored(fd, places, sizes), source), fault
