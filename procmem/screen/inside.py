"""The regions and threads of one process as rows of the screen."""

from __future__ import annotations

from procmem.picture.palette import tone
from procmem.regions.kinds import MARK, kind_word
from procmem.screen.tables import ScreenTable, TextPiece, bar, ordered
from procmem.units import about, in_unit
from procmem.view.columns import Column
from procmem.view.maps import region_name
from procmem.view.names import only_ascii, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from typing import Any

    from procmem.regions import Region, RegionTable
    from procmem.snapshots import Snapshot

__all__ = ["MAP_SORTS", "MapRows", "ThreadRows", "UseRows", "UseSum", "fits", "use_word"]

SIZE = 8
BAR = 10
BLOCK = "■"

MAP_SORTS = ("start", "size", "rss", "pss", "swap", "name")

SIZES = (
    Column("size", "Size", ">", 2),
    Column("rss", "RSS", ">"),
    Column("pss", "PSS", ">", 4),
    Column("swap", "Swap", ">", 6),
)


def wide_size(unit: str) -> int:
    """Cells of a size: there are reservations of many TiB."""
    return SIZE + {"KiB": 4, "B": 7}.get(unit, 0)


def use_word(region: Region) -> str:
    """What a region is used for; its kind where no use is known. With a "?" if that is a guess."""
    return kind_word(region) if region.use is None else str(region.use)


def swatch(word: str) -> TextPiece:
    """The colour and the letter of a kind or use."""
    found = tone(word)
    return TextPiece((" " if only_ascii() else BLOCK) + found.mark, f"color{found.ansi}")


def fits(region: Region, text: str) -> bool:
    """Whether a region has a text in its name, kind, use, permissions or path, or an address."""
    try:
        if int(text, 16) in region:
            return True
    except ValueError:
        pass
    words = f"{region.start:x} {region.name} {region.kind} {use_word(region)} {region.perms} "
    return text.lower() in (words + (region.pathname or "")).lower()


class UseSum:
    """The regions of one use together. Sizes are bytes; None: they were not read.

    Attributes:
        word: the use, or the kind.
        regions: how many there are.
        size, rss, pss, uss, swap: their sums.
    """

    __slots__ = ("pss", "regions", "rss", "size", "swap", "uss", "word")

    def __init__(self, word: str) -> None:
        self.word = word
        self.regions = self.size = 0
        self.rss: int | None = 0
        self.pss: int | None = 0
        self.uss: int | None = 0
        self.swap: int | None = 0

    def add(self, region: Region) -> None:
        """Adds the sizes of a region."""
        self.regions += 1
        self.size += region.size
        for name in ("rss", "pss", "uss", "swap"):
            more, before = getattr(region, name, None), getattr(self, name)
            setattr(self, name, None if more is None or before is None else before + more)


def sums_by_use(table: RegionTable[Any]) -> list[UseSum]:
    """The sums of each use; what is a guess counts apart from what is not."""
    found: dict[str, UseSum] = {}
    for region in table:
        word = use_word(region)
        if word not in found:
            found[word] = UseSum(word)
        found[word].add(region)
    return list(found.values())


class UseRows(ScreenTable):
    """A row for each use of the regions, and one for their sum.

    Args:
        snapshot: what was read.
        sort: "size", "rss", "pss", "uss", "swap" or "name".
        filtered: a text that is searched for in the names.
        unit: of sizes.
    """

    def __init__(
        self, snapshot: Snapshot, *, sort: str = "rss", filtered: str = "", unit: str = "MiB"
    ) -> None:
        self._size = in_unit(unit)
        self.sums = [
            one
            for one in sums_by_use(snapshot.regions)
            if filtered.lower() in printable(one.word).lower()
        ]
        if snapshot.detail == "maps" and sort not in {"size", "name"}:
            sort = "size"
        if sort not in {"size", "rss", "pss", "uss", "swap", "name"}:
            sort = "rss"
        self.rows = ordered(
            range(len(self.sums)),
            lambda row: getattr(self.sums[row], "word" if sort == "name" else sort),
            rising=sort == "name",
        )
        self.measure = "size" if snapshot.detail == "maps" else "rss"
        self.total = sum(getattr(one, self.measure) or 0 for one in self.sums)
        wide = wide_size(unit)
        columns = [
            Column("mark", "", rank=0),
            Column("regions", "Regions", ">", 5),
            *SIZES[:3],
            Column("uss", "USS", ">", 3),
            SIZES[3],
            Column("bar", "Part", rank=1),
            Column("name", "Use", floor=16),
        ]
        widths = [2, 7, wide, wide, wide, wide, wide, BAR, 30]
        super().__init__(columns, widths, len(self.sums), sort)

    def use(self, row: int) -> UseSum:
        """The sum of a row."""
        return self.sums[self.rows[row]]

    def key(self, row: int) -> Hashable:
        """The use."""
        return self.use(row).word

    def cells(self, row: int) -> Sequence[str | TextPiece]:
        """The texts of a row."""
        one, size = self.use(row), self._size
        colour = swatch(one.word)
        return [
            colour,
            f"{one.regions:,}",
            size(one.size),
            size(one.rss),
            size(one.pss),
            size(one.uss),
            size(one.swap),
            TextPiece(bar(getattr(one, self.measure), self.total, BAR), colour.style),
            printable(one.word),
        ]


class MapRows(ScreenTable):
    """A row for each region. By address, a gap between two regions is a row as well.

    Args:
        snapshot: what was read.
        sort: one of MAP_SORTS.
        filtered: a text that is searched for, see fits().
        unit: of sizes.
    """

    def __init__(
        self, snapshot: Snapshot, *, sort: str = "start", filtered: str = "", unit: str = "KiB"
    ) -> None:
        self.regions = snapshot.regions
        self._size = in_unit(unit)
        sort = sort if sort in MAP_SORTS else "start"
        rows: Sequence[int] = range(len(self.regions))
        if filtered:
            rows = [row for row in rows if fits(self.regions[row], filtered)]
        if sort == "start":
            self.rows = with_gaps(self.regions) if not filtered else list(rows)
        else:
            regions = self.regions
            self.rows = ordered(
                rows, lambda row: getattr(regions[row], sort, None), rising=sort == "name"
            )
        digits = max((len(f"{self.regions[row].end:x}") for row in list(rows)[-2:]), default=12)
        wide = wide_size(unit)
        columns = [
            Column("mark", "", rank=0),
            Column("start", "Start", ">"),
            Column("end", "End", ">", 8),
            Column("perms", "Perm", rank=3),
            *SIZES,
            Column("bar", "In RAM", rank=5),
            Column("kind", "Kind", rank=1),
            Column("name", "Name", floor=16),
        ]
        widths = [2, digits, digits, 4, *[wide] * 4, 6, 13, 30]
        super().__init__(columns, widths, len(self.rows), sort)

    def region(self, row: int) -> Region | None:
        """The region of a row; None: it is a gap."""
        place = self.rows[row]
        found: Region | None = None if place < 0 else self.regions[place]
        return found

    def key(self, row: int) -> Hashable:
        """The start of the region; of a gap its end, negative."""
        place = self.rows[row]
        start: int = self.regions[abs(place)].start
        return start if place >= 0 else -start

    def whole(self, row: int) -> TextPiece | None:
        """How large a gap is."""
        place = self.rows[row]
        if place >= 0:
            return None
        gap = self.regions[-place].start - self.regions[-place - 1].end
        dots = "..." if only_ascii() else "···"
        return TextPiece(f"    {dots} {about(gap)} not mapped {dots}", "dim")

    def cells(self, row: int) -> Sequence[str | TextPiece]:
        """The texts of a row."""
        place, size = self.rows[row], self._size
        region = self.regions[place]
        colour = swatch(use_word(region))
        rss = getattr(region, "rss", None)
        return [
            colour,
            f"{region.start:x}",
            f"{region.end:x}",
            str(region.perms),
            size(region.size),
            size(rss),
            size(getattr(region, "pss", None)),
            size(getattr(region, "swap", None)),
            TextPiece(bar(rss, region.size, 6), colour.style),
            kind_word(region),
            region_name(region) if region.use is None else f"{region_name(region)} {use(region)}",
        ]


def use(region: Region) -> str:
    """The use of a region in brackets, unless its name says the same."""
    word = printable(str(region.use or ""))
    return "" if word.rstrip(MARK) in region.name else f"({word})"


def with_gaps(regions: RegionTable[Any]) -> list[int]:
    """The numbers of all regions; the negative number of each that a gap precedes stands before."""
    found: list[int] = []
    end = regions[0].start if len(regions) else 0
    for number, region in enumerate(regions):
        if region.start > end and number:
            found.append(-number)
        found.append(number)
        end = region.end
    return found


class ThreadRows(ScreenTable):
    """A row for each thread.

    Args:
        snapshot: what was read.
        filtered: a text that is searched for in names and IDs.
        unit: of sizes.
    """

    def __init__(self, snapshot: Snapshot, *, filtered: str = "", unit: str = "KiB") -> None:
        self._size = in_unit(unit)
        self.threads = [
            one
            for one in snapshot.threads or ()
            if filtered.lower() in f"{one.tid} {printable(one.name)}".lower()
        ]
        columns = [
            Column("tid", "TID", ">"),
            Column("name", "Name", floor=8),
            Column("stack", "Stack region", ">", 1),
            Column("rss", "RSS", ">", 2),
            Column("pointer", "Stack pointer", ">", 3),
            Column("arena", "malloc arena", ">", 4),
            Column("place", "Stack", floor=12, rank=5),
        ]
        super().__init__(columns, [7, 16, 12, SIZE, 13, 13, 30], len(self.threads))

    def key(self, row: int) -> Hashable:
        """The thread's ID."""
        return self.threads[row].tid

    def cells(self, row: int) -> Sequence[str | TextPiece]:
        """The texts of a row."""
        one, size = self.threads[row], self._size
        stack, pointer = one.stack, one.stack_pointer
        return [
            str(one.tid),
            printable(one.name),
            size(None if stack is None else stack.size),
            size(getattr(stack, "rss", None)),
            "-" if pointer is None else f"{pointer:x}",
            "-" if one.arena is None else f"{one.arena:x}",
            "-" if stack is None else region_name(stack),
        ]
