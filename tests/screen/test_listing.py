"""The rows of processes and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem.screen.listing import GroupRows, ProcessRows, identity, matches
from procmem.screen.tables import TextPiece
from procmem.system.following import MachineFollower
from tests.support.screens import made_process, made_tree

if TYPE_CHECKING:
    from pathlib import Path

    from procmem.system.following import MachineFrame


def frames_of(root: Path, *sizes: int) -> list[MachineFrame]:
    follower = MachineFollower(root=str(root), every=1e-9)
    found = []
    for rss in sizes:
        made_process(root, 20, "beta", rss, pss=1000)
        rounds = follower.rounds
        while follower.rounds == rounds:
            follower.turn()
        frame = follower.frame()
        assert frame is not None
        found.append(frame)
    return found


def test_a_row_has_the_figures(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc")
    made_process(root, 10, "alpha", 4096, pss=2048)
    rows = ProcessRows(frames_of(root, 8192, 9216), unit="KiB")
    assert [rows.process(row).name for row in range(len(rows))] == ["alpha", "beta"]
    texts = [cell.text if isinstance(cell, TextPiece) else cell for cell in rows.cells(1)]
    found = dict(zip([column.key for column in rows.columns], texts, strict=True))
    assert (found["pid"], found["rss"], found["pss"], found["uss"]) == ("20", "9216", "1000", "500")
    assert found["change"] == "+1M"
    assert found["trend"].endswith("▁█")
    assert "age" not in found
    assert rows.key(1) == identity(rows.process(1)) == (20, 1020)
    assert rows.series(rows.rows[0]) == [4096 << 10] * 2
    assert rows.change(rows.rows[0]) == 0


def test_processes_without_the_figure_are_in_the_order_of_rss(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc")
    follower = MachineFollower(root=str(root), max_stall=1e-9)
    for pid, rss in ((10, 500), (20, 900), (30, 700)):
        made_process(root, pid, "hidden", rss)
    while not follower.rounds:
        follower.turn()
    frame = follower.frame()
    assert frame is not None
    rows = ProcessRows([frame])
    assert [rows.process(row).pid for row in range(3)] == [20, 30, 10]


def test_old_figures_show_their_age(tmp_path: Path) -> None:
    (frame,) = frames_of(made_tree(tmp_path / "proc", 2), 400)
    later = frame._replace(at=frame.at + 42)
    rows = ProcessRows([later])
    place = [column.key for column in rows.columns].index("age")
    assert rows.cells(0)[place] == "42s"


def test_a_filter_and_a_choice(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc", 5)
    frames = frames_of(root, 400)
    process = frames[0].process(20, 1020)
    assert process is not None
    assert matches(process, "BET")
    assert matches(process, "20 ")
    assert not matches(process, "gamma")
    assert len(ProcessRows(frames, filtered="worker")) == 5
    assert len(ProcessRows(frames, only=frozenset({20, 101}))) == 2


def test_groups(tmp_path: Path) -> None:
    root = made_tree(tmp_path / "proc", 20)
    (frame,) = frames_of(root, 400)
    rows = GroupRows(frame.machine.groups("command"), "command", unit="KiB", sort="rss")
    assert len(rows) == 11
    assert rows.key(0) == rows.group(0).name == "worker9"
    cells = rows.cells(0)
    assert cells[0] == "2"
    assert cells[1] == str(4036 + 4076)
    assert len(GroupRows(frame.machine.groups("command"), "command", filtered="BETA")) == 1
