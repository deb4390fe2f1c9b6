"""Files that cannot be written: nothing of them is left, and a traced program runs on."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.blocking import until_asleep
from tests.support.commands import Ran

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = ["sh", "-c", "true; true; echo done; exit 7"]
"""Goes on after memory calls, to an end of its own."""

FULL = "No space left on device"
LARGE = "File too large"


@pytest.fixture
def pid() -> Iterator[str]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        until_asleep(process.pid)  # before, it has few regions
        yield str(process.pid)
        process.kill()


def limited(*words: object, most: int | None = None) -> Ran:
    """Runs the command; it can write `most` bytes to a file, as if the disk were full then.

    setrlimit(2): beyond RLIMIT_FSIZE write(2) fails with EFBIG where SIGXFSZ is ignored, as
    Python does.
    """

    def limit() -> None:
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    done = subprocess.run(
        [sys.executable, "-m", "procmem", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=120, preexec_fn=limit,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def complaint(ran: Ran) -> str:
    """The one line that the command itself wrote to stderr."""
    (line,) = [line for line in ran.err.splitlines() if line.startswith("procmem ")]
    assert "Traceback" not in ran.err
    assert "Errno" not in ran.err
    return line


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "/dev/full"],
        ["--json", "-o", "/dev/full"],
        ["--strace", "-o", "/dev/full"],
        ["--format", "csv", "-o", "/dev/full"],
        ["--format", "html", "-o", "/dev/full"],
        ["--perfetto", "/dev/full", "--force"],
        ["--speedscope", "/dev/full", "--force"],
    ],
    ids=" ".join,
)
def test_a_traced_program_runs_on(words: list[str]) -> None:
    ran = limited("trace", *words, "--", *PROGRAM)
    assert (ran.status, ran.out) == (7, "done\n")
    assert complaint(ran).startswith(f"procmem trace: /dev/full: {FULL}; ")
    assert complaint(ran).endswith("the program is not affected")


def test_a_file_that_failed_is_no_success() -> None:
    for words in (["-o", "/dev/full"], ["--perfetto", "/dev/full", "--force", "-o", os.devnull]):
        assert limited("trace", *words, "--", "true").status == 1


@pytest.mark.parametrize(
    "words, start",
    [
        (["--json", "-o"], '{"pid": 1, "calls": ['),
        (["--perfetto"], '{"otherData": {"producer": "procmem 1'),
        (["--speedscope"], '{"exporter": "procmem 1'),
    ],
    ids=["json", "perfetto", "speedscope"],
)
def test_a_trace_that_is_cut_off_replaces_nothing(
    tmp_path: Path, words: list[str], start: str
) -> None:
    kept = tmp_path / "kept"
    kept.write_text(start)
    ran = limited("trace", *words, kept, "--", *PROGRAM, most=2000)
    assert (ran.status, ran.out) == (7, "done\n")
    assert (
        complaint(ran)
        == f"procmem trace: {kept}: {LARGE}; it is not written, the program is not affected"
    )
    assert kept.read_text() == start
    assert list(tmp_path.iterdir()) == [kept]


def test_lines_of_a_trace_are_kept_up_to_the_end_of_the_disk(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ran = limited("trace", "-o", log, "--", *PROGRAM, most=2000)
    assert (ran.status, ran.out) == (7, "done\n")
    assert "the trace in it ends here" in complaint(ran)
    assert log.stat().st_size == 2000


def test_a_whole_trace_replaces_an_old_one(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text('{"pid": 1, "calls": [')
    assert limited("trace", "--json", "-o", kept, "--", "true").status == 0
    assert '"returncode": 0' in kept.read_text()
    # A program that can't be run makes no trace.
    before = kept.read_text()
    assert limited("trace", "--json", "-o", kept, "--", "/no/such/program").status == 127
    assert kept.read_text() == before
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize(
    "words",
    [
        ["maps", "--json", "-o"],
        ["maps", "--format", "csv", "-o"],
        ["maps", "--svg"],
        ["snapshot", "-o"],
        ["snapshot", "--svg"],
        ["report", "-o"],
        ["record", "--for", "10ms", "-o"],
    ],
    ids=" ".join,
)
def test_nothing_is_left_of_a_file_that_is_cut_off(
    tmp_path: Path, pid: str, words: list[str]
) -> None:
    if words[0] == "report":
        pytest.importorskip("bokeh", reason="bokeh is not installed (extra report)")
    ran = limited(words[0], pid, *words[1:], tmp_path / "made", most=400)
    assert ran.status == 1
    assert complaint(ran) == f"procmem {words[0]}: {tmp_path / 'made'}: {LARGE}"
    assert list(tmp_path.iterdir()) == []


def test_stdout_on_a_full_disk(pid: str) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        for words in (["maps", pid], ["maps", pid, "--json"], ["snapshot", pid], ["--help"]):
            done = subprocess.run(
                [sys.executable, "-m", "procmem", *words],
                stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert done.returncode == 1, words
            assert done.stderr.endswith(f": writing the output: {FULL}\n"), words
            assert done.stderr.count("\n") == 1, words


def test_on_a_disk_that_is_full(tmp_path: Path) -> None:
    """A file system of its own, in a mount namespace that ends with the command."""
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("mounting a small file system needs root and unshare(1)")
    script = (
        'mount -t tmpfs -o size=4k none "$0" || exit 77; cd "$0"; "$@"; '
        'echo "status $?"; ls -A "$0"'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, tmp_path, sys.executable, "-m", "procmem", "trace",
         "--perfetto", "made", "-o", os.devnull, "--", *PROGRAM],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.stdout == "done\nstatus 7\n"
    said = f"procmem trace: made: {FULL}; it is not written, the program is not affected\n"
    assert done.stderr == said


def test_help_that_can_not_be_written_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        for words in (["maps", "--help"], ["--help"], ["lab", "new", "--help"]):
            done = subprocess.run(
                [sys.executable, "-m", "procmem", *words],
                stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 1
            assert done.stderr.endswith(f": writing the output: {FULL}\n")
            assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["x.html", "x.csv", "x.json", "x.parquet"])
def test_a_file_of_output_that_does_not_fit_is_named_once(tmp_path: Path, name: str) -> None:
    ran = limited("maps", "self", "-o", tmp_path / name, most=1000)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == f"procmem maps: {tmp_path / name}: {LARGE}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("exists", [False, True])
def test_a_lab_that_does_not_fit_is_not_begun(tmp_path: Path, exists: bool) -> None:
    place = tmp_path / "mine"
    if exists:
        place.mkdir()
    ran = limited("lab", "new", "mmap-demo", place, most=100)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == f"procmem lab: {place}: {LARGE}\n"
    assert [*tmp_path.rglob("*")] == [place] * exists
    assert limited("lab", "new", "mmap-demo", place).status == 0, "it is not in the way"
