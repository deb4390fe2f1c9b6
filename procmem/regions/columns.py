"""The columns of a RegionTable for data frames, gathered in C from the packed records."""

from __future__ import annotations

from array import array
from functools import partial

from procmem import native
from procmem.columns import (
    ABSENT,
    ArrowColumn,
    PackedRows,
    booleans,
    categories,
    numbers,
    sourced,
    texts,
)
from procmem.native import lib
from procmem.regions.counters import ATTRIBUTES, KERNEL_NAMES, NOT_BYTES
from procmem.regions.reading import split_deleted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from procmem.arrow import Makers
    from procmem.native import Record
    from procmem.regions.kinds import Kind
    from procmem.regions.reading import MapsReading

__all__ = ["RegionColumns"]

NAME = lib.PM_PERMS_NAME, 32, 32
FLAGS = lib.PM_FLAGS_RAW, 0, 32


CONCLUDED = {
    **dict.fromkeys(("kind", "kind_guess", "owner"), "concluded: kind_evidence says from what"),
    **dict.fromkeys(("use", "use_guess"), "concluded: use_evidence says from what"),
    **dict.fromkeys(("kind_evidence", "use_evidence"), "procmem"),
    "name": "maps: the path, else kind and use",
}
"""The sources of columns that no file of the kernel has."""


class RegionColumns:
    """Makes the columns of some regions of one reading.

    Args:
        reading: the reading.
        count: how many regions there are.
        which: their indices in the reading; None: they are all of it, in their order.
        region_type: their class, which has an attribute for each counter.
    """

    def __init__(
        self,
        reading: MapsReading,
        count: int,
        which: array[int] | None,
        region_type: type[Record],
    ) -> None:
        self.reading = reading
        self.region_type = region_type
        self.count = count
        self.indices: Sequence[int] = range(count) if which is None else which
        scan = reading.scan
        self.rows = PackedRows(scan.words, scan.stride, self.count, which)
        self._kinds: list[Kind] | None = None
        self._places: Mapping[str, int] = {}
        self._block: Mapping[str, ArrowColumn] | None = None

    def makers(self) -> Makers:
        """What makes each column, by the columns' names."""
        rows = self.rows
        makers: dict[str, Callable[[], ArrowColumn]] = {
            "start": lambda: rows.words("start", lib.PM_START).described("address", "maps"),
            "end": lambda: rows.words("end", lib.PM_END).described("address", "maps"),
            "size": lambda: rows.difference("size", lib.PM_END, lib.PM_START).described(
                "bytes", "maps: end - start"
            ),
            "perms": lambda: rows.perms("perms").described(source="maps"),
            "offset": lambda: rows.words("offset", lib.PM_OFFSET).described("bytes", "maps"),
            "dev": lambda: rows.devices("dev").described(source="maps"),
            "inode": lambda: rows.words("inode", lib.PM_INODE).described(source="maps"),
            "pathname": self._pathname,
            "deleted": self._deleted,
            "kind": self._of_kind("kind", lambda kind: kind.kind.value),
            "kind_guess": lambda: booleans("kind_guess", [kind.guess for kind in self.kinds]),
            "kind_evidence": self._of_kind("kind_evidence", lambda kind: kind.evidence),
            "use": self._of_kind("use", lambda kind: kind.use and kind.use.name),
            "use_guess": lambda: booleans(
                "use_guess", [None if kind.use is None else kind.use.guess for kind in self.kinds]
            ),
            "use_evidence": self._of_kind(
                "use_evidence", lambda kind: kind.use and kind.use.evidence
            ),
            "owner": self._of_kind("owner", lambda kind: kind.owner and kind.owner.value),
            "name": self._of_kind("name", lambda kind: kind.name),
        }
        if self.reading.scan.stride >= native.HEADER_WORDS + len(native.COUNTER_NAMES):
            makers.update(self._counters())
            makers.update(self._unknown(without=makers))
        elif self.reading.scan.stride > native.HEADER_WORDS:
            makers["rss"] = partial(self._resident, "rss", native.RSS)
            makers["swap"] = partial(self._resident, "swap", native.SWAP)
        return sourced(makers, CONCLUDED)

    def _counters(self) -> Makers:
        places = {
            ATTRIBUTES[name]: place
            for place, name in enumerate(native.COUNTER_NAMES, native.HEADER_WORDS)
        }
        # `size` is end - start; sums such as Pss_Anon are only in smaps_rollup.
        self._places = {
            name: place
            for name, place in places.items()
            if name != "size" and hasattr(self.region_type, name)
        }
        makers: dict[str, Callable[[], ArrowColumn]] = {
            name: partial(self._counter, name) for name in self._places
        }
        makers["uss"] = lambda: self.rows.sum(
            "uss", places["private_clean"], places["private_dirty"]
        ).described("bytes", "smaps: Private_Clean + Private_Dirty")
        makers["hugetlb"] = lambda: self.rows.sum(
            "hugetlb", places["shared_hugetlb"], places["private_hugetlb"]
        ).described("bytes", "smaps: Shared_Hugetlb + Private_Hugetlb")
        makers["vm_flags"] = self._vm_flags
        return makers

    def _counter(self, name: str) -> ArrowColumn:
        """A counter of smaps. All are gathered when one is asked for: one pass over the records."""
        if self._block is None:
            self._block = self.rows.block(self._places)
        kernel_name = KERNEL_NAMES[name]
        unit = None if kernel_name in NOT_BYTES else "bytes"
        return self._block[name].described(unit, f"smaps: {kernel_name}")

    def _resident(self, name: str, word: int) -> ArrowColumn:
        return self.rows.words(name, word, missing=True).described("bytes", "pagemap")

    def _unknown(self, without: Makers) -> Makers:
        """Counters that procmem does not know, by the kernel's names."""
        extras = self.reading.extras
        names = dict.fromkeys(name for values in extras.values() for name, _ in values)
        return {name: partial(self._unknown_counter, name) for name in names if name not in without}

    def _unknown_counter(self, name: str) -> ArrowColumn:
        extras = self.reading.extras
        values = [dict(extras.get(index, ())).get(name) for index in self.indices]
        plain = [value for value in values if value is None or isinstance(value, int)]
        if len(plain) == len(values):
            return numbers(name, plain).described(source=f"smaps: {name}")
        given = [None if value is None else str(value) for value in values]
        return texts(name, given).described(source=f"smaps: {name}")

    # ---- strings ------------------------------------------------------------------------------

    def _strings_used(self, part: tuple[int, int, int]) -> list[int]:
        """The IDs of strings that a part of the records holds; 0 is no string."""
        return [string for string in self.rows.seen(*part, len(self.reading.strings)) if string]

    def _pathname(self) -> ArrowColumn:
        paths = self._overridden()
        if paths is not None:
            return categories("pathname", [path for path, _ in paths]).described(source="maps")
        strings = self.reading.strings
        values = {name: split_deleted(strings[name])[0] or "" for name in self._strings_used(NAME)}
        return self.rows.dictionary("pathname", *NAME, values, len(strings)).described(
            source="maps"
        )

    def _deleted(self) -> ArrowColumn:
        paths = self._overridden()
        if paths is not None:
            return booleans("deleted", [deleted for _, deleted in paths]).described(source="maps")
        strings = self.reading.strings
        table = array("I", [ABSENT]) * max(len(strings), 1)
        for name in self._strings_used(NAME):
            if split_deleted(strings[name])[1]:
                table[name] = 1
        _, bits, _ = self.rows.parts(*NAME, table)
        column = ArrowColumn("deleted", "b", self.count, (None, bits), nullable=False)
        return column.described(source="maps")

    def _overridden(self) -> list[tuple[str | None, bool]] | None:
        """Each region's path, where the true path of some is not the one that maps prints."""
        reading = self.reading
        if not reading.overrides:
            return None
        names = memoryview(self.rows.parts(*NAME)[0]).cast("I")
        return [reading.path(name, index) for name, index in zip(names, self.indices, strict=True)]

    def _vm_flags(self) -> ArrowColumn:
        strings = self.reading.strings
        values = {
            flags: strings[flags].decode("utf-8", "surrogateescape")
            for flags in self._strings_used(FLAGS)
        }
        return self.rows.dictionary("vm_flags", *FLAGS, values, len(strings)).described(
            source="smaps: VmFlags"
        )

    # ---- kinds --------------------------------------------------------------------------------

    @property
    def kinds(self) -> list[Kind]:
        """The kind of each region."""
        if self._kinds is None:
            self._kinds = [self.reading.kind(index) for index in self.indices]
        return self._kinds

    def _of_kind(self, name: str, value: Callable[[Kind], str | None]) -> Callable[[], ArrowColumn]:
        return lambda: categories(name, [value(kind) for kind in self.kinds])
