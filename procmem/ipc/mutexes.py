"""Who owns the lock that a thread waits for in futex(2)."""

from __future__ import annotations

import struct
import sys
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container

__all__ = ["FutexWait", "futex_wait"]

FUTEX_WAIT, FUTEX_LOCK_PI, FUTEX_WAIT_BITSET, FUTEX_LOCK_PI2 = 0, 6, 9, 13
FUTEX_PRIVATE = 128
FUTEX_COMMAND = 127
TID_MASK = 0x3FFFFFFF
"""include/uapi/linux/futex.h."""

MUTEX = 24
"""Bytes of glibc's mutex that are read: __lock, __count, __owner, __nusers, __kind, ..."""

KINDS = 0x3F3
"""Bits of __kind: type, robust, priority inheritance and protection, process-shared, elision."""


class FutexWait(NamedTuple):
    """What a thread waits for in futex(2).

    Attributes:
        address: of the futex word.
        private: whether only threads of its own process can wake it.
        limited: whether it waits for a limited time.
        owner: the thread that has the lock; None: not known, or it is no lock.
        ends: whether it waits for the end of the thread `owner` (pthread_join(3)).
        guess: whether the owner rests on glibc's layout of a mutex, not on the kernel's rules.
    """

    address: int
    private: bool
    limited: bool
    owner: int | None
    ends: bool
    guess: bool


def futex_wait(
    call: str,
    arguments: tuple[int, ...],
    memory: Callable[[int, int], bytes],
    tids: Container[int],
    own: Container[int],
) -> FutexWait | None:
    """What a blocked call of futex(2) waits for; None: it is no such call.

    Args:
        call: futex or futex_wait.
        arguments: as the kernel shows them.
        memory: reads bytes at an address of the process.
        tids: the IDs of all threads that run: an owner is one of them.
        own: those of the process itself.

    Source: futex(2); nptl/pthread_mutex_lock.c and struct_mutex.h of glibc.
    """
    if call == "futex_wait":  # address, value, mask, flags, timeout
        return FutexWait(
            arguments[0], bool(arguments[3] & FUTEX_PRIVATE), arguments[4] != 0, None, False, False
        )
    if call != "futex":
        return None
    address, operation, value, timeout = arguments[:4]
    command = operation & FUTEX_COMMAND
    private, limited = bool(operation & FUTEX_PRIVATE), timeout != 0
    raw = memory(address, MUTEX)
    word = int.from_bytes(raw[:4], sys.byteorder) if len(raw) >= 4 else 0
    owner, ends, guess = None, False, False
    if command in (FUTEX_LOCK_PI, FUTEX_LOCK_PI2):
        # The kernel's own rule: the word holds the owner's ID.
        owner = word & TID_MASK
    elif command in (FUTEX_WAIT, FUTEX_WAIT_BITSET) and raw:
        if command == FUTEX_WAIT_BITSET and not private and word == value & 0xFFFFFFFF in own:
            # The kernel clears the word when the thread ends (CLONE_CHILD_CLEARTID).
            owner, ends = word, True
        elif len(raw) == MUTEX and word == value & 0xFFFFFFFF:
            owner, guess = mutex_owner(raw, word), True
    if not owner or owner not in tids:
        return FutexWait(address, private, limited, None, False, False)
    return FutexWait(address, private, limited, owner, ends, guess)


def mutex_owner(raw: bytes, word: int) -> int | None:
    """The owner's ID, if the bytes have the form of a locked mutex of glibc with a waiter."""
    _, _, owner, users, kind = struct.unpack_from("=IIiII", raw)
    if not 0 < owner < 1 << 30 or not 0 < users < 1 << 20 or kind & ~KINDS:
        return None
    # 2: locked, and somebody waits. A robust one holds the owner's ID.
    return owner if word == 2 or word & TID_MASK == owner else None
