"""Tables as CSV, JSON lines, HTML, Arrow and Parquet.

Arrow and Parquet are written by pyarrow or polars, whichever is installed; the others need no
library.

Sources: RFC 4180 (CSV); jsonlines.org; the columnar format of Arrow (arrow.apache.org).
"""

from __future__ import annotations

import json
import os
from functools import partial
from itertools import islice
from typing import Any

from procmem.arrow import Columnar, optional
from procmem.columns import (
    ArrowColumn,
    booleans,
    categories,
    floats,
    joined,
    numbers,
    original_text,
    plain_values,
    texts,
)
from procmem.errors import BadArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from procmem.arrow import Makers

__all__ = [
    "BINARY",
    "FORMATS",
    "SUFFIXES",
    "JoinedTables",
    "PlainRows",
    "format_of",
    "text_lines",
    "write_binary",
    "write_table",
]

FORMATS = ("csv", "jsonl", "html", "arrow", "parquet")
"""The formats of write_table()."""

BINARY = ("arrow", "parquet")

SUFFIXES = {f".{name}": name for name in FORMATS} | {
    ".ndjson": "jsonl", ".htm": "html", ".feather": "arrow", ".pq": "parquet",
}  # fmt: skip


def format_of(path: str | os.PathLike[str]) -> str | None:
    """The format that a file's name ends in; None: none of them.

    >>> format_of("smaps.csv"), format_of("smaps.txt")
    ('csv', None)
    """
    return SUFFIXES.get(os.path.splitext(os.fsdecode(path))[1].lower())


def write_table(
    table: Columnar,
    to: str | os.PathLike[str] | BinaryIO,
    format: str | None = None,  # noqa: A002 - as pyarrow and polars call it
) -> None:
    r"""Writes a table: of regions, a recording, a trace, a diff, pages, processes, pipes, segments.

    Columns, their order and their names are those of `__arrow_c_stream__` in each format. A missing
    value is empty in CSV and null elsewhere, never 0; an empty string is "" in CSV. Bytes of names
    that are no UTF-8 become \xNN (see `procmem.columns.original_text`).

    Args:
        table: the table; `table.select("start", "rss")` has some of its columns.
        to: a file's name, or a binary file that is open for writing.
        format: "csv", "jsonl" (a JSON object a line), "html", "arrow" or "parquet"; None: what the
            name ends in. Arrow is the file format for a name, and the stream format for a file
            that is open.

    Raises:
        BadArgument: there is no such format.
        MissingExtra: neither pyarrow nor polars is installed, which write Arrow and Parquet.
        OSError: the file can't be written.

    >>> import io, procmem
    >>> table = procmem.parse_maps(b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat\n")
    >>> file = io.BytesIO()
    >>> procmem.write_table(table.select("start", "size", "pathname"), file, "csv")
    >>> file.getvalue()
    b'start,size,pathname\r\n4194304,45056,/bin/cat\r\n'
    """
    named = isinstance(to, (str, os.PathLike))
    wanted = format or (format_of(to) if isinstance(to, (str, os.PathLike)) else None)
    if wanted not in FORMATS:
        said = f"there is no format {format!r}" if format else "which format is not known"
        raise BadArgument(f"{said}: give one of {', '.join(FORMATS)}")
    if wanted in BINARY:
        write_binary(table, to, wanted, as_file=named)
        return
    lines = text_lines(table, wanted)
    if isinstance(to, (str, os.PathLike)):
        with open(to, "wb") as file:
            file.writelines(line.encode() for line in lines)
    else:
        to.writelines(line.encode() for line in lines)


def write_binary(table: Columnar, to: Any, wanted: str, *, as_file: bool) -> None:
    """Writes Arrow or Parquet; see write_table().

    Args:
        table: the table.
        to: a file's name, or a binary file that is open for writing.
        wanted: the format.
        as_file: whether Arrow is the file format, and not the stream format.
    """
    if wanted == "parquet":
        table.to_parquet(to)
        return
    try:
        arrow = optional("pyarrow", "Arrow and Parquet files")
    except ImportError:
        frame = optional("polars", "Arrow and Parquet files").DataFrame(table)
        if as_file:
            frame.write_ipc(to)
        else:
            frame.write_ipc_stream(to)
        return
    made = arrow.table(table)
    ipc = optional("pyarrow.ipc", "Arrow and Parquet files")
    begin = ipc.new_file if as_file else ipc.new_stream
    with begin(to, made.schema) as writer:
        writer.write_table(made)


# ---- text -----------------------------------------------------------------------------------

PIECE = 2048
"""How many rows are joined to one piece of text."""


def text_lines(table: Columnar, wanted: str, *, heading: bool = True) -> Iterator[str]:
    """The text of a table, in pieces of whole lines.

    Args:
        table: the table.
        wanted: "csv", "jsonl" or "html".
        heading: whether CSV begins with the names of the columns.
    """
    columns = [make() for make in table.arrow_makers().values()]
    if not columns:
        return iter(())
    if wanted == "html":
        return html_lines(columns)
    lines = csv_rows(columns, heading) if wanted == "csv" else json_rows(columns)
    return iter(lambda: "".join(islice(lines, PIECE)), "")


def csv_rows(columns: Sequence[ArrowColumn], heading: bool) -> Iterator[str]:
    if heading:
        yield ",".join(quoted(column.name) for column in columns) + "\r\n"
    cells = [[*map(csv_writer(column), plain_values(column))] for column in columns]
    for row in zip(*cells, strict=True):
        yield ",".join(row) + "\r\n"


def csv_writer(column: ArrowColumn) -> Callable[[Any], str]:
    """What makes a field of CSV of each value of a column."""
    word = word_writer(column)
    if column.format in ("u", "U") or column.dictionary is not None:
        known: dict[str | None, str] = {None: ""}

        def field(value: str | None) -> str:
            found = known.get(value)
            if found is None:
                found = known[value] = quoted(value or "")
            return found

        return field
    return lambda value: "" if value is None else word(value)


def quoted(text: str) -> str:
    """A field of CSV: in quotes where RFC 4180 asks for them, and if it is empty.

    >>> quoted('a, b'), quoted("plain"), quoted("")
    ('"a, b"', 'plain', '""')
    """
    if text and not any(letter in text for letter in ',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def word_writer(column: ArrowColumn) -> Callable[[Any], str]:
    """What makes a word of each value that is there."""
    if column.format == "b":
        return lambda value: "true" if value else "false"
    if column.format.startswith("ts"):
        return instant
    return str


def instant(nanoseconds: int) -> str:
    """A point in time as RFC 3339 has it.

    >>> instant(1_500_000_000_000_000_001)
    '2017-07-14T02:40:00.000000001Z'
    """
    from datetime import datetime, timedelta, timezone

    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    when = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def json_rows(columns: Sequence[ArrowColumn]) -> Iterator[str]:
    keys = [json.dumps(column.name) + ": " for column in columns]
    cells = [
        [*map(json_writer(column, key), plain_values(column))]
        for column, key in zip(columns, keys, strict=True)
    ]
    for row in zip(*cells, strict=True):
        yield "{" + ", ".join(row) + "}\n"


def json_writer(column: ArrowColumn, key: str) -> Callable[[Any], str]:
    """What makes `"name": value` of each value of a column."""
    if column.format.startswith("ts"):
        return lambda value: key + ("null" if value is None else f'"{instant(value)}"')
    if is_json(column):
        return lambda value: key + ("null" if value is None else value)
    if column.format in ("b", "u", "U", "g") or column.dictionary is not None:
        known: dict[Any, str] = {}

        def pair(value: Any) -> str:
            found = known.get(value)
            if found is None:
                found = known[value] = key + json.dumps(value)
            return found

        return pair
    return lambda value: f"{key}null" if value is None else f"{key}{value}"


def html_lines(columns: Sequence[ArrowColumn]) -> Iterator[str]:
    """The pieces of an HTML page with one static table; a missing value is an empty cell."""
    from procmem.picture.markup import block, table

    names = [column.name for column in columns]
    cells = [[*map(html_writer(column), plain_values(column))] for column in columns]
    rows = [*zip(*cells, strict=True)]
    made = table(
        names,
        rows,
        "".join("<" if is_text(column) else ">" for column in columns),
        tones=names.index("kind") if "kind" in names else None,
    )
    yield '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>procmem</title>\n'
    yield block(f"{len(rows)} rows", made)
    yield "\n</html>\n"


def is_text(column: ArrowColumn) -> bool:
    """Whether a column is aligned to the left."""
    return column.format in ("b", "u", "U") or column.dictionary is not None


def html_writer(column: ArrowColumn) -> Callable[[Any], str]:
    """What makes a cell of each value of a column: text, or Markup."""
    from procmem.picture.markup import Markup

    nothing = Markup("")
    if column.format in ("u", "U") or column.dictionary is not None:
        return lambda value: nothing if value is None else original_text(value)
    if (column.metadata or {}).get("unit") == "address":
        return lambda value: nothing if value is None else Markup(f"{value:x}")
    word = word_writer(column)
    return lambda value: nothing if value is None else Markup(word(value))


# ---- tables of plain rows -------------------------------------------------------------------


AS_JSON = "JSON"
"""The unit of a column of lists and objects, which are JSON texts there."""


def is_json(column: ArrowColumn) -> bool:
    """Whether the strings of a column are JSON texts."""
    return (column.metadata or {}).get("unit") == AS_JSON


class PlainRows(Columnar):
    """Rows of plain values as a table; the columns are those of a JSON schema.

    Args:
        rows: dicts; a key that one lacks is a missing value.
        fields: a JSON schema of each value, by the columns' names.
    """

    __slots__ = ("_fields", "_rows")

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], fields: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._rows = rows
        self._fields = fields

    def __len__(self) -> int:
        return len(self._rows)

    def arrow_makers(self) -> Makers:
        """What makes each column."""
        return {name: partial(self._column, name) for name in self._fields}

    def _column(self, name: str) -> ArrowColumn:
        schema = self._fields[name]
        return column_of(name, schema, [row.get(name) for row in self._rows])


def column_of(name: str, schema: Mapping[str, Any], values: list[Any]) -> ArrowColumn:
    """A column of the type that a JSON schema says."""
    given = schema.get("type", ())
    types = {given} if isinstance(given, str) else set(given)
    types.discard("null")
    unit, source = schema.get("x-unit"), schema.get("description")
    if types == {"integer"}:
        made = numbers(name, values, signed="minimum" not in schema)
    elif types == {"boolean"}:
        made = booleans(name, values)
    elif types and types <= {"integer", "number"}:
        made = floats(name, values)
    elif types == {"string"}:
        made = (categories if "enum" in schema else texts)(name, values)
    else:
        found = [None if value is None else json.dumps(value) for value in values]
        return texts(name, found).described(AS_JSON, source)
    return made.described(unit, source)


class JoinedTables(Columnar):
    """Tables below each other, each with columns that are the same in all of its rows.

    Args:
        parts: the tables, each with the values of those columns by name, which come first: such
            as {"pid": 8311}. All have the same names.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[tuple[Mapping[str, int | str | None], Columnar]]) -> None:
        self._parts = parts

    def arrow_makers(self) -> Makers:
        """What makes each column."""
        makers = [table.arrow_makers() for _, table in self._parts]
        names = dict.fromkeys(name for each in makers for name in each)
        lengths: list[int | None] = [None] * len(makers)

        def length(place: int) -> int:
            found = lengths[place]
            if found is None:
                found = lengths[place] = next(iter(makers[place].values()))().length
            return found

        def constant(name: str) -> ArrowColumn:
            values = [
                added[name]
                for place, (added, _) in enumerate(self._parts)
                for _ in range(length(place))
            ]
            plain: Iterable[Any] = values
            if any(isinstance(value, str) for value in values):
                return categories(name, plain)
            return numbers(name, plain)

        def column(name: str) -> ArrowColumn:
            if len(makers) == 1:
                return makers[0][name]()
            found: list[ArrowColumn | int] = [
                each[name]() if name in each else length(place) for place, each in enumerate(makers)
            ]
            return joined(name, found)

        added = dict.fromkeys(name for values, _ in self._parts for name in values)
        return {
            **{name: partial(constant, name) for name in added},
            **{name: partial(column, name) for name in names if name not in added},
        }

    def arrow_metadata(self) -> Mapping[str, str]:
        """What holds for the table, if there is one only."""
        return self._parts[0][1].arrow_metadata() if len(self._parts) == 1 else {}
