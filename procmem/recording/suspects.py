"""Finds the regions of a recording that grew until its end."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from procmem.recording.growth import MOST_COMPARED, Growth, Sustained, grown, sustained
from procmem.recording.heaps import HeapGrowth, heap_growth
from procmem.recording.packed import times_of
from procmem.regions.kinds import RegionKind, kind_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from procmem.recording.packed import SnapshotFigures
    from procmem.snapshots import Snapshot

__all__ = ["KnownRegions", "Suspect", "SuspectPlace", "suspects_of"]

GAPS = 0.15
"""The longest time between two snapshots with the memory of each region, as a share of the whole
time: with a longer gap it is not known when a region grew."""

FEWEST = 8
"""The least number of such snapshots."""

SHARE = 0.1
"""The least gain of a suspect, as a share of the process's gain, if only both ends are known."""

NAMED = 0.9
"""The share of a suspect's gain that its places account for; smaller places are left out."""

MOST_PLACES = 5

ARENA = 1 << 26
"""HEAP_MAX_SIZE: size and alignment of the heaps that an arena of glibc consists of."""

Key = tuple[str, str, str]
"""Kind, name and permissions."""


NUMBERED = {RegionKind.THREAD_STACK: "thread stacks"}
"""Kinds whose regions have different names; they are counted together under this name."""


class SuspectPlace(NamedTuple):
    """Addresses at which a suspect gained memory.

    Attributes:
        start, end: addresses; end is the first byte after the place.
        gained: bytes.
        threads: IDs and names of the threads that allocate there, for an arena of malloc;
            empty if they are not known.
    """

    start: int
    end: int
    gained: int
    threads: tuple[tuple[int, str], ...] = ()


class Suspect(NamedTuple):
    """Regions that grew until the end: a leak, or memory that would have stopped growing later.

    Attributes:
        name: the name of the regions, as in the tables.
        kind: their kind.
        growth: slope and trend of `figure`.
        regions: the number of these regions at the end.
        figure: what grew: "resident" (in memory or swap), or "size" if only the size grew.
        since: seconds from the first snapshot to the beginning of the growth.
        whole: whether it grew during the whole recording.
        gained: bytes by which the lower envelope rose since then: memory that was freed in the
            meantime does not count.
        rate: bytes per second.
        places: the addresses at which it gained most, in descending order, measured between two
            snapshots near both ends; each heap of a malloc arena is one place.
        elsewhere: bytes gained at other addresses between these two snapshots.
        heap: what malloc or Python's allocator gained in these regions, live or free; None: no
            two snapshots have the heap, or their figures do not account for the growth.
    """

    name: str
    kind: str
    growth: Growth
    regions: int
    figure: str
    since: float = 0.0
    whole: bool = True
    gained: int = 0
    rate: float = 0.0
    places: tuple[SuspectPlace, ...] = ()
    elsewhere: int = 0
    heap: HeapGrowth | None = None


class Group:
    """Size and memory of the regions of one key over time."""

    __slots__ = ("count", "resident", "size")

    def __init__(self, length: int) -> None:
        self.size = [0] * length
        self.resident = [0] * length
        self.count = 0


class Ends(NamedTuple):
    """The numbers of the two snapshots between which the growth of regions is measured."""

    first: int
    last: int


def suspects_of(
    snapshots: Sequence[Snapshot], figures: Sequence[SnapshotFigures], ended: str, least: int
) -> list[Suspect]:
    """The regions that grew until the end; see Recording.suspects().

    Args:
        snapshots: of one process, by time.
        figures: the figures of each snapshot.
        ended: why the recording ended; see Recording.
        least: bytes that a suspect must have gained.
    """
    times = times_of(figures)
    timed = [at for at, when in enumerate(times) if when is not None]
    if ended.startswith(ENDED):
        timed = without_the_end(timed, figures)
    if len(timed) < 4:
        return []
    judged = exact_of(timed, figures)
    own = [figures[at].own for at in judged]
    # An error of the kernel's counter is not growth.
    least = max(least, 2 * max(figures[at].rss_error or 0 for at in judged))
    total = None
    if None not in own:
        when = [times[at] or 0.0 for at in judged]
        total = sustained(when, [value or 0 for value in own], least)
    return Search(snapshots, figures, spread(timed, figures), total, least).found()


ENDED = "the process "
"""How Recording.ended begins where the process ended by itself."""

FREED = 0.05
"""The share of the time in which an exiting process may free its memory."""


def without_the_end(timed: list[int], figures: Sequence[SnapshotFigures]) -> list[int]:
    """Leaves out the last snapshots of a process that was already freeing memory to exit."""
    times = times_of(figures)
    start, end = times[timed[0]] or 0.0, times[timed[-1]] or 0.0
    peak = max(figures[at].own or 0 for at in timed)
    last = max(at for at in timed if (figures[at].own or 0) == peak)
    if end - (times[last] or 0.0) <= FREED * (end - start):
        return [at for at in timed if at <= last]
    return timed


LEAST_EXACT = 8
"""The number of exact totals that show growth better than all totals of a kernel that lags."""


def exact_of(timed: list[int], figures: Sequence[SnapshotFigures]) -> list[int]:
    """The snapshots whose RSS is exact if they are from the first to the last, else all.

    Where VmRSS lags, only snapshots with the memory of each region are exact.
    """
    exact = [at for at in timed if figures[at].rss_error == 0]
    whole = len(exact) >= LEAST_EXACT and (exact[0], exact[-1]) == (timed[0], timed[-1])
    return exact if whole else timed


def spread(timed: Sequence[int], figures: Sequence[SnapshotFigures]) -> list[int]:
    """The numbers of about MOST_COMPARED snapshots, evenly spaced in time.

    From snapshots close to each other, one with the memory of each region is preferred, and
    among several such snapshots the one with the least memory.
    """
    if len(timed) <= MOST_COMPARED:
        return list(timed)
    times = times_of(figures)
    start, end = times[timed[0]] or 0.0, times[timed[-1]] or 0.0
    slots: dict[int, int] = {}

    def worth(at: int) -> tuple[bool, int]:
        return figures[at].detail == "maps", figures[at].own or 0

    for at in timed[1:-1]:
        slot = int(((times[at] or 0.0) - start) / (end - start) * MOST_COMPARED)
        if slot not in slots or worth(at) < worth(slots[slot]):
            slots[slot] = at
    return sorted({timed[0], *slots.values(), timed[-1]})


class Search:
    """The search for suspects in one recording.

    Args:
        snapshots: of the recording.
        figures: of each snapshot.
        chosen: numbers of the snapshots that are compared.
        total: the growth of the process's own memory, from all snapshots; None: it did not grow.
        least: bytes that a suspect must have gained.
    """

    def __init__(
        self,
        snapshots: Sequence[Snapshot],
        figures: Sequence[SnapshotFigures],
        chosen: list[int],
        total: Sustained | None,
        least: int,
    ) -> None:
        self.snapshots = snapshots
        self.figures = figures
        self.chosen = chosen
        self.total = total
        self.least = least
        times = times_of(figures)
        self.times = [times[at] or 0.0 for at in chosen]
        details = [one.detail for one in figures]
        self.measured = [n for n, at in enumerate(chosen) if details[at] != "maps"]
        full = [number for number in self.measured if details[chosen[number]] == details[0]]
        anchors = {len(chosen) - 1, *full[-1:], 0}
        self.anchors = [snapshots[chosen[number]] for number in sorted(anchors, reverse=True)]
        self._known = KnownRegions(self.anchors)
        # By the identity of the anchors' regions, which live as long as the anchors do.
        self._keys: dict[int, Key] = {}
        self.groups = self.collect()

    def collect(self) -> dict[Key, Group]:
        groups: dict[Key, Group] = {}
        measured = set(self.measured)
        for number, at in enumerate(self.chosen):
            counts: Counter[Key] = Counter()
            for region in self.snapshots[at].regions:
                key = self.key_of(region)
                group = groups.get(key)
                if group is None:
                    group = groups[key] = Group(len(self.chosen))
                group.size[number] += region.size
                if number in measured:
                    group.resident[number] += self.held(region)
                counts[key] += 1
            if number == len(self.chosen) - 1:
                for key, count in counts.items():
                    groups[key].count = count
        return groups

    def found(self) -> list[Suspect]:
        """The suspects, the fastest first."""
        found: dict[Key, Suspect] = {}
        ends = None if self.total is None else self.ends(self.total.since)
        dense = self.is_dense()
        gains = {} if ends is None else self.gains(self.groups, ends)
        moments = [self.times[number] for number in self.measured]
        for key, group in self.groups.items():
            grew = None
            if dense:
                values = [group.resident[number] for number in self.measured]
                grew = sustained(moments, values, self.least)
            elif self.total is not None:
                gained = gains.get(key, 0)
                if gained >= max(self.least, SHARE * self.total.gained):
                    grew = self.total._replace(gained=gained)
            if grew is not None:
                found[key] = self.suspect(key, group, grew, "resident")
        if not found and self.total is not None and ends is not None:
            self.by_ends(found, self.total, ends)
        size = self.sizes()
        for key, group in self.groups.items():
            if key in found or size is None:
                continue
            grew = sustained(self.times, group.size, self.least)
            if grew is not None and size.gained >= grew.gained / 2:
                found[key] = self.suspect(key, group, grew, "size")
        if size is not None and not found:
            self.by_kind(found)
        return sorted(found.values(), key=lambda one: -one.rate)

    def sizes(self) -> Sustained | None:
        """The growth of VSZ; None: it did not grow."""
        return sustained(self.times, [self.figures[at].vsz for at in self.chosen], self.least)

    def is_dense(self) -> bool:
        """Whether regions were measured often enough to know when each grew."""
        moments = [self.times[number] for number in self.measured]
        if len(moments) < FEWEST and len(moments) < len(self.times):
            return False
        gap = GAPS * (self.times[-1] - self.times[0])
        edges = [self.times[0], *moments, self.times[-1]]
        return len(moments) > 3 and (
            len(moments) == len(self.times)
            or all(later - earlier <= gap for earlier, later in pairwise(edges))
        )

    def ends(self, since: float, figure: str = "resident") -> Ends | None:
        """Two snapshots near both ends of a growth, each with the least memory near that end."""
        numbers = list(range(len(self.chosen))) if figure == "size" else self.measured
        if len(numbers) < 2:
            return None
        span = self.times[-1] - since

        def amount(number: int) -> int:
            one = self.figures[self.chosen[number]]
            return one.vsz if figure == "size" else one.own or 0

        begun = max((n for n in numbers if self.times[n] <= since), default=numbers[0])
        early = [n for n in numbers if since <= self.times[n] <= since + span / 4]
        late = [n for n in numbers if self.times[n] >= self.times[-1] - span / 4]
        first = min([begun, *early], key=amount)
        last = min(late or numbers[-1:], key=amount)
        return Ends(first, last) if first < last else None

    def gains(self, groups: Mapping[Any, Group], ends: Ends) -> dict[Any, int]:
        """The share of each group in the gain of the process, by two snapshots."""
        if self.total is None:
            return {}
        gained = {
            key: group.resident[ends.last] - group.resident[ends.first]
            for key, group in groups.items()
        }
        whole = sum(one for one in gained.values() if one > 0) or 1
        return {key: round(self.total.gained * one / whole) for key, one in gained.items()}

    def by_ends(self, found: dict[Key, Suspect], total: Sustained, ends: Ends) -> None:
        """Adds groups that account for most of the gain, though none of them grew all the time."""
        for groups in (self.groups, self.kinds()):
            for key, gained in self.gains(groups, ends).items():
                if gained >= max(self.least, total.gained / 4):
                    grew = total._replace(gained=gained)
                    found[key] = self.suspect(key, groups[key], grew, "resident")
            if found:
                return

    def kinds(self) -> dict[Key, Group]:
        """The regions of each kind added up."""
        found: dict[Key, Group] = {}
        for key, group in self.groups.items():
            kind = key[0], f"{key[0]} regions", ""
            add(found.setdefault(kind, Group(len(self.chosen))), group)
        return found

    def by_kind(self, found: dict[Key, Suspect]) -> None:
        """Adds kinds that grow in size, though no name does: many files, each mapped once."""
        for key, group in self.kinds().items():
            grew = sustained(self.times, group.size, self.least)
            if grew is not None:
                found[key] = self.suspect(key, group, grew, "size")

    def suspect(self, key: Key, group: Group, grew: Sustained, figure: str) -> Suspect:
        """A suspect with its places."""
        numbers: Sequence[int] = range(len(self.chosen)) if figure == "size" else self.measured
        values = group.size if figure == "size" else group.resident
        growth = grown(
            [self.times[number] for number in numbers], [values[number] for number in numbers]
        )
        if growth is None:  # does not happen: there are two snapshots at different times
            growth = Growth(0.0, 0.0, 0, 0)
        # Places that still grew in the second half.
        ends = self.ends((grew.since + grew.until) / 2, figure)
        places, elsewhere = ((), 0) if ends is None else self.places(key, ends, figure)
        heap = self.heap(key, grew) if figure == "resident" else None
        return Suspect(
            key[1], key[0], growth, group.count, figure, grew.since, grew.whole, grew.gained,
            grew.rate, places, elsewhere, heap,
        )  # fmt: skip

    def heap(self, key: Key, grew: Sustained) -> HeapGrowth | None:
        """What the allocator gained in regions, by the first and the last summary of the heap."""
        times = times_of(self.figures)
        known = [
            (times[at] or 0.0, at)
            for at, one in enumerate(self.figures)
            if one.heap is not None and one.detail != "maps" and times[at] is not None
        ]
        early = [one for one in known if one[0] <= grew.since]
        if early:
            known = known[len(early) - 1 :]
        if len(known) < 2:
            return None
        (since, first), (until, last) = known[0], known[-1]
        before, after = self.figures[first].heap, self.figures[last].heap
        if before is None or after is None:  # does not happen: those are left out above
            return None
        gained = [
            sum(self.areas(self.snapshots[at], key, "resident").values()) for at in (first, last)
        ]
        return heap_growth(key[0], gained[1] - gained[0], before, after, since, until)

    def places(self, key: Key, ends: Ends, figure: str) -> tuple[tuple[SuspectPlace, ...], int]:
        """The places where regions gained most between two snapshots, and the bytes elsewhere."""
        before = self.areas(self.snapshots[self.chosen[ends.first]], key, figure)
        behind = self.areas(self.snapshots[self.chosen[ends.last]], key, figure)
        gains = []
        for (start, end), value in behind.items():
            had = sum(other for (low, high), other in before.items() if low < end and start < high)
            if value > had:
                gains.append(SuspectPlace(start, end, value - had, self.users(start, end)))
        gains.sort(key=lambda one: (-one.gained, one.start))
        total, named = sum(one.gained for one in gains), 0
        found = []
        for place in gains[:MOST_PLACES]:
            found.append(place)
            named += place.gained
            if named >= NAMED * total:
                break
        return tuple(found), total - named

    def with_kind(self, region: Any) -> Any:
        """The same region in a snapshot that has reliable kinds: the last, or the first."""
        return self._known(region)

    def users(self, start: int, end: int) -> tuple[tuple[int, str], ...]:
        """The threads whose malloc arena starts there, by the last snapshot that has threads."""
        for anchor in self.anchors:
            arenas = [one for one in anchor.threads or () if one.arena is not None]
            if arenas:
                return tuple(
                    (one.tid, one.name) for one in arenas if start <= (one.arena or 0) < end
                )
        return ()

    def key_of(self, region: Any) -> Key:
        """The key under which a region is counted."""
        known = self.with_kind(region)
        key = None if known is region else self._keys.get(id(known))
        if key is None:
            key = kind_word(known), NUMBERED.get(known.kind) or known.name, str(region.perms)
            if known is not region:
                self._keys[id(known)] = key
        return key

    def held(self, region: Any) -> int:
        """Memory and swap of a region; 0 for mapped files, whose pages do not leak."""
        if region.inode and self.with_kind(region).kind is not RegionKind.SHARED_MEMORY:
            return 0
        return (region.rss or 0) + (region.swap or 0)

    def areas(self, snapshot: Snapshot, key: Key, figure: str) -> dict[tuple[int, int], int]:
        """Bytes of the regions of a key, by address; each heap of an arena counts as one."""
        found: dict[tuple[int, int], int] = {}
        measured = snapshot.detail != "maps"
        for region in snapshot.regions:
            if not self.belongs(region, key):
                continue
            value = region.size if figure == "size" else self.held(region) if measured else 0
            start, end = region.start, region.end
            if self.with_kind(region).kind is RegionKind.ARENA:
                start -= start % ARENA
                end = max(end, *(high for (low, high) in found if low == start), start)
                value += sum(had for (low, _), had in found.items() if low == start)
                found = {edges: had for edges, had in found.items() if edges[0] != start}
            found[start, end] = value
        return found

    def belongs(self, region: Any, key: Key) -> bool:
        """Whether a region is counted under a key; a key without permissions is a whole kind."""
        found = self.key_of(region)
        return found == key if key[2] else found[0] == key[0]


class KnownRegions:
    """Finds regions in snapshots that have reliable kinds.

    In the other snapshots of a recording the kinds come from the text of maps alone.

    Args:
        anchors: those snapshots; the first one that has a region counts.
    """

    def __init__(self, anchors: Sequence[Snapshot]) -> None:
        self.anchors = anchors
        self._found: dict[Any, Any] = {}

    def __call__(self, region: Any) -> Any:
        """The same region in such a snapshot; if none has it, the region itself."""
        inode, perms = region.inode, region.perms
        place = region.start, region.end, inode, perms, region.dev if inode else None
        found = self._found.get(place)
        if found is None:
            found = self._found[place] = self.search(region, perms) or False
        return found or region

    def search(self, region: Any, perms: Any) -> Any:
        """The region of the first snapshot that has it; None: none has."""
        for anchor in self.anchors:
            for address in (region.start, region.end - 1):
                other = anchor.regions.find(address)
                if (
                    other is not None
                    and other.perms == perms
                    and (other.inode, other.dev) == (region.inode, region.dev)
                ):
                    return other
        return None


def add(to: Group, other: Group) -> None:
    to.size = [a + b for a, b in zip(to.size, other.size, strict=True)]
    to.resident = [a + b for a, b in zip(to.resident, other.resident, strict=True)]
    to.count += other.count
