"""What pmap and ps have in common: how a process is called, byte for byte.

The rules were found by running both programs of procps-ng 4.0.2 over every byte.
"""

from __future__ import annotations

__all__ = ["command_line", "escaped", "for_terminal"]

CUT = 131071
"""Bytes of a command line that procps looks at."""

# A byte that starts no character counts 0.
LENGTHS = bytes([1] * 0x80 + [0] * 0x42 + [2] * 0x1E + [3] * 0x10 + [4] * 0x05 + [0] * 0x0B)
CONTROLS = frozenset([*range(0x20), 0x7F])

PLAIN = bytes(range(0x20, 0x7F))
"""What needs no escape in any locale."""

OTHERWISE = bytes(
    ord(".") if byte in CONTROLS else ord("?") if byte >= 0x80 else byte for byte in range(256)
)
"""Outside UTF-8: a control byte is a dot, one above ASCII a question mark."""

PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in range(256))
"""isprint(3) of the C locale."""


def escaped(text: bytes, *, utf8: bool) -> bytes:
    r"""A command or its arguments as pmap and ps print them.

    Args:
        text: the bytes that the kernel gave.
        utf8: whether the user's locale is a UTF-8 one.

    Returns:
        In UTF-8 a control byte becomes "?", and what stands behind the first
        byte that starts no character is treated as outside UTF-8: a control
        byte becomes ".", a byte above ASCII "?". The bytes behind a first byte
        are taken without a look, so the answer may hold control bytes:
        for_terminal() takes those.

    >>> escaped(b"a\tb \xc3\xa9", utf8=False)
    b'a.b ??'
    """
    if not text.translate(None, PLAIN):
        return text
    if not utf8:
        return text.translate(OTHERWISE)
    shown = bytearray(text)
    at, end = 0, len(text)
    while at < end:
        length = LENGTHS[text[at]]
        if not length or at + length > end:
            return bytes(shown[:at]) + text[at:].translate(OTHERWISE)
        if text[at] in CONTROLS:
            shown[at] = ord("?")
        at += length
    return bytes(shown)


def command_line(cmdline: bytes, comm: bytes, state: str, *, utf8: bool) -> bytes:
    r"""The first line's command of pmap, and the args column of ps.

    Args:
        cmdline: /proc/PID/cmdline; empty for a kernel thread and a zombie.
        comm: the name in /proc/PID/stat.
        state: the letter there.
        utf8: as for escaped().

    >>> command_line(b"sleep\x0010\0", b"sleep", "S", utf8=True)
    b'sleep 10'
    >>> command_line(b"", b"sh", "Z", utf8=True)
    b'[sh] <defunct>'
    """
    if not cmdline:
        mark = b" <defunct>" if state == "Z" else b""
        return b"[" + escaped(comm, utf8=utf8) + b"]" + mark
    text = cmdline[:CUT]
    if text.endswith(b"\0"):
        text = text.rstrip(b"\0") + b"\0"
    text = text.replace(b"\0", b" ").replace(b"\n", b" ")
    if text.endswith(b" "):
        text = text[:-1]
    return escaped(text, utf8=utf8) if text else b"?"


def for_terminal(text: bytes, *, utf8: bool) -> bytes:
    r"""A name without a byte that a terminal would take as an order.

    Args:
        text: any bytes.
        utf8: whether the terminal shows UTF-8; otherwise only ASCII is left.

    Returns:
        Control characters (C1 too), characters that change the direction of
        writing, unassigned ones, and bytes that are no UTF-8: "?" each.

    >>> for_terminal(b"a\x1b[31m", utf8=True)
    b'a?[31m'
    """
    if not text.translate(None, PLAIN):
        return text
    if not utf8:
        return text.translate(PRINTABLE)
    characters = text.decode("utf-8", "surrogateescape")
    return "".join(c if c.isprintable() else "?" for c in characters).encode("utf-8")
