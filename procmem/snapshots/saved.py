"""Snapshots as plain values, as JSON, and many in one compressed file.

A file starts with MAGIC. Each snapshot is a frame of its own: the length and
the CRC-32 of what follows, then an LZMA stream (zlib where time counts more
than room; the first byte tells them apart) of a JSON header and of the
records, column by column. A column of numbers is split into its eight planes
of bytes, since the high ones hardly differ from region to region; addresses
are kept as gap and size. So a file that was cut off loads to its last whole
frame, and one that was changed is found out.
"""

from __future__ import annotations

import json
import lzma
import os
import stat
import sys
import zlib
from array import array
from functools import partial
from itertools import accumulate
from struct import Struct
from types import MappingProxyType

from procmem import native
from procmem.native import ffi
from procmem.procfs.totals import Faults, MemoryUsage
from procmem.regions.json import check_types
from procmem.regions.reading import scan_chunks
from procmem.regions.region import MODES, plain_line
from procmem.regions.table import RegionTable, raw_records, table_from_scan
from procmem.regions.threads import Thread
from procmem.snapshots.moment import DETAILS, Clock, Identity, Kernel, Moment
from procmem.snapshots.output import MAGIC, replacing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, BinaryIO

    from procmem.errors import ParseError

__all__ = ["MAGIC", "from_dict", "from_json", "read_frames", "save_all", "to_dict"]

FORMAT = "procmem.snapshot/1"
FRAME = Struct("<II")
"""Bytes of the compressed part, and their CRC-32."""

MOST = 1 << 29
"""Bytes of one snapshot, unpacked: that of a million regions has 250 MB."""

FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 1}]
"""What unpacks all frames. Its dictionary, 1 MiB, is the largest that packing takes."""

TOO_LARGE = f"it claims more than the {MOST >> 20} MiB that are read"

PIECE = 1 << 20

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

OWN = "/dev/stdin", "/dev/fd/", "/proc/self/fd/"
"""Where this process's own descriptors are."""

ZLIB = b"\x78"
"""How zlib's streams start (RFC 1950); no LZMA2 stream does."""

QUICK = 4

WINDOWS = 1 << 14, 1 << 20
"""Bytes of a dictionary: of a small frame no larger than that, since clearing tables for 1 MiB
takes ten times as long as packing 300 regions does."""

BAD = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError,
       lzma.LZMAError, zlib.error, EOFError, MemoryError)  # fmt: skip
"""What values of the wrong shape make Python's own operations raise."""

MOST_REGIONS = 1 << 21
"""Regions of one snapshot: vm.max_map_count is 65,530 where nobody has raised it."""

MOST_WORDS = 128
"""Words of one record: smaps has 30 counters."""

TEXTS = frozenset(("boot_id", "comm", "exe", "release", "machine"))
LISTS = frozenset(("cmdline", "features"))
NULLABLE = MemoryUsage, Identity
"""Whose fields may be None."""


# ---- plain values ----------------------------------------------------------------


def to_dict(snapshot: Moment) -> dict[str, Any]:
    """A snapshot as plain values."""
    return {**head(snapshot), "regions": snapshot.regions.to_dict()}


def head(snapshot: Moment) -> dict[str, Any]:
    """All but the regions."""

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
        "unavailable": dict(snapshot.unavailable),
    }


def from_dict(data: dict[str, Any]) -> Moment:
    """The snapshot of plain values."""
    if data["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    return assembled(data, RegionTable.from_dict(data["regions"]))


def assembled(data: dict[str, Any], table: RegionTable[Any]) -> Moment:
    """A snapshot of its regions and of what head() made."""

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
        raise ValueError("its regions are of another detail than it says")
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
    )


def checked(name: str, value: Any, nullable: bool = False) -> Any:
    """A field's value, if it is one: JSON may hold any.

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
    """A text, if it is one."""
    if type(value) is not str:
        raise TypeError(f"{name} is no text: {value!r:.40}")
    return value


def from_json(text: str | bytes, source: str = "<json>") -> Moment:
    """The snapshot of a JSON text.

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
        reason = f"missing {bad}" if isinstance(bad, KeyError) else str(bad)
        raise ParseError(
            source, getattr(bad, "lineno", 1), start, f"no snapshot: {reason}"
        ) from bad


# ---- records as columns ----------------------------------------------------------


def records_of(table: RegionTable[Any]) -> tuple[int, array[int]]:
    """The words of a table's records, one after the other, and how many each has."""
    words = array("Q")
    words.frombytes(raw_records(table))
    return table.reading.scan.stride, words


def packed(snapshot: Moment) -> bytes:
    """A snapshot as one frame's content."""
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
    """The snapshot of one frame's content."""
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
        raise ValueError("its records are not those of this version")
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
            raise IndexError("it names a region that it lacks")
        table.reading.overrides[place] = (path, bool(deleted))
    if about["kinds"] is not None:
        from procmem.regions.kinds import Kind, Owner, RegionKind, Use

        def used(name: Any, evidence: Any, guess: Any) -> Use:
            checked_text("use_evidence", evidence)
            return Use(checked_text("use", name), evidence, bool(guess))

        # Files of older versions have no fifth value, the use.
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
    """The lines that records stand for, without the counters that have a word of their own."""
    from procmem.regions.region import counter_lines

    top = (1 << 64) - 1
    low = (1 << 32) - 1
    extras: dict[int, dict[str, Any]] = {}
    for place, name, value in about["extras"]:
        extras.setdefault(place, {})[name] = value
    # A gap may be negative, where regions overlap: both count modulo 2**64.
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
            perms = (perms_name & low).to_bytes(4, sys.byteorder)
            numbers = dev >> 32, dev & low
            name = strings[perms_name >> 32]
            lines.append(plain_line(start & top, end & top, perms, offset, numbers, inode, name))
        if place in extras:
            lines += counter_lines(extras[place])
        if flags:
            if flags not in flag_lines:
                flag_lines[flags] = b"VmFlags: " + strings[flags] + b" "
            lines.append(flag_lines[flags])
    body = b"\n".join(lines)
    return body if about["unterminated"] or not lines else body + b"\n"


# ---- files -----------------------------------------------------------------------


def save_all(
    snapshots: Iterable[Moment], path: str | os.PathLike[str], *, force: bool = False
) -> None:
    """Writes snapshots to one compressed file, or leaves what was there; see replacing().

    Raises:
        FileExistsError: another's file is there, and `force` is not set.
        OSError
    """
    with replacing(path, force=force) as file:
        file.write(MAGIC)
        file.writelines(frame(snapshot) for snapshot in snapshots)


def frame(snapshot: Moment, *, quick: bool = False) -> bytes:
    """A snapshot as it stands in a file, behind those before it.

    Args:
        snapshot: it.
        quick: pack it in a fifth of the time, a quarter larger.
    """
    raw = packed(snapshot)
    content = zlib.compress(raw, QUICK) if quick else dense(raw)
    return FRAME.pack(len(content), zlib.crc32(content)) + content


def dense(raw: bytes) -> bytes:
    least, most = WINDOWS
    window = min(most, max(least, 1 << len(raw).bit_length()))
    filters = [{**FILTERS[0], "dict_size": window}]
    return lzma.compress(raw, lzma.FORMAT_RAW, filters=filters)


def unpacker(content: bytes) -> Callable[[bytes, int], bytes]:
    """What unpacks a frame's content: takes its bytes, and how many to give at most."""
    if content[:1] == ZLIB:
        one = zlib.decompressobj()
        # What it has not taken yet it wants to be given again.
        return lambda data, most: one.decompress(data or one.unconsumed_tail, most)
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS).decompress


def damage(source: str, place: str, reason: str) -> ParseError:
    from procmem.errors import ParseError

    return ParseError(source, 0, b"", f"{place}: {reason}")


def open_saved(path: str | os.PathLike[str]) -> BinaryIO:
    """A file that was saved, open; one that would be waited for is refused.

    A pipe that the caller has open already is taken: /dev/stdin, /dev/fd/63 of a shell's <(...).

    Raises:
        ParseError: it is a FIFO, a device, a socket.
        OSError
    """
    name = os.fspath(path)
    if name.startswith(OWN):
        return open(name, "rb")
    # What the name leads to is taken hold of first, which opens nothing.
    handle = os.open(name, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            from procmem.errors import ParseError

            raise ParseError(name, 0, b"", "no ordinary file: it would have to be waited for")
        try:
            fd = os.open(f"/proc/self/fd/{handle}", READ)
        except FileNotFoundError:
            fd = os.open(name, READ)
    finally:
        os.close(handle)
    return os.fdopen(fd, "rb")


def content_of(file: BinaryIO, size: int) -> bytes:
    """What a frame holds; fewer bytes where the file ends, none if it claims more than MOST."""
    # A read makes room for all that it is asked for.
    parts = []
    while 0 < size <= MOST and (part := file.read(min(size, PIECE))):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_frames(file: BinaryIO, source: str) -> Iterator[Moment]:
    """The snapshots of an open file, behind MAGIC.

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
            raise bad("damaged: the checksum is another")
        try:
            yield unpacked(unpacker(content)(content, MOST))
        except BAD as error:
            raise bad(f"no snapshot: {error}") from error
