"""What is shown for what is asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from procmem import Process, Recording
from procmem.screen.engine import ScreenEngine
from procmem.screen.listing import ProcessRows
from procmem.screen.opened import FollowedProcess, ReplayedProcess
from procmem.screen.tables import TextPiece, TextRows
from procmem.screen.views import (
    TABS,
    AskedView,
    LastTable,
    Shown,
    list_view,
    memory_view,
    process_view,
    sort_keys,
)
from tests.support.screens import made_recording, made_tree

if TYPE_CHECKING:
    from pathlib import Path


def words(pieces: list[TextPiece]) -> str:
    return "".join(piece.text for piece in pieces)


def lines(shown: Shown) -> str:
    table = shown.table
    assert isinstance(table, TextRows)
    return "\n".join(line.text if isinstance(line, TextPiece) else line for line in table.lines)


def engine_of(root: Path) -> ScreenEngine:
    engine = ScreenEngine(root=str(root), share=1.0, every=60.0)
    while not engine.frames.end:
        engine.turn()
    return engine


def test_before_anything_was_read() -> None:
    shown = list_view(AskedView(), ScreenEngine())
    assert shown.number is None
    assert shown.message == "Reading ..."


def test_a_frame_that_is_no_longer_kept(tmp_path: Path) -> None:
    engine = engine_of(made_tree(tmp_path / "proc", 3))
    engine.frames.first = 5
    shown = list_view(AskedView(number=2), engine)
    assert (shown.number, shown.asked.number) == (5, 5)
    assert "PAUSED" in words(shown.state)


def test_how_old_figures_are(tmp_path: Path) -> None:
    engine = engine_of(made_tree(tmp_path / "proc", 3))
    assert engine.now is not None
    engine.now = engine.now._replace(at=engine.now.at - 9000)
    assert "oldest 2 h 30 min" in words(list_view(AskedView(), engine).state)


def test_what_has_not_changed_is_not_made_again(tmp_path: Path) -> None:
    engine, last = engine_of(made_tree(tmp_path / "proc", 3)), LastTable()
    table = list_view(AskedView(), engine, last).table
    assert list_view(AskedView(), engine, last).table is table
    assert list_view(AskedView(sort="rss"), engine, last).table is not table
    opened = ReplayedProcess(made_recording())
    table = process_view(AskedView(number=1), opened, engine, last).table
    assert process_view(AskedView(number=1), opened, engine, last).table is table
    assert process_view(AskedView(number=2), opened, engine, last).table is not table
    assert process_view(AskedView(number=2, tab="map"), opened, engine, last).table is not table


def test_the_memory_of_the_machine(tmp_path: Path) -> None:
    engine = engine_of(made_tree(tmp_path / "proc", 3))
    assert "MemTotal" in lines(memory_view(AskedView(), engine))
    assert sort_keys(memory_view(AskedView(), engine).table) == ()


def test_every_tab_of_a_snapshot_of_each_detail() -> None:
    engine = ScreenEngine()
    for detail in ("smaps", "residency", "maps"):
        opened = ReplayedProcess(Recording([Process().snapshot(detail)] * 2))
        for tab in TABS:
            shown = process_view(AskedView(number=1, tab=tab), opened, engine)
            assert shown.number == 1
            assert shown.asked.tab == tab
            assert shown.asked.unit == ""
            assert ("detail" in words(shown.state)) == (detail != "smaps")


def test_a_recording_without_a_heap_says_so() -> None:
    opened = ReplayedProcess(made_recording())
    assert "Not read with this snapshot" in lines(
        process_view(AskedView(number=1, tab="heap"), opened, ScreenEngine())
    )


def test_how_long_ago_a_process_was_checked() -> None:
    opened = FollowedProcess(1, None, "init")
    opened.kept.add(made_recording()[0])
    view = AskedView(page="process")
    opened.checked_at = time.monotonic() + 1000
    assert "checked" not in words(process_view(view, opened, ScreenEngine()).state)
    opened.checked_at = time.monotonic() - 9000
    assert "checked 2 h 30 min ago" in words(process_view(view, opened, ScreenEngine()).state)
    paused = view._replace(number=0)
    assert "checked" not in words(process_view(paused, opened, ScreenEngine()).state)


def test_a_process_that_was_not_opened_yet() -> None:
    opened = FollowedProcess(1, None, "init")
    shown = process_view(AskedView(), opened, ScreenEngine())
    assert shown.message == "Reading ..."
    opened.failed = "process 1: Permission denied"
    opened.totals = Process().memory()
    text = lines(process_view(AskedView(width=60, unit="B"), opened, ScreenEngine()))
    assert "Permission denied" in text
    assert str(opened.totals.rss) in text


def test_what_can_be_sorted_by(tmp_path: Path) -> None:
    engine = engine_of(made_tree(tmp_path / "proc", 3))
    shown = list_view(AskedView(), engine)
    assert isinstance(shown.table, ProcessRows)
    for key in sort_keys(shown.table):
        assert list_view(AskedView(sort=key), engine).table.sorted_by == key
    for by in ("command", "user", "cgroup", "service", "tree"):
        grouped = list_view(AskedView(by=by), engine)
        for key in sort_keys(grouped.table):
            assert list_view(AskedView(by=by, sort=key), engine).table.sorted_by == key
    opened = ReplayedProcess(made_recording())
    for tab in ("uses", "map"):
        for key in sort_keys(process_view(AskedView(number=0, tab=tab), opened, engine).table):
            found = process_view(AskedView(number=0, tab=tab, sort=key), opened, engine)
            assert found.table.sorted_by == key
