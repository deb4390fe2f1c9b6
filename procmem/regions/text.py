"""Text and JSON to tables and back. Nothing here opens a file."""

from __future__ import annotations

from procmem import native
from procmem.procfs.text import fail, kind_of_text, known_as, saved_text
from procmem.regions.counters import KERNEL_NAMES, Counters
from procmem.regions.region import (
    PAGE_SIZE,
    Block,
    MeasuredRegion,
    Region,
    ResidentRegion,
    counter_lines,
    plain_line,
)
from procmem.regions.table import RegionTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from procmem.regions.kinds import Use

__all__ = [
    "format_maps",
    "parse_maps",
    "parse_rollup",
    "parse_smaps",
    "table_from_json",
    "table_from_scan",
    "table_to_json",
]

MODES: dict[int, type[Region]] = {
    native.MAPS: Region,
    native.SMAPS: MeasuredRegion,
    native.RESIDENT: ResidentRegion,
}


def scan_chunks(chunks: Iterable[bytes], mode: int, source: str) -> native.Scan:
    """A finished scan of a text that comes in chunks, cut anywhere.

    Raises:
        ParseError
    """
    scan = native.Scan(mode, source)
    feed = scan.feed
    for chunk in chunks:
        feed(chunk)
    scan.finish()
    return scan


def table_from_scan(
    scan: native.Scan,
    mode: int,
    *,
    page_size: int | None = None,
    exe: bytes | None = None,
    consistent: bool | None = None,
) -> RegionTable[Any]:
    """The table over a finished scan."""
    if consistent is None:
        consistent = not scan.disordered
    block = Block(scan, source=scan.source, page_size=page_size or PAGE_SIZE, exe=exe)
    cls = MODES[mode]
    return RegionTable(cls, block.make(cls), block, consistent=consistent)


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
        source: named in errors and kept in the table.
        page_size: of the machine that it came from, in bytes; this machine's if not given.
        exe: the executable's path, if known: it tells whose segments are whose.

    Raises:
        ParseError: with the number and the bytes of the line that is no region.

    Blank lines, a byte order mark, and the CRs of a text in which every line ends in CR LF are
    passed over. Source: proc_pid_maps(5). format_maps() gives the other bytes back.

    >>> parse_maps(b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat\n")[0]
    <Region 00400000-0040b000 r-xp '/bin/cat'>
    """
    return parse(data, native.MAPS, source, page_size, exe)


def parse_smaps(
    data: bytes, *, source: str = "<smaps>", page_size: int | None = None, exe: str | None = None
) -> RegionTable[MeasuredRegion]:
    r"""The regions of a text of /proc/PID/smaps, with every counter.

    Args and errors are those of parse_maps(). A text of maps is taken too: all
    counters are None then.

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
    """The counters of a text of /proc/PID/smaps_rollup.

    Raises:
        ParseError: it is no such text, or an empty one.
    """
    text = saved_text(as_bytes(data))
    if kind_of_text(text) != "smaps_rollup":
        fail(source, text, "smaps_rollup")
    # A line without a colon is passed over, as in status: some vendors' kernels print one.
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
    r"""The text of /proc/PID/maps for a table: the bytes that it was parsed from.

    >>> text = b"400000-40b000 r-xp 0 8:1 7 /bin/odd format\n"
    >>> format_maps(parse_maps(text)) == text
    True
    """
    regions = list(table)
    lines = [region.line() for region in regions]
    if not lines:
        return b""
    last = regions[-1]
    cut = last._block.unterminated and last._index == last._block.count - 1
    return b"\n".join(lines) + (b"" if cut else b"\n")


# ---- JSON --------------------------------------------------------------------

FORMAT = "procmem.regions/1"


def table_to_json(table: RegionTable[Any], indent: int | None = None) -> str:
    """A table as JSON text."""
    import json

    return json.dumps(table_to_dict(table), indent=indent)


def table_to_dict(table: RegionTable[Any]) -> dict[str, Any]:
    """A table as plain dicts and lists."""
    rows = []
    for region in table:
        row = region.to_record()
        if region._raw:
            row["line"] = region.line().decode("utf-8", "surrogateescape")
        if isinstance(region, MeasuredRegion) and region._extra0 is not None:
            row["Size"] = region._extra0
        rows.append(row)
    block = table._block
    last = table[-1] if len(table) else None
    return {
        "format": FORMAT,
        "type": table._kind.__name__,
        "source": table.source,
        "page_size": table.page_size,
        "exe": table.exe,
        "consistent": table.consistent,
        "unterminated": bool(
            last is not None and block.unterminated and last._index == block.count - 1
        ),
        "regions": rows,
    }


TOLD = frozenset(
    "start end size perms offset dev inode pathname deleted kind owner kind_evidence kind_guess "
    "use use_evidence use_guess name uss vm_flags line unknown".split()
)


def table_from_json(text: str | bytes) -> RegionTable[Any]:
    """The table that table_to_json() wrote.

    Raises:
        ParseError: the text is no such table.
    """
    import json

    from procmem.errors import ParseError

    head = text[:200].encode("utf-8", "replace") if isinstance(text, str) else bytes(text[:200])
    try:
        data = json.loads(text)
        return table_from_dict(data)
    except ParseError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as bad:
        reason = f"missing {bad}" if isinstance(bad, KeyError) else str(bad)
        raise ParseError("<json>", getattr(bad, "lineno", 1), head, f"no table: {reason}") from bad


def table_from_dict(data: dict[str, Any]) -> RegionTable[Any]:
    if data["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    from procmem.regions.kinds import Kind, Owner, RegionKind

    mode = {cls.__name__: mode for mode, cls in MODES.items()}[data["type"]]
    check_types(data, {"source": str, "page_size": int, "consistent": bool, "unterminated": bool})
    lines: list[bytes] = []
    names: list[tuple[str | None, bool]] = []
    kinds = []
    for row in data["regions"]:
        check_types(row, {"deleted": bool, "kind_evidence": str, "name": str})
        path, deleted = row["pathname"], row["deleted"]
        raw = b""
        if path is not None:
            raw = path.encode("utf-8", "surrogateescape").replace(b"\n", b"\\012")
            raw += b" (deleted)" if deleted else b""
        names.append((path, deleted))
        owner = None if row["owner"] is None else Owner(row["owner"])
        kind, evidence = RegionKind(row["kind"]), row["kind_evidence"]
        kinds.append(Kind(kind, owner, evidence, row["name"], row_use(row)))
        lines.append(row_line(row, raw))
        if mode == native.SMAPS:
            counters = {
                KERNEL_NAMES.get(field, field): value
                for field, value in row.items()
                if field not in TOLD
            }
            lines += counter_lines(counters)
            lines += counter_lines(row.get("unknown", {}))
            if row["vm_flags"] is not None:
                lines += counter_lines({"VmFlags": row["vm_flags"]})
    body = b"\n".join(lines)
    if lines and not data["unterminated"]:
        body += b"\n"
    scan = scan_chunks((body,), mode, data["source"])
    if scan.count != len(names):
        raise ValueError("the lines of its regions don't stand for one region each")
    if mode == native.RESIDENT:
        for index, row in enumerate(data["regions"]):
            scan.set_residency(index, row["rss"], row["swap"])
    exe = data["exe"]
    table = table_from_scan(
        scan,
        mode,
        page_size=data["page_size"],
        exe=None if exe is None else exe.encode("utf-8", "surrogateescape"),
        consistent=data["consistent"],
    )
    for index, (region, told) in enumerate(zip(table, names, strict=True)):
        if (region.pathname, region.deleted) != told:
            table._block.overrides[index] = told
    # What a region is may have been told with more at hand than its neighbours here.
    table._block.kinds = kinds
    return table


def check_types(values: dict[str, Any], types: dict[str, type]) -> None:
    for name, expected in types.items():
        if type(values[name]) is not expected:
            raise TypeError(f"{name} is no {expected.__name__}: {values[name]!r:.40}")


def row_use(row: dict[str, Any]) -> Use | None:
    """The use of a region in JSON; texts of older versions have none."""
    if row.get("use") is None:
        return None
    from procmem.regions.kinds import Use

    check_types(row, {"use": str, "use_evidence": str, "use_guess": bool})
    return Use(row["use"], row["use_evidence"], row["use_guess"])


def row_line(row: dict[str, Any], name: bytes) -> bytes:
    if "line" in row:
        line: str = row["line"]
        return line.encode("utf-8", "surrogateescape")
    major, minor = (int(part, 16) for part in row["dev"].split(":"))
    return plain_line(
        row["start"],
        row["end"],
        row["perms"].encode("ascii"),
        row["offset"],
        (major, minor),
        row["inode"],
        name,
    )
