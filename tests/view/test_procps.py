"""Names of processes, as pmap and ps of procps-ng print them."""

from __future__ import annotations

import pytest

from procmem.view.procps import command_line, escaped, for_terminal


@pytest.mark.parametrize(
    "raw, plain, utf8",
    [
        (b"a b", b"a b", b"a b"),
        (b"a\tb\x1b\x7f", b"a.b..", b"a?b??"),
        (b"\xc3\xa9\xf0\x9f\xa6\x8a", b"??????", b"\xc3\xa9\xf0\x9f\xa6\x8a"),
        (b"\x01\xc3\xa9\xff\x01\xc3\xa9", b".???.??", b"?\xc3\xa9?.??"),
        (b"\xe2\x82", b"??", b"??"),
        (b"\xf0\x9f x\x01", b"?? x.", b"\xf0\x9f x?"),
        (b"\xc0\x80\xf5", b"???", b"???"),
    ],
)
def test_commands(raw: bytes, plain: bytes, utf8: bytes) -> None:
    assert escaped(raw, utf8=False) == plain
    assert escaped(raw, utf8=True) == utf8


@pytest.mark.parametrize(
    "cmdline, shown",
    [
        (b"a\0b\0", b"a b"),
        (b"a\0b", b"a b"),
        (b"a\0\0b\0\0\0", b"a  b"),
        (b"a\n\0", b"a "),
        (b"a\n", b"a"),
        (b"\0", b"?"),
        (b"\n", b"?"),
        (b" \0", b" "),
        (b"x" * 200000, b"x" * 131071),
    ],
)
def test_command_lines(cmdline: bytes, shown: bytes) -> None:
    assert command_line(cmdline, b"name", "S", utf8=True) == shown


def test_processes_without_a_command_line() -> None:
    assert command_line(b"", b"k\n", "S", utf8=False) == b"[k.]"
    assert command_line(b"", b"z", "Z", utf8=True) == b"[z] <defunct>"


@pytest.mark.parametrize(
    "raw, utf8, plain",
    [
        (b"a\x1b[2Jb\r\x07", b"a?[2Jb??", b"a?[2Jb??"),
        ("é\x9b\u202e".encode(), "é??".encode(), b"???????"),
        (b"\x9b31m\xff", b"?31m?", b"?31m?"),
    ],
)
def test_nothing_steers_a_terminal(raw: bytes, utf8: bytes, plain: bytes) -> None:
    assert for_terminal(raw, utf8=True) == utf8
    assert for_terminal(raw, utf8=False) == plain
