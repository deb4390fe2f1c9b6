"""The text of /proc/locks."""

from __future__ import annotations

from procmem.ipc.locks import holds_lock, parse_locks

TEXT = b"""\
1: POSIX  ADVISORY  WRITE 1653 fe:00:1100830 0 EOF
1: -> POSIX  ADVISORY  WRITE 1714 fe:00:1100830 0 EOF
1:  -> POSIX  ADVISORY  READ 1715 fe:00:1100830 0 EOF
2: OFDLCK ADVISORY  READ -1 fe:00:1617627 100 100
2: -> OFDLCK ADVISORY  WRITE -1 fe:00:1617627 100 100
3: FLOCK  ADVISORY  WRITE 1653 fe:00:1100830 0 EOF
4: LEASE  ACTIVE    READ  5 fe:00:7 0 EOF
"""


def test_who_waits_for_whom() -> None:
    found = parse_locks(TEXT)
    assert [(one.pid, one.kind, one.mode, one.owner) for one in found] == [
        (1714, "fcntl", "WRITE", 1653),
        (1715, "fcntl", "READ", 1653),
        (-1, "OFD", "WRITE", None),
    ]
    assert {(one.dev, one.inode) for one in found[:2]} == {("fe:00", 1100830)}


def test_other_texts_hold_no_locks() -> None:
    for text in (
        b"",
        b"\n",
        b"x: y\n",
        b"1: -> FLOCK ADVISORY WRITE x fe:00:1 0 EOF\n",
        b"1: ->\n",
    ):
        assert parse_locks(text) == []


def test_a_lock_in_fdinfo() -> None:
    text = b"pos:\t0\nflags:\t02\nlock:\t1: FLOCK  ADVISORY  WRITE 7 fe:01:99 0 EOF\n"
    assert holds_lock(text, "flock", 99)
    assert not holds_lock(text, "flock", 98)
    assert not holds_lock(text, "fcntl", 99)
    assert not holds_lock(b"lock:\t1:\n", "flock", 99)
