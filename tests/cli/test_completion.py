"""procmem completion: prints scripts, writes files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.cli import COMMANDS
from procmem.cli.completion import PLACES, shared_files, today
from procmem.view.completion import SHELLS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_printed(run: Run, shell: str) -> None:
    ran = run("completion", shell)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == shared_files("2026-01-31")[PLACES[shell]]


def test_all_files_are_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert today() == "1970-01-02"
    ran = run("completion", "all", "-o", tmp_path / "share")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"3 scripts and {len(COMMANDS) + 1} manual pages written\n"
    for name, text in shared_files("1970-01-02").items():
        assert (tmp_path / "share" / name).read_text() == text


def test_usage(run: Run, tmp_path: Path) -> None:
    for words in (["bash", "-o", "x"], ["all"], ["tcsh"], []):
        ran = run("completion", *words)
        assert ran.status == 2
        assert ran.err.count("\n") == 1
    (tmp_path / "file").touch()
    ran = run("completion", "all", "-o", tmp_path / "file" / "x")
    assert ran.status == 1
    assert "Not a directory" in ran.err
