"""Reads back the calls that `procmem trace --json` wrote."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from procmem.errors import ParseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SavedCall", "SavedTrace", "load_trace"]

NOT_ONE = "not a trace: procmem trace --json -o FILE saves one"


class SavedCall(NamedTuple):
    """A call of a saved trace. Its attributes are those of MemoryCall; flags in args are int."""

    name: str
    pid: int
    tid: int
    args: dict[str, Any]
    result: int | None
    errno: int | None
    began: int
    ns: int | None
    delta_vsz: int | None
    delta_rss: int | None
    within: str | None
    is_function: bool
    region_row: tuple[int, int, str, str] | None
    reason: str
    exact: bool


class SavedTrace(NamedTuple):
    """What load_trace() returns.

    Attributes:
        calls: in the order in which they ended.
        boot_id: the ID of the boot in which they were traced (random(4)); None: not known.
    """

    calls: list[SavedCall]
    boot_id: str | None


def load_trace(path: str | os.PathLike[str]) -> SavedTrace:
    """Reads a trace that `procmem trace --json -o FILE` wrote.

    Raises:
        ParseError: it is no such file, or was cut off.
        OSError
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        data = file.read()
    try:
        whole = json.loads(data)
        boot = whole["boot_id"]
        return SavedTrace([call_of(one) for one in whole["calls"]], boot and str(boot))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        begun = data.startswith(b'{"pid": ') and b'"calls": [' in data[:64]
        reason = "the trace was cut off, or is damaged" if begun else NOT_ONE
        raise ParseError(name, 0, b"", reason) from error


def call_of(record: dict[str, Any]) -> SavedCall:
    region = record["region"]
    return SavedCall(
        str(record["name"]),
        number(record["pid"]),
        number(record["tid"]),
        dict(record["args"]),
        optional(record["result"]),
        optional(record["errno"]),
        number(record["began"]),
        optional(record["ns"]),
        optional(record["delta_vsz"]),
        optional(record["delta_rss"]),
        record["within"] and str(record["within"]),
        record["made"] is not None,
        region
        and (
            number(region["start"]),
            number(region["end"]),
            str(region["perms"]),
            str(region["name"]),
        ),
        str(record["reason"]),
        bool(record["exact"]),
    )


def number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value


def optional(value: Any) -> int | None:
    return None if value is None else number(value)
