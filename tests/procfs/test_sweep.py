"""Reading a few files of one process after the other."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from procmem.procfs import sweep as module
from procmem.procfs.sweep import sweep
from tests.support.targets import kernel_thread

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.targets import Target


def test_both_texts_are_of_the_process(target: Target) -> None:
    found = sweep(target.pid, "/proc", "smaps_rollup")
    assert found is not None
    assert found.stat.startswith(f"{target.pid} (".encode())
    assert b"[rollup]" in found.text
    assert (found.owner, found.error, found.statm) == (os.geteuid(), None, b"")


def test_without_a_file_there_is_statm(target: Target) -> None:
    found = sweep(target.pid, "/proc", None)
    assert found is not None
    assert found.text == b""
    assert len(found.statm.split()) == 7


def test_what_has_no_address_space_says_why(target: Target) -> None:
    zombie = target.zombie()
    thread = kernel_thread()
    for pid in (zombie, *([thread] if thread else [])):
        found = sweep(pid, "/proc", "smaps_rollup")
        assert found is not None
        assert found.text == b""
        assert found.stat.startswith(f"{pid} (".encode())
    target.reap(zombie)
    assert sweep(zombie, "/proc", "smaps_rollup") is None


def test_too_many_open_files_are_the_readers_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, directory: int) -> bytes:
        if name != "smaps_rollup":
            return b"1 (a) S"
        raise OSError(errno.EMFILE, "Too many open files")

    (tmp_path / "7").mkdir()
    monkeypatch.setattr(module, "whole", refuse)
    with pytest.raises(OSError, match="Too many"):
        sweep(7, str(tmp_path), "smaps_rollup")
