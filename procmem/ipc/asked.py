"""Which descriptors a blocked call waits for, and whether it waits for a limited time."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from procmem.procfs.blocked import EPOLLS, POLLS, READS, SELECTS, WRITES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "POLLED",
    "RECEIVES",
    "SENDS",
    "TWO_ENDS",
    "AskedFd",
    "CallRequest",
    "asked",
    "parse_epoll",
]

POLLIN, POLLOUT = 1, 4
IN = ("read",)
OUT = ("write",)
POLLED = POLLS | SELECTS | EPOLLS
"""Calls that wait for one of several descriptors."""

MOST_POLLED = 4096
"""Descriptors of one call; more are not read from the process's memory."""

TWO_ENDS = {"splice": (0, 2), "tee": (0, 1), "sendfile": (1, 0), "copy_file_range": (0, 2)}
"""Calls that read from one descriptor and write to another, with the places of both."""

RECEIVES = frozenset(("recvfrom", "recvmsg", "recvmmsg", "accept", "accept4"))
SENDS = frozenset(("sendto", "sendmsg", "sendmmsg", "connect"))


class AskedFd(NamedTuple):
    """A descriptor that a call waits for.

    Attributes:
        fd: its number.
        to: "read" or "write": what the thread wants to do with it.
    """

    fd: int
    to: str


class CallRequest(NamedTuple):
    """What a blocked call waits for.

    Attributes:
        asked: the descriptors; any of them ends the call.
        limited: whether the call ends by itself after some time.
        complete: whether all of it could be read from the process's memory.
    """

    asked: tuple[AskedFd, ...]
    limited: bool
    complete: bool


def asked(
    call: str,
    arguments: tuple[int, ...],
    memory: Callable[[int, int], bytes],
    epoll: Callable[[int], bytes],
) -> CallRequest | None:
    """What a call waits for; None: for no descriptor.

    Args:
        call: its name.
        arguments: as the kernel shows them.
        memory: reads bytes at an address of the process; shorter if they can't be read.
        epoll: the text of fdinfo of a descriptor; empty if it can't be read.
    """
    if call in READS or call in RECEIVES:
        return one(arguments[0], "read")
    if call in WRITES or call in SENDS:
        return one(arguments[0], "write")
    if call in TWO_ENDS:
        source, sink = TWO_ENDS[call]
        return CallRequest(
            (AskedFd(number(arguments[source]), "read"), AskedFd(number(arguments[sink]), "write")),
            False,
            True,
        )
    if call in POLLS:
        return polled(call, arguments, memory)
    if call in SELECTS:
        return selected(arguments, memory)
    if call in EPOLLS:
        text = epoll(number(arguments[0]))
        limit = arguments[3]
        limited = limit != 0 if call == "epoll_pwait2" else signed(limit) >= 0
        return CallRequest(parse_epoll(text), limited, bool(text))
    return None


def one(argument: int, to: str) -> CallRequest:
    return CallRequest((AskedFd(number(argument), to),), False, True)


def number(argument: int) -> int:
    """A descriptor from an argument, of which the kernel uses 32 bits."""
    return argument & 0x7FFFFFFF


def signed(argument: int) -> int:
    """An argument of type int."""
    value = argument & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def polled(
    call: str, arguments: tuple[int, ...], memory: Callable[[int, int], bytes]
) -> CallRequest:
    """Of poll(2) and ppoll(2): an array of struct pollfd."""
    count = min(arguments[1], MOST_POLLED)
    data = memory(arguments[0], 8 * count) if count else b""
    found = []
    for fd, events, _ in struct.iter_unpack("=iHH", data[: len(data) // 8 * 8]):
        if fd >= 0:
            found += [AskedFd(fd, to) for to in wants(events)]
    limited = arguments[2] != 0 if call == "ppoll" else signed(arguments[2]) >= 0
    return CallRequest(tuple(found), limited, len(data) == 8 * arguments[1])


def wants(events: int) -> tuple[str, ...]:
    """What a set of poll events waits for. Of an empty set, the end of the other side."""
    found = (IN if events & (POLLIN | 0x40 | 0x2000) else ()) + (OUT if events & 0x104 else ())
    return found or ("end",)


def selected(arguments: tuple[int, ...], memory: Callable[[int, int], bytes]) -> CallRequest:
    """Of select(2): three sets of bits, in words of the machine's order."""
    most = min(arguments[0], MOST_POLLED)
    size = (most + 63) // 64 * 8
    found = []
    complete = most == arguments[0]
    for address, to in ((arguments[1], "read"), (arguments[2], "write")):
        if not address or not size:
            continue
        data = memory(address, size)
        complete = complete and len(data) == size
        for at, (word,) in enumerate(struct.iter_unpack("=Q", data[: len(data) // 8 * 8])):
            found += [
                AskedFd(at * 64 + bit, to)
                for bit in range(64)
                if word >> bit & 1 and at * 64 + bit < most
            ]
    return CallRequest(tuple(found), arguments[4] != 0, complete)


def parse_epoll(text: bytes) -> tuple[AskedFd, ...]:
    r"""The descriptors in a text of /proc/PID/fdinfo of an epoll descriptor.

    >>> parse_epoll(b"pos:\t0\ntfd:        5 events:       19 data:     5  pos:0 ino:3 sdev:9\n")
    (AskedFd(fd=5, to='read'),)

    Source: proc_pid_fdinfo(5).
    """
    found = []
    for fd, events in re.findall(rb"^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)", text, re.MULTILINE):
        found += [AskedFd(int(fd), to) for to in wants(int(events, 16))]
    return tuple(found)
