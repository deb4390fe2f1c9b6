"""procmem top."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.cli import top as module
from procmem.procfs import probes
from procmem.procfs.sweep import Swept
from procmem.system.machine import Machine, ProcessGroup
from procmem.system.memory import KernelSums
from procmem.system.processes import Freed, MachineProcess
from procmem.view.top import freed_sentence, memory_table, unread_note
from tests.support.commands import shell
from tests.support.targets import machine

if TYPE_CHECKING:
    from tests.support.commands import Ran, Run
    from tests.support.targets import Target

MIB = 1 << 20


def once_exact(run: Run, *words: str) -> Ran:
    """The table, of a reading during which the kernel moved no page: then a sum is a bound only."""
    for _ in range(20):
        ran = run("top", *words)
        if "at least" not in ran.out:
            break
    return ran


def test_a_process_with_what_ending_it_would_free(target: Target, run: Run) -> None:
    mapping = target.map(2560)  # 10 MiB
    target.touch(mapping)
    exact = probes.shows_page_frames()
    words = (str(target.pid), "--units", "KiB", "--columns", "pid,rss,pss,uss,frees")
    ran = once_exact(run, *words) if exact else run("top", *words)
    assert (ran.status, ran.err) == (0, "")
    ((pid, rss, pss, uss, frees),) = ran.rows
    assert int(pid) == target.pid
    assert int(rss) >= int(pss) >= int(uss) >= 10 * 1024
    assert frees.endswith("+") != exact
    assert int(frees.rstrip("+")) >= (10 if exact else 8) * 1024
    first = ran.out.splitlines()[0]
    assert first.startswith(f"Ending {target.pid} (")
    assert f"would free {'10' if exact else 'at least '}" in first


@pytest.mark.skipif(not probes.shows_page_frames(), reason="page frames take CAP_SYS_ADMIN")
def test_several_together_free_what_they_share(target: Target, run: Run) -> None:
    mapping = target.map(2560)
    target.touch(mapping)
    with target.fork() as child:
        pids = [str(target.pid), str(child.pid)]
        ran = once_exact(run, pids[1], "--units", "B", "--columns", "frees")
        assert int(ran.rows[0][0].rstrip("+")) < 10 * MIB
        for _ in range(20):
            (plain,) = json.loads(run("top", *pids, "--json").out)
            if plain["frees_exact"]:
                break
        assert plain["frees"] >= 10 * MIB
        assert plain["frees_exact"] is True
        assert {each["pid"] for each in plain["processes"]} == {target.pid, child.pid}
        assert "these 2 processes together would free 10" in once_exact(run, *pids).out


@pytest.mark.parametrize("by", ["command", "user", "cgroup", "service", "tree"])
def test_groups(target: Target, run: Run, by: str) -> None:
    ran = run("top", "--by", by, "--limit", "0", "--fast", "--columns", "processes,pss,name")
    assert ran.status == 0
    sizes = [float(row[1]) for row in ran.rows if row[1] != "-"]
    assert sizes == sorted(sizes, reverse=True)
    assert "uses most: " in ran.out
    only = run("top", str(target.pid), "--by", by, "--fast", "--limit", "0")
    assert len(only.rows) == 1


def test_the_order_and_the_limit(target: Target, run: Run) -> None:
    with target.fork() as child:
        pids = sorted([target.pid, child.pid, os.getpid()])
        words = ["top", *map(str, pids), "--fast", "--columns", "pid"]
        assert [int(row[0]) for row in run(*words, "--sort", "pid").rows] == pids
        limited = run(*words, "--sort", "rss", "--limit", "1")
        assert [int(row[0]) for row in limited.rows] == [os.getpid()]
        assert "Not shown: 2 more" in limited.out


def test_all_of_the_memory(run: Run) -> None:
    ran = run("top", "--memory", "--units", "B")
    assert ran.status == 0
    figures = [int(row[0]) for row in ran.rows]
    (total,) = [int(line.split()[0]) for line in ran.out.splitlines() if " in all " in line]
    assert sum(figures) == total
    assert "Likely causes of the remainder" in ran.out


def test_json_has_all(run: Run) -> None:
    (plain,) = json.loads(run("top", "--json", "--fast", "--by", "user").out)
    assert plain["total"] == sum(part["size"] for part in plain["parts"]) + plain["remainder"]
    assert os.getpid() in [each["pid"] for each in plain["processes"]]
    assert sum(len(group["processes"]) for group in plain["groups"]) == len(plain["processes"])


@pytest.mark.parametrize(
    "words",
    [
        ["--sort", "colour"],
        ["--limit", "-1"],
        ["--limit", "x"],
        ["--share", "0"],
        ["--share", "nan"],
        ["--max-stall", "none"],
        ["--by", "colour"],
        ["--columns", "colour"],
        ["--json", "--units", "B"],
        ["--memory", "--by", "user"],
        ["--memory", "self"],
    ],
)
def test_usage(run: Run, words: list[str]) -> None:
    ran = run("top", *words)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("procmem top: ")
    assert ran.err.count("\n") == 1


def test_no_such_process(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    ran = run("top", "4000000")
    assert (ran.status, ran.out) == (1, "")
    assert "4000000" in ran.err
    some = run("top", "4000000", "self", "--fast")
    assert some.status == 1
    assert len(some.rows) == 1


def test_a_tree_that_is_no_proc(run: Run, tmp_path: object) -> None:
    ran = run("top", "--root", str(tmp_path))
    assert (ran.status, ran.out) == (1, "")
    assert "no /proc tree" in ran.err


def test_ps_leads_there(target: Target) -> None:
    ran = shell("ps", "--top", str(target.pid), "--fast")
    assert ran.returncode == 0
    assert ran.stdout.startswith(f"Ending {target.pid} (".encode())


def test_an_ordinary_user_gets_what_is_his_and_what_is_missing(target: Target) -> None:
    code = (
        "import sys\nfrom procmem.cli import main\n"
        "sys.exit(main(['top', '--limit', '0', '--columns', 'pid,pss,frees']))"
    )
    done = machine.as_nobody(code, modules=("procmem.cli.top",))
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert rows[str(target.pid)] == ["-", "-"]
    assert "Not read, Permission denied:" in done.stdout
    assert "+: or more; without page frames" in " ".join(done.stdout.split())


# ---- words ----------------------------------------------------------------------


def group(target: Target, freed: Freed | None) -> ProcessGroup:
    process = next(each for each in procmem.machine(frames=False).processes)
    process.comm = "a\x1b[2J"
    return ProcessGroup("one", [process], freed)


def test_names_are_escaped_and_bounds_are_named(target: Target) -> None:
    said = freed_sentence(group(target, Freed(MIB, 2 * MIB, exact=False)))
    assert "\x1b" not in said
    assert "would free at least 3 MiB, 2 MiB of it shared anonymous memory" in said
    assert "is not known" in freed_sentence(group(target, None))


def test_an_unread_process_is_named() -> None:
    stat = b"7 (some name) S 1" + b" 0" * 40
    left_out = [
        MachineProcess(
            Swept(7, 0, stat, b"", None, b""), None, unread="left out by max_stall: 9 ms"
        )
        for _ in range(7)
    ]
    note = unread_note(Machine(left_out, KernelSums({}, None, None)), None)
    assert note.startswith("Not read, left out by max_stall: 7 processes with ")
    assert note.rstrip().endswith("and 2 more.")


def test_a_remainder_below_0_has_its_sign() -> None:
    sums = KernelSums({"MemTotal": 4 * MIB, "MemFree": 5 * MIB}, None, None)
    text = memory_table(Machine([], sums), unit="KiB")
    assert "-1024  remainder" in text


def test_what_a_share_is(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    asked: list[dict[str, object]] = []

    def machine(**how: object) -> Machine:
        asked.append(how)
        return procmem.machine(frames=False)

    monkeypatch.setattr(module, "machine", machine)
    assert run("top", "--share", "0.5", "--max-stall", "20", "--fast").status == 0
    assert callable(asked[0].pop("progress"))
    assert asked == [{"root": "/proc", "frames": False, "share": 0.5, "max_stall": 0.02}]


def test_the_unit_is_shown_whatever_columns_are_chosen(target: Target, run: Run) -> None:
    ran = run("top", "--fast", target.pid)
    assert any(line.split()[:1] == ["MiB"] for line in ran.out.splitlines())
    ran = run("top", "--fast", "--columns", "name,pss", target.pid)
    assert "Sizes in MiB.\n" in ran.out
    ran = run("top", "--fast", "--units", "human", "--columns", "name,pss", target.pid)
    assert "Sizes in" not in ran.out
