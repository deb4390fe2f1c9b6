"""What a thread waits for at a semaphore, a message queue or an io_uring."""

from __future__ import annotations

import errno
import os
import struct
from typing import NamedTuple

from procmem.ipc.holders import number_after
from procmem.native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MESSAGES",
    "POSIX_MESSAGES",
    "SEMAPHORES",
    "QueueWait",
    "ring_wait",
    "same_ipc_namespace",
    "system_v_wait",
]

SEMAPHORES = frozenset(("semop", "semtimedop"))
MESSAGES = frozenset(("msgrcv", "msgsnd"))
POSIX_MESSAGES = frozenset(("mq_timedreceive", "mq_timedsend"))

SEMBUF = struct.Struct("=Hhh")
"""struct sembuf: number, operation, flags (semop(2))."""

MOST_OPERATIONS = 500
"""SEMOPM of semget(2)."""

MSG_EXCEPT = 0o20000
"""include/uapi/linux/msg.h."""

IORING_ENTER_EXT_ARG = 8
"""include/uapi/linux/io_uring.h."""


class QueueWait(NamedTuple):
    """What a thread waits for.

    Attributes:
        kind: "semaphore", "message queue" or "io_uring".
        to: "rise" or "zero" of a semaphore, "receive", "send", "complete".
        on: which, with what is in it.
        last: the process that changed it last: whoever ends the wait may be another; None: none,
            or not known.
        limited: whether it waits for a limited time.
    """

    kind: str
    to: str
    on: str
    last: int | None
    limited: bool


def same_ipc_namespace(pid: int, root: str | os.PathLike[str] = "/proc") -> bool:
    """Whether a process is known to have this process's System V objects (namespaces(7))."""
    try:
        theirs = os.stat(f"{os.fspath(root)}/{pid}/ns/ipc")
        mine = os.stat("/proc/self/ns/ipc")
    except OSError:
        return False
    return (theirs.st_dev, theirs.st_ino) == (mine.st_dev, mine.st_ino)


def signed(argument: int) -> int:
    """An argument of type long."""
    return argument - (1 << 64) if argument >> 63 else argument


def system_v_wait(
    call: str, arguments: tuple[int, ...], memory: Callable[[int, int], bytes], *, here: bool
) -> QueueWait | None:
    """What a call waits for at a System V semaphore or message queue.

    Args:
        call: one of SEMAPHORES or MESSAGES.
        arguments: as the kernel shows them.
        memory: reads bytes at an address of the process.
        here: whether the process has this process's IPC namespace; otherwise only the number is
            known.

    Returns:
        None: nothing is in the way any more.

    Source: semop(2), semctl(2), msgop(2), msgctl(2).
    """
    if call in SEMAPHORES:
        return semaphore_wait(call, arguments, memory, here=here)
    number = arguments[0] & 0x7FFFFFFF
    to = "receive" if call == "msgrcv" else "send"
    on = f"message queue {number}"
    out = ffi.new("pm_queue *")
    status = lib.pm_queue_read(number, out) if here else -errno.EACCES
    if status:
        return QueueWait("message queue", to, on, None, False)
    if to == "send":
        on += f", which holds {out.bytes} of {out.limit} bytes"
        return QueueWait("message queue", to, on, out.receiver or None, False)
    kind = signed(arguments[3])
    if not out.messages:
        on += ", which is empty"
    elif kind and arguments[4] & MSG_EXCEPT:
        on += f", which has only messages of type {kind}"
    elif kind:
        on += f", which has no message of type {kind if kind > 0 else f'{-kind} or lower'}"
    else:
        return None
    return QueueWait("message queue", to, on, out.sender or None, False)


def semaphore_wait(
    call: str, arguments: tuple[int, ...], memory: Callable[[int, int], bytes], *, here: bool
) -> QueueWait | None:
    """What semop(2) waits for: the first of its operations that is not possible."""
    number, count = arguments[0] & 0x7FFFFFFF, min(arguments[2], MOST_OPERATIONS)
    limited = call == "semtimedop" and arguments[3] != 0
    data = memory(arguments[1], SEMBUF.size * count)
    operations = list(SEMBUF.iter_unpack(data[: len(data) // SEMBUF.size * SEMBUF.size]))
    unknown = QueueWait("semaphore", "rise", f"semaphore set {number}", None, limited)
    if not operations or not here:
        return unknown
    values: dict[int, int] = {}
    out = ffi.new("pm_semaphore *")
    for which, change, _ in operations:
        if lib.pm_semaphore_read(number, which, out):
            return unknown
        # The operations are done together or not at all, each with what the ones before left.
        value = values.get(which, out.value)
        if (change < 0 and value + change < 0) or (change == 0 and value):
            on = f"semaphore {which} of set {number}, whose value is {out.value}"
            to = "rise" if change else "zero"
            waiting = out.rising if change else out.for_zero
            on += f" ({waiting} processes wait)" if waiting > 1 else ""
            return QueueWait("semaphore", to, on, out.pid or None, limited)
        values[which] = value + change
    return None


def ring_wait(
    arguments: tuple[int, ...], fdinfo: bytes, memory: Callable[[int, int], bytes]
) -> QueueWait:
    """What io_uring_enter(2) waits for.

    Args:
        arguments: as the kernel shows them.
        fdinfo: the text of /proc/PID/fdinfo/N of the ring.
        memory: reads bytes at an address of the process.

    Source: io_uring_enter(2); io_uring/fdinfo.c.
    """
    wanted = arguments[2] & 0xFFFFFFFF
    limited = False
    if arguments[3] & IORING_ENTER_EXT_ARG:  # struct io_uring_getevents_arg ends with its time
        data = memory(arguments[4], 24)
        limited = len(data) == 24 and any(data[16:])
    on = f"an io_uring (descriptor {arguments[0] & 0x7FFFFFFF})"
    head, tail = (number_after(fdinfo, name) for name in (b"CqHead:", b"CqTail:"))
    if head is not None and tail is not None:
        on += f", which has {tail - head & 0xFFFFFFFF} of {wanted} completions"
    return QueueWait("io_uring", "complete", on, None, limited)
