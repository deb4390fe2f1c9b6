"""Pipes as text: a sentence, a row for each end, and what could not be seen."""

from __future__ import annotations

from procmem.units import count
from procmem.view.columns import Column, fitted, prose
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from procmem.ipc.ends import BlockedThread, Pipe, PipeEnd, Pipes

__all__ = ["pipes_sentence", "pipes_text", "unseen_text"]

MOST_NAMED = 3


def pipes_text(
    found: Pipes,
    *,
    pid: int | None = None,
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """A sentence, a table with a row for each end, and what could not be seen.

    Args:
        found: the pipes.
        pid: the process that was asked about: if it is blocked, that is said first.
        width: cells of a line; None: as many as are needed.
        chosen: keys of the columns to show; None: all.

    Raises:
        BadArgument: there is no column of that key.
    """
    text = prose(pipes_sentence(found, pid), width)
    if len(found):
        text += "\n" + pipe_table(found, width=width, chosen=chosen)
    return text + unseen_text(found.denied, "hold further ends", width)


def pipes_sentence(found: Pipes, pid: int | None = None) -> str:
    """How many pipes there are, and which of them somebody is blocked in."""
    if not len(found):
        return "No pipe and no FIFO is open."
    fifos = sum(pipe.path is not None for pipe in found)
    said = count(len(found) - fifos, "pipe")
    if fifos:
        said += f" and {count(fifos, 'FIFO')}" if fifos < len(found) else ""
        said = said if fifos < len(found) else count(fifos, "FIFO")
    waiting = sum(pipe.waiting or 0 for pipe in found)
    said += f", {count(waiting, 'byte')} waiting to be read" if waiting else ", all empty"
    if any(pipe.waiting is None for pipe in found):
        said += " as far as can be seen"
    blocked = [(pipe, thread) for pipe in found for thread in pipe.blocked]
    blocked.sort(key=lambda each: each[1].pid != pid)
    named = [f"{whose(pipe, thread)} {DOES[thread.to]} {shown(pipe)}" for pipe, thread in blocked]
    if named:
        more = len(named) - MOST_NAMED
        said += f". Blocked: {', '.join(named[:MOST_NAMED])}"
        said += f" and {count(more, 'other')}" if more > 0 else ""
    return said + "."


DOES = {
    "read": "reads",
    "write": "writes to",
    "open": "opens",
    "end": "waits for the other side of",
}


def whose(pipe: Pipe, thread: BlockedThread) -> str:
    """A blocked thread by its process's name."""
    names = {end.pid: end.name for end in (*pipe.readers, *pipe.writers)}
    name = names.get(thread.pid)
    return f"{thread.pid} ({printable(name)})" if name else f"{thread.pid}"


def shown(pipe: Pipe) -> str:
    """The pipe's name, safe for a terminal."""
    return printable(pipe.name)


def pipe_table(found: Pipes, *, width: int | None, chosen: Sequence[str] | None = None) -> str:
    """A row for each end; a pipe's own figures are in its first row."""
    made = [
        Column("pipe", "Pipe", floor=12, keep_end=True),
        Column("waiting", "Waiting", ">"),
        Column("capacity", "Capacity", ">", 3),
        Column("slots", "Slots", ">", 4),
        Column("end", "End"),
        Column("pid", "PID", ">"),
        Column("fd", "FD", ">"),
        Column("name", "Name", floor=8),
        Column("flags", "Flags", rank=2),
        Column("blocked", "Blocked in", rank=1),
    ]
    rows = [row for pipe in found for row in rows_of(pipe)]
    return fitted(made, rows, width=width, chosen=chosen)


def rows_of(pipe: Pipe) -> Iterator[list[str]]:
    """The rows of one pipe."""
    head = [
        printable(pipe.path) if pipe.path else str(pipe.inode),
        figure(pipe.waiting) + (" full" if pipe.full else ""),
        figure(pipe.capacity),
        figure(pipe.slots),
    ]
    writers = [("both" if end.reads else "write", end) for end in pipe.writers]
    readers = [("read", end) for end in pipe.readers if not end.writes]
    for way, end in writers + readers:
        yield [*head, way, *end_cells(pipe, end)]
        head = ["", "", "", ""]
    for way, held, exists in (
        ("write", pipe.writers, pipe.has_writers),
        ("read", pipe.readers, pipe.has_readers),
    ):
        if not held and exists is not False:
            yield [*head, way, "?", "", "not seen" if exists else "", "", ""]
            head = ["", "", "", ""]
        elif not held:
            yield [*head, way, "none", "", "", "", ""]
            head = ["", "", "", ""]
    pids = {end.pid for end in (*pipe.readers, *pipe.writers)}
    for thread in pipe.blocked:
        if thread.pid not in pids:
            yield [*head, "", str(thread.pid), "", "", "", thread.call]
            head = ["", "", "", ""]


def end_cells(pipe: Pipe, end: PipeEnd) -> list[str]:
    """The cells of one descriptor."""
    flags = ["nonblock"] if end.nonblocking else []
    flags += ["cloexec"] if end.close_on_exec else []
    side = [*(["read", "end"] if end.reads else []), *(["write", "end"] if end.writes else [])]
    calls = sorted(
        {
            thread.call
            for thread in pipe.blocked
            if thread.pid == end.pid and (thread.to in side or thread.to == "open")
        }
    )
    return [
        str(end.pid),
        str(end.fd),
        printable(end.name) or "?",
        ",".join(flags) or "-",
        ",".join(calls) or "-",
    ]


def figure(value: int | None) -> str:
    """A number of bytes or slots; "-" for what could not be seen."""
    return "-" if value is None else str(value)


def unseen_text(denied: Sequence[int], may: str, width: int | None) -> str:
    """A line about the processes that could not be read."""
    if not denied:
        return ""
    processes = "1 process" if len(denied) == 1 else f"{len(denied):,} processes"
    return "\n" + prose(
        f"{processes} could not be read and may {may}: that needs the rights of ptrace(2), for "
        "example root's.",
        width,
    )
