"""Why a process hangs, as text: sentences, and a row for each thread on the way."""

from __future__ import annotations

from procmem.view.columns import Column, fitted, prose
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.ipc.graph import Waits
    from procmem.ipc.waiting import Wait

__all__ = ["why_text"]


def why_text(
    found: Waits, pid: int, *, width: int | None = None, chosen: Sequence[str] | None = None
) -> str:
    """Why a process does not go on, and the waits on the way.

    Args:
        found: who waits for whom.
        pid: the process.
        width: cells of a line; None: as many as are needed.
        chosen: keys of the columns to show; None: all.

    Raises:
        BadArgument: there is no column of that key.
        NoSuchProcess: it was not there.
    """
    text = prose(found.why(pid, plain=printable), width)
    chain = found.chain(pid)
    return text + ("\n" + wait_table(chain, width=width, chosen=chosen) if chain else "")


def wait_table(
    waits: Sequence[Wait], *, width: int | None, chosen: Sequence[str] | None = None
) -> str:
    """A row for each thing that a thread waits for."""
    made = [
        Column("pid", "PID", ">"),
        Column("tid", "TID", ">", rank=3),
        Column("name", "Name", floor=8),
        Column("call", "Call", rank=1),
        Column("fd", "FD", ">", rank=4),
        Column("on", "Waits for", floor=20),
        Column("holders", "Held by", floor=12),
        Column("way_out", "Way out", floor=16, rank=2, wrapped=True),
    ]
    rows = [
        [
            str(wait.pid),
            str(wait.tid),
            printable(wait.name),
            wait.call or "-",
            "-" if wait.fd is None else str(wait.fd),
            f"{SIDE.get(wait.to, '')}{printable(wait.on) or wait.kind}",
            ",".join(map(str, wait.holders)) + (" (guess)" if wait.guess else "") or "-",
            wait.way_out or "none",
        ]
        for wait in waits
    ]
    return fitted(made, rows, width=width, chosen=chosen)


SIDE = {"read": "read ", "write": "write ", "open": "open "}
