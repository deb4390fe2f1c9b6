"""Unix sockets and their peers, by sock_diag(7): what /proc does not show."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["UnixSocket", "parse_unix_sockets", "unix_sockets"]

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
UDIAG_SHOW_NAME, UDIAG_SHOW_PEER, UDIAG_SHOW_RQLEN, UDIAG_SHOW_MEMINFO = 1, 4, 16, 32
UNIX_DIAG_NAME, UNIX_DIAG_PEER, UNIX_DIAG_RQLEN, UNIX_DIAG_MEMINFO = 0, 2, 4, 5
SHOWN = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_MEMINFO
"""include/uapi/linux/netlink.h, sock_diag.h, unix_diag.h."""


class UnixSocket(NamedTuple):
    """A Unix socket.

    Attributes:
        inode: its number, as in the link "socket:[INODE]".
        kind: SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
        name: the path it is bound to; an abstract one begins with "@"; empty without one.
        peer: the inode of the socket that it is connected with; None: with none.
        waiting: bytes that it received and that were not read yet; None: not known.
        queued: bytes of memory that hold what it sent, until that is read; None: not known.
        limit: the most that `queued` may be before a write waits (SO_SNDBUF); None: not known.
    """

    inode: int
    kind: int
    name: str
    peer: int | None
    waiting: int | None
    queued: int | None = None
    limit: int | None = None


def unix_sockets() -> dict[int, UnixSocket] | None:
    """The Unix sockets of this network namespace by inode; None: this kernel does not show them."""
    request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, SHOWN, 0, 0)
    head = struct.pack(
        "=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0
    )
    data = b""
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
        ) as netlink:
            netlink.settimeout(5)
            netlink.sendto(head + request, (0, 0))
            while True:
                part = netlink.recv(1 << 18)
                data += part
                kinds = [kind for kind, _ in messages(part)]
                if not part or NLMSG_DONE in kinds or NLMSG_ERROR in kinds:
                    break
    except OSError:
        return None
    if NLMSG_ERROR in [kind for kind, _ in messages(data)]:
        return None
    return parse_unix_sockets(data)


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The netlink messages of a reply: type and body."""
    at = 0
    while at + 16 <= len(data):
        size, kind = struct.unpack_from("=IH", data, at)
        if size < 16:
            return
        yield kind, data[at + 16 : at + size]
        at += (size + 3) & ~3


def parse_unix_sockets(data: bytes) -> dict[int, UnixSocket]:
    """The sockets in a reply of sock_diag(7)."""
    found = {}
    for kind, body in messages(data):
        if kind != SOCK_DIAG_BY_FAMILY or len(body) < 16:
            continue
        _, socket_kind, _, _, inode = struct.unpack_from("=BBBBI", body)
        name, peer, waiting, queued, limit = "", None, None, None, None
        at = 16
        while at + 4 <= len(body):
            size, attribute = struct.unpack_from("=HH", body, at)
            if size < 4:
                break
            value = body[at + 4 : at + size]
            with contextlib.suppress(struct.error):
                if attribute == UNIX_DIAG_NAME:
                    name = os.fsdecode(b"@" + value[1:] if value[:1] == b"\0" else value)
                    name = name.rstrip("\0")
                elif attribute == UNIX_DIAG_PEER:
                    peer = struct.unpack("=I", value)[0] or None
                elif attribute == UNIX_DIAG_RQLEN:
                    waiting = struct.unpack_from("=I", value)[0]
                elif attribute == UNIX_DIAG_MEMINFO:
                    # SK_MEMINFO_WMEM_ALLOC and SK_MEMINFO_SNDBUF of linux/sock_diag.h.
                    queued, limit = struct.unpack_from("=8x2I", value)
            at += (size + 3) & ~3
        found[inode] = UnixSocket(inode, socket_kind, name, peer, waiting, queued, limit)
    return found
