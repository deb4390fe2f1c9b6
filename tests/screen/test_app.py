"""The live screen: each key, the mouse, filters, groups, replay, processes that end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from textual.events import MouseScrollDown

from procmem.experiments import Specimen
from procmem.screen.app import TopScreen
from procmem.screen.engine import ScreenEngine
from procmem.screen.inside import MapRows, ThreadRows, UseRows
from procmem.screen.listing import GroupRows, ProcessRows
from procmem.screen.tables import TextRows
from procmem.screen.views import TABS
from procmem.units import in_unit
from tests.support.goldens import same_as_golden
from tests.support.screens import (
    another_round,
    made_process,
    made_recording,
    made_tree,
    opened_screen,
    plain,
    settled,
    text_of,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from textual.pilot import Pilot


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def press(app: TopScreen, pilot: Pilot[int], *keys: str) -> None:
    """Presses keys, and waits until the screen shows what they asked for."""
    for key in keys:
        await pilot.press(key)
        await until(pilot, lambda: settled(app))


def names(app: TopScreen) -> list[str]:
    """The names of the processes or groups that are listed, in their order."""
    assert app.shown is not None
    table = app.shown.table
    if isinstance(table, ProcessRows):
        return [table.process(row).name for row in range(len(table))]
    assert isinstance(table, GroupRows)
    return [table.group(row).name for row in range(len(table))]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Four processes, one of which can't be read."""
    root = made_tree(tmp_path / "proc")
    made_process(root, 10, "alpha", 4000, pss=3000)
    made_process(root, 20, "beta", 9000, pss=1000, ppid=10)
    made_process(root, 30, "alpha", 2000, pss=2000, group="/system.slice/web.service")
    made_process(root, 40, "python3", 48 << 20, words=["python3", "/srv/hidden.py"])
    return root


# ---- the processes ----


def test_the_processes_by_pss(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, _):
            assert names(app) == ["alpha", "alpha", "beta", "hidden.py"]
            text = text_of(app)
            assert "4 processes" in text
            assert "1 not read (m)" in text
            assert "live" in text
            (line,) = [line for line in text.splitlines() if " beta" in line]
            assert line.split()[:4] == ["20", "8.8", "1.0", "0.5"]

    run(work())


@pytest.mark.parametrize(
    "key, order",
    [
        ("rss", [40, 20, 10, 30]),
        ("uss", [10, 30, 20, 40]),
        ("pid", [10, 20, 30, 40]),
        ("name", [10, 30, 20, 40]),
    ],
)
def test_every_column_can_be_sorted_by(tree: Path, key: str, order: list[int]) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            while tab_of(app).sorted_by != key:
                await press(app, pilot, "s")
            table = tab_of(app)
            assert isinstance(table, ProcessRows)
            assert [table.process(row).pid for row in range(len(table))] == order
            await press(app, pilot, "S", "s")
            assert tab_of(app).sorted_by == key

    run(work())


def test_a_click_on_a_title_sorts(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            heading = text_of(app).splitlines()[2]
            await pilot.click("ScreenHead", offset=(heading.index("RSS"), 2))
            await until(pilot, lambda: app.asked.sort == "rss" and settled(app))
            assert names(app)[0] == "hidden.py"

    run(work())


def test_a_filter(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            await press(app, pilot, "slash", "S", "R", "V")
            await until(pilot, lambda: names(app) == ["hidden.py"])
            assert "Filter: SRV" in text_of(app)
            await press(app, pilot, "backspace", "ctrl+u", "2", "0", "enter")
            await until(pilot, lambda: names(app) == ["beta"])
            assert "Filter:" not in text_of(app)
            await press(app, pilot, "slash", "q", "q")
            await until(pilot, lambda: "No process has that" in text_of(app))
            await press(app, pilot, "escape")
            await until(pilot, lambda: len(names(app)) == 4)
            await press(app, pilot, "slash", "b", "e", "enter", "escape")
            await until(pilot, lambda: len(names(app)) == 4)
            # Letters of commands are letters here.
            assert app.is_running

    run(work())


def test_groups(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            await press(app, pilot, "g")
            await until(pilot, lambda: app.asked.by == "command" and settled(app))
            assert names(app) == ["alpha", "beta", "hidden.py"]
            assert [line for line in text_of(app).splitlines() if "  4.9 " in line]
            for by in ("user", "cgroup", "service", "tree"):
                await press(app, pilot, "g")
                assert app.asked.by == by
                found = names(app)
                if by == "cgroup":
                    assert found == ["/user.slice", "/system.slice/web.service"]
                if by == "service":
                    assert found == ["(no unit or container)", "web.service"]
                if by == "tree":
                    assert found[0] == "alpha (10)"
            await press(app, pilot, "G", "enter")
            assert app.asked.only is not None
            assert app.asked.only[0] == "(no unit or container)"
            assert len(names(app)) == 3
            await press(app, pilot, "escape")
            assert app.asked.by == "service"

    run(work())


def test_moving(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc", 60)

    async def work() -> None:
        async with opened_screen(root=root) as (app, pilot):
            rows = app.rows
            for key, cursor in [
                ("down", 1), ("j", 2), ("k", 1), ("up", 0), ("up", 0), ("end", 59), ("home", 0),
            ]:  # fmt: skip
                await press(app, pilot, key)
                assert rows.cursor == cursor
            await press(app, pilot, "pagedown", "pagedown")
            assert rows.cursor == 2 * (rows.size.height - 1)
            assert rows.scroll_offset.y > 0
            assert text_of(app).count("worker") == rows.size.height
            await press(app, pilot, "pageup", "pageup")
            assert rows.cursor == 0
            await pilot.click("ScreenRows", offset=(3, 4))
            await until(pilot, lambda: rows.cursor == 4)

    run(work())


def test_the_selected_process_stays_selected(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            await press(app, pilot, "end", "up")  # beta
            before = tab_of(app).key(app.rows.cursor)
            made_process(tree, 20, "beta", 9000, pss=8000, ppid=10)
            await another_round(app, pilot)
            assert names(app)[0] == "beta"
            assert app.rows.cursor == 0
            assert tab_of(app).key(0) == before

    run(work())


def test_pause_and_step_back(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            made_process(tree, 20, "beta", 9000, pss=8000, ppid=10)
            await another_round(app, pilot)
            assert names(app)[0] == "beta"
            await press(app, pilot, "space")
            assert "PAUSED" in text_of(app)
            made_process(tree, 20, "beta", 9000, pss=20, ppid=10)
            await another_round(app, pilot)
            assert names(app)[0] == "beta"
            assert "2 of 3 kept" in text_of(app)
            await press(app, pilot, "left_square_bracket")
            assert names(app)[0] == "alpha"
            assert "1 of 3 kept" in text_of(app)
            await press(app, pilot, "right")
            assert names(app)[0] == "beta"
            await press(app, pilot, "left", "left")
            assert names(app)[0] == "alpha"
            await press(app, pilot, "space")
            assert app.asked.number is None
            assert names(app)[-2] == "beta"
            await press(app, pilot, "left")
            assert "PAUSED" in text_of(app)
            await press(app, pilot, "right_square_bracket")
            assert app.asked.number is None

    run(work())


def test_a_trend_is_what_was_read(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            for rss in (13500, 18000):
                made_process(tree, 20, "beta", rss, pss=1000, ppid=10)
                await another_round(app, pilot)
            (line,) = [line for line in text_of(app).splitlines() if " beta" in line]
            assert "▁▄█" in line
            assert "+8.8" in line

    run(work())


def test_what_the_memory_is_used_for(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            await press(app, pilot, "m")
            await until(pilot, lambda: "in all" in text_of(app) or "MemTotal" in text_of(app))
            await press(app, pilot, "end")
            await until(pilot, lambda: "40 (hidden.py)" in text_of(app))
            await press(app, pilot, "m")
            assert len(names(app)) == 4

    run(work())


def test_units(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            for unit in ("GiB", "human", "KiB", "B", "MiB"):
                await press(app, pilot, "u")
                assert app.asked.unit == unit
                assert in_unit(unit)(9000 << 10) in text_of(app)

    run(work())


@pytest.mark.parametrize("key", ["question_mark", "h", "f1"])
def test_help(tree: Path, key: str) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            await press(app, pilot, key)
            assert "open the selected process" in text_of(app)
            await press(app, pilot, "end")
            assert "not shown to this user" in text_of(app)
            await press(app, pilot, "q")
            assert len(names(app)) == 4
            assert app.is_running

    run(work())


def test_hints_can_be_clicked(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            line = text_of(app).splitlines()[-1]
            await pilot.click("HintLine", offset=(line.index("group"), 0))
            await until(pilot, lambda: app.asked.by == "command" and settled(app))

    run(work())


@pytest.mark.parametrize("key, status", [("q", 0), ("ctrl+c", 130)])
def test_quitting(tree: Path, key: str, status: int) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            await pilot.press(key)
            await until(pilot, lambda: not app.is_running)
            assert app.return_code == status

    run(work())


def test_hostile_names_are_text(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc")
    made_process(root, 10, "\x1b[2J[red]x[/]", 4000, pss=3000)
    made_process(root, 20, "日本語" * 2, 4000, pss=2000)
    made_process(root, 30, "python3", 4000, pss=1000, words=["python3", "/\u202e[/bold]\x07.py"])

    async def work() -> None:
        async with opened_screen(root=root, size=(160, 24)) as (app, pilot):
            text = text_of(app)
            assert "\\x1b[2J[red]x[/]" in text
            assert "日本語" in text
            assert "\\u202e[/bold]\\x07.py" in text
            assert "\x1b" not in text
            assert "\x07" not in text
            await press(app, pilot, "g", "enter")
            assert "\\x1b[2J[red]x[/]" in text_of(app)

    run(work())


@pytest.mark.parametrize("size", [(80, 24), (60, 12), (20, 5), (20, 2), (5, 1), (200, 50)])
def test_every_view_at_every_size(tree: Path, size: tuple[int, int]) -> None:
    async def work() -> None:
        async with opened_screen(root=tree, size=size) as (app, pilot):
            await press(app, pilot, "g", "g", "G", "G", "m", "m", "question_mark", "escape")
            await press(app, pilot, "s", "down", "end", "slash", "a", "escape")
            assert app._exception is None
        async with opened_screen(replay=made_recording(), size=size) as (app, pilot):
            await press(app, pilot, "tab", "tab", "tab", "tab", "tab", "right", "end", "slash", "x")
            await press(app, pilot, "escape")
            await pilot.resize_terminal(100, 30)
            await until(pilot, lambda: app.asked.width == 99 and settled(app))
            await pilot.resize_terminal(1, 1)
            await until(pilot, lambda: app.asked.width == 1 and settled(app))
            assert app._exception is None

    run(work())


# ---- one process ----


def tab_of(app: TopScreen) -> Any:
    assert app.shown is not None
    return app.shown.table


def test_a_process_is_opened(specimen: Specimen) -> None:
    area = specimen.mmap(pages=300).mapping
    assert area is not None
    specimen.touch(area)

    async def work() -> None:
        async with opened_screen(pids={specimen.pid}, unit="KiB") as (app, pilot):
            await until(pilot, lambda: isinstance(tab_of(app), UseRows))
            snapshot = app.engine.opened.read(0)  # type: ignore[union-attr]
            assert snapshot.identity.pid == specimen.pid
            shown = {one.word: one for one in tab_of(app).sums}
            assert sum(one.rss for one in shown.values()) == snapshot.rss
            (line,) = [line for line in text_of(app).splitlines() if line.endswith(" anon")]
            assert line.split()[3] == str(shown["anon"].rss >> 10)
            await press(app, pilot, "2")
            await until(pilot, lambda: isinstance(tab_of(app), MapRows))
            assert f"{area.start:x}" in [
                tab_of(app).cells(row)[1] for row in range(len(tab_of(app)))
            ]
            await press(app, pilot, "slash", *f"{area.start + 4096:x}", "enter")
            await until(pilot, lambda: len(tab_of(app)) == 1)
            assert "1200" in text_of(app)
            await press(app, pilot, "4")
            await until(pilot, lambda: isinstance(tab_of(app), ThreadRows))
            assert str(specimen.pid) in text_of(app)
            await press(app, pilot, "5", "R")
            await until(pilot, lambda: "In full" in text_of(app) or "can't" in text_of(app))

    run(work())


def test_changes_with_causes_as_they_happen(specimen: Specimen) -> None:
    async def work() -> None:
        async with opened_screen(pids={specimen.pid}) as (app, pilot):
            await press(app, pilot, "3")
            await until(pilot, lambda: "the first snapshot" in text_of(app))
            specimen.mmap(pages=123)
            await until(pilot, lambda: "+492 KiB: anonymous memory was mapped" in text_of(app))
            number = app.engine.opened.end - 1  # type: ignore[union-attr]
            area = specimen.mmap(pages=10).mapping
            assert area is not None
            specimen.touch(area, pages=1)  # of more pages a snapshot may show a part
            await until(pilot, lambda: "RSS +4 KiB" in text_of(app))
            await press(app, pilot, "space")
            while app.asked.number is not None and app.asked.number > number:
                await press(app, pilot, "left")
            assert "RSS +4 KiB" not in text_of(app)
            assert "+492 KiB" in text_of(app)

    run(work())


def test_a_process_that_ends_while_it_is_open() -> None:
    specimen = Specimen()

    async def work() -> None:
        async with opened_screen(pids={specimen.pid}) as (app, pilot):
            await until(pilot, lambda: isinstance(tab_of(app), UseRows))
            specimen.close()
            await until(pilot, lambda: "ended" in text_of(app))
            assert isinstance(tab_of(app), UseRows)
            assert len(tab_of(app))
            await press(app, pilot, "escape")
            await until(pilot, lambda: isinstance(tab_of(app), ProcessRows))

    run(work())


def test_a_process_that_has_ended(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            app.open_process(4_000_000, 1, "gone")
            await until(pilot, lambda: "It can't be read" in text_of(app))
            await press_any(pilot, "escape")
            await until(pilot, lambda: isinstance(tab_of(app), ProcessRows))

    run(work())


async def press_any(pilot: Pilot[int], key: str) -> None:
    await pilot.press(key)


def test_enter_opens_the_selected_process_and_use(specimen: Specimen) -> None:
    async def work() -> None:
        async with opened_screen() as (app, pilot):
            await press(app, pilot, "slash", *str(specimen.pid), "enter")
            await until(pilot, lambda: settled(app) and isinstance(tab_of(app), ProcessRows))
            at = next(
                row
                for row in range(len(tab_of(app)))
                if tab_of(app).process(row).pid == specimen.pid
            )
            app.rows.select(at)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(tab_of(app), UseRows))
            assert app.opened is not None
            assert app.opened.pid == specimen.pid
            word = tab_of(app).use(app.rows.cursor).word
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(tab_of(app), MapRows))
            assert app.asked.filtered == word
            assert len(tab_of(app))
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(tab_of(app), UseRows))

    run(work())


# ---- replay ----


def test_the_figures_of_a_replay_are_those_of_the_recording() -> None:
    recording = made_recording(10, 5)

    async def work() -> None:
        async with opened_screen(replay=recording, unit="KiB", size=(160, 24)) as (app, pilot):
            for number, snapshot in enumerate(recording):
                assert app.shown is not None
                assert app.shown.number == number
                text = text_of(app)
                assert f"RSS {(snapshot.rss or 0) >> 10} " in text
                assert f"VSZ {snapshot.vsz >> 10} " in text
                assert f"{number}.0 s, {number + 1} of 5" in text
                (line,) = [line for line in text.splitlines() if line.endswith(" anon")]
                total = snapshot.regions.total
                assert line.split()[1:6] == [
                    "10", *(str((total(name) or 0) >> 10) for name in ("size", "rss", "pss", "uss"))
                ]  # fmt: skip
                await press(app, pilot, "2")
                for row, region in enumerate(snapshot.regions):
                    cells = [
                        cell
                        for cell in tab_of(app).cells(row + row)
                        if isinstance(cell, str) and cell
                    ]
                    assert f"{region.start:x}" in cells or "not mapped" in str(cells)
                await press(app, pilot, "1", "right")
            assert "the process has ended" in text_of(app)
            await press(app, pilot, "3")
            assert "+4 KiB" in text_of(app) or "RSS +" in text_of(app)
            await press(app, pilot, "left_square_bracket")
            assert app.asked.number == 0
            await press(app, pilot, "right_square_bracket")
            assert app.asked.number == 4

    run(work())


def test_a_click_on_a_tab_opens_it_and_the_wheel_scrolls() -> None:
    async def work() -> None:
        async with opened_screen(replay=made_recording(60, 2)) as (app, pilot):
            line = text_of(app).splitlines()[2]
            await pilot.click("ScreenHead", offset=(line.index("map"), 2))
            await until(pilot, lambda: isinstance(tab_of(app), MapRows) and settled(app))
            app.rows.post_message(
                MouseScrollDown(app.rows, 5, 5, 0, 1, 0, shift=False, meta=False, ctrl=False)
            )
            await until(pilot, lambda: app.rows.scroll_offset.y > 0)

    run(work())


def test_a_replay_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with opened_screen(replay=made_recording(3, 5)) as (app, pilot):
            await press(app, pilot, *["plus"] * 7)
            assert app.speed == 128
            await press(app, pilot, "space")
            await until(pilot, lambda: app.asked.number == 4 and settled(app) and not app.playing)
            await press(app, pilot, "minus", "space", "space", "left")
            assert not app.playing
            assert app.speed == 64

    run(work())


# ---- how much is drawn ----


def test_thirty_thousand_regions_draw_no_more_rows_than_three_hundred() -> None:
    made = {}
    for count in (300, 30_000):
        recording = made_recording(count, 2)

        async def work(recording: Any = recording, count: int = count) -> None:
            async with opened_screen(replay=recording) as (app, pilot):
                await press(app, pilot, "2")
                await until(pilot, lambda: isinstance(tab_of(app), MapRows))
                assert len(tab_of(app)) == 2 * count - 1
                await pilot.pause()
                before = app.rows.made
                for key in ("end", "home", "pagedown", "down", "right", "left"):
                    await press(app, pilot, key)
                await pilot.pause()
                made[count] = app.rows.made - before
                assert made[count] <= 12 * app.rows.size.height + 50

        run(work())
    assert made[30_000] <= made[300] + 60


def test_a_thousand_processes_draw_what_the_screen_shows(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc", 1000)

    async def work() -> None:
        async with opened_screen(root=root) as (app, pilot):
            assert len(tab_of(app)) == 1000
            await pilot.pause()
            before = app.rows.made
            await press(app, pilot, "end", "home", "s")
            await pilot.pause()
            assert app.rows.made - before <= 8 * app.rows.size.height

    run(work())


# ---- as it looks ----


VIEWS: dict[str, tuple[Callable[[Path], dict[str, Any]], tuple[str, ...]]] = {
    "processes": (lambda root: {"root": root}, ()),
    "groups": (lambda root: {"root": root}, ("g",)),
    "memory": (lambda root: {"root": root}, ("m",)),
    "help": (lambda root: {"root": root}, ("question_mark",)),
    **{
        tab: (lambda _: {"replay": made_recording(30, 5)}, ("right", str(place)))
        for place, tab in enumerate(TABS, 1)
    },
}


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("view", VIEWS)
def test_goldens(tmp_path: Path, view: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("procmem.system.processes.user_name", lambda _uid: "ann")
    root = made_tree(tmp_path / "proc", 40)
    made_process(root, 40, "python3", 48 << 20, words=["python3", "/srv/hidden.py"])
    options, keys = VIEWS[view]

    async def work() -> None:
        async with opened_screen(size=(width, 24), **options(root)) as (app, pilot):
            await press(app, pilot, *keys)
            await pilot.pause()
            same_as_golden(f"screen/{view}-{width}.txt", plain(text_of(app)))

    run(work())


# ---- errors ----


def test_a_tree_that_is_no_proc(tmp_path: Path) -> None:
    engine = ScreenEngine(share=1.0, root=str(tmp_path))
    app = TopScreen(engine)

    async def work() -> None:
        async with app.run_test() as pilot:
            await until(pilot, lambda: not app.is_running)

    run(work())
    assert app.return_code == 1
    assert "no /proc tree" in str(app.error)


@pytest.mark.parametrize("thread", ["read", "build"])
def test_an_error_of_a_thread_ends_the_screen(
    tree: Path, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            app.engine.build("bad", lambda: 1 // 0, reads=thread == "read")
            await until(pilot, lambda: not app.is_running)
            assert isinstance(app.error, ZeroDivisionError)
            assert app.return_code == 1

    run(work())


def test_text_rows_are_not_selected(tree: Path) -> None:
    async def work() -> None:
        async with opened_screen(root=tree) as (app, pilot):
            await press(app, pilot, "question_mark", "enter", "down")
            assert isinstance(tab_of(app), TextRows)
            assert app.rows.cursor == 0

    run(work())
