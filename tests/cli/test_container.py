"""procmem container: the sentence, the waterfall, and the same figures as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import FIXTURES
from tests.support.targets import PAGE, Target, machine

if TYPE_CHECKING:
    from tests.support.commands import Run

SAVED = next((FIXTURES / "cgroups/linux-6.12-v2/tree/system.slice").iterdir())


def test_a_saved_group(run: Run) -> None:
    ran = run("container", SAVED)
    assert (ran.status, ran.err) == (0, "")
    assert "12.3 MiB used of 64 MiB (19.2 %); peak 13.4 MiB; working set 12.3 MiB.\n" in ran.out
    lines = [line for line in ran.out.splitlines()[3:] if line.endswith(" %")]
    parts = {line.strip().split("  ")[0]: line.split()[-3] for line in lines}
    assert parts["anonymous memory"] == "52"
    assert parts["shared memory, tmpfs"] == "12288"
    assert parts["kernel memory"] == "88"
    assert parts["remainder"] == "176"
    assert parts["usage, KiB"] == "12604"
    assert "64 pages ahead" in ran.out
    assert "Saved files" in ran.out


def test_json_has_the_same_figures(run: Run) -> None:
    (found,) = json.loads(run("container", "--json", SAVED).out)
    assert (found["version"], found["usage"], found["limit"]) == (2, 12906496, 64 << 20)
    assert found["figures"]["kernel_parts"]["page tables"] == 45056
    assert found["charges"] is None
    assert "saved files" in found["no_charges"]


def test_a_live_group(run: Run) -> None:
    with machine.memory_cgroup(1 << 30) as setting, Target() as target:
        group = setting.or_skip().path
        (group / "cgroup.procs").write_text(f"{target.pid}\n")
        target.touch(target.map(1000))
        ran = run("container", "--units", "B", target.pid)
        assert ran.status == 0
        assert f"\n  {target.pid} target: anon " in ran.out
        (found,) = json.loads(run("container", "--json", group).out)
        if found["charges"] is None:
            pytest.skip(found["no_charges"])
        assert sum(row["size"] for row in found["charges"]["anon"]) >= 1000 * PAGE
        assert [one["pid"] for one in found["processes"]] == [target.pid]


def test_errors_are_one_line_and_the_others_are_shown(run: Run) -> None:
    ran = run("container", "/nothing", SAVED, "99999999")
    assert ran.status == 1
    lines = ran.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("procmem container: /nothing: ")
    assert "12.3 MiB used" in ran.out
    assert run("container").status == 2
    ran = run("container", SAVED, "--json", "--units", "MiB")
    assert (ran.status, ran.out) == (2, "")
    assert "--units cannot be combined with --json" in ran.err


@pytest.mark.parametrize("width", ["20", "40", "80"])
def test_it_fits_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    monkeypatch.setenv("COLUMNS", width)
    ran = run("container", SAVED)
    assert ran.status == 0
    assert max(map(len, ran.out.splitlines())) <= int(width)
