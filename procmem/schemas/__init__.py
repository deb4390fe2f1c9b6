"""JSON schemas of what the commands print as JSON, made from the classes that they print.

One source: types come from annotations, descriptions from docstrings, words from enums. The tests
hold everything that a command prints in them against these schemas, which allow no other keys.

>>> from procmem.schemas import schema
>>> schema("maps")["$id"]
'urn:procmem:schema:maps:1'
"""

from __future__ import annotations

from typing import Any, NamedTuple

from procmem.errors import BadArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["NAMES", "fields_of", "flat_rows", "rows_key", "schema"]

DRAFT = "https://json-schema.org/draft/2020-12/schema"


class ResultLayout(NamedTuple):
    """Where a result has the rows of a table.

    Attributes:
        module: the module of the schema; its function has the command's name.
        rows: the key of the list of rows in each item of the result; empty: the items are rows.
        first: keys of an item that become columns before those of its rows.
        spread: whether the keys of an object within a row become columns: `delta` of `step` is
            `step_delta`.
        version: of the schema: it grows when a key goes or changes its meaning.
    """

    module: str
    rows: str = ""
    first: tuple[str, ...] = ()
    spread: bool = False
    version: int = 1


LAYOUTS = {
    "maps": ResultLayout("memory", "regions", ("pid",)),
    "maps by": ResultLayout("memory", "groups", ("pid",)),
    "query": ResultLayout("memory"),
    "threads": ResultLayout("memory", "stacks", ("pid",)),
    "reconcile": ResultLayout("memory", "comparisons", ("pid",)),
    "family": ResultLayout("memory", "members"),
    "sections": ResultLayout("memory", "objects", ("pid",)),
    "pages": ResultLayout("memory", "regions", ("pid",)),
    "heap": ResultLayout("memory", "arenas", ("pid",)),
    "snapshot": ResultLayout("changes"),
    "diff": ResultLayout("changes", "changes"),
    "watch": ResultLayout("changes"),
    "record report": ResultLayout("changes"),
    "trace": ResultLayout("changes", "calls"),
    "top": ResultLayout("machines", "processes"),
    "top by": ResultLayout("machines", "groups"),
    "top memory": ResultLayout("machines", "parts"),
    "cache": ResultLayout("machines", "files", ("pid",)),
    "container": ResultLayout("machines", "processes", ("path",)),
    "gather": ResultLayout("machines", "processes"),
    "pipes": ResultLayout("machines", "pipes"),
    "shm": ResultLayout("machines", "segments"),
    "why": ResultLayout("machines", "waits"),
    "doctor": ResultLayout("machines"),
    "size": ResultLayout("machines", "sections", ("path", "member")),
    "experiment": ResultLayout("exercises", "told", ("name",), spread=True),
    "experiment list": ResultLayout("exercises"),
    "lab list": ResultLayout("exercises"),
    "lab check": ResultLayout("exercises", "checks", ("lab", "submission")),
    "grade": ResultLayout("exercises", "submissions"),
}

NAMES = (*LAYOUTS,)
"""The commands that print JSON; a second word is what is printed with an option."""


def layout_of(command: str) -> ResultLayout:
    try:
        return LAYOUTS[command]
    except KeyError:
        raise BadArgument(f"there is no schema {command!r}, but {', '.join(NAMES)}") from None


def schema(command: str) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of what a command prints with --json.

    Sizes are in bytes, addresses integers; `x-unit` of a field says which. A key that the schema
    does not have is never printed. `$id` ends in the schema's version, which grows when a key
    disappears or changes its meaning.

    Args:
        command: its name, such as "maps".

    Raises:
        BadArgument: no command of that name prints JSON.

    >>> import procmem
    >>> region = procmem.schema("maps")["items"]["properties"]["regions"]["items"]
    >>> region["properties"]["size"]["x-unit"]
    'bytes'
    """
    layout = layout_of(command)
    return {
        "$schema": DRAFT,
        "$id": f"urn:procmem:schema:{command.replace(' ', ':')}:{layout.version}",
        "title": f"procmem {command} --json",
        **body(command),
    }


def body(command: str) -> dict[str, Any]:
    from importlib import import_module

    module = import_module(f"procmem.schemas.{layout_of(command).module}")
    made: dict[str, Any] = getattr(module, command.replace(" ", "_"))()
    return made


def rows_key(command: str) -> str:
    """The key of the list of rows in each item that a command prints; empty: the items are rows."""
    return layout_of(command).rows


def fields_of(command: str) -> dict[str, Any]:
    """The schemas of the columns of a command's table, by their names."""
    layout, item = layout_of(command), body(command)
    item = item.get("items", item)
    properties = item["properties"]
    if not layout.rows:
        return dict(properties)
    row = properties[layout.rows]["items"]["properties"]
    if layout.spread:
        row = dict(spread_fields(row))
    return {**{name: properties[name] for name in layout.first}, **row}


def spread_fields(
    properties: Mapping[str, Any], before: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The columns of an object's keys, and of the keys of objects within it."""
    for name, field in properties.items():
        inner = next((one for one in field.get("anyOf", ()) if "properties" in one), field)
        if "properties" in inner:
            yield from spread_fields(inner["properties"], f"{before}{name}_")
        else:
            yield before + name, field


def spread_row(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The values of those columns."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from spread_row(value, f"{before}{name}_")
        else:
            yield before + name, value


def flat_rows(command: str, value: Any) -> list[Mapping[str, Any]]:
    """The rows of a result, each with the values that come first."""
    layout = layout_of(command)
    items = value if isinstance(value, list) else [value]
    if not layout.rows:
        return items
    return [
        {
            **{name: item[name] for name in layout.first},
            **(dict(spread_row(row)) if layout.spread else row),
        }
        for item in items
        for row in item[layout.rows]
    ]
