"""Snapshots as plain values, as JSON, and many in one compressed file.

A file starts with MAGIC. Each snapshot is a frame of its own: the length and the CRC-32 of the
rest, then an LZMA stream (zlib where time matters more than space; the first byte differs) of a
JSON header and of the records, column by column. A column of numbers is split into eight planes of
bytes, because the high bytes hardly differ from region to region; addresses are stored as gap and
size. A file that was cut off can be read up to its last whole frame, and damage is detected.
"""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import zlib
from array import array
from functools import lru_cache, partial
from itertools import accumulate
from struct import Struct
from types import MappingProxyType

from procmem import native
from procmem.native import ffi
from procmem.picture.embedded import kept_in
from procmem.procfs.totals import Faults, MemoryUsage
from procmem.regions.json import check_types
from procmem.regions.reading import scan_chunks
from procmem.regions.region import MODES, plain_line
from procmem.regions.table import RegionTable, raw_records, table_from_scan
from procmem.regions.threads import Thread
from procmem.snapshots.heaps import summary_from
from procmem.snapshots.moment import DETAILS, Clock, Identity, Kernel, Moment
from procmem.snapshots.output import MAGIC, replacing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, BinaryIO

    from procmem.errors import ParseError

__all__ = [
    "MAGIC",
    "framed",
    "from_dict",
    "from_json",
    "kept_file",
    "read_frames",
    "save_all",
    "to_dict",
]

try:
    import lzma

    BAD_LZMA: tuple[type[Exception], ...] = (lzma.LZMAError,)
except ImportError:  # a Python that was built without liblzma
    lzma, BAD_LZMA = None, ()  # type: ignore[assignment]

FORMAT = "procmem.snapshot/1"
FRAME = Struct("<II")
"""The length of the compressed part in bytes, and its CRC-32."""

MOST = 1 << 29
"""Bytes of one unpacked snapshot at most: a million regions take 250 MB."""

FILTERS = [{"id": 0x21, "preset": 1}]  # lzma.FILTER_LZMA2
"""Filters that unpack every frame: their dictionary, 1 MiB, is the largest that packing uses."""

TOO_LARGE = f"it claims more than the {MOST >> 20} MiB that are read"

PIECE = 1 << 20

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

OWN = "/dev/stdin", "/dev/fd/", "/proc/self/fd/"
"""Paths of this process's own descriptors."""

ZLIB = b"\x78"
"""The first byte of zlib's streams (RFC 1950), and of no LZMA2 stream."""

QUICK = 4

WINDOWS = 1 << 14, 1 << 20
"""Least and most bytes of a dictionary. A small frame gets a small one: clearing the tables for
1 MiB takes ten times as long as packing 300 regions."""

BAD: tuple[type[Exception], ...] = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError,
    zlib.error, EOFError, MemoryError, *BAD_LZMA,
)  # fmt: skip
"""Errors that Python's own operations raise on values of the wrong shape."""

MOST_REGIONS = 1 << 21
"""Regions of one snapshot at most: vm.max_map_count is 65,530 by default."""

MOST_WORDS = 128
"""Words of one record at most: smaps has 30 counters."""

TEXTS = frozenset(("boot_id", "comm", "exe", "release", "machine"))
LISTS = frozenset(("cmdline", "features"))
NULLABLE = MemoryUsage, Identity
"""Classes whose fields may be None."""


# ---- plain values ----------------------------------------------------------------


def to_dict(snapshot: Moment) -> dict[str, Any]:
    """A snapshot as plain values."""
    return {**head(snapshot), "regions": snapshot.regions.to_dict()}


def head(snapshot: Moment) -> dict[str, Any]:
    """A snapshot without its regions as plain values."""

    def fields(value: Any) -> dict[str, Any] | None:
        return None if value is None else value._asdict()

    threads = None
    if snapshot.threads is not None:
        threads = [[t.tid, t.name, t.stack_pointer, t.arena] for t in snapshot.threads]
    return {
        "format": FORMAT,
        "detail": snapshot.detail,
        "source": snapshot.source,
        "moved": snapshot.moved,
        "vsz": snapshot.vsz,
        "rss": snapshot.rss,
        "rss_error": snapshot.rss_error,
        "clock": fields(snapshot.clock),
        "identity": fields(snapshot.identity),
        "kernel": fields(snapshot.kernel),
        "memory": fields(snapshot.memory),
        "faults": fields(snapshot.faults),
        "threads": threads,
        "heap": None if snapshot.heap is None else snapshot.heap.to_dict(),
        "unavailable": dict(snapshot.unavailable),
    }


SUMS = ("anon_huge_pages", "ksm")
"""Counters whose sums are not among the totals of /proc/PID/status."""


def sums_of(snapshot: Moment) -> dict[str, int | None]:
    """The sums of these counters over all regions, in bytes; None: they were not read."""
    measured = snapshot.detail == "smaps"
    return {name: snapshot.regions.total(name) if measured else None for name in SUMS}


def from_dict(data: dict[str, Any]) -> Moment:
    """The snapshot that to_dict() described."""
    if data["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    return assembled(data, RegionTable.from_dict(data["regions"]))


def assembled(data: dict[str, Any], table: RegionTable[Any]) -> Moment:
    """A snapshot from its regions and from what head() returned."""

    def made(kind: Any, name: str) -> Any:
        values = data[name]
        if values is None:
            return None
        return kind(**{key: checked(key, value, kind in NULLABLE) for key, value in values.items()})

    threads = None
    if data["threads"] is not None:
        threads = tuple(
            Thread(
                checked("tid", tid),
                checked_text("name", name),
                None if pointer is None else table.find(checked("stack_pointer", pointer)),
                pointer,
                *(checked("arena", one, True) for one in arena),
            )
            for tid, name, pointer, *arena in data["threads"]
        )
    check_types(data, {"moved": bool, "source": str, "unavailable": dict})
    for name, reason in data["unavailable"].items():
        checked_text(name, reason)
    if table.region_type.__name__ != DETAILS[data["detail"]]:
        raise ValueError("its regions have another detail than its header says")
    return Moment(
        table,
        made(MemoryUsage, "memory"),
        made(Faults, "faults"),
        threads,
        made(Clock, "clock"),
        made(Identity, "identity") or Identity(),
        made(Kernel, "kernel"),
        data["moved"],
        MappingProxyType(data["unavailable"]),
        data["source"],
        # Files of older versions have no heap.
        summary_from(data.get("heap")),
    )


def checked(name: str, value: Any, nullable: bool = False) -> Any:
    """The value of a field, if it has the right type: JSON may hold any.

    Raises:
        TypeError, ValueError
    """
    if value is None and nullable:
        return None
    if name in TEXTS:
        return checked_text(name, value)
    if name in LISTS:
        if type(value) not in (list, tuple):
            raise TypeError(f"{name} is no list: {value!r:.40}")
        return tuple(checked_text(name, each) for each in value)
    if type(value) is not int:
        raise TypeError(f"{name} is no number: {value!r:.40}")
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"{name} is out of range: {value:#x}"[:80])
    return value


def checked_text(name: str, value: Any) -> str:
    """A string, if it is one."""
    if type(value) is not str:
        raise TypeError(f"{name} is no text: {value!r:.40}")
    return value


def from_json(text: str | bytes, source: str = "<json>") -> Moment:
    """The snapshot in a JSON text.

    Raises:
        ParseError
    """
    from procmem.errors import ParseError

    try:
        return from_dict(json.loads(text))
    except ParseError:
        raise
    except BAD as bad:
        start = text[:200].encode("utf-8", "replace") if isinstance(text, str) else text[:200]
        if start.startswith(b'{"pid": ') and b', "calls": [' in start:
            shown = "procmem report RECORDING --trace FILE shows it"
            raise ParseError(source, 0, b"", f"a trace, which has no snapshot: {shown}") from bad
        reason = f"missing {bad}" if isinstance(bad, KeyError) else str(bad)
        raise ParseError(
            source, getattr(bad, "lineno", 1), start, f"no snapshot: {reason}"
        ) from bad


# ---- records as columns ----------------------------------------------------------


def records_of(table: RegionTable[Any]) -> tuple[int, array[int]]:
    """The number of words in each record of a table, and the words of all records."""
    words = array("Q")
    words.frombytes(raw_records(table))
    return table.reading.scan.stride, words


def packed(snapshot: Moment) -> bytes:
    """The unpacked content of the frame of a snapshot."""
    table = snapshot.regions
    reading = table.reading
    stride, words = records_of(table)
    columns = [words[at::stride] for at in range(stride)]
    starts, ends = columns[0], columns[1]
    top = (1 << 64) - 1
    columns[0] = array("Q", [(s - e) & top for s, e in zip(starts, [0, *ends], strict=False)])
    columns[1] = array("Q", [(e - s) & top for s, e in zip(starts, ends, strict=True)])
    indices = [region._index for region in table]
    known = reading.kinds
    distinct: dict[Any, int] = {}
    if known is not None:
        columns.append(array("Q", [distinct.setdefault(known[i], len(distinct)) for i in indices]))
    last = indices[-1] if indices else -1
    constant: dict[int, int] = {}
    planes = []
    for at, column in enumerate(columns):
        raw = column.tobytes()
        if raw and raw == raw[:8] * len(column):
            constant[at] = column[0]
            continue
        if sys.byteorder == "big":
            column.byteswap()
            raw = column.tobytes()
        planes += [raw[plane::8] for plane in range(8)]
    told = head(snapshot)
    # For a recording, whose table reads what precedes the regions alone.
    told["sums"] = sums_of(snapshot)
    told["table"] = {
        "source": table.source,
        "page_size": table.page_size,
        "exe": table.exe,
        "consistent": table.consistent,
        "unterminated": bool(reading.unterminated and last == reading.count - 1),
        "count": len(table),
        "stride": stride,
        "strings": [s.decode("utf-8", "surrogateescape") for s in reading.strings],
        "extras": [
            [place, *extra]
            for place, index in enumerate(indices if reading.extras else ())
            for extra in reading.extras.get(index, ())
        ],
        "names": [
            [place, *reading.overrides[index]]
            for place, index in enumerate(indices if reading.overrides else ())
            if index in reading.overrides
        ],
        "kinds": None
        if known is None
        else [
            [k.kind.value, k.owner and k.owner.value, k.evidence, k.name, k.use] for k in distinct
        ],
        "constant": list(constant.items()),
    }
    text = json.dumps(told, separators=(",", ":")).encode("ascii")
    return b"".join([len(text).to_bytes(4, "little"), text, *planes])


def unpacked(data: bytes) -> Moment:
    """The snapshot in the unpacked content of a frame."""
    end = 4 + int.from_bytes(data[:4], "little")
    told = json.loads(data[4:end])
    if told["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    return assembled(told, unpacked_table(told, data, end))


def unpacked_table(told: dict[str, Any], data: bytes, at: int) -> RegionTable[Any]:
    about = told["table"]
    mode = {cls.__name__: mode for mode, cls in MODES.items()}[DETAILS[told["detail"]]]
    check_types(
        about,
        {"source": str, "page_size": int, "consistent": bool, "unterminated": bool}
        | {"count": int, "stride": int, "strings": list, "extras": list, "names": list},
    )
    count, stride = about["count"], about["stride"]
    if not 0 <= count <= MOST_REGIONS or not 0 < stride <= MOST_WORDS:
        raise ValueError(f"it has {count} regions of {stride} words: more than are read"[:120])
    constant = dict(about["constant"])
    columns = []
    for number in range(stride + (about["kinds"] is not None)):
        if number in constant:
            columns.append(array("Q", [constant[number]]) * count)
            continue
        raw = bytearray(count * 8)
        for plane in range(8):
            raw[plane::8] = data[at : at + count]
            at += count
        column = array("Q")
        column.frombytes(raw)
        if sys.byteorder == "big":
            column.byteswap()
        columns.append(column)
    if at != len(data):
        raise ValueError("its columns are not as long as it says")
    strings = [s.encode("utf-8", "surrogateescape") for s in about["strings"]]
    scan = scan_chunks((text_of(about, columns, strings),), mode, about["source"])
    if scan.count != count or scan.stride != stride:
        raise ValueError("its records are of another version")
    if count:
        words = memoryview(ffi.buffer(scan.words, count * stride * 8)).cast("Q")
        for number in range(native.HEADER_WORDS, stride):
            words[number::stride] = columns[number]
    exe = about["exe"]
    table: RegionTable[Any] = table_from_scan(
        scan,
        mode,
        page_size=about["page_size"],
        exe=None if exe is None else exe.encode("utf-8", "surrogateescape"),
        consistent=about["consistent"],
    )
    for place, path, deleted in about["names"]:
        if path is not None:
            checked_text("pathname", path)
        if not 0 <= place < count:
            raise IndexError("it has a name for a region that it lacks")
        table.reading.overrides[place] = (path, bool(deleted))
    if about["kinds"] is not None:
        from procmem.regions.kinds import Kind, Owner, RegionKind, Use

        def used(name: Any, evidence: Any, guess: Any) -> Use:
            checked_text("use_evidence", evidence)
            return Use(checked_text("use", name), evidence, bool(guess))

        # Files of older versions have no use, the fifth value.
        kinds = [
            Kind(
                RegionKind(kind),
                None if owner is None else Owner(owner),
                checked_text("kind_evidence", evidence),
                checked_text("name", name),
                used(*use[0]) if use and use[0] else None,
            )
            for kind, owner, evidence, name, *use in about["kinds"]
        ]
        for place, number in enumerate(columns[stride]):
            table.reading.retell(place, kinds[number])
    return table


def text_of(about: dict[str, Any], columns: list[array[int]], strings: list[bytes]) -> bytes:
    """The text of maps that records came from, without the counters, which have their own words."""
    from procmem.regions.region import counter_lines

    top = (1 << 64) - 1
    low = (1 << 32) - 1
    extras: dict[int, dict[str, Any]] = {}
    for place, name, value in about["extras"]:
        extras.setdefault(place, {})[name] = value
    # The gap between overlapping regions is negative: both count modulo 2**64.
    edges = accumulate(value for pair in zip(columns[0], columns[1], strict=True) for value in pair)
    lines: list[bytes] = []
    flag_lines: dict[int, bytes] = {}
    for place, (start, end, offset, inode, dev, perms_name, flags_raw) in enumerate(
        zip(edges, edges, *columns[2 : native.HEADER_WORDS], strict=True)
    ):
        raw, flags = flags_raw >> 32, flags_raw & low
        if raw:
            lines.append(strings[raw])
        else:
            name = strings[perms_name >> 32]
            lines.append(
                line_of(start & top, end & top, perms_name & low, offset, dev, inode, name)
            )
        if place in extras:
            lines += counter_lines(extras[place])
        if flags:
            if flags not in flag_lines:
                flag_lines[flags] = b"VmFlags: " + strings[flags] + b" "
            lines.append(flag_lines[flags])
    body = b"\n".join(lines)
    return body if about["unterminated"] or not lines else body + b"\n"


@lru_cache(maxsize=1 << 13)
def line_of(
    start: int, end: int, perms: int, offset: int, dev: int, inode: int, name: bytes
) -> bytes:
    """A line of maps. Most lines of a snapshot are those of the snapshot before it, too."""
    letters = perms.to_bytes(4, sys.byteorder)
    return plain_line(start, end, letters, offset, (dev >> 32, dev & 0xFFFF_FFFF), inode, name)


# ---- files -----------------------------------------------------------------------


def save_all(
    snapshots: Iterable[Moment], path: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Writes snapshots to one compressed file; if that fails, the file stays as it was.

    Raises:
        FileExistsError: another program's file has that name, and `force` is not set.
        OSError
    """
    with replacing(path, force=force) as file:
        file.write(MAGIC)
        file.writelines(frame(snapshot) for snapshot in snapshots)


def frame(snapshot: Moment, *, quick: bool = False) -> bytes:
    """The frame of a snapshot, to be appended to a file.

    Args:
        snapshot: the snapshot.
        quick: pack it in a fifth of the time; the frame is a quarter larger.
    """
    raw = packed(snapshot)
    return framed(zlib.compress(raw, QUICK) if quick else dense(raw))


def framed(content: bytes) -> bytes:
    """The frame of a packed snapshot."""
    return FRAME.pack(len(content), zlib.crc32(content)) + content


def dense(raw: bytes) -> bytes:
    if lzma is None:
        return zlib.compress(raw, 9)
    least, most = WINDOWS
    window = min(most, max(least, 1 << len(raw).bit_length()))
    filters = [{**FILTERS[0], "dict_size": window}]
    return lzma.compress(raw, lzma.FORMAT_RAW, filters=filters)


def unpacker(content: bytes) -> Callable[[bytes, int], bytes]:
    """A function that unpacks a frame: of its bytes, and of how many to return at most."""
    if content[:1] == ZLIB:
        one = zlib.decompressobj()
        # It wants to be given the input again that it has not consumed yet.
        return lambda data, most: one.decompress(data or one.unconsumed_tail, most)
    if lzma is None:
        from procmem.errors import Unsupported

        raise Unsupported("LZMA", "the snapshot is packed with it; this Python has no liblzma")
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS).decompress


def damage(source: str, place: str, reason: str) -> ParseError:
    from procmem.errors import ParseError

    return ParseError(source, 0, b"", f"{place}: {reason}")


def open_saved(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file of snapshots for reading; refuses one that it would have to wait for.

    A pipe that this process has open already is accepted: /dev/stdin, /dev/fd/63 of a shell's
    <(...).

    Raises:
        ParseError: it is a FIFO, a device, a socket.
        OSError
    """
    name = os.fspath(path)
    if name.startswith(OWN):
        return open(name, "rb")
    # O_PATH takes hold of the file without opening it, so a FIFO is not waited for.
    handle = os.open(name, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            from procmem.errors import ParseError

            raise ParseError(name, 0, b"", "no regular file: reading it could wait forever")
        try:
            fd = os.open(f"/proc/self/fd/{handle}", READ)
        except FileNotFoundError:
            fd = os.open(name, READ)
    finally:
        os.close(handle)
    return os.fdopen(fd, "rb")


def content_of(file: BinaryIO, size: int) -> bytes:
    """The content of a frame; fewer bytes if the file ends before, none if `size` exceeds MOST."""
    # In pieces: a read allocates all that it is asked for, whatever the file holds.
    parts = []
    while 0 < size <= MOST and (part := file.read(min(size, PIECE))):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def kept_file(data: bytes, source: str) -> BinaryIO:
    """The file of snapshots in a report, read up to the end of MAGIC.

    Args:
        data: the report.
        source: where it is from, for error messages.

    Raises:
        ParseError: it was cut off, or is damaged.
    """
    from procmem.errors import ParseError

    try:
        file = io.BytesIO(kept_in(data))
    except ValueError as error:
        raise ParseError(source, 0, b"", str(error)) from error
    start = file.read(len(MAGIC))
    if start != MAGIC:
        raise ParseError(source, 0, start, "the report has no snapshots")
    return file


def read_frames(file: BinaryIO, source: str) -> Iterator[Moment]:
    """The snapshots of an open file, which was read up to the end of MAGIC.

    Raises:
        ParseError: at the first frame that is cut off or damaged; the reason has its number.
    """
    number = 0
    while start := file.read(FRAME.size):
        number += 1
        place = f"snapshot {number}, at byte {file.tell() - len(start)}"
        bad = partial(damage, source, place)

        if len(start) < FRAME.size:
            raise bad("the file was cut off here")
        size, checksum = FRAME.unpack(start)
        content = content_of(file, size)
        if len(content) < size:
            raise bad("the file was cut off here" if size <= MOST else TOO_LARGE)
        if zlib.crc32(content) != checksum:
            raise bad("damaged: wrong checksum")
        try:
            yield unpacked(unpacker(content)(content, MOST))
        except BAD as error:
            raise bad(f"no snapshot: {error}") from error
