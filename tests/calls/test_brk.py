"""The program break."""

from __future__ import annotations

import errno
from typing import Any

import pytest

import procmem
from procmem import (
    Unsupported,
    calls,
)
from tests.support.calls import alone
from tests.support.targets import PAGE, machine


def test_the_break_is_read() -> None:
    now = calls.sbrk()
    assert now == calls.sbrk(0) == calls.bracket(calls.sbrk).result
    calls.brk(now)
    for region in procmem.Process().maps():
        if region.pathname == "[heap]":
            assert region.start <= now <= region.end


@pytest.mark.parametrize(
    "move, word",
    [
        (lambda now: calls.sbrk(PAGE), "same bytes"),
        (lambda now: calls.sbrk(-PAGE), "crash"),
        (lambda now: calls.brk(now + 1), "same bytes"),
        (lambda now: calls.brk(0), "crash"),
        (lambda now: calls.brk(now - PAGE), "crash"),
    ],
)
def test_the_break_is_not_moved(move: Any, word: str) -> None:
    now = calls.sbrk()
    with pytest.raises(Unsupported, match=word) as caught:
        move(now)
    assert "Specimen" in str(caught.value)
    assert calls.sbrk() == now


def test_there_and_back() -> None:
    machine.exact_rss_or_skip()
    said = alone(
        """
        import gc
        blocks, wrong = [], []
        start = calls.sbrk()
        for turn in range(200):
            pages = turn % 30 + 1
            touched = turn % (pages + 1)
            trip = calls.brk_trip(pages, touched)
            assert trip.exact
            steps = [(b.vsz - a.vsz, b.rss - a.rss) for a, b in zip(trip, trip[1:4])]
            expected = [(pages * PAGE, 0), (0, touched * PAGE), (-pages * PAGE, -touched * PAGE)]
            if steps != expected or (trip.minor, trip.major) != (touched, 0):
                wrong.append([turn, steps, trip.minor])
            # malloc goes on as before, from the heap and by mmap.
            blocks.append(bytearray(os.urandom(turn * 997)))
            sum_ = sum(block[-1] if block else 0 for block in blocks)
        said["wrong"] = wrong
        try:
            calls.brk_trip(1 << 50)
        except SyscallError as error:
            said["error"] = [error.syscall, error.errno]
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        try:
            calls.brk_trip(1)
        except procmem.Unsupported as error:
            said["threads"] = error.feature
        """
    )
    assert said == {"wrong": [], "error": ["brk", errno.ENOMEM], "threads": "brk"}
    for pages, touch in ((-1, 0), (1, 2), (1, -1)):
        with pytest.raises(ValueError):
            calls.brk_trip(pages, touch)
