"""Connected pairs of Unix sockets and eventfds: who holds them, what is in them."""

from __future__ import annotations

import socket
from typing import NamedTuple

from procmem.ipc.holders import BlockedThread, PipeEnd, number_after
from procmem.procfs.descriptors import READING, WRITING, fdinfo_of

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from procmem.ipc.sockets import UnixSocket
    from procmem.procfs.descriptors import Descriptor

__all__ = ["Channels", "EventFd", "SocketEnd", "SocketPair", "event_fds", "socket_pairs"]

Blocked = dict[tuple[int, int], list[BlockedThread]]
"""The threads that are blocked at a descriptor, by process and number."""

KINDS: dict[int, str] = {
    socket.SOCK_STREAM: "stream",
    socket.SOCK_DGRAM: "datagram",
    socket.SOCK_SEQPACKET: "seqpacket",
}

FULL = (1 << 64) - 2
"""The largest count of an eventfd, at which a write blocks (eventfd(2))."""


class SocketEnd(NamedTuple):
    """One socket of a pair.

    Attributes:
        inode: its number, as in the link "socket:[INODE]".
        path: what it is bound to; an abstract name begins with "@"; "" without one.
        waiting: bytes that it received and that were not read yet; of a datagram socket those of
            the first message; None: not known.
        queued: bytes of memory that hold what it sent until the other side reads that, with the
            kernel's own headers; None: not known.
        limit: how much `queued` may be until a write waits (SO_SNDBUF of socket(7)); None: not
            known.
        holders: the descriptors that lead to it.
        blocked: the threads that are blocked at it.
    """

    inode: int
    path: str
    waiting: int | None
    queued: int | None
    limit: int | None
    holders: tuple[PipeEnd, ...]
    blocked: tuple[BlockedThread, ...]

    @property
    def full(self) -> bool | None:
        """Whether a write to it waits until the other side reads; None: not known."""
        if self.queued is None or self.limit is None:
            return None
        return self.queued >= self.limit

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "inode": self.inode,
            "path": self.path,
            "waiting": self.waiting,
            "queued": self.queued,
            "limit": self.limit,
            "full": self.full,
            "holders": [end.to_dict() for end in self.holders],
            "blocked": [thread._asdict() for thread in self.blocked],
        }


class SocketPair(NamedTuple):
    """Two Unix sockets that are connected with each other.

    Attributes:
        kind: "stream", "datagram" or "seqpacket".
        ends: both sockets.
    """

    kind: str
    ends: tuple[SocketEnd, SocketEnd]

    @property
    def pids(self) -> list[int]:
        """The processes that hold one of the sockets, ascending."""
        return sorted({one.pid for end in self.ends for one in end.holders})

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {"kind": self.kind, "ends": [end.to_dict() for end in self.ends]}


class EventFd(NamedTuple):
    """A counter of eventfd(2).

    Attributes:
        id: its number (Linux 5.2).
        value: its count: a read waits while it is 0.
        semaphore: whether a read takes one off (EFD_SEMAPHORE); None: not known (Linux 6.5).
        holders: the descriptors that lead to it.
        blocked: the threads that are blocked at it.
    """

    id: int
    value: int
    semaphore: bool | None
    holders: tuple[PipeEnd, ...]
    blocked: tuple[BlockedThread, ...]

    @property
    def full(self) -> bool:
        """Whether a write to it waits until it is read."""
        return self.value >= FULL

    @property
    def pids(self) -> list[int]:
        """The processes that hold it, ascending."""
        return sorted({one.pid for one in self.holders})

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "id": self.id,
            "value": self.value,
            "semaphore": self.semaphore,
            "full": self.full,
            "holders": [end.to_dict() for end in self.holders],
            "blocked": [thread._asdict() for thread in self.blocked],
        }


class Channels(NamedTuple):
    """What processes talk through besides pipes.

    Attributes:
        sockets: connected pairs of Unix sockets, by inode.
        eventfds: eventfds, by number.
    """

    sockets: tuple[SocketPair, ...]
    eventfds: tuple[EventFd, ...]

    def among(self, pids: set[int]) -> Channels:
        """Those that any of some processes holds."""
        return Channels(
            tuple(pair for pair in self.sockets if not pids.isdisjoint(pair.pids)),
            tuple(one for one in self.eventfds if not pids.isdisjoint(one.pids)),
        )


def socket_pairs(
    listed: Iterable[Descriptor],
    known: Mapping[int, UnixSocket],
    names: Mapping[int, str],
    blocked: Blocked,
    root: str | os.PathLike[str] = "/proc",
) -> list[SocketPair]:
    """The connected pairs among the sockets that descriptors lead to.

    Args:
        listed: descriptors.
        known: what sock_diag(7) has, by inode.
        names: command names, by PID.
        blocked: who is blocked at a descriptor.
        root: the /proc.
    """
    held: dict[int, list[Descriptor]] = {}
    for one in listed:
        if one.is_socket and one.inode in known:
            held.setdefault(one.inode, []).append(one)

    def end(inode: int) -> SocketEnd:
        is_known, group = known[inode], held.get(inode, [])
        return SocketEnd(
            inode,
            is_known.name,
            is_known.waiting,
            is_known.queued,
            is_known.limit,
            *users_of(group, names, blocked, root),
        )

    found = []
    for inode in sorted(held):
        peer = known[inode].peer
        if peer is None or peer not in known or known[peer].peer != inode:
            continue  # of datagram sockets one may send to another that does not send back
        if peer in held and peer < inode:
            continue
        kind = KINDS.get(known[inode].kind, str(known[inode].kind))
        found.append(SocketPair(kind, (end(inode), end(peer))))
    return found


def users_of(
    group: Sequence[Descriptor],
    names: Mapping[int, str],
    blocked: Blocked,
    root: str | os.PathLike[str],
) -> tuple[tuple[PipeEnd, ...], tuple[BlockedThread, ...]]:
    """The holders of what descriptors lead to, and who is blocked at it."""
    return (
        tuple(
            PipeEnd(one.pid, one.fd, names.get(one.pid, ""), READING | WRITING, one.inode, root)
            for one in group
        ),
        tuple(thread for one in group for thread in blocked.get((one.pid, one.fd), ())),
    )


def event_fds(
    listed: Iterable[Descriptor],
    names: Mapping[int, str],
    blocked: Blocked,
    root: str | os.PathLike[str] = "/proc",
) -> list[EventFd]:
    """The eventfds that descriptors lead to, from their fdinfo (proc_pid_fdinfo(5))."""
    groups: dict[int, list[Descriptor]] = {}
    about: dict[int, tuple[int, bool | None]] = {}
    for one in listed:
        if one.name != b"anon_inode:[eventfd]":
            continue
        text = fdinfo_of(one.pid, one.fd, root)
        number = number_after(text, b"eventfd-id:")
        count = number_after(text, b"eventfd-count:", 16)
        if number is None or count is None:
            continue  # closed meanwhile; or a kernel before 5.2
        semaphore = number_after(text, b"eventfd-semaphore:")
        about[number] = count, None if semaphore is None else bool(semaphore)
        groups.setdefault(number, []).append(one)
    return [
        EventFd(number, *about[number], *users_of(group, names, blocked, root))
        for number, group in sorted(groups.items())
    ]
