"""Unix sockets and their peers."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from procmem.ipc.sockets import parse_unix_sockets, unix_sockets

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pair_knows_its_peer_and_what_waits() -> None:
    one, other = socket.socketpair()
    with one, other:
        found = unix_sockets()
        if found is None:
            pytest.skip("no sock_diag for Unix sockets (CONFIG_UNIX_DIAG)")
        other.send(b"xyz")
        found = unix_sockets()
        assert found is not None
        inodes = [os.fstat(each.fileno()).st_ino for each in (one, other)]
        assert found[inodes[0]].peer == inodes[1]
        assert found[inodes[1]].peer == inodes[0]
        assert found[inodes[0]].waiting == 3
        assert found[inodes[1]].waiting == 0
        assert found[inodes[0]].kind == socket.SOCK_STREAM


def test_names(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        named.bind(f"{tmp_path}/s")
        abstract.bind(f"\0procmem-test-{os.getpid()}")
        found = unix_sockets()
        if found is None:
            pytest.skip("no sock_diag for Unix sockets (CONFIG_UNIX_DIAG)")
        assert found[os.fstat(named.fileno()).st_ino].name == f"{tmp_path}/s"
        assert found[os.fstat(named.fileno()).st_ino].peer is None
        assert found[os.fstat(abstract.fileno()).st_ino].name == f"@procmem-test-{os.getpid()}"


def test_damaged_replies_are_read_as_far_as_they_go() -> None:
    body = struct.pack("=BBBBI8x", 1, 1, 1, 0, 7) + struct.pack("=HHI", 8, 2, 9)
    whole = struct.pack("=IHHII", 16 + len(body), 20, 0, 0, 0) + body
    assert parse_unix_sockets(whole)[7].peer == 9
    for size in range(len(whole)):
        parse_unix_sockets(whole[:size])
    assert parse_unix_sockets(struct.pack("=IHHII", 0, 20, 0, 0, 0)) == {}
    assert parse_unix_sockets(whole[:32] + struct.pack("=HHI", 0, 2, 9))[7].peer is None
