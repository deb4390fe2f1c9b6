"""The commands for people: maps, query, reconcile, doctor, demo, and what they share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.cli import COMMANDS
from procmem.view.maps import counter_table, grouped_table, region_table
from procmem.view.names import printable
from tests.support.commands import at
from tests.support.targets import PAGE, Target, hostile_names, kernel_thread, start_copy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.commands import Run

KIB = PAGE // 1024
NOBODY = 2**22 + 1
"""A number above the largest PID that Linux gives (PID_MAX_LIMIT)."""


def shell(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """Runs the command as its users do."""
    return subprocess.run(
        [sys.executable, "-m", "procmem", *words],
        capture_output=True,
        check=False,
        timeout=60,
        env=env,
    )


# ---- maps ----------------------------------------------------------------------


def test_maps_shows_what_was_mapped_and_touched(run: Run, target: Target) -> None:
    mapping = target.map(50)
    target.touch(mapping, 20)
    ran = run("maps", "--range", at(mapping), target.pid)
    assert ran.status == 0
    assert ran.err == ""
    (row,) = ran.rows
    size, touched = str(50 * KIB), str(20 * KIB)
    assert row[:3] == [f"{mapping.start:x}", f"{mapping.end:x}", "rw-p"]
    assert row[3:8] == [size, touched, touched, touched, "0"]
    assert row[8:] == ["anon", "anonymous"]
    assert ran.out.splitlines()[-1].split()[1:4] == [size, touched, touched]


def test_maps_fast_agrees_with_smaps(run: Run, target: Target) -> None:
    target.touch(target.map(10))
    slow = {row[0]: row[4] for row in run("maps", target.pid).rows}
    fast = {row[0]: row[4] for row in run("maps", "--fast", target.pid).rows}
    assert slow == fast


def test_maps_totals_are_the_rows_sums(run: Run, target: Target) -> None:
    ran = run("maps", target.pid)
    sums = [sum(int(row[column]) for row in ran.rows) for column in range(3, 8)]
    total = ran.out.splitlines()[-1].split()
    assert total[0] == "total"
    assert [int(word) for word in total[1:6]] == sums
    assert total[6] == str(len(ran.rows))


def test_maps_filters_combine(run: Run, target: Target) -> None:
    target.malloc(1000)
    assert [row[8] for row in run("maps", "--kind", "heap", target.pid).rows] == ["heap"]
    kinds = {row[8] for row in run("maps", "--kind", "heap", "--kind", "stack", target.pid).rows}
    assert kinds == {"heap", "stack"}
    code = run("maps", "--perms", "?-xp", "--path", "*target*", target.pid)
    assert [row[2] for row in code.rows] == ["r-xp"]
    assert not run("maps", "--kind", "heap", "--perms", "r-xp", target.pid).rows


def test_maps_sorts(run: Run, target: Target) -> None:
    for pages in (3, 9, 6):
        target.touch(target.map(pages))
    sizes = [int(row[4]) for row in run("maps", "--sort", "rss", target.pid).rows]
    assert sizes == sorted(sizes, reverse=True)
    kinds = [row[8] for row in run("maps", "--sort", "kind", target.pid).rows]
    assert kinds == sorted(kinds)


@pytest.mark.parametrize("by", ["kind", "path"])
def test_maps_adds_up_by(run: Run, target: Target, by: str) -> None:
    whole = run("maps", target.pid).out.splitlines()[-1].split()
    grouped = run("maps", "--by", by, target.pid)
    assert grouped.out.splitlines()[-1].split()[1:3] == whole[1:3]
    assert sum(int(row[0]) for row in grouped.rows) == int(whole[6])


def test_maps_smaps_shows_each_counter(run: Run, target: Target) -> None:
    heading = run("maps", "--smaps", target.pid).out.splitlines()[0].split()
    text = Path(f"/proc/{target.pid}/smaps").read_text(errors="replace")
    counters = {line.partition(":")[0] for line in text.splitlines() if ":  " in line}
    counters -= {"Size"}
    assert counters <= set(heading)


def test_maps_json_is_the_whole_table(run: Run, target: Target) -> None:
    ran = run("maps", "--json", target.pid, target.pid)
    first, second = json.loads(ran.out)
    assert first["pid"] == second["pid"] == target.pid
    table = procmem.Process(target.pid).smaps()
    again = procmem.RegionTable.from_dict(first)
    assert [r.start for r in again] == [r.start for r in table]
    assert again.filter(kind="data") == table.filter(kind="data")


def test_maps_names_the_threads_of_stacks(run: Run, target: Target) -> None:
    threads = target.threads(3).threads
    process = procmem.Process(target.pid)
    # A thread tells its stack once it waits, which it does not yet when it is started.
    while any(thread.stack is None for thread in process.threads()):
        os.sched_yield()
    out = run("maps", "--kind", "thread stack", target.pid).out
    tids = sorted(thread.tid for thread in threads)
    if len({thread.stack for thread in process.threads() if thread.tid in tids}) == 1:
        # Their guards are marks in the page table (glibc 2.42): one region.
        assert f"stacks of 3 threads, {tids[0]} to {tids[-1]}" in out
        return
    for thread in threads:
        assert f"stack of thread {thread.tid}" in out


def test_maps_reads_a_saved_tree(run: Run, target: Target, tmp_path: Path) -> None:
    saved = tmp_path / "77"
    saved.mkdir()
    for name in ("maps", "smaps"):
        (saved / name).write_bytes(Path(f"/proc/{target.pid}/{name}").read_bytes())
    here, there = run("maps", target.pid), run("maps", "--root", tmp_path, "77")
    assert there.status == 0
    assert [row[:3] for row in there.rows] == [row[:3] for row in here.rows]
    ran = run("maps", "--fast", "--root", tmp_path, "77")
    assert ran.status == 1
    assert "pagemap" in ran.err


@pytest.mark.parametrize("what", sorted(hostile_names()))
def test_no_name_reaches_the_terminal_raw(
    run: Run, tmp_path: Path, target_binary: Path, what: str
) -> None:
    name = hostile_names()[what]
    path = os.fsencode(tmp_path) + b"/" + name
    shown = [printable(text.decode("utf-8", "surrogateescape")) for text in (name, path)]
    with start_copy(path, target_binary) as target:
        for words in (
            ("maps", target.pid),
            ("maps", "--show-path", target.pid),
            ("maps", "--smaps", target.pid),
            ("maps", "--by", "path", target.pid),
            ("query", target.pid, f"{target.truths.main:x}"),
        ):
            ran = run(*words)
            assert ran.status == 0, ran.err
            assert all(char.isprintable() or char == "\n" for char in ran.out)
            assert any(text in ran.out for text in shown)


# ---- query ---------------------------------------------------------------------


def test_query_tells_the_region_and_the_place_in_it(run: Run, target: Target) -> None:
    ran = run("query", target.pid, f"{target.truths.main:#x}", f"{target.truths.bss:x}")
    assert ran.status == 0
    code, bss = ran.out.split("\n\n")
    assert "text of the executable" in code
    region = procmem.Process(target.pid).region_at(target.truths.main)
    assert region is not None
    inside = target.truths.main - region.start
    assert f"{inside:#x} of {region.size:#x}" in code
    assert f"offset in file    {region.offset + inside:#x}" in code
    assert f"address           {target.truths.bss:#x}" in bss


def test_query_of_nothing_names_the_neighbours(run: Run, target: Target) -> None:
    ran = run("query", target.pid, "0")
    assert (ran.status, ran.out) == (1, "")
    assert "no region covers 0x0" in ran.err
    assert "below" in ran.err


def test_query_json(run: Run, target: Target) -> None:
    (answer,) = json.loads(run("query", "--json", target.pid, f"{target.truths.main:x}").out)
    region = answer["region"]
    assert region["start"] + answer["offset_in_region"] == target.truths.main == answer["address"]
    assert region["kind"] == "text"


# ---- reconcile, doctor, demo -----------------------------------------------------


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


def test_doctor(run: Run) -> None:
    ran = run("doctor")
    assert ran.status == 0
    names = {feature["name"] for feature in json.loads(run("doctor", "--json").out)}
    assert {"PAGEMAP_SCAN", "PROCMAP_QUERY", "exact VmRSS"} <= names
    assert all(name in ran.out for name in names)


def test_demo_ends_what_it_starts() -> None:
    ran = shell("demo")
    assert ran.returncode == 0, ran.stderr
    assert b" 0 unexplained." in ran.stdout
    pid = int(ran.stdout.split(b"procmem maps ")[1].split()[0])
    with pytest.raises(procmem.NoSuchProcess):
        procmem.Process(pid)


# ---- what all share --------------------------------------------------------------


@pytest.mark.parametrize("command", ["maps", "reconcile"])
def test_one_that_can_not_be_read_is_reported_and_the_rest_is_done(
    run: Run, target: Target, command: str
) -> None:
    ran = run(command, NOBODY, target.pid)
    assert ran.status == 1
    assert ran.err == f"procmem {command}: process {NOBODY}: no such process\n"
    assert len(ran.out.splitlines()) > 5


def test_states_have_messages_of_their_own(run: Run, target: Target) -> None:
    zombie = target.zombie()
    ran = run("maps", zombie)
    assert ran.status == 1
    assert "a zombie" in ran.err
    thread = kernel_thread()
    if thread is None:
        pytest.skip("no kernel thread shows in this PID namespace")
    ran = run("query", thread, "0")
    assert ran.status == 1
    assert "kernel thread" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ["maps"],
        ["maps", ""],
        ["maps", "-5"],
        ["maps", "self", "--kind", "nonsense"],
        ["maps", "self", "--perms", "rwx"],
        ["maps", "self", "--range", "zz"],
        ["maps", "self", "--fast", "--smaps"],
        ["maps", "self", "--fast", "--sort", "pss"],
        ["query", "self"],
        ["query", "self", "here"],
        ["reconcile"],
        ["doctor", "now"],
        ["nonsense"],
        ["bad\x1bname"],
        [],
    ],
)
def test_usage_errors_are_status_2_and_one_message(run: Run, words: Sequence[str]) -> None:
    ran = run(*words)
    assert ran.status == 2
    assert ran.out == ""
    assert "usage:" in ran.err or "procmem" in ran.err
    assert "Traceback" not in ran.err
    assert "\x1b" not in ran.err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(run: Run, command: str) -> None:
    ran = run(command, "--help")
    assert ran.status == 0
    assert "sage" in ran.out
    assert f"  {command}" in run("--help").out


def test_version(run: Run) -> None:
    assert run("--version").out == f"procmem {procmem.__version__}\n"


def test_a_reader_that_goes_away_is_no_error(target: Target) -> None:
    target.regions(2000)
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as nobody:
        ran = subprocess.run(
            [sys.executable, "-m", "procmem", "maps", str(target.pid)],
            stdout=nobody,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ran.stderr == b""
    assert ran.returncode == 128 + signal.SIGPIPE


def test_output_that_can_not_be_written_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "procmem", "maps", "self"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ran.returncode == 1
    assert b"No space left" in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_a_terminal_without_utf8_gets_escapes() -> None:
    ran = shell("reconcile", "self", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 0
    assert b"\\u03a3 maps" in ran.stdout


def test_names_that_look_alike_are_shown_apart() -> None:
    names = ["a\nb", "a\\nb", "a\\012b", "a\tb", "a\x1bb", "a\udc1bb"[:1], "\u202eb", "\xad"]
    shown = [printable(name) for name in names]
    assert len(set(shown)) == len(shown)
    assert all(text.isprintable() for text in shown)
    assert printable("plain é 日本") == "plain é 日本"


# ---- golden pictures -------------------------------------------------------------

SMAPS = b"""\
00400000-00401000 r-xp 00000000 08:01 7                                  /bin/x
Size:                  4 kB
Rss:                   4 kB
Pss:                   1 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
Swap:                  0 kB
00401000-00402000 rw-p 00001000 08:01 7                                  /bin/x
Size:                  4 kB
Rss:                   4 kB
00600000-00621000 rw-p 00000000 00:00 0                                  [heap]
Size:                132 kB
Rss:                  12 kB
Pss:                  12 kB
Private_Clean:         0 kB
Private_Dirty:        12 kB
Swap:                  8 kB
VmFlags: rd wr
"""


def test_tables_as_they_look() -> None:
    table = procmem.parse_smaps(SMAPS, exe="/bin/x")
    assert region_table(table) == (
        "Start     End       Perm  Size  RSS  PSS  USS  Swap  Kind       Owner       Name\n"
        "--------  --------  ----  ----  ---  ---  ---  ----  ---------  ----------  ----\n"
        "00400000  00401000  r-xp     4    4    1    0     0  text       executable  x\n"
        "00401000  00402000  rw-p     4    4    -    -     -  data       executable  x\n"
        "00600000  00621000  rw-p   132   12   12   12     8  heap                   heap\n"
        "--------  --------  ----  ----  ---  ---  ---  ----  ---------  ----------  ----\n"
        "total                      140   20    -    -     -  3 regions              KiB\n"
    )
    assert grouped_table(table, "path") == (
        "Regions  Size  RSS  PSS  USS  Swap  Path\n"
        "-------  ----  ---  ---  ---  ----  ----------\n"
        "      1   132   12   12   12     8  [heap]\n"
        "      2     8    8    -    -     -  /bin/x\n"
        "-------  ----  ---  ---  ---  ----  ----------\n"
        "      3   140   20    -    -     -  total, KiB\n"
    )
    assert counter_table(table).splitlines()[2].split() == (
        ["00400000", "r-xp", "4", "4", "1", "0", "0", "0", "text", "x", "-"]
    )
