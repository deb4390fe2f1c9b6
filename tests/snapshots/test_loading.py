"""Snapshots from files that others saved: texts, trees of /proc, and files of another kind."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import (
    ParseError,
    Process,
    Snapshot,
    parse_maps,
    parse_smaps,
)
from procmem.errors import Unsupported
from procmem.experiments import Specimen
from tests.support.paths import FIXTURES
from tests.support.snapshots import own_figures, same

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = sorted(path for path in FIXTURES.iterdir() if path.suffix in (".maps", ".smaps"))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_texts_of_any_kernel(path: Path, tmp_path: Path) -> None:
    """Hostile names, lines of odd shape, unknown counters: as from the text itself."""
    data = path.read_bytes()
    loaded = procmem.load(path)
    parse = parse_smaps if path.suffix == ".smaps" else parse_maps
    assert loaded.regions == parse(data)
    assert loaded.memory is None
    assert loaded.unavailable["memory"]
    loaded.save(tmp_path / "one.snap")
    loaded.save(tmp_path / "one.json")
    same(loaded, procmem.load(tmp_path / "one.snap"))
    same(loaded, procmem.load(tmp_path / "one.json"))
    some = Snapshot(loaded.regions[1::2], source="<some>")
    some.save(tmp_path / "some.snap")
    same(some, procmem.load(tmp_path / "some.snap"))


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"{", b'{"format": 1}', b"\x89PNG\r\n", b"hello\n", b"\0" * 100, b"[1"],
)
def test_foreign_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(ParseError):
        procmem.load(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        procmem.load(tmp_path / "none")
    with pytest.raises(Unsupported):
        procmem.load(tmp_path)


def test_a_saved_tree(tmp_path: Path) -> None:
    with Specimen() as s:
        process = Process(s.pid)
        live = process.snapshot()
        saved = tmp_path / str(s.pid)
        saved.mkdir()
        for name in ("maps", "smaps", "status", "stat", "cmdline"):
            shutil.copy(f"/proc/{s.pid}/{name}", saved / name)
    for path in (saved, tmp_path):
        one = procmem.load(path)
        assert own_figures(one.regions) == own_figures(live.regions)
        assert (one.memory, one.faults) == (live.memory, live.faults)
        assert one.identity.cmdline == live.identity.cmdline
        assert one.clock is None
        assert not one.moved
    (saved / "smaps").unlink()
    (saved / "stat").unlink()
    one = procmem.load(saved)
    assert one.regions == parse_maps((saved / "maps").read_bytes())
    assert one.faults is None
    assert "stat" in one.unavailable["faults"]
