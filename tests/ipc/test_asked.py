"""Which descriptors a call waits for, from its arguments and the process's memory."""

from __future__ import annotations

import struct

import pytest

from procmem.ipc.asked import AskedFd, asked, parse_epoll


def nothing(*_: int) -> bytes:
    return b""


@pytest.mark.parametrize(
    "call, arguments, expected",
    [
        ("read", (7, 1, 1, 0, 0, 0), (AskedFd(7, "read"),)),
        ("writev", (8, 1, 1, 0, 0, 0), (AskedFd(8, "write"),)),
        ("splice", (3, 0, 4, 0, 9, 0), (AskedFd(3, "read"), AskedFd(4, "write"))),
        ("sendfile", (3, 4, 0, 9, 0, 0), (AskedFd(4, "read"), AskedFd(3, "write"))),
        ("recvmsg", (5, 0, 0, 0, 0, 0), (AskedFd(5, "read"),)),
    ],
)
def test_calls_on_one_descriptor(
    call: str, arguments: tuple[int, ...], expected: tuple[AskedFd, ...]
) -> None:
    found = asked(call, arguments, nothing, nothing)
    assert found is not None
    assert found == (expected, False, True)


def test_other_calls_wait_for_none() -> None:
    assert asked("nanosleep", (1, 0, 0, 0, 0, 0), nothing, nothing) is None


def test_poll_reads_its_array_and_its_limit() -> None:
    array = struct.pack("=iHHiHHiHH", 3, 1, 0, 4, 4, 0, -1, 1, 0)

    def memory(address: int, size: int) -> bytes:
        return array[:size] if address == 64 else b""

    found = asked("poll", (64, 3, 0xFFFFFFFF, 0, 0, 0), memory, nothing)
    assert found == ((AskedFd(3, "read"), AskedFd(4, "write")), False, True)
    limited = asked("poll", (64, 3, 100, 0, 0, 0), memory, nothing)
    assert limited is not None
    assert limited.limited
    endless = asked("ppoll", (64, 3, 0, 0, 8, 0), memory, nothing)
    assert endless is not None
    assert not endless.limited
    unread = asked("poll", (0, 3, 0xFFFFFFFF, 0, 0, 0), memory, nothing)
    assert unread == ((), False, False)


def test_poll_for_nothing_waits_for_the_end_of_the_other_side() -> None:
    found = asked(
        "poll", (64, 1, 0xFFFFFFFF, 0, 0, 0), lambda *_: struct.pack("=iHH", 3, 0, 0), nothing
    )
    assert found is not None
    assert found.asked == (AskedFd(3, "end"),)


def test_select_reads_its_sets() -> None:
    sets = {64: struct.pack("=QQ", 1 << 5, 1 << 6), 128: struct.pack("=QQ", 1 << 63, 0)}
    found = asked(
        "pselect6", (71, 64, 128, 0, 0, 0), lambda address, size: sets[address][:size], nothing
    )
    assert found is not None
    assert found == ((AskedFd(5, "read"), AskedFd(70, "read"), AskedFd(63, "write")), False, True)
    below = asked("select", (70, 64, 0, 0, 9, 0), lambda address, size: sets[address], nothing)
    assert below is not None
    assert below.asked == (AskedFd(5, "read"),)
    assert below.limited


def test_epoll_is_read_from_fdinfo() -> None:
    text = (
        b"pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t9\n"
        b"tfd:        4 events:       19 data:                4  pos:0 ino:51 sdev:f\n"
        b"tfd:       17 events: 80000004 data:               11  pos:0 ino:52 sdev:f\n"
    )
    assert parse_epoll(text) == (AskedFd(4, "read"), AskedFd(17, "write"))
    found = asked("epoll_wait", (6, 1, 1, 0xFFFFFFFF, 0, 0), nothing, lambda _: text)
    assert found is not None
    assert not found.limited
    assert found.complete
    unread = asked("epoll_wait", (6, 1, 1, 0, 0, 0), nothing, lambda _: b"")
    assert unread == ((), True, False)
