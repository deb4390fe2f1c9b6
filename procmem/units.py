"""Figures as people read them: KiB with thousands parted, one minus sign, counts with a noun."""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "GIB",
    "KIB",
    "MIB",
    "UNITS",
    "about",
    "approximate",
    "count",
    "in_unit",
    "kib",
    "signal_name",
    "signed",
    "size",
    "unit_name",
]

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

MINUS = "−"
"""U+2212: one sign for all differences."""


UNITS = ("KiB", "B", "MiB", "GiB", "human")
"""What figures of tables can be given in; "human": each in the unit that leaves few digits."""


def unit_name(unit: str) -> str:
    """What stands for the unit in a table's last row: nothing where each figure has its own."""
    return "" if unit == "human" else unit


def in_unit(unit: str = "KiB") -> Callable[[int | None], str]:
    """A function that gives bytes as a figure of a table; "-" for what was not read.

    Whole KiB, as pmap and ps print them; MiB and GiB to a tenth.

    >>> in_unit()(4096), in_unit("B")(4096), in_unit("MiB")(35_000_000), in_unit()(None)
    ('4', '4096', '33.4', '-')
    >>> [in_unit("human")(value) for value in (0, 512, 4096, 35_000_000, 3 << 30, 5 << 40)]
    ['0', '512B', '4K', '33.4M', '3G', '5T']
    """
    if unit == "B":
        return lambda value: "-" if value is None else str(value)
    if unit == "KiB":
        return lambda value: "-" if value is None else str(value >> 10)
    if unit == "human":
        return lambda value: "-" if value is None else brief(value)
    scale = {"MiB": MIB, "GiB": GIB}[unit]
    return lambda value: "-" if value is None else f"{value / scale:.1f}"


def brief(value: int) -> str:
    """Bytes with a letter for the unit, as ls -h and du -h have it, to a tenth."""
    if not value:
        return "0"
    letter, scale = next(
        (letter, 1 << shift)
        for letter, shift in (("T", 40), ("G", 30), ("M", 20), ("K", 10), ("B", 0))
        if abs(value) >= 1 << shift
    )
    return f"{value / scale:.1f}".removesuffix(".0") + letter


def kib(value: int) -> str:
    """Bytes in KiB.

    >>> kib(4096), kib(100 << 20)
    ('4 KiB', '102,400 KiB')
    """
    return f"{value >> 10:,} KiB"


def signed(value: int) -> str:
    """A difference of bytes in KiB, with its sign.

    >>> signed(4096), signed(-4096), signed(0)
    ('+4 KiB', '−4 KiB', '+0 KiB')
    """
    return f"{'+' if value >= 0 else MINUS}{abs(value) >> 10:,} KiB"


def about(value: int) -> str:
    """Bytes in a unit that leaves few digits: whole KiB below 1 MiB, else to a tenth.

    >>> about(44 << 10), about(34_603_008), about(35_000_000), about(3 << 30)
    ('44 KiB', '33 MiB', '33.4 MiB', '3 GiB')
    """
    size = abs(value)
    if size < MIB:
        return kib(size)
    unit, name = (MIB, "MiB") if size < GIB else (GIB, "GiB")
    return f"{size / unit:,.1f}".removesuffix(".0") + f" {name}"


def approximate(text: str, error: int | None) -> str:
    """A figure's text, marked where it may be off.

    Args:
        text: the figure.
        error: bytes by which it may be off; 0: not at all; None: not known how much.

    >>> approximate("40 KiB", 0), approximate("40 KiB", 768 << 10), approximate("40 KiB", None)
    ('40 KiB', '~40 KiB (±768 KiB)', '~40 KiB')
    """
    if error == 0:
        return text
    return f"~{text}" if error is None else f"~{text} (±{kib(error)})"


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "page"), count(1024, "page")
    ('1 page', '1,024 pages')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Bytes in the largest unit that takes no fraction.

    >>> size(4096), size(2 << 20), size(100)
    ('4 KiB', '2 MiB', '100 bytes')
    """
    for unit, name in ((1 << 40, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if number and number % unit == 0:
            return f"{number // unit:,} {name}"
    return f"{number:,} bytes"


def signal_name(number: int) -> str:
    """The name of a signal; its number where it has none, as most real-time signals.

    >>> signal_name(11), signal_name(45)
    ('SIGSEGV', 'signal 45')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
