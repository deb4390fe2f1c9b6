"""Who is blocked in which pipe, in which call: live children whose state is known."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

import procmem
from tests.support.blocking import Children, needs_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from procmem import Pipe

pytestmark = needs_calls


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as made:
        yield made


def pipe_of(fd: int, pid: int) -> Pipe:
    inode = os.fstat(fd).st_ino
    (found,) = [pipe for pipe in procmem.Process(pid).pipes() if pipe.inode == inode]
    return found


def test_a_blocked_reader(children: Children) -> None:
    read, _ = children.pipe()
    child = children.start(lambda: os.read(read, 1), "read")
    assert pipe_of(read, child).blocked == ((child, child, "read", "read"),)


def test_a_blocked_writer(children: Children) -> None:
    _, write = children.pipe()
    child = children.start(lambda: os.write(write, bytes(1 << 20)), "write")
    found = pipe_of(write, child)
    assert found.blocked == ((child, child, "write", "write"),)
    assert found.full
    assert found.waiting == found.capacity


def by_poll(fd: int) -> None:
    one = select.poll()
    one.register(fd, select.POLLIN)
    one.poll()


def by_select(fd: int) -> None:
    select.select([fd], [], [])


def by_epoll(fd: int) -> None:
    one = select.epoll()
    one.register(fd, select.EPOLLIN)
    one.poll()


@pytest.mark.parametrize("wait", [by_poll, by_select, by_epoll])
def test_a_thread_that_polls(children: Children, wait: Callable[[int], None]) -> None:
    read, _ = children.pipe()
    calls = "poll ppoll select pselect6 epoll_wait epoll_pwait epoll_pwait2".split()
    child = children.start(lambda: wait(read), *calls)
    (found,) = pipe_of(read, child).blocked
    assert (found.pid, found.tid, found.to) == (child, child, "read")
    assert found.call in calls


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY])
def test_a_fifo_that_is_being_opened(children: Children, tmp_path: Path, flags: int) -> None:
    """It has no descriptor yet, so its path is read from the process's memory."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    child = children.start(lambda: os.open(path, flags), "open", "openat")
    (found,) = [pipe for pipe in procmem.Process(child).pipes() if pipe.path == str(path)]
    assert found.blocked == ((child, child, found.blocked[0].call, "open"),)
    assert found.inode == path.stat().st_ino
    assert found.readers == found.writers == ()
    assert found.capacity is None


def test_a_relative_path_of_a_fifo(children: Children, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    def opens() -> None:
        os.chdir(tmp_path)
        os.open("fifo", os.O_RDONLY)

    child = children.start(opens, "open", "openat")
    inode = (tmp_path / "fifo").stat().st_ino
    assert inode in [pipe.inode for pipe in procmem.Process(child).pipes()]


def test_only_those_of_the_processes_that_were_asked_for(children: Children) -> None:
    read, _ = children.pipe()

    def closes() -> None:
        os.closerange(3, 256)
        other, _ = os.pipe()
        os.read(other, 1)

    child = children.start(closes, "read")
    inodes = [pipe.inode for pipe in procmem.pipes([child])]
    assert os.fstat(read).st_ino not in inodes
    assert os.fstat(read).st_ino in [pipe.inode for pipe in procmem.pipes()]
    (alone,) = [pipe for pipe in procmem.pipes([child]) if pipe.blocked and child in pipe.pids]
    assert alone.pids == [child]


def test_a_process_that_has_ended_has_no_pipes(children: Children) -> None:
    child = children.start(lambda: None)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with pytest.raises(procmem.ZombieProcess):
        procmem.Process(child).pipes()
