"""Figures as people read them: KiB with thousands parted, one minus sign, counts with a noun."""

from __future__ import annotations

__all__ = ["GIB", "KIB", "MIB", "about", "count", "kib", "signed"]

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

MINUS = "−"
"""U+2212: one sign for all differences."""


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


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "page"), count(1024, "page")
    ('1 page', '1,024 pages')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
