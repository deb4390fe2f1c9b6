"""Process: the memory of one live process, from the cheapest file that answers."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from procmem import native
from procmem.pages import measure_residency
from procmem.procfs import ProcessFiles, pids
from procmem.procfs.totals import Faults, MemoryUsage, read_status, usage_from_status
from procmem.regions.read import Queries, read_table
from procmem.regions.region import PAGE_SIZE
from procmem.regions.text import parse_rollup
from procmem.regions.threads import Thread, threads_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    import psutil
    from typing_extensions import Self

    from procmem.elf.loaded import LiveObject, LiveSection
    from procmem.pages.frames import Frame
    from procmem.pages.pagemap import PageMap
    from procmem.process.pages import Sharers, Translation
    from procmem.process.reconcile import Reconciliation
    from procmem.process.symbols import Place, Symbol, SymbolFinder
    from procmem.process.tables import PageTables
    from procmem.regions import Counters, MeasuredRegion, Region, RegionTable, ResidentRegion
    from procmem.regions.facts import Facts
    from procmem.regions.region import Block, FindFacts
    from procmem.snapshots import Snapshot

__all__ = ["Process", "processes"]


class Process:
    """A live process, or one whose /proc files were saved.

    It stands for one process, not for a number: when the process has ended and
    its PID went to another, every method raises. Nothing is read but what a
    method needs, and nothing is kept, so two calls may tell of two moments.

    Args:
        pid: the process's ID, or a psutil.Process; None is this process. A
            thread's ID shows the memory of its process.
        root: where /proc is: a container's ("/proc/PID/root/proc"), or a saved tree.

    Raises:
        NoSuchProcess: there is none (also for a PID that can't be one).
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

    __slots__ = ("_files", "_queries", "_symbols")

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
            # psutil's own class is not asked for: any object with a pid will do.
            pid = getattr(pid, "pid", pid)
        self._files = ProcessFiles(cast("int", pid), root)
        # Asked behind opening: what is open now is what psutil means, or it says no.
        if is_running is not None and not is_running():
            from procmem.errors import NoSuchProcess

            raise NoSuchProcess(self._files.pid, "it has ended, and its PID may be another's")
        self._queries: Queries | None = None
        self._symbols: SymbolFinder | None = None

    @property
    def pid(self) -> int:
        """The ID it was opened with."""
        return self._files.pid

    @property
    def root(self) -> str:
        """The /proc that it is read from."""
        return self._files.root

    @property
    def start_time(self) -> int | None:
        """Clock ticks from boot to its start (proc_pid_stat(5)); None in some saved trees."""
        return self._files.start_time

    def __repr__(self) -> str:
        at = "" if self.root == "/proc" else f", root={self.root!r}"
        return f"procmem.Process({self.pid}{at})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Process):
            return NotImplemented
        return self._files.is_process_of(other._files)

    def __hash__(self) -> int:
        return hash((self.pid, self.start_time, self.root))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of open files. They are opened again if it is used again.

        The directory of a process that began less than two clock ticks (20 ms) ago stays open
        until this object is gone: nothing else tells it from one that gets its PID at once.
        """
        self._queries = None
        self._symbols = None
        self._files.close()

    # ---- regions ----------------------------------------------------------

    def maps(self) -> RegionTable[Region]:
        """Its regions, from /proc/PID/maps.

        The table is whole: a process that ends or calls execve(2) meanwhile
        raises. One that maps and unmaps as fast as it can is read again a few
        times; if every reading overlapped itself, `table.consistent` is False.

        Source: proc_pid_maps(5).
        """
        table: RegionTable[Region] = read_table(
            self._files, native.MAPS, find_facts=facts_finder(self._files)
        )
        return table

    def smaps(self) -> RegionTable[MeasuredRegion]:
        """Its regions with every counter of /proc/PID/smaps.

        The kernel walks all its page tables for this, and holds up a process
        that maps memory meanwhile: residency() is cheaper by far where resident
        bytes are enough.

        Source: proc_pid_smaps(5).
        """
        table: RegionTable[MeasuredRegion] = read_table(
            self._files, native.SMAPS, find_facts=facts_finder(self._files)
        )
        return table

    def residency(self) -> RegionTable[ResidentRegion]:
        """Its regions with their resident and swapped bytes, without smaps.

        From maps and one PAGEMAP_SCAN (Linux 6.7); on older kernels from eight
        bytes per page of pagemap, where the zero page counts as resident, which
        it does not in smaps. The two files are read one after the other: if
        the process mapped more memory in between, both are read again.

        Raises:
            Unsupported: a saved tree, or a kernel without pagemap.

        Source: Documentation/admin-guide/mm/pagemap.rst.
        """
        table: RegionTable[ResidentRegion] = read_table(
            self._files, native.RESIDENT, self._add_residency, facts_finder(self._files)
        )
        return table

    def _add_residency(self, scan: native.Scan) -> bool:
        queries = Queries(self._files)
        starts: list[int] = []
        kinds: dict[int, str] = {}

        def is_hugetlb(record: int) -> bool | None:
            starts[:] = starts or scan.column(0)
            size = queries.page_size(starts[record])
            return None if size is None else size > PAGE_SIZE

        def is_shmem(dev: int) -> bool:
            if not kinds:
                kinds.update(file_systems(self._files))
            # The kernel's own mount for memfd, System V and anonymous shared
            # memory is in no list of mounts.
            return kinds.get(dev, "tmpfs") in ("tmpfs", "devtmpfs", "ramfs")

        with self._files.memory("pagemap") as pagemap:
            try:
                told = measure_residency(pagemap.fd, scan, PAGE_SIZE, is_hugetlb, is_shmem)
            except ProcessLookupError:
                # The address space is gone, and so is that of maps, as will be found.
                return False
            except OSError as error:
                self._files.fail(error, pagemap.path)
        return not told.stray

    def region_at(self, address: int) -> Region | None:
        """The region that covers an address, or None.

        By PROCMAP_QUERY (Linux 6.11), which costs less than a thousandth of
        reading maps of a large process; from maps on older kernels. What kind
        of region it is shows among its neighbours only, so asking for its
        `kind`, `owner` or `name` reads maps after all.

        Args:
            address: any integer.
        """
        if not 0 <= address < 1 << 64:
            return None
        queries = self._queries
        if queries is None:
            queries = self._queries = Queries(self._files, facts_finder(self._files))
        if queries.supported:
            try:
                found = queries.region_at(address)
            except LookupError:
                return self.maps().find(address)
            # The ioctl doesn't know [vsyscall], which lies in the kernel's half.
            if found is not None or address < 1 << 63:
                return found
        return self.maps().find(address)

    # ---- totals -----------------------------------------------------------

    def rollup(self) -> Counters:
        """The sums of smaps' counters over all regions, from smaps_rollup (Linux 4.14).

        The kernel adds up before it rounds, so its pss is not below the sum of
        the regions'. `.uss` is what only this process uses.
        """
        while True:
            with self._files.memory("smaps_rollup") as file:
                # The kernel holds the address space while it makes this text, in one
                # piece: it is whole, or there is none.
                data = file.read()
                if data:
                    return parse_rollup(data, source=file.path)
            self._files.explain_empty()

    def memory(self) -> MemoryUsage:
        """Its sizes, from /proc/PID/status, which every user may read of every process."""
        return usage_from_status(read_status(self._files))

    def faults(self) -> Faults:
        """Its page faults so far, from /proc/PID/stat."""
        stat = self._files.stat()
        return Faults(stat.minflt, stat.majflt)

    def reconcile(self) -> Reconciliation:
        """Every total against every other, each difference with its cause.

        See Reconciliation.
        """
        from procmem.process.reconcile import reconcile

        return reconcile(self._files)

    # ---- pages ------------------------------------------------------------

    def pagemap(self, start: int, end: int) -> PageMap:
        """What its page table holds for each page of a range. See PageMap.

        PAGEMAP_SCAN (Linux 6.7) finds where there are pages, and eight bytes are read for each
        of those: empty address space costs next to nothing. On older kernels eight bytes are
        read for every page; from 1 GiB on, of those regions alone where smaps says that there
        are any. A large range is no picture of one moment: the process runs on.

        Args:
            start: address of the first byte; the range is taken to whole pages.
            end: address behind the last.

        Raises:
            Unsupported: the range reaches into the kernel's half ([vsyscall]).
            ValueError: it ends before it starts.

        Source: Documentation/admin-guide/mm/pagemap.rst.
        """
        from procmem.process.pages import pagemap_of

        return pagemap_of(self._files, start, end)

    def frames(self, start: int, end: int) -> list[Frame]:
        """The page frames that a range lies in: how often each is mapped, and what it is.

        Pages that are not in memory and the page of zeros are left out.

        Args:
            start: as for pagemap().
            end: likewise.

        Raises:
            AccessDenied: the reader lacks CAP_SYS_ADMIN, or may not open kpagecount.
            Unsupported: a kernel without kpagecount.

        Source: Documentation/admin-guide/mm/pagemap.rst.
        """
        from procmem.process.pages import frames_of

        return frames_of(self._files, start, end)

    def translate(self, address: int) -> Translation:
        """The page frame and the physical address that a virtual address leads to.

        Args:
            address: any that is not the kernel's.

        Raises:
            AccessDenied: the reader lacks CAP_SYS_ADMIN.
            Unsupported: the address lies in the kernel's half.
        """
        from procmem.process.pages import translate

        return translate(self, address)

    def sharers(self, start: int, end: int) -> Sharers:
        """Who else maps the pages of a range: every process whose page map has their frames.

        It reads the page map of every process, once: 10 to 30 ms for each GiB that is
        resident in all of them together. One page map is held at a time. Processes that end
        meanwhile or can't be read are left out and counted.

        Args:
            start: as for pagemap().
            end: likewise.

        Raises:
            AccessDenied: the reader lacks CAP_SYS_ADMIN.
        """
        from procmem.process.pages import sharers_of

        return sharers_of(self, [(start, end)])

    def page_tables(self) -> PageTables:
        """The page tables that its pages need, level by level, against VmPTE.

        A page in memory or in swap needs the table that has its entry, and that table one of
        the level above. What VmPTE has more are tables that hold nothing any more.

        Raises:
            Unsupported: this machine's tables are not known (only x86-64 and aarch64 are).
        """
        from procmem.process.tables import page_tables_of

        return page_tables_of(self._files)

    # ---- ELF files --------------------------------------------------------

    def sections(self) -> list[LiveSection]:
        """The sections of its executable and of every library, in place, by address.

        Resident, privately copied and swapped bytes come from the page table. A page may
        hold more than one section: each counts its own bytes on it. The regions' kinds are
        told by the headers (kind_evidence "elf"). Headers are kept by the file's device,
        inode, size and mtime, so that a second call opens nothing.

        Files that are deleted or replaced are reached as root alone (map_files); else they
        have no sections here, never another file's: objects() tells of them.

        Source: elf(5); Documentation/admin-guide/mm/pagemap.rst.
        """
        return [section for live in self.objects() for section in live.sections]

    def objects(self) -> list[LiveObject]:
        """Its ELF files: the executable, libraries, the loader and the vdso, by address.

        One that was loaded twice is there twice. See LiveObject for what is told of each.
        """
        from procmem.process.sections import objects_of

        return objects_of(self._files)[1]

    def symbol_at(self, address: int, *, debug_root: str = "/usr/lib/debug") -> Symbol | None:
        """The function or variable at an address, or None.

        From .symtab and .dynsym of the file that is mapped there, and from its separate debug
        file if there is one here: by build-id, or by .gnu_debuglink with a right checksum.
        Nothing is downloaded. An object's symbols are loaded once; source lines, from DWARF,
        are read when `source_line` is asked for. An address behind a symbol without a size is
        marked as a guess (`guess`).

        Args:
            address: any integer.
            debug_root: where separate debug files are.

        Raises:
            ElfError: the file is damaged; or nothing was found, and part of its symbols is left
                out since they are too many (docs/sections.md has the limits).

        Source: elf(5); gdb's manual, "Debugging Information in Separate Files".
        """
        place = self._place(address, debug_root)
        if place is None:
            return None
        found = place.symbol
        if found is None and place.left_out:
            from procmem.elf.source import fail

            fail(place.path, f"no symbol in what was read; {'; '.join(place.left_out)}")
        return found

    def _place(self, address: int, debug_root: str) -> Place | None:
        finder = self._symbols
        if finder is None:
            from procmem.process.symbols import SymbolFinder

            finder = self._symbols = SymbolFinder(self._files)
        return finder.place(address, debug_root)

    # ---- threads ----------------------------------------------------------

    def threads(self) -> list[Thread]:
        """Its threads, each with the region of its stack.

        The stack is known by the thread's stack pointer, which the kernel tells
        of threads that wait, not of those that run at the moment.

        Source: proc_pid_task(5), proc_pid_syscall(5).
        """
        return threads_of(self._files, self.maps())

    # ---- moments ----------------------------------------------------------

    def snapshot(self, detail: str = "smaps", *, kinds: bool = True) -> Snapshot:
        """All of this at one moment: regions, totals, faults, threads, clocks, identity.

        What costs is the regions: "smaps" walks all page tables for every counter,
        "residency" finds resident and swapped bytes alone, "maps" neither. A process that
        moves meanwhile is read twice, and if it goes on, `moved` says so.

        Args:
            detail: "maps", "residency" or "smaps".
            kinds: tell at once what each region is, by the process's threads and the first
                words of its memory. Otherwise that is told when it is asked for, if the
                process still lives; of a snapshot that is saved before, by the text alone.

        Raises:
            ValueError: no such detail.
            Unsupported: residency of a saved tree.

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
        found = take(self._files, read, lambda table: threads_of(self._files, table))
        if kinds and len(found.regions):
            # What they rest on, threads and memory, is there now.
            found.regions[0].kind  # noqa: B018 - tells all kinds
            if found.threads and len(found.threads) > 1 and self._files.is_live:
                found = with_arenas(self._files, found)
        return found


def with_arenas(files: ProcessFiles, snapshot: Snapshot) -> Snapshot:
    """A snapshot whose threads have their arenas, where these are known."""
    from procmem.errors import ProcessError
    from procmem.process.arenas import arenas_of

    threads = snapshot.threads or ()
    try:
        arenas = arenas_of(files, snapshot.regions, [thread.tid for thread in threads])
    except ProcessError:
        return snapshot  # it has ended, and was read before
    if not arenas:
        return snapshot
    told = tuple(thread._replace(arena=arenas.get(thread.tid)) for thread in threads)
    return replace(snapshot, threads=told)


def facts_finder(files: ProcessFiles) -> FindFacts:
    """What finds facts about regions when their kinds are asked for."""

    def find(regions: Sequence[Region], block: Block) -> Facts | None:
        from procmem.process.facts import facts_of

        return facts_of(files, regions, block)

    return find


def own_pid(root: str) -> int:
    """This process's ID as a /proc tree has it, which may be of another PID namespace."""
    try:
        return int(os.readlink(f"{root}/self"))
    except (OSError, ValueError):
        pids(root)
        from procmem.errors import NoSuchProcess

        raise NoSuchProcess(os.getpid(), f"this process does not appear in {root}") from None


def file_systems(files: ProcessFiles) -> dict[int, str]:
    """The type of each mounted file system by its device (major << 32 | minor)."""
    found = {}
    for line in files.read(files.memory_name("mountinfo")).split(b"\n"):
        before, dash, behind = line.partition(b" - ")
        if dash:
            major, _, minor = before.split(b" ")[2].partition(b":")
            found[int(major) << 32 | int(minor)] = behind.split(b" ")[0].decode("ascii", "replace")
    return found


def processes(root: str | os.PathLike[str] = "/proc") -> Iterator[Process]:
    """All processes, by ascending PID.

    Those that end meanwhile are left out, and those that /proc hides from this
    user (hidepid, proc(5)).

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
