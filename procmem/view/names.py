"""Names made safe for a terminal."""

from __future__ import annotations

from procmem.names import escaped

__all__ = [
    "cell",
    "cells",
    "clipped",
    "only_ascii",
    "padded",
    "printable",
    "shorter",
    "show_only_ascii",
]

_only_ascii = False


def show_only_ascii(only: bool) -> None:
    """Sets whether names are shown in ASCII only, for an output that cannot show other characters.

    The output stream would escape them, but only after tables have been aligned.
    """
    global _only_ascii  # noqa: PLW0603 - of the whole process, as its output is
    _only_ascii = only


def only_ascii() -> bool:
    """Whether the output shows ASCII only; see show_only_ascii()."""
    return _only_ascii


def printable(text: str) -> str:
    r"""The text with everything escaped that is not a plain printable character; see escaped().

    >>> printable("a\x1b[2Jb\nc")
    'a\\x1b[2Jb\\nc'
    """
    return escaped(text, only_ascii=_only_ascii)


def clipped(text: str, most: int = 40) -> str:
    """The text, cut to a length."""
    return shorter(text, most)


def shorter(text: str, most: int, *, keep_end: bool = False, dots: str = "...") -> str:
    """The text cut to a number of cells, with dots for the missing part.

    Args:
        text: printable characters.
        most: cells.
        keep_end: cut at the start, as for a path.
        dots: what marks the cut.

    >>> shorter("a long name", 8), shorter("/usr/lib/x", 8, keep_end=True), shorter("日本語", 5)
    ('a lon...', '...lib/x', '日...')
    """
    if (len(text) if text.isascii() else cells(text)) <= most:
        return text
    dots = dots if most > len(dots) else ""
    kept: list[str] = []
    room = most - len(dots)
    for character in reversed(text) if keep_end else text:
        taken = max(cell(character), 0)
        if taken > room:
            break
        room -= taken
        kept.append(character)
    return dots + "".join(reversed(kept)) if keep_end else "".join(kept) + dots


def cells(text: str) -> int:
    """The number of terminal cells that a printable text takes."""
    return len(text) if text.isascii() else sum(max(cell(character), 0) for character in text)


def padded(text: str, width: int, align: str = "<") -> str:
    """The text padded with blanks to a number of cells, on the right or (">") on the left."""
    blanks = " " * (width - cells(text))
    return blanks + text if align == ">" else text + blanks


def cell(character: str) -> int:
    """The number of cells of a character, as in wcwidth(3) of glibc; -1: not printable."""
    if " " <= character <= "~":
        return 1
    from unicodedata import category, east_asian_width

    kind = category(character)
    if kind in ("Cc", "Cn", "Cs", "Zl", "Zp"):
        return -1
    code = ord(character)
    # What follows are the places where glibc departs from Unicode's tables.
    if kind in ("Mn", "Me") or 0x1160 <= code <= 0x11FF:
        return 0
    if kind == "Cf":
        return 1 if code == 0xAD or 0x600 <= code <= 0x8E2 or code in (0x110BD, 0x110CD) else 0
    wide = east_asian_width(character) in ("W", "F")
    return 2 if wide or 0x3248 <= code <= 0x324F or 0x4DC0 <= code <= 0x4DFF else 1
