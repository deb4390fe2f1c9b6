"""The command is kind: names for PIDs, errors of one line, tables that fit, names demangled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.cli import COMMANDS, main
from procmem.pages.pagemap import LIMIT
from procmem.regions import parse_smaps
from procmem.regions.kinds import RegionKind
from procmem.units import UNITS, in_unit, signed_in_unit
from procmem.view.columns import Column, fitted, pairs, prose
from procmem.view.maps import counter_table, grouped_table, region_table
from procmem.view.names import cells, printable, shorter, show_only_ascii
from tests.support.sleepers import copied, save_process, sleepers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.targets import Target

WIDTHS = (40, 60, 80, 120, 200)


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: its status, stdout, stderr."""

    def ran(*words: object) -> tuple[int, str, str]:
        try:
            status = main([str(word) for word in words])
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 1
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return ran


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., int]]:
    yield from sleepers(tmp_path)


# ---- names --------------------------------------------------------------------


def test_all_that_match_are_shown_and_said(
    run: Any, start: Callable[..., int], tmp_path: Path
) -> None:
    name = f"pm{os.getpid()}all"
    path = copied(tmp_path, name)
    pids = sorted([start(path, "60"), start(path, "60")])
    status, out, err = run("maps", name)
    assert (status, err) == (0, "")
    assert [line for line in out.splitlines() if line.endswith(f"{name} 60")] == [
        f"{pid}: {path} 60" for pid in pids
    ]
    assert [one["pid"] for one in json.loads(run("maps", "--json", name)[1])] == pids
    # A command for one process refuses, and lists them.
    for words in (("query", name, "0"), ("pages", name), ("record", name, "-o", tmp_path / "x")):
        status, out, err = run(*words)
        assert (status, out) == (2, "")
        first, *rows = err.splitlines()
        assert "matches 2 processes" in first
        assert [row.split()[0] for row in rows] == [str(pid) for pid in pids]


def test_one_that_matches_is_said(run: Any, start: Callable[..., int], tmp_path: Path) -> None:
    name = f"pm{os.getpid()}one"
    pid = start(copied(tmp_path, name), "60")
    heap = next(iter(procmem.Process(pid).maps()))
    status, out, err = run("query", name, f"{heap.start:x}")
    assert status == 0
    assert name in out
    assert err.startswith(f"procmem query: {pid}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["maps", "sections", "reconcile", "pages", "snapshot", "watch"])
def test_a_name_that_no_process_has(run: Any, command: str) -> None:
    status, out, err = run(command, "no-process-is-called-so")
    assert (status, out) == (1, "")
    assert err.startswith(f"procmem {command}: no process is called 'no-process-is-called-so'")
    assert err.count("\n") == 1


# ---- what was saved -------------------------------------------------------------


@pytest.fixture
def saved(target: Target, tmp_path: Path) -> Path:
    return save_process(target.pid, tmp_path)


def test_maps_of_what_was_saved_is_that_of_the_process(
    run: Any, target: Target, saved: Path
) -> None:
    # PSS is others' doing, too.
    live = [line.split()[:5] for line in run("maps", target.pid)[1].splitlines()[2:-2]]
    for what in ("one.snap", "one.snap:0", "one.snap:-1", "text", "tree", "tree/77"):
        status, out, err = run("maps", saved / what)
        assert (status, err) == (0, ""), what
        rows = [line.split()[:5] for line in out.splitlines()[3:-2]]
        assert rows == live, what


def test_what_can_not_be_answered_is_said_in_a_line(run: Any, saved: Path) -> None:
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
        status, out, err = run(*words)
        assert (status, out) == (1, ""), words
        assert err.count("\n") == 1, words
    assert run("reconcile", saved / "tree")[0] == 0
    assert run("query", snapshot, "0")[0] == 1


def test_a_fifo_is_not_waited_for(run: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    status, _, err = run("maps", tmp_path / "fifo")
    assert status == 1
    assert "no regular file" in err


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
    run: Any, words: list[str], says: str | None
) -> None:
    status, out, err = run(*words)
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
    ["pages", "--colour", "never", "self"],
    ["reconcile", "--units", "MiB", "self"],
    ["query", "--units", "MiB", "self", "0"],
    ["snapshot", "--units", "MiB", "self"],
    ["diff", "--all", "self", "self"],
    ["diff", "--columns", "vsz", "self", "self"],
]


@pytest.mark.parametrize("words", JSON_REFUSES, ids=" ".join)
def test_json_refuses_what_it_can_not_honour(run: Any, words: list[str]) -> None:
    status, out, err = run(words[0], "--json", *words[1:])
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"{words[1]} cannot be combined with --json" in err


@pytest.mark.parametrize(
    "words", [["-A"], ["-x"], ["-t"], ["--common"], ["--radix=16"], ["--format=gnu"], ["--explain"]]
)
def test_json_of_size_refuses_what_is_for_tables(run: Any, words: list[str]) -> None:
    status, out, err = run("size", "--json", *words, sys.executable)
    assert (status, out) == (1, "")
    assert f"cannot be combined with {words[0].partition('=')[0]}" in err


def test_json_honours_the_rest(run: Any, target: Target) -> None:
    def told(*words: object) -> Any:
        status, out, _ = run(words[0], "--json", *words[1:], target.pid)
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
def test_an_empty_filter_says_so(run: Any, target: Target, words: list[str]) -> None:
    status, _, err = run(*words, target.pid)
    assert status == 1
    assert err.count("\n") == 1
    assert "matches --" in err or "matches nosuch; there are" in err


def test_a_fault_of_ours_is_a_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("oh\x1b[2J")

    monkeypatch.setattr("procmem.cli.maps.region_table", broken)
    monkeypatch.delenv("PROCMEM_TRACEBACK", raising=False)
    status, _, err = run("maps", "self")
    assert status == 1
    assert err.count("\n") == 1
    assert "PROCMEM_TRACEBACK=1" in err
    assert "\x1b" not in err
    monkeypatch.setenv("PROCMEM_TRACEBACK", "1")
    with pytest.raises(KeyError):
        main(["maps", "self"])


# ---- tables -----------------------------------------------------------------------

HOSTILE = [
    "/usr/lib/日本語のとても長い名前のライブラリ.so",
    "/tmp/esc\x1b[2Jape\nline",
    "/tmp/\udcff\udcfe not UTF-8",
    "/tmp/" + "x" * 250,
    "/tmp/combining e\u0301e\u0301e\u0301",
    "/tmp/\u202eright to left",
]


def smaps_of(names: list[str]) -> bytes:
    lines = []
    for at, name in enumerate(names):
        raw = name.replace("\n", "\\012").encode("utf-8", "surrogateescape")
        start = 0x7F0000000000 + (at << 30)
        lines.append(b"%x-%x r-xp 00000000 08:01 %d %b" % (start, start + (1 << 30), at + 1, raw))
        lines += [b"Size: 1048576 kB", b"Rss: %d kB" % (1000 * at), b"Pss: 3 kB", b"Swap: 0 kB"]
        lines += [b"Private_Clean: 0 kB", b"Private_Dirty: 1 kB", b"VmFlags: rd ex mr mw me"]
    return b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("width", WIDTHS)
def test_no_row_of_hostile_names_is_wider_than_the_screen(width: int) -> None:
    table = parse_smaps(smaps_of(HOSTILE))
    for text in (
        region_table(table, width=width),
        region_table(table, width=width, full_paths=True),
        counter_table(table, width=width),
        grouped_table(table, "path", width=width),
        region_table(table, width=width, chosen=["end", "path", "pss", "start"]),
    ):
        for line in text.splitlines():
            assert cells(line) <= width, line
            assert line.isprintable()
        # Columns stand under their headings, whatever characters are before them.
        heading, rule, *_ = text.splitlines()
        assert cells(heading) <= cells(rule)


def test_columns_are_aligned_by_cells() -> None:
    text = fitted([Column("a", "A"), Column("b", "B")], [["日本", "x"], ["e\u0301", "y"]])
    rows = text.splitlines()[2:]
    assert [cells(row[: row.index(letter)]) for row, letter in zip(rows, "xy", strict=True)] == [
        6,
        6,
    ]


def test_columns_give_way_in_a_fixed_order_and_it_is_said() -> None:
    table = parse_smaps(smaps_of(["/usr/lib/libplain.so.6"]))
    headings = [
        region_table(table, width=width).splitlines()[0].split() for width in (200, 80, 60, 40)
    ]
    assert headings[0] == "Start End Perm Size RSS PSS USS Swap Kind Owner Name".split()
    for wider, narrower in pairwise(headings):
        assert [name for name in wider if name in narrower] == narrower
    assert "Not in 60 columns: " in region_table(table, width=60).replace("\n", " ")
    assert "Not in" not in region_table(table, width=200)
    assert "Not in" not in region_table(table)


def test_huge_pages_have_a_column_of_their_own_where_there_are_some() -> None:
    plain = smaps_of(["/a"])
    huge = plain + (
        b"7fff00000000-7fff00400000 rw-p 00000000 00:0f 9 /anon_hugepage (deleted)\n"
        b"Size: 4096 kB\nRss: 0 kB\nPss: 0 kB\nPrivate_Clean: 0 kB\nPrivate_Dirty: 0 kB\n"
        b"Shared_Hugetlb: 0 kB\nPrivate_Hugetlb: 2048 kB\nSwap: 0 kB\nVmFlags: rd wr ht\n"
    )
    assert "Hugetlb" not in region_table(parse_smaps(plain))
    for text in (region_table(parse_smaps(huge)), grouped_table(parse_smaps(huge), "kind")):
        heading, _, *rows = text.splitlines()
        assert "Hugetlb" in heading
        names = heading.split()
        row = next(line.split() for line in rows if "hugetlb" in line)
        assert row[names.index("Hugetlb")] == "2048"
        assert [row[names.index(name)] for name in ("RSS", "PSS", "USS")] == ["0", "0", "0"]


def test_nothing_is_cut_where_there_is_room() -> None:
    name = "lib" + "n" * 60 + ".so"
    table = parse_smaps(smaps_of([f"/usr/lib/{name}"]))
    assert name in region_table(table, width=200)
    assert name in region_table(table)
    assert name in grouped_table(table, "path", width=120)


COMMAND_LINES = [
    "maps {pid}",
    "maps -p {pid}",
    "maps --smaps {pid}",
    "maps --fast {pid}",
    "maps --by kind {pid}",
    "maps --by path {pid}",
    "sections {pid}",
    "sections --totals {pid}",
    "sections --bridge {pid}",
    "reconcile {pid}",
    "snapshot {pid}",
    "query {pid} {code}",
    "pages {pid}",
    "pages {pid} [heap] --tables",
    "pages {pid} --frames",
    "diff {snap} {pid}",
    "doctor",
    "experiment",
    "experiment brk",
    "record {pid} -o {snap}.rec --for 50ms --force",
    "size --explain /proc/{pid}/exe",
    "lab list",
    "demo",
    "--help",
]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_table_fits_every_screen(
    run: Any, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    target.malloc(1000)
    snap = tmp_path / "x.snap"
    procmem.Process(target.pid).snapshot().save(snap)
    target.touch(target.map(40))
    words = line.format(pid=target.pid, code=f"{target.truths.main:x}", snap=snap).split()
    for width in WIDTHS[line == "demo" :]:  # lines of Python are 47 cells long
        monkeypatch.setenv("COLUMNS", str(width))
        status, out, _ = run(*words)
        if "--frames" in words and status:
            pytest.skip("page frames show to root alone")
        assert status == 0
        assert max(map(cells, out.splitlines())) <= width
    monkeypatch.delenv("COLUMNS")
    _, out, _ = run(*words)
    assert "Not in" not in out


@pytest.mark.parametrize("width", WIDTHS)
def test_a_trace_fits_the_screen_and_loses_nothing(width: int, tmp_path: Path) -> None:
    true = shutil.which("true")
    assert true is not None

    def traced(*words: str, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "procmem", "trace", "--no-malloc", *words, true],
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"]} | env,
            check=False,
        )
        return done.stderr.decode()

    text = traced(COLUMNS=str(width))
    if "procmem trace:" in text:
        pytest.skip(text.strip())  # no ptrace here
    assert max(map(cells, text.splitlines())) <= width
    assert "Between the calls pages are touched" in " ".join(text.split())
    file = tmp_path / "trace"
    traced("-o", str(file), COLUMNS="40")
    assert max(map(cells, file.read_text().splitlines())) > 80


def test_columns_that_readline_left_behind_are_no_wish(target: Target) -> None:
    def widest(**env: str) -> int:
        done = subprocess.run(
            [sys.executable, "-m", "procmem", "maps", "--smaps", str(target.pid)],
            stdout=subprocess.PIPE,
            env={name: os.environ[name] for name in ("PATH",)} | env,
            check=True,
        )
        return max(map(len, done.stdout.decode().splitlines()))

    assert widest() > 200
    assert widest(COLUMNS="80", LINES="24") > 200
    assert widest(COLUMNS="80") <= 80


@pytest.mark.parametrize("unit", UNITS)
def test_units(run: Any, target: Target, unit: str) -> None:
    size = in_unit(unit)
    total = procmem.Process(target.pid).smaps().total("size")
    _, out, _ = run("maps", "--units", unit, "--columns", "name,size", target.pid)
    assert out.splitlines()[0].split() == ["Name", "Size"]
    assert out.splitlines()[-1].split()[-1] == size(total)
    for command in ("reconcile", "snapshot", "sections"):
        assert run(command, "--units", unit, target.pid)[0] == 0
    _, out, _ = run("pages", "--units", unit, "--columns", "name,pages", target.pid)
    assert out.splitlines()[0].split() == ["Name", "Size"]
    shown = procmem.Process(target.pid).maps().filter(end=LIMIT)
    assert size(shown.filter(lambda one: one.kind is not RegionKind.VVAR).total("size")) in out
    _, out, _ = run("pages", "--tables", "--units", unit, "--columns", "size", target.pid)
    table = procmem.Process(target.pid).page_tables()
    assert size(table.vm_pte) in out
    _, out, _ = run("reconcile", "--units", unit, "--columns", "total,left", target.pid)
    vsz = procmem.Process(target.pid).memory().vsz
    assert ["size", "(statm)", size(vsz)] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize("unit", UNITS)
def test_units_of_a_recording(run: Any, target: Target, tmp_path: Path, unit: str) -> None:
    file = tmp_path / "one.rec"
    assert run("record", target.pid, "-o", file, "--for", "50ms", "--quiet")[0] == 0
    vsz = procmem.Process(target.pid).memory().vsz
    asked = ("--units", unit, "--columns", "last,figure")
    status, out, _ = run("record", "--report", file, *asked)
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


def test_shorter_and_prose_count_cells() -> None:
    for most in range(1, 20):
        for text in ("plain text of letters", "日本語のテキスト", "e\u0301" * 20, "a日" * 9):
            for keep_end in (False, True):
                assert cells(shorter(text, most, keep_end=keep_end)) <= most
            for line in prose(text * 3, max(most, 2)).splitlines():
                assert cells(line) <= max(most, 2)
    for screen in WIDTHS:
        text = pairs([("name", "v" * 300), ("other", "words " * 60)], screen)
        assert max(map(cells, text.splitlines())) <= screen


def test_an_output_without_unicode_is_aligned() -> None:
    table = parse_smaps(smaps_of(["/tmp/é", "/tmp/e"]))
    try:
        show_only_ascii(True)
        text = region_table(table, chosen=["name", "rss"])
    finally:
        show_only_ascii(False)
    assert text.isascii()
    assert "\\xe9" in text
    assert printable("é") == "é"


@pytest.mark.parametrize("command", ["maps", "sections", "pages", "reconcile", "query"])
def test_no_locale_breaks_a_command(
    command: str, tmp_path: Path, target_binary: Path, start: Callable[..., int]
) -> None:
    path = tmp_path / "prögram 日本"
    shutil.copy(copied(tmp_path, "plain"), path)
    pid = start(str(path), "60")
    code = next(region.start for region in procmem.Process(pid).maps())
    words = [command, str(pid), *([f"{code:x}"] if command == "query" else [])]
    for env in (
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ):
        done = subprocess.run(
            [sys.executable, "-m", "procmem", *words],
            capture_output=True,
            env={"PATH": os.environ["PATH"]} | env,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""
        assert b"gram" in done.stdout or command == "reconcile"


# ---- names of C++ and Rust ----------------------------------------------------------


def test_query_shows_the_name_and_json_has_both(
    run: Any, tmp_path: Path, start: Callable[..., int]
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("cc is missing")
    source = tmp_path / "x.c"
    source.write_text(
        "#include <unistd.h>\n"
        'int f(void) __asm__("_RNvC7mycrate3foo"); int f(void) { return 7; }\n'
        "int main(void) { f(); sleep(60); return 0; }\n"
    )
    subprocess.run([compiler, "-g", "-o", tmp_path / "x", source], check=True)
    pid = start(str(tmp_path / "x"))
    nm = procmem.Process(pid)
    sections = {s.name: s for s in nm.sections() if s.path == str(tmp_path / "x")}
    text = sections[".text"]
    found = next(
        at
        for at in range(text.address, text.address + text.size)
        if (symbol := nm.symbol_at(at)) is not None and symbol.name == "_RNvC7mycrate3foo"
    )
    assert "mycrate::foo" in run("query", pid, f"{found:x}")[1]
    plain = run("query", "--no-demangle", pid, f"{found:x}")[1]
    assert "_RNvC7mycrate3foo" in plain
    assert "mycrate::foo" not in plain
    (told,) = json.loads(run("query", "--json", pid, f"{found:x}")[1])
    assert (told["symbol"], told["symbol_demangled"]) == ("_RNvC7mycrate3foo", "mycrate::foo")


# ---- types, dir() --------------------------------------------------------------------


def test_dir_names_what_there_is() -> None:
    assert {"size", "sizes", "demangle", "open_elf"} <= set(dir(procmem.elf))
    assert {"Specimen", "copy_on_write", "brk", "threads"} <= set(dir(procmem.experiments))
    assert set(procmem.__all__) <= set(dir(procmem))


@pytest.mark.slow
def test_type_checkers_know_the_names(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    file = tmp_path / "use.py"
    file.write_text(
        "import procmem\n"
        "procmem.nonsense\n"
        "procmem.elf.nonsense\n"
        "procmem.experiments.nonsense\n"
        "procmem.find('x')[0].maps()\n"
        "procmem.experiments.copy_on_write\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", file],
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == 3, done.stdout
    assert all("nonsense" in line for line in errors)


@pytest.mark.parametrize(
    "command", [*sorted(COMMANDS), "experiment malloc", "lab check", "lab new"]
)
def test_help_fits_every_screen(run: Any, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    words = {}
    for width in (60, 80, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        status, out, err = run(*command.split(), "--help")
        assert (status, err) == (0, "")
        assert max(map(cells, out.splitlines())) <= width
        words[width] = out.replace("-", "- ").split()
    # Nothing is lost but blanks.
    assert sorted("".join(words[60])) == sorted("".join(words[80])) == sorted("".join(words[200]))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_is_all_that_shows_usage(run: Any, command: str) -> None:
    status, out, err = run(command, "--no-such-option-there")
    assert out == ""
    assert status in (1, 2)
    assert len(err.splitlines()) <= (2 if command in ("ps", "size") else 1)
