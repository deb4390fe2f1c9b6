"""The page map of a process: what the page table holds for each page of a range."""

from __future__ import annotations

import errno
from array import array
from collections.abc import Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

from procmem.arrow import Columnar, SequenceOf
from procmem.columns import ArrowColumn, PackedRows, sourced, steps, texts
from procmem.native import ffi, lib
from procmem.pages.scan import user_limit
from procmem.procfs import probes

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import overload

    from matplotlib.axes import Axes

    from procmem.arrow import Makers

__all__ = ["Page", "PageCounts", "PageMap", "PageRun", "PageState", "PageView", "read_pagemap"]

PRESENT, SWAPPED, FILE, ZERO = 1 << 63, 1 << 62, 1 << 61, 1 << 60
GUARD, UFFD_WP, EXCLUSIVE, SOFT_DIRTY = 1 << 58, 1 << 57, 1 << 56, 1 << 55
FRAME = (1 << 55) - 1

LIMIT = 1 << 63
"""Above it lies the kernel's half of the address space."""

BATCH = 4096

MOST_CELLS = 1 << 14
"""Squares of a plot."""

MOST_ROWS = 1 << 28
"""Rows of a data frame: a range of 1 TiB, with pages of 4 KiB."""


class PageState(Enum):
    """What a page of a process is; the value is its letter in PageMap.row().

    Capital letters: it is mapped nowhere else.
    """

    ABSENT = "."
    ANONYMOUS = "A"
    ANONYMOUS_SHARED = "a"
    FILE = "F"
    FILE_SHARED = "f"
    ZERO = "z"
    SWAPPED = "s"
    GUARD = "g"

    @property
    def meaning(self) -> str:
        """The state in words."""
        return MEANINGS[self]


MEANINGS = {
    PageState.ABSENT: "not there",
    PageState.ANONYMOUS: "anonymous, mapped here alone",
    PageState.ANONYMOUS_SHARED: "anonymous, mapped elsewhere too (fork)",
    PageState.FILE: "of a file or shared memory, mapped here alone",
    PageState.FILE_SHARED: "of a file or shared memory, mapped elsewhere too",
    PageState.ZERO: "the page of zeros",
    PageState.SWAPPED: "in swap",
    PageState.GUARD: "guard",
}

STATES = tuple(PageState)
"""By the numbers that C gives them."""

LETTERS = bytes.maketrans(bytes(range(len(STATES))), "".join(s.value for s in STATES).encode())


class Page(NamedTuple):
    """One page.

    Attributes:
        address: where it starts.
        present: it is in memory and mapped here.
        swapped: it is in swap.
        file: it is a file's or shared memory's; False: anonymous, or not there.
        exclusive: it is mapped once in the whole system. Of a transparent huge page that is mapped
            as a whole, kernels before 6.11 report of each page what holds for the first one.
        zero: it is the zero page, which is mapped when untouched memory is read, and which
            Rss does not count. None: not known.
        soft_dirty: it was written since the bits were cleared (clear_refs, proc(5)).
            None: this kernel keeps no such bits.
        guard: touching it is an error (madvise(2), MADV_GUARD_INSTALL). None: not known.
        uffd_wp: userfaultfd(2) protects it from writing.
        pfn: number of the page frame. None: not in memory, or hidden from this reader.
    """

    address: int
    present: bool
    swapped: bool
    file: bool
    exclusive: bool
    zero: bool | None
    soft_dirty: bool | None
    guard: bool | None
    uffd_wp: bool
    pfn: int | None

    @property
    def state(self) -> PageState:
        """All of it in one word."""
        if self.guard:
            return PageState.GUARD
        if not self.present:
            return PageState.SWAPPED if self.swapped else PageState.ABSENT
        if self.zero:
            return PageState.ZERO
        if self.file:
            return PageState.FILE if self.exclusive else PageState.FILE_SHARED
        return PageState.ANONYMOUS if self.exclusive else PageState.ANONYMOUS_SHARED


class PageRun(NamedTuple):
    """Consecutive pages in the same state: addresses, the end exclusive."""

    start: int
    end: int
    state: PageState


class PageCounts(NamedTuple):
    """Counts of the pages of a range, by state. None: not known.

    Attributes:
        pages: all; the sum of the next eight, where none of those is None.
        absent, anonymous, anonymous_shared, file, file_shared, zero, swapped, guard: in
            that state (PageState). Where the zero page can't be recognised, it is among
            anonymous_shared; where guard pages can't, they are among swapped.
        present, exclusive, soft_dirty, uffd_wp: as of Page.
    """

    pages: int
    absent: int
    anonymous: int
    anonymous_shared: int
    file: int
    file_shared: int
    zero: int | None
    swapped: int
    guard: int | None
    present: int
    exclusive: int
    soft_dirty: int | None
    uffd_wp: int


class Known(NamedTuple):
    """What the kernel reports about pages besides the plain bits."""

    zero: bool
    soft_dirty: bool
    guard: bool
    frames: bool


class PageView(Sequence[Any]):
    """One property of all pages of a PageMap: a sequence of bools, made when asked for.

    len(), indexing, slicing, iteration and count(True) work; tobytes() gives a byte for
    each page, so that numpy.frombuffer(view.tobytes(), bool) is an array.
    """

    __slots__ = ("_map", "_mask", "_value")

    def __init__(self, pagemap: PageMap, mask: int, value: int) -> None:
        self._map = pagemap
        self._mask = mask
        self._value = value

    def __len__(self) -> int:
        return len(self._map)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._map._entry(index) & self._mask == self._value

    def __iter__(self) -> Iterator[bool]:
        mask, value = self._mask, self._value
        for entries in self._map._batches():
            yield from [entry & mask == value for entry in entries]

    def count(self, value: object) -> int:
        """How many pages have the property (True) or lack it (False)."""
        if value not in (True, False):
            return 0
        pagemap = self._map
        first, last = pagemap._bounds
        having = int(lib.pm_pages_count(pagemap._pages, first, last, self._mask, self._value))
        return having if value else last - first - having

    def tobytes(self) -> bytes:
        """A byte for each page, 1 or 0."""
        mask, value = self._mask, self._value
        return b"".join(
            bytes([entry & mask == value for entry in entries]) for entries in self._map._batches()
        )

    def __repr__(self) -> str:
        return f"<PageView: {self.count(True)} of {len(self)} pages>"


class FrameView(PageView):
    """The page frame numbers of all pages, None where a page is not in memory."""

    __slots__ = ()

    def __init__(self, pagemap: PageMap) -> None:
        super().__init__(pagemap, 0, 0)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return frame_of(self._map._entry(index))

    def __iter__(self) -> Iterator[Any]:
        for entries in self._map._batches():
            yield from map(frame_of, entries)

    def count(self, value: object) -> int:
        """How many pages are in this frame."""
        return sum(each == value for each in self)

    def tobytes(self) -> bytes:
        """Eight bytes for each page, 0 where it is not in memory."""
        return b"".join(
            array("Q", [frame_of(entry) or 0 for entry in entries]).tobytes()
            for entries in self._map._batches()
        )

    def __repr__(self) -> str:
        return f"<FrameView: {self._map.present.count(True)} of {len(self)} pages>"


def frame_of(entry: int) -> int | None:
    return entry & FRAME if entry & PRESENT else None


class PageMap(Columnar, SequenceOf[Page]):
    """What the page table of a process holds for the pages of a range. It never changes.

    A sequence of Page; a slice of it is another PageMap over the same bytes. Pages without
    an entry take no memory, so the map of a whole address space is as large as what is in it.

    Not there (PageState.ABSENT) are pages that were never touched or were given back; pages of
    files that are in the page cache alone; shared memory in swap; and what the kernel does not
    show: [vvar], memory of devices.

    Attributes:
        start, end: the range, in whole pages.
        page_size: in bytes.

    Source: Documentation/admin-guide/mm/pagemap.rst.

    >>> import procmem
    >>> me = procmem.Process()
    >>> stack = me.maps().filter(kind="stack")[0]
    >>> pages = me.pagemap(stack.start, stack.end)
    >>> len(pages) == stack.size // pages.page_size, pages[-1].present
    (True, True)
    """

    __slots__ = ("_known", "_pages", "end", "page_size", "start")

    def __init__(self, pages: Any, start: int, end: int, page_size: int, known: Known) -> None:
        self._pages = pages
        self._known = known
        self.start = start
        self.end = end
        self.page_size = page_size

    @classmethod
    def from_bytes(cls, data: bytes, start: int = 0, page_size: int = 4096) -> PageMap:
        """The map that some bytes of a pagemap file stand for.

        Args:
            data: entries of eight bytes, in this machine's byte order.
            start: address of the first page.
            page_size: of the machine that they came from, in bytes.

        Raises:
            ValueError: a piece of an entry, or an address that is no page's.
        """
        if len(data) % 8 or start % page_size:
            raise ValueError("a page map is eight bytes for each page, from a page's start on")
        pages = new_pages()
        entries = ffi.from_buffer("uint64_t[]", data)
        if lib.pm_pages_add(pages, start // page_size, entries, len(data) // 8):
            raise MemoryError
        end = start + len(data) // 8 * page_size
        frames = any(entry & FRAME for entry in entries if entry & PRESENT)
        return cls(pages, start, end, page_size, Known(False, True, True, frames))

    # ---- as a sequence ----------------------------------------------------

    def __len__(self) -> int:
        return (self.end - self.start) // self.page_size

    def _repr_html_(self) -> str:
        """What a notebook shows: a strip of pages, and the number of pages in each state."""
        from procmem.picture.markup import block, strip, table

        counts = self.counts()
        title = f"Pages {self.start:#x} to {self.end:#x}"
        rows: list[list[str | None]] = []
        for state in PageState:
            number = getattr(counts, state.name.lower())
            if number or number is None:
                shown = None if number is None else f"{number:,}"
                rows.append([state.value, state.meaning, shown])
        said = f"{len(self):,} pages of {self.page_size >> 10} KiB, {counts.present:,} in memory"
        footer = ["", "all", f"{counts.pages:,}"]
        # More letters than a screen has room for would only be drawn over each other.
        drawn = strip(self.row(min(len(self), 320)), said) if len(self) else ""
        counted = table(["", "State", "Pages"], rows, "<<>", footer=footer)
        return block(title, f"{said}.", drawn, counted)

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> Page: ...
        @overload
        def __getitem__(self, index: slice) -> PageMap: ...

    def __getitem__(self, index: int | slice) -> Page | PageMap:
        if isinstance(index, slice):
            first, last, step = index.indices(len(self))
            if step != 1:
                raise ValueError("a part of a page map is a range of pages: its step is 1")
            at = self.start + first * self.page_size
            return self.within(at, self.start + max(first, last) * self.page_size)
        entry = self._entry(index)
        if index < 0:
            index += len(self)
        return self._page(self.start + index * self.page_size, entry)

    def __iter__(self) -> Iterator[Page]:
        address = self.start
        for entries in self._batches():
            for entry in entries:
                yield self._page(address, entry)
                address += self.page_size

    def __repr__(self) -> str:
        return f"<PageMap of {len(self)} pages, {self.start:x}-{self.end:x}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a page map can't be pickled: to_dict() has what it shows")

    def within(self, start: int, end: int) -> PageMap:
        """The part between two addresses, in whole pages.

        Raises:
            ValueError: they are outside of it.
        """
        start, end = whole_pages(start, end, self.page_size)
        if not self.start <= start <= end <= self.end:
            raise ValueError(f"{start:#x}-{end:#x} is not within {self.start:#x}-{self.end:#x}")
        return PageMap(self._pages, start, end, self.page_size, self._known)

    def at(self, address: int) -> Page:
        """The page that holds an address.

        Raises:
            IndexError: it is outside.
        """
        if not self.start <= address < self.end:
            raise IndexError(f"{address:#x} is not within {self.start:#x}-{self.end:#x}")
        return self[(address - self.start) // self.page_size]

    @property
    def _bounds(self) -> tuple[int, int]:
        return self.start // self.page_size, self.end // self.page_size

    def _entry(self, index: int) -> int:
        length = len(self)
        if not -length <= index < length:
            raise IndexError(f"there are {length} pages")
        page = self.start // self.page_size + (index + length if index < 0 else index)
        return int(lib.pm_pages_entry(self._pages, page))

    def _batches(self) -> Iterator[list[int]]:
        """All entries, some at a time."""
        at, last = self._bounds
        room = array("Q", bytes(8 * BATCH))
        words = ffi.from_buffer("uint64_t[]", room)
        while at < last:
            end = min(at + BATCH, last)
            lib.pm_pages_copy(self._pages, at, end, words)
            yield room[: end - at].tolist()
            at = end

    def _page(self, address: int, entry: int) -> Page:
        known = self._known
        present = bool(entry & PRESENT)
        guard = bool(entry & GUARD)
        doubtful = not known.zero and entry & (PRESENT | FILE | EXCLUSIVE) == PRESENT
        return Page(
            address,
            present,
            not guard and bool(entry & SWAPPED),
            bool(entry & FILE),
            bool(entry & EXCLUSIVE),
            None if doubtful else bool(entry & ZERO),
            bool(entry & SOFT_DIRTY) if known.soft_dirty else None,
            guard if known.guard else None,
            bool(entry & UFFD_WP),
            entry & FRAME if present and known.frames else None,
        )

    @property
    def handle(self) -> Any:
        """Its entries as native.lib's functions take them (`pm_pages *`); valid while it exists."""
        return self._pages

    # ---- for data frames --------------------------------------------------------

    def arrow_makers(self) -> Makers:
        """What makes each column for data frames: the fields of Page, a row for each page.

        Raises:
            BadArgument: there are more than 2**28 pages: take a part, by within().
        """
        count = len(self)
        if count > MOST_ROWS:
            from procmem.errors import BadArgument

            raise BadArgument(
                f"{count:,} pages are too many rows: take a part with within(), or runs()"
            )
        first, last = self._bounds
        words = ffi.new("uint64_t[]", max(count, 1))
        lib.pm_pages_copy(self._pages, first, last, words)
        rows = PackedRows(words, 1, count)
        known = self._known
        always, doubtful = (0, 0, 0), (0, PRESENT | FILE | EXCLUSIVE, PRESENT)
        bits = {
            "present": (PRESENT, PRESENT, None),
            "swapped": (SWAPPED | GUARD, SWAPPED, None),
            "file": (FILE, FILE, None),
            "exclusive": (EXCLUSIVE, EXCLUSIVE, None),
            "zero": (ZERO, ZERO, None if known.zero else doubtful),
            "soft_dirty": (SOFT_DIRTY, SOFT_DIRTY, None if known.soft_dirty else always),
            "guard": (GUARD, GUARD, None if known.guard else always),
            "uffd_wp": (UFFD_WP, UFFD_WP, None),
        }
        frames = (0, PRESENT, PRESENT) if known.frames else (0, 0, 1)
        makers: Makers = {
            "address": lambda: steps("address", self.start, self.page_size, count).described(
                "address"
            ),
            "state": self._state_column,
            **{name: partial(rows.bits, name, 0, *given) for name, given in bits.items()},
            "pfn": lambda: rows.words("pfn", 0, when=frames, mask=FRAME),
        }
        return sourced(makers, dict.fromkeys(makers, "pagemap"))

    def arrow_metadata(self) -> Mapping[str, str]:
        """The page size."""
        return {"page_size": str(self.page_size)}

    def _state_column(self) -> ArrowColumn:
        count = len(self)
        first, last = self._bounds
        out = ffi.new("unsigned char[]", max(count, 1))
        lib.pm_pages_row(self._pages, first, last, count, out)
        names = texts("", [state.name.lower().replace("_", " ") for state in STATES])
        data = bytes(ffi.buffer(out, count)) if count else b""
        return ArrowColumn("state", "c", count, (None, data), dictionary=names, nullable=False)

    # ---- one property of all pages ------------------------------------------

    @property
    def present(self) -> PageView:
        """Which pages are in memory."""
        return PageView(self, PRESENT, PRESENT)

    @property
    def swapped(self) -> PageView:
        """Which pages are in swap."""
        return PageView(self, SWAPPED | GUARD, SWAPPED)

    @property
    def file(self) -> PageView:
        """Which pages are a file's or shared memory's."""
        return PageView(self, FILE, FILE)

    @property
    def exclusive(self) -> PageView:
        """Which pages are mapped once in the whole system."""
        return PageView(self, EXCLUSIVE, EXCLUSIVE)

    @property
    def uffd_wp(self) -> PageView:
        """Which pages userfaultfd(2) protects from writing."""
        return PageView(self, UFFD_WP, UFFD_WP)

    @property
    def zero(self) -> PageView | None:
        """Which pages are the zero page; None: not known (before Linux 6.7)."""
        return PageView(self, ZERO, ZERO) if self._known.zero else None

    @property
    def soft_dirty(self) -> PageView | None:
        """Which pages were written since clear_refs; None: a kernel without such bits."""
        return PageView(self, SOFT_DIRTY, SOFT_DIRTY) if self._known.soft_dirty else None

    @property
    def guard(self) -> PageView | None:
        """Which are guard pages; None: not known (before Linux 6.15)."""
        return PageView(self, GUARD, GUARD) if self._known.guard else None

    @property
    def pfn(self) -> FrameView | None:
        """The frames of the pages; None: the reader lacks CAP_SYS_ADMIN."""
        return FrameView(self) if self._known.frames else None

    # ---- sums and pictures ------------------------------------------------

    def counts(self) -> PageCounts:
        """How many pages are in which state."""
        known = self._known
        states = ffi.new("uint64_t[]", lib.PM_STATES)
        lib.pm_pages_states(self._pages, *self._bounds, states)
        found = list(states)
        zero, guard = lib.PM_ZERO, lib.PM_GUARDED
        soft_dirty = self.soft_dirty
        return PageCounts._make(
            [
                len(self),
                *found[:zero],
                found[zero] if known.zero else None,
                found[lib.PM_IN_SWAP],
                found[guard] if known.guard else None,
                sum(found[lib.PM_ANON : zero + 1]),
                self.exclusive.count(True),
                None if soft_dirty is None else soft_dirty.count(True),
                self.uffd_wp.count(True),
            ]
        )

    @property
    def resident(self) -> int | None:
        """Bytes that Rss counts: present, and not the zero page. None: not known.

        Pages of hugetlbfs are present, but in no Rss.
        """
        counts = self.counts()
        return None if counts.zero is None else (counts.present - counts.zero) * self.page_size

    def runs(self) -> Iterator[PageRun]:
        """The range from end to end, as runs of pages in the same state."""
        first, last = self._bounds
        size = self.page_size
        at = ffi.new("uint64_t *", first)
        room = array("Q", bytes(24 * BATCH))
        words = ffi.from_buffer("uint64_t[]", room)
        while at[0] < last:
            got = 3 * lib.pm_pages_runs(self._pages, at, last, words, BATCH)
            for i in range(0, got, 3):
                yield PageRun(room[i] * size, room[i + 1] * size, STATES[room[i + 2]])

    def row(self, width: int = 64) -> str:
        """A line of letters (PageState), one for each page or, if there are more, bucket.

        A bucket shows what most of those pages are that are there at all.

        Args:
            width: letters, at most.

        Raises:
            ValueError: less than one.
        """
        if width < 1:
            raise ValueError("a row has at least one letter")
        width = min(width, len(self))
        room = bytearray(width)
        lib.pm_pages_row(
            self._pages, *self._bounds, width, ffi.from_buffer("unsigned char[]", room)
        )
        return room.translate(LETTERS).decode()

    def plot(self, ax: Axes | None = None) -> Axes:
        """A square for each page in the colour of its state, with matplotlib.

        Of more than 16,384 pages a square stands for several: it shows what most of those pages are
        that are there at all, and the title has the number.

        Args:
            ax: where to draw; None: on a new figure.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        from procmem.picture import plots

        axes = plots.axes_of(ax, "PageMap.plot()")
        cells = self.row(MOST_CELLS) if len(self) else ""
        names = [state.name.lower().replace("_", " ") for state in STATES]
        letters = {state.value: at for at, state in enumerate(STATES)}
        columns = 64 if len(cells) <= 4096 else 128
        last = len(self)
        rows = [
            f"{self.start + at * last // len(cells) * self.page_size:x}"
            for at in range(0, len(cells), columns)
        ]
        plots.page_grid(axes, [letters[cell] for cell in cells], names, columns, rows)
        each = -(-last // len(cells)) if cells else 1
        axes.set_title(
            f"{last:,} pages of {self.page_size >> 10} KiB"
            + (f", up to {each:,} in a square" if each > 1 else "")
        )
        return axes

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the range, the counts, and each run."""
        return {
            "start": self.start,
            "end": self.end,
            "page_size": self.page_size,
            "counts": self.counts()._asdict(),
            "runs": [[run.start, run.end, run.state.value] for run in self.runs()],
        }

    def frames(self, among: Sequence[int] | None = None) -> Iterator[tuple[int, int]]:
        """Address and frame of each page in memory, except the zero page.

        Args:
            among: these frames alone, ascending; None: all.
        """
        first, last = self._bounds
        size = self.page_size
        at = ffi.new("uint64_t *", first)
        room = array("Q", bytes(16 * BATCH))
        words = ffi.from_buffer("uint64_t[]", room)
        wanted, count = ffi.NULL, 0
        if among is not None:
            listed = among if isinstance(among, array) else array("Q", among)
            wanted, count = ffi.from_buffer("uint64_t[]", listed), len(listed)
            if not count:
                return
        while at[0] < last:
            got = 2 * lib.pm_pages_frames(self._pages, at, last, wanted, count, words, BATCH)
            for i in range(0, got, 2):
                yield room[i] * size, room[i + 1]


def new_pages() -> Any:
    made = lib.pm_pages_new()
    if made == ffi.NULL:
        raise MemoryError
    return ffi.gc(made, lib.pm_pages_free)


def whole_pages(start: int, end: int, page_size: int) -> tuple[int, int]:
    """A range of bytes as the pages that hold it.

    Raises:
        ValueError: it ends before it starts, or no such addresses exist.
    """
    if not 0 <= start <= end <= 1 << 64:
        raise ValueError(f"no range of addresses: {start:#x}-{end:#x}")
    return start // page_size * page_size, -(-end // page_size) * page_size


def read_pagemap(
    fd: int,
    start: int,
    end: int,
    page_size: int,
    *,
    spans: Sequence[tuple[int, int]] | None = None,
) -> PageMap:
    """Reads the pages of a range.

    PAGEMAP_SCAN (Linux 6.7) finds where there are any, and eight bytes are read for
    each page there; on older kernels for each page of the range.

    Args:
        fd: an open /proc/PID/pagemap.
        start: address of the first byte; the range is taken to whole pages.
        end: address behind the last, not above 1 << 63.
        page_size: in bytes.
        spans: on a kernel without PAGEMAP_SCAN: the parts where there may be pages.

    Raises:
        OSError

    Source: Documentation/admin-guide/mm/pagemap.rst.
    """
    start, end = whole_pages(start, end, page_size)
    pages = new_pages()
    scan = probes.has_pagemap_scan()
    frames = probes.shows_page_frames()
    zero_frame = probes.zero_frame()
    parts = [(start, min(end, user_limit()))]
    if not scan and spans is not None:
        parts = [(max(s, start), min(e, end)) for s, e in spans if s < end and e > start]
    for low, high in parts:
        at = ffi.new("uint64_t *", low // page_size)
        last = high // page_size
        while at[0] < last:
            status = lib.pm_pages_read(pages, fd, page_size, at, last, scan, zero_frame)
            if status == -errno.ENOTTY and scan:
                scan = False  # a file of a saved tree
            elif status == -errno.ENOMEM:
                raise MemoryError
            elif status:
                raise OSError(-status, "the page map can't be read", "pagemap")
    known = Known(scan, probes.has_soft_dirty(), probes.shows_guard_pages(), frames)
    return PageMap(pages, start, end, page_size, known)
