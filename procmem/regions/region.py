"""Region and its two richer forms, over the packed records of one reading."""

from __future__ import annotations

import os
import sys

from procmem import native
from procmem.native import Record
from procmem.regions.counters import ATTRIBUTES, KERNEL_NAMES, NOT_BYTES, Counters, added
from procmem.regions.perms import Device, Perms, VmFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol, TypeVar

    from procmem.regions.facts import Facts
    from procmem.regions.kinds import Kind, Owner, RegionKind, Use

    AnyRegion = TypeVar("AnyRegion", bound="Region")

    class Shared(Protocol):
        """What the regions of one reading share: a Block, or what answers for a single one."""

        count: int
        unterminated: bool

        exe: bytes | None

        @property
        def extras(self) -> dict[int, list[tuple[str, int | str]]]: ...
        def text(self, string: int) -> bytes: ...
        def path(self, name: int, index: int, /) -> tuple[str | None, bool]: ...
        def kind(self, index: int, /) -> Kind: ...

    FindFacts = Callable[[Sequence["Region"], "Block"], Facts | None]
    """Finds facts about the regions of a live process when their kinds are asked for."""

    class _Word:
        """An attribute of the native record: bytes, or None where it was not read."""

        def __get__(self, region: object, owner: type[object]) -> int | None: ...


__all__ = ["Block", "MeasuredRegion", "Region", "ResidentRegion"]

DELETED = b" (deleted)"


def unescape(name: bytes) -> str:
    """A name as maps prints it, as a string: the kernel escapes the newline alone."""
    return name.replace(b"\\012", b"\n").decode("utf-8", "surrogateescape")


class Block:
    """What the regions of one reading share.

    It keeps the memory of the records alive and gives their names. It never
    refers to a region, so that a reading holds no reference cycle.
    """

    __slots__ = (
        "_names",
        "_scan",
        "_strings",
        "count",
        "exe",
        "extras",
        "find_facts",
        "kinds",
        "overrides",
        "page_size",
        "source",
        "unterminated",
    )

    def __init__(
        self, scan: native.Scan, *, source: str, page_size: int, exe: bytes | None
    ) -> None:
        self._scan = scan
        self._strings = scan.strings()
        self._names: dict[int, tuple[str | None, bool]] = {0: (None, False)}
        self.source = source
        self.page_size = page_size
        self.exe = exe
        self.count = scan.count
        self.unterminated = scan.unterminated
        self.extras: dict[int, list[tuple[str, int | str]]] = {}
        for region, name, value, _ in scan.extras():
            self.extras.setdefault(region, []).append(
                (
                    name.decode("utf-8", "surrogateescape"),
                    value if isinstance(value, int) else value.decode("utf-8", "surrogateescape"),
                )
            )
        scan.release_text()
        self.overrides: dict[int, tuple[str | None, bool]] = {}
        self.kinds: Sequence[Kind] | None = None
        self.find_facts: FindFacts | None = None

    def make(self, cls: type[AnyRegion]) -> list[AnyRegion]:
        """All regions, as objects of that class."""
        scan = self._scan
        return native.make(cls, self, scan.address, scan.stride, self.count)

    def text(self, string: int) -> bytes:
        """A string by its id."""
        return self._strings[string]

    def path(self, name: int, index: int) -> tuple[str | None, bool]:
        """The name of a region and whether its file is deleted."""
        if self.overrides and index in self.overrides:
            return self.overrides[index]
        known = self._names.get(name)
        if known is None:
            known = self._names[name] = split_deleted(self._strings[name])
        return known

    def kind(self, index: int) -> Kind:
        """What a region is; all regions of the reading are told at once, on first demand."""
        if self.kinds is None:
            from procmem.regions.classify import classify

            regions = self.make(MeasuredRegion if self._measured else Region)
            find = self.find_facts
            self.kinds = classify(regions, self, None if find is None else find(regions, self))
            self.find_facts = None
        return self.kinds[index]

    @property
    def _measured(self) -> bool:
        return self._scan.stride == native.HEADER_WORDS + len(native.COUNTER_NAMES)


def split_deleted(raw: bytes) -> tuple[str | None, bool]:
    """The path and whether the kernel marked it deleted, going by the text alone."""
    if raw.endswith(DELETED) and not raw.startswith(b"["):
        return unescape(raw[: -len(DELETED)]), True
    return unescape(raw), False


class Region(Record):
    """One mapping of a process: a line of /proc/PID/maps.

    Immutable, hashable, ordered by start. `address in region` tells whether it
    covers the address.

    Args:
        start, end: addresses; end is the first byte behind the region.
        perms: four letters, such as "rw-p".
        offset: where in the file the region starts, in bytes.
        dev: device number of the file, (major, minor).
        inode: number of the file, 0 if there is none.
        pathname: the file, or the kernel's name in brackets; None if anonymous.
        deleted: whether the file has no name any more.

    Attributes:
        start, end, offset, inode, size: int, bytes where they are sizes.

    Raises:
        ValueError: end lies below start, or a number passes 64 bits.

    Source: proc_pid_maps(5); fs/proc/task_mmu.c, show_map_vma().

    >>> region = Region(0x400000, 0x402000, "r-xp", pathname="/bin/true", inode=7)
    >>> region.size, region.perms.execute, 0x401fff in region, 0x402000 in region
    (8192, True, True, False)
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _block(self) -> Shared: ...

    def __new__(  # noqa: D102 - the class tells the arguments
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
    def perms(self) -> Perms:
        """What may be done with its pages, and whether writes are shared."""
        word = self._perms
        known = _PERMS.get(word)
        if known is None:
            known = _PERMS[word] = Perms(_native_bytes(word).decode("ascii"))
        return known

    @property
    def dev(self) -> Device:
        """The device that holds the file, (major, minor); (0, 0) if there is none."""
        numbers = self._dev_major, self._dev_minor
        known = _DEVICES.get(numbers)
        if known is None:
            if len(_DEVICES) > 4096:
                _DEVICES.clear()
            known = _DEVICES[numbers] = Device(*numbers)
        return known

    @property
    def pathname(self) -> str | None:
        r"""The file's path, or the kernel's name in brackets; None if anonymous.

        Bytes that are no UTF-8 are kept (PEP 383, surrogateescape). A newline,
        which the kernel prints as \012, is one again, and the " (deleted)" that
        it puts behind a path is in `deleted` instead.
        """
        return self._block.path(self._name, self._index)[0]

    @property
    def deleted(self) -> bool:
        """Whether the mapped file has been unlinked (or never had a name)."""
        return self._block.path(self._name, self._index)[1]

    @property
    def raw_pathname(self) -> bytes | None:
        """The name exactly as the kernel printed it; None if anonymous."""
        name = self._name
        return self._block.text(name) if name else None

    @property
    def kind(self) -> RegionKind:
        """What the region is for."""
        return self._block.kind(self._index).kind

    @property
    def owner(self) -> Owner | None:
        """Whether it belongs to the executable, a library or the loader; None otherwise."""
        return self._block.kind(self._index).owner

    @property
    def kind_evidence(self) -> str:
        """What `kind` rests on.

        "name" (the kernel names it), "flags" (VmFlags of smaps), "perms", "position" (its
        place among its neighbours: a guess), "none".
        """
        return self._block.kind(self._index).evidence

    @property
    def kind_guess(self) -> bool:
        """Whether `kind` is a guess: it fits, and nothing proves it."""
        return self._block.kind(self._index).guess

    @property
    def use(self) -> Use | None:
        """What the memory is used for, such as "Go heap"; None: not known.

        A second word beside `kind`. `str(use)` has a "?" behind a guess, and `use.evidence`
        what it rests on. docs/uses.md lists them.
        """
        return self._block.kind(self._index).use

    @property
    def name(self) -> str:
        """What a person would call it, such as "libc.so.6" or "thread stack"."""
        return self._block.kind(self._index).name

    @property
    def name_guess(self) -> bool:
        """Whether `name` rests on a guess: no name that the kernel printed does."""
        if self._name:
            return False
        kind = self._block.kind(self._index)
        if kind.use is not None and kind.name == kind.use.name:
            return kind.use.guess
        return kind.guess

    def line(self) -> bytes:
        """The line of /proc/PID/maps that it stands for, without the newline.

        The very bytes that were parsed, if it was parsed.
        """
        raw = self._raw
        if raw:
            return self._block.text(raw)
        name = self._name
        return plain_line(
            self.start,
            self.end,
            _native_bytes(self._perms),
            self.offset,
            (self._dev_major, self._dev_minor),
            self.inode,
            self._block.text(name) if name else b"",
        )

    def to_record(self) -> dict[str, Any]:
        """All fields as a flat dict of plain values: a row for a data frame, or JSON."""
        kind = self._block.kind(self._index)
        pathname, deleted = self._block.path(self._name, self._index)
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
            self._block.path(self._name, self._index),
        )

    def _order(self) -> tuple[Any, ...]:
        pathname, deleted = self._block.path(self._name, self._index)
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
        pathname, deleted = self._block.path(self._name, self._index)
        mark = " (deleted)" if deleted else ""
        shown = f" {pathname!r}{mark}" if pathname is not None else ""
        return f"<{type(self).__name__} {self.start:08x}-{self.end:08x} {self.perms}{shown}>"

    def __reduce__(self) -> tuple[Any, ...]:
        pathname, deleted = self._block.path(self._name, self._index)
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

    Every counter is an attribute, None where the kernel did not print it, and
    stands in `counters` under the kernel's name.

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
        """Bytes that no other process maps (Counters.uss)."""
        return added(self.private_clean, self.private_dirty)

    @property
    def hugetlb(self) -> int | None:
        """Bytes of huge pages of hugetlbfs, which rss, pss and uss leave out."""
        return added(self.shared_hugetlb, self.private_hugetlb)

    @property
    def vm_flags(self) -> VmFlags | None:
        """The kernel's flags; None where it printed no VmFlags line."""
        flags = self._flags
        if not flags:
            return None
        known = _FLAGS.get(text := self._block.text(flags))
        if known is None:
            if len(_FLAGS) > 4096:
                _FLAGS.clear()
            known = _FLAGS[text] = VmFlags(text.decode("utf-8", "surrogateescape"))
        return known

    @property
    def counters(self) -> Counters:
        """All counters by the kernel's names, unknown ones too."""
        return Counters(self._counter_values(flags=False))

    def _counter_values(self, *, flags: bool = True) -> dict[str, Any]:
        values: dict[str, Any] = {
            name: value
            for name, value in zip(native.COUNTER_NAMES, self._extras(), strict=True)
            if value is not None
        }
        values.update(self._block.extras.get(self._index, ()))
        if flags and self._flags:
            values["VmFlags"] = self._block.text(self._flags).decode("utf-8", "surrogateescape")
        return values

    @classmethod
    def _counter_name(cls, given: str) -> str:
        return "VmFlags" if given == "vm_flags" else KERNEL_NAMES.get(given, given)

    def _fields(self) -> tuple[Any, ...]:
        extras = self._block.extras.get(self._index, ())
        flags = self._block.text(self._flags) if self._flags else None
        return (
            *super()._fields()[:-1],
            self._extras(),
            tuple(extras),
            flags,
            super()._fields()[-1],
        )

    def to_record(self) -> dict[str, Any]:
        """A flat dict of plain values; counters by attribute, those not printed left out."""
        record = super().to_record()
        for name, value in zip(native.COUNTER_NAMES, self._extras(), strict=True):
            if value is not None and name != "Size":
                record[ATTRIBUTES[name]] = value
        record["uss"] = self.uss
        record["vm_flags"] = self._counter_values().get("VmFlags")
        if unknown := self._block.extras.get(self._index):
            record["unknown"] = dict(unknown)
        return record


class ResidentRegion(Region):
    """A region with what its page table holds: resident and swapped bytes.

    Attributes:
        rss: bytes of its pages in memory, as Rss of smaps has it: neither the
            zero page nor huge pages of hugetlbfs count. None: not to be had.
        swap: bytes of its private pages in swap. None for shared memory while
            the machine has swap: the page table doesn't tell where such pages
            went, only smaps does.

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


_PERMS: dict[int, Perms] = {}
_FLAGS: dict[bytes, VmFlags] = {}
_DEVICES: dict[tuple[int, int], Device] = {}


def _native_bytes(word: int) -> bytes:
    return word.to_bytes(4, sys.byteorder)


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
    """A region made by hand: printed and scanned, so that there is one way in."""
    start, end, perms, offset, dev, inode, pathname, deleted = fields
    if min(start, end, offset, inode, *dev) < 0:
        raise ValueError("a region's numbers are not negative")
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
        raise ValueError("a name holds no newline that could be printed")
    if mode == native.RESIDENT:
        scan.set_residency(0, counters.get("rss"), counters.get("swap"))
    block = Block(scan, source="<made by hand>", page_size=PAGE_SIZE, exe=None)
    region = block.make(cls)[0]
    if (region.pathname, region.deleted) != (pathname, deleted):
        block.overrides[0] = (pathname, deleted)
    return region


PAGE_SIZE = os.sysconf("SC_PAGESIZE")

BYTES = ATTRIBUTES.keys() - NOT_BYTES


def counter_lines(counters: Mapping[str, Any]) -> list[bytes]:
    """Counters, by the kernel's names, as smaps prints them."""
    lines = []
    for name, value in counters.items():
        if value is None:
            continue
        if name == "VmFlags":
            text = str(value if isinstance(value, str) else VmFlags(value)) + " "
        elif isinstance(value, int) and value < 0:
            raise ValueError(f"{name} is not negative: {value}")
        elif isinstance(value, int) and name in BYTES and value % 1024 == 0:
            text = f"{value >> 10:8} kB"
        else:
            text = f"{value:8}" if isinstance(value, int) else value
        line = f"{name + ':':<16}{text}".encode("utf-8", "surrogateescape")
        lines.append(line)
    return lines
