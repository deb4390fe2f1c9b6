"""The tables of pmap(1), byte for byte as procps-ng 4.0.2 prints them in the C locale.

Functions over tables of regions; they open nothing and yield rows as they are made. docs/pmap.md
lists the differences from pmap, with reasons.
"""

from __future__ import annotations

from itertools import islice

from procmem.native import COUNTER_NAMES
from procmem.regions.counters import NOT_BYTES
from procmem.view.procps import PRINTABLE, for_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any

    from procmem.regions import MeasuredRegion, Region

__all__ = [
    "DEFAULT_CONFIG",
    "Config",
    "PmapStyle",
    "device",
    "extended",
    "field_order",
    "fields",
    "first_line",
    "read_config",
    "short",
]

TOP = (1 << 64) - 1
ROWS_AT_ONCE = 4096
UNKNOWN = "-"
"""Shown where the kernel printed no number; pmap prints 0 or the previous number."""


class PmapStyle:
    """How a table is shown, and what must be known in addition.

    Args:
        show_path: whole paths (-p) instead of base names.
        quiet: no heading and no totals (-q).
        low, high: only regions that overlap [low, high], both inclusive (-A).
        start_stack: address where the process's stack starts (field 28 of
            /proc/PID/stat, proc_pid_stat(5)); 0 if unknown. The region that
            holds it is "[ stack ]".
        shm_device: minor number of the device of System V shared memory;
            None if unknown: then only the name counts.
        terminal: whether rows go to a terminal; control bytes are replaced then.
        utf8: whether that terminal shows UTF-8.
    """

    __slots__ = (
        "high",
        "low",
        "quiet",
        "shm_device",
        "show_path",
        "start_stack",
        "terminal",
        "utf8",
    )

    def __init__(
        self,
        *,
        show_path: bool = False,
        quiet: bool = False,
        low: int = 0,
        high: int = TOP,
        start_stack: int = 0,
        shm_device: int | None = None,
        terminal: bool = False,
        utf8: bool = False,
    ) -> None:
        self.show_path = show_path
        self.quiet = quiet
        self.low = low
        self.high = high
        self.start_stack = start_stack
        self.shm_device = shm_device
        self.terminal = terminal
        self.utf8 = utf8

    def shown(self, table: Iterable[Any]) -> list[Any]:
        """The regions of a table in the range."""
        low, high = self.low, self.high
        if low == 0 and high == TOP:
            return list(table)
        return [region for region in table if region.end > low and region.start <= high]


def first_line(tgid: int, command: bytes) -> bytes:
    """The line above every table.

    Args:
        tgid: the PID, even if the ID of a thread was given.
        command: the result of command_line().
    """
    return b"%d:   %b\n" % (tgid, command)


# ---- pmap, pmap -x, pmap -d ----------------------------------------------------


def short(table: Iterable[Region], look: PmapStyle) -> Iterator[bytes]:
    r"""The default table: address, size, mode, mapping.

    >>> from procmem.regions import parse_maps
    >>> table = parse_maps(b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat\n")
    >>> print(b"".join(short(table, PmapStyle())).decode(), end="")
    0000000000400000     44K r-x-- cat
     total               44K
    """
    regions = look.shown(table)
    sizes = [region.size for region in regions]
    yield from rows(
        "%016x %6dK %s %s",
        [region.start for region in regions],
        [size >> 10 for size in sizes],
        modes(regions),
        names(regions, look),
    )
    if not look.quiet:
        yield b" total %16dK\n" % (sum(sizes) >> 10)


def extended(table: Iterable[MeasuredRegion], look: PmapStyle) -> Iterator[bytes]:
    """The table of -x: with resident and dirty memory."""
    if not look.quiet:
        yield b"Address           Kbytes     RSS   Dirty Mode  Mapping\n"
    regions = look.shown(table)
    sizes = [region.size for region in regions]
    resident = [region.rss for region in regions]
    dirty = [added((region.shared_dirty, region.private_dirty)) for region in regions]
    yield from rows(
        "%016x %7d %7s %7s %s %s",
        [region.start for region in regions],
        [size >> 10 for size in sizes],
        [kib(value) for value in resident],
        [kib(value) for value in dirty],
        modes(regions),
        names(regions, look),
    )
    if not look.quiet:
        yield b"---------------- ------- ------- ------- \n"
        yield (
            f"total kB         {sum(sizes) >> 10:7} {kib(added(resident)):>7} "
            f"{kib(added(dirty)):>7}\n"
        ).encode()


def device(table: Iterable[Region], look: PmapStyle) -> Iterator[bytes]:
    """The table of -d: offset and device of the mapped file."""
    if not look.quiet:
        yield b"Address           Kbytes Mode  Offset           Device    Mapping\n"
    regions = look.shown(table)
    sizes = [region.size for region in regions]
    yield from rows(
        "%016x %7d %s %016x %03x:%05x %s",
        [region.start for region in regions],
        [size >> 10 for size in sizes],
        modes(regions),
        [region.offset for region in regions],
        [region._dev_major for region in regions],
        [region._dev_minor for region in regions],
        names(regions, look),
    )
    if not look.quiet:
        private = shared = 0
        for region, size in zip(regions, sizes, strict=True):
            perms = region.perms
            if perms.shared:
                shared += size
            elif perms.private and perms.write:
                private += size
        yield b"mapped: %dK    writeable/private: %dK    shared: %dK\n" % (
            sum(sizes) >> 10,
            private >> 10,
            shared >> 10,
        )


def rows(form: str, *columns: Iterable[Any]) -> Iterator[bytes]:
    """The rows as lines, several thousand at a time; latin-1 represents bytes."""
    lines = map(f"{form}\n".__mod__, zip(*columns, strict=True))
    while part := "".join(islice(lines, ROWS_AT_ONCE)):
        yield part.encode("latin-1")


def added(values: Iterable[int | None]) -> int | None:
    """The sum; None if one is missing."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def kib(value: int | None) -> int | str:
    return UNKNOWN if value is None else value >> 10


def modes(regions: Iterable[Region]) -> Iterator[str]:
    """The mode column: "p" becomes a dash, and another dash follows."""
    known: dict[str, str] = {}
    for region in regions:
        perms = region.perms
        text = known.get(perms)
        if text is None:
            text = known[perms] = perms[:3] + ("-" if perms.private else perms[3]) + "-"
        yield text


def names(regions: Iterable[Region], look: PmapStyle) -> Iterator[str]:
    """The mapping column of the default table, -x and -d."""
    known: dict[bytes, str] = {}
    stack = look.start_stack
    for region in regions:
        raw = region.raw_pathname
        text = ""
        if raw is not None:
            if raw not in known:
                known[raw] = file_name(raw, look)
            text = known[raw]
            if raw.startswith(b"/SYSV") and is_system_v(region, raw, look):
                text = f"  [ shmid=0x{region.inode:x} ]"
        if not text:
            held = stack and region.start <= stack <= region.end
            text = "  [ stack ]" if held else "  [ anon ]"
        yield text


def file_name(raw: bytes, look: PmapStyle) -> str:
    """The name shown for a file; "" if it has no slash.

    The same rule applies to names in brackets, so "[anon:a/b]" is "b]".
    """
    last = raw.rfind(b"/")
    if last < 0:
        return ""
    shown = raw[raw.find(b"/") :] if look.show_path else raw[last + 1 :] or b"/"
    return shown.translate(PRINTABLE).decode("ascii")


def is_system_v(region: Region, raw: bytes, look: PmapStyle) -> bool:
    """Whether the region is a segment of shmget(2), whose inode is the segment's ID.

    The kernel names the file SYSV and the key in eight digits, at the root of
    its own tmpfs (ipc/shm.c, newseg()).
    """
    if region._dev_major:
        return False
    if look.shm_device is not None:
        return region._dev_minor == look.shm_device
    return len(raw) == len(b"/SYSV00000000 (deleted)")


# ---- pmap -X, -XX, -c ----------------------------------------------------------

HIDDEN = frozenset(
    {
        "AnonHugePages",
        "KernelPageSize",
        "MMUPageSize",
        "Private_Clean",
        "Private_Dirty",
        "Shared_Clean",
        "Shared_Dirty",
        "VmFlags",
    }
)
"""Fields of smaps that only -XX shows."""

NAME_CUT = 127
"""Bytes of a name that are kept before the part after the last slash is taken."""


def field_order(head: bytes) -> list[tuple[str, bool]]:
    r"""The counters of the first region of a text: names, and whether they are in kB.

    The order and the units of the columns are those of the kernel, which may change with its
    version.

    Args:
        head: the start of a text of /proc/PID/smaps, at least its first region.

    >>> field_order(b"0-1000 r--p 0 0:0 0\nRss:  4 kB\nTHPeligible: 0\n")
    [('Rss', True), ('THPeligible', False)]
    """
    order = []
    for line in head.split(b"\n")[1:-1]:
        name, colon, value = line.partition(b":")
        if not colon or b" " in name:
            break
        order.append((name.decode("latin-1"), value.endswith(b" kB")))
    return order


class WideColumn:
    """A column of the wide tables.

    Attributes:
        heading: its name.
        values: a text or number for each row.
        total: their sum as text; None: there is no sum.
        width: the width of the widest.
        form: the format of a value for the % operator.
    """

    __slots__ = ("form", "heading", "total", "values", "width")

    def __init__(
        self,
        heading: str,
        values: Sequence[str | int],
        total: str | None,
        width: int,
        look: PmapStyle,
    ) -> None:
        self.heading = heading
        self.values = values
        self.total = total
        self.width = width if look.quiet else max(width, len(heading), len(total or ""))
        self.form = f"%{self.width}s"


def text_column(heading: str, values: Sequence[str], look: PmapStyle) -> WideColumn:
    return WideColumn(heading, values, None, max(map(len, values)), look)


def counter_column(
    heading: str, in_kb: bool, values: Sequence[int | str | None], look: PmapStyle
) -> WideColumn:
    """A column with a counter of smaps; its values are in bytes if smaps has kB."""
    if all(type(value) is int for value in values):
        numbers: Any = [value >> 10 for value in values] if in_kb else values  # type: ignore[operator]
        column = WideColumn(heading, numbers, str(sum(numbers)), len(str(max(numbers))), look)
        column.form = f"%{column.width}d"
        return column
    texts = [
        UNKNOWN if value is None else str(value >> 10 if in_kb and type(value) is int else value)
        for value in values
    ]
    if any(type(value) is str for value in values):
        return text_column(
            heading, [clean(text.encode("utf-8", "surrogateescape"), look) for text in texts], look
        )
    return WideColumn(heading, texts, UNKNOWN, max(map(len, texts)), look)


def counter_columns(
    regions: Sequence[MeasuredRegion], order: Sequence[tuple[str, bool]]
) -> Iterator[tuple[str, bool, Sequence[int | str | None]]]:
    """The counters that occur in any region: name, whether in kB, values."""
    found: dict[str, Sequence[Any]] = {
        name: column
        for name, column in zip(
            COUNTER_NAMES, zip(*[r._extras() for r in regions], strict=True), strict=True
        )
        if column[0] is not None or any(value is not None for value in column)
    }
    unknown: dict[str, list[int | str | None]] = {}
    extras = regions[0]._reading.extras
    for place, region in enumerate(regions if extras else ()):
        for name, value in extras.get(region._index, ()):
            printed = name.encode("utf-8", "surrogateescape").decode("latin-1")
            unknown.setdefault(printed, [None] * len(regions))[place] = value
    found.update(unknown)
    for name, in_kb in order:
        if name in found:
            yield name, in_kb, found.pop(name)
    for name, column in found.items():
        yield name, name in COUNTER_NAMES and name not in NOT_BYTES, column


def fields(
    table: Iterable[MeasuredRegion],
    look: PmapStyle,
    order: Sequence[tuple[str, bool]] = (),
    *,
    everything: bool = False,
    chosen: Collection[str] | None = None,
) -> Iterator[bytes]:
    """The wide tables of -X, -XX (everything) and -c (chosen): a column per field of smaps.

    Args:
        table: regions of smaps.
        look: as for the other tables.
        order: the result of field_order(); empty: the order and units of Linux 6.18.
        everything: include the fields that -X leaves out.
        chosen: only these fields, and the address.

    A table without regions yields nothing.
    """
    regions: list[MeasuredRegion] = look.shown(table)
    if not regions:
        return

    def wanted(name: str) -> bool:
        if chosen is not None:
            return name in chosen
        return everything or name not in HIDDEN

    columns = [
        text_column(name, values, look)
        for name, values in line_columns(regions)
        if name == "Address" or wanted(name)
    ]
    front = sum(column.width + 1 for column in columns)
    counted = [
        counter_column(name, in_kb, values, look)
        for name, in_kb, values in counter_columns(regions, order)
        if wanted(name)
    ]
    columns += counted
    if wanted("VmFlags") and any(region._flags for region in regions):
        columns.append(text_column("VmFlags", flags_column(regions, look), look))
    form = " ".join(column.form for column in columns)
    values: list[Iterable[str | int]] = [column.values for column in columns]
    heading = "".join(f"{column.heading:>{column.width}} " for column in columns)
    if wanted("Mapping"):
        form += " %s"
        values.append(mapping_column(regions, look))
        heading += "Mapping"
    if not look.quiet:
        yield (heading + "\n").encode("latin-1")
    yield from rows(form, *values)
    if not look.quiet and any(column.total for column in counted):
        rule = "".join(("=" if c.total else " ") * c.width + " " for c in counted)
        totals = "".join(f"{c.total or '':>{c.width}} " for c in counted)
        yield f"{' ' * front}{rule}\n{' ' * front}{totals}KB \n".encode("latin-1")


def line_columns(regions: Sequence[Region]) -> Iterator[tuple[str, list[str]]]:
    """The columns from a region's own line, as the kernel prints it."""
    if any(region._raw for region in regions):
        # Lines that no 64-bit Linux prints, with short addresses, say: shown as they are.
        parts = [region.line().decode("latin-1").split(None, 5) for region in regions]
        yield "Address", [part[0].partition("-")[0] for part in parts]
        for place, name in enumerate(("Perm", "Offset", "Device", "Inode"), 1):
            yield name, [part[place] for part in parts]
        return
    yield "Address", [f"{region.start:08x}" for region in regions]
    yield "Perm", [region.perms for region in regions]
    yield "Offset", [f"{region.offset:08x}" for region in regions]
    yield "Device", [f"{region._dev_major:02x}:{region._dev_minor:02x}" for region in regions]
    yield "Inode", [f"{region.inode}" for region in regions]


def flags_column(regions: Sequence[MeasuredRegion], look: PmapStyle) -> list[str]:
    flags = [region._flags for region in regions]
    text = regions[0]._reading.text
    known = {flag: clean(text(flag), look) if flag else UNKNOWN for flag in set(flags)}
    return [known[flag] for flag in flags]


def mapping_column(regions: Sequence[Region], look: PmapStyle) -> list[str]:
    """The kernel's names, which may contain any byte."""
    known: dict[bytes | None, str] = {None: ""}
    column = []
    for region in regions:
        raw = region.raw_pathname
        text = known.get(raw)
        if text is None:
            kept = (raw or b"")[:NAME_CUT]
            if not look.show_path:
                kept = kept[kept.rfind(b"/") + 1 :]
            text = known[raw] = clean(kept, look)
        column.append(text)
    return column


def clean(name: bytes, look: PmapStyle) -> str:
    """A name for output; latin-1 represents bytes."""
    if look.terminal:
        name = for_terminal(name, utf8=look.utf8)
    return name.decode("latin-1")


# ---- the configuration of -c, -C, -n, -N ----------------------------------------

LINE_CUT = 1023
"""The most bytes of a line of the configuration; longer lines are ignored."""

FIELDS_SECTION = b"Fields Display"
MAPPING_SECTION = b"Mapping"

DEFAULT_CONFIG = b"""\
# What `pmap -c` shows. Take the "#" away in front of a field to have its column.
# Names are those of /proc/PID/smaps; upper and lower case matter, unknown names
# are left out. The address is always shown.

[Fields Display]

#Perm
#Offset
#Device
#Inode
#Size
#KernelPageSize
#MMUPageSize
#Rss
#Pss
#Pss_Dirty
#Shared_Clean
#Shared_Dirty
#Private_Clean
#Private_Dirty
#Referenced
#Anonymous
#KSM
#LazyFree
#AnonHugePages
#ShmemPmdMapped
#FilePmdMapped
#Shared_Hugetlb
#Private_Hugetlb
#Swap
#SwapPss
#Locked
#THPeligible
#ProtectionKey
#VmFlags
#Mapping

[Mapping]

# Whole paths, as with -p.
#ShowPath
"""
"""The configuration that -n and -N write."""


class Config:
    """A parsed configuration.

    Attributes:
        fields: names of the fields to show.
        show_path: whether whole paths are shown.
        complaints: error messages, as pmap words them.
    """

    __slots__ = ("complaints", "fields", "show_path")

    def __init__(self) -> None:
        self.fields: set[str] = set()
        self.show_path = False
        self.complaints: list[str] = []


def read_config(data: bytes) -> Config:
    r"""Parses a configuration; invalid parts are ignored and reported.

    >>> config = read_config(b"[Fields Display]\nRss\n[Mapping]\nShowPath # all of it\n")
    >>> config.fields, config.show_path, config.complaints
    ({'Rss'}, True, [])
    """
    config = Config()
    section: bytes | None = None
    for number, line in enumerate(data.split(b"\n"), 1):

        def complain(what: str, number: int = number) -> None:
            config.complaints.append(f"{what} - line {number}")

        if len(line) > LINE_CUT:
            complain("config line too long")
            continue
        entry = line.partition(b"\0")[0].lstrip(b" \t")
        if not entry or entry.startswith(b"#"):
            continue
        if entry.startswith(b"["):
            name, bracket, entry = entry[1:].partition(b"]")
            if not bracket:
                complain("syntax error found in the config")
                continue
            section = name
            if section not in (FIELDS_SECTION, MAPPING_SECTION):
                complain("unsupported section found in the config")
            entry = entry.lstrip(b" \t")
            if not entry or entry.startswith(b"#"):
                continue
            # What stands behind a section is wrong there, but taken.
            complain("syntax error found in the config")
        if section is None:
            complain("syntax error found in the config")
            continue
        word, _, rest = entry.replace(b"\t", b" ").partition(b" ")
        if section == FIELDS_SECTION:
            config.fields.add(word.decode("latin-1"))
        elif section != MAPPING_SECTION:
            continue
        elif word == b"ShowPath":
            config.show_path = True
        rest = rest.lstrip(b" ")
        if rest and not rest.startswith(b"#"):
            complain("syntax error found in the config")
    return config
