"""Opening files: nothing waits for what is no regular file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf.source import open_source
from procmem.recording.recording import Recording
from procmem.snapshots import load
from tests.support.hostile_elf import (
    procmem_command,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_no_command_waits_for_what_is_no_file(irregular: Path) -> None:
    for words in (
        ("size", irregular), ("diff", irregular, irregular), ("size", "-A", irregular),
    ):  # fmt: skip
        done = procmem_command(*words)  # which has an end
        assert done.returncode == 1
    for call in (procmem.size, procmem.elf.sizes, procmem.elf.program, open_source):
        with pytest.raises((procmem.ElfError, PermissionError)):
            call(irregular)
    with pytest.raises((procmem.ProcmemError, PermissionError)):
        load(irregular)
    if not irregular.is_dir():
        with pytest.raises((procmem.ParseError, PermissionError)):
            Recording.load(irregular)


def test_files_that_the_kernel_makes_are_none() -> None:
    for path in ("/proc/self/status", "/proc/self/maps", "/proc/kallsyms"):
        if os.path.exists(path):
            with pytest.raises(procmem.ElfError, match="one that the kernel makes"):
                open_source(path)
    # What a link in /proc leads to is another matter.
    assert procmem.size("/proc/self/exe").total > 0


def test_nothing_is_opened_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a FIFO only by the time that it is opened."""
    path = tmp_path / "name"
    os.mkfifo(path)
    real = os.open
    opened = []

    def watched(name: object, flags: int, *rest: object, **named: object) -> int:
        opened.append((name, flags))
        return real(name, flags, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", watched)
    with pytest.raises(procmem.ElfError):
        open_source(path)
    with pytest.raises(procmem.ParseError):
        load(path)
    assert opened
    assert all(flags & os.O_PATH for _, flags in opened)
