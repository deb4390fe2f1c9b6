"""Process: the memory of one process, read from the cheapest file that has the answer."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple, cast

from procmem.process.reading import (
    facts_finder,
    read_maps,
    read_residency,
    read_rollup,
    read_smaps,
)
from procmem.procfs import ProcessFiles, pids
from procmem.procfs.totals import Faults, MemoryUsage, read_status, usage_from_status
from procmem.regions.read import Queries
from procmem.regions.region import PAGE_SIZE
from procmem.regions.threads import Thread, threads_of

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import psutil
    from typing_extensions import Self

    from procmem.elf.loaded import LiveObject, LiveSection
    from procmem.heap.heap import Heap
    from procmem.ipc.ends import Pipes
    from procmem.pages.frames import Frame
    from procmem.pages.pagemap import PageMap
    from procmem.process.family import Family
    from procmem.process.held import CachedFile
    from procmem.process.huge import HugeRegion
    from procmem.process.pages import Translation
    from procmem.process.reconcile import Reconciliation
    from procmem.process.stacks import Stacks
    from procmem.process.symbols import Symbol, SymbolFinder
    from procmem.process.tables import PageTables
    from procmem.regions import Counters, MeasuredRegion, Region, RegionTable, ResidentRegion
    from procmem.regions.numa import NumaRegion
    from procmem.snapshots import Snapshot

__all__ = ["Process", "Share", "Sharers", "SharingProcess", "processes", "sharers_of"]


class Process:
    """A live process, or one whose /proc files were saved.

    It stands for one process, not for a number: once the process has ended, every method raises,
    even if another process got its PID. Each method reads only what it needs, and reads it anew,
    so two calls may give figures of two different times.

    Args:
        pid: the process's ID, or a psutil.Process; None: this process. A
            thread's ID shows the memory of its process.
        root: where /proc is: a container's ("/proc/PID/root/proc"), or a saved tree.

    Attributes:
        files: its directory in /proc, which the modules of procmem read it through.

    Raises:
        NoSuchProcess: there is no such process (also for a number that can't be a PID).
        AccessDenied: it is hidden (hidepid, proc(5)).
        Unsupported: root is no /proc.
        NotAPid: also a TypeError; pid is no integer.

    All sizes are bytes. Every method may raise NoSuchProcess, ZombieProcess,
    KernelThread, AccessDenied or ProcessChanged.

    >>> import procmem
    >>> me = procmem.Process()
    >>> me.maps().find(id(me)).kind.value in ("heap", "anon")
    True
    """

    __slots__ = ("_queries", "_symbols", "files")

    def __init__(
        self,
        pid: int | psutil.Process | None = None,
        *,
        root: str | os.PathLike[str] = "/proc",
    ) -> None:
        is_running = getattr(pid, "is_running", None)
        if pid is None:
            pid = own_pid(os.fspath(root))
        elif not isinstance(pid, int):
            # Any object with a pid will do, so that psutil need not be imported.
            pid = getattr(pid, "pid", pid)
        self.files = ProcessFiles(cast("int", pid), root)
        # psutil is asked only after opening: if it says yes now, what is open is its process.
        if is_running is not None and not is_running():
            from procmem.errors import NoSuchProcess

            raise NoSuchProcess(self.files.pid, "it has ended, and its PID may be another's")
        self._queries: Queries | None = None
        self._symbols: SymbolFinder | None = None

    @property
    def pid(self) -> int:
        """The ID it was opened with."""
        return self.files.pid

    @property
    def root(self) -> str:
        """The /proc that it is read from."""
        return self.files.root

    @property
    def start_time(self) -> int | None:
        """Clock ticks from boot to its start (proc_pid_stat(5)); None in some saved trees."""
        return self.files.start_time

    def __repr__(self) -> str:
        at = "" if self.root == "/proc" else f", root={self.root!r}"
        return f"procmem.Process({self.pid}{at})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Process):
            return NotImplemented
        return self.files.is_process_of(other.files)

    def __hash__(self) -> int:
        return hash((self.pid, self.start_time, self.root))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its files. They are opened again when it is used again.

        The directory of a process that began less than two clock ticks (20 ms) ago stays open as
        long as this object lives: without it, a new process that got the same PID at once could
        not be told from this one.
        """
        self._queries = None
        self._symbols = None
        self.files.close()

    # ---- regions ----------------------------------------------------------

    def maps(self) -> RegionTable[Region]:
        """Its regions, from /proc/PID/maps.

        The table is never cut short: if the process ends or calls execve(2) meanwhile, this
        raises. A process that maps and unmaps memory all the time is read up to eight times; if
        the regions overlapped in every reading, `table.consistent` is False.

        Source: proc_pid_maps(5).
        """
        return read_maps(self.files)

    def smaps(self) -> RegionTable[MeasuredRegion]:
        """Its regions with every counter of /proc/PID/smaps.

        The kernel walks all its page tables for this, and a process that maps memory meanwhile
        has to wait. If you need resident bytes only, residency() costs far less.

        Source: proc_pid_smaps(5).
        """
        return read_smaps(self.files)

    def residency(self) -> RegionTable[ResidentRegion]:
        """Its regions with their resident and swapped bytes, without smaps.

        From maps and one PAGEMAP_SCAN (Linux 6.7). On older kernels it reads eight bytes of
        pagemap for each page, and counts the zero page as resident, which smaps does not. The
        two files are read one after the other; if the process mapped memory in between, both are
        read again.

        Raises:
            Unsupported: a saved tree, or a kernel without pagemap.

        Source: Documentation/admin-guide/mm/pagemap.rst.
        """
        return read_residency(self.files)

    def region_at(self, address: int) -> Region | None:
        """The region that covers an address, or None.

        By PROCMAP_QUERY (Linux 6.11), which costs less than a thousandth of reading maps of a
        large process; on older kernels from maps. The region's `kind`, `owner` and `name` depend
        on its neighbours, so asking for one of them reads maps after all.

        Args:
            address: any integer.
        """
        if not 0 <= address < 1 << 64:
            return None
        queries = self._queries
        if queries is None:
            queries = self._queries = Queries(self.files, facts_finder(self.files))
        if queries.supported:
            try:
                found = queries.region_at(address)
            except LookupError:
                return self.maps().find(address)
            # The ioctl leaves out [vsyscall], which is in the kernel's half.
            if found is not None or address < 1 << 63:
                return found
        return self.maps().find(address)

    # ---- totals -----------------------------------------------------------

    def rollup(self) -> Counters:
        """The sums of smaps' counters over all regions, from smaps_rollup (Linux 4.14).

        The kernel adds up the exact shares and rounds the sum, so pss is at least the sum of the
        regions' rounded pss. `.uss` counts the pages that only this process maps.
        """
        return read_rollup(self.files)

    def memory(self) -> MemoryUsage:
        """Its sizes, from /proc/PID/status, which every user may read for every process."""
        return usage_from_status(read_status(self.files))

    def faults(self) -> Faults:
        """Its page faults since it started, from /proc/PID/stat."""
        stat = self.files.stat()
        return Faults(stat.minflt, stat.majflt)

    def reconcile(self) -> Reconciliation:
        """Compares the kernel's totals with each other, and names the cause of each difference."""
        from procmem.process.reconcile import reconcile

        return reconcile(self.files)

    # ---- pages ------------------------------------------------------------

    def pagemap(self, start: int, end: int) -> PageMap:
        """The page table entry of each page of a range. See PageMap.

        PAGEMAP_SCAN (Linux 6.7) finds which pages are present, and eight bytes are read for each
        of them: empty address space costs next to nothing. On older kernels eight bytes are
        read for every page, or, for a range of 1 GiB or more, for every page of the regions that
        have any according to smaps. The process runs on while a large range is read, so its
        pages may be of slightly different times.

        Args:
            start: address of the first byte; the range is widened to whole pages.
            end: address after the last byte.

        Raises:
            Unsupported: the range reaches into the kernel's half ([vsyscall]).
            ValueError: it ends before it starts.

        Source: Documentation/admin-guide/mm/pagemap.rst.
        """
        from procmem.process.pages import pagemap_of

        return pagemap_of(self.files, start, end)

    def heap(self, *, stop: bool = False, pages: bool = False) -> Heap:
        """What malloc and Python hold inside it: in use, free, and what a trim would return.

        Read from its resident memory, without bringing a page in. glibc's malloc (2.26 and later)
        and CPython's allocator for small objects are read from inside; of other allocators
        `Heap.others` has what their regions contain. Without `stop`, a heap that changes during the
        reading is read again, and what still does not fit is in `Heap.doubts`.

        Args:
            stop: stop all threads of the process while it is read (ptrace(2)), so that nothing
                changes. `Heap.held` says for how long. The process goes on even if this one is
                killed meanwhile.
            pages: count what is in use on each page, too (`Heap.pages`), by a second walk.

        Raises:
            AccessDenied: the reader lacks the rights of ptrace(2) over the process, or, with stop,
                another process traces it.
            BadArgument: a process can't stop itself.
            Unsupported: a thread waits in the kernel and can't be stopped.
            NoSuchProcess, ZombieProcess, KernelThread, ProcessChanged

        Source: malloc/malloc.c and malloc/arena.c of glibc, Objects/obmalloc.c of CPython.

        >>> import procmem
        >>> heap = procmem.Process().heap()
        >>> heap.python is not None
        True
        """
        from procmem.process.allocators import heap_of

        return heap_of(self.files, stop=stop, pages=pages)

    def frames(self, start: int, end: int) -> list[Frame]:
        """The page frames of a range: how often each is mapped, and what it is used for.

        Pages that are not in memory and the zero page are left out.

        Args:
            start: as for pagemap().
            end: likewise.

        Raises:
            AccessDenied: the reader lacks CAP_SYS_ADMIN, or may not open kpagecount.
            Unsupported: a kernel without kpagecount.

        Source: Documentation/admin-guide/mm/pagemap.rst.
        """
        from procmem.process.pages import frames_of

        return frames_of(self.files, start, end)

    def translate(self, address: int) -> Translation:
        """The page frame and the physical address of a virtual address.

        Args:
            address: any in the lower half of the address space.

        Raises:
            AccessDenied: the reader lacks CAP_SYS_ADMIN.
            Unsupported: the address is in the kernel's half.
        """
        from procmem.process.pages import translate

        return translate(self.files, address, self.region_at)

    def sharers(self, start: int, end: int) -> Sharers:
        """Which other processes map the pages of a range, found by their page frames.

        It reads the page map of every process once: 10 to 30 ms for each GiB that is resident in
        all of them together. It keeps one page map in memory at a time. Processes that end
        meanwhile or can't be read are left out and counted.

        Args:
            start: as for pagemap().
            end: likewise.

        Raises:
            AccessDenied: the reader lacks CAP_SYS_ADMIN.
        """
        return sharers_of(self, [(start, end)])

    def family(self) -> Family:
        """This process and its descendants: what they share since fork(2), and what they copied.

        Each member's pages are compared with its parent's at the same addresses, by page frames
        as root. The page map of each member is read once; those of its ancestors are kept
        meanwhile. Processes whose parent has ended belong to another family.

        Raises:
            Unsupported: a kernel without pagemap.

        >>> import procmem
        >>> family = procmem.Process().family()
        >>> family.members[0].rss > 0
        True
        """
        from procmem.process.family import family_of

        return family_of(self.files)

    def page_tables(self) -> PageTables:
        """The page tables that its pages need, level by level, compared with VmPTE.

        A page in memory or in swap needs the table that holds its entry, and that table needs one
        in the level above. If VmPTE is larger, the rest are tables whose entries are all empty.

        Raises:
            Unsupported: procmem does not know this machine's page tables (only those of x86-64
                and aarch64).
        """
        from procmem.process.tables import page_tables_of

        return page_tables_of(self.files)

    def numa(self) -> list[NumaRegion]:
        """The pages of each region by NUMA node, from /proc/PID/numa_maps.

        The kernel walks all its page tables for this, as for smaps().

        Raises:
            Unsupported: a kernel without CONFIG_NUMA.

        Source: numa_maps in proc(5); numa(7).
        """
        from procmem.regions.numa import parse_numa_maps

        with self.files.memory("numa_maps", beside_maps=True) as file:
            text = file.read()
            file.check()
        return parse_numa_maps(text, PAGE_SIZE, file.path)

    def huge_pages(self) -> list[HugeRegion]:
        """The anonymous regions that have transparent huge pages, and how much of them is zeros.

        A huge page is in memory as a whole as soon as one byte of it is written. So RSS counts
        pages that the program has never touched: those still contain zeros. All contents of the
        huge pages are read for this, about a second for 4 GiB.

        Raises:
            Unsupported: before Linux 6.7 (PAGEMAP_SCAN), or a saved tree.
            AccessDenied: the reader lacks the rights of ptrace(2) over the process.

        Source: Documentation/admin-guide/mm/transhuge.rst.
        """
        from procmem.process.huge import huge_regions

        return huge_regions(self.files)

    def cached_files(self) -> list[CachedFile]:
        """What the page cache has of each file that it has mapped or open, largest first.

        Nothing of the files is read, and nothing but regular files is opened. Files that were
        deleted or replaced after they were mapped are reached by root alone; others get the
        `reason` in their place. See CachedFile.

        Source: cachestat(2), mincore(2) before Linux 6.5; proc_pid_map_files(5).
        """
        from procmem.process.held import cached_files

        return cached_files(self.files)

    # ---- ELF files --------------------------------------------------------

    def sections(self) -> list[LiveSection]:
        """The sections of its executable and of every library, as they are mapped, by address.

        Resident, privately copied and swapped bytes are counted in the page table. If a page
        holds several sections, each counts its own bytes of it. The kinds of the regions come
        from the ELF headers (kind_evidence "elf"). Headers are cached by the file's device,
        inode, size and mtime, so a second call opens no file.

        A file that was deleted or replaced can be read as root only (map_files). For other users
        it has no sections here, and never those of the file that now has its path; objects()
        says why.

        Source: elf(5); Documentation/admin-guide/mm/pagemap.rst.
        """
        return [section for live in self.objects() for section in live.sections]

    def objects(self) -> list[LiveObject]:
        """Its ELF files: the executable, libraries, the loader and the vdso, by address.

        One that was loaded twice is listed twice. See LiveObject.
        """
        from procmem.process.sections import objects_of

        return objects_of(self.files)[1]

    def symbol_at(self, address: int, *, debug_root: str = "/usr/lib/debug") -> Symbol | None:
        """The function or variable at an address, or None.

        From .symtab and .dynsym of the file that is mapped there, and from its separate debug
        file if this machine has it: found by build-id, or by .gnu_debuglink if the checksum is
        right. Nothing is downloaded. An object's symbols are loaded once; source lines, from
        DWARF, are read when you ask for `source_line`. If the symbol before the address has no
        size, it is a guess that the address belongs to it (`guess`).

        Args:
            address: any integer.
            debug_root: where separate debug files are.

        Raises:
            ElfError: the file is damaged; or nothing was found, and some symbols were not read
                because there are too many (docs/sections.md has the limits).

        Source: elf(5); gdb's manual, "Debugging Information in Separate Files".
        """
        finder = self._symbols
        if finder is None:
            from procmem.process.symbols import SymbolFinder

            finder = self._symbols = SymbolFinder(self.files)
        place = finder.place(address, debug_root)
        if place is None:
            return None
        found = place.symbol
        if found is None and place.left_out:
            from procmem.elf.source import fail

            fail(place.path, f"no symbol in what was read; {'; '.join(place.left_out)}")
        return found

    # ---- threads ----------------------------------------------------------

    def threads(self) -> list[Thread]:
        """Its threads, each with the region of its stack.

        The stack is found by the thread's stack pointer, which the kernel gives for threads that
        are blocked, and not for threads that are running.

        Source: proc_pid_task(5), proc_pid_syscall(5).
        """
        return threads_of(self.files, self.maps())

    def stacks(self, *, stop: bool = False) -> Stacks:
        """The stack of each thread: reserved, ever touched, in use, and the room that is left.

        The addresses of a stack come from its thread's descriptor (glibc, musl), its depth from
        the page table: a page that was touched stays in memory or in swap. The process is not
        stopped, so threads that start or end meanwhile may be missing. See LiveStack for what is
        not known of which threads.

        Args:
            stop: stop all threads while they are read (ptrace(2)), so that what running threads
                have in use is known, too. `stopped` says how long that was.

        Raises:
            Unsupported: a saved tree, or a kernel without pagemap; a thread that does not stop.
            BadArgument: it is to be stopped, and it is this process.

        Source: proc_pid_task(5), proc_pid_syscall(5), pagemap.rst, getrlimit(2).

        >>> import procmem
        >>> main = procmem.Process().stacks()[0]
        >>> main.touched <= main.reserved <= main.limit
        True
        """
        from procmem.process.stacks import read_stacks

        return read_stacks(self.files, stop=stop)

    # ---- what it shares with others -----------------------------------------

    def pipes(self) -> Pipes:
        """The pipes and FIFOs that it holds an end of, or is blocked in opening.

        Each with all holders of both ends, capacity, bytes waiting, and who is blocked in it. See
        pipes().

        Raises:
            AccessDenied: its descriptors can't be read.
            Unsupported: a saved tree.
        """
        from procmem.ipc.blocked import pipes

        self.files.check_running()
        found = pipes([self.pid], root=self.root)
        if self.pid in found.denied:
            # Nothing was seen of it, which is not that it has none.
            denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self.files.fail(denied, f"{self.files.path}/fd")
        return found

    # ---- snapshots --------------------------------------------------------

    def snapshot(
        self, detail: str = "smaps", *, kinds: bool = True, heap: bool = False
    ) -> Snapshot:
        """All of it at one time: regions, totals, faults, threads, clocks, identity.

        Most of the time goes into the regions: with "smaps" the kernel walks all page tables for
        every counter, "residency" has resident and swapped bytes only, "maps" neither. If the
        process maps or touches memory meanwhile it is read a second time; if that happens again,
        `moved` is True.

        Args:
            detail: "maps", "residency" or "smaps".
            kinds: find out now what each region is used for, by the process's threads and the
                first words of its memory. Otherwise that is done when it is asked for, if the
                process still runs then; in a snapshot that was saved or outlived its process,
                kinds come from the text of maps alone.
            heap: read what malloc and Python hold, too (see heap()), and keep a summary of it:
                so that a diff can tell live memory from what was freed and kept.

        Raises:
            ValueError: no such detail.
            Unsupported: residency of a saved tree.
            AccessDenied: also if the heap is asked for, and its memory may not be read.

        >>> before = Process().snapshot("maps")
        >>> before.vsz == before.memory.vsz
        True
        """
        from procmem.snapshots.moment import DETAILS
        from procmem.snapshots.snapshot import take

        if detail not in DETAILS:
            from procmem.errors import BadArgument

            raise BadArgument(f"detail is one of {', '.join(DETAILS)}, not {detail!r}")
        read = getattr(self, detail)
        found = take(self.files, read, lambda table: threads_of(self.files, table))
        if kinds and len(found.regions):
            # They are found out by threads and memory, which are there now.
            found.regions[0].kind  # noqa: B018 - finds all kinds
            if found.threads and len(found.threads) > 1 and self.files.is_live:
                found = with_arenas(self.files, found)
        return self.with_heap(found) if heap else found

    def with_heap(self, snapshot: Snapshot) -> Snapshot:
        """A snapshot of this process with a summary of its heap as it is now; see snapshot().

        Raises:
            AccessDenied: its memory may not be read.
        """
        from procmem.process.heaps import attach, summary_of

        if not self.files.is_live:
            return attach(snapshot, None, "a saved tree has no memory")
        return attach(snapshot, summary_of(self.heap()))

    def report(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> str:
        """Writes a report as one HTML file, which a browser opens without any network.

        It shows where the memory is, by kind and use, the address space as a map, the pages of each
        region, what malloc and Python hold, the stacks, and how the totals reconcile. load() reads
        the snapshot back from it.

        Args:
            path: the file; None: a name such as "procmem-1234.html" in the current directory. An
                existing report is overwritten.
            force: overwrite any other file, too.

        Returns:
            The path of the file.

        Raises:
            FileExistsError: another program's file has that name.
            OSError: it can't be written.
        """
        from procmem.errors import AccessDenied, Unsupported
        from procmem.process.heaps import attach
        from procmem.process.reporting import process_page
        from procmem.snapshots.reporting import write_report

        taken = self.snapshot()
        try:
            taken = self.with_heap(taken)
        except (AccessDenied, Unsupported) as error:
            taken = attach(taken, None, str(error))
        page = process_page(self.files, taken)
        return write_report(page, path, f"procmem-{self.pid}.html", force=force)


class Share(NamedTuple):
    """Pages of one process that are in the same frames as pages of another.

    Attributes:
        process: the other process; the process itself, where it maps them twice.
        start, end: addresses in the process that was asked about, the end exclusive.
        at: address of the first of these pages in the other process.
    """

    process: Process
    start: int
    end: int
    at: int


class Sharers(NamedTuple):
    """Which processes map the pages of a range.

    Attributes:
        shares: by process, then by address.
        asked: pages whose sharers were searched: those that are mapped more than once.
        processes: how many processes were searched.
        gone: processes left out because they ended or called execve(2) meanwhile.
        denied: processes left out because they could not be read.
        page_size: in bytes.
        process: the process that was asked about.
        own: bytes of anonymous memory that each of the other processes alone maps, by PID.
    """

    shares: list[Share]
    asked: int
    processes: int
    gone: int
    denied: int
    page_size: int
    process: Process
    own: dict[int, int]

    def by_process(self) -> list[SharingProcess]:
        """The other processes with their names, the one that shares most first.

        Names and regions are read now, so they may be missing for a process that has ended.
        """
        from procmem.errors import ProcessError
        from procmem.process.naming import called

        try:
            regions: Iterable[Region] = self.process.maps()
        except ProcessError:
            regions = ()
        ranges: dict[int, list[Share]] = {}
        for share in self.shares:
            ranges.setdefault(share.process.pid, []).append(share)
        found = []
        for pid, shares in ranges.items():
            pages = union((share.start, share.end) for share in shares)
            parts = [(region, overlap(pages, region.start, region.end)) for region in regions]
            found.append(
                SharingProcess(
                    shares[0].process,
                    called(shares[0].process.files),
                    sum(end - start for start, end in pages),
                    [(region, size) for region, size in parts if size],
                    self.own.get(pid),
                )
            )
        return sorted(found, key=lambda one: one.size, reverse=True)


class SharingProcess(NamedTuple):
    """A process that shares pages with the one that was asked about.

    Attributes:
        process: the other process.
        name: its name; "?" if it has ended.
        size: bytes that both map.
        regions: the regions of the process that was asked about, each with its bytes of these.
        frees: bytes of anonymous memory that ending the other process would free, since nobody
            else maps them. None: it is the process itself, which maps pages twice.
    """

    process: Process
    name: str
    size: int
    regions: list[tuple[Region, int]]
    frees: int | None


def union(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges without overlap, ascending."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def overlap(ranges: Iterable[tuple[int, int]], start: int, end: int) -> int:
    """The bytes of some ranges that are between two addresses."""
    return sum(max(0, min(high, end) - max(low, start)) for low, high in ranges)


def sharers_of(process: Process, ranges: Iterable[tuple[int, int]]) -> Sharers:
    """Which processes map the pages of some ranges; see Process.sharers()."""
    from procmem.process.pages import find_shared

    others = ((other, other.files) for other in processes(process.root))
    found = find_shared(process.files, ranges, others)
    shares = [Share(*share) for share in found.shares]
    own = {other.pid: size for other, size in found.own}
    return Sharers(
        shares, found.asked, found.searched, found.gone, found.denied, PAGE_SIZE, process, own
    )


def with_arenas(files: ProcessFiles, snapshot: Snapshot) -> Snapshot:
    """The snapshot with the malloc arena of each thread, where it is known."""
    from dataclasses import replace

    from procmem.errors import ProcessError
    from procmem.process.arenas import arenas_of

    threads = snapshot.threads or ()
    try:
        arenas = arenas_of(files, snapshot.regions, [thread.tid for thread in threads])
    except ProcessError:
        return snapshot  # the process has ended since it was read
    if not arenas:
        return snapshot
    known = tuple(thread._replace(arena=arenas.get(thread.tid)) for thread in threads)
    return replace(snapshot, threads=known)


def own_pid(root: str) -> int:
    """This process's ID in a /proc tree, which may be of another PID namespace."""
    try:
        return int(os.readlink(f"{root}/self"))
    except (OSError, ValueError):
        pids(root)
        from procmem.errors import NoSuchProcess

        raise NoSuchProcess(os.getpid(), f"this process does not appear in {root}") from None


def processes(root: str | os.PathLike[str] = "/proc") -> Iterator[Process]:
    """All processes, by ascending PID.

    Processes that end meanwhile are left out, and so are those that /proc hides from this user
    (hidepid, proc(5)).

    Args:
        root: as for Process.

    Raises:
        Unsupported: root is no /proc.
    """
    from procmem.errors import AccessDenied, NoSuchProcess

    for pid in pids(root):
        try:
            yield Process(pid, root=root)
        except (NoSuchProcess, AccessDenied):
            continue
