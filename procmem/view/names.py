"""Names as a terminal may show them."""

from __future__ import annotations

__all__ = ["clipped", "printable"]

SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}


def printable(text: str) -> str:
    r"""The text with everything escaped that is no plain printable character.

    A file's name may hold escape sequences that clear a screen or forge a line,
    marks that turn the direction of writing, and bytes that are no text at all.
    A backslash is doubled and spaces at the ends are escaped, so that two names
    never look the same.

    >>> printable("a\x1b[2Jb\nc"), printable("back\\slash"), printable("\udcff é")
    ('a\\x1b[2Jb\\nc', 'back\\\\slash', '\\xff é')
    """
    if text.isprintable() and "\\" not in text and text == text.strip(" "):
        return text
    start, end = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    return "".join(shown(char) if start <= at < end else "\\x20" for at, char in enumerate(text))


def clipped(text: str, most: int = 40) -> str:
    """The text, cut so that a name in front of figures can't push them off the screen."""
    return text if len(text) <= most else text[: most - 3] + "..."


def shown(char: str) -> str:
    if char in SHORT:
        return SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
