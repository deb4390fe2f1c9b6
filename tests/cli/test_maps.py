"""procmem maps: what was mapped and touched, filters, sums, saved trees."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.view.maps import counter_table, grouped_table, region_table
from procmem.view.names import printable
from tests.support.commands import at
from tests.support.still import undisturbed
from tests.support.targets import PAGE, Target, hostile_names, start_copy

if TYPE_CHECKING:
    from tests.support.commands import Run


KIB = PAGE // 1024


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

    def shown(*words: str) -> dict[str, str]:
        return {row[0]: row[4] for row in run("maps", *words, target.pid).rows}

    slow, fast = undisturbed(shown, lambda: shown("--fast"))
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
    def totals() -> list[str]:
        return run("maps", target.pid).out.splitlines()[-1].split()

    whole, grouped = undisturbed(totals, lambda: run("maps", "--by", by, target.pid))
    assert grouped.out.splitlines()[-1].split()[1:3] == whole[1:3]
    assert sum(int(row[0]) for row in grouped.rows) == int(whole[6])


def test_maps_smaps_shows_each_counter(run: Run, target: Target) -> None:
    heading = run("maps", "--smaps", target.pid).out.splitlines()[0].split()
    text = Path(f"/proc/{target.pid}/smaps").read_text(errors="replace")
    counters = {line.partition(":")[0] for line in text.splitlines() if ":  " in line}
    counters -= {"Size"}
    assert counters <= set(heading)


def test_maps_json_is_the_whole_table(run: Run, target: Target) -> None:
    # Tables are equal with all counters: another process of the program changes PSS, and a page
    # of it that was just compiled is written to the disk.
    process = procmem.Process(target.pid)
    data, ran = undisturbed(
        lambda: process.smaps().filter(kind="data"),
        lambda: run("maps", "--json", target.pid, target.pid),
    )
    first, second = json.loads(ran.out)
    assert first["pid"] == second["pid"] == target.pid
    again = procmem.RegionTable.from_dict(first)
    assert [r.start for r in again] == [r.start for r in process.maps()]
    assert again.filter(kind="data") == data
    assert data


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


def test_numa_nodes_and_zeros(run: Run) -> None:
    with Target() as target:
        mapping = target.map(50)
        target.touch(mapping, 40)
        try:
            procmem.Process(target.pid).numa()
        except procmem.Unsupported as error:
            pytest.skip(str(error))
        ran = run("maps", "--numa", "--units", "B", target.pid)
        assert ran.status == 0
        heading = ran.out.split("\n", 1)[0].split()
        nodes = [place for place, word in enumerate(heading) if re.fullmatch(r"N\d+", word)]
        assert nodes
        assert "Policy" in heading
        (row,) = [row for row in ran.rows if int(row[0], 16) == mapping.start]
        assert sum(int(row[place]) for place in nodes) == 40 * PAGE
        (found,) = json.loads(run("maps", "--numa", "--json", target.pid).out)
        (one,) = [one for one in found["numa"] if one["start"] == mapping.start]
        assert one["anon"] == 40 * PAGE
        ran = run("maps", "--columns", "start,huge,ksm,name", target.pid)
        assert ran.status == 0
        assert ran.out.split()[:4] == ["Start", "Huge", "KSM", "Name"]
        assert run("maps", "--numa", "--by", "kind", target.pid).status == 2
        assert run("maps", "--fast", "--sort", "huge", target.pid).status == 2
