"""A process and its descendants: what they still share since fork(2), and what they copied."""

from __future__ import annotations

from typing import NamedTuple

from procmem.errors import AccessDenied, ProcessError
from procmem.pages.pagemap import LIMIT, PageMap
from procmem.pages.sharing import Kin, compare_with_parent
from procmem.process.naming import called
from procmem.process.pages import pagemap_of
from procmem.process.reading import read_maps
from procmem.procfs import ProcessFiles, parse_stat, pids
from procmem.procfs.sweep import sweep
from procmem.regions.region import PAGE_SIZE

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from procmem.regions import Region, RegionTable

__all__ = ["PART_TONES", "Family", "FamilyMember", "FamilyRegion", "family_of"]


class FamilyRegion(NamedTuple):
    """A region of a member, with its bytes in memory by what became of them since the fork.

    Attributes:
        region: the region.
        inherited: whether the parent maps the same there, at least in part.
        shared: anonymous, and the parent maps the same pages. Of the first member: what another
            process maps too.
        copied: anonymous, and the parent has other pages there: one of the two has written to
            them since the fork. Which of the two can't be said. Of the first member: 0.
        own: anonymous, and the parent has no pages there. Of the first member: what it alone
            maps, which it may have copied.
        file: pages of files and of shared memory.
        swapped: in swap.
    """

    region: Region
    inherited: bool
    shared: int
    copied: int
    own: int
    file: int
    swapped: int


SIZES = ("shared", "copied", "own", "file", "swapped")

PART_TONES = {"shared": "shared memory", "copied": "objects", "own": "anon", "file": "file"}
"""The tone of each part of what is in memory."""


class FamilyMember:
    """A process of a family. Sizes are bytes.

    Attributes:
        pid, ppid: its ID and its parent's.
        name: what it is called.
        depth: 0 for the first member, 1 for its children, and so on.
        executed: it has called execve(2) since the fork, which leaves nothing of its parent's.
        regions: its regions that have pages.
        frees: bytes of anonymous memory that only it maps, which ending it would free.
    """

    def __init__(
        self,
        pid: int,
        ppid: int,
        name: str,
        depth: int,
        *,
        executed: bool,
        regions: list[FamilyRegion],
        frees: int,
    ) -> None:
        self.pid = pid
        self.ppid = ppid
        self.name = name
        self.depth = depth
        self.executed = executed
        self.regions = regions
        self.frees = frees

    def __repr__(self) -> str:
        return f"<FamilyMember {self.pid}: {self.name}>"

    @property
    def shared(self) -> int:
        """Anonymous memory that it shares with its parent since the fork."""
        return sum(part.shared for part in self.regions)

    @property
    def copied(self) -> int:
        """Anonymous memory that it or its parent has copied since the fork."""
        return sum(part.copied for part in self.regions)

    @property
    def own(self) -> int:
        """Anonymous memory where its parent has none."""
        return sum(part.own for part in self.regions)

    @property
    def file(self) -> int:
        """Pages of files and of shared memory."""
        return sum(part.file for part in self.regions)

    @property
    def swapped(self) -> int:
        """What is in swap."""
        return sum(part.swapped for part in self.regions)

    @property
    def rss(self) -> int:
        """All that is in memory."""
        return self.shared + self.copied + self.own + self.file

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "pid": self.pid,
            "ppid": self.ppid,
            "name": self.name,
            "depth": self.depth,
            "executed": self.executed,
            **{name: getattr(self, name) for name in ("rss", *SIZES, "frees")},
            "regions": [
                {**part._asdict(), "region": part.region.to_record()} for part in self.regions
            ],
        }


class Family:
    """A process and its descendants.

    Attributes:
        members: the process, each child followed by its own children.
        unread: why members that could not be read were left out, by PID, with their children.
        gone: members that have ended, or changed their program during the reading.
        exact: pages were compared by their frames (CAP_SYS_ADMIN). False: anonymous pages that
            parent and child both map more than once count as shared, which is wrong where each
            shares them with others. Before Linux 6.7 pages that were only read are counted, too:
            the page of zeros looks like any other.
    """

    def __init__(
        self, members: list[FamilyMember], unread: dict[int, str], gone: int, *, exact: bool
    ) -> None:
        self.members = members
        self.unread = unread
        self.gone = gone
        self.exact = exact

    def __repr__(self) -> str:
        return f"<Family of {self.members[0].pid}: {len(self.members)} members>"

    @property
    def forked(self) -> list[FamilyMember]:
        """The members that run the program that they were forked with."""
        return [member for member in self.members[1:] if not member.executed]

    def svg(self, title: str = "") -> str:
        """The family as an SVG picture: a bar for each process, by what became of its memory.

        Args:
            title: the picture's title; empty: it names the first process.
        """
        from procmem.process.pictures import family_svg

        return family_svg(self, title, PART_TONES)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "pid": self.members[0].pid,
            "exact": self.exact,
            "members": [member.to_dict() for member in self.members],
            "unread": {str(pid): why for pid, why in self.unread.items()},
            "gone": self.gone,
        }


class ReadMember(NamedTuple):
    """What is kept of a member while its children are read.

    Attributes:
        program: the addresses of its program and its stack, which fork(2) keeps and execve(2)
            changes.
    """

    pages: PageMap
    regions: RegionTable[Region]
    program: tuple[int, int, int]


NOTHING = PageMap.from_bytes(b"")


def family_of(files: ProcessFiles) -> Family:
    """A process and its descendants; see Process.family()."""
    children = children_by_parent(files.root)
    members: list[FamilyMember] = []
    unread: dict[int, str] = {}
    gone = 0
    exact = True
    waiting: list[tuple[int, int, int, ReadMember | None]] = [(files.pid, 0, 0, None)]
    while waiting:
        pid, ppid, depth, parent = waiting.pop()
        try:
            theirs = files if parent is None else ProcessFiles(pid, files.root)
            member, read = read_member(theirs, ppid, depth, parent)
            if theirs is not files:
                theirs.close()
        except ProcessError as error:
            if parent is None:
                raise
            if isinstance(error, AccessDenied):
                unread[pid] = str(error)
            else:
                gone += 1
            continue
        members.append(member)
        exact = exact and read.pages.pfn is not None
        waiting += [
            (child, pid, depth + 1, read) for child in sorted(children.get(pid, ()), reverse=True)
        ]
    return Family(members, unread, gone, exact=exact)


def children_by_parent(root: str) -> dict[int, list[int]]:
    """The children of each process."""
    found: dict[int, list[int]] = {}
    for pid in pids(root):
        swept = sweep(pid, root, None)
        if swept is not None:
            found.setdefault(parse_stat(swept.stat).ppid, []).append(pid)
    return found


def read_member(
    files: ProcessFiles, ppid: int, depth: int, parent: ReadMember | None
) -> tuple[FamilyMember, ReadMember]:
    """Reads one member and compares it with its parent."""
    stat = files.stat()
    regions = read_maps(files)
    pages = pagemap_of(files, 0, LIMIT)
    program = (stat.startcode, stat.endcode, stat.startstack)
    executed = parent is not None and program != parent.program
    inherits = None if executed else parent
    parts = [compared(region, pages, inherits) for region in regions if region.end <= LIMIT]
    if parent is None:
        parts = [alone(region, pages) for region in regions if region.end <= LIMIT]
    member = FamilyMember(
        files.pid,
        ppid or stat.ppid,
        called(files),
        depth,
        executed=executed,
        regions=[part for part in parts if any(getattr(part, size) for size in SIZES)],
        frees=pages.counts().anonymous * PAGE_SIZE,
    )
    return member, ReadMember(pages, regions, program)


def alone(region: Region, pages: PageMap) -> FamilyRegion:
    """A region of the first member, whose parent is not asked."""
    counts = pages.within(region.start, region.end).counts()
    sizes = (
        counts.anonymous_shared,
        0,
        counts.anonymous,
        counts.file + counts.file_shared,
        counts.swapped,
    )
    return FamilyRegion(region, False, *(pages * PAGE_SIZE for pages in sizes))


def compared(region: Region, pages: PageMap, parent: ReadMember | None) -> FamilyRegion:
    """A region of a member beside what its parent has there."""
    found = Kin(0, 0, 0, 0, 0)
    inherited = False
    for start, end, is_inherited in pieces(region, parent):
        theirs = parent.pages if parent is not None and is_inherited else NOTHING
        kin = compare_with_parent(pages.within(start, end), theirs)
        found = Kin._make(map(sum, zip(found, kin, strict=True)))
        inherited = inherited or is_inherited
    return FamilyRegion(region, inherited, *(count * PAGE_SIZE for count in found))


def pieces(region: Region, parent: ReadMember | None) -> Iterator[tuple[int, int, bool]]:
    """The parts of a region, and whether the parent maps the same there."""
    at = region.start
    if parent is not None:
        for theirs in parent.regions.filter(start=region.start, end=region.end):
            if is_same(theirs, region):
                start, end = max(at, theirs.start), min(region.end, theirs.end)
                if at < start:
                    yield at, start, False
                yield start, end, True
                at = end
    if at < region.end:
        yield at, region.end, False


def is_same(one: Region, other: Region) -> bool:
    """Whether two regions map the same: anonymous memory, or the same part of a file."""
    if (one.dev, one.inode) != (other.dev, other.inode):
        return False
    return not one.inode or one.offset - one.start == other.offset - other.start
