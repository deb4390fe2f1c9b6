"""The live screen: processes, groups, one process in detail, a recording replayed."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

from textual.app import App
from textual.binding import Binding
from textual.message import Message

from procmem.screen.engine import ScreenEngine
from procmem.screen.help import help_rows
from procmem.screen.inside import UseRows
from procmem.screen.lines import FilterLine, HintLine, ScreenHead, ScreenRows
from procmem.screen.listing import GroupRows, ProcessRows
from procmem.screen.opened import ReplayedProcess
from procmem.screen.tables import TextPiece
from procmem.screen.views import (
    BY,
    TABS,
    UNIT,
    UNIT_INSIDE,
    AskedView,
    LastTable,
    Shown,
    list_view,
    memory_view,
    process_view,
    sort_keys,
)
from procmem.units import UNITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import ClassVar

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import Resize

    from procmem.recording.recording import Recording
    from procmem.screen.opened import OpenedProcess

__all__ = ["TopScreen", "run_screen"]

TICK = 1.0
"""Seconds after which ages on the screen are computed anew."""

SLOWEST, FASTEST = 1 / 16, 1024.0
"""The least and the largest speed of a replay."""

PATIENCE = 1.0
"""Seconds that quitting waits for a reading."""

READS = frozenset({"cgroup", "service"})
"""Groups for which files of processes may have to be read."""


class TopScreen(App[int]):
    """The screen of `procmem top`.

    Args:
        engine: what reads the processes; it is started and stopped by the screen.
        replay: a recording that is shown in place of live processes.
        unit: of sizes, one of units.UNITS; empty: see AskedView.
        sort, by: as in AskedView.
        pids: one process is opened, several are listed; none: all are listed.

    Attributes:
        shown: what is drawn.
        asked: what was asked for last.
        serial, drawn: the number of the last request, and of that whose answer is drawn.
        error: what ended the screen; None: the user did.
    """

    CSS = """
    Screen { background: ansi_default; layout: vertical; }
    """
    ENABLE_COMMAND_PALETTE = False

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "quit"),
        Binding("ctrl+c", "interrupt", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "suspend", show=False, priority=True),
        Binding("escape,backspace", "close", "back"),
        Binding("question_mark,h,f1", "help", "help"),
        Binding("slash", "filter", "filter"),
        Binding("s", "sort(1)", "sort"),
        Binding("S", "sort(-1)", "sort back"),
        Binding("g", "group(1)", "group"),
        Binding("G", "group(-1)", "group back"),
        Binding("m", "memory", "memory"),
        Binding("u", "unit", "unit"),
        Binding("R", "read", "read"),
        Binding("space", "pause", "pause"),
        Binding("left", "step(-1)", "step back", priority=True),
        Binding("right", "step(1)", "step on", priority=True),
        Binding("left_square_bracket", "first", "first kept"),
        Binding("right_square_bracket", "last", "last"),
        Binding("plus,equals_sign", "speed(2.0)", "faster"),
        Binding("minus", "speed(0.5)", "slower"),
        Binding("tab", "tab(1)", "next tab", priority=True),
        Binding("shift+tab", "tab(-1)", "previous tab", priority=True),
        *(Binding(str(place), f"choose('{name}')", name) for place, name in enumerate(TABS, 1)),
    ]

    class News(Message):
        """There is something new to show."""

    class Built(Message):
        """A view was computed.

        Args:
            shown: the view.
            serial: the number of the request that it answers.
        """

        def __init__(self, shown: Shown, serial: int) -> None:
            super().__init__()
            self.shown = shown
            self.serial = serial

    class Failed(Message):
        """A thread has ended with an error.

        Args:
            error: the error.
        """

        def __init__(self, error: BaseException) -> None:
            super().__init__()
            self.error = error

    def __init__(
        self,
        engine: ScreenEngine,
        *,
        replay: Recording | None = None,
        unit: str = "",
        sort: str = "",
        by: str = "",
        pids: Collection[int] = (),
    ) -> None:
        super().__init__(ansi_color=True)
        self.engine = engine
        engine.changed = lambda: self.tell(self.News())
        engine.failed = lambda error: self.tell(self.Failed(error))
        self.opened: OpenedProcess | None = None
        only = ("chosen", frozenset(pids)) if len(pids) > 1 else None
        self.asked = AskedView(unit=unit, sort=sort, by="" if only else by, only=only)
        self.sorts: dict[str, str] = {}
        self.back: list[AskedView] = []
        self.shown: Shown | None = None
        self.error: BaseException | None = None
        self.serial = self.drawn = 0
        self.first = next(iter(pids)) if len(pids) == 1 else None
        self.playing = False
        self.speed = 1.0
        self._played_at = self._played = 0.0
        self._last = LastTable()
        self._lock = threading.Lock()
        self._told = False
        self.rows = ScreenRows()
        self.head = ScreenHead()
        self.hints = HintLine()
        self.filter = FilterLine()
        engine.read_cgroups(by in READS)
        if replay is not None:
            self.opened = ReplayedProcess(replay)
            self.asked = self.asked._replace(page="process", number=0, by="", sort="")

    # ---- threads ----

    def tell(self, message: Message) -> None:
        """Posts a message from any thread, of several News one at a time."""
        if isinstance(message, self.News):
            with self._lock:
                if self._told:
                    return
                self._told = True
        if self._loop is not None and not self._loop.is_closed():
            self.post_message(message)

    def on_top_screen_news(self, _message: News) -> None:
        """Something new was read."""
        with self._lock:
            self._told = False
        if self.asked.number is None or self.shown is None or self.shown.number is None:
            self.ask()

    def on_top_screen_failed(self, message: Failed) -> None:
        """Ends the screen."""
        self.error = message.error
        self.exit(1, return_code=1)

    def on_top_screen_built(self, message: Built) -> None:
        """Draws a view, if it is still what is asked for."""
        shown = message.shown
        if shown.asked._replace(number=None) == self.asked._replace(number=None):
            if self.asked.number is not None:
                if shown.asked.number is None:
                    return
                self.asked = shown.asked
            self.drawn = message.serial
            self.draw(shown)

    # ---- views ----

    def view(self, asked: AskedView, opened: OpenedProcess | None) -> Shown:
        """Computes a view, in another thread: `opened` is what was open when it was asked for."""
        if asked.page == "process" and opened is not None:
            return process_view(asked, opened, self.engine, self._last)
        if asked.page == "memory":
            return memory_view(asked, self.engine)
        if asked.page == "help":
            title = [TextPiece("procmem top: keys and figures", "bold")]
            return Shown(asked, title, [], help_rows(asked.width), asked.number)
        return list_view(asked, self.engine, self._last)

    def ask(self, **changes: object) -> None:
        """Asks for what is to be shown.

        Args:
            changes: fields of AskedView that are to be others.
        """
        self.asked = self.asked._replace(**changes)  # type: ignore[arg-type]
        self.serial += 1
        asked, opened, serial = self.asked, self.opened, self.serial

        def job() -> None:
            self.tell(self.Built(self.view(asked, opened), serial))

        self.engine.build("view", job, reads=asked.page == "list" and asked.by in READS)

    def draw(self, shown: Shown) -> None:
        """Draws a view."""
        self.shown = shown
        height, inside = self.size.height, shown.asked.page == "process"
        above = [shown.title, shown.state] if height > 8 and shown.state else [shown.title]
        tabs = TABS if inside and height > 4 else ()
        titles = shown.table.selectable and height > 3
        self.rows.put(shown.table, shown.message)
        self.head.put(above, tabs, shown.asked.tab, self.rows, titles=titles)
        self.hints.display = height > 6 and not self.filter.has_class("shown")
        self.hints.put(self.hints_here())

    def hints_here(self) -> list[tuple[str, str, str]]:
        """The keys that do something in this view."""
        live = self.asked.number is None
        replay = isinstance(self.opened, ReplayedProcess)
        pause = ("Space", "play" if replay and not self.playing else "pause", "pause")
        if not replay and not live:
            pause = ("Space", "live", "pause")
        step = ("←→", "step", "step(-1)")
        ends = [("?", "help", "help"), ("q", "quit", "leave")]
        if self.asked.page == "process":
            found = [("/", "filter", "filter"), ("s", "sort", "sort(1)"), pause, step]
            if self.asked.tab == "heap" and not replay:
                found.insert(0, ("R", "read now", "read"))
            if self.back:
                found.insert(0, ("Esc", "back", "close"))
            return [*found, *ends]
        if self.asked.page == "list":
            found = [
                ("Enter", "open", "open_selected"),
                ("s", "sort", "sort(1)"),
                ("/", "filter", "filter"),
                ("g", "group", "group(1)"),
                pause,
                step,
            ]
            if self.asked.only is not None or self.asked.filtered:
                found.insert(0, ("Esc", "all", "close"))
            return [*found, *ends]
        return [("Esc", "back", "close"), *ends]

    # ---- life ----

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield self.head
        yield self.rows
        yield self.filter
        yield self.hints

    def on_mount(self) -> None:
        """Starts reading."""
        self.rows.focus()
        self._catch_signals()
        self.engine.start()
        self.set_interval(TICK, self.on_tick)
        self.asked = self.asked._replace(width=max(self.size.width - 1, 1))
        if self.first is not None:
            self.open_process(self.first, None, "")
        else:
            self.ask()

    def _catch_signals(self) -> None:
        """Lets signals that end the process end the screen first, so that the terminal is whole."""
        if self.is_headless or threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self.exit, 128 + number, 128 + number)
        # Textual's own handlers write to the terminal through a queue. Run by Python in the midst
        # of such a write they would wait for its lock for ever; run by the loop they do not.
        for number in (signal.SIGTSTP, signal.SIGCONT):
            handler = signal.getsignal(number)
            if callable(handler):
                loop.add_signal_handler(number, handler, number, None)

    def on_unmount(self) -> None:
        """Ends reading."""
        self.engine.stop(PATIENCE)

    def on_resize(self, event: Resize) -> None:
        """Makes texts of the new width, beside the scrollbar."""
        self.ask(width=max(event.size.width - 1, 1))

    def on_tick(self) -> None:
        """Ages grow; a replay goes on."""
        if self.playing:
            self.play_on()
        elif self.asked.number is None and self.asked.page != "help":
            self.ask()

    def _handle_exception(self, error: Exception) -> None:
        """An error of ours: main() words it, with the terminal as it was before."""
        self.error = self.error or error
        self._exception = self._exception or error
        self.exit(1, return_code=1)

    # ---- messages of the widgets ----

    def on_screen_rows_opened(self, message: ScreenRows.Opened) -> None:
        """Opens a process, a group, or the regions of a use."""
        table, row = message.table, message.row
        if isinstance(table, ProcessRows):
            process = table.process(row)
            self.open_process(process.pid, process.start_time, process.name)
        elif isinstance(table, GroupRows):
            group = table.group(row)
            members = frozenset(one.pid for one in group.processes)
            self.go("list", only=(group.name, members), by="", filtered="", sort="")
        elif isinstance(table, UseRows):
            self.go("process", tab="map", sort="", filtered=table.use(row).word)

    def open_process(self, pid: int, start_time: int | None, name: str) -> None:
        """Opens a process."""
        self.opened = self.engine.open(pid, start_time, name)
        self.go("process", number=None, filtered="", sort="", tab="uses", by="", only=None)

    def go(self, page: str, **changes: object) -> None:
        """Goes to another page, from which Esc leads back."""
        self.back.append(self.asked)
        self.ask(page=page, **changes)

    def on_screen_head_chosen(self, message: ScreenHead.Chosen) -> None:
        """A tab or a column was clicked."""
        if message.tab:
            self.action_choose(message.tab)
        elif self.shown is not None and message.column in sort_keys(self.shown.table):
            self.ask(sort=message.column)

    def on_hint_line_pressed(self, message: HintLine.Pressed) -> None:
        """A hint was clicked."""
        self.call_later(self.run_action, message.action)

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        """A filter was typed."""
        self.ask(filtered=message.text)
        if message.done:
            self.filter.remove_class("shown")
            self.hints.display = self.size.height > 6
            self.rows.focus()

    # ---- actions ----

    def action_leave(self) -> None:
        """Quits; from the help back."""
        if self.asked.page == "help":
            self.action_close()
        else:
            self.exit(0)

    def action_interrupt(self) -> None:
        """Quits as Ctrl-C does elsewhere."""
        self.exit(130, return_code=130)

    def action_close(self) -> None:
        """Removes a filter; then back to where this view was opened."""
        if self.asked.filtered and (not self.back or self.back[-1].tab == self.asked.tab):
            self.ask(filtered="")
            return
        if not self.back:
            return
        now, before = self.asked, self.back.pop()
        if now.page == "process" and before.page == "list":
            self.opened = None
            self.engine.leave()
        number = now.number if now.page == before.page == "process" else before.number
        self.asked = before._replace(width=now.width, unit=now.unit, number=number)
        self.ask()

    def action_help(self) -> None:
        """Shows the help."""
        if self.asked.page != "help":
            self.go("help")

    def action_memory(self) -> None:
        """Shows what the memory of the machine is used for."""
        if self.asked.page == "memory":
            self.action_close()
        elif self.asked.page == "list":
            self.go("memory")

    def action_filter(self) -> None:
        """Starts typing a filter."""
        if self.asked.page in {"list", "process"} and self.asked.tab != "heap":
            self.filter.text = self.asked.filtered
            self.filter.add_class("shown")
            self.hints.display = False
            self.filter.focus()

    def action_sort(self, by: int) -> None:
        """Sorts by the next column."""
        if self.shown is None:
            return
        keys = sort_keys(self.shown.table)
        if keys:
            at = keys.index(self.shown.table.sorted_by)
            self.ask(sort=keys[(at + by) % len(keys)])

    def action_group(self, by: int) -> None:
        """Groups by something else."""
        if self.asked.page == "list" and self.asked.only is None:
            found = BY[(BY.index(self.asked.by) + by) % len(BY)]
            self.engine.read_cgroups(found in READS)
            self.ask(by=found)

    def action_unit(self) -> None:
        """The next unit."""
        now = self.asked.unit or (UNIT_INSIDE if self.asked.page == "process" else UNIT)
        self.ask(unit=UNITS[(UNITS.index(now) + 1) % len(UNITS)])

    def action_read(self) -> None:
        """Reads the heap."""
        if self.asked.page == "process" and not isinstance(self.opened, ReplayedProcess):
            self.engine.read_heap()

    def action_choose(self, tab: str) -> None:
        """Shows a tab of the open process."""
        if self.asked.page == "process" and tab != self.asked.tab:
            self.ask(tab=tab, sort="", filtered="")

    def action_tab(self, by: int) -> None:
        """Shows the next tab."""
        self.action_choose(TABS[(TABS.index(self.asked.tab) + by) % len(TABS)])

    def action_open_selected(self) -> None:
        """Opens the selected row."""
        self.rows.action_open()

    # ---- time ----

    def ends(self) -> tuple[int, int]:
        """The numbers of the first and the last that are kept of what is shown."""
        if self.opened is not None:
            return self.opened.first, self.opened.end - 1
        return self.engine.frames.first, self.engine.frames.end - 1

    def action_pause(self) -> None:
        """Pauses, or goes on."""
        if self.asked.page == "help":
            return
        if isinstance(self.opened, ReplayedProcess):
            self.playing = not self.playing
            self.start_playing(self.opened)
            self.ask()
        elif self.asked.number is None:
            self.ask(number=self.ends()[1]) if self.ends()[1] >= 0 else None
        else:
            self.ask(number=None)

    def action_step(self, by: int) -> None:
        """Goes a step back or on, and pauses."""
        first, last = self.ends()
        if last < 0 or self.asked.page == "help":
            return
        self.playing = False
        number = last if self.asked.number is None else self.asked.number
        self.ask(number=max(first, min(number + by, last)))

    def action_first(self) -> None:
        """Goes to the first that is kept."""
        first, last = self.ends()
        if last >= 0:
            self.playing = False
            self.ask(number=first)

    def action_last(self) -> None:
        """Goes to the last one, and live."""
        self.playing = False
        replay = isinstance(self.opened, ReplayedProcess)
        self.ask(number=self.ends()[1] if replay else None)

    def action_speed(self, factor: float) -> None:
        """Plays faster or slower."""
        self.speed = max(SLOWEST, min(self.speed * factor, FASTEST))
        if isinstance(self.opened, ReplayedProcess):
            self.start_playing(self.opened)

    def start_playing(self, opened: ReplayedProcess) -> None:
        """Plays on from here."""
        if self.playing and self.asked.number == opened.end - 1:
            self.asked = self.asked._replace(number=0)
        self._played = opened.time_of(self.asked.number or 0) or 0.0
        self._played_at = time.monotonic()

    def play_on(self) -> None:
        """Shows what the recording has at the time that has passed."""
        if not isinstance(self.opened, ReplayedProcess):
            return
        passed = (time.monotonic() - self._played_at) * self.speed
        number = self.opened.number_at(self._played + passed)
        if number >= self.opened.end - 1:
            self.playing = False
        self.ask(number=number)


def run_screen(
    *,
    share: float,
    root: str = "/proc",
    max_stall: float | None = None,
    replay: Recording | None = None,
    unit: str = "",
    sort: str = "",
    by: str = "",
    pids: Collection[int] = (),
    colour: bool = True,
) -> int:
    """Shows the screen until the user quits.

    Args:
        share: the share of one CPU for reading and drawing.
        root: as for machine().
        max_stall: likewise.
        replay: a recording to show in place of live processes.
        unit: as of TopScreen.
        sort: likewise.
        by: likewise.
        pids: one process is opened, several are listed; none: all are listed.
        colour: whether colours are used.

    Returns:
        The exit status: 0, or 128 and the number of the signal that ended it.

    Raises:
        ProcmemError: what ended it.
    """
    # textual asks for nothing else.
    os.environ.pop("NO_COLOR", None)
    if not colour:
        os.environ["NO_COLOR"] = "1"
    engine = ScreenEngine(share=share, root=root, max_stall=max_stall, follows=replay is None)
    app = TopScreen(engine, replay=replay, unit=unit, sort=sort, by=by, pids=pids)
    app.run()
    if app.error is not None:
        raise app.error
    return app.return_code or 0
