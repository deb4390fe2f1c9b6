"""What a thread waits for at semaphores, message queues and an io_uring."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.ipc.queues import ring_wait, system_v_wait
from tests.support.blocking import Children, needs_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procmem import Wait

pytestmark = needs_calls

IPC_PRIVATE, IPC_RMID, SETVAL = 0, 0, 16


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as made:
        yield made


@pytest.fixture
def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def semaphores(libc: ctypes.CDLL) -> Iterator[int]:
    made = libc.semget(IPC_PRIVATE, 3, 0o600)
    if made < 0:
        pytest.skip(f"no semaphores here: {os.strerror(ctypes.get_errno())}")
    yield made
    libc.semctl(made, 0, IPC_RMID)


@pytest.fixture
def queue(libc: ctypes.CDLL) -> Iterator[int]:
    made = libc.msgget(IPC_PRIVATE, 0o600)
    if made < 0:
        pytest.skip(f"no message queues here: {os.strerror(ctypes.get_errno())}")
    yield made
    libc.msgctl(made, IPC_RMID, None)


def wait_of(pid: int) -> Wait:
    (found,) = procmem.waits([pid]).of(pid)
    return found


def operations(*each: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("=Hhh", number, change, 0) for number, change in each)


def test_a_semaphore_that_must_rise(libc: ctypes.CDLL, semaphores: int, children: Children) -> None:
    libc.semop(semaphores, operations((1, 2)), 1)
    child = children.start(lambda: libc.semop(semaphores, operations((1, -3)), 1), "semtimedop",
                           "semop")  # fmt: skip
    found = procmem.waits([child])
    (wait,) = found.of(child)
    assert (wait.kind, wait.to) == ("semaphore", "rise")
    assert wait.on == f"semaphore 1 of set {semaphores}, whose value is 2"
    assert (wait.holders, wait.guess) == ((os.getpid(),), True)
    assert wait.way_out == "a process that raises it"
    assert "changed it last" in found.why(child)
    assert not found.is_deadlocked(child)


def test_the_operation_that_is_in_the_way(
    libc: ctypes.CDLL, semaphores: int, children: Children
) -> None:
    """Operations are done together: the first leaves 0, so that the second is not possible."""
    libc.semop(semaphores, operations((0, 1), (2, 1)), 2)
    wanted = operations((0, -1), (0, -1), (2, 0))
    child = children.start(lambda: libc.semop(semaphores, wanted, 3), "semtimedop", "semop")
    assert wait_of(child).on == f"semaphore 0 of set {semaphores}, whose value is 1"
    other = children.start(
        lambda: libc.semop(semaphores, operations((0, -1), (2, 0)), 2), "semtimedop", "semop"
    )
    wait = wait_of(other)
    assert (wait.to, wait.way_out) == ("zero", "a process that lowers it")
    assert wait.on == f"semaphore 2 of set {semaphores}, whose value is 1"


def test_who_changed_a_semaphore_last_has_ended(
    libc: ctypes.CDLL, semaphores: int, children: Children
) -> None:
    with Children() as others:
        last = others.start(lambda: libc.semop(semaphores, operations((0, 1), (0, -1)), 2))
        os.waitid(os.P_PID, last, os.WEXITED | os.WNOWAIT)
    child = children.start(lambda: libc.semop(semaphores, operations((0, -1)), 1), "semtimedop",
                           "semop")  # fmt: skip
    found = procmem.waits([child])
    (wait,) = found.of(child)
    assert wait.holders == ()
    assert wait.way_out == f"a process that raises it; {last}, which changed it last, has ended"
    assert f"{last}, which changed it last, has ended" in found.why(child)


class Message(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_long), ("text", ctypes.c_char * 2048))


def receives(libc: ctypes.CDLL, queue: int, kind: int, flags: int = 0) -> Callable[[], object]:
    return lambda: libc.msgrcv(queue, ctypes.byref(Message()), ctypes.c_size_t(2048),
                               ctypes.c_long(kind), flags)  # fmt: skip


def test_a_message_queue_that_is_empty(libc: ctypes.CDLL, queue: int, children: Children) -> None:
    child = children.start(receives(libc, queue, 0), "msgrcv")
    found = procmem.waits([child])
    (wait,) = found.of(child)
    assert (wait.kind, wait.to, wait.holders) == ("message queue", "receive", ())
    assert wait.on == f"message queue {queue}, which is empty"
    assert wait.way_out == "a process that sends"
    said = f"waits for a message in message queue {queue}, which is empty (msgrcv)"
    assert said in found.why(child)


def test_messages_of_another_type(libc: ctypes.CDLL, queue: int, children: Children) -> None:
    libc.msgsnd(queue, ctypes.byref(Message(5)), ctypes.c_size_t(10), 0)
    for kind, flags, said in (
        (7, 0, "no message of type 7"),
        (-4, 0, "no message of type 4 or lower"),
        (5, 0o20000, "only messages of type 5"),
    ):
        child = children.start(receives(libc, queue, kind, flags), "msgrcv")
        wait = wait_of(child)
        assert wait.on == f"message queue {queue}, which has {said}"
        assert wait.holders == (os.getpid(),)  # it sent last
        assert wait.guess


def test_a_message_queue_that_is_full(libc: ctypes.CDLL, queue: int, children: Children) -> None:
    no_wait = 0o4000
    sent = 0
    while not libc.msgsnd(queue, ctypes.byref(Message(1)), ctypes.c_size_t(2048), no_wait):
        sent += 2048
    child = children.start(
        lambda: libc.msgsnd(queue, ctypes.byref(Message(1)), ctypes.c_size_t(2048), 0), "msgsnd"
    )
    wait = wait_of(child)
    assert wait.to == "send"
    assert wait.on.startswith(f"message queue {queue}, which holds {sent} of ")
    assert wait.way_out == "a process that receives"


def test_another_ipc_namespace_is_only_named() -> None:
    memory: Callable[[int, int], bytes] = lambda _address, _size: operations((0, -1))
    found = system_v_wait("semop", (7, 0, 1, 0, 0, 0), memory, here=False)
    assert found is not None
    assert (found.on, found.last, found.limited) == ("semaphore set 7", None, False)
    limited = system_v_wait("semtimedop", (7, 0, 1, 0x7F00, 0, 0), memory, here=False)
    assert limited is not None
    assert limited.limited
    queued = system_v_wait("msgrcv", (7, 0, 1, 0, 0, 0), memory, here=False)
    assert queued is not None
    assert queued.on == "message queue 7"


def test_a_posix_message_queue(children: Children) -> None:
    real = ctypes.CDLL("librt.so.1", use_errno=True)
    name = f"/procmem-test-{os.getpid()}".encode()
    made = real.mq_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600, None)
    if made < 0:
        pytest.skip(f"no message queues here: {os.strerror(ctypes.get_errno())}")
    try:
        room = ctypes.create_string_buffer(1 << 16)
        child = children.start(
            lambda: real.mq_receive(made, room, ctypes.c_size_t(1 << 16), None), "mq_timedreceive"
        )
        wait = wait_of(child)
        assert wait.kind == "message queue"
        assert wait.on == f"the message queue {name.decode()}, which is empty"
        assert set(wait.holders) == {child, os.getpid()}
        assert wait.way_out == "another process that opens the queue"
    finally:
        os.close(made)
        real.mq_unlink(name)


SETUP, ENTER = 425, 426
"""io_uring_setup and io_uring_enter have the same numbers on all architectures."""


def test_an_io_uring(libc: ctypes.CDLL, children: Children) -> None:
    parameters = ctypes.create_string_buffer(120)
    ring = libc.syscall(SETUP, 4, parameters)
    if ring < 0:
        pytest.skip(f"no io_uring here: {os.strerror(ctypes.get_errno())}")
    try:
        child = children.start(
            lambda: libc.syscall(ENTER, ring, 0, 1, 1, None, ctypes.c_size_t(0)), "io_uring_enter"
        )
        found = procmem.waits([child])
        (wait,) = found.of(child)
        assert (wait.kind, wait.fd) == ("io_uring", ring)
        assert wait.on == f"an io_uring (descriptor {ring}), which has 0 of 1 completions"
        assert "the kernel, when a request of the ring completes" in wait.way_out
        assert "waits for an io_uring" in found.why(child)
    finally:
        os.close(ring)


def test_a_ring_without_its_text_and_with_a_limit() -> None:
    data = struct.pack("=QQQ", 0, 0, 0x7F00)
    found = ring_wait((5, 0, 1, 8, 0x1000, 24), b"", lambda _address, size: data[:size])
    assert (found.on, found.limited) == ("an io_uring (descriptor 5)", True)
