"""What data frames read as tables, by the Arrow PyCapsule interface, without a library.

polars, pyarrow, DuckDB and pandas read whatever has `__arrow_c_stream__`. Columns carry their unit
and source as metadata; a missing value is null, never 0.

Source: the Arrow C data interface, the Arrow PyCapsule interface (arrow.apache.org).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, TypeAlias

    from procmem.columns import ArrowColumn

    Makers: TypeAlias = Mapping[str, Callable[[], ArrowColumn]]
    SequenceOf = Sequence
else:

    class SequenceOf:
        """What a tuple has beside items, length and iteration, for tables that data frames read.

        Not collections.abc.Sequence: polars.DataFrame() takes each of those for rows of Python
        objects, and never asks for `__arrow_c_stream__`. Type checkers are told that it is one.
        """

        __slots__ = ()

        __class_getitem__ = classmethod(lambda cls, _: cls)

        def __iter__(self) -> Iterator[Any]:
            return (self[place] for place in range(len(self)))

        def __reversed__(self) -> Iterator[Any]:
            return (self[place] for place in reversed(range(len(self))))

        def __contains__(self, value: object) -> bool:
            return any(one is value or one == value for one in self)

        def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
            """The first place of a value.

            Raises:
                ValueError: it is not there.
            """
            for place in range(*slice(start, stop).indices(len(self))):
                one = self[place]
                if one is value or one == value:
                    return place
            raise ValueError(f"{value!r} is not there")

        def count(self, value: object) -> int:
            """How often a value is there."""
            return sum(one is value or one == value for one in self)


__all__ = ["Columnar", "Selection", "SequenceOf"]


class Columnar:
    r"""What data frames read as a table: polars.DataFrame(it), pyarrow.table(it).

    >>> import procmem
    >>> table = procmem.parse_maps(b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat\n")
    >>> type(table.__arrow_c_stream__()).__name__
    'PyCapsule'
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def arrow_makers(self) -> Makers:
            """What makes each column, by the columns' names, in their order: each table has it."""

    def select(self, *columns: str) -> Selection:
        """Only these columns, for a data frame: what is not asked for costs nothing.

        Args:
            columns: names, such as "start" and "rss".

        Raises:
            BadArgument: there is no such column.
        """
        makers = self.arrow_makers()
        for name in columns:
            if name not in makers:
                from procmem.errors import BadArgument

                raise BadArgument(f"there is no column {name!r}, but {', '.join(makers)}")
        return Selection({name: makers[name] for name in columns}, self.arrow_metadata())

    def arrow_metadata(self) -> Mapping[str, str]:
        """What holds for the table as a whole, such as where it was read."""
        return {}

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The table as a stream of one record batch, in a capsule (Arrow PyCapsule interface).

        Args:
            requested_schema: not used: the consumer converts what it wants otherwise.
        """
        from procmem.columns import packed
        from procmem.native import _arrow

        root = self._arrow_root()
        return _arrow.stream(packed(root))

    def __arrow_c_schema__(self) -> object:
        """The types of the columns, in a capsule (Arrow PyCapsule interface)."""
        from procmem.columns import packed
        from procmem.native import _arrow

        root = self._arrow_root()
        return _arrow.schema(packed(root))

    def _arrow_root(self) -> ArrowColumn:
        from procmem.columns import ArrowColumn

        columns = tuple(make() for make in self.arrow_makers().values())
        length = columns[0].length if columns else 0
        return ArrowColumn(
            "", "+s", length, (None,), metadata=self.arrow_metadata() or None, children=columns,
            nullable=False,
        )  # fmt: skip

    def to_polars(self) -> Any:
        """The table as a polars.DataFrame.

        Raises:
            MissingExtra: polars is not installed.
        """
        return optional("polars", "a polars.DataFrame").DataFrame(self)

    def to_pandas(self) -> Any:
        """The table as a pandas.DataFrame.

        Where integers are missing, the column gets one of pandas' nullable types ("UInt64"): a
        float would lose the last digits of an address.

        Raises:
            MissingExtra: pandas or pyarrow, which pandas reads Arrow with, is not installed.
        """
        pandas = optional("pandas", "a pandas.DataFrame")
        arrow = optional("pyarrow", "a pandas.DataFrame")
        nullable = {
            arrow.uint64(): pandas.UInt64Dtype(),
            arrow.int64(): pandas.Int64Dtype(),
            arrow.bool_(): pandas.BooleanDtype(),
        }
        table = arrow.table(self)
        missing = {field.type for field in table.schema if table[field.name].null_count}
        return table.to_pandas(
            types_mapper=lambda kind: nullable.get(kind) if kind in missing else None
        )

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Writes the table as a Parquet file, by pyarrow or polars, whichever is installed.

        Raises:
            MissingExtra: neither is installed.
            OSError: the file can't be written.
        """
        try:
            arrow = optional("pyarrow", "a Parquet file")
        except ImportError:
            optional("polars", "a Parquet file").DataFrame(self).write_parquet(path)
        else:
            from importlib import import_module

            import_module("pyarrow.parquet").write_table(arrow.table(self), path)


class Selection(Columnar):
    """Some columns of a table, for data frames."""

    __slots__ = ("_makers", "_metadata")

    def __init__(self, makers: Makers, metadata: Mapping[str, str]) -> None:
        self._makers = makers
        self._metadata = metadata

    def arrow_makers(self) -> Makers:
        """What makes each column."""
        return self._makers

    def arrow_metadata(self) -> Mapping[str, str]:
        """What holds for the table as a whole."""
        return self._metadata


def optional(name: str, needed_for: str) -> Any:
    """A module of the extra `frames`.

    Raises:
        MissingExtra: it is not installed.
    """
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        from procmem.errors import MissingExtra

        raise MissingExtra("frames", needed_for) from error
