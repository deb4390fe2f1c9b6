"""procmem reconcile: totals that agree, and what is not explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.commands import Run
    from tests.support.targets import Target


def test_reconcile_explains_all(run: Run, target: Target) -> None:
    target.touch(target.map(7))
    ran = run("reconcile", target.pid)
    assert ran.status == 0
    assert ran.out.endswith(" 0 unexplained.\n")
    (found,) = json.loads(run("reconcile", "--json", target.pid).out)
    assert found["explained"]
    assert {one["left"] for one in found["comparisons"]} >= {"Σ maps", "VmRSS (status)"}


def test_reconcile_shows_what_it_can_not_explain(run: Run, target: Target, tmp_path: Path) -> None:
    saved = tmp_path / "77"
    saved.mkdir()
    for name in ("maps", "smaps", "smaps_rollup", "stat", "statm", "status"):
        (saved / name).write_bytes(Path(f"/proc/{target.pid}/{name}").read_bytes())
    status = (saved / "status").read_text()
    size = next(line for line in status.splitlines() if line.startswith("VmSize"))
    (saved / "status").write_text(status.replace(size, "VmSize:\t  12 kB"))
    ran = run("reconcile", "--root", tmp_path, "77")
    assert ran.status == 0
    assert "unexplained" in ran.out
    assert not ran.out.endswith(" 0 unexplained.\n")
    assert "pagemap" in ran.out.partition("Not read:")[2]
