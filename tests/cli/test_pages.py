"""procmem pages: what it shows of processes whose pages are known."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.cli.arguments import page_range
from procmem.pages.pagemap import PageMap, PageState
from procmem.picture.palette import PAGE_TONES, escape_sequence
from procmem.procfs import probes
from procmem.view.pages import overview, picture
from tests.support.commands import at
from tests.support.still import undisturbed
from tests.support.targets import (
    PAGE,
    Advice,
    TargetError,
    hostile_names,
    kernel_thread,
    start_copy,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Ran, Run
    from tests.support.targets import Target

GONE = 2**22 + 1

needs_frames = pytest.mark.skipif(
    not probes.shows_page_frames(), reason="page frame numbers take CAP_SYS_ADMIN"
)


def rows_of(ran: Ran) -> str:
    """The letters of a picture, its lines joined."""
    return "".join(re.findall(r"^  [0-9a-f]{12}  (\S+)$", ran.out, re.M))


def test_a_letter_for_each_page(run: Run, target: Target) -> None:
    mapping = target.map(100)
    target.touch(mapping, 30)
    target.read(mapping.page(50, 5))
    ran = run("pages", target.pid, at(mapping))
    assert (ran.status, ran.err) == (0, "")
    assert rows_of(ran) == "A" * 30 + "." * 20 + ("zzzzz" if scans() else "aaaaa") + "." * 45
    assert "100 pages" in ran.out
    assert "30 A" in ran.out
    assert "anonymous" in ran.out.splitlines()[0]
    assert ("z the page of zeros\n" in ran.out) is scans()
    assert "in swap" not in ran.out


def scans() -> bool:
    return probes.has_pagemap_scan()


def test_ranges_of_every_kind(run: Run, target: Target) -> None:
    mapping = target.map(64)
    target.touch(mapping.page(10, 1))
    whole = "." * 10 + "A" + "." * 53
    start = mapping.start
    for text, letters in (
        (f"{start:x}-{mapping.end:x}", whole),
        (f"{start:#x},{mapping.end:#x}", whole),
        (f"{start:x}+{mapping.size:x}", whole),
        (f"{start:x}+256K", whole),
        (f"{mapping.page(10).start:x}", whole),
        (f"{mapping.page(10).start:x}+1", "A"),
    ):
        ran = run("pages", target.pid, text)
        assert (ran.status, rows_of(ran)) == (0, letters), text
    target.malloc(100)
    for name in ("[heap]", "heap", "[stack]", "target"):
        ran = run("pages", target.pid, name)
        assert ran.status == 0
        assert "A" in rows_of(ran) or "F" in ran.out
    assert run("pages", "--width", "16", target.pid, at(mapping)).out.count("\n  0") == 4


def test_page_range() -> None:
    assert page_range("7f00-8f00") == (0x7F00, 0x8F00)
    assert page_range("7f00+2M") == (0x7F00, 0x7F00 + (2 << 20))
    assert page_range("7f00") == (0x7F00, None)
    assert page_range("libc-2.36.so") == "libc-2.36.so"
    assert page_range("[anon:a+b]") == "[anon:a+b]"


def test_many_pages_share_a_letter(run: Run, target: Target) -> None:
    mapping = target.map(100_000)
    target.touch(mapping.page(99_999))
    ran = run("pages", target.pid, at(mapping))
    letters = rows_of(ran)
    assert len(letters) <= 1024
    assert letters == "." * (len(letters) - 1) + "A"
    assert f"one letter per {-(-100_000 // 1024)} pages" in ran.out


def test_a_line_for_each_region(run: Run, target: Target) -> None:
    mapping = target.map(8)
    target.touch(mapping, 3)
    ran = run("pages", target.pid)
    assert ran.status == 0
    (row,) = [row for row in ran.rows if row[0] == f"{mapping.start:x}"]
    assert row[1:6] == ["rw-p", "8", "3", "0", "AAA....."]
    table = procmem.Process(target.pid).maps()
    assert len(ran.rows) == len(table)
    if table.filter(kind="vsyscall"):
        assert "not shown" in ran.out
    present = sum(int(row[3]) for row in ran.rows if row[3] != "-")
    assert ran.out.splitlines()[len(ran.rows) + 3].split()[2] == str(present)


def test_json_is_the_whole_answer(run: Run, target: Target) -> None:
    mapping = target.map(8)
    target.touch(mapping, 3)
    (told,) = json.loads(run("pages", "--json", target.pid, at(mapping)).out)
    (part,) = told["regions"]
    assert told["pid"] == target.pid
    assert part["region"]["start"] == mapping.start
    assert part["pages"]["counts"]["anonymous"] == 3
    assert part["pages"]["runs"] == [
        [mapping.start, mapping.page(3).start, "A"],
        [mapping.page(3).start, mapping.end, "."],
    ]
    (told,) = json.loads(run("pages", "--json", "--tables", target.pid).out)
    assert told["tables"]["exact"] is True
    assert told["tables"]["levels"][0]["counted"] is False


def test_page_tables(run: Run, target: Target) -> None:
    ran = run("pages", target.pid, "--tables")
    assert ran.status == 0
    assert "exact" in ran.out
    assert [line.split()[0] for line in ran.out.splitlines()[2:6]] == ["PGD", "PUD", "PMD", "PTE"]
    assert f"VmPTE         {(procmem.Process(target.pid).memory().page_tables or 0) >> 10}" in (
        ran.out
    )


@needs_frames
def test_frames_sharers_and_translations(run: Run, target: Target) -> None:
    mapping = target.map(8)
    target.touch(mapping, 6)
    with target.fork() as child:
        child.touch(mapping, 1)
        options = ("--frames", "--sharers", "--translate", f"{mapping.start + 5:x}")
        # The kernel may move a page at any time, to make room for a huge one.
        frame, (ran, listed) = undisturbed(
            lambda: procmem.Process(target.pid).translate(mapping.start + 5),
            lambda: [
                run("pages", *more, target.pid, *options, at(mapping)) for more in ([], ["--json"])
            ],
        )
        assert (ran.status, ran.err) == (0, "")
        assert f"{frame.physical:#x}" in ran.out
        assert "offset in page  5" in ran.out
        assert "2 ×" in ran.out
        assert "ANON" in ran.out
        shared = f"{mapping.page(1).start:x}-{mapping.page(6).start:x}"
        assert f"{shared}      5" in ran.out
        assert str(child.pid) in ran.out
        (told,) = json.loads(listed.out)
        assert [each["mapped"] for each in told["frames"]] == [1, 2, 2, 2, 2, 2]
        assert told["sharers"]["shares"] == [
            {
                "process": child.pid,
                "start": mapping.page(1).start,
                "end": mapping.page(6).start,
                "at": mapping.page(1).start,
            }
        ]
        (sharing,) = told["sharers"]["by_process"]
        assert (sharing["pid"], sharing["size"]) == (child.pid, 5 * PAGE)
        assert sharing["regions"] == [
            {"start": mapping.start, "name": sharing["regions"][0]["name"], "size": 5 * PAGE}
        ]
        assert sharing["frees"] > 0
        whole = run("pages", target.pid, "--sharers")
        rows = {row[0]: row for row in whole.rows if row}
        assert float(rows[str(child.pid)][2]) > 0
        assert "shares most with" in whole.out
        assert "Here" not in whole.out
        assert told["translations"][0]["physical"] == frame.physical
        assert told["translations"][0]["page"]["state"] == "A"


def test_without_the_right_a_message_says_which(
    run: Run, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "shows_page_frames", lambda: False)
    for option in ("--frames", "--sharers", "--translate=0"):
        ran = run("pages", target.pid, option)
        assert ran.status == 1
        assert "CAP_SYS_ADMIN" in ran.err
        assert "Traceback" not in ran.err
    # What could be told is told.
    ran = run("pages", target.pid, "[stack]", "--frames")
    assert ran.status == 1
    assert "A" in rows_of(ran)


def test_what_is_not_there_is_status_1(run: Run, target: Target) -> None:
    ran = run("pages", target.pid, "nosuchname", "1000")
    assert ran.status == 1
    assert "there is no region named nosuchname" in ran.err
    assert "no region covers 0x1000" in ran.err
    hole = run("pages", target.pid, "1000-3000")
    assert hole.status == 0
    assert hole.out.startswith("no region\n  pages 1000-3000\n  000000001000  ..\n")
    kernel = run("pages", target.pid, "ffffffff00000000-ffffffff00001000")
    assert kernel.status == 1
    assert "kernel" in kernel.err
    zombie = run("pages", target.zombie())
    assert zombie.status == 1
    assert "zombie" in zombie.err
    assert run("pages", GONE).status == 1
    (nothing,) = [run("pages", "--json", GONE)]
    assert (nothing.status, json.loads(nothing.out)) == (1, [])
    thread = kernel_thread()
    if thread is not None:
        ran = run("pages", thread)
        assert ran.status == 1
        assert "kernel thread" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ["pages"],
        ["pages", "self", "5-5"],
        ["pages", "self", "9+0"],
        ["pages", "self", "--width", "0"],
        ["pages", "self", "--width", "many"],
        ["pages", "self", "--translate", "here"],
        ["pages", "self", "--translate", "1" + "0" * 16],
        ["pages", "self", "--colour", "blue"],
    ],
)
def test_usage(run: Run, words: list[str]) -> None:
    ran = run(*words)
    assert (ran.status, ran.out) == (2, "")
    assert "usage:" in ran.err


def without_colours(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]+m", "", text)


def test_colours(run: Run, target: Target) -> None:
    mapping = target.map(8)
    target.touch(mapping, 3)
    plain = run("pages", target.pid, at(mapping)).out
    dressed = run("pages", "--colour", "always", target.pid, at(mapping)).out
    row = f"{escape_sequence(PAGE_TONES['anonymous'])}AAA\x1b[0m....."
    assert "\x1b" not in plain
    assert row in dressed
    assert without_colours(dressed) == plain
    assert row in run("pages", "--color", "always", target.pid).out


def test_the_letters_have_tones() -> None:
    """Those of the palette are PageState's."""
    marks = {name: one.mark for name, one in PAGE_TONES.items()}
    for state in PageState:
        assert marks[state.name.lower().replace("_", " ")] == state.value


@pytest.mark.parametrize("what", sorted(hostile_names()))
def test_no_name_reaches_the_terminal_raw(
    run: Run, tmp_path: Path, target_binary: Path, what: str
) -> None:
    path = os.fsencode(tmp_path) + b"/" + hostile_names()[what]
    with start_copy(path, target_binary) as target:
        for words in ((), (f"{target.truths.main:x}",), ("--json",)):
            ran = run("pages", target.pid, *words)
            assert ran.status == 0
            assert all(char.isprintable() or char == "\n" for char in ran.out)


def test_many_regions_and_huge_ones(run: Run, target: Target) -> None:
    if not scans():
        pytest.skip("kernel feature missing: PAGEMAP_SCAN")
    target.map((8 << 40) // PAGE, "---p", at="any", flags=0x4000)
    made = target.regions(5000, touched=True).made
    ran = run("pages", target.pid)
    assert ran.status == 0
    assert len(ran.rows) > made
    assert str((8 << 40) // PAGE) in ran.out


def test_the_picture_of_known_pages() -> None:
    words = [0, 0, 1 << 63 | 1 << 56, 1 << 62, 1 << 63 | 1 << 61, 1 << 63]
    pages = PageMap.from_bytes(b"".join(w.to_bytes(8, sys.byteorder) for w in words), 0x4000)
    assert picture((None, pages), width=4) == (
        "no region\n"
        "  pages 4000-a000\n"
        "  000000004000  ..As\n"
        "  000000008000  fa\n"
        "  6 pages, 2 ., 1 A, 1 a, 1 f, 1 s; not known here: the zero page\n"
    )
    (region,) = procmem.parse_maps(b"00004000-0000a000 rw-p 00000000 00:00 0 \n")
    parts = [(region, pages), (region, None)]
    assert overview(parts, width=6) == (
        "Start  Perm  Pages  Present  Swap  Map     Name\n"
        "-----  ----  -----  -------  ----  ------  ---------------------------------\n"
        "4000   rw-p      6        3     1  ..Asfa  anonymous\n"
        "4000   rw-p      -        -     -          anonymous  (not shown by pagemap)\n"
        "-----  ----  -----  -------  ----  ------  ---------------------------------\n"
        "total            6        3     1          2 regions\n"
    )


def test_guard_pages_show(run: Run, target: Target) -> None:
    mapping = target.map(6)
    try:
        target.madvise(mapping.page(2, 2), Advice.GUARD_INSTALL)
    except TargetError:
        pytest.skip("kernel feature missing: MADV_GUARD_INSTALL")
    if not probes.shows_guard_pages():
        pytest.skip("kernel feature missing: guard pages in pagemap")
    assert rows_of(run("pages", target.pid, at(mapping))) == "..gg.."
