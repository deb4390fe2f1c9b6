"""What pmap and ps have in common: the name of a process, byte for byte.

The rules were found by running both programs of procps-ng 4.0.2 with every byte.
"""

from __future__ import annotations

__all__ = ["command_line", "escaped", "for_terminal"]

CUT = 131071
"""Bytes of a command line that procps reads."""

# A byte that starts no character counts 0.
LENGTHS = bytes([1] * 0x80 + [0] * 0x42 + [2] * 0x1E + [3] * 0x10 + [4] * 0x05 + [0] * 0x0B)
CONTROLS = frozenset([*range(0x20), 0x7F])

PLAIN = bytes(range(0x20, 0x7F))
"""Characters that need no escaping in any locale."""

OTHERWISE = bytes(
    ord(".") if byte in CONTROLS else ord("?") if byte >= 0x80 else byte for byte in range(256)
)
"""In other locales: "." for a control byte, "?" for one above ASCII."""

PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in range(256))
"""isprint(3) of the C locale."""


def escaped(text: bytes, *, utf8: bool) -> bytes:
    r"""A command or its arguments as pmap and ps print them.

    Args:
        text: the bytes from the kernel.
        utf8: whether the user's locale is a UTF-8 one.

    Returns:
        In a UTF-8 locale a control byte becomes "?". After the first byte that starts no character,
        the rest is treated as in other locales: a control byte becomes ".", a byte above ASCII "?".
        Continuation bytes are not checked, so the result may contain control bytes, which
        for_terminal() removes.

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
    r"""The command in pmap's first line, and in the args column of ps.

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
    r"""A name without bytes that control a terminal.

    Args:
        text: any bytes.
        utf8: whether the terminal shows UTF-8; otherwise only ASCII is kept.

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
