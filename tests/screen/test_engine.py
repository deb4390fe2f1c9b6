"""What feeds the screen: one reading at a time, within a share of a CPU."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from procmem.screen.engine import OPENED_PART, ScreenEngine
from procmem.screen.opened import FollowedProcess
from procmem.system.following import MachineFollower
from tests.support.screens import PATIENCE, made_tree

if TYPE_CHECKING:
    from pathlib import Path

    from procmem.experiments import Specimen


def one_round(engine: ScreenEngine) -> None:
    rounds = engine.follower.rounds
    while engine.follower.rounds == rounds:
        engine.turn()


def test_a_round_is_kept_and_shown(tmp_path: Path) -> None:
    news: list[int] = []
    engine = ScreenEngine(root=str(made_tree(tmp_path / "proc", 5)), share=1.0, every=1e6)
    engine.changed = lambda: news.append(1)
    one_round(engine)
    assert engine.frames.end == 1
    assert engine.now is engine.frames.frame(0)
    assert news
    assert 0 < engine.turn() <= engine.follower.every


def test_after_the_first_round_it_waits_until_the_share_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ScreenEngine(root=str(made_tree(tmp_path / "proc", 5)), share=0.05, every=1e-9)
    monkeypatch.setattr(engine.allowance, "debt", lambda: 7.0)
    one_round(engine)  # whatever it costs
    assert engine.turn() == 7.0
    assert engine.follower.rounds == 1
    monkeypatch.setattr(engine.allowance, "debt", lambda: -1.0)
    one_round(engine)
    assert engine.follower.rounds == 2


def test_all_cpu_time_of_this_process_counts() -> None:
    engine = ScreenEngine(share=0.5)
    engine.allowance.restart()
    begun = time.process_time()
    worker = threading.Thread(target=lambda: sum(range(3_000_000)))
    worker.start()
    worker.join()
    assert engine.allowance.spent >= 0.9 * (time.process_time() - begun) > 0


def test_an_open_process_has_half_of_the_share(specimen: Specimen, tmp_path: Path) -> None:
    engine = ScreenEngine(share=0.2)
    opened = engine.open(specimen.pid, None, "?")
    assert opened.share == 0.2 * OPENED_PART
    engine.allowance.debt = lambda: 5.0  # type: ignore[method-assign]
    engine.turn()
    # The first snapshot does not wait. Others follow if the first round takes longer than 10 s.
    assert opened.end == 1
    while not engine.follower.rounds:
        engine.turn()
    assert engine.turn() == 5.0
    engine.leave()
    assert engine.opened is None
    engine.stop()
    opened.close()


def test_never_two_readings_at_a_time(
    tmp_path: Path, specimen: Specimen, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[str] = []
    most: list[int] = []
    names: set[str] = set()
    real_turn, real_read = MachineFollower.turn, FollowedProcess.turn

    def watched(real: object) -> object:
        def turn(self: object, *rest: object) -> float:
            inside.append("")
            most.append(len(inside))
            names.add(threading.current_thread().name)
            try:
                return real(self, *rest)  # type: ignore[operator,no-any-return]
            finally:
                inside.pop()

        return turn

    monkeypatch.setattr(MachineFollower, "turn", watched(real_turn))
    monkeypatch.setattr(FollowedProcess, "turn", watched(real_read))
    engine = ScreenEngine(share=1.0, every=0.001)
    engine.start()
    opened = engine.open(specimen.pid, None, "?")
    deadline = time.monotonic() + PATIENCE
    while engine.follower.rounds < 3 or not opened.end:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    heap = threading.Event()
    engine.read_heap()
    engine.build("after", heap.set, reads=True)
    assert heap.wait(PATIENCE)
    engine.stop()
    assert max(most) == 1
    assert names == {"procmem-read"}


def test_the_share_that_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = [100.0, 5.0]
    monkeypatch.setattr(time, "monotonic", lambda: clocks[0])
    monkeypatch.setattr(time, "process_time", lambda: clocks[1])
    engine = ScreenEngine(share=0.1)
    assert engine.used is None
    for _ in range(30):
        clocks[0] += 1
        clocks[1] += 0.25
        found = engine.used
    assert found == pytest.approx(0.25)


def test_a_tree_that_is_no_proc(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    engine = ScreenEngine(root=str(tmp_path), failed=failures.append)
    assert engine.turn() == float("inf")
    assert "no /proc tree" in str(failures[0])
    engine.turn()
    assert len(failures) == 1
