"""The formats of GNU size 2.40: Berkeley, GNU and System V. Lines are bytes, as names are."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BERKELEY_HEADING", "GNU_HEADING", "berkeley_line", "gnu_line", "sysv_table"]

BERKELEY_HEADING = {
    8: b"   text\t   data\t    bss\t    oct\t    hex\tfilename\n",
    10: b"   text\t   data\t    bss\t    dec\t    hex\tfilename\n",
    16: b"   text\t   data\t    bss\t    dec\t    hex\tfilename\n",
}
GNU_HEADING = b"      text       data        bss      total filename\n"

NUMBER = {8: b"0%o", 10: b"%d", 16: b"0x%x"}
WRAP = (1 << 64) - 1
BATCH = 1000
"""Rows of a table that are yielded at once."""


def berkeley_line(text: int, data: int, bss: int, name: bytes, radix: int) -> bytes:
    """A line of -B; `name` may have a suffix."""
    total = (text + data + bss) & WRAP
    if radix == 10:
        return b"%7d\t%7d\t%7d\t%7d\t%7x\t%s\n" % (text, data, bss, total, total, name)
    form = NUMBER[radix]
    parts = [(form % value).rjust(7) for value in (text, data, bss)]
    last = b"%7o" % total if radix == 8 else b"%7d" % total
    return b"\t".join([*parts, last, b"%7x" % total, name]) + b"\n"


def gnu_line(text: int, data: int, bss: int, name: bytes, radix: int) -> bytes:
    """A line of -G."""
    form = NUMBER[radix]
    values = (text, data, bss, (text + data + bss) & WRAP)
    return b" ".join([(form % value).rjust(10) for value in values]) + b" " + name + b"\n"


def sysv_table(
    heading: bytes,
    rows: Iterable[tuple[bytes, int, int]],
    again: Iterable[tuple[bytes, int, int]],
    radix: int,
) -> Iterator[bytes]:
    """The table of -A.

    Args:
        heading: the first line, without its newline.
        rows: name, address and size of each section.
        again: the same rows again; two passes, so that 200,000 rows need not be kept in memory.
        radix: 8, 10 or 16.
    """  # fmt: skip
    form = NUMBER[radix]
    total = highest = longest = 0
    for name, address, size in rows:
        total += size
        highest = max(highest, address)
        longest = max(longest, len(name))
    total &= WRAP
    widths = longest, max(len(form % total), 4), max(len(form % highest), 4)
    line = b"%%-%ds   %%%ds   %%%ds\n" % widths
    out = [heading, b"\n", line % (b"section", b"size", b"addr")]
    for name, address, size in again:
        out.append(line % (name, form % size, form % address))
        if len(out) > BATCH:
            yield b"".join(out)
            out.clear()
    out.append(b"%-*s   %*s\n\n" % (widths[0], b"Total", widths[1], form % total))
    yield b"".join(out)
