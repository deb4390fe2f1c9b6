"""Reads tables of live processes: whole, of one address space, with the true names of files."""

from __future__ import annotations

import errno
import os

from procmem import native
from procmem.native import ffi, lib
from procmem.procfs.text import PF_FORKNOEXEC, saved_text
from procmem.regions.reading import DELETED, split_deleted
from procmem.regions.region import PAGE_SIZE, Region
from procmem.regions.table import table_from_scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from procmem.procfs import MemoryFile, ProcessFiles
    from procmem.regions.kinds import Kind
    from procmem.regions.reading import FindFacts
    from procmem.regions.table import RegionTable

__all__ = ["Queries", "read_scan", "read_table"]

ATTEMPTS = 8
"""Readings of a process that changes its mappings all the while, before the last
one is given out as inconsistent. About 2 readings in 100 overlap themselves under
the fastest such process, so this many in a row do not come by chance."""


def read_scan(
    files: ProcessFiles,
    mode: int,
    beside: Callable[[native.Scan], bool] | None = None,
) -> tuple[native.Scan, bytes | None, bool]:
    """A scan of the whole of maps or smaps, the executable's path, whether it is consistent.

    Args:
        files: the process.
        mode: native.MAPS, SMAPS or RESIDENT.
        beside: called while the file is open; what it reads belongs to the same
            address space. False: the process has changed meanwhile, so both are read again.

    Raises:
        NoSuchProcess, ZombieProcess, KernelThread, AccessDenied, ProcessChanged
        ParseError: the file is no such text, in a saved tree.
    """
    name = "smaps" if mode == native.SMAPS else "maps"
    tries = 0
    while True:
        tries += 1
        with files.memory(name) as file:
            scan = native.Scan(mode, file.path)
            try:
                if files.is_live:
                    file.pour(scan)
                else:
                    scan.feed(saved_text(file.read()))
                scan.finish()
            except ValueError:
                # A text that was cut short in the middle of a line.
                file.check()
                raise
            if not scan.count:
                files.explain_empty()
                continue
            settled = not scan.disordered
            if settled and beside is not None:
                settled = beside(scan)
            exe = files.readlink(files.memory_name("exe"))
            # Last of all: what was read before belongs to this address space then.
            file.check()
        if settled or tries == ATTEMPTS or not files.is_live:
            return scan, exe, settled


def read_table(
    files: ProcessFiles,
    mode: int,
    beside: Callable[[native.Scan], bool] | None = None,
    find_facts: FindFacts | None = None,
) -> RegionTable[Any]:
    """The regions of a process; see read_scan().

    Args:
        files: as there.
        mode: likewise.
        beside: likewise.
        find_facts: finds facts when kinds are asked for; None: they go by the text alone.
    """
    scan, exe, consistent = read_scan(files, mode, beside)
    table = table_from_scan(scan, mode, page_size=PAGE_SIZE, exe=exe, consistent=consistent)
    table.reading.find_facts = find_facts
    resolve_names(files, table)
    return table


# ---- names that the text leaves open -----------------------------------------


def resolve_names(files: ProcessFiles, table: RegionTable[Any]) -> None:
    r"""Finds the true names of regions whose printed name can be read in two ways.

    A \012 may be a newline or those four characters, and a file may be called
    "x (deleted)". PROCMAP_QUERY and map_files settle the first;
    the second is settled by whether the path leads to the file.
    """
    reading = table.reading
    unsure = [
        name
        for name, raw in enumerate(reading.strings)
        if raw[:1] == b"/" and (b"\\012" in raw or raw.endswith(DELETED))
    ]
    if not unsure:
        return
    names = set(unsure)
    found: dict[tuple[int, int, Any], tuple[str | None, bool]] = {}
    queries = Queries(files)
    try:
        for region in table:
            if region._name in names:
                key = (region._name, region.inode, region.dev)
                if key not in found:
                    found[key] = true_name(files, queries, region)
                if found[key] != split_deleted(reading.text(region._name)):
                    reading.overrides[region._index] = found[key]
    finally:
        queries.close()


def true_name(files: ProcessFiles, queries: Queries, region: Region) -> tuple[str | None, bool]:
    """The path of a region's file and whether that path is gone."""
    raw = region.raw_pathname or b""
    if b"\\012" in raw:
        known = queries.name(region) or files.readlink(f"map_files/{region.start:x}-{region.end:x}")
        name = raw.replace(b"\\012", b"\n") if known is None else known
    else:
        name = raw
    deleted = name.endswith(DELETED) and not leads_to(files, name, region.inode)
    if deleted:
        name = name[: -len(DELETED)]
    return name.decode("utf-8", "surrogateescape"), deleted


def leads_to(files: ProcessFiles, path: bytes, inode: int) -> bool:
    """Whether the path, as the process sees it, is that file."""
    from procmem.procfs.mapped import names_on_disk, stat_link

    found = (stat_link(files, name, follow=False) for name in names_on_disk(files, path))
    return any(known is not None and known.st_ino == inode for known in found)


# ---- single regions ------------------------------------------------------------


class SingleReading:
    """Takes the place of a MapsReading for a region that was read alone."""

    __slots__ = ("files", "find_facts", "name", "words")

    # What a whole reading keeps: native/records.c asks for both, and an AttributeError costs more.
    overrides = _kinds = None

    count = 1
    unterminated = False
    exe: bytes | None = None
    page_size = PAGE_SIZE

    def __init__(
        self, words: Any, name: bytes, files: ProcessFiles, find_facts: FindFacts | None
    ) -> None:
        self.words = words
        self.name = name
        self.files = files
        self.find_facts = find_facts

    @property
    def extras(self) -> dict[int, Any]:
        """Nothing: no counters are known."""
        return {}

    @property
    def source(self) -> str:
        """Where the answer came from."""
        return f"{self.files.path}/maps (PROCMAP_QUERY)"

    def text(self, string: int) -> bytes:
        """The name as maps prints it."""
        return self.name.replace(b"\n", b"\\012") if string else b""

    def path(self, name: int, _: int) -> tuple[str | None, bool]:
        """The name, which PROCMAP_QUERY returns unescaped, and whether its file is deleted."""
        if not name:
            return None, False
        known = self.name
        marked = known.endswith(DELETED) and known[:1] == b"/"
        if marked and not leads_to(self.files, known, self.words[native.INODE]):
            return known[: -len(DELETED)].decode("utf-8", "surrogateescape"), True
        return known.decode("utf-8", "surrogateescape"), False

    def kind(self, _: int) -> Kind:
        """What the region is. That depends on its neighbours, so all of maps is read."""
        from procmem.errors import ProcmemError
        from procmem.regions.classify import classify
        from procmem.regions.marks import Marks

        words = self.words
        try:
            found: Region | None = read_table(
                self.files, native.MAPS, find_facts=self.find_facts
            ).find(words[0])
        except (ProcmemError, OSError):
            found = None
        if found is None or (found.start, found.end) != (words[0], words[1]):
            marks = Marks(words, native.HEADER_WORDS, 1, PAGE_SIZE)
            return classify(self.make(), marks, self.exe, renamed=True)[0]
        return found._reading.kind(found._index)

    def make(self) -> list[Region]:
        """The region."""
        address = int(ffi.cast(ADDRESS, self.words))
        return native.make(Region, self, address, native.HEADER_WORDS, 1)


class Queries:
    """Queries of single regions, by PROCMAP_QUERY on a maps file that is kept open."""

    __slots__ = ("_file", "_spare", "files", "find_facts", "supported")

    def __init__(self, files: ProcessFiles, find_facts: FindFacts | None = None) -> None:
        self.files = files
        self.find_facts = find_facts
        self.supported = True
        self._file: MemoryFile | None = None
        self._spare: list[Any] = []

    def close(self) -> None:
        """Closes the maps file; the next question opens it again."""
        self._file = None

    def ask(self, address: int, words: Any, vma: Any) -> bool:
        """Asks for the region at an address. False: there is none.

        Its record goes to `words`, its name and page size to `vma`.
        """
        for _ in range(ATTEMPTS):
            file = self._file
            if file is None:
                keep = self.may_keep()
                file = self.files.memory("maps")
                self._file = file if keep else None
            status = lib.pm_query_vma(file.fd, address, 0, words, vma)
            if not status:
                return True
            if status == -errno.ENOENT:
                return False
            if status != -errno.ESRCH:
                # ENAMETOOLONG concerns this region alone.
                self.supported = status == -errno.ENAMETOOLONG
                raise LookupError(os.strerror(-status))
            self.close()
            # The address space has gone since the file was opened.
            stat = self.files.stat()
            if stat.is_kernel_thread or (stat.is_zombie and not self.files.use_living_thread()):
                self.files.explain_empty()
        self.files.explain_death()
        return False

    def may_keep(self) -> bool:
        """Whether a maps file that is opened now fails once the process has another address space.

        Until it calls execve(2), a child of vfork(2) has that of its parent, and a file that was
        opened before goes on showing the parent's.
        """
        if not self.files.is_live:
            return True
        stat = self.files.stat()
        if not stat.flags & PF_FORKNOEXEC:
            return True
        # Elsewhere these are the IDs of other processes.
        here = self.files.root == "/proc"
        return here and lib.pm_shares_memory(self.files.pid, stat.ppid) == 0

    def region_at(self, address: int) -> Region | None:
        """The region that covers an address, or None.

        Raises:
            LookupError: this kernel can't answer (before 6.11, or a saved tree).
            The errors of ProcessFiles.memory().
        """
        # Room for an answer belongs to one call, since threads may ask at once.
        spare = self._spare
        vma = spare.pop() if spare else ffi.new("pm_vma *")
        words = ffi.new(RECORD)
        found = None
        if self.ask(address, words, vma):
            name = answered_name(vma) if vma.name_size else b""
            reading = SingleReading(words, name, self.files, self.find_facts)
            found = native.make(Region, reading, vma.record, native.HEADER_WORDS, 1)[0]
        spare.append(vma)
        return found

    def name(self, region: Region) -> bytes | None:
        """The unescaped name of a region, with the kernel's " (deleted)"; None: not known."""
        if not self.supported:
            return None
        words, vma = ffi.new(RECORD), ffi.new("pm_vma *")
        try:
            found = self.ask(region.start, words, vma)
        except LookupError:
            return None
        if not found or (words[0], words[native.INODE]) != (region.start, region.inode):
            return None
        return answered_name(vma)

    def page_size(self, address: int) -> int | None:
        """The page size of the region at an address, in bytes; None: not known."""
        if not self.supported:
            return None
        vma = ffi.new("pm_vma *")
        try:
            return int(vma.page_size) if self.ask(address, ffi.NULL, vma) else None
        except LookupError:
            return None


def answered_name(vma: Any) -> bytes:
    """The name in an answer, empty if there is none."""
    name: bytes = ffi.buffer(vma.name, vma.name_size)[:]
    return name


RECORD = ffi.typeof(f"uint64_t[{native.HEADER_WORDS}]")
ADDRESS = ffi.typeof("uintptr_t")
