"""A line of progress on the terminal of stderr: gone when the work is done, and never in a pipe."""

from __future__ import annotations

import os
import sys
import time

from procmem.view.colours import has_colours
from procmem.view.names import cells, printable, shorter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from types import TracebackType

__all__ = ["Progress", "reading"]

DELAY = 1.0
"""Seconds after which the line appears: what takes less needs none."""

INTERVAL = 0.2
"""Seconds between two drawings."""

BAR = 40
"""The most cells of the bar."""

LEAST_BAR = 6
"""With fewer cells there is none."""


class Progress:
    """Shows how far some work is, while it is used in a `with` statement.

    The line is drawn by a thread, so that time passes visibly during a long system call, too. It
    is drawn by rich where that is installed (the extra "ui"), as plain text elsewhere. Nothing is
    written if stderr is no terminal, or a "dumb" one.

    Args:
        what: what is done, in a few words.
        total: the number of steps; None: not known.
        quiet: show nothing.
        delay: seconds before the line appears.
        light: without a thread and without rich, both of which take memory: for where that of
            this process is measured. The line moves only with show() then.
    """

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
        self.shown = not quiet and os.environ.get("TERM") != "dumb" and sys.stderr.isatty()
        self.done: int | None = None
        self._left: float | None = None
        self.begun = time.monotonic()
        self._next = self.begun + delay
        self._drawn = False
        self._light = light
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self.shown:
            import threading

            # Two threads draw; who writes to stdout in between must not be interrupted.
            self._lock = threading.Lock()
            self._ended = threading.Event()
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
        if self.shown:
            self._ended.set()
            if self._thread is not None:
                self._thread.join()
            self._erase()

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
        with self._lock:
            self.done, self._left = done, left
            if what is not None:
                self.what = what
            self._draw()

    def say(self, text: str) -> None:
        """Writes to stdout, above the line if both are on one terminal."""
        if not self.shown:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        with self._lock:
            drawn = self._drawn
            self._erase()
            sys.stdout.write(text)
            sys.stdout.flush()
            self._next = min(self._next, time.monotonic()) if drawn else self._next
            self._draw()

    def _tick(self) -> None:
        while not self._ended.wait(INTERVAL):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        if not self.shown or self._ended.is_set() or now < self._next:
            return
        self._next = now + INTERVAL
        try:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            line = self._line(now - self.begun, width - 1)
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()
        except OSError:  # the terminal has gone; the work goes on
            self.shown = False
        self._drawn = True

    def _erase(self) -> None:
        if not self._drawn:
            return
        self._drawn = False
        try:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        except OSError:
            self.shown = False

    def _line(self, elapsed: float, width: int) -> str:
        what = printable(self.what)
        far = far_text(self.done, self.total, elapsed, self._left)
        room = min(BAR, width - cells(what) - cells(far) - 4)
        if room < LEAST_BAR:
            return shorter(f"{what}  {far}", width)
        made = "" if self._light else rich_bar(self.done, self.total, room)
        bar = made or plain_bar(self.done, self.total, room)
        return f"{what}  {bar}  {far}" if bar else f"{what}  {far}"


def reading(pid: int, what: str = "reading") -> Progress:
    """The progress of reading a process, without a thread if it is this one."""
    return Progress(f"{what} {pid}", light=pid == os.getpid())


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
    # rich's Progress hides the cursor, and a killed process would leave it hidden.
    console = Console(file=sys.stderr, no_color=not has_colours(), width=room)
    with console.capture() as made:
        pulse = not total
        bar = ProgressBar(total or None, done or 0, room, pulse, animation_time=time.monotonic())
        console.print(bar, end="")
    return made.get()
