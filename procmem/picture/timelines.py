"""Timelines for other programs: the Trace Event Format of Perfetto and Chrome; speedscope's.

Both are JSON. Events are written as they come, so that a trace of millions of calls needs no memory
for its text. Times are nanoseconds of one clock.

Source: Trace Event Format (Chromium project); https://www.speedscope.app/file-format-schema.json.
"""

from __future__ import annotations

import json
from array import array
from enum import Enum, IntFlag

from procmem._version import __version__
from procmem.names import escaped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TextIO

__all__ = ["EventTimeline", "Flames", "is_flames", "is_timeline", "plain"]

TIMELINE = '{"otherData": {"producer": "procmem '
FLAMES = '{"exporter": "procmem '

EXACT = 1 << 32
"""Integers from here on are written in hexadecimal, as addresses are: some readers keep 53 bits."""


def is_timeline(start: bytes) -> bool:
    """Whether a file that starts like this is a timeline of ours, and may be overwritten."""
    return start.startswith(TIMELINE.encode())


def is_flames(start: bytes) -> bool:
    """Whether a file that starts like this is one of ours for speedscope."""
    return start.startswith(FLAMES.encode())


def plain(value: Any) -> Any:
    r"""A value for JSON: what a process chose is escaped, large numbers are hexadecimal.

    >>> plain({"path": "a\udcff", "addr": 1 << 46, "length": 4096, "argv": ("x",)})
    {'path': 'a\\xff', 'addr': '0x400000000000', 'length': 4096, 'argv': ['x']}
    """
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, Enum):
        return names_of(value)
    if isinstance(value, int):
        return hex(value) if abs(value) >= EXACT else value
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return escaped(str(value))


def names_of(value: Enum) -> str:
    """The name of a value, or the names of flags, as C programs have them."""
    if not isinstance(value, IntFlag):
        return value.name
    found, rest = [], int(value)
    members = type(value).__members__.items()
    for name, one in members:
        if one.value and one.value & rest == one.value:
            found.append(name)
            rest &= ~one.value
    if rest:
        found.append(hex(rest))
    return "|".join(found) or next((name for name, one in members if not one.value), "0")


def micro(nanoseconds: int) -> str:
    """Nanoseconds as a number of microseconds, without the rounding of a float."""
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03d}"


class EventTimeline:
    """Writes the Trace Event Format. Events need not come in the order of time.

    Args:
        file: what is written to.
        about: facts about the whole, such as the clock.
    """

    def __init__(self, file: TextIO, about: Mapping[str, object] | None = None) -> None:
        self._file = file
        self._separator = "\n"
        more = "".join(
            f", {json.dumps(key)}: {json.dumps(plain(value))}"
            for key, value in (about or {}).items()
        )
        file.write(f'{TIMELINE}{__version__}"{more}}},\n"displayTimeUnit": "ns", "traceEvents": [')

    def close(self) -> None:
        """Writes the end."""
        self._file.write("\n]}\n")

    def _event(self, phase: str, name: str, pid: int, when: int, more: str) -> None:
        called = json.dumps(escaped(name))
        text = f'"ph": "{phase}", "name": {called}, "pid": {pid}, "ts": {micro(when)}{more}'
        self._file.write(f"{self._separator}{{{text}}}")
        self._separator = ",\n"

    def process(self, pid: int, name: str, when: int = 0) -> None:
        """The name of a process."""
        named = json.dumps(escaped(name))
        self._event("M", "process_name", pid, when, f', "args": {{"name": {named}}}')

    def thread(self, pid: int, tid: int, name: str) -> None:
        """The name of a thread."""
        named = json.dumps(escaped(name))
        self._event("M", "thread_name", pid, 0, f', "tid": {tid}, "args": {{"name": {named}}}')

    def slice(
        self, name: str, pid: int, tid: int, began: int, took: int, args: Mapping[str, object]
    ) -> None:
        """Something that took time, in a thread."""
        more = f', "tid": {tid}, "dur": {micro(took)}, "args": {json.dumps(plain(args))}'
        self._event("X", name, pid, began, more)

    def counter(self, name: str, pid: int, when: int, values: Mapping[str, int]) -> None:
        """Values that hold from now on."""
        shown = ", ".join(f"{json.dumps(escaped(key))}: {value}" for key, value in values.items())
        self._event("C", name, pid, when, f', "args": {{{shown}}}')

    def instant(
        self, name: str, pid: int, tid: int | None, when: int, args: Mapping[str, object]
    ) -> None:
        """Something that happened at once, to a thread or (None) to a process."""
        place = f', "tid": {pid}, "s": "p"' if tid is None else f', "tid": {tid}, "s": "t"'
        self._event("i", name, pid, when, f'{place}, "args": {json.dumps(plain(args))}')


class Flames:
    """Writes a file for speedscope: a profile over time for each thread, and profiles of bytes.

    Calls are kept in 18 bytes each until close(), because a profile holds those of one thread.

    Args:
        file: what is written to.
        name: of the whole.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self._frames: dict[str, int] = {}
        self._threads: dict[str, tuple[array[int], array[int], array[int]]] = {}
        self._bytes: dict[str, dict[tuple[int, ...], int]] = {}

    def _frame(self, name: str) -> int:
        return self._frames.setdefault(name, len(self._frames))

    def slice(self, thread: str, name: str, began: int, ended: int) -> None:
        """A call of a thread."""
        kept = self._threads.get(thread)
        if kept is None:
            kept = self._threads[thread] = array("q"), array("q"), array("H")
        kept[0].append(began)
        kept[1].append(ended)
        kept[2].append(self._frame(name))

    def weigh(self, profile: str, stack: tuple[str, ...], size: int) -> None:
        """Adds bytes to what a stack of calls accounts for."""
        frames = tuple(map(self._frame, stack))
        found = self._bytes.setdefault(profile, {})
        found[frames] = found.get(frames, 0) + size

    def close(self) -> None:
        """Writes it all."""
        write = self._file.write
        start = min((min(kept[0]) for kept in self._threads.values()), default=0)
        write(f'{FLAMES}{__version__}", "$schema": {json.dumps(SCHEMA)},\n')
        write(f'"name": {json.dumps(escaped(self._name))}, "activeProfileIndex": 0,\n')
        frames = [{"name": escaped(name)} for name in self._frames]
        write(f'"shared": {{"frames": {json.dumps(frames)}}},\n"profiles": [')
        separator = "\n"
        for thread, kept in self._threads.items():
            write(f'{separator}{{"type": "evented", "name": {json.dumps(escaped(thread))}, ')
            separator = ",\n"
            last = max(kept[1]) - start
            write(f'"unit": "nanoseconds", "startValue": 0, "endValue": {last}, "events": [')
            write_all(self._file, events(*kept, start))
            write("]}")
        for profile, found in self._bytes.items():
            total = sum(found.values())
            write(f'{separator}{{"type": "sampled", "name": {json.dumps(escaped(profile))}, ')
            separator = ",\n"
            write(f'"unit": "bytes", "startValue": 0, "endValue": {total}, ')
            write(f'"samples": {json.dumps(list(map(list, found)))}, ')
            write(f'"weights": {json.dumps(list(found.values()))}}}')
        write("\n]}\n")


SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def write_all(file: TextIO, pieces: Iterator[str]) -> None:
    separator = ""
    for piece in pieces:
        file.write(separator + piece)
        separator = ","


def events(began: array[int], ended: array[int], frames: array[int], start: int) -> Iterator[str]:
    """The calls of a thread as openings and closings, each call inside of those it was made in."""
    order = sorted(range(len(began)), key=lambda at: (began[at], -ended[at]))
    stack: list[tuple[int, int]] = []
    for at in order:
        while stack and stack[-1][0] <= began[at]:
            end, frame = stack.pop()
            yield f'{{"type": "C", "frame": {frame}, "at": {end - start}}}'
        # A call can't last longer than the one that it is made in.
        end = min(ended[at], stack[-1][0]) if stack else ended[at]
        yield f'{{"type": "O", "frame": {frames[at]}, "at": {began[at] - start}}}'
        stack.append((end, frames[at]))
    while stack:
        end, frame = stack.pop()
        yield f'{{"type": "C", "frame": {frame}, "at": {end - start}}}'
