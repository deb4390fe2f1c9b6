"""The program break."""

from __future__ import annotations

import contextlib
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

MOST = 50
"""malloc moves the break, too, now and then: what did not move it finds it in its place once."""


def test_the_break_is_read() -> None:
    for _ in range(MOST):
        now = calls.sbrk()
        if now == calls.sbrk(0) == calls.bracket(calls.sbrk).result:
            break
    else:
        pytest.fail("it is read differently each time")
    for _ in range(MOST):
        heaps = [one for one in procmem.Process().maps() if one.pathname == "[heap]"]
        if all(one.start <= calls.sbrk() <= one.end for one in heaps):
            break
    else:
        pytest.fail("the break is not where the heap is")
    for _ in range(MOST):
        with contextlib.suppress(Unsupported):
            calls.brk(calls.sbrk())
            break
    else:
        pytest.fail("the break may not stay where it is")


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
    for _ in range(MOST):
        now = calls.sbrk()
        with pytest.raises(Unsupported, match=word) as caught:
            move(now)
        assert "Specimen" in str(caught.value)
        if calls.sbrk() == now:
            return
    pytest.fail("it was moved each time")


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
