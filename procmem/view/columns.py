"""Plain tables of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["columns", "kib", "pairs"]


def kib(value: int | None) -> str:
    """Bytes in KiB, as pmap and ps print them; "-" for what was not read."""
    return "-" if value is None else str(value >> 10)


def columns(
    heading: Sequence[str],
    rows: Iterable[Sequence[str]],
    align: str,
    *,
    footer: Sequence[str] | None = None,
) -> str:
    """A table with a heading, its columns as wide as they need to be.

    Args:
        heading: a title for each column.
        rows: texts, one for each column; the last column is not padded.
        align: "<" or ">" for each column.
        footer: a last row, set off by a rule.
    """
    body = [list(row) for row in rows]
    whole = [list(heading), *body, *([list(footer)] if footer else [])]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    form = "  ".join(f"{{:{way}{width}}}" for way, width in zip(align, widths, strict=True)).format
    lines = [form(*row).rstrip() for row in whole]
    rule = "  ".join("-" * width for width in widths)
    lines.insert(1, rule)
    if footer:
        lines.insert(-1, rule)
    return "\n".join(lines) + "\n"


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Lines of a name and what it is."""
    listed = list(rows)
    width = max(len(name) for name, _ in listed)
    return "".join(f"{name:<{width}}  {value}".rstrip() + "\n" for name, value in listed)
