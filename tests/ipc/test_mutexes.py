"""Owners of locks: by glibc's layout, by the kernel's rule, and not where nothing is known."""

from __future__ import annotations

import struct
import sys

import pytest

from procmem.ipc.mutexes import FutexWait, futex_wait

PRIVATE, REALTIME = 128, 256
TIDS = {41, 42, 77}


def found(raw: bytes, operation: int, value: int, timeout: int = 0) -> FutexWait:
    wait = futex_wait(
        "futex", (64, operation, value, timeout, 0, 0), lambda *_: raw, TIDS, {41, 42}
    )
    assert wait is not None
    return wait


def mutex(lock: int, owner: int, kind: int = 0, users: int = 1, count: int = 0) -> bytes:
    return struct.pack("=IIiIII", lock, count, owner, users, kind, 0)


@pytest.mark.parametrize("kind", [0, 1, 2, 128, 129, 256])
def test_a_locked_mutex_has_an_owner_which_is_a_guess(kind: int) -> None:
    wait = found(mutex(2, 42, kind), PRIVATE, 2)
    assert (wait.owner, wait.guess, wait.private, wait.limited) == (42, True, True, False)


@pytest.mark.parametrize(
    "raw",
    [
        mutex(2, 43),  # no such thread
        mutex(2, 42, kind=0x10000),
        mutex(2, 42, users=0),
        mutex(1, 42),  # not the value that it waits for
        mutex(2, 0),
        b"\2\0\0\0",
        b"",
    ],
)
def test_what_is_no_mutex_has_no_owner(raw: bytes) -> None:
    wait = found(raw, PRIVATE, 2)
    assert wait.owner is None
    assert not wait.guess


def test_a_robust_mutex_holds_its_owner() -> None:
    word = 77 | 1 << 31
    assert found(mutex(word, 77, kind=16), 0, word).owner == 77


def test_priority_inheritance_is_the_kernels_rule() -> None:
    raw = (42 | 1 << 31).to_bytes(4, sys.byteorder) + bytes(20)
    wait = found(raw, 6, 0)
    assert (wait.owner, wait.guess) == (42, False)


def test_the_end_of_a_thread() -> None:
    raw = (42).to_bytes(4, sys.byteorder) + bytes(20)
    wait = found(raw, 9 | REALTIME, 42)
    assert (wait.owner, wait.ends, wait.guess) == (42, True, False)
    assert found(raw, 9 | REALTIME | PRIVATE, 42).ends is False


def test_a_limit_and_other_calls() -> None:
    assert found(mutex(2, 42), PRIVATE, 2, timeout=1).limited
    assert futex_wait("read", (0, 0, 0, 0, 0, 0), lambda *_: b"", TIDS, TIDS) is None
    newer = futex_wait("futex_wait", (64, 0, 0, 130, 9, 0), lambda *_: b"", TIDS, TIDS)
    assert newer == FutexWait(64, True, True, None, False, False)
