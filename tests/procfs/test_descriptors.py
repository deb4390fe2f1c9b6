"""Descriptor tables: kinds, names, flags, counts, and what can't be read."""

from __future__ import annotations

import fcntl
import gc
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import Unsupported
from procmem.native import lib
from procmem.procfs.descriptors import (
    ANON,
    FIFOS,
    FILES,
    READING,
    SOCKETS,
    WRITING,
    fdinfo_of,
    pipe_device,
    read_descriptors,
    scan_process,
)
from procmem.procfs.files import pids
from tests.support.blocking import needs_calls, until_blocked

if TYPE_CHECKING:
    from procmem.procfs.descriptors import Descriptor


def mine(kinds: int) -> dict[int, Descriptor]:
    return {one.fd: one for one in read_descriptors([os.getpid()], kinds).listed}


def test_each_kind_is_found_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    ends = os.pipe()
    with path.open("rb") as file, socket.socket() as one:
        number = os.eventfd(3)
        try:
            assert ends[0] in mine(FIFOS)
            assert one.fileno() in mine(SOCKETS)
            assert mine(ANON)[number].name == b"anon_inode:[eventfd]"
            found = mine(FILES)[file.fileno()]
            assert os.fsdecode(found.name) == str(path)
            assert (found.size, found.links) == (5, 1)
            assert found.inode == os.stat(path).st_ino
            assert stat.S_ISREG(found.mode)
            assert {ends[0], one.fileno(), number}.isdisjoint(mine(FILES))
        finally:
            os.close(number)
    for fd in ends:
        os.close(fd)
    assert ends[0] not in mine(FIFOS)


def test_a_pipe_has_its_inode_its_access_and_no_name() -> None:
    read, write = os.pipe()
    try:
        found = mine(FIFOS)
        assert found[read].inode == found[write].inode == os.fstat(read).st_ino
        assert found[read].dev == pipe_device()
        assert (found[read].access, found[write].access) == (READING, WRITING)
        assert found[read].name == b""
    finally:
        os.close(read)
        os.close(write)


def test_a_fifo_opened_for_both(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    both = os.open(tmp_path / "fifo", os.O_RDWR)
    assert mine(FIFOS)[both].access == READING | WRITING
    assert os.fsdecode(mine(FIFOS)[both].name) == str(tmp_path / "fifo")
    os.close(both)


@needs_calls
def test_names_and_calls_of_the_processes() -> None:
    with subprocess.Popen(["sleep", "1000"], stdin=subprocess.PIPE) as child:
        until_blocked(child.pid, "clock_nanosleep", "nanosleep")
        found = read_descriptors([child.pid], FIFOS, calls=True)
        assert found.names == {child.pid: "sleep"}
        (call,) = found.calls
        assert (call.pid, call.tid) == (child.pid, child.pid)
        text = Path(f"/proc/{child.pid}/syscall").read_text().split()
        assert call.number == int(text[0])
        assert call.arguments == tuple(int(word, 16) for word in text[1:7])
        child.kill()
    assert read_descriptors([os.getpid()], FIFOS).calls == []


def test_fdinfo() -> None:
    assert fdinfo_of(os.getpid(), 0).startswith(b"pos:")
    assert fdinfo_of(os.getpid(), 1 << 20) == b""


def test_all_descriptors_are_counted() -> None:
    gc.collect()  # what earlier tests dropped in cycles may hold descriptors
    listed = set(os.listdir(f"/proc/{os.getpid()}/fd"))
    # One was listdir's own; while they are read, /proc and the directory itself are open, too.
    assert read_descriptors([os.getpid()], FIFOS).seen == len(listed) + 1


def test_many_descriptors_are_all_found() -> None:
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(700)]
    try:
        found = mine(FILES)
        assert all(found[fd].name == b"/dev/null" for fd in opened)
    finally:
        for fd in opened:
            os.close(fd)


@pytest.mark.parametrize("lists_from", [1, -1])
def test_descriptors_behind_gaps_are_all_found(lists_from: int) -> None:
    """Numbers without a gap are tried, the others listed: where a listing can begin anywhere."""
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(40)]
    left = {fd for at, fd in enumerate(opened) if at % 3 and at != 39}
    for fd in set(opened) - left:
        os.close(fd)
    high = fcntl.fcntl(opened[1], fcntl.F_DUPFD_CLOEXEC, 900)
    made = lib.pm_descriptors_new()
    made.lists_from = lists_from
    proc = os.open("/proc", os.O_RDONLY)
    try:
        assert scan_process(made, proc, os.getpid(), FILES) == 0
        fds = [one.fd for one in made.list[0 : made.count]]
        assert left | {high} <= set(fds)
        assert len(fds) == len(set(fds))
    finally:
        lib.pm_descriptors_free(made)
        for fd in (*left, high, proc):
            os.close(fd)


def test_the_listing_of_this_kernel_can_begin_anywhere() -> None:
    made = lib.pm_descriptors_new()
    proc = os.open("/proc", os.O_RDONLY)
    try:
        scan_process(made, proc, os.getpid(), FILES)
        assert made.lists_from == 1
    finally:
        lib.pm_descriptors_free(made)
        os.close(proc)


def test_processes_that_end_are_counted() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    found = read_descriptors([ended.pid, os.getpid()], FIFOS)
    assert (found.gone, found.processes, found.denied) == (1, 1, [])


def test_descriptors_outlive_the_leading_thread() -> None:
    """Its own table is gone, that of the process is not."""
    code = (
        "import ctypes, os, threading, sys\n"
        "def wait():\n"
        "    while open(f'/proc/{os.getpid()}/stat').read().split()[2] != 'Z': pass\n"
        "    print('ended', flush=True); sys.stdin.read()\n"
        "ends = os.pipe()\n"
        "threading.Thread(target=wait).start()\n"
        "ctypes.CDLL(None).syscall({'x86_64': 60}.get(os.uname().machine, 93), 0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ended\n"
        found = read_descriptors([process.pid], FIFOS)
        assert {0, 1} <= {one.fd for one in found.listed}
        process.kill()


def test_a_saved_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no live /proc"):
        read_descriptors([1], FIFOS, tmp_path)
    with pytest.raises(Unsupported):
        read_descriptors([1], FIFOS, tmp_path / "nothing")


def test_nothing_is_left_open() -> None:
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    read_descriptors(pids(), FIFOS | SOCKETS | ANON | FILES)
    assert set(os.listdir("/proc/self/fd")) == before
