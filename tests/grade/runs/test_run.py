"""Programs run by phases: what they wait for, told from outside."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from procmem import KiB
from procmem.grade import (
    Limits,
    NeverAsked,
    NotPossibleHere,
    OutputFlood,
    ProgramCrashed,
    ProgramEnded,
    ProgramSleeps,
    ProgramSpins,
    RunFailed,
    Sandbox,
    Submission,
    SubmissionError,
)
from tests.support.paths import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from procmem.grade import Program

pytestmark = pytest.mark.skipif(
    os.uname().machine not in {"x86_64", "aarch64"}, reason="numbers of system calls are unknown"
)

QUICK = Limits(cpu=1, wall=1.5)


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("asking")
    source = TARGETS / "asking.c"
    try:
        subprocess.run(
            ["gcc", "-O1", "-g", "-pthread", "-o", directory / "asking", source], check=True
        )
    except FileNotFoundError:
        pytest.skip("no gcc here")
    return directory


@pytest.fixture(scope="module")
def submission(binary: Path) -> Iterator[Submission]:
    with Submission(binary, program=["./asking"], sandbox=Sandbox(limits=Limits(wall=60))) as made:
        yield made


@pytest.fixture
def program(submission: Submission) -> Program:
    return submission.program()


@pytest.fixture
def quick(submission: Submission) -> Program:
    made = submission.program()
    made.limits = QUICK
    return made


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / name.replace("_c", ".c")).write_text(text)
        return tmp_path

    return make


def heap(run_snapshot: object) -> int:
    return sum(r.size for r in run_snapshot.regions if r.pathname == "[heap]") // KiB  # type: ignore[attr-defined]


def test_ten_mallocs_of_32_kib(program: Program) -> None:
    with program.run("alloc") as run:
        empty = run.pause()
        run.answer()
        full = run.pause()
        run.answer()
        freed = run.pause()
        run.answer()
        assert run.finish().status == 0
    # getchar() has made the heap by the first wait.
    assert [heap(one) for one in (empty, full, freed)] == [132, 452, 420]
    assert (full - empty).vsz == 320 * KiB
    assert [name for name, _ in run.phases] == ["at the 1st wait", "at the 2nd wait",
                                                "at the 3rd wait"]  # fmt: skip


@pytest.mark.parametrize(
    "how",
    "read readv poll ppoll select pselect epoll dup tty thread child late beside bytes".split(),
)
def test_every_way_to_wait_for_input(program: Program, how: str) -> None:
    with program.run("wait", how) as run:
        run.pause()
        assert run.output == ("computed\n" if how == "beside" else "")
        run.answer("x" * 10)
        run.pause()
        assert run.output.endswith("had it\n")
        run.answer()
        assert run.finish().status == 0


@pytest.mark.parametrize(
    "how, call",
    [
        ("pause", "pause"),
        ("sigsuspend", "rt_sigsuspend"),
        ("nanosleep", "clock_nanosleep"),
        ("naps", "clock_nanosleep"),
        ("poll", "poll"),
        ("stop", "a stop signal"),
        ("pipe", "read"),
        ("closed", "clock_nanosleep"),
        ("deaf", "pause"),
    ],
)
def test_sleepers_are_told(quick: Program, how: str, call: str) -> None:
    with quick.run("sleep", how) as run:
        with pytest.raises(ProgramSleeps, match="at its start") as caught:
            run.pause()
        assert caught.value.call.removeprefix("p") in call
        assert not caught.value.forever
        with pytest.raises(ProgramSleeps):
            run.answer()


def test_a_deadlock_is_named_at_once(program: Program) -> None:
    with program.run("sleep", "deadlock") as run, pytest.raises(ProgramSleeps) as caught:
        run.pause()
    assert caught.value.forever
    assert "deadlock" in str(caught.value)


def test_a_sleep_is_taken_if_asked_for(program: Program) -> None:
    with program.run("sleep", "pause") as run:
        run.pause(at="sleep")
    with program.run("sleep", "twice") as run:
        run.pause(at="sleep")
        os.kill(run.pid, signal.SIGUSR1)
        run.pause("again", at="sleep")
        os.kill(run.pid, signal.SIGUSR1)
        assert run.finish().status == 0
    with program.run("wait") as run:
        run.pause(at="sleep")


@pytest.mark.parametrize(
    "how, number, words",
    [
        ("null", signal.SIGSEGV, "SEGV_MAPERR"),
        ("thread", signal.SIGSEGV, "SEGV_MAPERR"),
        ("readonly", signal.SIGSEGV, "SEGV_ACCERR"),
        ("past", signal.SIGBUS, "BUS_ADRERR"),
        ("abort", signal.SIGABRT, "SIGABRT"),
        ("kill", signal.SIGKILL, "SIGKILL"),
    ],
)
def test_crashes_are_told(program: Program, how: str, number: int, words: str) -> None:
    with program.run("crash", how) as run, pytest.raises(ProgramCrashed) as caught:
        run.pause()
    assert caught.value.signal == number
    assert words in str(caught.value) or caught.value.code is None
    if how in {"null", "thread"}:
        assert caught.value.address == 0


def test_an_end_is_told(program: Program) -> None:
    with program.run("exit", "3") as run, pytest.raises(NeverAsked) as caught:
        run.pause()
    assert caught.value.status == 3
    with program.run("exit", "-139") as run:
        run.pause()
        run.answer()
        with pytest.raises(ProgramEnded, match="after the 1st answer") as after:
            run.pause()
    # 128 + 11 is an exit status, no signal.
    assert after.value.status == 139
    assert not isinstance(after.value, NeverAsked)


def test_computing_is_told(quick: Program) -> None:
    with quick.run("spin") as run, pytest.raises(ProgramSpins) as caught:
        run.pause()
    assert caught.value.seconds >= 0


def test_one_that_others_leave_no_cpu_computes(
    quick: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had of the CPU is compared with the time in which it was not kept from it."""
    with quick.run("spin") as run:
        wall = run.limits.wall
        run._last, run._spent = "a stop signal", 30 * wall
        monkeypatch.setattr(type(run._jailed), "cpu_seconds", lambda _: (1.1 * wall, 28.8 * wall))
        with pytest.raises(ProgramSpins):
            run._check(None)
        monkeypatch.setattr(type(run._jailed), "cpu_seconds", lambda _: (0, 28.8 * wall))
        with pytest.raises(ProgramSleeps):
            run._check(None)
        monkeypatch.undo()


def test_one_asks_while_others_never_rest(quick: Program) -> None:
    with quick.run("wait", "hands") as run, pytest.raises(ProgramSpins):
        run.pause()


def test_output_is_taken_while_it_prints(program: Program) -> None:
    with program.run("print", "1000000") as run:
        run.pause()
        assert run.output == "a" * 1_000_000


def test_too_much_output(program: Program) -> None:
    with program.run("print", "2000000") as run, pytest.raises(OutputFlood) as caught:
        run.pause()
    assert caught.value.limit == program.limits.output
    assert len(caught.value.output) <= 4096


def test_what_is_typed_is_not_echoed(program: Program) -> None:
    with program.run("echo") as run:
        for line in ("one", "", "zwei ü", "x" * 4000):
            run.pause()
            run.answer(line)
        run.pause()
        run.end_of_input()
        assert run.finish().status == 0
        assert run.output == "<one\n><\n><zwei ü\n><" + "x" * 4000 + "\n>end\n"
    with program.run("echo") as run, pytest.raises(ValueError):
        run.answer("x" * 5000)


def test_finish_answers_and_then_ends_the_input(program: Program) -> None:
    with program.run("echo") as run:
        assert run.finish(["a", "b"]).status == 0
        assert run.output == "<a\n><b\n>end\n"


def test_who_asks_after_the_end_of_input(program: Program) -> None:
    with program.run("ask-on") as run, pytest.raises(ProgramSleeps, match="keeps asking"):
        run.finish()


def test_what_a_run_shows(program: Program) -> None:
    with program.run("threads") as run:
        snapshot = run.pause()
        assert len(run.threads) == 4
        assert any("libc" in path for path in run.libraries)
        assert run.faults.minor > 0
        assert run.process.pid == run.pid > 0
        assert snapshot.vsz > 0
    assert not os.path.exists(f"/proc/{run.pid}")
    assert program.size.data > 0


def test_the_environment_is_cleared(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    with program.run("environment", environment={"LAB": "x"}) as run:
        run.finish()
        names = {line.partition("=")[0] for line in run.output.splitlines()}
    assert names == {"HOME", "LANG", "PATH", "TMPDIR", "LAB"}


def test_the_stack_limit_is_the_machines(binary: Path) -> None:
    with (
        Submission(binary) as submission,
        submission.program(["/bin/sh", "-c", "ulimit -s"]).run() as run,
    ):
        run.finish()
        told = run.output.strip()
    soft = resource.getrlimit(resource.RLIMIT_STACK)[0]
    assert told == ("unlimited" if soft == resource.RLIM_INFINITY else f"{soft // KiB}")


def test_programs_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "loader").write_text("#!/no/such/interpreter\n")
    (tmp_path / "loader").chmod(0o755)
    with Submission(tmp_path) as submission:
        with pytest.raises(SubmissionError, match="no such file"):
            submission.program("./missing")
        for name, why in (("./text", "is not executable"), ("./loader", "interpreter")):
            with pytest.raises(RunFailed, match=why), submission.program(name).run():
                pass
        with pytest.raises(SubmissionError, match="not a program"):
            _ = submission.program("./text").size


# ---- tracing and leaks ----------------------------------------------------------------------


def test_calls(program: Program) -> None:
    try:
        trace = program.calls("alloc", answers=["", "", ""])
    except NotPossibleHere as error:
        pytest.skip(str(error))
    assert trace.returncode == 0
    names = [call.name for call in trace]
    assert names[0] == "execve"
    assert names[-1] == "exit_group"
    grown = [call.delta_vsz for call in trace if call.name == "brk" and call.delta_vsz]
    # The heap, that of the ten blocks, and what free() gave back.
    assert sum(filter(None, grown)) == 420 * KiB


def test_calls_of_one_that_crashes(program: Program) -> None:
    try:
        with pytest.raises(ProgramCrashed):
            program.calls("crash", "null")
    except NotPossibleHere as error:
        pytest.skip(str(error))


def test_leaks(program: Program) -> None:
    try:
        found = program.leaks("alloc", answers=["", "", ""])
    except NotPossibleHere as error:
        pytest.skip(str(error))
    assert found.definitely == (294_912, 9)
    assert found.indirectly == found.possibly == (0, 0)
    assert found.places[0].place.startswith(("alloc (asking.c:", "main (asking.c:"))


MOVES = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

static char other[1 << 16];
static ucontext_t here, there;

static void unmaps_the_stack(void)
{
    char line[512], c;
    unsigned long start, end;
    FILE *maps = fopen("/proc/self/maps", "r");

    while (fgets(line, sizeof line, maps))
        if (strstr(line, "[stack]") && sscanf(line, "%lx-%lx", &start, &end) == 2)
            munmap((void *)start, end - start);
    if (read(0, &c, 1) < 0)
        _exit(1);
    _exit(0);
}

int main(int count, char **arguments)
{
    struct prctl_mm_map map = {0};
    char c;

    (void)arguments;
    if (count > 1) {
        getcontext(&there);
        there.uc_stack.ss_sp = other;
        there.uc_stack.ss_size = sizeof other;
        makecontext(&there, unmaps_the_stack, 0);
        swapcontext(&here, &there);
    }
    errno = 0;
    prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
    if (errno != EACCES || prctl(PR_GET_DUMPABLE) < 0)
        return 1;
    return read(0, &c, 1) < 0;
}
"""


def test_heap_and_stack_can_be_neither_moved_nor_hidden(tmp_path: Path) -> None:
    (tmp_path / "moves.c").write_text(MOVES)
    build = ["gcc", "-w", "-o", "moves", "moves.c"]
    with Submission(tmp_path, build=build, program=["./moves"]) as submission:
        assert submission.build.ok, submission.build.output
        with submission.program().run() as run:
            run.pause()
            run.answer()
            assert run.finish().status == 0
        with submission.program().run("unmap") as run, pytest.raises(RunFailed, match=r"\[stack\]"):
            run.pause()
