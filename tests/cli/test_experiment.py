"""`procmem experiment`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem.cli import main
from procmem.experiments.ready.story import EXPERIMENTS
from procmem.view.experiment import story_text
from tests.support.blocking import until
from tests.support.commands import without_proc
from tests.support.stories import sample, story
from tests.support.targets.machine import as_nobody

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


GOLDEN = """\
sample: Does it look right?

   Step             VSZ     RSS  Regions  Agrees
-  ------------  ------  ------  -------  ----------
1  map one page  +4 KiB       0       +1  yes
     mmap hands out addresses: VSZ +4 KiB. No page is allocated before it is
     first touched: RSS +0.
2  map another   +4 KiB  +4 KiB       +1  NO
     rss: predicted 0, measured +4 KiB
     mmap hands out addresses: VSZ +4 KiB. No page is allocated before it is
     first touched: RSS +0. So it should not be.
3  map a third   +4 KiB  +4 KiB       +1  not judged
     this kernel counts roughly
     mmap hands out addresses: VSZ +4 KiB. No page is allocated before it is
     first touched: RSS +0.

   Claim       Expected   Seen  Holds
-  ----------  --------  -----  -----
4  the sky is      blue   blue  yes
     It scatters.
5  size           8 KiB  4 KiB  NO

6  swap it out: not possible here: no swap here

Reported:
what   ms
----  ---
a     1.2
b       -
A note.

2 of 4 as predicted.
Not judged, because it cannot be exact here: 1 (see above).
Not possible here: 1 (see above).
"""


def test_a_story_as_it_looks() -> None:
    assert story_text(sample()) == GOLDEN


@pytest.mark.parametrize("width", [20, 50, 80, 119, 500])
@pytest.mark.parametrize("name", ["lazy-allocation", "copy-on-write", "faults", "protection"])
def test_no_line_is_wider_than_the_screen(name: str, width: int) -> None:
    widest = max(map(len, story_text(story(name), width).splitlines()))
    assert widest <= max(width, 80)


class Ran:
    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        try:
            self.status = main(["experiment", *words])
        except SystemExit as left:
            self.status = left.code if isinstance(left.code, int) else 1
        self.out, self.err = capsys.readouterr()


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys)
    assert ran.status == 0
    assert [line.split()[0] for line in ran.out.splitlines()[: len(EXPERIMENTS)]] == [*EXPERIMENTS]
    listed = json.loads(Ran(capsys, "--json").out)
    assert [one["name"] for one in listed] == [*EXPERIMENTS]
    assert "lazy-allocation" in Ran(capsys, "--help").out


def test_the_command_tells_a_story(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    ran = Ran(capsys, "lazy-allocation", "--pages", "2k", "--touched", "0x10")
    assert (ran.status, ran.err) == (0, "")
    assert "map 2,048 pages" in ran.out
    assert "+64 KiB" in ran.out
    assert ran.out.endswith("\n8 of 8 as predicted.\n")
    assert max(map(len, ran.out.splitlines())) <= 80
    monkeypatch.setenv("COLUMNS", "110")
    assert max(map(len, Ran(capsys, "lazy-allocation").out.splitlines())) > 80


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = json.loads(Ran(capsys, "lazy_allocation", "--json").out)
    assert record["agreed"] == record["total"] == 8
    assert record["told"][0]["step"]["delta"]["vsz"] == 4096


def test_the_command_runs_all(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "all")
    assert (ran.status, ran.err) == (0, "")
    assert f"\n{len(EXPERIMENTS)} experiments: " in ran.out
    assert [n for n in EXPERIMENTS if f"\n{n}: " not in f"\n{ran.out}"] == []


def test_the_command_fails_if_one_differs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procmem.cli.experiment.find", lambda _name: sample)
    assert Ran(capsys, "brk").status == 1
    ran = Ran(capsys, "all")
    assert ran.status == 1
    assert f"{2 * len(EXPERIMENTS)} of {4 * len(EXPERIMENTS)} as predicted" in ran.out


@pytest.mark.parametrize(
    "words, says",
    [
        (["no-such"], "copy-on-write"),
        (["brk", "--pages", "many"], "whole number"),
        (["brk", "--pages", "1"], "too few"),
        (["brk", "--colour"], "--colour"),
        (["page-tables", "--address", "1", "--levels", "x"], "10,10,12"),
        (["all", "--pages", "3"], "--pages"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    ran = Ran(capsys, *words)
    assert ran.status == 2
    assert says in ran.err
    assert "Traceback" not in ran.err


COMMAND = [sys.executable, "-m", "procmem", "experiment"]


def test_a_reader_that_leaves_is_no_error() -> None:
    with subprocess.Popen(
        [*COMMAND, "all"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.wait(300) == 141
        assert process.stderr.read() == b""


@pytest.fixture
def slow() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [*COMMAND, "copy", "--size", "16M", "--rounds", "1000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def written(pid: int) -> int:
    """Bytes that it has written: a copy has 16 MiB."""
    try:
        return int(Path(f"/proc/{pid}/io").read_text().partition("wchar: ")[2].split()[0])
    except FileNotFoundError:
        pytest.skip("kernel feature missing: /proc/PID/io")


def test_ctrl_c_is_quiet(slow: subprocess.Popen[bytes]) -> None:
    # Once it has copied: an interrupt amid an import may come in a callback, which loses it.
    until(lambda: written(slow.pid) > 64 << 20 or slow.poll() is not None)
    os.killpg(slow.pid, signal.SIGINT)
    out, err = slow.communicate(timeout=60)
    assert (slow.returncode, out, err) == (130, b"", b"")


def test_it_runs_as_an_ordinary_user() -> None:
    done = as_nobody(
        "import sys\nfrom procmem.cli import main\nsys.exit(main(['experiment', 'all', '--json']))"
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert len(told) == len(EXPERIMENTS)
    assert all(one["agreed"] == one["total"] for one in told)


def test_what_a_limit_forbids_is_no_failure() -> None:
    code = (
        "import resource\n"
        "from procmem.experiments import page_tables\n"
        "limit = 600 << 20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "told = page_tables()\n"
        "print(told.skipped, [one.impossible for one in told.told if one.impossible], told.agrees)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Cannot allocate memory" in done.stdout


def test_the_heap_behind_bss_is_a_region_of_its_own() -> None:
    """Without address space randomisation the heap begins where bss ends."""
    fixed = ["setarch", "-R"]
    try:
        if subprocess.run([*fixed, "true"], check=False, capture_output=True).returncode:
            pytest.skip("setarch -R is not allowed here (personality(2))")
    except FileNotFoundError:
        pytest.skip("no setarch here")
    ran = subprocess.run(
        [*fixed, sys.executable, "-m", "procmem", "experiment", "all"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert not [line for line in ran.stdout.splitlines() if line.endswith("  NO")]
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", ["all", "lazy-allocation"])
def test_without_proc_nothing_is_measured(name: str) -> None:
    ran = without_proc("experiment", name)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("procmem experiment: proc: /proc is no /proc tree")
