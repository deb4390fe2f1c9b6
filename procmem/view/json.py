"""JSON for the commands, with one row per line."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["json_text"]


def json_text(value: Any, rows: str = "") -> str:
    """A value as JSON, with a newline at the end.

    Lists have one item per line. The indentation of the standard library would use one line per
    field and take thirty times as long.

    Args:
        value: a plain value, a dict, or a list of dicts.
        rows: a key of the dicts whose list has one item per line, too.

    >>> print(json_text([{"pid": 1, "regions": [{"start": 0}, {"start": 4096}]}], "regions"))
    [
    {"pid": 1, "regions": [
    {"start": 0},
    {"start": 4096}
    ]}
    ]
    <BLANKLINE>
    """
    if not isinstance(value, list):
        return one(value, rows) + "\n"
    return lines(one(item, rows) for item in value) + "\n"


def one(item: Any, rows: str) -> str:
    if not rows or not isinstance(item, dict) or rows not in item:
        return json.dumps(item)
    head = json.dumps({key: value for key, value in item.items() if key != rows})
    return f"{head[:-1]}, {json.dumps(rows)}: {lines(map(json.dumps, item[rows]))}}}"


def lines(texts: Any) -> str:
    body = ",\n".join(texts)
    return f"[\n{body}\n]" if body else "[]"
