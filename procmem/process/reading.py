"""Reads the regions and sums of a process from its files."""

from __future__ import annotations

from procmem import errors, native
from procmem.pages import measure_residency
from procmem.regions.read import Queries, read_table
from procmem.regions.region import PAGE_SIZE
from procmem.regions.text import parse_rollup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.procfs import ProcessFiles
    from procmem.regions import Counters, MeasuredRegion, Region, RegionTable, ResidentRegion
    from procmem.regions.facts import Facts
    from procmem.regions.reading import FindFacts, MapsReading

__all__ = [
    "facts_finder",
    "file_systems",
    "read_maps",
    "read_residency",
    "read_rollup",
    "read_smaps",
]


def read_maps(files: ProcessFiles) -> RegionTable[Region]:
    """The regions of a process; see Process.maps()."""
    table: RegionTable[Region] = read_table(files, native.MAPS, find_facts=facts_finder(files))
    return table


def read_smaps(files: ProcessFiles) -> RegionTable[MeasuredRegion]:
    """The regions of a process with every counter of smaps; see Process.smaps()."""
    table: RegionTable[MeasuredRegion] = read_table(
        files, native.SMAPS, find_facts=facts_finder(files)
    )
    return table


def read_residency(files: ProcessFiles) -> RegionTable[ResidentRegion]:
    """The regions of a process with their resident bytes; see Process.residency()."""

    def beside(scan: native.Scan) -> bool:
        return add_residency(files, scan)

    table: RegionTable[ResidentRegion] = read_table(
        files, native.RESIDENT, beside, facts_finder(files)
    )
    return table


def add_residency(files: ProcessFiles, scan: native.Scan) -> bool:
    """Adds resident and swapped bytes to scanned regions; False: they changed meanwhile."""
    queries = Queries(files)
    starts: list[int] = []
    kinds: dict[int, str] = {}

    def is_hugetlb(record: int) -> bool | None:
        starts[:] = starts or scan.column(0)
        size = queries.page_size(starts[record])
        return None if size is None else size > PAGE_SIZE

    def is_shmem(dev: int) -> bool:
        if not kinds:
            kinds.update(file_systems(files))
        # The kernel's own mount for memfd, System V and anonymous shared
        # memory is in no list of mounts.
        return kinds.get(dev, "tmpfs") in ("tmpfs", "devtmpfs", "ramfs")

    with files.memory("pagemap") as pagemap:
        try:
            found = measure_residency(pagemap.fd, scan, PAGE_SIZE, is_hugetlb, is_shmem)
        except ProcessLookupError:
            # The address space is gone; the caller finds that out from maps.
            return False
        except OSError as error:
            files.fail(error, pagemap.path)
    return not found.stray


def read_rollup(files: ProcessFiles) -> Counters:
    """The sums of smaps' counters over all regions; see Process.rollup()."""
    while True:
        with files.memory("smaps_rollup") as file:
            # The kernel makes this text in one piece, with the address space locked: it is
            # whole, or empty.
            try:
                data = file.read()
            except (errors.ZombieProcess, errors.ProcessChanged):
                # Older kernels open the file of a thread that has exited.
                if not files.use_living_thread():
                    raise
                continue
            if data:
                return parse_rollup(data, source=file.path)
        files.explain_empty()


def facts_finder(files: ProcessFiles) -> FindFacts:
    """A function that finds facts about regions when their kinds are asked for."""

    def find(regions: Sequence[Region], reading: MapsReading) -> Facts | None:
        from procmem.process.facts import facts_of

        return facts_of(files, regions, reading)

    return find


def file_systems(files: ProcessFiles) -> dict[int, str]:
    """The type of each mounted file system by its device (major << 32 | minor)."""
    found = {}
    for line in files.read(files.memory_name("mountinfo")).split(b"\n"):
        before, dash, behind = line.partition(b" - ")
        if dash:
            major, _, minor = before.split(b" ")[2].partition(b":")
            found[int(major) << 32 | int(minor)] = behind.split(b" ")[0].decode("ascii", "replace")
    return found
