"""The dumps in tests/fixtures: written by the script, or captured; the scanner reads them all."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from procmem.native import MAPS, SMAPS, Scan
from tests.support.paths import FIXTURES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

DUMPS = sorted(FIXTURES.rglob("*maps"))


def test_written_dumps_are_what_the_script_writes() -> None:
    done = subprocess.run(
        [sys.executable, "-B", ROOT / "scripts" / "write_fixtures.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_captured_dumps_say_where_they_come_from() -> None:
    folders = [entry for entry in FIXTURES.iterdir() if any(entry.rglob("*maps"))]
    assert folders
    for folder in folders:
        text = (folder / "ORIGIN").read_text()
        assert text.startswith("captured by ")
        assert "\nkernel: Linux " in text


@pytest.mark.parametrize("path", DUMPS, ids=lambda path: str(path.relative_to(FIXTURES)))
def test_the_scanner_takes_them(path: Path) -> None:
    text = path.read_bytes()
    is_smaps = path.name.endswith("smaps")
    scan = Scan(SMAPS if is_smaps else MAPS, str(path))
    scan.feed(text)
    scan.finish()
    starts = [line for line in text.split(b"\n") if b":" not in line.partition(b" ")[0]]
    assert scan.count == len(starts) - 1 > 0
    assert not scan.disordered
    assert not scan.unterminated


def test_a_new_capture_is_a_small_proc(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            subprocess.run(
                [
                    *(sys.executable, "-B", ROOT / "scripts" / "capture_fixtures.py"),
                    *("trial", f"{process.pid}", "--into", tmp_path),
                ],
                check=True,
                capture_output=True,
            )
        finally:
            process.kill()
    captured = tmp_path / "trial" / str(process.pid)
    assert {"maps", "smaps", "stat", "statm", "status"} <= {
        file.name for file in captured.iterdir()
    }
    assert f"{process.pid}: sleep\n" in (tmp_path / "trial" / "ORIGIN").read_text()
