"""Arguments of several commands: names for PIDs, saved files, --json, --units, usage errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.pages.pagemap import LIMIT
from procmem.regions.kinds import RegionKind
from procmem.units import UNITS, in_unit, signed_in_unit
from tests.support.sleepers import copied, save_process, sleepers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.targets import Target


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


# ---- names --------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., int]]:
    yield from sleepers(tmp_path)


def test_all_that_match_are_shown_and_said(
    printed: Any, start: Callable[..., int], tmp_path: Path
) -> None:
    name = f"pm{os.getpid()}all"
    path = copied(tmp_path, name)
    pids = sorted([start(path, "600"), start(path, "600")])
    status, out, err = printed("maps", name)
    assert (status, err) == (0, "")
    assert [line for line in out.splitlines() if line.endswith(f"{name} 600")] == [
        f"{pid}: {path} 600" for pid in pids
    ]
    assert [one["pid"] for one in json.loads(printed("maps", "--json", name)[1])] == pids
    # A command for one process refuses, and lists them.
    for words in (("query", name, "0"), ("pages", name), ("record", name, "-o", tmp_path / "x")):
        status, out, err = printed(*words)
        assert (status, out) == (2, "")
        first, *rows = err.splitlines()
        assert "matches 2 processes" in first
        assert [row.split()[0] for row in rows] == [str(pid) for pid in pids]


def test_one_that_matches_is_said(printed: Any, start: Callable[..., int], tmp_path: Path) -> None:
    name = f"pm{os.getpid()}one"
    pid = start(copied(tmp_path, name), "600")
    heap = next(iter(procmem.Process(pid).maps()))
    status, out, err = printed("query", name, f"{heap.start:x}")
    assert status == 0
    assert name in out
    assert err.startswith(f"procmem query: {pid}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["maps", "sections", "reconcile", "pages", "snapshot", "watch"])
def test_a_name_that_no_process_has(printed: Any, command: str) -> None:
    status, out, err = printed(command, "no-process-is-called-so")
    assert (status, out) == (1, "")
    assert err.startswith(f"procmem {command}: no process is called 'no-process-is-called-so'")
    assert err.count("\n") == 1


# ---- what was saved -------------------------------------------------------------


@pytest.fixture
def saved(target: Target, tmp_path: Path) -> Path:
    return save_process(target.pid, tmp_path)


def test_maps_of_what_was_saved_is_that_of_the_process(
    printed: Any, target: Target, saved: Path
) -> None:
    # PSS is others' doing, too, and of files the kernel may take pages at any time.
    live = [steady(line) for line in printed("maps", target.pid)[1].splitlines()[2:-2]]
    assert any(len(row) == 5 for row in live)
    for what in ("one.snap", "one.snap:0", "one.snap:-1", "text", "tree", "tree/77"):
        status, out, err = printed("maps", saved / what)
        assert (status, err) == (0, ""), what
        rows = [steady(line) for line in out.splitlines()[3:-2]]
        assert rows == live, what


def steady(line: str) -> list[str]:
    """Of a row the bounds, permissions and size; of memory of its own, RSS."""
    words = line.split()
    return words[: 5 if {"anon", "stack"} & set(words) else 4]


def test_what_can_not_be_answered_is_said_in_a_line(printed: Any, saved: Path) -> None:
    snapshot = saved / "one.snap"
    for words in (
        ("pages", snapshot),
        ("sections", snapshot),
        ("reconcile", snapshot),
        ("watch", snapshot),
        ("record", snapshot, "-o", saved / "x.rec"),
        ("trace", "-p", snapshot),
        ("maps", f"{snapshot}:7"),
        ("maps", f"{snapshot}:x"),
        ("maps", saved / "nothing"),
        ("maps", saved),
        ("maps", "/dev/null"),
        ("pages", saved / "tree"),
    ):
        status, out, err = printed(*words)
        assert (status, out) == (1, ""), words
        assert err.count("\n") == 1, words
    assert printed("reconcile", saved / "tree")[0] == 0
    assert printed("query", snapshot, "0")[0] == 1


def test_a_fifo_is_not_waited_for(printed: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    status, _, err = printed("maps", tmp_path / "fifo")
    assert status == 1
    assert "not a regular file" in err


# ---- errors -----------------------------------------------------------------------

WRONG = [
    (["mpas"], "did you mean 'maps'?"),
    (["maps", "--knid", "heap", "self"], "did you mean '--kind'?"),
    (["maps", "--kind", "haep", "self"], "did you mean 'heap'?"),
    (["maps", "--sort", "sise", "self"], "did you mean 'size'?"),
    (["maps", "--columns", "strat", "self"], "did you mean 'start'?"),
    (["maps", "--columns", "", "self"], "names of columns"),
    (["maps", "--units", "mib", "self"], "did you mean 'MiB'?"),
    (["maps", "--by", "kid", "self"], "did you mean 'kind'?"),
    (["maps", "--range", "5000-4000", "self"], "is an empty range"),
    (["maps", "--range", "-", "self"], "LOW-HIGH"),
    (["sections", "--columns", "sise", "self"], "did you mean 'size'?"),
    (["sections", "--totals", "--columns", "objct", "self"], "did you mean 'object'?"),
    (["sections", "--sort", "size", "self"], "--totals"),
    (["diff", "--columns", "regoin", "self", "self"], None),
    (["experiment", "brkk"], "did you mean 'brk'?"),
    (["lab", "shwo"], "did you mean 'show'?"),
    (["snapshot", "--detail", "smpas", "self"], "did you mean 'smaps'?"),
    (["query", "self", "10000000000000000"], "64 bits"),
    (["trace", "--josn", "true"], "did you mean '--json'?"),
    (["trace", "--columns", "cal", "true"], "did you mean 'call'?"),
    (["trace", "--strace", "--units", "B", "true"], "cannot be combined with --strace"),
    (["pages", "--columns", "strat", "self"], "did you mean 'start'?"),
    (["pages", "self", "[heap]", "--columns", "start"], "--columns applies to one table"),
    (
        ["pages", "self", "--tables", "--frames", "--columns", "level"],
        "--columns applies to one table",
    ),
    (["reconcile", "--columns", "totl", "self"], "did you mean 'total'?"),
    (["record", "-o", "x", "--columns", "lst", "self"], "did you mean 'last'?"),
    (["doctor", "--units", "B"], "--units is not for procmem doctor, which prints no sizes"),
    (["doctor", "--columns=x"], "--columns is not for procmem doctor"),
    (["query", "--columns", "x", "self", "0"], "--columns is not for procmem query"),
    (["snapshot", "--columns", "x", "self"], "--columns is not for procmem snapshot"),
    (["watch", "--units", "B", "self"], "--units is not for procmem watch"),
    (["experiment", "brk", "--units", "B"], "--units is not for procmem experiment brk"),
    (["doctor", "now"], "unexpected argument"),
    (["maps"], "PID is missing"),
    ([], "which command?"),
]


@pytest.mark.parametrize("words, says", WRONG, ids=lambda value: str(value)[:40])
def test_a_usage_error_is_a_line_with_the_way_out(
    printed: Any, words: list[str], says: str | None
) -> None:
    status, out, err = printed(*words)
    if says is None:  # nothing has changed, so there is no table
        return
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert says in err
    assert "--help" in err or words[0] == "experiment"


JSON_REFUSES = [
    ["maps", "--units", "B", "self"],
    ["maps", "--columns", "start", "self"],
    ["sections", "--units", "B", "self"],
    ["sections", "--columns", "size", "self"],
    ["pages", "--width", "9", "self"],
    ["pages", "--units", "B", "self"],
    ["pages", "--columns", "start", "self"],
    ["reconcile", "--columns", "total", "self"],
    ["record", "--units", "B", "--report", "x"],
    ["record", "--columns", "last", "--report", "x"],
    ["trace", "--units", "B", "true"],
    ["trace", "--columns", "call", "true"],
    ["reconcile", "--units", "MiB", "self"],
    ["query", "--units", "MiB", "self", "0"],
    ["snapshot", "--units", "MiB", "self"],
    ["diff", "--all", "self", "self"],
    ["diff", "--columns", "vsz", "self", "self"],
]


@pytest.mark.parametrize("words", JSON_REFUSES, ids=" ".join)
def test_json_refuses_what_it_can_not_honour(printed: Any, words: list[str]) -> None:
    status, out, err = printed(words[0], "--json", *words[1:])
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"{words[1]} cannot be combined with --json" in err


@pytest.mark.parametrize(
    "words", [["-A"], ["-x"], ["-t"], ["--common"], ["--radix=16"], ["--format=gnu"], ["--explain"]]
)
def test_json_of_size_refuses_what_is_for_tables(printed: Any, words: list[str]) -> None:
    status, out, err = printed("size", "--json", *words, sys.executable)
    assert (status, out) == (1, "")
    assert f"cannot be combined with {words[0].partition('=')[0]}" in err


def test_json_honours_the_rest(printed: Any, target: Target) -> None:
    def told(*words: object) -> Any:
        status, out, _ = printed(words[0], "--json", *words[1:], target.pid)
        assert status == 0
        return json.loads(out)[0]

    table = procmem.Process(target.pid).smaps()
    groups = told("maps", "--by", "kind")["groups"]
    assert {one["kind"]: one["size"] for one in groups} == {
        kind.value: group.total("size") for kind, group in table.by_kind().items()
    }
    groups = told("maps", "--by", "path", "--kind", "text")["groups"]
    assert {one["path"] for one in groups} == {r.pathname for r in table.filter(kind="text")}
    sizes = [region["size"] for region in told("maps", "--sort", "size")["regions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert all("pss" not in one for one in told("maps", "--fast")["regions"])
    objects = told("sections", "--totals", "--sort", "size")["objects"]
    assert [one["size"] for one in objects] == sorted((o["size"] for o in objects), reverse=True)
    assert all("sections" not in one for one in objects)
    assert all(one["bridge"] for one in told("sections", "--bridge")["objects"])


@pytest.mark.parametrize(
    "words",
    [
        ["maps", "--path", "nosuch"],
        ["maps", "--kind", "hugetlb"],
        ["maps", "--range", "1-2"],
        ["maps", "--perms=-wxs"],
        ["maps", "--by", "kind", "--path", "nosuch"],
        ["maps", "--smaps", "--path", "nosuch"],
        ["maps", "--json", "--path", "nosuch"],
        ["sections", "--object", "nosuch"],
        ["sections", "--totals", "--object", "nosuch"],
        ["sections", "--json", "--object", "nosuch"],
    ],
    ids=" ".join,
)
def test_an_empty_filter_says_so(printed: Any, target: Target, words: list[str]) -> None:
    status, _, err = printed(*words, target.pid)
    assert status == 1
    assert err.count("\n") == 1
    assert "matches --" in err or "matches nosuch; there are" in err


@pytest.mark.parametrize("unit", UNITS)
def test_units(printed: Any, target: Target, unit: str) -> None:
    size = in_unit(unit)
    total = procmem.Process(target.pid).smaps().total("size")
    _, out, _ = printed("maps", "--units", unit, "--columns", "name,size", target.pid)
    assert out.splitlines()[0].split() == ["Name", "Size"]
    assert out.splitlines()[-1].split()[-1] == size(total)
    for command in ("reconcile", "snapshot", "sections"):
        assert printed(command, "--units", unit, target.pid)[0] == 0
    _, out, _ = printed("pages", "--units", unit, "--columns", "name,pages", target.pid)
    assert out.splitlines()[0].split() == ["Name", "Size"]
    shown = procmem.Process(target.pid).maps().filter(end=LIMIT)
    assert size(shown.filter(lambda one: one.kind is not RegionKind.VVAR).total("size")) in out
    _, out, _ = printed("pages", "--tables", "--units", unit, "--columns", "size", target.pid)
    table = procmem.Process(target.pid).page_tables()
    assert size(table.vm_pte) in out
    _, out, _ = printed("reconcile", "--units", unit, "--columns", "total,left", target.pid)
    vsz = procmem.Process(target.pid).memory().vsz
    assert ["size", "(statm)", size(vsz)] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize("unit", UNITS)
def test_units_of_a_recording(printed: Any, target: Target, tmp_path: Path, unit: str) -> None:
    file = tmp_path / "one.rec"
    assert printed("record", target.pid, "-o", file, "--for", "50ms", "--quiet")[0] == 0
    vsz = procmem.Process(target.pid).memory().vsz
    asked = ("--units", unit, "--columns", "last,figure")
    status, out, _ = printed("record", "--report", file, *asked)
    rows = [line.split() for line in out.splitlines()]
    assert status == 0
    assert ["Last", "Size" if unit == "human" else unit] in rows
    assert [in_unit(unit)(vsz), "VSZ"] in rows


@pytest.mark.parametrize("unit", UNITS)
def test_units_of_a_trace(unit: str) -> None:
    true = shutil.which("true")
    done = subprocess.run(
        [sys.executable, "-m", "procmem", "trace", "--no-malloc", "--units", unit,
         "--columns", "vsz,call", "--", str(true)],
        stderr=subprocess.PIPE, check=False, text=True,
    )  # fmt: skip
    if "procmem trace:" in done.stderr:
        pytest.skip(done.stderr.strip())  # no ptrace here
    lines = [line.split() for line in done.stderr.splitlines()]
    assert lines[0] == ["ΔVSZ", "Call"]
    made = procmem.trace([str(true)], malloc=False)
    for call in made:
        if call.name in ("mmap", "munmap") and call.delta_vsz:
            assert [signed_in_unit(unit)(call.delta_vsz), call.name] in lines
