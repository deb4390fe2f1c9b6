"""Which page frames a control group is charged for, and who maps them. Only root may see that."""

from __future__ import annotations

import os
from array import array
from functools import lru_cache
from typing import NamedTuple

from procmem.errors import ProcessError, ProcmemError, Unsupported
from procmem.native import ffi, lib
from procmem.pages.cache import cache_frames, cache_of
from procmem.pages.frames import FrameFlags, words_of
from procmem.pages.pagemap import LIMIT
from procmem.process import Process, processes
from procmem.process.held import files_below, held_files, open_regular
from procmem.process.pages import pagemap_of
from procmem.procfs import probes
from procmem.procfs.mapped import open_link
from procmem.regions.kinds import kind_word
from procmem.regions.region import PAGE_SIZE
from procmem.system.hierarchies import group_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from procmem.pages.pagemap import PageMap
    from procmem.regions import Region, RegionTable

__all__ = ["AnonCharge", "Charges", "FileCharge", "Outsider", "charges_of"]

CHUNK = 1 << 20
"""Frames that are read at once: 8 MiB of /proc/kpagecgroup."""

PAGE_FLAGS = (
    FrameFlags.LRU
    | FrameFlags.UPTODATE
    | FrameFlags.DIRTY
    | FrameFlags.WRITEBACK
    | FrameFlags.MMAP
    | FrameFlags.SWAPBACKED
    | FrameFlags.UNEVICTABLE
)
"""Flags of pages that belong to a file; other kernel memory has none of them."""

# A frame is tested with plain integers: `&` of FrameFlags takes fifty times as long.
TAIL = int(FrameFlags.COMPOUND_TAIL)
HEAD = int(PAGE_FLAGS | FrameFlags.ANON)
"""What the first frame of a huge page has of these, its tails have too, except on older kernels."""
UNWRITTEN = int(FrameFlags.DIRTY | FrameFlags.WRITEBACK)

ANON, SHMEM, FILE, PAGE_TABLES, OTHER = "anon", "shmem", "file", "page tables", "other"


class AnonCharge(NamedTuple):
    """Anonymous memory that a group is charged for. Sizes are bytes.

    Attributes:
        pid: the process that maps it; None: several of the group's processes do (fork).
        name: the process's command name; "several processes".
        use: what it is used for, or the kind of its regions, with "?" if that is a guess.
        size: of the pages, each counted once.
    """

    pid: int | None
    name: str
    use: str
    size: int


class FileCharge(NamedTuple):
    """Pages of a file, of shared memory or of tmpfs that a group is charged for, in bytes.

    Attributes:
        path: of the file, as its processes' maps or descriptors show it.
        shmem: it is shared memory or of tmpfs; None: not known.
        size: what the group is charged for; None: not known, page frames are shown to root alone.
        mapped: of it, mapped by a process of the group; None likewise.
        dirty: of it, changed and not written yet; 0 for shared memory. Where `size` is not
            known, of all that is cached.
        cached: what the page cache has of the file, whichever groups are charged for it.
            None: the file could not be opened, so only what is mapped is known.
    """

    path: str
    shmem: bool | None
    size: int | None
    mapped: int | None
    dirty: int | None
    cached: int | None


class Outsider(NamedTuple):
    """A process or a group that shares pages with the group, in bytes.

    Attributes:
        pid: a process that is not in the group; None: another group.
        name: the process's command name, or the group's directory.
        size: what it maps of this group's pages, or what this group's processes map of its.
    """

    pid: int | None
    name: str
    size: int


class Charges(NamedTuple):
    """The page frames that a group is charged for, by what they are and who maps them.

    Attributes:
        frames: bytes by what the frames are: "anon", "shmem", "file", "page tables" and "other"
            (kernel stacks, pipes and more). Slab is not among them: the kernel charges objects
            of it and not frames.
        anon: anonymous memory by process and use, largest first.
        anon_unmapped: anonymous memory that no process of the group maps: others do, or it is
            in the swap cache, or was freed meanwhile.
        files: by file, largest first: those that its processes have mapped or open, and those that
            were asked for.
        file_rest, shmem_rest: what is left of "file" and "shmem": files that were closed,
            System V segments that nobody maps, and the like.
        outside: processes outside of the group that map pages it is charged for.
        charged_elsewhere: groups that are charged for pages which its processes map.
        unread: PIDs of processes that could not be read.
    """

    frames: dict[str, int]
    anon: list[AnonCharge]
    anon_unmapped: int
    files: list[FileCharge]
    file_rest: int
    shmem_rest: int
    outside: list[Outsider]
    charged_elsewhere: list[Outsider]
    unread: list[int]


def charges_of(
    path: str, pids: Iterable[int], root: str = "/proc", files: Iterable[str] = ()
) -> Charges:
    """What a group, with all groups below it, is charged for, by page frames.

    Reads eight bytes for each page frame of the machine, the page maps of all processes, and
    which pages of the group's files are in the page cache.

    Args:
        path: the directory of the group.
        pids: its processes.
        root: the /proc to read.
        files: files and directories to look into besides, for files that nobody has open.

    Raises:
        Unsupported: the reader is not root, or the kernel has no /proc/kpagecgroup.
        OSError: one of `files` does not exist.

    Source: Documentation/admin-guide/mm/pagemap.rst.
    """
    if not probes.shows_page_frames():
        raise Unsupported(
            "kpagecgroup", "which group is charged for a page frame is shown to root alone"
        )
    inodes = inodes_of(path)
    try:
        charged = frames_charged(f"{root}/kpagecgroup", inodes)
        with open(f"{root}/kpageflags", "rb", buffering=0) as file:
            flags = words_of(file.fileno(), charged)
    except OSError as error:
        raise Unsupported("kpagecgroup", f"{error.filename or root}: {error.strerror}") from error
    whole = ChargedFrames(charged, flags)
    members = set(pids)
    unread = []
    for process in processes(root):
        with process:
            try:
                if process.pid in members:
                    whole.add_member(process)
                else:
                    whole.add_other(process)
            except ProcessError:
                if process.pid in members:
                    unread.append(process.pid)
            except (ProcmemError, OSError):
                unread.append(process.pid)
    whole.read_files(members, root)
    for name in files:
        whole.read_path(name)
    return whole.charges(inodes, path, root, unread)


def inodes_of(path: str) -> dict[int, str]:
    """The directories of a group and of those below, by inode."""
    found = {}
    for directory in group_paths(path):
        try:
            found[os.stat(directory).st_ino] = directory
        except OSError:
            continue
    return found


def frames_charged(name: str, inodes: Iterable[int]) -> array[int]:
    """The frames that some groups are charged for, ascending."""
    wanted = array("Q", sorted(inodes))
    groups = ffi.from_buffer("uint64_t[]", wanted)
    found = array("Q")
    room = array("Q", bytes(8 * CHUNK))
    out = ffi.from_buffer("uint64_t[]", room)
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        first = 0
        while data := os.pread(fd, 8 * CHUNK, 8 * first):
            words = ffi.from_buffer("uint64_t[]", data)
            got = lib.pm_frames_of_groups(words, len(words), first, groups, len(wanted), out)
            found.extend(room[:got])
            first += len(words)
    finally:
        os.close(fd)
    return found


@lru_cache(maxsize=1024)
def kind_of(flags: int) -> str:
    """What a charged frame is, by its flags (include/uapi/linux/kernel-page-flags.h)."""
    if flags & FrameFlags.ANON:
        return ANON
    if flags & FrameFlags.PGTABLE:
        return PAGE_TABLES
    if flags & PAGE_FLAGS:
        return SHMEM if flags & FrameFlags.SWAPBACKED else FILE
    return OTHER


class ChargedFrames:
    """Charged frames, sorted by what they are, while processes and files are added.

    Args:
        charged: the frames, ascending.
        flags: of each, from /proc/kpageflags.
    """

    def __init__(self, charged: array[int], flags: dict[int, int]) -> None:
        self.charged = charged
        self.kinds: dict[int, str] = {}
        self.dirty: set[int] = set()
        head = 0
        for frame in charged:
            word = flags.get(frame, 0)
            # Older kernels set nothing but this for the tail of a huge page.
            if word & TAIL and not word & HEAD:
                word = head
            else:
                head = word
            self.kinds[frame] = kind_of(word)
            if word & UNWRITTEN:
                self.dirty.add(frame)
        # For each frame that a member maps: the member (None: several), and what it is there.
        self.mapped: dict[int, tuple[int | None, object]] = {}
        self.names: dict[int, str] = {}
        self.others: list[Outsider] = []
        self.elsewhere: set[int] = set()
        self.files: dict[tuple[int, int], FileFrames] = {}

    def add_member(self, process: Process) -> None:
        """Adds a process of the group: what its regions map."""
        pid = process.pid
        table = process.maps()
        pages = pagemap_of(process.files, 0, LIMIT)
        self.names[pid] = name_of(process)
        for region, frames in by_region(table, pages):
            use: object = None
            for frame in frames:
                kind = self.kinds.get(frame)
                if kind is None:
                    self.elsewhere.add(frame)
                    continue
                key: object
                if kind == ANON:
                    use = use or use_of(region)
                    key = use
                elif region.inode:
                    key = (region.dev, region.inode, region.pathname or "")
                else:
                    continue  # the frame was given to another use meanwhile
                before = self.mapped.get(frame)
                several = before is not None and before[0] != pid
                self.mapped[frame] = (None if several else pid, key)

    def add_other(self, process: Process) -> None:
        """Adds a process outside of the group: which of the group's frames it maps."""
        if not self.charged:
            return
        pages = pagemap_of(process.files, 0, LIMIT)
        shared = {frame for _, frame in pages.frames(self.charged)}
        if shared:
            self.others.append(Outsider(process.pid, name_of(process), len(shared) * PAGE_SIZE))

    def read_files(self, members: Iterable[int], root: str) -> None:
        """Finds the frames of the files that the members have mapped or open."""
        for pid in sorted(members):
            try:
                with Process(pid, root=root) as process:
                    for held in held_files(process.files):
                        if held.key in self.files or held.link is None or held.status is None:
                            continue
                        fd = open_link(process.files, held.link, held.status)
                        if fd is None:
                            continue
                        try:
                            frames = cache_frames(fd, PAGE_SIZE)
                        except OSError:
                            continue  # huge pages, which no memory group is charged for
                        finally:
                            os.close(fd)
                        self.files[held.key] = FileFrames(held.path, frames)
            except ProcmemError:
                continue

    def read_path(self, path: str) -> None:
        """Finds the frames of a file, or of each file below a directory."""
        for name in files_below(path) if os.path.isdir(path) else [path]:
            try:
                fd = open_regular(name)
            except OSError:
                if name == path:
                    raise
                continue
            if fd is None:
                continue
            try:
                about = os.fstat(fd)
                key = (about.st_dev, about.st_ino)
                if key not in self.files and cache_of(fd, PAGE_SIZE).cached:
                    self.files[key] = FileFrames(name, cache_frames(fd, PAGE_SIZE))
            except OSError:
                continue
            finally:
                os.close(fd)

    def charges(self, inodes: dict[int, str], path: str, root: str, unread: list[int]) -> Charges:
        """All of it as a result."""
        totals = dict.fromkeys((ANON, SHMEM, FILE, PAGE_TABLES, OTHER), 0)
        for kind in self.kinds.values():
            totals[kind] += PAGE_SIZE
        anon: dict[tuple[int | None, str], int] = {}
        by_file: dict[object, set[int]] = {}
        for frame, (pid, key) in self.mapped.items():
            if self.kinds[frame] == ANON:
                anon[pid, str(key)] = anon.get((pid, str(key)), 0) + PAGE_SIZE
            else:
                by_file.setdefault(key, set()).add(frame)
        files, left = self.file_charges(by_file)
        rows = [
            AnonCharge(pid, self.names[pid] if pid is not None else "several processes", use, size)
            for (pid, use), size in anon.items()
        ]
        return Charges(
            frames=totals,
            anon=sorted(rows, key=lambda row: -row.size),
            anon_unmapped=totals[ANON] - sum(anon.values()),
            files=sorted(files, key=lambda file: (-(file.size or 0), file.path)),
            file_rest=left[FILE],
            shmem_rest=left[SHMEM],
            outside=sorted(self.others, key=lambda one: -one.size),
            charged_elsewhere=self.payers(path, inodes, root),
            unread=unread,
        )

    def file_charges(
        self, by_file: dict[object, set[int]]
    ) -> tuple[list[FileCharge], dict[str, int]]:
        """The charges of each file, and what of the page cache belongs to none of them."""
        left = {
            kind: {frame for frame, its in self.kinds.items() if its == kind}
            for kind in (FILE, SHMEM)
        }
        found = []
        sizes = {frame for frames in by_file.values() for frame in frames}
        for file in self.files.values():
            mine = [frame for frame in file.frames if self.kinds.get(frame) in (FILE, SHMEM)]
            if not mine:
                continue
            shmem = self.kinds[mine[0]] == SHMEM
            left[FILE].difference_update(mine)
            left[SHMEM].difference_update(mine)
            found.append(
                FileCharge(
                    file.path,
                    shmem,
                    len(mine) * PAGE_SIZE,
                    sum(frame in sizes for frame in mine) * PAGE_SIZE,
                    0 if shmem else sum(frame in self.dirty for frame in mine) * PAGE_SIZE,
                    len(file.frames) * PAGE_SIZE,
                )
            )
        for key, frames in by_file.items():
            for kind in (FILE, SHMEM):
                # Mapped, but its file could not be opened.
                mine_left = frames & left[kind]
                if mine_left and isinstance(key, tuple):
                    left[kind] -= mine_left
                    size = len(mine_left) * PAGE_SIZE
                    dirty = len(mine_left & self.dirty) * PAGE_SIZE if kind == FILE else 0
                    name = key[2] or "shared anonymous memory"
                    found.append(FileCharge(name, kind == SHMEM, size, size, dirty, None))
        return found, {kind: len(frames) * PAGE_SIZE for kind, frames in left.items()}

    def payers(self, path: str, inodes: dict[int, str], root: str) -> list[Outsider]:
        """The groups that are charged for pages which the members map."""
        with open(f"{root}/kpagecgroup", "rb", buffering=0) as file:
            words = words_of(file.fileno(), self.elsewhere)
        sums: dict[int, int] = {}
        for frame in self.elsewhere:
            inode = words.get(frame, 0)
            if inode not in inodes:
                sums[inode] = sums.get(inode, 0) + PAGE_SIZE
        names = inodes_of(top_of(path))
        rows = [
            Outsider(None, names.get(inode, "no group" if not inode else "another group"), size)
            for inode, size in sums.items()
        ]
        return sorted(rows, key=lambda row: -row.size)


class FileFrames(NamedTuple):
    """The frames of a file that are in the page cache."""

    path: str
    frames: array[int]


def by_region(table: RegionTable[Region], pages: PageMap) -> Iterator[tuple[Region, list[int]]]:
    """The frames of each region that has any."""
    for region in table:
        if region.end <= LIMIT:
            frames = [frame for _, frame in pages.within(region.start, region.end).frames()]
            if frames:
                yield region, frames


def use_of(region: Region) -> str:
    """What a region is used for, else its kind; with "?" if that is a guess."""
    if region.use is not None:
        return region.use.name + ("?" if region.use.guess else "")
    return kind_word(region)


def name_of(process: Process) -> str:
    """The command name of a process; "?": it has ended."""
    try:
        return os.fsdecode(process.files.read("comm").removesuffix(b"\n"))
    except (ProcmemError, OSError):
        return "?"


def top_of(path: str) -> str:
    """The mount point of the hierarchy that a group is in."""
    while os.path.exists(f"{os.path.dirname(path)}/cgroup.procs"):
        path = os.path.dirname(path)
    return path
