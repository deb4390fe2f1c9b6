"""Formats figures as text: sizes, differences, counts, names of signals.

Thousands are separated by commas, and the sign of a negative figure is "-" everywhere.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "UNITS",
    "GiB",
    "KiB",
    "MiB",
    "about",
    "approximate",
    "comparable",
    "count",
    "in_unit",
    "kib",
    "parse_size",
    "signal_name",
    "signed",
    "signed_in_unit",
    "size",
    "unit_name",
]

KiB = 1 << 10
MiB = 1 << 20
GiB = 1 << 30

UNITS = ("KiB", "B", "MiB", "GiB", "human")
"""Units for the figures of tables; "human": each figure in the unit that needs few digits."""


FACTORS = {"": 1, "B": 1, "K": KiB, "M": MiB, "G": GiB}
SIZE = r"([+\u2212-]?)\s*([0-9][0-9_,]{,24})(\.[0-9]{1,24})?\s*([A-Za-z]*)"
"""A size as people write it; U+2212 is a minus sign, too."""


def unit_name(unit: str) -> str:
    """The unit's name for a table's last row; empty where each figure has its own unit."""
    return "" if unit == "human" else unit


def in_unit(unit: str = "KiB") -> Callable[[int | None], str]:
    """A function that formats a number of bytes for a table; "-" for None (not read).

    KiB are whole, as pmap and ps print them; MiB and GiB have one decimal.

    Args:
        unit: one of UNITS.

    Raises:
        KeyError: it is not.

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
    scale = {"MiB": MiB, "GiB": GiB}[unit]
    return lambda value: "-" if value is None else f"{value / scale:.1f}"


def signed_in_unit(unit: str = "KiB") -> Callable[[int | None], str]:
    """A function that formats a difference in bytes for a table, with its sign; "-" for None.

    Args and errors are those of in_unit().

    >>> [signed_in_unit()(value) for value in (4096, -4096, 512, 0, None)]
    ['+4', '-4', '+0.5', '+0', '-']
    >>> signed_in_unit("human")(-35_000_000)
    '-33.4M'
    """
    figure = in_unit(unit)

    def signed_figure(value: int | None) -> str:
        if value is None:
            return "-"
        odd = unit == "KiB" and value % KiB
        return ("-" if value < 0 else "+") + (
            f"{abs(value) / KiB:g}" if odd else figure(abs(value))
        )

    return signed_figure


def brief(value: int) -> str:
    """Bytes with a letter for the unit, as ls -h and du -h print them, with one decimal."""
    if not value:
        return "0"
    letter, scale = next(
        (letter, 1 << shift)
        for letter, shift in (("T", 40), ("G", 30), ("M", 20), ("K", 10), ("B", 0))
        if abs(value) >= 1 << shift
    )
    return f"{value / scale:.1f}".removesuffix(".0") + letter


def kib(value: int) -> str:
    """Bytes in KiB, rounded down.

    >>> kib(4096), kib(100 << 20)
    ('4 KiB', '102,400 KiB')
    """
    return f"{value >> 10:,} KiB"


def signed(value: int) -> str:
    """A difference of bytes in KiB, with its sign.

    >>> signed(4096), signed(-4096), signed(0)
    ('+4 KiB', '-4 KiB', '+0 KiB')
    """
    return ("-" if value < 0 else "+") + kib(abs(value))


def size(number: int) -> str:
    """Bytes in the largest unit in which the number is whole.

    >>> size(4096), size(2 << 20), size(100)
    ('4 KiB', '2 MiB', '100 bytes')
    """
    for unit, name in ((1 << 40, "TiB"), (GiB, "GiB"), (MiB, "MiB"), (KiB, "KiB")):
        if number and number % unit == 0:
            return f"{number // unit:,} {name}"
    return count(number, "byte")


def comparable(value: int) -> str:
    """The exact number of bytes, for sizes that readers compare: in KiB if these are whole.

    >>> comparable(4096), comparable(-135168), comparable(100), comparable(64 << 20)
    ('4 KiB', '-132 KiB', '100 bytes', '65,536 KiB')
    """
    return kib(value) if value and value % KiB == 0 else count(value, "byte")


def about(value: int) -> str:
    """Bytes in a unit that needs few digits: whole KiB below 1 MiB, else with one decimal.

    >>> about(44 << 10), about(34_603_008), about(35_000_000), about(3 << 30), about(128 << 40)
    ('44 KiB', '33 MiB', '33.4 MiB', '3 GiB', '128 TiB')
    """
    value = abs(value)
    for shift, name in ((60, "EiB"), (50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB")):
        if value >> shift:
            return f"{value / (1 << shift):,.1f}".removesuffix(".0") + f" {name}"
    return kib(value)


def approximate(text: str, error: int | None) -> str:
    """A figure's text, marked with "~" if the figure may be wrong by some bytes.

    Args:
        text: the figure.
        error: the largest possible error in bytes; 0: exact; None: not known.

    >>> approximate("40 KiB", 0), approximate("40 KiB", 768 << 10), approximate("40 KiB", None)
    ('40 KiB', '~40 KiB (±768 KiB)', '~40 KiB')
    """
    if error == 0:
        return text
    return f"~{text}" if error is None else f"~{text} (±{kib(error)})"


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "page"), count(1024, "page"), count(2, "process")
    ('1 page', '1,024 pages', '2 processes')
    """
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def signal_name(number: int, *, meaning: bool = False) -> str:
    """The name of a signal; signals without a name, such as the two that libc uses, by number.

    Args:
        number: the signal's number, see signal(7).
        meaning: whether to add the description of strsignal(3).

    >>> signal_name(11), signal_name(11, meaning=True), signal_name(35), signal_name(32)
    ('SIGSEGV', 'SIGSEGV (Segmentation fault)', 'SIGRTMIN+1', 'signal 32')
    """
    import signal  # not needed for most figures

    try:
        name = signal.Signals(number).name
    except ValueError:
        if not signal.SIGRTMIN < number < signal.SIGRTMAX:
            return f"signal {number}"
        name = f"SIGRTMIN+{number - signal.SIGRTMIN}"
    return f"{name} ({signal.strsignal(number)})" if meaning else name


def parse_size(text: str) -> int:
    """The size that a text states, in bytes; K, KB and KiB are all 1,024 bytes.

    Raises:
        ValueError: it is not a size, or not a whole number of bytes.

    >>> parse_size("4 KiB"), parse_size("4K"), parse_size("4096"), parse_size("1.5 MiB")
    (4096, 4096, 4096, 1572864)
    """
    import re  # not needed where sizes are only printed

    match = re.fullmatch(SIZE, text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size")
    sign, whole, part, unit = match.groups()
    name = unit.upper().removesuffix("BYTES").removesuffix("BYTE").removesuffix("IB")
    name = name if name in FACTORS else name.removesuffix("B")
    if name not in FACTORS:
        raise ValueError(f"{unit!r} is not a unit of memory")
    digits = re.sub("[_,]", "", whole)
    factor = FACTORS[name]
    size = int(digits) * factor
    if part:
        extra, left = divmod(int(part[1:]) * factor, 10 ** (len(part) - 1))
        if left:
            raise ValueError(f"{text!r} is not a whole number of bytes")
        size += extra
    return size if sign in ("", "+") else -size
