"""procmem family."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.process.family import Family
from procmem.procfs import probes
from procmem.view.family import family_sentence, family_text, member_table
from procmem.view.names import show_only_ascii
from tests.support.commands import shell
from tests.support.targets import machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run
    from tests.support.targets import Target

MIB = 1 << 20


@pytest.fixture
def ascii_only() -> Iterator[None]:
    show_only_ascii(True)
    yield
    show_only_ascii(False)


def test_a_family(target: Target, run: Run) -> None:
    mapping = target.map(2560)  # 10 MiB
    target.touch(mapping)
    with target.fork() as child:
        child.touch(mapping.page(0, 1024))
        ran = run("family", target.pid, "--units", "KiB", "--columns", "pid,shared,copied,own")
        assert (ran.status, ran.err) == (0, "")
        rows = {
            row[0]: [int(word) for word in row[1:4]]
            for row in ran.rows
            if row[:1] and row[0].isdigit()
        }
        assert 6144 <= rows[str(target.pid)][0] == rows[str(child.pid)][0] < 6144 + 1024
        assert 4096 <= rows[str(child.pid)][1] < 4096 + 1024
        first = " ".join(ran.out.split("\n\n")[0].split())
        assert f"({target.pid}), 1 fork still shares 6" in first
        assert "of it in anonymous." in first
        (plain,) = json.loads(run("family", target.pid, "--json").out)
        assert [each["pid"] for each in plain["members"]] == [target.pid, child.pid]
        assert plain["members"][1]["copied"] // 1024 == rows[str(child.pid)][1]
        regions = run("family", target.pid, "--regions", "--limit", "1", "--units", "KiB")
        ((_, copied, *_),) = regions.rows
        assert 4096 <= int(copied) < 4096 + 1024  # and other anonymous memory
        assert "Not shown: " in regions.out


def test_one_without_children(target: Target, run: Run) -> None:
    ran = run("family", target.pid)
    assert ran.status == 0
    assert "has no child processes" in ran.out
    assert "Copied:" not in ran.out


def test_a_name_stands_for_the_parent(target: Target) -> None:
    target.comm("family-of-two")
    with target.fork() as child:
        said = shell("family", "family-of-two", "--json")
        assert (said.returncode, said.stderr) == (0, b"")
        (plain,) = json.loads(said.stdout)
        assert [each["pid"] for each in plain["members"]] == [target.pid, child.pid]


@pytest.mark.parametrize("width", [40, 60, 80, 132])
def test_it_fits_the_screen(target: Target, width: int) -> None:
    mapping = target.map(2560)
    target.touch(mapping)
    with target.fork(), target.fork():
        family = procmem.Process(target.pid).family()
    for member in family.members:
        member.name = "a name that is long\x1b[2J"
    for regions in (False, True):
        text = family_text(family, width=width, regions=regions)
        assert all(len(line) <= width for line in text.splitlines()), text
        assert "\x1b" not in text


def test_bars_have_a_cell_for_each_part(target: Target, ascii_only: None) -> None:
    mapping = target.map(2560)
    target.touch(mapping)
    with target.fork() as child:
        child.touch(mapping.page(0, 1280))
        family = procmem.Process(target.pid).family()
    text = member_table(family, chosen=["pid", "picture"])
    assert text.isascii()
    bars = {line.split()[0]: line.split()[1] for line in text.splitlines()[2:4]}
    assert set(bars[str(target.pid)]) <= set("#+.")
    assert {"#", "x"} <= set(bars[str(child.pid)]) <= set("#x+.")
    assert max(map(len, bars.values())) == 40


def test_what_is_missing_is_said(target: Target) -> None:
    first = procmem.Process(target.pid).family().members[0]
    lost = Family([first], dict.fromkeys(range(7), "no"), 2, exact=True)
    text = family_text(lost)
    assert "Not read, access denied: 0, 1, 2, 3, 4 and 2 more" in text
    assert "2 members ended meanwhile" in text
    first.executed = True
    assert "run another program" in family_sentence(
        Family([first, first, first], {}, 0, exact=True)
    )


def test_what_older_kernels_do_not_show(
    target: Target, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which counts of a process without forks, too."""
    for has, times in ((True, 0), (False, 1)):
        monkeypatch.setattr(probes, "has_pagemap_scan", lambda has=has: has)
        assert run("family", target.pid).out.count("Pages that were only read") == times


def test_an_ordinary_user_is_told_what_is_less_certain(target: Target) -> None:
    code = (
        "import os, sys\nfrom procmem.cli import main\n"
        "go, end = os.pipe(), os.pipe()\n"
        "if not (child := os.fork()):\n"
        "    os.write(go[1], b'x'); os.close(end[1]); os.read(end[0], 1); os._exit(0)\n"
        "os.read(go[0], 1)\n"
        "main(['family', 'self'])\n"
        "os.close(end[1]); os.waitpid(child, 0)\n"
    )
    done = machine.as_nobody(code, modules=("procmem.cli.family",))
    assert (done.returncode, done.stderr) == (0, "")
    assert "Page frames take CAP_SYS_ADMIN" in done.stdout


@pytest.mark.parametrize(
    "words", [["--limit", "x"], ["--columns", "x"], ["--json", "--limit", "3"]]
)
def test_usage(target: Target, run: Run, words: list[str]) -> None:
    ran = run("family", target.pid, *words)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("procmem family: ")


def test_no_such_process(run: Run) -> None:
    ran = run("family", 4_000_000)
    assert (ran.status, ran.out) == (1, "")
    assert "4000000" in ran.err
