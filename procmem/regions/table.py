"""RegionTable: the regions that were read at once, in the order of the text."""

from __future__ import annotations

from _operator import le
from array import array
from bisect import bisect_right

from procmem import native
from procmem.arrow import Columnar, SequenceOf
from procmem.regions.counters import ATTRIBUTES, KERNEL_NAMES, NOT_ADDITIVE
from procmem.regions.reading import MapsReading
from procmem.regions.region import MODES, PAGE_SIZE, MeasuredRegion, Region, ResidentRegion

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar, overload

    from matplotlib.axes import Axes

    from procmem.arrow import Makers
    from procmem.regions.kinds import Kind, RegionKind

    R_co = TypeVar("R_co", bound=Region, covariant=True)

__all__ = ["RegionTable", "raw_records", "table_from_scan"]


class RegionTable(Columnar, SequenceOf["R_co"]):
    r"""An immutable sequence of regions, all read at once.

    Indexing, slicing, iteration, `in` and comparison work as for a tuple. The
    regions are in the text's order, which is by start unless `ordered` is False.

    Attributes:
        source: where the text came from, such as "/proc/1/maps".
        page_size: the page size of the machine that the text came from, in bytes.
        exe: the path of the executable; None: not known.
        region_type: the class of the regions, also of an empty table.
        reading: the data that the regions share; for procmem's own modules.
        consistent: False if the process changed its mappings so fast that overlapping
            regions were read each time: a region may then be in the table twice, or in part.

    >>> from procmem import parse_maps
    >>> table = parse_maps(
    ...     b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat\n"
    ...     b"7f0000000000-7f0000002000 rw-p 00000000 00:00 0 \n"
    ... )
    >>> len(table), table.total("size"), table.find(0x40_0000).name
    (2, 53248, 'cat')
    """

    __slots__ = ("_made", "_starts", "_sums", "_whole", "consistent", "reading", "region_type")

    def __init__(
        self,
        region_type: type[R_co],
        regions: Sequence[R_co] | None,
        reading: MapsReading,
        *,
        consistent: bool,
    ) -> None:
        self._whole = regions is None
        self.region_type = region_type
        self._made = None if regions is None else list(regions)
        self.reading = reading
        self._starts: list[int] | None = None
        self._sums: list[int | None] | None = None
        self.consistent = consistent

    @property
    def _regions(self) -> list[R_co]:
        if self._made is None:
            made: list[Any] = self.reading.make(self.region_type)
            self._made = made
        return self._made

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> R_co: ...
        @overload
        def __getitem__(self, index: slice) -> RegionTable[R_co]: ...
        def __getitem__(self, index: int | slice) -> R_co | RegionTable[R_co]: ...
    else:

        def __getitem__(self, index):
            if isinstance(index, slice):
                return self.subset(self._regions[index])
            return self._regions[index]

        __class_getitem__ = classmethod(lambda cls, _: cls)

    def __len__(self) -> int:
        return self.reading.count if self._made is None else len(self._made)

    def __iter__(self) -> Iterator[R_co]:
        return iter(self._regions)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegionTable):
            return NotImplemented
        return self.region_type is other.region_type and self._regions == other._regions

    def __hash__(self) -> int:
        return hash((self.region_type, tuple(self._regions)))

    def __repr__(self) -> str:
        mark = "" if self.consistent else ", inconsistent"
        return f"<RegionTable of {len(self)} {self.region_type.__name__}s from {self.source}{mark}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: sums and bars by kind, and the largest regions."""
        from procmem.regions.html import table_html

        return table_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return RegionTable.from_json, (self.to_json(),)

    @property
    def source(self) -> str:
        """Where the text came from, such as "/proc/1/maps"."""
        return self.reading.source

    @property
    def page_size(self) -> int:
        """The page size that the table was read with, in bytes."""
        return self.reading.page_size

    @property
    def exe(self) -> str | None:
        """The executable's path, from /proc/PID/exe; None if not known."""
        exe = self.reading.exe
        return None if exe is None else exe.decode("utf-8", "surrogateescape")

    @property
    def ordered(self) -> bool:
        """Whether each region starts at or after the end of the one before it."""
        ends = [region.end for region in self._regions]
        return all(map(le, ends, [region.start for region in self._regions][1:]))

    def find(self, address: int) -> R_co | None:
        """The region that covers an address, or None.

        Args:
            address: any integer.
        """
        if self._starts is None:
            self._starts = [region.start for region in self._regions] if self.ordered else []
        if len(self._starts) != len(self._regions):
            return next((region for region in self._regions if address in region), None)
        place = bisect_right(self._starts, address) - 1
        if place >= 0 and address in self._regions[place]:
            return self._regions[place]
        return None

    def filter(
        self,
        predicate: Callable[[Any], bool] | None = None,
        *,
        kind: RegionKind | str | None = None,
        perms: str | None = None,
        path: str | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> RegionTable[R_co]:
        """The regions that meet all given conditions.

        Args:
            predicate: called with each region.
            kind: a RegionKind, or its value such as "heap".
            perms: four letters; "?" or "." matches any letter, so "?w?p" matches
                private and writable regions.
            path: the whole pathname, or its last part; a shell pattern (glob(7)) if it
                contains "*" or "?".
            start: an address; only regions that end above it.
            end: an address; only regions that start below it.

        Raises:
            ValueError: there is no such kind, or perms are not four letters.
        """
        tests: list[Callable[[Any], bool]] = [predicate] if predicate else []
        if kind is not None:
            from procmem.regions.kinds import RegionKind

            wanted = RegionKind(kind) if isinstance(kind, str) else kind
            tests.append(lambda region: region.kind is wanted)
        if perms is not None:
            if len(perms) != 4:
                raise ValueError(f"perms are four letters such as 'rw-p' or '?w?p', not {perms!r}")
            asked = [(i, letter) for i, letter in enumerate(perms) if letter not in "?."]
            tests.append(lambda region: all(region.perms[i] == letter for i, letter in asked))
        if path is not None:
            tests.append(path_test(path))
        if start is not None:
            tests.append(lambda region: region.end > start)
        if end is not None:
            tests.append(lambda region: region.start < end)
        if not tests:
            return self
        return self.subset([r for r in self._regions if all(test(r) for test in tests)])

    def total(self, field: str = "size") -> int | None:
        """The sum of a field over all regions, in bytes.

        Args:
            field: an attribute of the regions such as "size", "rss" or "swap",
                or a counter by the kernel's name.

        Returns:
            The sum; None if the field of any region is None, because it was not read.

        Raises:
            ValueError: the regions have no such field, or a sum of it means nothing.
        """
        if KERNEL_NAMES.get(field, field) in NOT_ADDITIVE:
            raise ValueError(f"a sum of {field} over regions means nothing")
        attribute = ATTRIBUTES.get(field, field)
        if field == "Size":
            # `size` is end - start; what the kernel printed is asked for here.
            attribute = ""
        elif not len(self) and not hasattr(self.region_type, attribute):
            raise ValueError(f"{self.region_type.__name__} has no field {field!r}")
        if attribute == "size":
            return self._size()
        words = WORDS.get("Size" if field == "Size" else attribute)
        if words and issubclass(self.region_type, MeasuredRegion):
            known = self._totals_of(words)
            if known is not UNKNOWN:
                return known
        total = 0
        for region in self._regions:
            value = field_of(region, attribute, KERNEL_NAMES.get(field, field))
            if value is None:
                return None
            total += value
        return total

    def _totals_of(self, words: tuple[int, ...]) -> int | None:
        """The sum of some words of all records; UNKNOWN: they have no such word."""
        sums = self._sums_of_words()
        if max(words) >= len(sums):
            return UNKNOWN
        found = [sums[word] for word in words]
        return None if None in found else sum(one or 0 for one in found)

    def _size(self) -> int:
        sums = self._sums_of_words()
        start, end = sums[native.START], sums[native.END]
        # The number that stands for a missing counter is the last address.
        if start is None or end is None:
            return sum(region.size for region in self._regions)
        return end - start

    def _sums_of_words(self) -> list[int | None]:
        """The sum of each word of all records, added up in C; None: one of them lacks it."""
        if self._sums is None:
            from procmem.columns import PackedRows

            scan = self.reading.scan
            which = None if self._whole else array("I", [one._index for one in self._regions])
            rows = PackedRows(scan.words, scan.stride, len(self), which)
            self._sums = rows.totals(scan.stride)
        return self._sums

    def totals(self) -> dict[str, int | None]:
        """The number of regions, and the sums of their sizes and counters in bytes.

        Counters whose sum means nothing, such as page sizes, are left out.
        """
        fields: tuple[str, ...] = ()
        if issubclass(self.region_type, MeasuredRegion):
            fields = tuple(
                attribute
                for attribute, name in KERNEL_NAMES.items()
                if name not in NOT_ADDITIVE and hasattr(self.region_type, attribute)
            )
            fields = (*(f for f in fields if f != "size"), "uss", "hugetlb")
        elif issubclass(self.region_type, ResidentRegion):
            fields = ("rss", "swap")
        sums: dict[str, int | None] = {"regions": len(self), "size": self.total("size")}
        return sums | {field: self.total(field) for field in fields}

    def by_kind(self) -> dict[RegionKind, RegionTable[R_co]]:
        """The regions of each kind; the kinds are in the order of their first region."""
        return self._grouped(lambda region: region.kind)

    def by_path(self) -> dict[str | None, RegionTable[R_co]]:
        """The regions of each pathname (None: anonymous), in the order of their first region."""
        return self._grouped(lambda region: region.pathname)

    def by_use(self) -> dict[str | None, RegionTable[R_co]]:
        """The regions of each use, by its name (None: not known), in the order of first regions."""
        return self._grouped(lambda region: None if region.use is None else region.use.name)

    def kinds(self) -> Sequence[Kind]:
        """For each region in the table's order its kind with owner, evidence, name and use."""
        reading = self.reading
        if self._whole and len(self):
            reading.kind(0)  # determines all
            if reading.kinds is not None:
                return reading.kinds
        return [reading.kind(region._index) for region in self._regions]

    def to_records(self) -> list[dict[str, Any]]:
        """A flat dict of plain values per region, each with the same keys.

        For pandas.DataFrame(table.to_records()), and polars.DataFrame(...). polars infers the type
        of a column from its first 100 values, and refuses later values that do not fit. So in a
        table of more than 100 regions, those that the type of a column depends on come first: one
        that starts at 2**63 or above ([vsyscall] of x86-64), and, for a column in which the first
        100 values are None, the first region with a value. All others are in the table's order.
        """
        rows = [region.to_record() for region in self._regions]
        keys = dict.fromkeys(key for row in rows for key in row)
        rows = [{key: row.get(key) for key in keys} for row in rows]
        if len(rows) <= TYPED_BY:
            return rows
        known = [key for key in keys if any(row[key] is not None for row in rows)]
        first = [row for row in rows if row["end"] >= 1 << 63]
        others = [row for row in rows if row["end"] < 1 << 63]
        while True:
            # Each row that comes first pushes another one behind those that polars looks at.
            shown = first + others[: TYPED_BY - len(first)]
            missing = [key for key in known if all(row[key] is None for row in shown)]
            at = next((i for i, row in enumerate(others)
                       if any(row[key] is not None for key in missing)), None)  # fmt: skip
            if at is None:
                return first + others
            first.append(others.pop(at))

    def to_columns(self) -> dict[str, list[Any]]:
        """A list of values for each field, in the table's order.

        For polars.DataFrame(table.to_columns()). The fields are those of to_records().
        """
        rows = [region.to_record() for region in self._regions]
        keys = dict.fromkeys(key for row in rows for key in row)
        return {key: [row.get(key) for row in rows] for key in keys}

    def arrow_makers(self) -> Makers:
        """What makes each column for data frames, gathered from the packed records.

        start, end, size, perms, offset, dev, inode, pathname, deleted; kind, use, owner, name with
        what they rest on; each counter by its attribute's name, in bytes; counters that procmem
        does not know by the kernel's name. What the kernel did not print is null. Determining the
        kinds (kind, use, owner, name) takes longer than all else: see select().
        """
        from procmem.regions.columns import RegionColumns

        which = None if self._whole else array("I", [region._index for region in self._regions])
        return RegionColumns(self.reading, len(self), which, self.region_type).makers()

    def arrow_metadata(self) -> Mapping[str, str]:
        """Where the table was read, and its page size."""
        return {"source": self.source, "page_size": str(self.page_size)}

    def svg(self, title: str = "") -> str:
        """The table as an SVG picture: bars by kind and by use, and the address space.

        One `svg` element without scripts and links, for slides, hand-outs and HTML pages. Gaps are
        drawn as gaps, never to scale. Of many regions neighbours are drawn as one, and it says so.

        Args:
            title: the picture's title; empty: where the table was read.

        >>> from procmem import Process
        >>> Process().maps().svg().startswith("<svg ")
        True
        """
        from procmem.names import escaped
        from procmem.picture.svg import document
        from procmem.regions.pictures import panels

        said = [] if self.consistent else ["The process changed its mappings while they were read."]
        drawn = panels(self._regions, self.region_type)
        return document(title or f"Memory in {escaped(self.source)}", said, drawn)

    def plot(self, ax: Axes | None = None, *, by: str = "kind", figure: str | None = None) -> Axes:
        """A bar for each kind or use, with matplotlib.

        Args:
            ax: where to draw; None: on a new figure.
            by: "kind" or "use".
            figure: "vsz", "rss", "pss" or "uss"; None: "rss" if it was read, else "vsz".

        Raises:
            MissingExtra: matplotlib is not installed.
            BadArgument: there is no such group, or the figure was not read.
        """
        from procmem.regions.pictures import plot_bars

        return plot_bars(self._regions, self.region_type, ax, by, figure)

    def to_json(self, indent: int | None = None) -> str:
        """The table as JSON, from which from_json() restores it without loss.

        Args:
            indent: spaces by which nested values are indented; None: all in one line.
        """
        import json

        return json.dumps(self.to_dict(), indent=indent)

    def to_dict(self) -> dict[str, Any]:
        """The table as plain dicts and lists: the content of to_json()."""
        from procmem.regions.json import table_to_dict

        return table_to_dict(self._regions, self.reading, consistent=self.consistent)

    @staticmethod
    def from_json(text: str | bytes) -> RegionTable[Any]:
        """The table that to_json() wrote.

        Raises:
            ParseError: the text is not such a table.
        """
        from procmem.regions.json import table_from_json

        return whole(*table_from_json(text))

    @staticmethod
    def from_dict(data: dict[str, Any]) -> RegionTable[Any]:
        """The table that to_dict() made.

        Raises:
            ValueError, KeyError, TypeError, AttributeError, OverflowError: it is not such a table.
        """
        from procmem.regions.json import table_from_dict

        return whole(*table_from_dict(data))

    def subset(self, regions: list[Any]) -> RegionTable[R_co]:
        """A table of some of the regions; they keep the kinds that they have in this table."""
        return RegionTable(self.region_type, regions, self.reading, consistent=self.consistent)

    def _grouped(self, key: Callable[[Any], Any]) -> dict[Any, RegionTable[R_co]]:
        groups: dict[Any, list[Any]] = {}
        for region in self._regions:
            groups.setdefault(key(region), []).append(region)
        return {name: self.subset(regions) for name, regions in groups.items()}


def whole(reading: MapsReading, consistent: bool) -> RegionTable[Any]:
    """The table of all regions of a reading."""
    cls: type[Any] = reading.region_type
    return RegionTable(cls, None, reading, consistent=consistent)


def table_from_scan(
    scan: native.Scan,
    mode: int,
    *,
    page_size: int | None = None,
    exe: bytes | None = None,
    consistent: bool | None = None,
) -> RegionTable[Any]:
    """The table over a finished scan.

    Args:
        scan: the scan.
        mode: the scan's mode: native.MAPS, SMAPS or RESIDENT.
        page_size: the page size of the machine that the text came from, in bytes; None: this
            machine's.
        exe: the executable's path; None: not known.
        consistent: see RegionTable; None: True if no region overlaps another.
    """
    reading = MapsReading(
        scan, MODES[mode], source=scan.source, page_size=page_size or PAGE_SIZE, exe=exe
    )
    return whole(reading, not scan.disordered if consistent is None else consistent)


def raw_records(table: RegionTable[Any]) -> bytes:
    """The packed records of a table's regions, one after the other, in the table's order."""
    if table._whole:
        return table.reading.raw_records()
    return table.reading.raw_records(region._index for region in table)


UNKNOWN = -1
"""No sum: the records lack the word."""

PLACES = {name: at for at, name in enumerate(native.COUNTER_NAMES, native.HEADER_WORDS)}
WORDS: dict[str, tuple[int, ...]] = {
    **{ATTRIBUTES[name]: (at,) for name, at in PLACES.items() if name != "Size"},
    "Size": (PLACES["Size"],),
    "uss": (PLACES["Private_Clean"], PLACES["Private_Dirty"]),
    "hugetlb": (PLACES["Shared_Hugetlb"], PLACES["Private_Hugetlb"]),
}
"""The words of a record of smaps that a field of a MeasuredRegion is the sum of."""

TYPED_BY = 100
"""The number of rows from which polars infers the types of columns (infer_schema_length)."""


def field_of(region: Region, attribute: str, name: str) -> int | None:
    missing = object()
    value = getattr(region, attribute, missing)
    if value is missing:
        if not isinstance(region, MeasuredRegion):
            raise ValueError(f"{type(region).__name__} has no field {name!r}")
        value = region.counters.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} is not a number")  # noqa: TRY004 - the field is wrong
    return value


def path_test(path: str) -> Callable[[Region], bool]:
    def name_of(region: Region) -> tuple[str, str]:
        whole = region.pathname or ""
        return whole, whole.rsplit("/", 1)[-1]

    if "*" in path or "?" in path:
        from fnmatch import fnmatchcase

        return lambda region: any(fnmatchcase(name, path) for name in name_of(region))
    return lambda region: path in name_of(region)
