"""The thread that does jobs."""

from __future__ import annotations

import threading

from procmem.screen.work import ScreenWorker

PATIENCE = 300.0


def test_of_jobs_of_one_name_only_the_newest_is_done() -> None:
    done: list[str] = []
    begun, go = threading.Event(), threading.Event()
    ended = threading.Event()
    worker = ScreenWorker("test", lambda _error: None)

    def first() -> None:
        begun.set()
        assert go.wait(PATIENCE)
        done.append("first")

    worker.submit("a", first)
    worker.start()
    assert begun.wait(PATIENCE)
    for word in ("old", "new"):
        worker.submit("a", lambda word=word: done.append(word))  # type: ignore[misc]
    worker.submit("b", ended.set)
    go.set()
    assert ended.wait(PATIENCE)
    worker.stop()
    assert done == ["first", "new"]


def test_it_idles_between_jobs() -> None:
    idles, twice = [], threading.Event()

    def idle() -> float:
        idles.append(0)
        if len(idles) == 3:
            twice.set()
        return 0.0 if len(idles) < 3 else float("inf")

    worker = ScreenWorker("test", lambda _error: None, idle)
    worker.start()
    assert twice.wait(PATIENCE)
    before, again = len(idles), threading.Event()
    worker.submit("a", again.set)
    assert again.wait(PATIENCE)
    worker.stop()
    assert len(idles) >= before


def test_an_error_is_handed_on() -> None:
    failures: list[BaseException] = []
    failed = threading.Event()

    def fail(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    worker = ScreenWorker("test", fail)
    worker.submit("a", lambda: 1 // 0)
    worker.start()
    assert failed.wait(PATIENCE)
    worker.stop()
    assert isinstance(failures[0], ZeroDivisionError)
