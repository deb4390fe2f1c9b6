"""Pipes: holders, capacity, fill; and that looking at them changes nothing."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.ipc.ends import PAGE_SIZE, measured
from procmem.ipc.holders import PipeEnd
from procmem.procfs.descriptors import FIFOS, read_descriptors
from tests.support.blocking import Children, needs_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem import Pipe

F_SETPIPE_SZ = 1031


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as made:
        yield made


def pipe_of(fd: int) -> Pipe:
    """The pipe that a descriptor of this process leads to, as procmem sees it."""
    inode = os.fstat(fd).st_ino
    (found,) = [pipe for pipe in procmem.Process().pipes() if pipe.inode == inode]
    return found


def test_every_holder_of_both_ends(children: Children) -> None:
    read, write = children.pipe()

    def hold_read() -> None:
        os.close(write)
        signal.pause()

    def hold_write() -> None:
        os.close(read)
        signal.pause()

    reader = children.start(hold_read, "pause", "rt_sigsuspend", "ppoll")
    writer = children.start(hold_write, "pause", "rt_sigsuspend", "ppoll")
    found = pipe_of(read)
    assert {(end.pid, end.fd) for end in found.readers} == {(os.getpid(), read), (reader, read)}
    assert {(end.pid, end.fd) for end in found.writers} == {(os.getpid(), write), (writer, write)}
    assert found.path is None
    assert found.name == f"pipe {os.fstat(read).st_ino}"
    comm = Path(f"/proc/{reader}/comm").read_text().strip()
    assert {end.name for end in found.readers} == {comm}


def test_flags_are_those_of_the_descriptor(children: Children) -> None:
    read, write = children.pipe()
    os.set_blocking(write, False)
    os.set_inheritable(read, True)
    found = pipe_of(read)
    assert not found.readers[0].nonblocking
    assert not found.readers[0].close_on_exec
    assert found.writers[0].nonblocking
    assert found.writers[0].close_on_exec
    assert found.writers[0].flags is not None
    assert found.writers[0].flags & ~os.O_CLOEXEC == fcntl.fcntl(write, fcntl.F_GETFL)
    assert found.writers[0].writes
    assert not found.writers[0].reads


def test_flags_of_all_pipes_are_read_when_they_are_asked_for(children: Children) -> None:
    read, write = children.pipe()
    inode = os.fstat(read).st_ino
    (found,) = [pipe for pipe in procmem.pipes() if pipe.inode == inode]
    children.close(write)
    assert found.readers[0].flags == os.O_RDONLY | os.O_CLOEXEC
    assert found.writers[0].flags is None
    assert found.writers[0].nonblocking is None
    assert found.writers[0].to_dict()["close_on_exec"] is None


@pytest.mark.parametrize("size", [1, 100, 3000, 4096, 5000])
def test_fill_and_capacity(children: Children, size: int) -> None:
    """Writes of 3,000 bytes fill a pipe of 65,536 bytes at 48,000."""
    read, write = children.pipe()
    fcntl.fcntl(write, F_SETPIPE_SZ, 8 * PAGE_SIZE)
    os.set_blocking(write, False)
    assert pipe_of(read).full is False
    written = 0
    while True:
        try:
            written += os.write(write, bytes(size))
        except BlockingIOError:
            break
        if size > PAGE_SIZE:
            break
        assert pipe_of(read).waiting == written if written < 3 * size else True
    found = pipe_of(read)
    assert found.waiting == written
    assert found.capacity == 8 * PAGE_SIZE
    assert found.slots == 8
    assert found.full is (size <= PAGE_SIZE)
    if size == 3000 and PAGE_SIZE == 4096:
        assert written == 8 * 3000
    os.read(read, 1 << 20)
    assert pipe_of(read).waiting == 0


def test_a_fifo_has_its_path(children: Children, tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "a fifo")
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)
    try:
        os.write(both, b"abc")
        found = pipe_of(both)
        assert found.path == found.name == path
        assert found.waiting == 3
        assert [end.fd for end in found.readers] == [end.fd for end in found.writers] == [both]
        assert found.has_readers
        assert found.has_writers
        os.unlink(path)
        assert pipe_of(both).path == f"{path} (deleted)"
    finally:
        os.close(both)


def test_an_end_that_is_gone_is_known_to_be(children: Children) -> None:
    read, write = children.pipe()
    children.close(write)
    found = pipe_of(read)
    assert found.writers == ()
    assert found.has_writers is False
    assert found.has_readers is True
    read, write = children.pipe()
    children.close(read)
    found = pipe_of(write)
    assert found.has_readers is False
    assert found.capacity == 16 * PAGE_SIZE


def test_an_end_on_its_way_through_a_socket_is_not_taken_for_gone(children: Children) -> None:
    """Nobody's descriptor table has it, but it exists."""
    import socket

    read, write = children.pipe()
    sender, receiver = socket.socketpair()
    with sender, receiver:
        socket.send_fds(sender, [b"x"], [write])
        children.close(write)
        found = pipe_of(read)
        assert found.writers == ()
        assert found.has_writers is True
    assert pipe_of(read).has_writers is False


class Looking:
    """Measures a pipe of this process without a pause, from another thread."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._ends: dict[tuple[int, int], list[PipeEnd]] = {}
        self.measured = 0

    def at(self, *fds: int) -> None:
        """Measures the pipe of these descriptors from now on."""
        found = [one for one in read_descriptors([os.getpid()], FIFOS).listed if one.fd in fds]
        ends = [PipeEnd(one.pid, one.fd, "", one.access, one.inode) for one in found]
        self._ends = {(found[0].inode, found[0].dev): ends}

    def _look(self) -> None:
        while not self._stop.is_set():
            measured(self._ends)
            self.measured += 1

    def __enter__(self) -> Looking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@needs_calls
def test_a_reader_gets_the_end_of_file_while_procmem_looks() -> None:
    def read_all(read: int, write: int) -> None:
        os.close(write)
        while os.read(read, 1):
            pass

    with Looking() as looking:
        for _ in range(20):
            with Children() as children:
                read, write = children.pipe()
                looking.at(read, write)
                reader = children.start(lambda: read_all(read, write), "read")  # noqa: B023
                children.close(write)
                ended = os.waitid(os.P_PID, reader, os.WEXITED | os.WNOWAIT)
                assert ended is not None
                assert ended.si_status == 0
    assert looking.measured


def test_a_writer_gets_sigpipe_while_procmem_looks() -> None:
    """A copy of a write end, not of the read end, is taken: the last reader ends when it closes."""
    # Numbers that nothing else takes: the one of a write end must not become that of a read end.
    read, write = 600, 601
    with Looking() as looking:
        for _ in range(300):
            for low, fixed in zip(os.pipe(), (read, write), strict=True):
                os.dup2(low, fixed, inheritable=False)
                os.close(low)
            try:
                looking.at(read, write)
                for _ in range(20):
                    os.write(write, b"x")
                os.close(read)
                with pytest.raises(BrokenPipeError):
                    os.write(write, b"x")
            finally:
                os.close(write)
    assert looking.measured


def test_a_child_forked_meanwhile_inherits_no_copy(children: Children) -> None:
    """The copy would keep the end open for as long as the child lives."""
    read, write = children.pipe()
    inode = os.fstat(read).st_ino

    def count() -> None:
        ends = 0
        for fd in range(3, 1024):
            try:
                ends += os.fstat(fd).st_ino == inode
            except OSError:
                continue
        os._exit(ends)

    with Looking() as looking:
        looking.at(read, write)
        for _ in range(100):
            with Children() as one:
                pid = one.start(count)
                ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                assert ended is not None
                assert ended.si_status == 2
    assert looking.measured


def test_no_copy_of_an_end_stays(children: Children) -> None:
    read, write = children.pipe()
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(50):
        assert pipe_of(read).waiting == 0
    assert set(os.listdir("/proc/self/fd")) == before
    children.close(write)
    assert os.read(read, 1) == b""


def test_whose_ends_can_be_seen(children: Children) -> None:
    found = procmem.pipes()
    if os.geteuid() == 0:
        assert found.denied == []
    assert found.processes > 0
    assert os.getpid() not in found.denied


def test_saved_files_have_no_descriptors(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    with pytest.raises(procmem.Unsupported, match="no live /proc"):
        procmem.pipes(root=tmp_path)
