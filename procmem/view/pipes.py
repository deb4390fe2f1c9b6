"""Pipes, socket pairs and eventfds as text: a sentence, a row for each end, what is not seen."""

from __future__ import annotations

from procmem.units import count
from procmem.view.columns import Column, fitted, prose
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from procmem.ipc.ends import Pipe, Pipes
    from procmem.ipc.holders import BlockedThread, PipeEnd
    from procmem.ipc.pairs import EventFd, SocketEnd, SocketPair

__all__ = ["pipes_sentence", "pipes_text", "unseen_text"]

MOST_NAMED = 3


def pipes_text(
    found: Pipes,
    *,
    pid: int | None = None,
    names: Mapping[int, str] | None = None,
    width: int | None = None,
    chosen: Sequence[str] | None = None,
) -> str:
    """What needs attention, a table with a row for each end, and what could not be seen.

    Args:
        found: the pipes. Those that need attention come first in the table.
        pid: the process that was asked about: if it is blocked, that is said first.
        names: names of processes by PID, where better ones than comm are known.
        width: cells of a line; None: as many as are needed.
        chosen: keys of the columns to show; None: all.

    Raises:
        BadArgument: there is no column of that key.
    """
    names = names or {}
    text = prose(pipes_sentence(found, pid, names), width)
    if len(found):
        text += "\n" + pipe_table(found, names, width=width, chosen=chosen)
    if found.sockets or found.eventfds:
        text += "\n" + prose(others_sentence(found, names), width)
    for title, rows in (
        ("Socket", [row for pair in in_order(found.sockets) for row in pair_rows(pair, names)]),
        ("Eventfd", [row for one in found.eventfds for row in eventfd_rows(one, names)]),
    ):
        if rows:
            keys = OTHER_KEYS if chosen is None else chosen
            text += "\n" + fitted(table_columns(title), rows, width=width, chosen=keys)
    return text + unseen_text(found.denied, "hold further ends", width)


def pipes_sentence(
    found: Pipes, pid: int | None = None, names: Mapping[int, str] | None = None
) -> str:
    """How many pipes there are, and which of them need attention.

    The process that was asked about comes first, then full pipes whose writers are blocked, FIFOs
    that are being opened, and ends that nobody holds. Waiting for input is normal, so that those
    who do so are only counted, unless they are few.
    """
    if not len(found):
        return f"No pipe and no FIFO {'can be seen' if found.denied else 'is open'}."
    fifos = sum(pipe.path is not None for pipe in found)
    said = count(len(found) - fifos, "pipe")
    if fifos:
        said += f" and {count(fifos, 'FIFO')}" if fifos < len(found) else ""
        said = said if fifos < len(found) else count(fifos, "FIFO")
    waiting = sum(pipe.waiting or 0 for pipe in found)
    said += f", {count(waiting, 'byte')} waiting to be read" if waiting else ", all empty"
    if any(pipe.waiting is None for pipe in found):
        said += " as far as can be seen"
    names = names or {}
    blocked = [(pipe, thread) for pipe in found for thread in pipe.blocked]
    blocked.sort(key=lambda each: (each[1].pid != pid, URGENCY[each[1].to]))
    urgent = [each for each in blocked if each[1].pid == pid or each[1].to in ("write", "open")]
    calm = [each for each in blocked if each not in urgent]
    sentences = [said]
    if urgent:
        sentences.append(f"Blocked: {some(said_once(urgent, names))}")
    sentences += one_sided(found)
    if 0 < len(calm) <= MOST_NAMED:
        sentences.append(f"Waiting: {', '.join(said_once(calm, names))}")
    elif calm:
        threads = len({(thread.pid, thread.tid) for _, thread in calm})
        end = " or the end of the other side" if any(each.to == "end" for _, each in calm) else ""
        sentences.append(
            f"{count(threads, 'thread')} {'waits' if threads == 1 else 'wait'} for input{end}"
        )
    return ". ".join(sentences) + "."


URGENCY = {"write": 0, "open": 1, "end": 2, "read": 3}

DOES = {
    "read": "reads",
    "write": "writes to",
    "open": "opens",
    "end": "waits for the other side of",
}


def some(words: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {count(more, 'other')}" if more > 0 else "")


def does(pipe: Pipe, thread: BlockedThread, names: Mapping[int, str]) -> str:
    """What a blocked thread does: "4711 (cat) writes to pipe 81, which is full"."""
    full = ", which is full" if thread.to == "write" and pipe.full else ""
    return f"{whose(pipe, thread, names)} {DOES[thread.to]} {shown(pipe)}{full}"


def said_once(blocked: Sequence[tuple[Pipe, BlockedThread]], names: Mapping[int, str]) -> list[str]:
    """What blocked threads do; threads of a process that do the same are counted."""
    found: dict[str, int] = {}
    for pipe, thread in blocked:
        text = does(pipe, thread, names)
        found[text] = found.get(text, 0) + 1
    return [text if n == 1 else f"{text} ({n} threads)" for text, n in found.items()]


def one_sided(found: Pipes) -> Iterator[str]:
    """Sentences about the pipes of which nobody holds one of the ends."""
    no_readers = [shown(pipe) for pipe in found if pipe.has_readers is False]
    no_writers = [shown(pipe) for pipe in found if pipe.has_writers is False]
    if no_readers:
        yield f"No process can read from {some(no_readers)}: a write fails with SIGPIPE or EPIPE"
    if no_writers:
        yield f"No process can write to {some(no_writers)}: once empty, a read returns end of file"


def whose(pipe: Pipe, thread: BlockedThread, names: Mapping[int, str]) -> str:
    """A blocked thread by its process's name."""
    return named(thread, (*pipe.readers, *pipe.writers), names)


def shown(pipe: Pipe) -> str:
    """The pipe's name, safe for a terminal."""
    return printable(pipe.name)


def urgency(pipe: Pipe) -> int:
    """0: somebody can't write to it or open it; 1: nobody holds one of its ends; 2: neither."""
    if any(thread.to in ("write", "open") for thread in pipe.blocked):
        return 0
    return 1 if pipe.has_readers is False or pipe.has_writers is False else 2


def pipe_table(
    found: Pipes,
    names: Mapping[int, str],
    *,
    width: int | None,
    chosen: Sequence[str] | None = None,
) -> str:
    """A row for each end; a pipe's own figures are in its first row."""
    rows = [row for pipe in sorted(found, key=urgency) for row in rows_of(pipe, names)]
    return fitted(table_columns("Pipe"), rows, width=width, chosen=chosen)


def table_columns(title: str) -> list[Column]:
    """The columns of pipes; those of socket pairs and eventfds have the same keys."""
    return [
        Column("pipe", title, floor=12, keep_end=True),
        Column("waiting", "Count" if title == "Eventfd" else "Waiting", ">"),
        Column("capacity", "Capacity", ">", 3),
        Column("slots", "Slots", ">", 4),
        Column("end", "End"),
        Column("pid", "PID", ">"),
        Column("fd", "FD", ">"),
        Column("name", "Name", floor=12),
        Column("flags", "Flags", rank=2),
        Column("blocked", "Blocked in", rank=1),
    ]


OTHER_KEYS = ("pipe", "waiting", "end", "pid", "fd", "name", "flags", "blocked")
"""What socket pairs and eventfds have: no slots, and no capacity in bytes."""


def others_sentence(found: Pipes, names: Mapping[int, str]) -> str:
    """How many socket pairs and eventfds there are, and who waits until a write is possible."""
    counted = []
    if found.sockets:
        ends = [end for pair in found.sockets for end in pair.ends]
        waiting = sum(end.waiting or 0 for end in ends)
        said = count(len(found.sockets), "socket pair")
        counted.append(said + (f", {count(waiting, 'byte')} waiting to be read" if waiting else ""))
    if found.eventfds:
        counted.append(count(len(found.eventfds), "eventfd"))
    held_up = [
        f"{named(thread, end.holders, names)} writes to socket {end.inode}"
        + (", which is full" if end.full else "")
        for pair in found.sockets
        for end in pair.ends
        for thread in end.blocked
        if thread.to == "write"
    ]
    held_up += [
        f"{named(thread, one.holders, names)} writes to eventfd {one.id}, which is full"
        for one in found.eventfds
        for thread in one.blocked
        if thread.to == "write" and one.full
    ]
    sentences = ["; ".join(counted)]
    if held_up:
        sentences.append(f"Blocked: {some(list(dict.fromkeys(held_up)))}")
    return ". ".join(sentences) + "."


def named(thread: BlockedThread, holders: Sequence[PipeEnd], names: Mapping[int, str]) -> str:
    """A blocked thread by its process's name."""
    known = {end.pid: end.name for end in holders}
    name = names.get(thread.pid) or known.get(thread.pid)
    return f"{thread.pid} ({printable(name)})" if name else f"{thread.pid}"


def in_order(pairs: Sequence[SocketPair]) -> list[SocketPair]:
    """Those first to which a write waits, then those in which bytes wait."""
    return sorted(
        pairs,
        key=lambda pair: (
            not any(end.full for end in pair.ends),
            not any(end.waiting for end in pair.ends),
        ),
    )


def pair_rows(pair: SocketPair, names: Mapping[int, str]) -> Iterator[list[str]]:
    """The rows of a pair of sockets: its first socket's holders, then the other's."""
    for end, other, sign in zip(pair.ends, reversed(pair.ends), ("", "= "), strict=True):
        name = f"{sign}{end.inode}" + (f" {printable(end.path)}" if end.path else "")
        full = " full" if other.full else ""
        yield from holder_rows(
            [name, figure(end.waiting) + full, figure(end.limit), "", pair.kind], end, names
        )


def eventfd_rows(one: EventFd, names: Mapping[int, str]) -> Iterator[list[str]]:
    """The rows of an eventfd: a row for each holder."""
    head = [str(one.id), str(one.value) + (" full" if one.full else ""), "", ""]
    return holder_rows([*head, "semaphore" if one.semaphore else "counter"], one, names)


def holder_rows(
    head: list[str], end: SocketEnd | EventFd, names: Mapping[int, str]
) -> Iterator[list[str]]:
    """A row for each descriptor; one that says so if none was seen."""
    if not end.holders:
        yield [*head, "?", "", "not seen", "", ""]
    for holder in end.holders:
        calls = sorted({thread.call for thread in end.blocked if thread.pid == holder.pid})
        yield [*head, *holder_cells(holder, calls, names)]
        head = [""] * len(head)


def rows_of(pipe: Pipe, names: Mapping[int, str]) -> Iterator[list[str]]:
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
        yield [*head, way, *end_cells(pipe, end, names)]
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
            name = printable(names.get(thread.pid, ""))
            yield [*head, "", str(thread.pid), "", name, "", thread.call]
            head = ["", "", "", ""]


def end_cells(pipe: Pipe, end: PipeEnd, names: Mapping[int, str]) -> list[str]:
    """The cells of one descriptor of a pipe."""
    side = [*(["read", "end"] if end.reads else []), *(["write", "end"] if end.writes else [])]
    calls = sorted(
        {
            thread.call
            for thread in pipe.blocked
            if thread.pid == end.pid and (thread.to in side or thread.to == "open")
        }
    )
    return holder_cells(end, calls, names)


def holder_cells(end: PipeEnd, calls: Sequence[str], names: Mapping[int, str]) -> list[str]:
    """The cells of one descriptor."""
    flags = ["nonblock"] if end.nonblocking else []
    flags += ["cloexec"] if end.close_on_exec else []
    return [
        str(end.pid),
        str(end.fd),
        printable(names.get(end.pid, end.name)) or "?",
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
