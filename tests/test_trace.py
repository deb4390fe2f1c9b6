"""Traces of programs whose calls are known, and what becomes of those programs."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import AccessDenied, MemoryCall, NoSuchProcess, SyscallError, Trace, trace
from procmem.calls.constants import Advice, Map, Prot
from procmem.errors import BadArgument
from procmem.history.arguments import Clone
from procmem.history.trace import Ended, Tracing, find_program
from procmem.view.trace import Summary, strace_line
from tests import targets
from tests.targets import NOBODY, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced program counts in pages of 4 KiB")


def may_trace() -> bool:
    try:
        trace(["true"])
    except SyscallError:
        return False
    return True


@pytest.fixture(scope="session")
def program(target_binary: Path) -> str:
    """The program of traced.c; the directory is the test run's and is removed with it."""
    if not may_trace():
        pytest.skip("ptrace(2) is forbidden here")
    made = targets.directory() / f"traced-{os.getpid()}"
    if not made.exists():
        compiler = shutil.which("gcc") or shutil.which("cc") or "cc"
        source = Path(targets.__file__).with_name("traced.c")
        targets.run_compiler([compiler, "-O1", "-Wall", "-pthread", str(source), "-o", str(made)])
        made.chmod(0o755)
    return str(made)


def shell(*words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "procmem", "trace", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def named(calls: Sequence[MemoryCall], name: str) -> list[MemoryCall]:
    return [call for call in calls if call.name == name]


def own(calls: Trace) -> list[MemoryCall]:
    """What follows the loader's and libc's start: from the first call at the known place on."""
    start = next(i for i, c in enumerate(calls) if c.words[0] == 0x10000000000)
    return calls[start:]


def until(said: str, path: str) -> None:
    """Waits until a file of /proc has a text."""
    deadline = time.monotonic() + 60
    while said not in Path(path).read_text():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def until_traced(pid: int) -> None:
    """TracerPid is the ID of the tracing thread."""
    deadline = time.monotonic() + 60
    while "TracerPid:\t0" in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# ---- truth known beforehand ----


def test_each_call_with_its_effect(program: str) -> None:
    traced = trace([program, "everything"])
    assert (traced.returncode, traced.exact, traced.reason) == (0, True, "")
    assert traced[0].name == "execve"
    assert traced[0].args["argv"] == (program, "everything")
    assert traced[0].delta_vsz is None
    calls = own(traced)
    mapped = calls[0]
    assert (mapped.name, mapped.delta_vsz, mapped.delta_rss) == ("mmap", 100 * PAGE, 0)
    assert mapped.args["prot"] == Prot.PROT_READ | Prot.PROT_WRITE
    assert mapped.args["flags"] == (Map.MAP_PRIVATE | Map.MAP_ANONYMOUS | Map.MAP_FIXED_NOREPLACE)
    assert (mapped.args["fd"], mapped.args["length"]) == (-1, 100 * PAGE)
    assert mapped.region is not None
    assert (mapped.region.start, mapped.region.size) == (0x10000000000, 100 * PAGE)
    assert (mapped.region.perms, mapped.pid, mapped.tid) == ("rw-p", traced.pid, traced.pid)
    # Touching is no call, and shows between two of them.
    assert calls[1].after is not None
    assert calls[2].before is not None
    assert calls[2].before.rss - calls[1].after.rss == 10 * PAGE
    protect, again = named(calls, "mprotect")[:2]
    assert (protect.delta_vsz, protect.delta_rss) == (0, 0)
    assert protect.region is not None
    assert (protect.region.size, protect.region.perms) == (50 * PAGE, "r--p")
    assert again.region is not None
    assert again.region.size == 100 * PAGE
    dropped, refused = named(calls, "madvise")[1:3]
    assert dropped.args["advice"] is Advice.MADV_DONTNEED
    assert (dropped.delta_vsz, dropped.delta_rss) == (0, -4 * PAGE)
    assert (refused.errno, refused.result, refused.region) == (errno.EINVAL, None, None)
    [grown] = named(calls, "mremap")
    assert (grown.delta_vsz, grown.delta_rss) == (100 * PAGE, 0)
    locked = named(calls, "mlock")[0]
    assert locked.errno or locked.delta_rss == PAGE
    unmapped, failed = named(calls, "munmap")
    assert unmapped.delta_vsz == -200 * PAGE
    assert unmapped.region is not None
    assert failed.errno == errno.EINVAL
    assert named(calls, "mmap")[2].errno == errno.EBADF
    if named(calls, "shmat"):
        assert named(calls, "shmat")[0].delta_vsz == 3 * PAGE
        assert named(calls, "shmdt")[0].delta_vsz == -3 * PAGE
    assert named(calls, "brk")[-1].delta_vsz == 5 * PAGE
    last = calls[-1]
    assert (last.name, last.returned, last.result, last.after) == ("exit_group", False, None, None)
    assert all(call.ns is not None and call.ns > 0 for call in calls[:-1])
    assert json.loads(json.dumps(calls[0].to_dict()))["delta_vsz"] == 100 * PAGE


def test_it_is_a_sequence(program: str) -> None:
    traced = trace([program, "many", "3"])
    assert [c.name for c in traced] == [traced[i].name for i in range(len(traced))]
    assert [c.name for c in traced[-3:]] == ["mmap", "munmap", "exit_group"]
    assert "MemoryCall" in repr(traced[0])
    assert "returncode 0" in repr(traced)
    with pytest.raises(IndexError):
        traced[len(traced)]


@pytest.mark.parametrize("seccomp", [True, False])
def test_either_way_of_stopping_tells_the_same(program: str, seccomp: bool) -> None:
    traced = trace([program, "everything"], seccomp=seccomp)
    told = [(c.name, c.errno, c.delta_vsz) for c in own(traced)]
    assert told[0] == ("mmap", None, 100 * PAGE)
    assert told == [(c.name, c.errno, c.delta_vsz) for c in own(trace([program, "everything"]))]


# ---- against strace ----

ADDRESS = re.compile(r"0x[0-9a-f]+")


def plain(lines: Iterator[str]) -> list[str]:
    """Addresses differ from run to run: they are numbered in the order of their coming."""
    return [ADDRESS.sub("ADDRESS", line) for line in lines]


@pytest.mark.parametrize("what", [("everything",), ("many", "20"), ("signals", "2")])
def test_the_lines_are_those_of_strace(program: str, what: tuple[str, ...], tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    theirs = tmp_path / "strace"
    calls = (
        "mmap,munmap,brk,mprotect,madvise,mremap,mlock,mlock2,munlock,mlockall,munlockall,shmat,"
        "shmdt,clone,execve,exit,exit_group"
    )
    done = subprocess.run(
        ["strace", "-X", "abbrev", "-e", f"trace={calls}", "-e", "signal=none", "-o", theirs,
         program, *what],
        check=False, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"strace can't run here: {done.stderr!r}")
    ours = shell("--strace", program, *what)
    told = plain(iter(ours.stderr.splitlines()))
    expected = plain(iter(theirs.read_text().splitlines()))
    # Segments' numbers are new each time, and strace writes unknown advice in its own way.
    unstable = ("shmat", "madvise(ADDRESS, 16384, ADDRESS")
    assert [re.sub(r" +", " ", line) for line in told if not line.startswith(unstable)] == [
        re.sub(r" +", " ", line) for line in expected if not line.startswith(unstable)
    ]
    assert sum(line.startswith("shmat") for line in told) == sum(
        line.startswith("shmat") for line in expected
    )


# ---- threads and children ----


def test_all_threads(program: str) -> None:
    traced = trace([program, "threads", "50"])
    made = [c for c in traced if c.name in {"clone", "clone3"}]
    assert len(made) == 4
    assert all(call.args["flags"] & Clone.CLONE_THREAD for call in made)
    tids = {call.result for call in made}
    pairs = [c for c in traced if c.name == "mmap" and c.tid in tids and c.words[1] == PAGE]
    assert len(pairs) == 200
    assert {call.pid for call in traced} == {traced.pid}
    assert not traced.exact
    assert "other threads" in traced.reason
    assert sum(call.name == "exit" for call in traced) == 4


def test_children_on_demand(program: str) -> None:
    alone = trace([program, "forks", "3"])
    assert {call.pid for call in alone} == {alone.pid}
    assert set(alone.ended) == {alone.pid}
    traced = trace([program, "forks", "3"], follow=True)
    assert sorted(traced.ended.values()) == [0, 0, 1, 2]
    children = set(traced.ended) - {traced.pid}
    assert {c.result for c in traced if c.name in {"fork", "clone"}} == children
    for child in children:
        [mapped] = [c for c in traced if c.pid == child and c.name == "mmap"]
        assert (mapped.delta_vsz, mapped.delta_rss, mapped.exact) == (7 * PAGE, 0, True)


def test_vfork_and_exec(program: str) -> None:
    traced = trace([program, "vfork"], follow=True)
    [made] = [c for c in traced if c.name == "vfork" or c.args.get("flags", 0) & 0x4000]
    assert made.result in traced.ended
    assert "vfork" in made.reason
    started = [c for c in traced if c.name == "execve" and c.pid == made.result]
    assert [c.errno for c in started] == [None]
    after = [c for c in traced if c.pid == made.result and c.began > started[0].began]
    assert all(call.exact for call in after)
    assert {*traced.ended.values()} == {0}


def test_exec_in_a_thread_that_does_not_lead(program: str) -> None:
    traced = trace([program, "exec-in-thread"])
    first, second = named(traced, "execve")
    assert first.returned
    assert second.args["argv"] == (program, "nothing")
    assert (second.result, traced.returncode) == (0, 0)
    assert traced[-1].name == "exit_group"


def test_a_leading_thread_that_has_ended(program: str) -> None:
    traced = trace([program, "leader-gone", "30"])
    mapped = [c for c in traced if c.name == "mmap" and c.words[1] == PAGE and c.tid != traced.pid]
    assert len(mapped) == 30
    assert mapped[-1].delta_vsz == PAGE
    assert traced.returncode == 0


# ---- signals, stops, ends ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_death_by_a_signal(program: str, number: int) -> None:
    assert trace([program, "kill", str(int(number))]).returncode == -number
    ran = shell("--strace", program, "kill", str(int(number)))
    assert ran.returncode == 128 + number
    assert ran.stderr.endswith(f"+++ killed by {signal.Signals(number).name} +++\n")


def test_handlers_run(program: str) -> None:
    traced = trace([program, "signals", "40"])
    assert traced.returncode == 0
    assert len([c for c in traced if c.name == "mmap" and c.words[0] == 0x10000000000]) == 40


def test_stop_and_continue(program: str) -> None:
    with Tracing([program, "stop"]) as tracing:
        until("State:\tt", f"/proc/{tracing.pid}/status")
        deadline = time.monotonic() + 60
        while "State:\tT" not in Path(f"/proc/{tracing.pid}/status").read_text():
            # A stop of ptrace passes by itself; the group's stop stays.
            if "State:\tt" in Path(f"/proc/{tracing.pid}/status").read_text():
                time.sleep(0.05)
                break
            assert time.monotonic() < deadline
        os.kill(tracing.pid, signal.SIGCONT)
        calls = [call for call in tracing if isinstance(call, MemoryCall)]
    assert tracing.returncode == 0
    assert next(c.delta_vsz for c in calls if c.words[0] == 0x10000000000) == 3 * PAGE


def test_the_program_keeps_its_input_and_output(program: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "procmem", "trace", "--", "cat"],
        input=b"one\0two\xff", capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ran.stdout, ran.returncode) == (b"one\0two\xff", 0)
    assert b"start /" in ran.stderr


def test_the_exit_status_is_the_programs(program: str, tmp_path: Path) -> None:
    ran = shell("-o", str(tmp_path / "out"), "--", "sh", "-c", "exit 41")
    assert (ran.returncode, ran.stdout, ran.stderr) == (41, "", "")
    assert "exited with 41" in (tmp_path / "out").read_text()
    ran = shell("--json", "-o", str(tmp_path / "out"), "--", "sh", "-c", "exit 41")
    told = json.loads((tmp_path / "out").read_text())
    assert told["returncode"] == 41
    assert told["calls"][0]["name"] == "execve"


def test_what_can_not_be_run(program: str, tmp_path: Path) -> None:
    ran = shell("no-such-program-here")
    assert ran.returncode == 127
    assert ran.stderr.startswith("procmem trace: execve: No such file")
    with pytest.raises(SyscallError) as caught:
        trace(["./no/such/program"])
    assert caught.value.errno == errno.ENOENT
    text = tmp_path / "text"
    text.write_text("no program")
    text.chmod(0o755)
    with pytest.raises(SyscallError) as caught:
        trace([str(text)])
    assert caught.value.errno == errno.ENOEXEC
    text.chmod(0o644)
    assert shell(str(text)).returncode == 126
    with pytest.raises(SyscallError) as caught:
        find_program(b"text", os.fsencode(tmp_path))
    assert caught.value.errno == errno.EACCES
    with pytest.raises(BadArgument):
        trace("true")
    with pytest.raises(BadArgument):
        trace()
    with pytest.raises(BadArgument):
        trace(pid=os.getpid())
    assert shell().returncode == 2


def test_environment_directory_and_files(program: str, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as out:
        traced = trace(["sh", "-c", "echo $WORD; pwd -P"], env={"WORD": "here"}, cwd=tmp_path,
                       stdout=out)  # fmt: skip
    assert traced.returncode == 0
    assert (tmp_path / "out").read_text() == f"here\n{tmp_path.resolve()}\n"
    assert traced[0].args["envc"] == 1


def test_other_children_of_this_process_are_left_alone(program: str) -> None:
    with subprocess.Popen(["sh", "-c", "exit 5"]) as other:
        trace([program, "many", "5"])
        assert other.wait() == 5


def test_memory_is_bounded(program: str) -> None:
    traced = trace([program, "many", "5000"], limit=100)
    assert len(traced) == 100
    assert traced.dropped > 9900
    assert traced.returncode == 0


# ---- attaching ----


@contextlib.contextmanager
def waiting(program: str, pages: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [program, "wait", str(pages)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        assert started.stdout
        assert started.stdin
        assert started.stdout.read(1) == b"r"
        yield started
        with contextlib.suppress(BrokenPipeError):
            started.stdin.close()
        assert started.wait(60) == 0


def test_attach_and_let_go(program: str) -> None:
    with waiting(program, 9) as started, Tracing(pid=started.pid) as tracing:
        assert started.stdin
        started.stdin.write(b"xx")
        started.stdin.flush()
        found: list[MemoryCall] = []
        for call in tracing:
            if isinstance(call, MemoryCall):
                found.append(call)
            if len(found) == 6:
                tracing.detach()
        assert [c.name for c in found] == ["mmap", "madvise", "munmap"] * 2
        assert [c.delta_vsz for c in found[:3]] == [9 * PAGE, 0, -9 * PAGE]
        assert tracing.returncode is None
        status = Path(f"/proc/{started.pid}/status").read_text()
        assert "TracerPid:\t0" in status
        assert "State:\tS" in status or "State:\tR" in status


def test_the_command_lets_go_on_ctrl_c(program: str) -> None:
    with waiting(program, 2) as started:
        with subprocess.Popen(
            [sys.executable, "-m", "procmem", "trace", "-p", str(started.pid)],
            stderr=subprocess.PIPE, text=True,
        ) as command:  # fmt: skip
            until_traced(started.pid)
            command.send_signal(signal.SIGINT)
            assert command.wait(60) == 0
        assert started.poll() is None


def test_a_tracer_that_is_killed_stops_nothing(program: str) -> None:
    with waiting(program, 2) as started:
        assert started.stdin
        with subprocess.Popen(
            [sys.executable, "-m", "procmem", "trace", "-p", str(started.pid)],
            stderr=subprocess.DEVNULL,
        ) as command:  # fmt: skip
            until_traced(started.pid)
            started.stdin.write(b"x" * 100)
            started.stdin.flush()
            command.kill()
        until("TracerPid:\t0", f"/proc/{started.pid}/status")


def test_what_was_launched_dies_with_its_tracer(program: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "procmem", "trace", "--", program, "wait", "1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as command:  # fmt: skip
        assert command.stdout
        assert command.stdin
        assert command.stdout.read(1) == b"r"
        command.kill()
        # The program held the other end of this pipe.
        assert command.stdout.read() == b""


def test_ctrl_c_is_the_programs(program: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "procmem", "trace", "--", program, "sigint"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as command:  # fmt: skip
        assert command.stdout
        assert command.stdout.read(1) == b"r"
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 7


def test_an_exception_ends_what_was_launched(program: str) -> None:
    with pytest.raises(KeyError), Tracing(["sleep", "1000"]) as tracing:
        raise KeyError
    assert not Path(f"/proc/{tracing.pid}").exists()


def test_refusals(program: str, is_root: bool) -> None:
    with pytest.raises(NoSuchProcess):
        trace(pid=2**22 + 1)
    assert shell("-p", str(2**22 + 1)).returncode == 1
    with (
        waiting(program, 1) as started,
        Tracing(pid=started.pid),
        pytest.raises(AccessDenied, match=f"process {os.getpid()} traces it already"),
    ):
        trace(pid=started.pid)
    if not is_root:
        with pytest.raises(AccessDenied):
            trace(pid=1)


def test_an_ordinary_user_traces(program: str, is_root: bool, tmp_path: Path) -> None:
    """The program runs as nobody, under a filter that root installed."""
    if not is_root or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to become another user")
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", program]
    traced = trace([*words, "everything"])
    assert traced.returncode == 0
    assert own(traced)[0].delta_vsz == 100 * PAGE


def test_nobody_reads_the_trace(program: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m procmem trace -- {program} many 3000 2>&1 | head -n 1"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.stdout.split()[:2] == ["TID", "ΔVSZ"]


# ---- views ----


def test_the_table_explains(program: str) -> None:
    ran = shell("--", program, "everything")
    assert "heap grows by 20 KiB" in ran.stderr
    assert "map 400 KiB rw- private anonymous, in place" in ran.stderr
    assert "between the calls" in ran.stderr
    summary = Summary()
    traced = trace([program, "everything"])
    for call in traced:
        summary.add(call)
    first, last = traced[1].before, traced[-1].before
    assert first is not None
    assert last is not None
    # Every byte is accounted for: what calls did, and what happened between them.
    sums = [sum(row[i] for row in summary.rows.values()) for i in (2, 3)]
    seen = traced[0].after
    assert seen is not None
    assert (last.vsz - seen.vsz, last.rss - seen.rss) == (
        sums[0] + summary.between[0],
        sums[1] + summary.between[1],
    )


def test_the_face() -> None:
    assert procmem.trace is trace
    assert isinstance(Ended(1, 0, several=False), Ended)
    assert strace_line.__doc__


def test_children_that_end_before_their_parent_tells_of_them() -> None:
    code = (
        "import os\n"
        "for _ in range(8):\n"
        "    if not os.fork():\n"
        "        for _ in range(40):\n"
        "            if not os.fork():\n"
        "                os._exit(0)\n"
        "        while True:\n"
        "            try: os.wait()\n"
        "            except OSError: break\n"
        "        os._exit(0)\n"
        "while True:\n"
        "    try: os.wait()\n"
        "    except OSError: break\n"
    )
    words = ["trace", "-f", "--strace", "-o", os.devnull, sys.executable, "-c", code]
    done = subprocess.run(
        [sys.executable, "-m", "procmem", *words], capture_output=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")
