"""The experiment fifo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem import experiments
from tests.support.stories import claims, story

if TYPE_CHECKING:
    from pathlib import Path


def test_the_rules_of_open() -> None:
    told = story("fifo")
    if told.skipped:
        pytest.skip(told.skipped)
    seen = claims(told)
    assert seen["open it O_RDONLY"] == "waits"
    assert seen["open it O_RDONLY|O_NONBLOCK"] == "opened"
    assert seen["open it O_WRONLY|O_NONBLOCK without a reader"] == "ENXIO"
    assert seen["it closes the FIFO, then another opens and reads it"] == "end of file"
    assert seen["the same while the other keeps it open"] == "hello"


def test_no_directory_to_make_it_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert "none can be made" in experiments.fifo().skipped
