"""Trees like /proc, recordings made by hand, and what the live screen shows of them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING

from procmem import Recording, Snapshot, parse_smaps
from procmem.procfs.totals import Faults, MemoryUsage
from procmem.screen.app import TopScreen
from procmem.screen.engine import ScreenEngine
from procmem.screen.views import READING
from procmem.snapshots.moment import Clock, Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path
    from typing import Any

    from textual.pilot import Pilot

__all__ = [
    "MEMINFO",
    "another_round",
    "made_process",
    "made_recording",
    "made_smaps",
    "made_tree",
    "opened_screen",
    "plain",
    "text_of",
    "until",
]

PATIENCE = 300.0
"""Seconds that a condition may take on a machine with much other work."""

MEMINFO = """\
MemTotal:        8388608 kB
MemFree:         2097152 kB
Buffers:           65536 kB
Cached:          3145728 kB
AnonPages:          4096 kB
Mapped:             4096 kB
SReclaimable:     131072 kB
SUnreclaim:        65536 kB
PageTables:        16384 kB
KernelStack:        8192 kB
VmallocUsed:       16384 kB
Percpu:             4096 kB
"""


def made_process(
    root: Path,
    pid: int,
    comm: str,
    rss: int,
    *,
    pss: int | None = None,
    ppid: int = 1,
    words: Iterable[str] = (),
    group: str = "/user.slice",
) -> None:
    """Writes the files of a process; sizes in KiB. Without pss only its RSS can be read."""
    place = root / str(pid)
    place.mkdir(parents=True, exist_ok=True)
    rest = " ".join(["0"] * 17)
    (place / "stat").write_text(f"{pid} ({comm}) S {ppid} {rest} {1000 + pid} 0 0\n")
    (place / "statm").write_text(f"{rss} {rss // 4} 0 0 0 0 0\n")
    (place / "cmdline").write_text("".join(f"{word}\0" for word in words or [comm]))
    (place / "cgroup").write_text(f"0::{group}\n")
    rollup = place / "smaps_rollup"
    if pss is None:
        # It is left out by max_stall, if it has more than 40 GiB.
        rollup.unlink(missing_ok=True)
        return
    own = pss // 2
    sizes = {
        "Rss": rss, "Pss": pss, "Pss_Anon": own, "Pss_File": pss - own, "Pss_Shmem": 0,
        "Shared_Clean": rss - own, "Shared_Dirty": 0, "Private_Clean": 0, "Private_Dirty": own,
        "Anonymous": own, "AnonHugePages": 0, "ShmemPmdMapped": 0, "FilePmdMapped": 0,
        "Swap": 0, "SwapPss": 0,
    }  # fmt: skip
    lines = "".join(f"{name + ':':<16}{size:>8} kB\n" for name, size in sizes.items())
    # It is replaced as a whole: the screen may be reading it.
    new = place / "new"
    new.write_text(f"00400000-7fff0000 ---p 00000000 00:00 0    [rollup]\n{lines}")
    new.rename(rollup)


def made_tree(root: Path, count: int = 0) -> Path:
    """A directory like /proc, with so many processes of known sizes."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "meminfo").write_text(MEMINFO)
    for number in range(count):
        pid = 100 + number
        made_process(root, pid, f"worker{number % 10}", 4000 + 4 * number, pss=2000 + 2 * number)
    return root


def made_smaps(count: int, grown: int = 0, start: int = 0x7F0000000000) -> bytes:
    """A text of smaps of so many regions of 8 pages, of which the first have grown."""
    lines = []
    for number in range(count):
        at = start + number * 0x10000
        rss = 4 * (1 + number % 8) if number >= grown else 32
        lines.append(
            f"{at:x}-{at + 0x8000:x} rw-p 00000000 00:00 0 \n"
            f"Size:                 32 kB\nRss:                {rss:4} kB\n"
            f"Pss:                {rss:4} kB\nPrivate_Clean:         0 kB\n"
            f"Private_Dirty:      {rss:4} kB\nSwap:                  0 kB\n"
        )
    return "".join(lines).encode()


def made_recording(count: int = 6, snapshots: int = 5, name: str = "worker") -> Recording:
    """Snapshots of a process of so many regions, one a second; one more region grows in each."""
    found = []
    for number in range(snapshots):
        table = parse_smaps(made_smaps(count, number))
        rss, size = table.total("rss"), table.total("size")
        memory = MemoryUsage(**{**dict.fromkeys(MemoryUsage._fields, 0), "vsz": size, "rss": rss})
        nanoseconds = number * 1_000_000_000
        found.append(
            Snapshot(
                table,
                memory=memory,
                faults=Faults(10 * number, 0),
                threads=(),
                clock=Clock(1_700_000_000_000_000_000 + nanoseconds, nanoseconds, nanoseconds),
                identity=Identity(4711, 1, "boot", name, "/bin/worker", ("worker",)),
                source="made",
            )
        )
    return Recording(found, "the process has ended")


async def until(pilot: Pilot[int], condition: Callable[[], Any]) -> None:
    """Lets the screen work until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, plain(text_of(pilot.app))
        if pilot.app._exception is not None:
            raise pilot.app._exception
        if isinstance(pilot.app, TopScreen) and pilot.app.error is not None:
            assert condition(), pilot.app.error
            return
        await pilot.pause()
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def opened_screen(
    *, size: tuple[int, int] = (80, 24), root: Path | None = None, **options: Any
) -> AsyncIterator[tuple[TopScreen, Pilot[int]]]:
    """The screen, when it shows its first rows. One round is read; see another_round()."""
    follows = options.get("replay") is None
    engine = ScreenEngine(
        share=1.0, root=str(root or "/proc"), every=1e6, max_stall=1.0, follows=follows
    )
    app = TopScreen(engine, **options)
    try:
        async with app.run_test(size=size) as pilot:
            # The first round is not shown in part.
            await until(pilot, lambda: engine.frames.end or not engine.follows)
            app.ask()
            await until(pilot, lambda: settled(app))
            yield app, pilot
    finally:
        # The screen does not wait for a long reading; the next test would have its thread, too.
        engine.stop()


async def another_round(app: TopScreen, pilot: Pilot[int]) -> None:
    """Has all processes read once more, and waits until that is drawn."""
    before = app.engine.frames.end
    app.engine.follower._began = float("-inf")
    app.engine.build("round", lambda: None, reads=True)
    await until(pilot, lambda: app.engine.frames.end > before)
    app.ask()
    await until(pilot, lambda: settled(app))


def settled(app: TopScreen) -> bool:
    """Whether what was asked for last is drawn."""
    return app.shown is not None and app.drawn == app.serial and app.shown.message != READING


def text_of(app: Any) -> str:
    """The screen as text."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


def plain(text: str) -> str:
    """A text of the screen in which what differs from run to run is the same."""
    text = re.sub(r"\d\d:\d\d:\d\d", "hh:mm:ss", text)
    return re.sub(r"CPU ([\d.]+ of )?", "CPU ", text)
