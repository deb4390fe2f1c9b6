"""Who waits for whom, on live processes whose truth is known: deadlocks, and what only looks so."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import random
import select
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from benchmarks.deadlocks import Case
from procmem.ipc.sockets import unix_sockets
from tests.support.blocking import Children, needs_calls, state_of, until, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procmem import Wait, Waits

pytestmark = needs_calls

SLEEP = ("clock_nanosleep", "nanosleep", "select", "pselect6")


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as made:
        yield made


def only(found: Waits, pid: int) -> Wait:
    (wait,) = found.of(pid)
    return wait


def dead(children: Children, found: Waits) -> list[list[int]]:
    """The deadlocks of this test: others that run beside it make their own."""
    return [cycle for cycle in found.deadlocks if not set(cycle).isdisjoint(children.pids)]


def keep(*fds: int) -> None:
    """Closes all descriptors but these and the standard ones."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in fds:
            try:
                os.close(int(name))
            except OSError:
                continue


def reads(read: int, *also: int) -> Callable[[], object]:
    def run() -> None:
        keep(read, *also)
        os.read(read, 1)

    return run


def test_a_reader_that_holds_its_own_write_end(children: Children) -> None:
    """The first broken program of many courses: the child never closed the write end."""
    read, write = children.pipe()
    child = children.start(reads(read, write), "read")
    inode = os.fstat(read).st_ino
    children.close(read)
    children.close(write)
    found = procmem.waits([child])
    assert dead(children, found) == [[child]]
    assert found.is_deadlocked(child)
    wait = only(found, child)
    assert (wait.kind, wait.to, wait.on, wait.fd) == ("pipe", "read", f"pipe {inode}", read)
    assert wait.holders == (child,)
    assert wait.way_out == ""
    why = found.why(child)
    assert f"reads pipe {inode}, which is empty; its only writer is {child} itself" in why
    assert "will wait for ever" in why
    assert f"close the write end (descriptor {write}) in {child}" in why


def test_the_same_reader_while_another_process_has_the_write_end(children: Children) -> None:
    read, write = children.pipe()
    child = children.start(reads(read, write), "read")
    found = procmem.waits([child])
    assert dead(children, found) == []
    assert not found.is_deadlocked(child)
    assert set(only(found, child).holders) == {child, os.getpid()}
    assert "for ever" not in found.why(child)


def test_two_that_read_from_each_other(children: Children) -> None:
    one, other = children.pipe(), children.pipe()
    first = children.start(reads(one[0], other[1]), "read")
    second = children.start(reads(other[0], one[1]), "read")
    for fd in (*one, *other):
        children.close(fd)
    found = procmem.waits([first])
    assert dead(children, found) == [sorted([first, second])]
    assert found.is_deadlocked(second)
    assert "wait for each other, for ever" in found.why(first)
    assert only(found, first).holders == (second,)


def test_a_chain_that_ends_in_a_sleeper_is_no_deadlock(children: Children) -> None:
    one, other = children.pipe(), children.pipe()

    def sleeps() -> None:
        keep(other[1])
        time.sleep(1000)

    first = children.start(reads(one[0]), "read")
    second = children.start(reads(other[0], one[1]), "read")
    third = children.start(sleeps, *SLEEP)
    for fd in (*one, *other):
        children.close(fd)
    found = procmem.waits([first])
    assert dead(children, found) == []
    assert [wait.pid for wait in found.chain(first)] == [first, second, third]
    why = found.why(first)
    assert "its only writer is" in why
    assert f"{third} (" in why
    assert "until a time limit is over" in why


def test_who_waits_for_a_deadlock_is_stuck_and_not_part_of_it(children: Children) -> None:
    one, other = children.pipe(), children.pipe()
    stuck = children.start(reads(one[0], one[1], other[1]), "read")
    behind = children.start(reads(other[0]), "read")
    for fd in (*one, *other):
        children.close(fd)
    found = procmem.waits([behind])
    assert dead(children, found) == [[stuck]]
    assert found.is_deadlocked(behind)
    assert f"So {behind} will wait for ever, too" in found.why(behind)


def test_a_parent_that_kept_the_write_end_and_waits_for_its_child(children: Children) -> None:
    def parent() -> None:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            keep(read)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.read(read, 1)
            os._exit(0)
        keep(write)
        os.waitpid(child, 0)

    first = children.start(parent, "wait4")
    (wait,) = procmem.waits([first]).of(first)
    (child,) = wait.holders
    try:
        until_blocked(child, "read")
        found = procmem.waits([first])
        assert dead(children, found) == [sorted([first, child])]
        assert (wait.kind, wait.to) == ("process", "end")
        assert f"waits for its child {child}" in found.why(first)
        assert f"in {first}" in found.why(child).rpartition("close the write end")[2]
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_full_pipe_whose_reader_waits_for_the_writer(children: Children) -> None:
    """The parent waits for its child before it reads what the child writes."""

    def parent() -> None:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            keep(write)
            os.write(write, bytes(1 << 20))
            os._exit(0)
        keep(read)
        os.waitpid(child, 0)

    first = children.start(parent, "wait4")
    (child,) = only(procmem.waits([first]), first).holders
    try:
        until_blocked(child, "write")
        found = procmem.waits([first])
        assert dead(children, found) == [sorted([first, child])]
        assert "which is full" in found.why(child)
        assert f"{first} must read pipe" in found.why(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_writer_to_a_full_pipe_waits_for_its_readers(children: Children) -> None:
    _, write = children.pipe()

    def writes() -> None:
        keep(write)
        os.write(write, bytes(1 << 20))

    child = children.start(writes, "write")
    wait = only(procmem.waits([child]), child)
    assert (wait.kind, wait.to, wait.holders) == ("pipe", "write", (os.getpid(),))


@pytest.mark.parametrize("limited", [True, False])
def test_poll_with_and_without_a_limit(children: Children, limited: bool) -> None:
    read, write = children.pipe()

    def polls() -> None:
        keep(read, write)
        one = select.poll()
        one.register(read, select.POLLIN)
        one.poll(10_000_000 if limited else None)

    child = children.start(polls, "poll", "ppoll")
    children.close(read)
    children.close(write)
    found = procmem.waits([child])
    assert dead(children, found) == ([] if limited else [[child]])
    assert ("for a limited time" in found.why(child)) is limited


def test_one_of_two_polled_pipes_is_enough(children: Children) -> None:
    mine, others = children.pipe(), children.pipe()

    def polls() -> None:
        keep(*mine, others[0])
        select.select([mine[0], others[0]], [], [])

    child = children.start(polls, "select", "pselect6")
    found = procmem.waits([child])
    assert dead(children, found) == []
    assert {wait.fd for wait in found.of(child)} == {mine[0], others[0]}
    children.close(others[1])


def test_a_self_pipe_with_a_signal_handler_is_no_deadlock(children: Children) -> None:
    read, write = children.pipe()

    def polls() -> None:
        keep(read, write)
        signal.signal(signal.SIGTERM, lambda *_: None)
        select.select([read], [], [])

    child = children.start(polls, "select", "pselect6")
    children.close(read)
    children.close(write)
    found = procmem.waits([child])
    assert dead(children, found) == []
    assert "signal handler" in found.why(child)


def test_an_alarm_is_a_way_out(children: Children) -> None:
    read, write = children.pipe()

    def alarmed() -> None:
        keep(read, write)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.alarm(1000)
        os.read(read, 1)

    child = children.start(alarmed, "read")
    children.close(read)
    children.close(write)
    found = procmem.waits([child])
    assert dead(children, found) == []
    assert not found.is_deadlocked(child)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY])
def test_the_opening_of_a_fifo_waits_for_nobody_yet(
    children: Children, tmp_path: Path, flags: int
) -> None:
    os.mkfifo(tmp_path / "fifo")
    child = children.start(lambda: os.open(tmp_path / "fifo", flags), "open", "openat")
    found = procmem.waits([child])
    wait = only(found, child)
    assert (wait.kind, wait.to, wait.holders) == ("fifo", "open", ())
    assert dead(children, found) == []
    side = "reading" if flags == os.O_WRONLY else "writing"
    assert f"waits until a process opens it for {side}: none has yet" in found.why(child)


def test_a_fifo_opened_read_write_may_get_another_writer(
    children: Children, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")

    def run() -> None:
        os.read(os.open(tmp_path / "fifo", os.O_RDWR), 1)

    child = children.start(run, "read")
    found = procmem.waits([child])
    assert dead(children, found) == []
    assert only(found, child).holders == (child,)
    assert "another process that opens the FIFO" in found.why(child)


def test_signals_time_and_stops_are_named(children: Children) -> None:
    def pauses() -> None:
        signal.pause()

    pausing = children.start(pauses, "pause", "rt_sigsuspend", "ppoll")
    sleeping = children.start(lambda: time.sleep(1000), *SLEEP)
    stopped = children.start(lambda: time.sleep(1000), *SLEEP)
    os.kill(stopped, signal.SIGSTOP)
    os.waitid(os.P_PID, stopped, os.WSTOPPED | os.WNOWAIT)
    found = procmem.waits([pausing, sleeping, stopped])
    assert only(found, pausing).kind == "signal"
    assert only(found, sleeping).kind == "time"
    assert only(found, stopped).kind == "stop"
    assert "SIGCONT" in found.why(stopped)
    assert dead(children, found) == []


def test_flock_waits_for_all_who_hold_the_open_file(children: Children, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with path.open() as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)

        def locks() -> None:
            keep()
            fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)

        child = children.start(locks, "flock")
        found = procmem.waits([child])
        wait = only(found, child)
        assert (wait.kind, wait.on, wait.holders) == ("lock", str(path), (os.getpid(),))
        assert f"waits for a lock (flock) on {path}" in found.why(child)
        assert dead(children, found) == []


def test_flock_of_an_inherited_open_file_locks_out_its_own_process(
    children: Children, tmp_path: Path
) -> None:
    """The parent's lock belongs to the open file, which the child holds, too."""
    path = tmp_path / "file"
    path.touch()
    mine = os.open(path, os.O_RDONLY)
    fcntl.flock(mine, fcntl.LOCK_EX)

    def locks() -> None:
        keep(mine)
        fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)

    child = children.start(locks, "flock")
    os.close(mine)
    found = procmem.waits([child])
    assert only(found, child).holders == (child,)
    assert dead(children, found) == [[child]]


def test_fcntl_locks_belong_to_a_process(children: Children, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with path.open("r+") as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX)

        def locks() -> None:
            keep()
            with path.open("r+") as own:
                fcntl.lockf(own, fcntl.LOCK_EX)

        child = children.start(locks, "fcntl")
        wait = only(procmem.waits([child]), child)
        assert (wait.kind, wait.call, wait.holders) == ("lock", "fcntl", (os.getpid(),))


def test_a_socket_pair_is_known_by_its_peer(children: Children) -> None:
    one, other = socket.socketpair()

    def receives() -> None:
        keep(one.fileno(), other.fileno())
        one.recv(1)

    child = children.start(receives, "recvfrom")
    found = procmem.waits([child])
    wait = only(found, child)
    assert wait.kind == "socket"
    if unix_sockets() is None:
        one.close()
        other.close()
        pytest.skip("this kernel does not list Unix sockets (CONFIG_UNIX_DIAG)")
    assert set(wait.holders) == {child, os.getpid()}
    assert dead(children, found) == []
    one.close()
    other.close()
    assert dead(children, procmem.waits([child])) == [[child]]


def test_an_eventfd_is_known_by_its_number(children: Children) -> None:
    number = os.eventfd(0)
    if "eventfd-id" not in Path(f"/proc/self/fdinfo/{number}").read_text():
        pytest.skip("this kernel does not number eventfds")

    def waits() -> None:
        keep(number)
        os.eventfd_read(number)

    child = children.start(waits, "read")
    assert set(only(procmem.waits([child]), child).holders) == {child, os.getpid()}
    os.close(number)
    found = procmem.waits([child])
    assert only(found, child).kind == "eventfd"
    assert dead(children, found) == [[child]]


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)
def test_a_lock_in_shared_memory_has_an_owner_which_is_a_guess(children: Children) -> None:
    libc = ctypes.CDLL(None)
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        word = ctypes.c_char.from_buffer(memory)
        address = ctypes.c_void_p(ctypes.addressof(word))
        kind = ctypes.create_string_buffer(64)
        libc.pthread_mutexattr_init(kind)
        libc.pthread_mutexattr_setpshared(kind, 1)
        libc.pthread_mutex_init(address, kind)
        libc.pthread_mutex_lock(address)
        child = children.start(lambda: libc.pthread_mutex_lock(address), "futex")
        found = procmem.waits([child])
        wait = only(found, child)
        assert (wait.kind, wait.holders, wait.owner) == ("futex", (os.getpid(),), os.getpid())
        assert wait.guess
        assert "by the layout of glibc's mutex" in found.why(child)
        assert dead(children, found) == []

        def twice() -> None:
            libc.pthread_mutex_init(address, kind)
            libc.pthread_mutex_lock(address)
            libc.pthread_mutex_lock(address)

        itself = children.start(twice, "futex")
        found = procmem.waits([itself])
        assert only(found, itself).owner == itself
        assert dead(children, found) == [[itself]]
        assert "rests on the layout of glibc's mutex" in found.why(itself)
        del word


def test_a_thread_that_runs_is_a_way_out(children: Children) -> None:
    read, write = children.pipe()

    def run() -> None:
        keep(read, write)

        def spin() -> None:
            while True:
                pass

        threading.Thread(target=spin, daemon=True).start()
        os.read(read, 1)

    child = children.start(run, "read")
    children.close(read)
    children.close(write)
    assert dead(children, procmem.waits([child])) == []


def test_two_threads_of_one_process_that_wait_for_each_other(children: Children) -> None:
    one, other = children.pipe(), children.pipe()

    def run() -> None:
        keep(*one, *other)
        threading.Thread(target=lambda: os.read(other[0], 1)).start()
        os.read(one[0], 1)

    child = children.start(run, "read")
    until(lambda: len(os.listdir(f"/proc/{child}/task")) == 2)
    for fd in (*one, *other):
        children.close(fd)
    until(lambda: dead(children, procmem.waits([child])) == [[child]])


def test_what_runs_waits_for_nothing(children: Children) -> None:
    def spins() -> None:
        while True:
            pass

    child = children.start(spins)
    until(lambda: state_of(child) == "R")
    found = procmem.waits([child])
    assert found.of(child) == []
    assert "runs" in found.why(child)
    with pytest.raises(procmem.NoSuchProcess):
        found.why(1 << 30)


def test_plain_values(children: Children) -> None:
    read, write = children.pipe()
    child = children.start(reads(read, write), "read")
    found = procmem.waits([child]).to_dict()
    assert [wait["pid"] for wait in found["waits"] if wait["pid"] == child] == [child]
    assert child not in [pid for cycle in found["deadlocks"] for pid in cycle]


@pytest.mark.parametrize("seed", range(8))
def test_random_processes_and_pipes(seed: int) -> None:
    """The truth is known by construction; python -m benchmarks.deadlocks makes 1,000 of them."""
    with Case(random.Random(seed)) as case:
        assert case.verdict() == ""
