"""Region, MeasuredRegion (with the counters of smaps) and ResidentRegion, over packed records."""

from __future__ import annotations

import os
import sys

from procmem import native
from procmem.native import Record
from procmem.regions.counters import (
    ATTRIBUTES,
    KERNEL_NAMES,
    NOT_BYTES,
    Counters,
    added,
    of_those_shown,
)
from procmem.regions.perms import Device, Perms, VmFlags
from procmem.regions.reading import DELETED, MapsReading

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    from procmem.regions.kinds import Owner, RegionKind, Use
    from procmem.regions.reading import AnyReading

    AnyRegion = TypeVar("AnyRegion", bound="Region")

    class _Word:
        """An attribute of the native record: bytes, or None if it was not read."""

        def __get__(self, region: object, owner: type[object]) -> int | None: ...


__all__ = ["MODES", "MeasuredRegion", "Region", "ResidentRegion"]


class Region(Record):
    """One mapping of a process: a line of /proc/PID/maps.

    Immutable, hashable, ordered by start. `address in region` is True if the region
    covers the address.

    Args:
        start, end: addresses; end is the first byte after the region.
        perms: four letters, such as "rw-p".
        offset: the offset in the file at which the region starts, in bytes.
        dev: the device number of the file, (major, minor).
        inode: the inode number of the file; 0 if there is no file.
        pathname: the file's path, or a name in brackets from the kernel; None if anonymous.
        deleted: whether the file has been unlinked.

    Attributes:
        start, end, offset, inode: int.
        size: end - start, in bytes.

    Raises:
        ValueError: end is less than start, or a number is negative or larger than 64 bits.

    Source: proc_pid_maps(5); fs/proc/task_mmu.c, show_map_vma().

    >>> region = Region(0x400000, 0x402000, "r-xp", pathname="/bin/true", inode=7)
    >>> region.size, region.perms.execute, 0x401fff in region, 0x402000 in region
    (8192, True, True, False)
    """

    __slots__ = ()

    if TYPE_CHECKING:
        # Made in native/records.c, which keeps what is alike: a Python property takes 0.2 µs.
        @property
        def _reading(self) -> AnyReading: ...
        @property
        def perms(self) -> Perms: ...  # noqa: D102
        @property
        def dev(self) -> Device: ...  # noqa: D102
        @property
        def pathname(self) -> str | None: ...  # noqa: D102
        @property
        def deleted(self) -> bool: ...  # noqa: D102
        @property
        def kind(self) -> RegionKind: ...  # noqa: D102
        @property
        def owner(self) -> Owner | None: ...  # noqa: D102
        @property
        def kind_evidence(self) -> str: ...  # noqa: D102
        @property
        def use(self) -> Use | None: ...  # noqa: D102
        @property
        def name(self) -> str: ...  # noqa: D102

    def __new__(  # noqa: D102 - the class lists the arguments
        cls,
        start: int,
        end: int,
        perms: str = "rw-p",
        offset: int = 0,
        dev: tuple[int, int] = (0, 0),
        inode: int = 0,
        pathname: str | None = None,
        deleted: bool = False,
        **counters: Any,
    ) -> Region:
        named = {cls._counter_name(given): value for given, value in counters.items()}
        if len(named) < len(counters):
            raise TypeError("a counter is given twice: by attribute and by the kernel's name")
        return _build(cls, (start, end, perms, offset, dev, inode, pathname, deleted), named)

    @property
    def raw_pathname(self) -> bytes | None:
        """The name exactly as the kernel printed it; None if anonymous."""
        name = self._name
        return self._reading.text(name) if name else None

    @property
    def kind_guess(self) -> bool:
        """Whether `kind` is a guess: plausible, but not proven."""
        return self._reading.kind(self._index).guess

    @property
    def name_guess(self) -> bool:
        """Whether `name` is a guess. A name that the kernel printed is not."""
        if self._name:
            return False
        return self._reading.kind(self._index).name_guess

    def line(self) -> bytes:
        """The region's line of /proc/PID/maps, without the newline.

        For a parsed region, these are exactly the bytes that were parsed.
        """
        raw = self._raw
        if raw:
            return self._reading.text(raw)
        name = self._name
        return plain_line(
            self.start,
            self.end,
            _native_bytes(self._perms),
            self.offset,
            (self._dev_major, self._dev_minor),
            self.inode,
            self._reading.text(name) if name else b"",
        )

    def to_record(self) -> dict[str, Any]:
        """All fields as a flat dict of plain values: a row for a data frame, or JSON."""
        kind = self._reading.kind(self._index)
        pathname, deleted = self._reading.path(self._name, self._index)
        return {
            "start": self.start,
            "end": self.end,
            "size": self.size,
            "perms": str(self.perms),
            "offset": self.offset,
            "dev": str(self.dev),
            "inode": self.inode,
            "pathname": pathname,
            "deleted": deleted,
            "kind": kind.kind.value,
            "owner": kind.owner.value if kind.owner else None,
            "kind_evidence": kind.evidence,
            "kind_guess": kind.guess,
            "use": None if kind.use is None else kind.use.name,
            "use_evidence": None if kind.use is None else kind.use.evidence,
            "use_guess": None if kind.use is None else kind.use.guess,
            "name": kind.name,
        }

    def _fields(self) -> tuple[Any, ...]:
        return (
            self.start,
            self.end,
            self._perms,
            self.offset,
            self._dev_major,
            self._dev_minor,
            self.inode,
            self._reading.path(self._name, self._index),
        )

    def _order(self) -> tuple[Any, ...]:
        pathname, deleted = self._reading.path(self._name, self._index)
        return (*self._fields()[:-1], pathname or "", deleted)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Region) or type(other) is not type(self):
            return NotImplemented
        return self._fields() == other._fields()

    def __lt__(self, other: object) -> bool:
        return self._order() < other._order() if isinstance(other, Region) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self._order() <= other._order() if isinstance(other, Region) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self._order() > other._order() if isinstance(other, Region) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self._order() >= other._order() if isinstance(other, Region) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.start, self.end, self._perms, self.offset, self.inode))

    def __repr__(self) -> str:
        pathname, deleted = self._reading.path(self._name, self._index)
        mark = " (deleted)" if deleted else ""
        shown = f" {pathname!r}{mark}" if pathname is not None else ""
        return f"<{type(self).__name__} {self.start:08x}-{self.end:08x} {self.perms}{shown}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the fields of the region."""
        from procmem.regions.html import region_html

        return region_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        pathname, deleted = self._reading.path(self._name, self._index)
        fields = (
            self.start,
            self.end,
            str(self.perms),
            self.offset,
            (self._dev_major, self._dev_minor),
            self.inode,
            pathname,
            deleted,
        )
        return _build, (type(self), fields, self._counter_values())

    def __copy__(self: AnyRegion) -> AnyRegion:
        return self

    def __deepcopy__(self: AnyRegion, memo: object) -> AnyRegion:
        return self

    def _counter_values(self) -> dict[str, Any]:
        return {}

    @classmethod
    def _counter_name(cls, given: str) -> str:
        raise TypeError(f"{cls.__name__} has no {given!r}")


def _word(name: str) -> _Word:
    word: _Word = Record.__dict__[f"_extra{native.COUNTER_NAMES.index(name)}"]
    return word


class MeasuredRegion(Region):
    """A region with the counters of /proc/PID/smaps, in bytes.

    Each counter is an attribute, which is None if the kernel did not print it, and
    is in `counters` under the kernel's name.

    Source: proc_pid_smaps(5); fs/proc/task_mmu.c, show_smap().

    >>> region = MeasuredRegion(0x1000, 0x3000, Rss=4096, Pss=2048, vm_flags="rd mr")
    >>> region.rss, region.pss, region.swap, "rd" in region.vm_flags
    (4096, 2048, None, True)
    """

    __slots__ = ()

    kernel_page_size = _word("KernelPageSize")
    mmu_page_size = _word("MMUPageSize")
    rss = _word("Rss")
    pss = _word("Pss")
    pss_dirty = _word("Pss_Dirty")
    shared_clean = _word("Shared_Clean")
    shared_dirty = _word("Shared_Dirty")
    private_clean = _word("Private_Clean")
    private_dirty = _word("Private_Dirty")
    referenced = _word("Referenced")
    anonymous = _word("Anonymous")
    ksm = _word("KSM")
    lazy_free = _word("LazyFree")
    anon_huge_pages = _word("AnonHugePages")
    shmem_pmd_mapped = _word("ShmemPmdMapped")
    file_pmd_mapped = _word("FilePmdMapped")
    shared_hugetlb = _word("Shared_Hugetlb")
    private_hugetlb = _word("Private_Hugetlb")
    swap = _word("Swap")
    swap_pss = _word("SwapPss")
    locked = _word("Locked")
    thp_eligible = _word("THPeligible")
    protection_key = _word("ProtectionKey")

    @property
    def uss(self) -> int | None:
        """Resident bytes that no other process maps (Counters.uss); None: not known."""
        return added(self.private_clean, self.private_dirty)

    @property
    def hugetlb(self) -> int | None:
        """Bytes of hugetlbfs huge pages, which rss, pss and uss do not include; None: not known."""
        return added(self.shared_hugetlb, self.private_hugetlb)

    @property
    def huge(self) -> int | None:
        """Bytes of rss that huge pages map (Counters.huge); None: not known."""
        return of_those_shown(self.anon_huge_pages, self.shmem_pmd_mapped, self.file_pmd_mapped)

    @property
    def vm_flags(self) -> VmFlags | None:
        """The flags of the VmFlags line; None if the kernel printed none."""
        flags = self._flags
        if not flags:
            return None
        known = _FLAGS.get(text := self._reading.text(flags))
        if known is None:
            if len(_FLAGS) > 4096:
                _FLAGS.clear()
            known = _FLAGS[text] = VmFlags(text.decode("utf-8", "surrogateescape"))
        return known

    @property
    def counters(self) -> Counters:
        """All counters by the kernel's names, including those that procmem does not know."""
        return Counters(self._counter_values(flags=False))

    def _counter_values(self, *, flags: bool = True) -> dict[str, Any]:
        values: dict[str, Any] = {
            name: value
            for name, value in zip(native.COUNTER_NAMES, self._extras(), strict=True)
            if value is not None
        }
        values.update(self._reading.extras.get(self._index, ()))
        if flags and self._flags:
            values["VmFlags"] = self._reading.text(self._flags).decode("utf-8", "surrogateescape")
        return values

    @classmethod
    def _counter_name(cls, given: str) -> str:
        return "VmFlags" if given == "vm_flags" else KERNEL_NAMES.get(given, given)

    def _fields(self) -> tuple[Any, ...]:
        extras = self._reading.extras.get(self._index, ())
        flags = self._reading.text(self._flags) if self._flags else None
        return (
            *super()._fields()[:-1],
            self._extras(),
            tuple(extras),
            flags,
            super()._fields()[-1],
        )

    def to_record(self) -> dict[str, Any]:
        """A flat dict of plain values, with the counters that the kernel printed, by attribute."""
        record = super().to_record()
        for name, value in zip(native.COUNTER_NAMES, self._extras(), strict=True):
            if value is not None and name != "Size":
                record[ATTRIBUTES[name]] = value
        record["uss"] = self.uss
        record["vm_flags"] = self._counter_values().get("VmFlags")
        if unknown := self._reading.extras.get(self._index):
            record["unknown"] = dict(unknown)
        return record


class ResidentRegion(Region):
    """A region with its resident and swapped bytes, from the page table.

    Attributes:
        rss: bytes of its pages in memory, like Rss of smaps: neither the zero page
            nor hugetlbfs huge pages count. None: not known.
        swap: bytes of its private pages in swap. None for shared memory if the machine
            has swap: only smaps shows how many pages of shared memory are in swap,
            the page table does not.

    Source: Documentation/admin-guide/mm/pagemap.rst, PAGEMAP_SCAN.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        rss: _Word
        swap: _Word
    else:
        rss = Record._extra0
        swap = Record._extra1

    def _counter_values(self) -> dict[str, Any]:
        values = {"rss": self.rss, "swap": self.swap}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def _counter_name(cls, given: str) -> str:
        return given if given in ("rss", "swap") else super()._counter_name(given)

    def _fields(self) -> tuple[Any, ...]:
        return (*super()._fields()[:-1], self.rss, self.swap, super()._fields()[-1])

    def to_record(self) -> dict[str, Any]:
        """A flat dict of plain values."""
        return {**super().to_record(), "rss": self.rss, "swap": self.swap}


MODES: dict[int, type[Region]] = {
    native.MAPS: Region,
    native.SMAPS: MeasuredRegion,
    native.RESIDENT: ResidentRegion,
}
"""The class of the regions, for each mode of a scan."""

_FLAGS: dict[bytes, VmFlags] = {}


def _native_bytes(word: int) -> bytes:
    return word.to_bytes(4, sys.byteorder)


native.use(
    lambda word: Perms(_native_bytes(word).decode("ascii")),
    lambda word: Device(word >> 32, word & 0xFFFFFFFF),
)


def plain_line(
    start: int,
    end: int,
    perms: bytes,
    offset: int,
    dev: tuple[int, int],
    inode: int,
    name: bytes,
) -> bytes:
    """A line of maps as a 64-bit kernel prints it (fs/proc/task_mmu.c, show_vma_header_prefix)."""
    head = b"%08x-%08x %b %08x %02x:%02x %d " % (start, end, perms, offset, *dev, inode)
    return b"%-72b %b" % (head, name) if name else head


def _build(cls: type[AnyRegion], fields: tuple[Any, ...], counters: Mapping[str, Any]) -> AnyRegion:
    """A region from its fields: formatted and then scanned, so that all regions are made alike."""
    start, end, perms, offset, dev, inode, pathname, deleted = fields
    if min(start, end, offset, inode, *dev) < 0:
        raise ValueError("the numbers of a region can't be negative")
    name = b""
    if pathname is not None:
        name = pathname.encode("utf-8", "surrogateescape").replace(b"\n", b"\\012")
        name += DELETED if deleted else b""
    lines = [plain_line(start, end, perms.encode("ascii"), offset, dev, inode, name)]
    mode = native.MAPS
    if issubclass(cls, MeasuredRegion):
        mode = native.SMAPS
        lines += counter_lines(counters)
    elif issubclass(cls, ResidentRegion):
        mode = native.RESIDENT
    scan = native.Scan(mode, "<made by hand>")
    scan.feed(b"\n".join(lines) + b"\n")
    scan.finish()
    if scan.count != 1:
        raise ValueError("a field of the region contains a newline, which would end its line")
    if mode == native.RESIDENT:
        scan.set_residency(0, counters.get("rss"), counters.get("swap"))
    reading = MapsReading(scan, cls, source="<made by hand>", page_size=PAGE_SIZE, exe=None)
    region = reading.make(cls)[0]
    if (region.pathname, region.deleted) != (pathname, deleted):
        reading.overrides[0] = (pathname, deleted)
    return region


PAGE_SIZE = os.sysconf("SC_PAGESIZE")

BYTES = ATTRIBUTES.keys() - NOT_BYTES


def counter_lines(counters: Mapping[str, Any]) -> list[bytes]:
    """The lines of smaps for counters, given by the kernel's names."""
    lines = []
    for name, value in counters.items():
        if value is None:
            continue
        if name == "VmFlags":
            text = str(value if isinstance(value, str) else VmFlags(value)) + " "
        elif isinstance(value, int) and value < 0:
            raise ValueError(f"{name} can't be negative: {value}")
        elif isinstance(value, int) and name in BYTES and value % 1024 == 0:
            text = f"{value >> 10:8} kB"
        else:
            text = f"{value:8}" if isinstance(value, int) else value
        line = f"{name + ':':<16}{text}".encode("utf-8", "surrogateescape")
        lines.append(line)
    return lines
