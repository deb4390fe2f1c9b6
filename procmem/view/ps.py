"""The table of ps(1), with the columns about memory and identity.

Byte for byte as ps of procps-ng 4.0.2 prints it; docs/pmap.md lists the differences.
"""

from __future__ import annotations

from procmem.view.names import cell
from procmem.view.procps import PLAIN, command_line, escaped, for_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from procmem.procfs import Stat
    from procmem.regions import Counters

__all__ = ["COLUMNS", "OWN", "FormatError", "PsColumn", "Row", "parse_format", "process_table"]

UNKNOWN = b"-"
"""Shown for what may not be read; ps prints 0."""


class Row:
    """The data of one process.

    Args:
        pid: its ID.
        stat: of the process.
        status: its status by field.
        memory: stat and status with figures of the address space: those of another thread if the
            leading one has exited.
        cmdline: /proc/PID/cmdline, b"" if no column needs it.
        rollup: smaps_rollup; None if it may not be read.
        user: the user's name, or the number.
        memory_total: the machine's memory in kB (MemTotal), 0 if unknown.
        page_size: in bytes.
        utf8: whether the locale is a UTF-8 one.
    """

    __slots__ = (
        "cmdline",
        "memory",
        "memory_total",
        "page_size",
        "pid",
        "rollup",
        "stat",
        "status",
        "user",
        "utf8",
    )

    def __init__(
        self,
        pid: int,
        stat: Stat,
        status: dict[str, str],
        *,
        memory: tuple[Stat, dict[str, str]] | None = None,
        cmdline: bytes = b"",
        rollup: Counters | None = None,
        user: str = "",
        memory_total: int = 0,
        page_size: int = 4096,
        utf8: bool = False,
    ) -> None:
        self.pid = pid
        self.stat = stat
        self.status = status
        self.memory = memory or (stat, status)
        self.cmdline = cmdline
        self.rollup = rollup
        self.user = user
        self.memory_total = memory_total
        self.page_size = page_size
        self.utf8 = utf8

    def kb(self, field: str) -> int:
        """A size from status in kB; 0 for a kernel thread and a zombie, which have no memory."""
        return int(self.memory[1].get(field, "0").split(" ")[0])

    def number(self, field: str) -> int:
        """The first number in a field of status."""
        return int(self.status.get(field, "0").split()[0])

    @property
    def text_size(self) -> int:
        """Size of the program's text in bytes."""
        stat = self.memory[0]
        return stat.endcode - stat.startcode


class PsColumn:
    """A column of the table.

    Attributes:
        heading, width: as printed.
        right: whether values are right-aligned.
        cut: how a text that is too long is treated: "" it is printed whole, "short" it is cut,
            "plus" it is cut and ends in a plus sign.
        value: returns the text for a row.
        needs: what must be read besides stat and status: "cmdline",
            "rollup", "user", "meminfo" or "".
    """

    __slots__ = ("cut", "heading", "needs", "right", "value", "width")

    def __init__(
        self,
        heading: str,
        width: int,
        value: Callable[[Row], bytes | int],
        *,
        right: bool = True,
        cut: str = "",
        needs: str = "",
    ) -> None:
        self.heading = heading
        self.width = width
        self.value = value
        self.right = right
        self.cut = cut
        self.needs = needs

    def changed(self, heading: str, width: int) -> PsColumn:
        """The same column with another heading and width."""
        return PsColumn(
            heading,
            width,
            self.value,
            right=self.right,
            cut=self.cut,
            needs=self.needs,
        )


def share_of_memory(row: Row) -> bytes:
    if not row.memory_total:
        return UNKNOWN
    per_mille = min(row.kb("VmRSS") * 1000 // row.memory_total, 999)
    return b"%2d.%d" % divmod(per_mille, 10)


def unique(row: Row) -> bytes | int:
    if row.rollup is None:
        return UNKNOWN
    clean, dirty = row.rollup.private_clean, row.rollup.private_dirty
    return UNKNOWN if clean is None or dirty is None else (clean + dirty) // 1024


def proportional(row: Row) -> bytes | int:
    pss = None if row.rollup is None else row.rollup.pss
    return UNKNOWN if pss is None else pss // 1024


def huge(row: Row) -> bytes | int:
    return counters(row, "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")


def merged(row: Row) -> bytes | int:
    return counters(row, "KSM")


def counters(row: Row, *names: str) -> bytes | int:
    """The sum of some counters of smaps_rollup, in KiB; "-" if the kernel prints none of them."""
    known = [row.rollup[name] for name in names if row.rollup and name in row.rollup]
    sizes = [value for value in known if isinstance(value, int)]
    return sum(sizes) // 1024 if sizes else UNKNOWN


def state(row: Row) -> bytes:
    return row.status.get("State", row.stat.state)[:1].encode("ascii", "replace")


def states(row: Row) -> bytes:
    """The state with the marks listed in ps(1) under PROCESS STATE CODES."""
    stat = row.stat
    marks = (
        (b"<", stat.nice < 0),
        (b"N", stat.nice > 0),
        (b"L", row.kb("VmLck") > 0),
        (b"s", stat.session == row.pid),
        (b"l", row.number("Threads") > 1),
        (b"+", stat.pgrp == stat.tpgid),
    )
    return state(row) + b"".join(mark for mark, holds in marks if holds)


def arguments(row: Row) -> bytes:
    command = command_line(row.cmdline, row.stat.comm, row.stat.state, utf8=row.utf8)
    return checked(command, utf8=row.utf8)


def command_name(row: Row) -> bytes:
    return checked(escaped(row.stat.comm, utf8=row.utf8), utf8=row.utf8)


def checked(text: bytes, *, utf8: bool) -> bytes:
    """The text with "?" for invalid characters, which pmap does not replace."""
    if not utf8 or not text.translate(None, PLAIN):
        return text
    characters = text.decode("utf-8", "surrogateescape")
    return encoded("".join("?" if cell(c) < 0 else c for c in characters))


PID_DIGITS = 5
"""Digits of a PID if pid_max is 32768, the default on small machines."""

IDS = ("pid", "ppid", "tgid")
"""Columns that are as wide as the largest PID."""

COLUMNS = {
    "pid": PsColumn("PID", PID_DIGITS, lambda row: row.pid),
    "ppid": PsColumn("PPID", PID_DIGITS, lambda row: row.number("PPid")),
    "tgid": PsColumn("TGID", PID_DIGITS, lambda row: row.number("Tgid")),
    "rss": PsColumn("RSS", 5, lambda row: row.kb("VmRSS")),
    "rssize": PsColumn("RSS", 5, lambda row: row.kb("VmRSS")),
    "rsz": PsColumn("RSZ", 5, lambda row: row.kb("VmRSS")),
    "vsz": PsColumn("VSZ", 6, lambda row: row.kb("VmSize")),
    "vsize": PsColumn("VSZ", 6, lambda row: row.kb("VmSize")),
    "uss": PsColumn("USS", 5, unique, needs="rollup"),
    "pss": PsColumn("PSS", 5, proportional, needs="rollup"),
    "size": PsColumn("SIZE", 5, lambda row: row.kb("VmData") + row.kb("VmStk")),
    "sz": PsColumn("SZ", 5, lambda row: row.kb("VmSize") * 1024 // row.page_size),
    "trs": PsColumn("TRS", 4, lambda row: row.text_size // 1024),
    "drs": PsColumn("DRS", 5, lambda row: max(row.memory[0].vsize - row.text_size, 0) // 1024),
    "pmem": PsColumn("%MEM", 4, share_of_memory, needs="meminfo"),
    "%mem": PsColumn("%MEM", 4, share_of_memory, needs="meminfo"),
    "min_flt": PsColumn("MINFL", 6, lambda row: row.stat.minflt),
    "minflt": PsColumn("MINFLT", 6, lambda row: row.stat.minflt),
    "maj_flt": PsColumn("MAJFL", 6, lambda row: row.stat.majflt),
    "majflt": PsColumn("MAJFLT", 6, lambda row: row.stat.majflt),
    "nlwp": PsColumn("NLWP", 4, lambda row: row.number("Threads")),
    "thcount": PsColumn("THCNT", 5, lambda row: row.number("Threads")),
    "stat": PsColumn("STAT", 4, states, right=False),
    "state": PsColumn("S", 1, state, right=False),
    "s": PsColumn("S", 1, state, right=False),
    "uid": PsColumn("UID", 5, lambda row: int(row.status.get("Uid", "0 0").split()[1])),
    "user": PsColumn(
        "USER",
        8,
        lambda row: encoded(row.user),
        right=False,
        cut="plus",
        needs="user",
    ),
    "comm": PsColumn("COMMAND", 15, command_name, right=False, cut="short"),
    "ucomm": PsColumn("COMMAND", 15, command_name, right=False, cut="short"),
    "ucmd": PsColumn("CMD", 15, command_name, right=False, cut="short"),
    "args": PsColumn("COMMAND", 27, arguments, right=False, cut="short", needs="cmdline"),
    "command": PsColumn("COMMAND", 27, arguments, right=False, cut="short", needs="cmdline"),
    "cmd": PsColumn("CMD", 27, arguments, right=False, cut="short", needs="cmdline"),
}

OWN = {
    "swap": PsColumn("SWAP", 5, lambda row: row.kb("VmSwap")),
    "huge": PsColumn("HUGE", 5, huge, needs="rollup"),
    "hugetlb": PsColumn("HUGETLB", 7, lambda row: row.kb("HugetlbPages")),
    "ksm": PsColumn("KSM", 5, merged, needs="rollup"),
}
"""Columns that ps(1) does not have: the parts of RSS, and what is not in it. In KiB."""
"""The columns by the names of ps."""


class FormatError(ValueError):
    """A list of columns is invalid; the message is that of ps."""


WIDEST = 131072


def parse_format(text: str, pid_digits: int = PID_DIGITS) -> list[PsColumn]:
    """The columns named by an argument of -o.

    Args:
        text: names separated by commas or blanks, each optionally with ":WIDTH" or "=HEADING".
        pid_digits: the digits of the largest PID on this system.

    Raises:
        FormatError

    >>> [(column.heading, column.width) for column in parse_format("pid,rss=MEMORY,comm:20")]
    [('PID', 5), ('MEMORY', 6), ('COMMAND', 20)]
    """
    parts = text.replace("\t", ",").replace("\n", ",").replace(" ", ",").split(",")
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    if not all(parts):
        raise FormatError("improper format list")
    columns = []
    for part in parts:
        named, equals, heading = part.partition("=")
        name, colon, digits = named.partition(":")
        column = COLUMNS.get(name) or OWN.get(name)
        if column is None:
            raise FormatError(f'unknown user-defined format specifier "{name}"')
        heading = heading if equals else column.heading
        if colon:
            if not (digits.isascii() and digits.isdecimal()) or digits.startswith("0"):
                raise FormatError("column widths must be unsigned decimal numbers")
            width = min(int(digits[:7]), WIDEST)
        else:
            width = max(pid_digits if name in IDS else column.width, len(encoded(heading)))
        columns.append(column.changed(heading, width))
    return columns


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def process_table(
    rows: Iterable[Row],
    columns: Sequence[PsColumn],
    *,
    headings: bool = True,
    screen: int | None = None,
    terminal: bool = False,
    utf8: bool = False,
) -> Iterator[bytes]:
    """The table, line by line.

    Args:
        rows: one for each process.
        columns: from parse_format().
        headings: whether to print headings; they are left out if all are empty.
        screen: the width at which the last column is cut; None: not at all.
        terminal: whether the lines go to a terminal; control bytes are replaced then.
        utf8: whether the locale is a UTF-8 one.
    """
    if headings and any(column.heading for column in columns):
        # ps counts bytes here, cells in the rows.
        yield line(columns, [encoded(column.heading) for column in columns], None, utf8=False)
    for row in rows:
        texts = []
        for column in columns:
            value = column.value(row)
            text = b"%d" % value if isinstance(value, int) else value
            texts.append(for_terminal(text, utf8=utf8) if terminal else text)
        yield line(columns, texts, screen, utf8=utf8, cuts=True)


def line(
    columns: Sequence[PsColumn],
    texts: Sequence[bytes],
    screen: int | None,
    *,
    utf8: bool,
    cuts: bool = False,
) -> bytes:
    """One line. A text that is too long for its column uses the blanks after it."""
    parts: list[bytes] = []
    at = start = 0
    for place, (column, whole) in enumerate(zip(columns, texts, strict=True)):
        gap, text = 1 if place else 0, whole
        if column.right:
            gap = max(gap, start + max(column.width - cells(text, utf8), 0) - at)
        else:
            gap = max(gap, start - at)
            if not (cuts and column.cut):
                pass
            elif place + 1 < len(columns):
                text = fitted(column, text, column.width, utf8)
            elif screen is not None and column.cut == "short":
                text = fitted(column, text, room(screen, start) - (at + gap - start), utf8)
        parts.append(b" " * gap + text)
        at += gap + cells(text, utf8)
        start += column.width + 1
    return b"".join(parts) + b"\n"


def room(screen: int, at: int) -> int:
    """Cells to the end of the line, or of the next one if fewer than three are left."""
    left = screen - at % screen
    while left < 3:
        left += screen
    return left


def fitted(column: PsColumn, text: bytes, width: int, utf8: bool) -> bytes:
    if column.cut == "plus" and cells(text, utf8) > width:
        return cut(text, width - 1, utf8) + b"+"
    return cut(text, width, utf8)


def cells(text: bytes, utf8: bool) -> int:
    """The number of terminal cells of a text."""
    if not utf8 or text.isascii():
        return len(text)
    return sum(map(cell, text.decode("utf-8", "surrogateescape")))


def cut(text: bytes, width: int, utf8: bool) -> bytes:
    """The part of a text that fits into a number of cells."""
    if not utf8 or text.isascii():
        return text[: max(width, 0)]
    kept = []
    for character in text.decode("utf-8", "surrogateescape"):
        taken = cell(character)
        # A mark without a width is not added to a text that is full already.
        if width <= 0 or taken > width:
            break
        width -= taken
        kept.append(character)
    return "".join(kept).encode("utf-8", "surrogateescape")
