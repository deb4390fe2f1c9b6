"""The live screen: frames of many rows against frames of few, and whether its share is kept."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.compare import Row, compare, timed
from procmem.screen.app import TopScreen
from procmem.screen.engine import ScreenEngine
from tests.support.screens import made_recording, settled, until
from tests.support.terminals import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["screens"]

MANY, FEW = 30_000, 300
"""Regions of a process."""

SHARE = 0.05
SECONDS = 30.0


@contextmanager
def frame_of(regions: int) -> Iterator[Callable[[], None]]:
    """Draws the map of a process with so many regions, four times at other places."""
    loop = asyncio.new_event_loop()
    app = TopScreen(ScreenEngine(share=1.0, follows=False), replay=made_recording(regions, 1))
    asked: asyncio.Queue[bool] = asyncio.Queue()
    done: asyncio.Queue[bool] = asyncio.Queue()

    async def work() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("2")
            await until(pilot, lambda: settled(app))
            assert len(app.rows.table) == 2 * regions - 1
            await done.put(True)
            while await asked.get():
                draw(app)
                await done.put(True)

    async def once() -> None:
        await asked.put(True)
        await done.get()

    working = loop.create_task(work())
    loop.run_until_complete(done.get())
    try:
        yield lambda: loop.run_until_complete(once())
    finally:
        asked.put_nowait(False)
        loop.run_until_complete(working)
        loop.close()


def draw(app: TopScreen) -> None:
    rows = app.rows
    for move, by in (
        (rows.action_page, 1),
        (rows.action_edge, 1),
        (rows.action_move, -1),
        (rows.action_edge, 0),
    ):
        move(by)
        app.screen._compositor.render_strips()


def screens(effort: Effort) -> Iterator[Row]:
    """A frame with 30,000 regions costs as much as one with 300; the share is kept."""
    full = effort.budget > 0
    many = MANY if full else 3000
    with frame_of(many) as large, frame_of(FEW) as small:
        samples = {
            f"4 frames, {many:,} regions": timed(large, effort),
            f"4 frames, {FEW} regions": timed(small, effort),
        }
        measured = compare("screen", many, samples, effort)
    large_map, small_map = samples
    yield measured.row(large_map, small_map, 1.2)
    yield kept_share(SECONDS if full else 3.0)


def kept_share(seconds: float) -> Row:
    """The CPU time of `procmem top` on a terminal, from when it shows its first rows."""
    with terminal("top", "--share", str(SHARE)) as screen:
        screen.read_until(b"live")
        begun, before = time.monotonic(), cpu_time(screen.process.pid)
        while time.monotonic() < begun + seconds:
            screen.read()
        used, passed = cpu_time(screen.process.pid) - before, time.monotonic() - begun
        screen.press(b"q")
        assert screen.end() == 0
    allowed = SHARE * passed
    ratio = used / allowed
    what = f"procmem top, {passed:.0f} s"
    return Row(
        "screen", None, what, f"{100 * SHARE:g} % of a CPU", "s", used, allowed,
        ratio, ratio, ratio, 1, 1.1 if seconds == SECONDS else None,
    )  # fmt: skip


def cpu_time(pid: int) -> float:
    """Seconds that a process has used."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
