"""Names made safe to show, on a terminal and in HTML."""

from __future__ import annotations

__all__ = ["escaped"]

SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}


def escaped(text: str, *, only_ascii: bool = False) -> str:
    r"""The text with everything escaped that is not a plain printable character.

    A file's name may contain escape sequences that clear the screen or forge a line, characters
    that change the direction of writing, and bytes that are not valid text.
    A backslash is doubled and spaces at the ends are escaped, so that different
    names always look different.

    Args:
        text: any characters, with bytes that are no UTF-8 as PEP 383 has them (surrogateescape).
        only_ascii: whether other printable characters are escaped, too.

    >>> escaped("a\x1b[2Jb\nc"), escaped("back\\slash"), escaped("\udcff é")
    ('a\\x1b[2Jb\\nc', 'back\\\\slash', '\\xff é')
    """
    if (
        text.isprintable()
        and "\\" not in text
        and text == text.strip(" ")
        and (text.isascii() or not only_ascii)
    ):
        return text
    start, end = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    return "".join(
        shown(char, only_ascii) if start <= at < end else "\\x20" for at, char in enumerate(text)
    )


def shown(char: str, only_ascii: bool) -> str:
    if char in SHORT:
        return SHORT[char]
    if char.isprintable() and (char.isascii() or not only_ascii):
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:  # others would look like such bytes
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
