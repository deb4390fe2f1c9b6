"""The experiment stdio-buffer."""

from __future__ import annotations

import pytest

from procmem import experiments
from tests.support.stories import claims, story


def test_what_has_arrived() -> None:
    told = story("stdio-buffer")
    if told.skipped:
        pytest.skip(told.skipped)
    seen = claims(told)
    assert seen["print a line of 6 bytes: in the pipe"] == 0
    assert seen["fflush(3): in the pipe"] == 6
    assert seen["print a line and call _exit(2): in the pipe"] == 0
    assert seen["print a line, fork, and both call exit(3): in the pipe"] == 12


def test_without_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> tuple[int, int]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.openpty", none)
    told = experiments.stdio_buffer()
    if told.skipped:
        pytest.skip(told.skipped)
    assert told.agrees
    assert told.told[-1].impossible == "no terminal can be made: No space left on device"
