"""Shared memory: every segment once, with who maps it, who holds it open, what is left over."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, overload

from procmem.arrow import Columnar, SequenceOf
from procmem.ipc.ends import device_text, name_of
from procmem.native import ffi, lib
from procmem.pages.pagemap import read_pagemap
from procmem.procfs.descriptors import FILES, read_descriptors
from procmem.procfs.files import ProcessFiles, system_file
from procmem.procfs.files import pids as all_pids
from procmem.procfs.mapped import open_link, stat_link

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from procmem.arrow import Makers
    from procmem.columns import ArrowColumn
    from procmem.procfs.descriptors import Descriptor

__all__ = [
    "Segment",
    "SegmentDescriptor",
    "SegmentMapper",
    "Segments",
    "SystemVSegment",
    "parse_shared_maps",
    "parse_sysvipc",
    "segments",
]

PAGE_SIZE = os.sysconf("SC_PAGESIZE")
BLOCK = 512
"""The unit of st_blocks (stat(2))."""

Sizes = tuple["int | None", "int | None", "int | None"]
"""Size, resident and swapped bytes; None: not known."""

LINE = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) .(.).(?:(s)|p) [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) "
    rb"([1-9]\d*|0(?= +/SYSV)) +"
    rb"((?(4)[^\n]*|(?:/dev/shm/|/memfd:|/SYSV|/dev/zero )[^\n]*))$",
    re.MULTILINE,
)
"""A line of maps that maps shared memory, MAP_SHARED or privately.

The inode number of a System V segment is its ID, which is 0 for the first of an IPC namespace.
"""


class SegmentMapper(NamedTuple):
    """A process that maps a segment.

    Attributes:
        pid: the process.
        name: its command name (comm).
        size: bytes of its address space that map it.
        writable: whether it may write to it.
        resident: bytes of the segment that its page table maps, each page as often as it does;
            None: not asked for (segments(pages=True)), or this user may not see it.
    """

    pid: int
    name: str
    size: int
    writable: bool
    resident: int | None = None


class SegmentDescriptor(NamedTuple):
    """A descriptor of a segment.

    Attributes:
        pid: the process that holds it.
        fd: its number.
        name: the process's command name (comm).
    """

    pid: int
    fd: int
    name: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of memory that processes share, or can share.

    Attributes:
        kind: "System V", "POSIX" (below /dev/shm), "memfd", "anonymous" (MAP_SHARED without a
            file), "file" (a file that is mapped MAP_SHARED), "DRM" (memory of a graphics card).
        huge: whether it consists of huge pages of hugetlbfs; None: not known.
        name: its path, the name of a memfd, "SYSV 0x2a"; "" for anonymous memory.
        key: of a System V segment; None for others, 0: IPC_PRIVATE.
        id: of a System V segment (shmid); None for others.
        dev: the device, major << 32 | minor; 0 for System V segments of this IPC namespace.
        inode: its number.
        size: in bytes; None: this user may not see it.
        resident: bytes of it that are in memory; None: likewise.
        swapped: bytes of it that are in swap; None: likewise.
        mappers: the processes that map it.
        descriptors: the descriptors that lead to it.
        attached: how often a System V segment is attached (nattch), by processes that could not
            be read, too; None for others.
        creator: PID of the process that created a System V segment; None: not known.
        creator_ended: whether that process has ended; None: not known.
        owner: user ID of its owner; None: not known.
        orphan: whether it has a name or a key and no process maps or holds it; None: processes
            that could not be read may do so.
    """

    kind: str
    huge: bool | None
    name: str
    key: int | None
    id: int | None
    dev: int
    inode: int
    size: int | None
    resident: int | None
    swapped: int | None
    mappers: tuple[SegmentMapper, ...]
    descriptors: tuple[SegmentDescriptor, ...]
    attached: int | None
    creator: int | None
    creator_ended: bool | None
    owner: int | None
    orphan: bool | None

    @property
    def leaked(self) -> bool:
        """Whether it was left behind: an orphan whose creator is not known to run."""
        return bool(self.orphan) and self.creator_ended is not False

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        found = {name: getattr(self, name) for name in self.__slots__}
        found["mappers"] = [mapper._asdict() for mapper in self.mappers]
        found["descriptors"] = [one._asdict() for one in self.descriptors]
        found["leaked"] = self.leaked
        return found


class Segments(Columnar, SequenceOf[Segment]):
    """Segments, the largest first, and what could not be seen.

    Attributes:
        listed: the segments.
        processes: how many processes were read.
        denied: PIDs of the processes that this user may not read: they may map further segments.
        gone: how many processes ended meanwhile.
    """

    __slots__ = ("denied", "gone", "listed", "processes")

    def __init__(self, listed: Sequence[Segment], processes: int, denied: list[int], gone: int):
        self.listed = listed
        self.processes = processes
        self.denied = denied
        self.gone = gone

    @overload
    def __getitem__(self, index: int) -> Segment: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Segment]: ...

    def __getitem__(self, index: int | slice) -> Segment | Sequence[Segment]:
        return self.listed[index]

    def __len__(self) -> int:
        return len(self.listed)

    def __repr__(self) -> str:
        denied = f", {len(self.denied)} processes denied" if self.denied else ""
        return f"<Segments: {len(self.listed)}{denied}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: each segment with its size and who maps it."""
        from procmem.picture.markup import MOST_ROWS, block, kib, table

        rows = [
            [
                segment.kind,
                segment.name,
                kib(segment.size),
                kib(segment.resident),
                kib(segment.swapped),
                ", ".join(dict.fromkeys(f"{one.pid} ({one.name})" for one in segment.mappers)),
            ]
            for segment in self.listed[:MOST_ROWS]
        ]
        heading = ["Kind", "Name", "Size, KiB", "In RSS, KiB", "Swap, KiB", "Mapped by"]
        left = len(self.listed) - len(rows)
        return block(
            f"Shared memory: {len(self.listed):,} segments",
            table(heading, rows, "<<>>><"),
            f"Not shown: {left:,} more." if left else "",
            f"{len(self.denied):,} processes could not be read." if self.denied else "",
        )

    def of(self, pid: int) -> Segments:
        """Those that a process maps or holds open."""
        chosen = [
            segment
            for segment in self.listed
            if pid in [one.pid for one in segment.mappers]
            or pid in [one.pid for one in segment.descriptors]
        ]
        return Segments(chosen, self.processes, self.denied, self.gone)

    def arrow_makers(self) -> Makers:
        """What makes each column for data frames, a row for each segment.

        mappers and descriptors are how many there are.
        """
        from procmem.columns import booleans, categories, numbers, sourced, texts

        listed = self.listed

        def values(name: str, unit: str | None = None) -> ArrowColumn:
            return numbers(name, [getattr(one, name) for one in listed]).described(unit)

        def counts(name: str) -> ArrowColumn:
            return numbers(name, [len(getattr(one, name)) for one in listed])

        def truths(name: str) -> ArrowColumn:
            return booleans(name, [getattr(one, name) for one in listed])

        sizes = "size", "resident", "swapped"
        makers: Makers = {
            "kind": lambda: categories("kind", [one.kind for one in listed]),
            "huge": partial(truths, "huge"),
            "name": lambda: texts("name", [one.name for one in listed]),
            "key": partial(values, "key"),
            "id": partial(values, "id"),
            "dev": lambda: categories("dev", [device_text(one.dev) for one in listed]),
            "inode": partial(values, "inode"),
            **{name: partial(values, name, "bytes") for name in sizes},
            **{name: partial(counts, name) for name in ("mappers", "descriptors")},
            **{name: partial(values, name) for name in ("attached", "creator", "owner")},
            **{name: partial(truths, name) for name in ("creator_ended", "orphan", "leaked")},
        }
        return sourced(makers, SOURCES)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "segments": [segment.to_dict() for segment in self.listed],
            "processes": self.processes,
            "denied": self.denied,
            "gone": self.gone,
        }


SOURCES = {
    **dict.fromkeys(("kind", "name", "dev", "inode"), "maps, fd; of System V sysvipc/shm"),
    "huge": "ioctl(2): PROCMAP_QUERY, or the file system",
    **dict.fromkeys(("key", "id", "attached", "creator"), "sysvipc/shm"),
    **dict.fromkeys(("size", "owner"), "stat(2); of System V sysvipc/shm"),
    "resident": "cachestat(2), else stat(2): st_blocks; of System V sysvipc/shm",
    "swapped": "stat(2): st_blocks, less what is resident; of System V sysvipc/shm",
    "mappers": "maps",
    "descriptors": "fd",
    "creator_ended": "sysvipc/shm, /proc",
    **dict.fromkeys(("orphan", "leaked"), "concluded from all of it"),
}
"""Where each column is read; files are those of /proc and of /proc/PID."""


# ---- texts ----


class SystemVSegment(NamedTuple):
    """A line of /proc/sysvipc/shm (proc_sysvipc(5)), sizes in bytes."""

    key: int
    id: int
    mode: int
    size: int
    creator: int
    attached: int
    owner: int
    created: int
    resident: int | None
    swapped: int | None


def parse_sysvipc(data: bytes) -> list[SystemVSegment]:
    """The segments in a text of /proc/sysvipc/shm; columns are found by their headings."""
    lines = data.decode("ascii", "replace").splitlines()
    heading = lines[0].split() if lines else []
    found = []
    for line in lines[1:]:
        row = dict(zip(heading, line.split(), strict=False))
        try:
            found.append(
                SystemVSegment(
                    int(row["key"]) & 0xFFFFFFFF,
                    int(row["shmid"]),
                    int(row["perms"], 8),
                    int(row["size"]),
                    int(row["cpid"]),
                    int(row["nattch"]),
                    int(row["uid"]),
                    int(row["ctime"]),
                    int(row["rss"]) if "rss" in row else None,
                    int(row["swap"]) if "swap" in row else None,
                )
            )
        except (KeyError, ValueError):
            continue
    return found


class SharedMapping(NamedTuple):
    """A line of maps that maps shared memory."""

    start: int
    end: int
    writable: bool
    dev: int
    inode: int
    name: bytes


def parse_shared_maps(maps: bytes) -> Iterator[SharedMapping]:
    r"""The shared memory in a text of /proc/PID/maps.

    >>> text = b"7f00-8f00 rw-s 00000000 00:01 99    /dev/shm/a (deleted)\n"
    >>> [(one.inode, one.name) for one in parse_shared_maps(text)]
    [(99, b'/dev/shm/a (deleted)')]
    """
    for found in LINE.finditer(maps):
        start, end, write, _, major, minor, inode, name = found.groups()
        yield SharedMapping(
            int(start, 16),
            int(end, 16),
            write == b"w",
            int(major, 16) << 32 | int(minor, 16),
            int(inode),
            name,
        )


def kind_of(name: bytes) -> str:
    """The kind of a segment by the name that the kernel prints."""
    if name.startswith(b"/SYSV"):
        return "System V"
    if name.startswith(b"/dev/shm/"):
        return "POSIX"
    if name.startswith(b"/memfd:"):
        return "memfd"
    if name.startswith((b"/dev/zero", b"/anon_hugepage")):
        return "anonymous"
    if name.startswith((b"/dev/dri/", b"/drm mm object", b"/i915", b"/dmabuf", b"anon_inode:i915")):
        return "DRM"
    return "file"


def shown_name(kind: str, name: bytes) -> str:
    """The name of a segment, as its users know it."""
    text = os.fsdecode(name)
    if kind == "anonymous":
        return ""
    if kind == "memfd":
        return text.removeprefix("/memfd:").removesuffix(" (deleted)")
    if kind == "System V":
        key = text[len("/SYSV") :].split(" ")[0]
        return f"SYSV 0x{key.lstrip('0') or '0'}"
    return text


# ---- what is there ----


@dataclass(slots=True)
class Draft:
    """A segment while its users are collected."""

    kind: str
    name: bytes
    dev: int
    inode: int
    stat: os.stat_result | Descriptor | None = None
    link: tuple[ProcessFiles, str] | None = None
    huge: bool | None = None
    namespace: int = 0
    mappers: dict[int, list[int]] = field(default_factory=dict)
    mapped: dict[int, int | None] = field(default_factory=dict)
    descriptors: list[SegmentDescriptor] = field(default_factory=list)


def segments(*, root: str | os.PathLike[str] = "/proc", pages: bool = False) -> Segments:
    """All shared memory of the machine: who maps it, who holds it open, what nobody uses.

    A segment is one piece of memory, whichever processes map it: System V and POSIX shared memory,
    memfds, memory that is shared between parent and child, files that are mapped MAP_SHARED, and
    memory of graphics cards. It also lives by descriptors alone, or by its name or key alone.

    Args:
        root: a live /proc.
        pages: read the page maps of the mappers, too, for how much of a segment each has in its
            page table (`resident` of SegmentMapper). That takes time for each page.

    Raises:
        Unsupported: root is no live /proc.

    Source: shm_overview(7), sysvipc(7), memfd_create(2), proc_pid_maps(5), proc_sysvipc(5).

    >>> import mmap, procmem
    >>> memory = mmap.mmap(-1, 8192)
    >>> memory[:1] = b"x"
    >>> mine = [one for one in procmem.segments() if one.kind == "anonymous"
    ...         and any(mapper.pid == procmem.Process().pid for mapper in one.mappers)]
    >>> 8192 in [one.size for one in mine] or mine[0].size is None
    True
    """
    found = read_descriptors(all_pids(root), FILES, root)
    drafts: dict[tuple[str, int, int], Draft] = {}
    denied = set(found.denied)
    gone = found.gone
    names: dict[int, str] = {}

    def name(pid: int) -> str:
        if pid not in names:
            names[pid] = name_of(pid, root)
        return names[pid]

    from procmem.errors import AccessDenied, ProcmemError

    for pid in all_pids(root):
        try:
            files = ProcessFiles(pid, root)
            text = files.read("maps")
        except AccessDenied:  # no kernel threads: those raise KernelThread
            denied.add(pid)
            continue
        except (ProcmemError, OSError):
            continue
        for mapping in parse_shared_maps(text):
            mapped = add_mapping(drafts, files, mapping)
            if pages:
                add_pages(mapped, files, mapping)
    for one in found.listed:
        kind = kind_of(one.name)
        key = key_of(kind, one.dev, one.inode)
        draft = drafts.get(key)
        if draft is None and kind in ("POSIX", "memfd", "System V", "DRM", "anonymous"):
            if kind == "anonymous" and one.name == b"/dev/zero":
                continue  # the device
            draft = drafts[key] = Draft(kind, one.name, one.dev, one.inode)
        if draft is not None:
            draft.descriptors.append(SegmentDescriptor(one.pid, one.fd, name(one.pid)))
            draft.stat = draft.stat or one
    add_names(drafts)
    by_id = system_v(drafts, root)
    swapping = swap_in_use()
    made = [
        finished(draft, by_id.get(draft.inode), denied, name, swapping, root)
        for draft in drafts.values()
    ]
    made.sort(key=lambda segment: (-(segment.resident or 0), -(segment.size or 0), segment.name))
    return Segments(made, found.processes, sorted(denied), gone)


def key_of(kind: str, dev: int, inode: int, namespace: int = 0) -> tuple[str, int, int]:
    """What identifies a segment.

    System V segments have IDs in place of inode numbers, which begin anew in each IPC namespace.
    """
    return ("System V", namespace, inode) if kind == "System V" else ("", dev, inode)


def other_namespace(pid: int, root: str | os.PathLike[str]) -> int:
    """The number of a process's IPC namespace; 0: it is that of this process (namespaces(7))."""
    try:
        theirs = os.stat(f"{os.fspath(root)}/{pid}/ns/ipc").st_ino
        return 0 if theirs == os.stat("/proc/self/ns/ipc").st_ino else theirs
    except OSError:
        return 0


def add_mapping(
    drafts: dict[tuple[str, int, int], Draft], files: ProcessFiles, mapping: SharedMapping
) -> Draft:
    """Adds one line of maps."""
    kind = kind_of(mapping.name)
    space = other_namespace(files.pid, files.root) if kind == "System V" else 0
    key = key_of(kind, mapping.dev, mapping.inode, space)
    draft = drafts.get(key)
    if draft is None:
        draft = Draft(kind, mapping.name, mapping.dev, mapping.inode, namespace=space)
        drafts[key] = draft
    if draft.stat is None:
        link = f"map_files/{mapping.start:x}-{mapping.end:x}"
        draft.stat = stat_link(files, link, follow=True)
        if draft.stat is not None:
            draft.link = (files, link)
    if draft.huge is None:
        draft.huge = is_huge(files, mapping.start)
    mine = draft.mappers.setdefault(files.pid, [0, 0])
    mine[0] += mapping.end - mapping.start
    mine[1] |= mapping.writable
    return draft


def add_pages(draft: Draft, files: ProcessFiles, mapping: SharedMapping) -> None:
    """Adds the pages of one mapping that the page table has.

    Pages of a private mapping that were written to are the process's own, and not the segment's.
    """
    from procmem.errors import ProcmemError

    known = draft.mapped.get(files.pid, 0)
    found = None
    # The page map does not say of what a device maps that it belongs to a file.
    if known is not None and draft.kind != "DRM":
        try:
            with files.memory("pagemap", beside_maps=True) as pagemap:
                counts = read_pagemap(pagemap.fd, mapping.start, mapping.end, PAGE_SIZE).counts()
                pagemap.check()
            found = known + (counts.file + counts.file_shared) * PAGE_SIZE
        except (ProcmemError, OSError):
            pass
    draft.mapped[files.pid] = found


def is_huge(files: ProcessFiles, address: int) -> bool | None:
    """Whether a mapping has pages of hugetlbfs: PROCMAP_QUERY shows the page size."""
    from procmem.errors import ProcmemError

    vma = ffi.new("pm_vma *")
    try:
        with files.memory("maps") as maps:
            if lib.pm_query_vma(maps.fd, address, 0, ffi.NULL, vma):
                return None
    except (ProcmemError, OSError):
        return None
    return bool(vma.page_size > PAGE_SIZE)


def add_names(drafts: dict[tuple[str, int, int], Draft]) -> None:
    """Adds the files of /dev/shm that nobody uses."""
    for path, _, files in os.walk("/dev/shm"):  # noqa: S108 - shm_open(3) puts them there
        for file in files:
            try:
                found = os.stat(f"{path}/{file}", follow_symlinks=False)
            except OSError:
                continue
            if not stat.S_ISREG(found.st_mode):
                continue
            dev = os.major(found.st_dev) << 32 | os.minor(found.st_dev)
            key = key_of("POSIX", dev, found.st_ino)
            if key not in drafts:
                name = os.fsencode(f"{path}/{file}")
                drafts[key] = Draft("POSIX", name, dev, found.st_ino)
            drafts[key].stat = found


def system_v(
    drafts: dict[tuple[str, int, int], Draft], root: str | os.PathLike[str]
) -> dict[int, SystemVSegment]:
    """Adds the System V segments that nobody maps; all that the kernel lists, by ID."""
    by_id = {one.id: one for one in parse_sysvipc(system_file("sysvipc/shm", root) or b"")}
    for one in by_id.values():
        key = key_of("System V", 0, one.id)
        if key not in drafts:
            drafts[key] = Draft("System V", b"/SYSV%08x (deleted)" % one.key, 0, one.id)
    return by_id


def swap_in_use() -> bool:
    """Whether anything is in swap on this machine."""
    found = re.findall(rb"^Swap(?:Total|Free): +(\d+)", system_file("meminfo") or b"", re.MULTILINE)
    return len(found) != 2 or found[0] != found[1]


def finished(
    draft: Draft,
    listed: SystemVSegment | None,
    denied: set[int],
    name: Callable[[int], str],
    swapping: bool,
    root: str | os.PathLike[str],
) -> Segment:
    """The segment of a draft."""
    of_system_v = draft.kind == "System V"
    listed = listed if of_system_v and not draft.namespace else None
    if listed is not None:
        sizes: Sizes = (listed.size, resident_of(listed, draft), listed.swapped)
        owner: int | None = listed.owner
    else:
        sizes = sizes_of(draft, swapping)
        owner = owner_of(draft.stat)
    held = bool(draft.mappers or draft.descriptors)
    named = draft.kind in ("POSIX", "System V") and (of_system_v or links_of(draft.stat) != 0)
    orphan: bool | None = False
    name_shown = shown_name(draft.kind, draft.name)
    if draft.namespace:
        name_shown += " in another IPC namespace"
    if listed is not None:
        orphan = listed.attached == 0
    elif named and not held:
        orphan = is_unused(draft)
        if orphan is None and not denied:
            orphan = True
    creator = listed.creator if listed else None
    return Segment(
        draft.kind,
        draft.huge,
        name_shown,
        listed.key if listed else None,
        draft.inode if of_system_v else None,
        0 if listed else draft.dev,
        draft.inode,
        *sizes,
        tuple(
            SegmentMapper(pid, name(pid), mine[0], bool(mine[1]), draft.mapped.get(pid))
            for pid, mine in sorted(draft.mappers.items())
        ),
        tuple(draft.descriptors),
        listed.attached if listed else None,
        creator,
        has_ended(creator, listed.created, root) if listed and creator else None,
        owner,
        orphan,
    )


def is_unused(draft: Draft) -> bool | None:
    """Whether nobody has a file open or mapped, also no process that can't be read; None: unknown.

    The kernel grants a write lease only on a file that nobody else has open; a mapping counts. It
    is given back at once. Should somebody open the file meanwhile, that waits for these
    microseconds, and the kernel sends the signal that is set here, which is ignored by default.
    """
    if not isinstance(draft.stat, os.stat_result):
        return None
    try:
        fd = os.open(draft.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != (draft.stat.st_dev, draft.stat.st_ino):
            return None
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
    return True


def links_of(found: os.stat_result | Descriptor | None) -> int | None:
    """How many names a file has; None: not known."""
    if found is None:
        return None
    return found.st_nlink if isinstance(found, os.stat_result) else found.links


def resident_of(listed: SystemVSegment, draft: Draft) -> int | None:
    """The bytes of a System V segment that are in memory; None: not known.

    Of huge pages the kernel counts each of their small pages as a huge one (shm_add_rss_swap() in
    ipc/shm.c, seen in Linux 6.18), so the file itself is asked, where somebody maps it.
    """
    if draft.huge and isinstance(draft.stat, os.stat_result):
        return draft.stat.st_blocks * BLOCK
    whole = -(-listed.size // PAGE_SIZE) * PAGE_SIZE
    wrong = draft.huge or (listed.resident or 0) > whole
    return None if wrong else listed.resident


def owner_of(found: os.stat_result | Descriptor | None) -> int | None:
    """The user ID of a file's owner; None: not known."""
    if found is None:
        return None
    return found.st_uid if isinstance(found, os.stat_result) else found.owner


def sizes_of(draft: Draft, swapping: bool) -> Sizes:
    """Size, resident and swapped bytes of a segment that is a file, mostly of tmpfs."""
    found = draft.stat
    if found is None:
        return None, None, None
    if isinstance(found, os.stat_result):
        size, held, mode = found.st_size, found.st_blocks * BLOCK, found.st_mode
    else:
        size, held, mode = found.size, found.blocks * BLOCK, found.mode
    if not stat.S_ISREG(mode):
        return None, None, None
    if draft.kind == "file":
        return size, cached(draft), 0
    if draft.huge or not swapping:
        return size, held, 0
    resident = cached(draft)
    # tmpfs counts its pages whether they are in memory or in swap.
    return size, resident, None if resident is None else max(held - resident, 0)


def cached(draft: Draft) -> int | None:
    """Bytes of a segment's file that are in the page cache (cachestat(2)); None: not known."""
    if draft.link is None or not isinstance(draft.stat, os.stat_result):
        return None
    from procmem.errors import ProcmemError

    try:
        fd = open_link(*draft.link, draft.stat)
    except ProcmemError:
        return None
    if fd is None:
        return None
    try:
        room = ffi.new("pm_cached *")
        if lib.pm_cachestat(fd, 0, 0, room):
            return None
        return int(room.cached) * PAGE_SIZE
    finally:
        os.close(fd)


def has_ended(pid: int, created: int, root: str | os.PathLike[str]) -> bool:
    """Whether the process that created a segment has ended: its PID may be another's by now."""
    from procmem.errors import ProcmemError

    try:
        began = ProcessFiles(pid, root).stat().starttime
    except (ProcmemError, OSError):
        return True
    boot = re.search(rb"^btime (\d+)", system_file("stat", root) or b"", re.MULTILINE)
    if boot is None:
        return False
    # Both are rounded to seconds.
    return int(boot[1]) + began / os.sysconf("SC_CLK_TCK") > created + 2
