"""A line of progress on the terminal of stderr: gone when the work is done, and never in a pipe."""

from __future__ import annotations

import contextlib
import io
import math
import os
import stat
import sys
import threading
import time
from typing import Any, ClassVar

from procmem.native import lib
from procmem.view.names import cells, printable, shorter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import IO

__all__ = ["Progress", "command_progress", "end_progress", "silence"]

DELAY = 1.0
"""Seconds after which the line appears: what takes less needs none."""

INTERVAL = 0.2
"""Seconds between two drawings."""

BAR = 40
"""The most cells of the bar."""

LEAST_BAR = 6
"""With fewer cells there is none."""

MOST_WORDS = 24
"""The cells that a description may take from the bar."""


class Progress:
    """Shows how far some work is, while it is used in a `with` statement.

    The line is drawn by a thread, so that time passes visibly during a long system call, too. It
    is drawn by rich where that is installed (the extra "ui"), as plain text elsewhere. Whatever is
    written to stdout or stderr meanwhile, if that is a terminal, clears the line first, and so
    does a signal that ends the process. Inside of another Progress this one is shown instead.

    Nothing is written if stderr is no terminal or a "dumb" one, in the background, and if stdout is
    a pipe: its reader may be a pager that has the screen.

    Args:
        what: what is done, in a few words.
        total: the number of steps; None: not known.
        quiet: show nothing.
        delay: seconds before the line appears.
        light: without a thread and without rich, both of which take memory: for where that of
            this process is measured. The line moves only with show() then.
    """

    current: ClassVar[Progress | None] = None
    """The innermost."""

    silent: ClassVar[bool] = False
    """Nothing is drawn: set by silence()."""

    def __init__(
        self,
        what: str,
        *,
        total: int | None = None,
        quiet: bool = False,
        delay: float = DELAY,
        light: bool = False,
    ) -> None:
        self.what = what
        self.total = total
        self.shown = not quiet and can_show()
        self.done: int | None = None
        self._left: float | None = None
        self.begun = time.monotonic()
        self._next = self.begun + delay
        self._drawn = False
        self._light = light
        self._outer: Progress | None = None
        self._terminal = -1
        self._streams: tuple[IO[str], IO[str]] | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Progress:
        if self.shown:
            with LOCK:
                self._terminal = sys.stderr.fileno()
                self._outer = Progress.current
                if self._outer is None:
                    self._streams = sys.stdout, sys.stderr
                    sys.stdout, sys.stderr = clearing(sys.stdout), clearing(sys.stderr)
                elif self._outer.erase():
                    self._next = self.begun
                Progress.current = self
            if not self._light:
                self._thread = threading.Thread(target=self._tick, daemon=True)
                self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Removes the line for good."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with LOCK:
            self.erase()
            if Progress.current is self:
                Progress.current = self._outer
        if self._streams is not None:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):  # the terminal has gone
                    stream.flush()
            sys.stdout, sys.stderr = self._streams
            self._streams = None

    def show(
        self, done: int | None = None, what: str | None = None, left: float | None = None
    ) -> None:
        """Notes how far the work is.

        Args:
            done: the steps that are done; None: not known.
            what: what is being done now; None: as before.
            left: seconds that are left; None: not known.
        """
        if not self.shown:
            self.done = done
            return
        with LOCK:
            self.done, self._left = done, left
            if what is not None:
                self.what = what
            self._draw()

    def say(self, text: str) -> None:
        """Writes to stdout, above the line if both are on one terminal."""
        with LOCK:
            drawn = self._drawn
            sys.stdout.write(text)
            sys.stdout.flush()
            if drawn:
                self._next = time.monotonic()
                self._draw()

    def make_room(self, text: bytes) -> None:
        """Clears the line, before something else is written to the terminal."""
        with LOCK:
            self.erase()
            self._next = time.monotonic() + (DELAY if text.endswith(b"\n") else math.inf)

    def _tick(self) -> None:
        while not self._ended.wait(INTERVAL):
            with LOCK:
                self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        if not self.shown or Progress.silent or Progress.current is not self or now < self._next:
            return
        self._next = now + INTERVAL
        if self._ended.is_set() or not in_foreground(self._terminal):
            return
        try:
            width = os.get_terminal_size(self._terminal).columns or 80
            line = f"\r{self._line(now - self.begun, width - 1)}\x1b[K"
            lib.pm_clear_at_end(self._terminal)
            self._drawn = True
            write_all(self._terminal, line)
        except OSError:  # the terminal has gone; the work goes on
            self.shown = False

    def erase(self) -> bool:
        """Clears the line until it is drawn again; returns whether there was one."""
        if not self._drawn:
            return False
        self._drawn = False
        try:
            write_all(self._terminal, "\r\x1b[K")
        except OSError:
            self.shown = False
        lib.pm_clear_at_end(-1)
        return True

    def _line(self, elapsed: float, width: int) -> str:
        far = far_text(self.done, self.total, elapsed, self._left)
        what = shorter(printable(self.what), max(MOST_WORDS, width - cells(far) - BAR - 4))
        room = min(BAR, width - cells(what) - cells(far) - 4)
        if room < LEAST_BAR:
            return shorter(f"{what}  {far}", width)
        made = "" if self._light else rich_bar(self.done, self.total, room)
        bar = made or plain_bar(self.done, self.total, room)
        return f"{what}  {bar}  {far}" if bar else f"{what}  {far}"


LOCK = threading.RLock()
"""Held while something is written: two threads do, and handlers of signals might."""


class ClearingFile(io.RawIOBase):
    """A terminal that is written to while a line of progress may be on it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def writable(self) -> bool:
        """As io.RawIOBase has it, like what follows."""
        return True

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        with LOCK:
            if Progress.current is not None:
                Progress.current.make_room(bytes(data[-1:]))
            return os.write(self._fd, data)


def clearing(stream: IO[str]) -> IO[str]:
    """The stream, or one in its place that clears a line of progress before it writes."""
    if not isinstance(stream, io.TextIOWrapper) or not stream.isatty():
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(ClearingFile(stream.fileno())),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )


def write_all(fd: int, text: str) -> None:
    data = text.encode(errors="replace")
    while data:
        data = data[os.write(fd, data) :]


def in_foreground(terminal: int) -> bool:
    """Whether this process may write to the terminal without disturbing another one's screen."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # it does not control this session
        return True


def can_show() -> bool:
    """Whether stderr is a terminal that nobody else writes to."""
    if os.environ.get("TERM") == "dumb" or not sys.stderr.isatty():
        return False
    try:
        sys.stderr.fileno()
    except OSError:
        return False
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except OSError:  # a stream of Python alone
        return True
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def silence() -> None:
    """Shows no progress until the command ends: what asks for JSON is a program."""
    # Elsewhere there is none; command_progress(), which ends the silence, is used on terminals.
    Progress.silent = sys.stderr.isatty()
    if Progress.current is not None:
        with LOCK:
            Progress.current.erase()


def end_progress() -> None:
    """Ends all progress, before the terminal is used in another way."""
    while Progress.current is not None:
        Progress.current.close()


@contextlib.contextmanager
def command_progress(words: Sequence[str]) -> Iterator[None]:
    """The progress of a command that shows none of its own yet; silence() ends with it.

    Args:
        words: the command line, without "procmem".
    """
    without = {"self", str(os.getpid()), "--json", "--quiet"}
    none = not words or words[0] in QUIET or not without.isdisjoint(words)
    try:
        with contextlib.nullcontext() if none else Progress(" ".join(["procmem", *words])):
            yield
    finally:
        Progress.silent = False


QUIET = (
    "completion", "demo", "experiment", "exporter", "pmap", "ps", "size", "trace", "watch"
)  # fmt: skip
"""Commands that print as they go, measure this process, or imitate another program."""


def far_text(done: int | None, total: int | None, elapsed: float, left: float | None) -> str:
    """How far the work is, in words.

    >>> far_text(3, 20, 61.2, 150.0), far_text(None, None, 4.7, None), far_text(7, None, 9, None)
    ('3 of 20, 2:30 left', '0:04', '7, 0:09')
    """
    steps = "" if done is None else f"{done:,}" if total is None else f"{done:,} of {total:,}"
    if left is not None and (total is None or done is None or done < total):
        time_text = f"{clock(left)} left"
    else:
        time_text = clock(elapsed)
    return f"{steps}, {time_text}" if steps else time_text


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plain_bar(done: int | None, total: int | None, room: int) -> str:
    """A bar of ASCII; empty if it is not known how long the whole is.

    >>> plain_bar(1, 4, 10), plain_bar(None, None, 10)
    ('[##......]', '')
    """
    if not total:
        return ""
    filled = (room - 2) * min(done or 0, total) // total
    return f"[{'#' * filled}{'.' * (room - 2 - filled)}]"


def rich_bar(done: int | None, total: int | None, room: int) -> str:
    """A bar made by rich, which moves if it is not known how long the whole is; "" without rich."""
    try:
        from rich.console import Console
        from rich.progress_bar import ProgressBar
    except ImportError:
        return ""
    from procmem.view.colours import has_colours

    # rich's Progress hides the cursor, and a killed process would leave it hidden.
    console = Console(file=sys.stderr, no_color=not has_colours(), width=room)
    with console.capture() as made:
        pulse = not total
        bar = ProgressBar(total or None, done or 0, room, pulse, animation_time=time.monotonic())
        console.print(bar, end="")
    return made.get()
