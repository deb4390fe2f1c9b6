"""Pairs of Unix sockets and eventfds: holders, fill, who is blocked."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.ipc.sockets import unix_sockets
from tests.support.blocking import Children, needs_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem import EventFd, SocketEnd, SocketPair


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as made:
        yield made


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    if unix_sockets() is None:
        pytest.skip("no sock_diag for Unix sockets (CONFIG_UNIX_DIAG)")
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def inode_of(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


def pairs_with(one: socket.socket) -> list[SocketPair]:
    inode = inode_of(one)
    found = procmem.Process().pipes().sockets
    return [pair for pair in found if inode in [end.inode for end in pair.ends]]


def end_of(one: socket.socket) -> SocketEnd:
    (found,) = pairs_with(one)
    inode = inode_of(one)
    return next(end for end in found.ends if end.inode == inode)


def test_a_pair_with_all_its_holders(
    pair: tuple[socket.socket, socket.socket], children: Children
) -> None:
    one, other = pair

    def hold_other() -> None:
        one.close()
        signal.pause()

    child = children.start(hold_other, "pause", "rt_sigsuspend", "ppoll")
    (found,) = pairs_with(one)
    assert found.kind == "stream"
    assert {end.inode for end in found.ends} == {inode_of(one), inode_of(other)}
    held = {end.inode: {(each.pid, each.fd) for each in end.holders} for end in found.ends}
    assert held[inode_of(one)] == {(os.getpid(), one.fileno())}
    assert held[inode_of(other)] == {(os.getpid(), other.fileno()), (child, other.fileno())}
    assert found.pids == sorted((os.getpid(), child))
    assert [each.close_on_exec for each in end_of(one).holders] == [True]


def test_what_waits_in_it(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    assert (end_of(one).waiting, end_of(one).queued, end_of(one).full) == (0, 0, False)
    other.send(b"hello")
    assert end_of(one).waiting == 5
    assert end_of(other).waiting == 0
    sent = end_of(other)
    assert sent.queued is not None
    assert sent.limit == other.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert 5 <= sent.queued < sent.limit
    other.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            other.send(bytes(4096))
    assert end_of(other).full
    assert not end_of(one).full


@needs_calls
def test_who_is_blocked_at_it(
    pair: tuple[socket.socket, socket.socket], children: Children
) -> None:
    one, other = pair
    child = children.start(lambda: one.recv(1), "recvfrom")
    assert [(each.pid, each.call, each.to) for each in end_of(one).blocked] == [
        (child, "recvfrom", "read")
    ]
    assert end_of(other).blocked == ()


def test_a_pair_whose_other_side_is_gone_is_none(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    one, other = pair
    other.close()
    assert pairs_with(one) == []


def test_a_connection_has_the_path_of_its_server(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(f"{tmp_path}/s")
        server.listen()
        client.connect(f"{tmp_path}/s")
        accepted, _ = server.accept()
        with accepted:
            (found,) = pairs_with(client)
            assert {end.path for end in found.ends} == {"", f"{tmp_path}/s"}
            assert pairs_with(server) == []


def eventfd_of(fd: int) -> EventFd:
    text = Path(f"/proc/self/fdinfo/{fd}").read_text()
    if "eventfd-id" not in text:
        pytest.skip("this kernel does not number eventfds")
    (found,) = [
        one
        for one in procmem.Process().pipes().eventfds
        if (os.getpid(), fd) in [(each.pid, each.fd) for each in one.holders]
    ]
    return found


@needs_calls
def test_an_eventfd_its_count_and_its_holders(children: Children) -> None:
    number = os.eventfd(0)
    try:
        child = children.start(lambda: os.eventfd_read(number), "read")
        found = eventfd_of(number)
        assert (found.value, found.full) == (0, False)
        assert found.pids == sorted((os.getpid(), child))
        assert [(each.pid, each.to) for each in found.blocked] == [(child, "read")]
    finally:
        os.close(number)


@pytest.mark.parametrize("flags", [0, os.EFD_SEMAPHORE])
def test_the_count_of_an_eventfd(flags: int) -> None:
    number = os.eventfd(31, flags)
    try:
        found = eventfd_of(number)
        assert (found.value, found.full, found.blocked) == (31, False, ())
        assert found.semaphore in (None, bool(flags))
        os.eventfd_write(number, (1 << 64) - 2 - 31)
        assert (eventfd_of(number).value, eventfd_of(number).full) == ((1 << 64) - 2, True)
    finally:
        os.close(number)


def test_plain_values(pair: tuple[socket.socket, socket.socket]) -> None:
    found = procmem.Process().pipes()
    plain = found.to_dict()
    inodes = [end["inode"] for each in plain["sockets"] for end in each["ends"]]
    assert inode_of(pair[0]) in inodes
    assert found.sockets is found.sockets
    assert found.among(set()).sockets == ()
