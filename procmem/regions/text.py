"""Parses texts of maps, smaps and smaps_rollup, and formats maps. It opens no files."""

from __future__ import annotations

from procmem import native
from procmem.procfs.text import fail, kind_of_text, known_as, saved_text
from procmem.regions.reading import scan_chunks
from procmem.regions.region import MeasuredRegion, Region
from procmem.regions.table import RegionTable, table_from_scan

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from procmem.regions.counters import Counters

__all__ = ["format_maps", "parse_maps", "parse_rollup", "parse_smaps"]


def as_bytes(data: bytes | bytearray | memoryview) -> bytes:
    if isinstance(data, str):
        raise TypeError("bytes are expected: open the file in binary mode ('rb')")
    return bytes(data)


def parse_maps(
    data: bytes, *, source: str = "<maps>", page_size: int | None = None, exe: str | None = None
) -> RegionTable[Region]:
    r"""The regions of a text of /proc/PID/maps.

    Args:
        data: the text, of any kernel and architecture.
        source: the name of the text in errors, and in the table.
        page_size: the page size of the machine that the text came from, in bytes; None: this
            machine's.
        exe: the executable's path, by which its segments are recognised; None: not known.

    Raises:
        ParseError: a line is not a region; the error has its number and its bytes.
        TypeError: data is a str.

    Blank lines, a byte order mark, and the CRs of a text in which every line ends in CR LF are
    ignored. format_maps() returns all other bytes as they were. Source: proc_pid_maps(5).

    >>> parse_maps(b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat\n")[0]
    <Region 00400000-0040b000 r-xp '/bin/cat'>
    """
    return parse(data, native.MAPS, source, page_size, exe)


def parse_smaps(
    data: bytes, *, source: str = "<smaps>", page_size: int | None = None, exe: str | None = None
) -> RegionTable[MeasuredRegion]:
    r"""The regions of a text of /proc/PID/smaps, with all counters, in bytes.

    Args and errors are those of parse_maps(). A text of maps is accepted, too: all
    counters are then None.

    Source: proc_pid_smaps(5).

    >>> table = parse_smaps(
    ...     b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat\n"
    ...     b"Rss:                  44 kB\n"
    ... )
    >>> table[0].rss, table[0].pss
    (45056, None)
    """
    return parse(data, native.SMAPS, source, page_size, exe)


def parse_rollup(data: bytes, *, source: str = "<smaps_rollup>") -> Counters:
    """The counters of a text of /proc/PID/smaps_rollup, in bytes.

    Args:
        data: the text.
        source: the name of the text in errors.

    Raises:
        ParseError: it is not such a text, or is empty.
        TypeError: data is a str.

    Source: proc_pid_smaps(5); Documentation/ABI/testing/procfs-smaps_rollup.
    """
    text = saved_text(as_bytes(data))
    if kind_of_text(text) != "smaps_rollup":
        fail(source, text, "smaps_rollup")
    # A line without a colon is ignored, as in status: some vendors' kernels print one.
    kept = [(number, line) for number, line in enumerate(text.split(b"\n"), 1) if b":" in line]
    from procmem.errors import ParseError

    try:
        table: RegionTable[MeasuredRegion] = table_of(
            b"\n".join(line for _, line in kept) + b"\n", native.SMAPS, source, None, None
        )
    except ParseError as error:
        raise ParseError(source, kept[error.lineno - 1][0], error.line, error.reason) from None
    if len(table) != 1:
        second = table[1].line()
        lineno = next(number for number, line in kept if line == second)
        raise ParseError(source, lineno, second, "one [rollup] region is expected, and no other")
    return table[0].counters


def parse(
    data: bytes, mode: int, source: str, page_size: int | None, exe: str | None
) -> RegionTable[Any]:
    text = saved_text(as_bytes(data))
    try:
        table = table_of(text, mode, source, page_size, exe)
    except ValueError as error:
        from procmem.errors import ParseError

        fitting = ("maps", "smaps") if mode == native.SMAPS else ("maps",)
        if not isinstance(error, ParseError) or kind_of_text(text) in (*fitting, None):
            raise
        reason = f"{error.reason}{known_as(text)}"
        raise ParseError(source, error.lineno, error.line, reason) from None
    if (
        len(table) == 1
        and kind_of_text(text) == "smaps_rollup"
        and table[0].perms == "---p"
        and isinstance(table[0], MeasuredRegion)
        and table[0].counters
    ):
        fail(source, text, "smaps")
    return table


def table_of(
    text: bytes, mode: int, source: str, page_size: int | None, exe: str | None
) -> RegionTable[Any]:
    scan = scan_chunks((text,), mode, source)
    raw_exe = None if exe is None else exe.encode("utf-8", "surrogateescape")
    return table_from_scan(scan, mode, page_size=page_size, exe=raw_exe)


def format_maps(table: Iterable[Region]) -> bytes:
    r"""The text of /proc/PID/maps for regions: the same bytes that they were parsed from.

    >>> text = b"400000-40b000 r-xp 0 8:1 7 /bin/odd format\n"
    >>> format_maps(parse_maps(text)) == text
    True
    """
    regions = list(table)
    lines = [region.line() for region in regions]
    if not lines:
        return b""
    last = regions[-1]
    cut = last._reading.unterminated and last._index == last._reading.count - 1
    return b"\n".join(lines) + (b"" if cut else b"\n")
