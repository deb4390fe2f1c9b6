"""The pages of a process: its page map, frames, translations, and the processes that share them."""

from __future__ import annotations

from array import array
from typing import Generic, NamedTuple, TypeVar

from procmem.pages.frames import Frame, FrameReader
from procmem.pages.pagemap import LIMIT, Page, PageMap, PageState, read_pagemap, whole_pages
from procmem.pages.scan import IS_HUGE, scan_ranges
from procmem.procfs import probes
from procmem.procfs.files import DENIED
from procmem.regions.read import Queries, read_table
from procmem.regions.region import PAGE_SIZE

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from procmem.procfs import MemoryFile, ProcessFiles
    from procmem.regions import Region

__all__ = [
    "Translation",
    "find_shared",
    "frames_of",
    "pagemap_of",
    "translate",
    "without_hugetlb",
]

P = TypeVar("P")

HUGE_SIZE = PAGE_SIZE * (PAGE_SIZE // 8)
"""What one entry of the second lowest level maps: a transparent huge page."""

WORTH_SMAPS = 1 << 30
"""Ranges of this many bytes and more: without PAGEMAP_SCAN, smaps is read first, to find the
regions that have pages."""


def pagemap_of(files: ProcessFiles, start: int, end: int) -> PageMap:
    """The page map of a range; see Process.pagemap()."""
    start, end = whole_pages(start, end, PAGE_SIZE)
    if end > LIMIT:
        from procmem.errors import Unsupported

        raise Unsupported(
            "pagemap", f"it shows no pages from {LIMIT:#x} on: they are the kernel's ([vsyscall])"
        )
    spans = None
    if end - start >= WORTH_SMAPS and not probes.has_pagemap_scan():
        spans = populated(files)
    with files.memory("pagemap", beside_maps=True) as file:
        pages = read_or_fail(file, start, end, spans)
        file.check()
    return pages


def read_or_fail(
    file: MemoryFile, start: int, end: int, spans: list[tuple[int, int]] | None = None
) -> PageMap:
    try:
        return read_pagemap(file.fd, start, end, PAGE_SIZE, spans=spans)
    except OSError as error:
        file.files.fail(error, file.path)


def populated(files: ProcessFiles) -> list[tuple[int, int]]:
    """The regions that have pages, according to smaps, or may have."""
    from procmem import native

    return [
        (region.start, region.end)
        for region in read_table(files, native.SMAPS)
        if region.rss != 0 or region.swap != 0 or region.kernel_page_size != PAGE_SIZE
    ]


def need_frames(pid: int, what: str) -> None:
    """Raises unless the page map has frame numbers for this user.

    Raises:
        AccessDenied
    """
    if not probes.shows_page_frames():
        from procmem.errors import AccessDenied

        raise AccessDenied(
            pid,
            f"{what} needs page frame numbers, which the kernel shows only with CAP_SYS_ADMIN: "
            "run as root",
        )


# ---- frames --------------------------------------------------------------------


def frames_of(files: ProcessFiles, start: int, end: int) -> list[Frame]:
    """The frames of a range; see Process.frames()."""
    from procmem.errors import AccessDenied, Unsupported

    need_frames(files.pid, "frames()")
    pages = pagemap_of(files, start, end)
    try:
        with FrameReader(files.root) as reader:
            return reader.read(pages.frames())
    except FileNotFoundError as error:
        raise Unsupported(
            "kpagecount", f"{error.filename}: this kernel lacks it (CONFIG_PROC_PAGE_MONITOR)"
        ) from error
    except OSError as error:
        if error.errno not in DENIED:
            raise
        raise AccessDenied(
            files.pid, f"{error.filename} can't be read: {error.strerror}. Run as root."
        ) from error


# ---- translation -----------------------------------------------------------------


class Translation(NamedTuple):
    """The page and the frame of a virtual address.

    Attributes:
        virtual: the address.
        region: the region that covers it; None: nothing is mapped there.
        page: the page that holds it.
        offset: of the address within its page.
        frame: number of the page frame; None: the page is not in memory.
        physical: the physical address; None likewise.
        mapping_size: bytes that its page table entry maps: a page, or a huge page. None: not in
            memory, or not known (before Linux 6.7).
        why: what is there, in words.
    """

    virtual: int
    region: Region | None
    page: Page
    offset: int
    frame: int | None
    physical: int | None
    mapping_size: int | None
    why: str


WHY = {
    PageState.ABSENT: "not in memory: never touched, given back, or of a file and not read yet; "
    "touching it is a page fault",
    PageState.SWAPPED: "in swap: touching it is a major fault that reads it back",
    PageState.GUARD: "a guard page: touching it is an error (SIGSEGV)",
    PageState.ZERO: "the zero page: it was read, never written",
    PageState.ANONYMOUS: "anonymous memory, mapped here alone",
    PageState.ANONYMOUS_SHARED: "anonymous memory that another process maps too: a write copies it",
    PageState.FILE: "a file's or shared memory, mapped here alone",
    PageState.FILE_SHARED: "a file's or shared memory, mapped elsewhere too",
}


def translate(
    files: ProcessFiles, address: int, region_at: Callable[[int], Region | None]
) -> Translation:
    """The page and the frame of an address; see Process.translate().

    Args:
        files: the process.
        address: the address.
        region_at: finds the region that covers an address.
    """
    need_frames(files.pid, "translate()")
    if not 0 <= address < 1 << 64:
        raise ValueError(f"no address: {address:#x}")
    region = region_at(address)
    start, end = whole_pages(address, address + 1, PAGE_SIZE)
    if end > LIMIT:
        from procmem.errors import Unsupported

        raise Unsupported(
            "pagemap", f"{address:#x} is in the kernel's half of the address space: not shown"
        )
    with files.memory("pagemap", beside_maps=True) as file:
        page = read_or_fail(file, start, end)[0]
        size = mapping_size(files, file, start) if page.present else None
        file.check()
    offset = address - start
    frame = page.pfn
    return Translation(
        address,
        region,
        page,
        offset,
        frame,
        None if frame is None else frame * PAGE_SIZE + offset,
        size,
        WHY[page.state] if region or page.present else "nothing is mapped there",
    )


def mapping_size(files: ProcessFiles, file: MemoryFile, start: int) -> int | None:
    """Bytes that the page table entry of a page maps; None: not known."""
    found = scan_ranges(file.fd, start, start + PAGE_SIZE, IS_HUGE)
    if found is None:
        return None
    if not any(categories & IS_HUGE for _, _, categories in found):
        return PAGE_SIZE
    size = Queries(files).page_size(start)
    return HUGE_SIZE if size is None or size == PAGE_SIZE else size


# ---- sharing ----------------------------------------------------------------------


class SharedPages(Generic[P]):
    """The pages of a process that other processes map, too.

    Attributes:
        shares: for each run of pages the other process, the addresses of the run's start and end
            in the process that was asked about, and of its start in the other process.
        own: of each process with shares, the bytes of anonymous memory that it alone maps.
        asked, searched, gone, denied: numbers of pages and processes; see Sharers.
    """

    def __init__(self, asked: int) -> None:
        self.shares: list[tuple[P, int, int, int]] = []
        self.own: list[tuple[P, int]] = []
        self.asked = asked
        self.searched = self.gone = self.denied = 0


def find_shared(
    files: ProcessFiles,
    ranges: Iterable[tuple[int, int]],
    others: Iterable[tuple[P, ProcessFiles]],
) -> SharedPages[P]:
    """Which other processes map the pages of some ranges; see Process.sharers().

    Args:
        files: the process.
        ranges: start and end of each.
        others: the processes to search, each with its files, which are closed afterwards.
    """
    from procmem.errors import (
        AccessDenied,
        KernelThread,
        NoSuchProcess,
        ProcessChanged,
        ZombieProcess,
    )

    need_frames(files.pid, "sharers()")
    places: dict[int, list[int]] = {}
    for start, end in ranges:
        pages = pagemap_of(files, start, end)
        for run in pages.runs():
            if run.state in (PageState.ANONYMOUS_SHARED, PageState.FILE_SHARED):
                for address, frame in pages.within(run.start, run.end).frames():
                    places.setdefault(frame, []).append(address)
    wanted = array("Q", sorted(places))
    found = SharedPages[P](sum(map(len, places.values())))
    for other, their_files in others if wanted else ():
        same = their_files.pid == files.pid
        try:
            theirs = pagemap_of(their_files, 0, LIMIT)
            pairs = [
                (here, there)
                for there, frame in theirs.frames(wanted)
                for here in places[frame]
                if not (same and here == there)
            ]
            if pairs and not same:
                found.own.append((other, own_anonymous(their_files, theirs)))
        except (KernelThread, ZombieProcess):
            continue
        except (NoSuchProcess, ProcessChanged):
            found.gone += 1
            continue
        except AccessDenied:
            found.denied += 1
            continue
        finally:
            their_files.close()
        found.searched += 1
        found.shares += ((other, *stretch) for stretch in stretches(pairs))
    return found


def own_anonymous(files: ProcessFiles, pages: PageMap) -> int:
    """The bytes of anonymous memory that a process alone maps: ending it frees them.

    Args:
        files: the process.
        pages: the page map of its whole address space.
    """
    maps = files.read(files.memory_name("maps"))
    parts = (pages.within(start, end) for start, end in without_hugetlb(files, maps))
    return sum(part.counts().anonymous for part in parts) * PAGE_SIZE


def without_hugetlb(files: ProcessFiles, maps: bytes) -> Iterator[tuple[int, int]]:
    """The address space without huge pages of hugetlbfs, which go back to their pool.

    Args:
        files: the process.
        maps: its maps.
    """
    at = 0
    if b"huge" in maps:
        queries = Queries(files)
        by_smaps: dict[int, int | None] = {}
        for line in maps.split(b"\n"):
            if b"huge" not in line:
                continue
            start, end = (int(address, 16) for address in line.split(b" ", 1)[0].split(b"-"))
            size = queries.page_size(start)
            if size is None:
                by_smaps = by_smaps or page_sizes(files)
                size = by_smaps.get(start)
            if size is not None and size > PAGE_SIZE:
                yield at, start
                at = end
    yield at, LIMIT


def page_sizes(files: ProcessFiles) -> dict[int, int | None]:
    """The page size of each region by its start, from smaps."""
    from procmem import native

    return {region.start: region.kernel_page_size for region in read_table(files, native.SMAPS)}


def stretches(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Pairs of pages as ranges: start and end in the one process, start in the other."""
    start = end = at = 0
    for here, there in sorted(pairs, key=lambda pair: (pair[1] - pair[0], pair[0])):
        if here != end or there - here != at - start:
            if start < end:
                yield start, end, at
            start, at = here, there
        end = here + PAGE_SIZE
    if start < end:
        yield start, end, at
