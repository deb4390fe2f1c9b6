"""Why a program and its children wait for ever, as far as pipes and FIFOs show it."""

from __future__ import annotations

import os

import psutil

from procmem.errors import ProcmemError
from procmem.ipc.blocked import pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.ipc.ends import Pipe
    from procmem.ipc.holders import BlockedThread, PipeEnd

__all__ = ["Relatives", "hang"]

MOST_NAMED = 2
"""At most so many of the descriptors that keep an end open are named."""


class Relatives:
    """A program and its descendants, with words for each.

    Args:
        pid: the program's.

    Attributes:
        pid: as given.
        pids: of the program and its descendants, zombies included; each generation in the order
            of their start.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        found = []
        self._names: dict[int, str] = {pid: "the program"}
        try:
            for one in psutil.Process(pid).children(recursive=True):
                try:
                    found.append((one.create_time(), one.pid, one.ppid(), one.name()))
                except psutil.Error:
                    continue
        except psutil.Error:
            pass
        found.sort()
        children = [(child, name) for _, child, parent, name in found if parent == pid]
        for number, (child, name) in enumerate(children, 1):
            alike = sum(name == other for _, other in children) > 1
            self._names[child] = f"its child {number} ({name})" if alike else f"its child ({name})"
        for _, other, _, name in found:
            self._names.setdefault(other, f"its descendant {name}")
        self.pids = tuple(self._names)

    def __call__(self, pid: int) -> str:
        """A process in words."""
        return self._names.get(pid, "another process")


def hang(pid: int) -> str:
    """Why the processes of a program that sleeps wait for ever, in one sentence; "": not known.

    Args:
        pid: the program's.
    """
    family = Relatives(pid)
    try:
        found = pipes(family.pids)
    except (ProcmemError, OSError):
        return ""
    waiting = {thread.pid for pipe in found for thread in pipe.blocked}
    sentences = [
        (said[0], thread.pid != pid, said[1])
        for pipe in found
        for thread in pipe.blocked
        if (said := sentence(pipe, thread, family, waiting)) is not None
    ]
    return min(sentences, default=(0, False, ""))[2]


def sentence(
    pipe: Pipe, thread: BlockedThread, family: Relatives, waiting: set[int]
) -> tuple[int, str] | None:
    """What a blocked thread waits for, and how far that is from the cause: 0 is the nearest."""
    who = family(thread.pid)
    if thread.to == "open":
        name = os.path.basename(pipe.path or "")
        return 0, f"{who} waits in open() of the FIFO {name} until a process opens its other end"
    if thread.to == "read" and pipe.writers:
        others = f"its write end is held by {held(pipe.writers, thread.pid, family)}"
        what = f"{who} reads from an empty pipe: {others}"
        rule = "the end of file comes when all of them are closed"
        return distance(pipe.writers, thread.pid, waiting), f"{what}; {rule}"
    if thread.to == "write" and pipe.readers:
        others = f"its read end is held by {held(pipe.readers, thread.pid, family)}"
        what = f"{who} writes to a full pipe that nobody reads: {others}"
        rule = "SIGPIPE comes when all of them are closed"
        return distance(pipe.readers, thread.pid, waiting), f"{what}; {rule}"
    return None


def distance(ends: Sequence[PipeEnd], pid: int, waiting: set[int]) -> int:
    pids = {end.pid for end in ends}
    return 0 if pid in pids else 1 if pids - waiting else 2


def held(ends: Sequence[PipeEnd], pid: int, family: Relatives) -> str:
    names = [
        f"{family(end.pid)}{' itself' if end.pid == pid else ''} (descriptor {end.fd})"
        for end in sorted(ends, key=lambda end: end.pid != pid)
    ]
    more = len(names) - MOST_NAMED
    return " and ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
