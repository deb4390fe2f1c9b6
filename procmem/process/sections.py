"""Finds the ELF files that a process has loaded, and counts their bytes in its page table."""

from __future__ import annotations

import os
from bisect import bisect_left

from procmem import native
from procmem.elf import limits
from procmem.elf.headers import ElfFile
from procmem.elf.image import MemorySource, image_of, kept_image, place, reason_of
from procmem.elf.notes import build_id
from procmem.elf.source import Source
from procmem.elf.spec import PF_W, PF_X
from procmem.procfs.mapped import (
    mapped_build_id,
    names_on_disk,
    open_link,
    read_memory,
    stat_link,
)
from procmem.procfs.text import kernel_bytes
from procmem.regions.kinds import Kind, Owner, RegionKind
from procmem.regions.read import ATTEMPTS, read_table
from procmem.regions.region import PAGE_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from procmem.elf.image import Image
    from procmem.elf.loaded import LiveObject, Row
    from procmem.pages.states import PageStates
    from procmem.procfs import MemoryFile, ProcessFiles
    from procmem.regions import Region, RegionTable

__all__ = ["Mapped", "header_kinds", "locate", "look_at_files", "objects_of"]

ROOT_ONLY = "the mapped file no longer has its path; only root can open it (/proc/PID/map_files)"


class Mapped:
    """A file that a process has mapped, and what could be read of it.

    Attributes:
        regions: all regions of this file, by address.
        image: its headers; None: the mapped file can't be opened, or is not an ELF file.
        link: a name in the process's /proc directory that refers to the mapped file, or None.
        identity: device, inode, size and mtime of that file; None: it was not found.
        build_id, file_build_id: see LiveObject; as bytes here: b"" if the file has no build-id,
            None if it is not known.
        state, reason: see LiveObject.
    """

    __slots__ = (
        "build_id",
        "file_build_id",
        "identity",
        "image",
        "link",
        "reason",
        "regions",
        "state",
    )

    def __init__(self, regions: Sequence[Region]) -> None:
        self.regions = regions
        self.image: Image | None = None
        self.link: bytes | None = None
        self.identity: tuple[int, ...] | None = None
        self.build_id: bytes | None = None
        self.file_build_id: bytes | None = None
        self.state = "unreadable"
        self.reason = ""

    @property
    def path(self) -> bytes:
        """The file's path, as the process sees it."""
        return kernel_bytes(self.regions[0].pathname or "")


# ---- finding and opening -----------------------------------------------------


def candidates(table: RegionTable[Any]) -> list[list[Region]]:
    """The regions of each file that may be a loaded ELF file.

    These are files with an executable region, and files whose regions have different permissions: a
    library that has only data has no executable region.
    """
    groups: dict[tuple[Any, ...], list[Region]] = {}
    for region in table:
        raw = region.raw_pathname
        if region.inode and raw and raw.startswith(b"/"):
            groups.setdefault((region.dev, region.inode, raw), []).append(region)
    return [
        group
        for group in groups.values()
        if any(region.perms.private for region in group)
        and (
            any(region.perms.execute for region in group)
            or len({str(region.perms) for region in group}) > 1
        )
    ]


def look_at_files(
    files: ProcessFiles, maps: MemoryFile, table: RegionTable[Any]
) -> tuple[list[Mapped], dict[int, list[int]]]:
    """The ELF files of a process, and the load biases of each, by its index in the list.

    Args:
        files: the process.
        maps: its open maps file, which is asked for build-ids.
        table: its regions.
    """
    found: list[Mapped] = []
    places: dict[int, list[int]] = {}
    room = limits.PROCESS_SECTIONS
    for regions in candidates(table):
        mapped = look_at(files, maps, regions)
        if mapped.image is not None:
            room -= len(mapped.image.sections)
            if room < 0:
                mapped.image, mapped.link, mapped.state = None, None, "unreadable"
                mapped.reason = (
                    f"left out: more than {limits.PROCESS_SECTIONS:,} sections in all files of"
                    " the process"
                )
        executable = any(region.perms.execute and region.perms.private for region in regions)
        biases = [] if mapped.image is None else place(mapped.image, regions, PAGE_SIZE)
        if not biases and not executable:
            continue  # a file that is mapped as data
        if mapped.image is not None and not biases:
            mapped.image, mapped.state = None, "unreadable"
            mapped.reason = "its regions are not where its program headers put them"
        places[len(found)] = biases
        found.append(mapped)
    return found, places


def look_at(files: ProcessFiles, maps: MemoryFile, regions: Sequence[Region]) -> Mapped:
    """Reads a mapped file, identified by its inode: never another file that now has its path."""
    mapped = Mapped(regions)
    first = regions[0]
    mapped.build_id = mapped_build_id(maps, first.start)
    if mapped.build_id is None:
        mapped.build_id = build_id_in_memory(files, regions)
    beneath, on_disk = look_on_disk(files, first)
    exact = f"map_files/{first.start:x}-{first.end:x}".encode()
    ways: list[tuple[bytes, os.stat_result]] = []
    inode = stat_link(files, exact, follow=True)
    if inode is not None:
        ways.append((exact, inode))
    same = on_disk is not None and (
        agrees(on_disk, first)
        if inode is None
        else (on_disk.st_dev, on_disk.st_ino) == (inode.st_dev, inode.st_ino)
    )
    if not ways:
        exe = files.memory_name("exe").encode()
        program = stat_link(files, exe, follow=True)
        if program is not None and agrees(program, first):
            ways.append((exe, program))
    if on_disk is not None and (same or (not first.deleted and not ways)):
        ways.append((beneath, on_disk))
    for link, told in ways:
        read_headers(files, mapped, link, told)
        if mapped.image is None:
            continue
        told_id = mapped.build_id
        if link == beneath and not same:
            # On btrfs and older overlay file systems maps shows another device. The build-id,
            # which the kernel reads from the mapped inode, can show that it is the same file.
            same = bool(told_id) and told_id == mapped.image.build_id
            if not same:
                mapped.image, mapped.link = None, None
                mapped.reason = ROOT_ONLY
        elif told_id and told_id != mapped.image.build_id:
            mapped.image, mapped.link = None, None
            mapped.reason = "its build-id differs from that of the mapped file"
        break
    if mapped.image is not None and not mapped.build_id:
        mapped.build_id = mapped.image.build_id
    set_state(files, mapped, beneath, on_disk, same=same)
    return mapped


def look_on_disk(files: ProcessFiles, region: Region) -> tuple[bytes, os.stat_result | None]:
    """The name by which the file that now has a region's path is opened, and its stat result."""
    path = kernel_bytes(region.pathname or "")
    found = [
        (name, told)
        for name in names_on_disk(files, path)
        if (told := stat_link(files, name, follow=False)) is not None
    ]
    theirs = (each for each in found if agrees(each[1], region))
    return next(theirs, None) or next(iter(found), (b"", None))


def build_id_in_memory(files: ProcessFiles, regions: Sequence[Region]) -> bytes | None:
    """The build-id in the process's memory, for kernels that don't return it; None: not known.

    The page is read only if it is resident, so that the process's memory does not change.
    """
    from procmem.pages.states import read_states

    first = next((region for region in regions if not region.offset), None)
    if first is None or not first.perms.read:
        return None
    try:
        with files.memory("pagemap") as pagemap:
            head = first.start, first.start + PAGE_SIZE
            if not read_states(pagemap.fd, [head], PAGE_SIZE).runs:
                return None
    except OSError:
        return None
    source = MemorySource(
        lambda address, size: read_memory(files, address, size), first.start, PAGE_SIZE, ""
    )
    try:
        return build_id(ElfFile(source), in_memory=True) or None
    except (ValueError, OSError):
        return None


def agrees(told: os.stat_result, region: Region) -> bool:
    """Whether a file is the one that a region maps, judged by the device and inode in maps."""
    device = os.major(told.st_dev), os.minor(told.st_dev)
    return (device, told.st_ino) == (tuple(region.dev), region.inode)


def identity_of(told: os.stat_result) -> tuple[int, ...]:
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns


def read_headers(files: ProcessFiles, mapped: Mapped, link: bytes, told: os.stat_result) -> None:
    """Reads the headers of a file, or takes them from the cache."""
    mapped.link, mapped.identity = link, identity_of(told)
    kept = kept_image(mapped.identity)
    if kept is None:
        kept = headers_at(files, mapped, link, told)
    if isinstance(kept, str):
        mapped.reason, mapped.link = kept, None
    else:
        mapped.image, mapped.reason = kept, ""


def headers_at(
    files: ProcessFiles, mapped: Mapped, link: bytes, told: os.stat_result
) -> Image | str:
    fd = open_link(files, link, told)
    if fd is None:
        return "it can't be opened"
    try:
        now = os.fstat(fd)
        source = Source(fd, 0, now.st_size, mapped.path)
        return image_of(source, identity_of(now))
    except ValueError as error:  # ElfError
        return reason_of(error)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(fd)


def set_state(
    files: ProcessFiles,
    mapped: Mapped,
    beneath: bytes,
    on_disk: os.stat_result | None,
    *,
    same: bool,
) -> None:
    """Sets the state: how the mapped file compares with the file that has its path now."""
    first = mapped.regions[0]
    if same:
        mapped.file_build_id = mapped.image.build_id if mapped.image is not None else None
        mapped.state = "same" if mapped.image is not None else "unreadable"
        return
    if on_disk is not None:
        mapped.state = "replaced"
        other = Mapped(mapped.regions)
        read_headers(files, other, beneath, on_disk)
        mapped.file_build_id = None if other.image is None else other.image.build_id
    elif first.deleted:
        mapped.state = "deleted"
    else:
        mapped.reason = mapped.reason or "no file has its path for this process"
    if mapped.image is None and mapped.state != "unreadable":
        mapped.reason = mapped.reason or ROOT_ONLY


# ---- the vdso ------------------------------------------------------------------

_vdsos: dict[bytes, Image] = {}


def look_at_vdso(files: ProcessFiles, region: Region) -> Mapped:
    """The vdso (vdso(7)), which the kernel maps; its headers are read from memory."""
    mapped = Mapped([region])
    mapped.state = "kernel"

    def read(address: int, size: int) -> bytes:
        return read_memory(files, address, size)

    source = MemorySource(read, region.start, region.size, "[vdso]")
    try:
        # The first page is resident once a C library has started. The last page, with the
        # section headers, may not be, so they are cached.
        name = build_id(ElfFile(source), in_memory=True)
        if name not in _vdsos:
            _vdsos[name] = image_of(source, in_memory=True)
        mapped.image = _vdsos[name]
        mapped.build_id = name
    except (ValueError, OSError) as error:
        mapped.state = "unreadable"
        mapped.reason = reason_of(error)
    return mapped


# ---- counting their bytes in the page table -------------------------------------------


def locate(
    files: ProcessFiles, maps: MemoryFile, table: RegionTable[Any]
) -> list[tuple[Mapped, int]]:
    """Each loaded object of a process with its load bias (0 if that is not known).

    Args and errors are those of look_at_files(). The vdso is the last one.
    """
    found, places = look_at_files(files, maps, table)
    located = [
        (mapped, bias) for index, mapped in enumerate(found) for bias in places[index] or [0]
    ]
    for region in table:
        if region.raw_pathname == b"[vdso]":
            mapped = look_at_vdso(files, region)
            biases = [] if mapped.image is None else vdso_place(mapped.image, region)
            located += [(mapped, bias) for bias in biases or [0]]
    return located


def vdso_place(image: Image, region: Region) -> list[int]:
    first = image.loads[0] if image.loads else None
    return [] if first is None else [region.start + first.offset - first.vaddr]


def objects_of(files: ProcessFiles) -> tuple[RegionTable[Any], list[LiveObject]]:
    """The regions of a process, and its loaded ELF objects with their bytes, by address.

    The kinds of regions that belong to these objects are determined from the ELF headers.

    Raises:
        AccessDenied, NoSuchProcess, ZombieProcess, KernelThread, ProcessChanged: see
            ProcessFiles.memory().
    """
    tries = 0
    while True:
        tries += 1
        with files.memory("maps") as maps:
            table = read_table(files, native.MAPS)
            objects = [lay_out(table, mapped, bias) for mapped, bias in locate(files, maps, table)]
            states = read_pages(files, objects)
            again = read_table(files, native.MAPS)
            maps.check()
        steady = all(same_regions(table, again, each) for each in objects)
        if steady or tries == ATTEMPTS or not files.is_live:
            break
    table.consistent = table.consistent and steady
    objects.sort(key=lambda each: each.start)
    for each in objects:
        count_pages(table, each, states)
    tell_kinds(table, objects)
    return table, objects


def read_pages(files: ProcessFiles, objects: Iterable[LiveObject]) -> PageStates:
    from procmem.elf.loaded import union
    from procmem.pages.states import PageStates, read_states

    spans = union(piece for each in objects for piece in each.pieces)
    with files.memory("pagemap") as pagemap:
        try:
            return read_states(pagemap.fd, spans, PAGE_SIZE)
        except ProcessLookupError:
            # The address space is gone: maps.check() raises the error for that.
            return PageStates(())
        except OSError as error:
            files.fail(error, pagemap.path)


def same_regions(before: RegionTable[Any], after: RegionTable[Any], live: LiveObject) -> bool:
    """Whether the regions of an object are the same in both tables."""
    if not live.regions:
        return True
    start, end = live.regions[0].start, live.regions[-1].end
    return inside(before, start, end) == inside(after, start, end)


def inside(table: RegionTable[Any], start: int, end: int) -> list[Region]:
    first = bisect_left(table, start + 1, key=lambda region: region.end)
    found = []
    for region in table[first:]:
        if region.start >= end:
            break
        found.append(region)
    return found


def lay_out(table: RegionTable[Any], mapped: Mapped, bias: int) -> LiveObject:
    """An object, with the parts of regions that belong to it.

    Args:
        table: the regions of the process.
        mapped: the object's file.
        bias: its load bias.
    """
    from procmem.elf.loaded import LiveObject, length, union

    first = mapped.regions[0]
    live = LiveObject()
    live.path = first.pathname or ""
    live.owner = next((r.owner for r in mapped.regions if r.owner is not None), None)
    live.bias, live.image = bias, mapped.image
    live.build_id = mapped.build_id.hex() if mapped.build_id else None
    live.file_build_id = mapped.file_build_id.hex() if mapped.file_build_id else None
    live.state, live.reason = mapped.state, mapped.reason
    image = mapped.image
    if image is None:
        live.regions = list(mapped.regions)
        live.pieces = union((region.start, region.end) for region in mapped.regions)
        live.size, live.gaps = length(live.pieces), 0
        live.start = first.start
        return live
    pages = union(tuple(bias + edge for edge in load.pages(PAGE_SIZE)) for load in image.loads)
    span = pages[0][0], pages[-1][1]
    live.start = span[0]
    live.size = live.gaps = 0
    own: list[tuple[int, int]] = []
    live.regions = regions = []
    for region in inside(table, *span):
        within = [
            (max(start, region.start), min(end, region.end))
            for start, end in pages
            if start < region.end and region.start < end
        ]
        if region.inode == first.inode and region.dev == first.dev:
            # A loader may leave regions of the file between its segments.
            live.size += region.size
            live.gaps += region.size - length(within)
        elif within and (region.pathname is None or region.pathname.startswith(ANONYMOUS)):
            live.size += length(within)
        elif not (within and region is first):
            continue
        own += within
        regions.append(region)
    live.pieces = union(own)
    return live


ANONYMOUS = ("[anon:", "[heap]")
"""Beginnings of the names of anonymous regions that may contain bss: programs can name such a
region, and the kernel names the region of the program break."""


def count_pages(table: RegionTable[Any], live: LiveObject, states: PageStates) -> None:
    """Counts the bytes of an object and of its sections."""
    from procmem.elf.loaded import Rest, length, union, without

    pages = states.clip(live.pieces)
    live.resident, live.private, live.swapped = pages.total
    rows: list[Row] = []
    covered = []
    if live.image is not None:
        find = table.find
        for section in live.image.sections:
            if section.loaded:
                start = live.bias + section.address
                end = start + section.size
                rows.append((*pages.within(start, end), find(start)))
                if section.size:
                    covered.append((start, end))
            else:
                rows.append((0, 0, 0, None))
    between = pages.clip(without(live.pieces, union(covered)))
    left = length(without(live.pieces, union(covered)))
    live.rows = rows
    live.rest = Rest(left + live.gaps, *between.total)


# ---- kinds by the headers ---------------------------------------------------------


def tell_kinds(table: RegionTable[Any], objects: Sequence[LiveObject]) -> None:
    """Corrects kinds of regions of ELF files that were guessed by position and permissions."""
    reading = table.reading
    read = {live.name for live in objects if live.image is not None}
    for live in objects:
        if live.image is None or live.state == "kernel":
            continue
        owner = live.owner or Owner.LIBRARY
        for region in live.regions:
            kind = kind_of(region, live.bias, live.image)
            if kind is not None:
                reading.retell(region._index, Kind(kind, owner, "elf", live.name))
    for index in range(reading.count):
        told = reading.kind(index)
        if told.kind is RegionKind.BSS and told.evidence == "position" and told.name in read:
            # According to the headers the object before it ends there.
            reading.retell(index, Kind(RegionKind.ANON, None, "elf", "anonymous"))


def header_kinds(
    table: RegionTable[Any], mapped: Mapped, bias: int
) -> Iterator[tuple[Region, RegionKind]]:
    """The regions that a file's segments are mapped in, with their kinds by its headers.

    Args:
        table: the regions of the process.
        mapped: the file.
        bias: its load bias.
    """
    image, first = mapped.image, mapped.regions[0]
    if image is None:
        return
    start = min(load.pages(PAGE_SIZE)[0] for load in image.loads) + bias
    end = max(load.pages(PAGE_SIZE)[1] for load in image.loads) + bias
    regions = inside(table, start, end)
    layout = tuple(
        [
            (region.start, region.end, region._perms, region.inode, bool(region._name))
            for region in regions
        ]
    )
    key = mapped.identity, bias, layout
    known = _header_kinds.get(key)
    if known is None:
        if len(_header_kinds) > KEPT:
            _header_kinds.clear()
        known = _header_kinds[key] = list(kinds_by_headers(regions, first, image, bias))
    for index, kind in known:
        yield regions[index], kind


KEPT = 2048
_header_kinds: dict[Any, list[tuple[int, RegionKind]]] = {}
"""The kinds found so far, by the file's identity, its bias and its regions."""


def kinds_by_headers(
    regions: Sequence[Region], first: Region, image: Image, bias: int
) -> Iterator[tuple[int, RegionKind]]:
    pages = [tuple(bias + edge for edge in load.pages(PAGE_SIZE)) for load in image.loads]
    for index, region in enumerate(regions):
        if (region.inode, region.dev) == (first.inode, first.dev) or (
            not region.inode
            and (region.pathname is None or region.pathname.startswith(ANONYMOUS))
            and any(
                start < region.end and region.start < end for start, end in pages if start < end
            )
        ):
            kind = kind_of(region, bias, image)
            if kind is not None:
                yield index, kind


def kind_of(region: Region, bias: int, image: Image) -> RegionKind | None:
    """The kind of most of a region, by the segments mapped there; None: no segment is."""
    weights: dict[RegionKind, int] = {}

    def add(kind: RegionKind, start: int, end: int) -> None:
        common = min(end, region.end) - max(start, region.start)
        if common > 0:
            weights[kind] = weights.get(kind, 0) + common

    for load in image.loads:
        start, middle = (bias + edge for edge in load.file_pages(PAGE_SIZE))
        end = bias + load.pages(PAGE_SIZE)[1]
        add(RegionKind.BSS, middle, end)
        if load.flags & PF_X:
            add(RegionKind.TEXT, start, middle)
        elif not load.flags & PF_W:
            add(RegionKind.RODATA, start, middle)
        elif image.relro is not None and not region.perms.write:
            # The loader makes only the whole pages of PT_GNU_RELRO read-only.
            add(RegionKind.RELRO, start, middle)
        else:
            add(RegionKind.DATA, start, middle)
    if not weights:
        return None
    kind = max(weights, key=lambda kind: weights[kind])
    # Anonymous memory that merged with bss is not bss.
    return kind if 2 * weights[kind] >= region.size else None
