"""Traces for Perfetto, Chrome and speedscope."""

from __future__ import annotations

import errno
import os
from array import array
from contextlib import contextmanager

from procmem.picture.timelines import EventTimeline, Flames
from procmem.tracing.arguments import Clone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol, TextIO

    from procmem.calls._bracket import Reading

    class Exported(Protocol):
        """What is written of a call."""

        @property
        def name(self) -> str: ...
        @property
        def pid(self) -> int: ...
        @property
        def tid(self) -> int: ...
        @property
        def args(self) -> dict[str, object]: ...
        @property
        def within(self) -> str | None: ...
        @property
        def is_function(self) -> bool: ...
        @property
        def made(self) -> int: ...
        @property
        def result(self) -> int | None: ...
        @property
        def errno(self) -> int | None: ...
        @property
        def returned(self) -> bool: ...
        @property
        def began(self) -> int: ...
        @property
        def ns(self) -> int | None: ...
        @property
        def before(self) -> Reading | None: ...
        @property
        def after(self) -> Reading | None: ...
        @property
        def delta_vsz(self) -> int | None: ...
        @property
        def delta_rss(self) -> int | None: ...
        @property
        def region_row(self) -> tuple[int, int, str, str] | None: ...
        @property
        def reason(self) -> str: ...
        @property
        def several(self) -> bool: ...


__all__ = ["EXECS", "EXITS", "FORKS", "FlameTrace", "PerfettoTrace", "opened"]

FORKS = ("fork", "vfork", "clone", "clone3")
EXECS = ("execve", "execveat")
EXITS = ("exit", "exit_group")


@contextmanager
def opened(file: str | os.PathLike[str] | TextIO) -> Iterator[TextIO]:
    """A file to write text to: one that is open already, or a path, which is written anew."""
    if isinstance(file, str | os.PathLike):
        with open(file, "w", encoding="utf-8") as made:
            yield made
    else:
        yield file


class PerfettoTrace:
    """Writes calls as they come, for Perfetto and Chrome: see Trace.to_perfetto().

    Args:
        file: what is written to.
        pid: the program.
    """

    def __init__(self, file: TextIO, pid: int) -> None:
        self._timeline = EventTimeline(file, {"clock": "CLOCK_MONOTONIC", "pid": pid})
        self._seen: dict[tuple[int, str], int] = {}
        self._threaded: set[int] = set()
        self._kept: dict[tuple[int, str], tuple[array[int], array[int]]] = {}

    def add(self, call: Exported) -> None:
        """Writes a call: a slice of its thread, VSZ and RSS, and what happened to the process."""
        took = call.ns or 0
        self._timeline.slice(call.name, call.pid, call.tid, call.began, took, described(call))
        # The calls that a function made have its figures.
        if not call.made:
            self._figures(call, call.before, call.began)
            self._figures(call, call.after, call.began + took)
        self._happened(call)

    def _figures(self, call: Exported, reading: Reading | None, when: int) -> None:
        if reading is None:
            return
        # Calls of several threads overlap, and come when they return. Chrome draws the values of a
        # counter in the order of the file: they are sorted at the end.
        if call.several:
            self._threaded.add(call.pid)
        for name, value in (("VSZ", reading.vsz), ("RSS", reading.rss)):
            if call.pid in self._threaded:
                kept = self._kept.setdefault((call.pid, name), (array("q"), array("q")))
                kept[0].append(when)
                kept[1].append(value)
            else:
                self._figure(name, call.pid, when, value)

    def _figure(self, name: str, pid: int, when: int, value: int) -> None:
        if self._seen.get((pid, name)) != value:
            self._seen[pid, name] = value
            self._timeline.counter(name, pid, when, {"bytes": value})

    def _happened(self, call: Exported) -> None:
        end = call.began + (call.ns or 0)
        if call.name in FORKS and call.result:
            flags = call.args.get("flags")
            thread = isinstance(flags, Clone) and Clone.CLONE_THREAD in flags
            what = "thread" if thread else "process"
            self._timeline.instant(
                f"{call.name}: {what} {call.result}", call.pid, call.tid, end, {what: call.result}
            )
        elif call.name in EXECS and call.result is not None:
            path = str(next((value for value in call.args.values() if isinstance(value, str)), ""))
            self._timeline.process(call.pid, os.path.basename(path), end)
            self._timeline.instant(f"{call.name}: {path}", call.pid, None, end, {"path": path})
        elif call.name in EXITS and not call.returned:
            self._timeline.instant(call.name, call.pid, call.tid, call.began, call.args)

    def close(self) -> None:
        """Writes the end."""
        for (pid, name), (times, values) in self._kept.items():
            for at in sorted(range(len(times)), key=times.__getitem__):
                self._figure(name, pid, times[at], values[at])
        self._timeline.close()


def described(call: Exported) -> dict[str, object]:
    """The arguments of a call and its effects."""
    found: dict[str, object] = dict(call.args)
    if call.result is not None:
        found["result"] = call.result
    if call.errno is not None:
        found["error"] = errno.errorcode.get(call.errno, call.errno)
    if not call.returned:
        found["returned"] = False
    if call.delta_vsz is not None:
        found["change of VSZ"] = call.delta_vsz
    if call.delta_rss is not None:
        found["change of RSS"] = call.delta_rss
    if call.region_row is not None:
        start, end, perms, name = call.region_row
        found["region"] = f"{start:x}-{end:x} {perms} {name}"
    if call.within is not None:
        found["within"] = call.within
    if call.reason:
        found["not exact"] = call.reason
    return found


class FlameTrace:
    """Writes calls for speedscope: see Trace.to_speedscope().

    Args:
        file: what is written to.
        pid: the program.
    """

    def __init__(self, file: TextIO, pid: int) -> None:
        self._flames = Flames(file, f"memory calls of process {pid}")
        self._inside: dict[tuple[int, str], int] = {}

    def add(self, call: Exported) -> None:
        """Takes a call."""
        thread = f"process {call.pid}"
        if call.tid != call.pid:
            thread += f", thread {call.tid}"
        self._flames.slice(thread, call.name, call.began, call.began + (call.ns or 0))
        stack = (call.name,) if call.within is None else (call.within, call.name)
        for name, change in (("VSZ", call.delta_vsz), ("RSS", call.delta_rss)):
            # What the calls that a function made have changed, which came before, is theirs.
            inside = self._inside.pop((call.tid, name), 0)
            if call.within is not None:
                self._inside[call.tid, name] = inside + (change or 0)
            own = (change or 0) - (inside if call.is_function else 0)
            if own > 0:
                self._flames.weigh(f"growth of {name} in calls", stack, own)

    def close(self) -> None:
        """Writes it all."""
        self._flames.close()
