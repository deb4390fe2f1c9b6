"""Converts tables of regions to JSON and back, without loss."""

from __future__ import annotations

from procmem import native
from procmem.regions.counters import KERNEL_NAMES
from procmem.regions.reading import MapsReading, scan_chunks
from procmem.regions.region import (
    MODES,
    PAGE_SIZE,
    MeasuredRegion,
    Region,
    counter_lines,
    plain_line,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from procmem.regions.kinds import Use

__all__ = ["table_from_dict", "table_from_json", "table_to_dict"]

FORMAT = "procmem.regions/1"


def table_to_dict(
    regions: Sequence[Region], reading: MapsReading, *, consistent: bool
) -> dict[str, Any]:
    """A table as plain dicts and lists.

    Args:
        regions: the regions of the table.
        reading: the reading that they belong to.
        consistent: see RegionTable.
    """
    rows = []
    for region in regions:
        row = region.to_record()
        if region._raw:
            row["line"] = region.line().decode("utf-8", "surrogateescape")
        if isinstance(region, MeasuredRegion) and region._extra0 is not None:
            row["Size"] = region._extra0
        rows.append(row)
    last = regions[-1] if regions else None
    exe = reading.exe
    return {
        "format": FORMAT,
        "type": reading.region_type.__name__,
        "source": reading.source,
        "page_size": reading.page_size,
        "exe": None if exe is None else exe.decode("utf-8", "surrogateescape"),
        "consistent": consistent,
        "unterminated": bool(
            last is not None and reading.unterminated and last._index == reading.count - 1
        ),
        "regions": rows,
    }


OWN_FIELDS = frozenset(
    "start end size perms offset dev inode pathname deleted kind owner kind_evidence kind_guess "
    "use use_evidence use_guess name uss vm_flags line unknown".split()
)


def table_from_json(text: str | bytes) -> tuple[MapsReading, bool]:
    """The reading of a table from JSON, and whether the table was consistent.

    Raises:
        ParseError: the text is not such a table.
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


def table_from_dict(data: dict[str, Any]) -> tuple[MapsReading, bool]:
    """The same from plain dicts and lists.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError: data is not such a table.
    """
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
        kinds.append(
            Kind(RegionKind(row["kind"]), owner, row["kind_evidence"], row["name"], row_use(row))
        )
        lines.append(row_line(row, raw))
        if mode == native.SMAPS:
            counters = {
                KERNEL_NAMES.get(field, field): value
                for field, value in row.items()
                if field not in OWN_FIELDS
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
        raise ValueError("the line of a region does not represent exactly one region")
    if mode == native.RESIDENT:
        for index, row in enumerate(data["regions"]):
            scan.set_residency(index, row["rss"], row["swap"])
    exe = data["exe"]
    reading = MapsReading(
        scan,
        MODES[mode],
        source=data["source"],
        page_size=data["page_size"] or PAGE_SIZE,
        exe=None if exe is None else exe.encode("utf-8", "surrogateescape"),
    )
    regions = reading.make(MODES[mode])
    for index, (region, name) in enumerate(zip(regions, names, strict=True)):
        if (region.pathname, region.deleted) != name:
            reading.overrides[index] = name
    # A kind may depend on more than the regions that are in this table.
    for index, kind in enumerate(kinds):
        reading.retell(index, kind)
    return reading, data["consistent"]


def check_types(values: dict[str, Any], types: dict[str, type]) -> None:
    for name, expected in types.items():
        if type(values[name]) is not expected:
            raise TypeError(f"{name} is no {expected.__name__}: {values[name]!r:.40}")


def row_use(row: dict[str, Any]) -> Use | None:
    """The use of a region in JSON; None: not known, or the text is of an older version."""
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
