"""Columns as Arrow keeps them: of Python values, and of packed records without an object a value.

Source: the columnar format of Arrow (arrow.apache.org/docs/format/Columnar.html).
"""

from __future__ import annotations

import re
from array import array
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "ABSENT",
    "ArrowColumn",
    "PackedRows",
    "booleans",
    "categories",
    "durations",
    "floats",
    "joined",
    "numbers",
    "original_text",
    "packed",
    "plain_values",
    "sourced",
    "steps",
    "text_of",
    "texts",
    "times",
]


class CffiBytes(NamedTuple):
    """Bytes in memory of cffi, which it keeps: a buffer that is not copied before it has to be."""

    data: Any
    offset: int
    size: int

    def __bytes__(self) -> bytes:
        from procmem.native import ffi

        return bytes(ffi.buffer(self.data)[self.offset : self.offset + self.size])


class ArrowColumn(NamedTuple):
    """One column, as Arrow keeps it.

    Attributes:
        name: its name.
        format: the type, in the letters of the Arrow C data interface: "L" is uint64.
        length: how many rows it has.
        buffers: what the type's layout asks for, the bitmap of values that are there first.
        nulls: how many values are missing.
        metadata: such as {"unit": "bytes", "source": "smaps: Rss"}.
        dictionary: the distinct values of a dictionary-encoded column.
        children: the columns of a table.
        nullable: whether values may be missing.
    """

    name: str
    format: str
    length: int
    buffers: tuple[bytes | CffiBytes | None, ...]
    nulls: int = 0
    metadata: Mapping[str, str] | None = None
    dictionary: ArrowColumn | None = None
    children: tuple[ArrowColumn, ...] = ()
    nullable: bool = True

    def described(self, unit: str | None = None, source: str | None = None) -> ArrowColumn:
        """The column with its unit and source as metadata."""
        given = {"unit": unit, "source": source}
        return self._replace(metadata={key: text for key, text in given.items() if text} or None)


def sourced(
    makers: Mapping[str, Callable[[], ArrowColumn]], sources: Mapping[str, str]
) -> dict[str, Callable[[], ArrowColumn]]:
    """Makers of columns that name their sources, too.

    Args:
        makers: what makes each column, by its name.
        sources: what a column was read from or concluded from, of those that do not name it.

    >>> column = sourced({"pid": lambda: numbers("pid", [7])}, {"pid": "/proc"})["pid"]()
    >>> column.metadata
    {'source': '/proc'}
    """
    return {name: partial(with_source, make, sources.get(name)) for name, make in makers.items()}


def with_source(make: Callable[[], ArrowColumn], source: str | None) -> ArrowColumn:
    column = make()
    if source is None:
        return column
    return column._replace(metadata={**(column.metadata or {}), "source": source})


# ---- columns of Python values --------------------------------------------------------------


def numbers(name: str, values: Iterable[int | None], *, signed: bool = False) -> ArrowColumn:
    """A column of 64-bit integers: uint64, or int64 if signed.

    Raises:
        OverflowError: a value does not fit.
    """
    given = list(values)
    letter = "q" if signed else "Q"
    return fixed(name, "l" if signed else "L", letter, given, 0)


def floats(name: str, values: Iterable[float | None]) -> ArrowColumn:
    """A column of float64."""
    return fixed(name, "g", "d", list(values), 0.0)


def times(name: str, values: Iterable[int | None]) -> ArrowColumn:
    """A column of points in time, UTC, from nanoseconds since 1970."""
    return fixed(name, "tsn:UTC", "q", list(values), 0)


def durations(name: str, values: Iterable[int | None]) -> ArrowColumn:
    """A column of durations, from nanoseconds."""
    return fixed(name, "tDn", "q", list(values), 0)


def fixed(
    name: str, kind: str, letter: str, values: Sequence[float | None], missing: float
) -> ArrowColumn:
    valid, nulls = bitmap([value is not None for value in values])
    data = array(letter, [missing if value is None else value for value in values])
    return ArrowColumn(name, kind, len(values), (valid if nulls else None, data.tobytes()), nulls)


def booleans(name: str, values: Iterable[bool | None]) -> ArrowColumn:
    """A column of True and False."""
    given = list(values)
    valid, nulls = bitmap([value is not None for value in given])
    data, _ = bitmap([bool(value) for value in given])
    return ArrowColumn(name, "b", len(given), (valid if nulls else None, data), nulls)


def texts(name: str, values: Iterable[str | None]) -> ArrowColumn:
    """A column of strings, each as it is; for few distinct values see categories()."""
    given = list(values)
    valid, nulls = bitmap([value is not None for value in given])
    encoded = [b"" if value is None else text_of(value) for value in given]
    ends = array("q", [0])
    for one in encoded:
        ends.append(ends[-1] + len(one))
    buffers = (valid if nulls else None, ends.tobytes(), b"".join(encoded))
    return ArrowColumn(name, "U", len(given), buffers, nulls)


def categories(name: str, values: Iterable[str | None]) -> ArrowColumn:
    """A column of strings that holds each distinct one once (dictionary-encoded)."""
    given = list(values)
    places: dict[str, int] = {}
    at = [-1 if value is None else places.setdefault(value, len(places)) for value in given]
    valid, nulls = bitmap([place >= 0 for place in at])
    data = array("i", [max(place, 0) for place in at])
    return ArrowColumn(
        name, "i", len(given), (valid if nulls else None, data.tobytes()), nulls,
        dictionary=texts("", places),
    )  # fmt: skip


def bitmap(bits: Sequence[bool]) -> tuple[bytes, int]:
    """Bits as Arrow has them, least significant first, and how many are not set."""
    number = int("".join("1" if bit else "0" for bit in reversed(bits)) or "0", 2)
    return number.to_bytes((len(bits) + 7) // 8, "little"), len(bits) - sum(bits)


def text_of(text: str) -> bytes:
    r"""A string as UTF-8, which Arrow asks for.

    Bytes of a name that are not UTF-8 (surrogateescape) become \xNN, and the backslash of a name
    in which such four characters stand becomes \x5c: so original_text() restores each name.

    >>> text_of("caf\udce9"), text_of(r"caf\xe9")
    (b'caf\\xe9', b'caf\\x5cxe9')
    """
    try:
        raw = text.encode()
        if b"\\x" not in raw:
            return raw
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogateescape")
    raw = AMBIGUOUS.sub(rb"\\x5c", raw)
    return raw.decode("utf-8", "backslashreplace").encode()


AMBIGUOUS = re.compile(rb"\\(?=x[0-9a-f]{2})")
ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def original_text(text: str) -> str:
    r"""The name that a column has as `text`, with the bytes that are no UTF-8 (surrogateescape).

    >>> original_text(r"caf\xe9"), original_text(r"caf\x5cxe9")
    ('caf\udce9', 'caf\\xe9')
    """
    raw = ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode())
    return raw.decode("utf-8", "surrogateescape")


# ---- columns of packed records ----------------------------------------------------------------


WHOLE = (1 << 64) - 1
"""All bits of a word."""


class PackedRows:
    """Makes columns of packed records, in C, without an object for each value.

    Args:
        words: a cffi pointer to the 64-bit words of the records.
        stride: words from one place at which a record may begin to the next.
        count: how many rows there are.
        which: the place of each row's record; None: the first `count`, in their order.
    """

    def __init__(
        self, words: Any, stride: int, count: int, which: array[int] | None = None
    ) -> None:
        from procmem.native import ffi, lib

        self._ffi, self._lib = ffi, lib
        self.count = count
        self._kept = words, which
        self._rows = ffi.new("pm_rows *")
        self._rows.words = words
        self._rows.stride = stride
        self._rows.count = count
        if which is not None:
            self._which = ffi.from_buffer("uint32_t[]", which)
            self._rows.which = self._which

    def words(
        self,
        name: str,
        word: int,
        *,
        kind: str = "L",
        missing: bool = False,
        when: tuple[int, int, int] | None = None,
        negative: bool = False,
        mask: int = WHOLE,
    ) -> ArrowColumn:
        """A word of each record.

        Args:
            name: the column's name.
            word: the word's place in a record.
            kind: the Arrow type, of 64 bits.
            missing: whether it may be missing: PM_MISSING stands for that.
            when: only records of which a word under a mask is a value have it: word, mask, value.
            negative: the negative of the word.
            mask: which bits of the word are kept.
        """
        given = self._ffi.NULL if when is None else self._ffi.new("pm_when *", when)
        return self._numbers(
            name, kind, missing or when is not None,
            lambda out, valid: self._lib.pm_column_words(
                self._rows, word, given, negative, mask, out, valid
            ),
        )  # fmt: skip

    def difference(self, name: str, word: int, less: int, *, missing: bool = False) -> ArrowColumn:
        """A word less another: int64 if one of them may be missing, and uint64 if not."""
        return self._numbers(
            name, "l" if missing else "L", missing,
            lambda out, valid: self._lib.pm_column_difference(self._rows, word, less, out, valid),
        )  # fmt: skip

    def sum(self, name: str, word: int, more: int) -> ArrowColumn:
        """A word and another added up; missing if one of them is."""
        return self._numbers(
            name, "L", True,
            lambda out, valid: self._lib.pm_column_sum(self._rows, word, more, out, valid),
        )  # fmt: skip

    def _numbers(
        self, name: str, kind: str, missing: bool, fill: Callable[[Any, Any], int]
    ) -> ArrowColumn:
        out, valid = self._space("uint64_t[]", self.count), self._bits() if missing else None
        nulls = fill(out, self._ffi.NULL if valid is None else valid)
        data = CffiBytes(out, 0, self.count * 8)
        return ArrowColumn(name, kind, self.count, (self._valid(valid, nulls), data), nulls,
                      nullable=missing)  # fmt: skip

    def totals(self, words: int) -> list[int | None]:
        """The sum of each of the first words over all rows; None: it is missing in one of them."""
        ffi = self._ffi
        places = ffi.new("uint32_t[]", [*range(words)] or [0])
        low, high, missing = (ffi.new("uint64_t[]", max(words, 1)) for _ in range(3))
        self._lib.pm_column_totals(self._rows, places, words, low, high, missing)
        return [None if missing[at] else (high[at] << 64) + low[at] for at in range(words)]

    def block(self, words: Mapping[str, int]) -> dict[str, ArrowColumn]:
        """Several words of each record, all in one pass: uint64 that may be missing.

        Args:
            words: the words' places in a record by the columns' names.
        """
        count, width, ffi = self.count, (self.count + 7) // 8, self._ffi
        out = self._space("uint64_t[]", count * len(words))
        valid = self._space("unsigned char[]", width * len(words))
        missing = ffi.new("uint64_t[]", max(len(words), 1))
        places = ffi.new("uint32_t[]", [*words.values()] or [0])
        self._lib.pm_column_block(self._rows, places, len(words), out, valid, missing)
        return {
            name: ArrowColumn(
                name, "L", count,
                (
                    CffiBytes(valid, place * width, width) if missing[place] else None,
                    CffiBytes(out, place * count * 8, count * 8),
                ),
                missing[place],
            )
            for place, name in enumerate(words)
        }  # fmt: skip

    def seen(self, word: int, shift: int, bits: int, size: int) -> list[int]:
        """Which values below `size` a part of a word has, in any record."""
        seen = self._room("unsigned char[]", size)
        self._lib.pm_column_seen(self._rows, word, shift, bits, seen, size)
        return [value for value, one in enumerate(self._bytes(seen, size)) if one]

    def parts(
        self, word: int, shift: int, bits: int, table: array[int] | None = None
    ) -> tuple[bytes, bytes, int]:
        """A part of a word of each record, as uint32, and which of them are there.

        Args:
            word: the word's place in a record.
            shift: the part's lowest bit.
            bits: how many bits it has.
            table: what stands for each value of the part; ABSENT: nothing does.

        Returns:
            The parts, a bitmap of those that are there, and how many are not.
        """
        out, valid = self._space("uint32_t[]", self.count), self._bits()
        given = self._ffi.from_buffer("uint32_t[]", table) if table else self._ffi.NULL
        nulls = self._lib.pm_column_parts(
            self._rows, word, shift, bits, given, len(table or ()), out, valid
        )
        return self._bytes(out, self.count * 4), self._bytes(valid, (self.count + 7) // 8), nulls

    def dictionary(
        self, name: str, word: int, shift: int, bits: int, values: Mapping[int, str], size: int
    ) -> ArrowColumn:
        """A column of the strings that the numbers in a part of a word stand for.

        Args:
            name: the column's name.
            word: as for parts().
            shift: likewise.
            bits: likewise.
            values: strings by number; numbers that it lacks are missing values.
            size: one more than the largest number.
        """
        places: dict[str, int] = {}
        table = array("I", [ABSENT]) * max(size, 1)
        for number, value in values.items():
            table[number] = places.setdefault(value, len(places))
        data, valid, nulls = self.parts(word, shift, bits, table)
        return ArrowColumn(
            name, "i", self.count, (valid if nulls else None, data), nulls,
            dictionary=texts("", places),
        )  # fmt: skip

    def bits(
        self,
        name: str,
        word: int,
        mask: int,
        value: int,
        unless: tuple[int, int, int] | None = None,
    ) -> ArrowColumn:
        """Whether a word under a mask is a value.

        Args:
            name: the column's name.
            word: the word's place in a record.
            mask: which of its bits count.
            value: what they have to be.
            unless: records of which a word under a mask is a value have no answer.
        """
        out, valid = self._bits(), self._bits()
        given = self._ffi.NULL if unless is None else self._ffi.new("pm_when *", unless)
        nulls = self._lib.pm_column_bits(self._rows, word, mask, value, given, out, valid)
        data = self._bytes(out, (self.count + 7) // 8)
        return ArrowColumn(name, "b", self.count, (self._valid(valid, nulls), data), nulls,
                      nullable=unless is not None)  # fmt: skip

    def perms(self, name: str) -> ArrowColumn:
        """The permissions of scanned regions."""
        return self._texts(name, 4, self._lib.pm_column_perms)

    def devices(self, name: str) -> ArrowColumn:
        """The devices of scanned regions, as maps prints them."""
        return self._texts(name, 17, self._lib.pm_column_devices)

    def _texts(self, name: str, longest: int, fill: Callable[[Any, Any, Any], int]) -> ArrowColumn:
        out = self._space("char[]", self.count * longest)
        ends = self._space("int32_t[]", self.count + 1)
        used = fill(self._rows, out, ends)
        return ArrowColumn(name, "u", self.count, (None, self._bytes(ends, 4 * self.count + 4),
                      self._bytes(out, used)), nullable=False)  # fmt: skip

    def _room(self, kind: str, size: int) -> Any:
        return self._ffi.new(kind, max(size, 1))

    def _space(self, kind: str, size: int) -> Any:
        """Room that C writes all of."""
        return spacious()(kind, max(size, 1))

    def _bits(self) -> Any:
        return self._room("unsigned char[]", (self.count + 7) // 8)

    def _bytes(self, data: Any, size: int) -> bytes:
        return bytes(self._ffi.buffer(data, size)) if size else b""

    def _valid(self, valid: Any, nulls: int) -> bytes | None:
        return self._bytes(valid, (self.count + 7) // 8) if nulls else None


@cache
def spacious() -> Callable[[str, int], Any]:
    """An ffi.new() that does not clear the memory: that takes as long as filling it."""
    from procmem.native import ffi

    made: Callable[[str, int], Any] = ffi.new_allocator(should_clear_after_alloc=False)
    return made


ABSENT = 0xFFFFFFFF
"""In a table of PackedRows.parts(): a missing value (UINT32_MAX)."""


def steps(name: str, first: int, step: int, count: int) -> ArrowColumn:
    """A column of uint64 that go up by the same step."""
    from procmem.native import ffi, lib

    out = ffi.new("uint64_t[]", max(count, 1))
    lib.pm_column_steps(first, step, count, out)
    data = bytes(ffi.buffer(out, count * 8)) if count else b""
    return ArrowColumn(name, "L", count, (None, data), nullable=False)


# ---- values of columns ------------------------------------------------------------------------


NUMBERS = {"L": "Q", "l": "q", "I": "I", "i": "i", "c": "b", "g": "d"}
"""Codes of array.array for the number types of Arrow."""


def plain_values(column: ArrowColumn) -> list[Any]:
    """The values of a column as Python has them; None: missing.

    Times and durations are nanoseconds. Bytes of a name that are not UTF-8 are as text_of() has
    them if the column is a string column.

    >>> plain_values(categories("kind", ["heap", None, "heap"]))
    ['heap', None, 'heap']
    """
    count, kind = column.length, column.format
    valid, *rest = column.buffers
    code = NUMBERS.get(kind) or ("q" if kind.startswith("t") else None)
    values: list[Any]
    if kind == "b":
        values = bits_of(bytes(rest[0] or b""), count)
    elif code is not None:
        found = array(code)
        found.frombytes(bytes(rest[0] or b"")[: count * found.itemsize])
        values = found.tolist()
        if column.dictionary is not None:
            words = plain_values(column.dictionary)
            # A missing value has any number.
            values = [words[at] if at < len(words) else None for at in values]
    else:
        ends = array("i" if kind == "u" else "q")
        ends.frombytes(bytes(rest[0] or b"")[: (count + 1) * ends.itemsize])
        text = bytes(rest[1] or b"")
        values = [text[low:high].decode() for low, high in pairwise(ends)]
    if column.nulls and valid is not None:
        there = bits_of(bytes(valid), count)
        values = [value if one else None for value, one in zip(values, there, strict=True)]
    return values


def bits_of(data: bytes, count: int) -> list[bool]:
    if not count:
        return []
    return [bit == "1" for bit in f"{int.from_bytes(data, 'little'):0{count}b}"[::-1][:count]]


def joined(name: str, parts: Sequence[ArrowColumn | int]) -> ArrowColumn:
    """Columns below each other, as one.

    Args:
        name: the column's name.
        parts: columns of one type; a number stands for so many missing values.
    """
    columns = [part for part in parts if isinstance(part, ArrowColumn)]
    first = columns[0]
    values: list[Any] = []
    for part in parts:
        values += [None] * part if isinstance(part, int) else plain_values(part)
    made: ArrowColumn
    if first.format == "b":
        made = booleans(name, values)
    elif first.dictionary is not None:
        made = categories(name, values)
    elif first.format in ("u", "U"):
        made = texts(name, values)
    elif first.format == "g":
        made = floats(name, values)
    else:
        made = fixed(name, first.format, NUMBERS.get(first.format, "q"), values, 0)
    return made._replace(metadata=first.metadata)


# ---- what native takes --------------------------------------------------------------------------


def packed(column: ArrowColumn) -> tuple[Any, ...]:
    """The column as procmem.native._arrow takes it; valid as long as the column is there."""
    return (
        text_of(column.name),
        column.format.encode(),
        packed_metadata(column.metadata),
        column.nullable,
        column.length,
        column.nulls,
        tuple(
            (address_of(buffer), buffer.size) if isinstance(buffer, CffiBytes) else buffer
            for buffer in column.buffers
        ),
        None if column.dictionary is None else packed(column.dictionary),
        tuple(packed(child) for child in column.children),
    )


def address_of(room: CffiBytes) -> int:
    from procmem.native import ffi

    return int(ffi.cast("uintptr_t", room.data)) + room.offset


def packed_metadata(metadata: Mapping[str, str] | None) -> bytes | None:
    """Metadata as the C data interface has it: counts and lengths are native int32."""
    return packed_pairs(tuple(metadata.items())) if metadata else None


@lru_cache(maxsize=256)
def packed_pairs(pairs: tuple[tuple[str, str], ...]) -> bytes:
    parts = [array("i", [len(pairs)]).tobytes()]
    for pair in pairs:
        for text in map(text_of, pair):
            parts += [array("i", [len(text)]).tobytes(), text]
    return b"".join(parts)
