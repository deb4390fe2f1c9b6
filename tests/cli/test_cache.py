"""procmem cache: files, directories and processes, exactly what is in the page cache."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from procmem.process.held import page_cache
from tests.support.commands import without_proc
from tests.support.targets import PAGE, Target

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run


def test_the_file_of_a_process(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "cached"
    file.touch()
    os.truncate(file, 12 * PAGE)
    with Target() as target:
        mapping = target.map_file(file, 12, "rw-s")
        target.touch(mapping)
        # Locked pages stay, however short of memory the machine is.
        target.lock(mapping)
        ran = run("cache", "--units", "B", target.pid)
        assert (ran.status, ran.err) == (0, "")
        (row,) = [row for row in ran.rows if row[-1] == str(file)]
        assert row[0] == f"{12 * PAGE}"
        assert row[-2] == "mapped"
        ran = run("cache", "--json", target.pid, file)
        by_pid, by_path = json.loads(ran.out)
        assert (by_pid["pid"], by_path["path"]) == (target.pid, str(file))
        (mine,) = [one for one in by_pid["files"] if one["path"] == str(file)]
        assert mine["cache"]["cached"] == by_path["files"][0]["cache"]["cached"] == 12 * PAGE


def test_a_directory(run: Run, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    names = [tmp_path / "a", tmp_path / "below/b\x1b[2J", tmp_path / "empty"]
    for name in names:
        name.touch()
    os.truncate(names[0], 9 * PAGE)
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with Target() as target:
        mapping = target.map_file(names[0], 9, "rw-s")
        target.touch(mapping)
        target.lock(mapping)
        ran = run("cache", "--units", "B", tmp_path)
        assert ran.status == 0
        assert [row[0] for row in ran.rows] == [f"{9 * PAGE}"]
        assert "Of 2 files nothing is cached." in ran.out
        found = page_cache(tmp_path)
        assert sorted(one.path for one in found) == sorted(map(str, names))
        assert found[0].path == str(names[0])


def test_what_is_no_file(run: Run, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ran = run("cache", fifo)
    assert ran.status == 1
    assert ran.out == f"{fifo}: not a regular file.\n"
    ran = run("cache", tmp_path / "nothing")
    assert (ran.status, ran.out) == (1, "")
    assert "no such file" in ran.err
    ran = run("cache", "99999999")
    assert (ran.status, ran.out) == (1, "")
    assert run("cache").status == 2
    assert run("cache", "--columns", "nonsense", "self").status == 2


@pytest.mark.parametrize("width", [30, 80])
def test_it_fits(run: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", f"{width}")
    ran = run("cache", "self")
    assert max(map(len, ran.out.splitlines())) <= width


def test_without_proc_the_way_out_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    ran = without_proc("cache", str(file))
    assert ran.status == 1
    assert ran.err.startswith("procmem cache: proc: /proc is no /proc tree")
    assert "Mount one (proc(5))" in ran.err
    assert str(file) not in ran.err
