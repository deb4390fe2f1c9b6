"""Traces of programs whose calls are known, and what becomes of those programs."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import platform
import pty
import re
import select
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
from procmem.native import ffi, lib
from procmem.tracing.arguments import Clone
from procmem.tracing.events import Breakpoints, ProcessEnd, Signal
from procmem.tracing.tracer import Tracing, find_program
from procmem.view.strace import strace_line
from procmem.view.trace import TraceSummary
from tests.support import targets
from tests.support.paths import TARGETS
from tests.support.targets import NOBODY, PAGE
from tests.support.traced import may_trace, named, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced program counts in pages of 4 KiB")


@pytest.fixture(scope="session")
def program(target_binary: Path) -> str:
    """The program of traced.c; the directory is the test run's and is removed with it."""
    if not may_trace():
        pytest.skip("ptrace(2) is forbidden here")
    made = targets.directory() / f"traced-{os.getpid()}"
    if not made.exists():
        compiler = shutil.which("gcc") or shutil.which("cc") or "cc"
        source = TARGETS / "traced.c"
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
    return [re.sub("si_pid=[0-9]+", "si_pid=PID", ADDRESS.sub("ADDRESS", line)) for line in lines]


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
        ["strace", "-X", "abbrev", "-e", f"trace={calls}", "-o", theirs, program, *what],
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
        pytest.raises(AccessDenied, match=rf"process {os.getpid()} \(.*\) already traces it"),
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
    summary = TraceSummary()
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
    assert isinstance(ProcessEnd(1, 0, several=False), ProcessEnd)
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


# ---- malloc ----


def functions(calls: Trace, name: str) -> list[MemoryCall]:
    return [call for call in calls if call.is_function and call.name == name]


def test_ten_mallocs_and_their_system_calls(program: str) -> None:
    seen(program)
    traced = trace([program, "mallocs"], malloc=True)
    assert traced.returncode == 0
    small = [call for call in functions(traced, "malloc") if call.args["size"] == 32 * 1024]
    large = [call for call in functions(traced, "malloc") if call.args["size"] == 256 * 1024]
    freed = [
        call
        for call in functions(traced, "free")
        if call.args["ptr"] in {each.address for each in small + large}
    ]
    assert (len(small), len(large), len(freed)) == (10, 10, 20)
    assert len({call.result for call in small + large}) == 20
    assert all(call.is_function and call.within is None for call in small + large + freed)
    # What a function did to VSZ is what its system calls did, each told before it.
    for call in small + large + freed:
        inner = [
            each
            for each in traced
            if each.within == call.name and call.began <= each.began <= call.began + (call.ns or 0)
        ]
        assert len(inner) == call.made
        assert call.delta_vsz == sum(each.delta_vsz or 0 for each in inner)
    assert all(call.region and call.region.start <= (call.address or 0) for call in small + large)
    told = large[0].to_dict()
    assert (told["name"], told["made"], told["args"]) == ("malloc", large[0].made, {"size": 2**18})
    assert json.loads(json.dumps(told)) == told
    if "libc.so.6" in traced.breakpoints[0].path and "MALLOC_" not in str(os.environ):
        assert [call.made for call in large] == [1] * 10
        assert [call.delta_vsz for call in large] == [260 * 1024] * 10
        assert [call.made for call in freed] == [1] * 10 + [0] * 10
        assert 0 < sum(call.made > 0 for call in small) < 5


def test_without_being_asked_malloc_is_not_seen(program: str) -> None:
    traced = trace([program, "mallocs"])
    assert not traced.breakpoints
    assert not any(call.is_function or call.within for call in traced)
    told = trace([program, "mallocs"], malloc=7)
    assert sum(call.is_function for call in told) in {0, 7}
    assert told.returncode == 0
    if any(call.is_function for call in told):
        assert told.breakpoints[-1].limited


def test_the_same_system_calls_with_malloc_seen(program: str) -> None:
    plainly = [c.name for c in trace([program, "mallocs"])]
    assert [
        c.name for c in trace([program, "mallocs"], malloc=True) if not c.is_function
    ] == plainly


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("seccomp", [False, True])
def test_malloc_in_threads_and_children(program: str, follow: bool, seccomp: bool) -> None:
    seen(program)
    traced = trace(
        [program, "malloc-threads", "100", "5"], malloc=True, follow=follow, seccomp=seccomp
    )
    assert traced.returncode == 0
    assert sorted(traced.ended.values()) == ([0, 3, 3, 3, 3, 3] if follow else [0])
    rounds = 400 + 25 * follow
    kin = [c for c in traced if c.is_function]
    assert sum(c.name == "posix_memalign" and c.args["size"] == 100 for c in kin) == rounds
    assert sum(c.name == "realloc" and c.args["size"] >= 50 for c in kin) >= rounds
    assert sum(c.name == "calloc" and c.args["nmemb"] == 3 for c in kin) == rounds
    aligned = [c.address for c in kin if c.name == "posix_memalign"]
    assert all(address and address % 64 == 0 for address in aligned)


def test_a_child_of_vfork_may_call_malloc(program: str) -> None:
    for seccomp in (True, False):
        for follow in (True, False):
            traced = trace([program, "malloc-vfork"], malloc=True, follow=follow, seccomp=seccomp)
            assert traced.returncode == 4
    assert trace([program, "posix-spawn"], malloc=True).returncode == 0
    assert trace([program, "vfork"], malloc=True, follow=True).returncode == 0


@pytest.mark.parametrize("follow", [False, True])
def test_children_let_go_before_they_are_announced_are_not_waited_for(
    program: str, follow: bool
) -> None:
    words = ["--no-seccomp", "--malloc", "-o", os.devnull, *["-f"][:follow], "--", program]
    assert shell(*words, "vfork-threads").returncode == 0


@pytest.mark.parametrize("malloc", [False, True])
def test_a_programs_own_traps_are_its_own(program: str, malloc: bool) -> None:
    assert trace([program, "malloc-traps"], malloc=malloc).returncode == 0


def test_a_static_program(program: str, tmp_path: Path) -> None:
    seen(program)
    source = tmp_path / "static.c"
    source.write_text(
        "#include <stdlib.h>\nint main(void) { void *volatile at = malloc(12345); free(at); }\n"
    )
    built = subprocess.run(["cc", "-static", "-O0", source, "-o", tmp_path / "static"],
                           check=False, capture_output=True)  # fmt: skip
    if built.returncode:
        pytest.skip("static programs can't be made here")
    traced = trace([tmp_path / "static"], malloc=True)
    [asked] = [c for c in functions(traced, "malloc") if c.args["size"] == 12345]
    assert asked.address in {c.args["ptr"] for c in functions(traced, "free")}
    subprocess.run(["strip", tmp_path / "static"], check=True)
    ran = shell("--", str(tmp_path / "static"))
    assert ran.returncode == 0
    assert "Calls of malloc are not told: no file that the program maps has" in ran.stderr


def code_of(pid: int, path: str) -> bytes:
    """The executable part of a mapped file, as it lies in memory."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith(path) and " r-xp " in line:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(start)
                return memory.read(end - start)
    raise AssertionError(path)


@pytest.mark.parametrize("drop", [False, True])
def test_attaching_to_malloc_leaves_nothing(program: str, drop: bool) -> None:
    seen(program)
    with subprocess.Popen(
        [program, "malloc-forever"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        assert started.stdout
        assert started.stdin
        assert started.stdout.read(1) == b"r"
        for _ in range(3):
            with Tracing(pid=started.pid, malloc=True) as tracing:
                path, count = "", 0
                for one in tracing:
                    if isinstance(one, Breakpoints):
                        path = path or one.path
                    if count == 200:
                        started.stdin.write(b"xx")
                        started.stdin.flush()
                    if isinstance(one, MemoryCall) and one.is_function:
                        count += 1
                    if count == 1000:
                        if drop:
                            break
                        tracing.detach()
            assert path
            assert "TracerPid:\t0" in Path(f"/proc/{started.pid}/status").read_text()
            with contextlib.suppress(PermissionError):
                during = code_of(started.pid, path)
                start = Path(path).read_bytes().find(during[:4096])
                assert start >= 0
                assert during == Path(path).read_bytes()[start:][: len(during)]
        started.stdin.write(b"xxx")
        started.stdin.close()
        assert started.wait(60) == 0


INSTRUCTIONS = [
    # What it is, and what a copy of it is, 4 KiB further on; None: it can't be moved.
    ("f30f1efa", "f30f1efa"),  # endbr64
    ("4154", "4154"),  # push %r12
    ("55", "55"),
    ("4885ff", "4885ff"),  # test %rdi,%rdi
    ("4883ec08", "4883ec08"),  # sub $8,%rsp
    ("4881ec00010000", "4881ec00010000"),
    ("488b4608", "488b4608"),  # mov 8(%rsi),%rax
    ("488b442408", "488b442408"),  # mov 8(%rsp),%rax
    ("488b0425f8ffffff", "488b0425f8ffffff"),  # mov 0xfffffffffffffff8,%rax
    ("48c7c001000000", "48c7c001000000"),
    ("48b80102030405060708", "48b80102030405060708"),  # movabs
    ("66b80102", "66b80102"),
    ("b801020304", "b801020304"),
    ("f6c701", "f6c701"),  # test $1,%bh
    ("f7c701000000", "f7c701000000"),
    ("48f7d8", "48f7d8"),  # neg %rax
    ("660fefc0", "660fefc0"),
    # Relative to rip: what is reached stays the same.
    ("803d7102140000", "803d71f2130000"),
    ("488b05e1641300", "488b05e1541300"),
    ("488d0df9ffffff", "488d0df9efffff"),
    # Jumps: wide ones to the same place.
    ("7405", "0f8401f0ffff"),
    ("0f8400000000", "0f8400f0ffff"),
    ("eb10", "e90df0ffff"),
    ("e910000000", "e910f0ffff"),
    ("e810000000", None),  # call
    ("c3", None),
    ("c4e27900c1", None),  # AVX
    ("0f05", None),  # syscall
]


@pytest.mark.parametrize("code, expected", INSTRUCTIONS)
def test_instructions_run_the_same_elsewhere(code: str, expected: str | None) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("breakpoints are only possible on x86-64")
    raw = bytes.fromhex(code).ljust(16, b"\xcc")
    out, length, moved = (ffi.new(f"uint8_t[{size}]") for size in (32, 1, 1))
    size = lib.pm_displace(raw, 16, 0x10000, 0x11000, out, length, moved)
    if expected is None:
        assert size == 0
        return
    back = (0x10000 + len(code) // 2) - (0x11000 + moved[0] + 5)
    assert length[0] == len(code) // 2
    assert (
        ffi.buffer(out, size)[:].hex()
        == expected + "e9" + back.to_bytes(4, "little", signed=True).hex()
    )
    assert lib.pm_displace(raw, 16, 0x10000, 1 << 40, out, length, moved) == 0


def test_the_table_explains_malloc(program: str) -> None:
    seen(program)
    ran = shell("--", program, "mallocs")
    text = ran.stderr
    assert "malloc has room" not in text
    assert re.search(r"malloc +32 KiB: (no heap yet, brk makes one|the heap is full)", text)
    assert re.search(r"malloc x\d+ +32 KiB each: the heap has room, no system call", text)
    assert len(re.findall(r" malloc +256 KiB: large, mmap makes it a mapping", text)) == 10
    assert len(re.findall(r" free +256 KiB: munmap gives its mapping back", text)) == 10
    assert re.search(r" free x10 +32 KiB each: kept for later, no system call", text)
    assert "needed no system call" in text
    assert "free gave 10 such mappings back at once (munmap): VSZ fell by 2,600 KiB." in text
    # A system call stands below the function that made it.
    words = [line.split()[3:5] for line in text.splitlines() if len(line.split()) > 4]
    large = [i for i, pair in enumerate(words) if pair == ["malloc", "256"]]
    assert all(words[i + 1] == ["mmap", "map"] for i in large)
    every = shell("--malloc", "--", program, "mallocs").stderr
    assert len(re.findall(r" malloc +32 KiB: ", every)) == 10
    none = shell("--no-malloc", "--", program, "mallocs").stderr
    assert "malloc" not in none.replace(program, "")
    lines = shell("--strace", "--malloc", program, "mallocs").stderr.splitlines()
    assert (
        sum(bool(re.fullmatch(r"malloc\(262144\) +=\ 0x[0-9a-f]+", line)) for line in lines) == 10
    )


def test_what_is_said_of_another_malloc_and_of_arenas(program: str, tmp_path: Path) -> None:
    seen(program)
    source, library = tmp_path / "own.c", tmp_path / "own.so"
    source.write_text(
        """#include <stddef.h>
        #include <sys/mman.h>
        static char *at, *end;
        void *malloc(size_t size)
        {
            char *given;
            size = (size + 15) & ~15ul;
            if ((size_t)(end - at) < size) {
                at = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                end = at + (1 << 20);
            }
            given = at;
            at += size;
            return given;
        }
        void free(void *piece) { (void)piece; }
        """
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    own = shell("--", "env", f"LD_PRELOAD={library}", program, "mallocs").stderr
    assert re.search(r" malloc +\d+ KiB: no room, mmap makes some", own)
    assert "mmap made room" in own
    assert "arena" not in own
    assert "128 KiB more" not in own
    [said] = re.findall(r"Small pieces .*", shell("--", program, "malloc-threads", "100").stderr)
    assert "mprotect opened more of a thread's arena" in said
    [said] = re.findall(r"Small pieces .*", shell("--", program, "malloc-traps").stderr)
    assert "never" not in said


# ---- what may come ----


def test_signals_are_shown_as_strace_shows_them(program: str, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    for words in (["signals", "3"], ["forks", "2"], ["kill", "11"], ["kill", "34"]):
        done = subprocess.run(
            ["strace", "-X", "abbrev", "-e", "trace=none", "-o", tmp_path / "out", program, *words],
            check=False, capture_output=True,
        )  # fmt: skip
        theirs = [
            line
            for line in (tmp_path / "out").read_text().splitlines()
            if line.startswith(("---", "+++"))
        ]
        if not theirs:
            pytest.skip(f"strace can't run here: {done.stderr!r}")
        ours = [
            line
            for line in shell("--strace", program, *words).stderr.splitlines()
            if line.startswith(("---", "+++"))
        ]
        same = [re.sub(r"pid=\d+|time=\d+", "", line) for line in ours]
        assert same == [re.sub(r"pid=\d+|time=\d+", "", line) for line in theirs]


def test_stop_and_continue(program: str) -> None:
    with Tracing([program, "stop"]) as tracing:
        told, calls = [], []
        for one in tracing:
            if isinstance(one, MemoryCall):
                calls.append(one)
            if isinstance(one, Signal):
                told.append((one.number, one.stopped))
                if one.stopped:
                    os.kill(tracing.pid, signal.SIGCONT)
    assert told == [
        (signal.SIGSTOP, False),
        (signal.SIGSTOP, True),
        (signal.SIGCONT, False),
    ]
    assert tracing.returncode == 0
    assert next(c.delta_vsz for c in calls if c.words[0] == 0x10000000000) == 3 * PAGE


def test_a_setuid_program_runs_without_its_rights(program: str, is_root: bool) -> None:
    if not is_root:
        pytest.skip("needs root, to make such a program")
    place = targets.directory() / f"setuid-{os.getpid()}"
    told = targets.directory() / f"told-{os.getpid()}"
    shutil.copy(program, place)
    place.chmod(0o4755)

    def as_nobody(act: Callable[[], object]) -> bytes:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: else its children are root's
                os.write(writing, repr(act()).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as answer:
            said = answer.read()
        os.waitpid(child, 0)
        return said

    def traced() -> object:
        got = trace([place, "euid"], stdout=write)
        return got.returncode, got.setuid_ignored

    try:
        with open(told, "w+b", buffering=0) as write:
            as_nobody(lambda: subprocess.run([place, "euid"], stdout=write, check=True).returncode)
            if told.read_text() != "0\n":
                pytest.skip("setuid programs have no effect here")
            assert as_nobody(traced) == b"(0, True)"
            assert told.read_text() == f"0\n{NOBODY}\n"
            assert traced() == (0, False)
            assert told.read_text() == f"0\n{NOBODY}\n0\n"
    finally:
        place.unlink()
        told.unlink(missing_ok=True)


FOREIGN = """
.globl _start
_start: mov $1, %eax
        mov $5, %ebx
        int $0x80
"""


@pytest.mark.parametrize("seccomp", [True, False])
def test_a_program_of_32_bits(program: str, tmp_path: Path, seccomp: bool) -> None:
    if platform.machine() != "x86_64" or not shutil.which("as") or not shutil.which("ld"):
        pytest.skip("needs binutils for x86")
    made = subprocess.run(["as", "--32", "-o", tmp_path / "o"], input=FOREIGN.encode(), check=False)
    linked = subprocess.run(["ld", "-m", "elf_i386", "-o", tmp_path / "x86", tmp_path / "o"],
                            check=False)  # fmt: skip
    if made.returncode or linked.returncode:
        pytest.skip("needs binutils for i386")
    if subprocess.run([tmp_path / "x86"], check=False).returncode != 5:
        pytest.skip("this kernel runs no programs of 32 bits")
    traced = trace([tmp_path / "x86"], seccomp=seccomp, malloc=True)
    assert (traced.returncode, traced.foreign) == (5, [traced.pid])
    assert [call.name for call in traced] == ["execve"]
    after = trace(["sh", "-c", f"{tmp_path}/x86; :"], follow=True, seccomp=seccomp)
    assert sorted(after.ended.values()) == [0, 5]
    ran = shell(*([] if seccomp else ["--no-seccomp"]), "--", str(tmp_path / "x86"))
    assert ran.returncode == 5
    assert "runs a program of another architecture" in ran.stderr


def test_few_descriptors_and_many_children(program: str) -> None:
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))\n"
        "from procmem.cli import main\n"
        "sys.exit(main(['trace', '-f', '--json', '--', *sys.argv[1:]]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, program, "children-at-once", "150"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0
    told = json.loads(ran.stderr)
    assert len(told["ended"]) == 151
    mapped = [
        c for c in told["calls"] if c["name"] == "mmap" and c["args"]["addr"] == 0x10000000000
    ]
    assert len(mapped) == 150
    assert {c["delta_vsz"] for c in mapped} == {2 * PAGE}


def test_no_descriptor_at_all(program: str) -> None:
    code = (
        "import resource, sys, os\n"
        "from procmem.cli import main\n"
        "import procmem.cli.trace\n"
        "while True:\n"
        "    try: last = os.open('/dev/null', 0)\n"
        "    except OSError: break\n"
        "    if last > 60: resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, last + 1))\n"
        "sys.exit(main(['trace', '--', *sys.argv[1:]]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, program, "nothing"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "open files" in ran.stderr


@pytest.mark.parametrize("malloc", [False, True])
def test_a_program_that_blocks_all_signals(program: str, malloc: bool) -> None:
    traced = trace([program, "blocked", "3"], malloc=malloc)
    assert traced.returncode == 0
    [mapped] = [c for c in traced if c.name == "mmap" and c.words[0] == 0x10000000000]
    assert mapped.delta_vsz == 3 * PAGE


def test_the_end_comes_in_the_middle_of_others_calls(program: str) -> None:
    for malloc in (False, True):
        for _ in range(5):
            traced = trace([program, "exit-amid", "50"], malloc=malloc)
            assert traced.returncode == 6
            assert traced[-1].name in {"exit_group", "mmap", "munmap"}
            assert sum(call.name == "exit_group" for call in traced) == 1


def test_it_forks_and_forks(program: str) -> None:
    """Bounded: 1 + 2 + ... + 128 processes, each of which ends at once."""
    code = "import os\nfor _ in range(7):\n    os.fork()\nos._exit(0)\n"
    with Tracing([sys.executable, "-c", code], follow=True, malloc=True) as tracing:
        ended = [one for one in tracing if isinstance(one, ProcessEnd)]
    assert len(ended) == 128
    assert {one.returncode for one in ended} == {0}


@contextlib.contextmanager
def heard(number: int) -> Iterator[None]:
    """Processes started here do not ignore a signal because this one does (nohup)."""
    before = signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_command_reach_the_program(program: str, number: int) -> None:
    with heard(number), subprocess.Popen(
        [sys.executable, "-m", "procmem", "trace", "--strace", "--", program, "wait", "1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as command:  # fmt: skip
        assert command.stdout
        assert command.stdout.read(1) == "r"
        command.send_signal(number)
        assert command.stderr
        said = command.stderr.read()  # not communicate(), which ends the program's input
        assert command.wait(60) == 128 + number
        assert f"+++ killed by {signal.Signals(number).name} +++" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_to_the_command_let_go_of_others(program: str, number: int) -> None:
    with heard(number), waiting(program, 2) as started:
        with subprocess.Popen(
            [sys.executable, "-m", "procmem", "trace", "--malloc", "-p", str(started.pid)],
            stderr=subprocess.DEVNULL,
        ) as command:  # fmt: skip
            until_traced(started.pid)
            command.send_signal(number)
            assert command.wait(60) == (0 if number == signal.SIGINT else 128 + number)
        status = Path(f"/proc/{started.pid}/status").read_text()
        assert "TracerPid:\t0" in status
        assert not re.search(r"^State:\s[tT]", status, re.MULTILINE)


SHELL = """
import os, signal, sys, time
# A shell in small: the command has the terminal, and a process group of its own.
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    print("STOPPED", flush=True)
    time.sleep(0.1)
    os.tcsetpgrp(0, child)
    os.killpg(child, signal.SIGCONT)
print("STATUS", os.waitstatus_to_exitcode(status), flush=True)
"""


def on_terminal(words: list[str], keys: list[tuple[str, bytes]]) -> str:
    """Runs a command on a terminal of its own; sends each key once a text has come."""
    child, terminal = pty.fork()
    if not child:
        try:
            os.execv(sys.executable, [sys.executable, "-c", SHELL, sys.executable, *words])
        finally:
            os._exit(127)
    said = b""
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([terminal], [], [], 1)
            try:
                part = os.read(terminal, 65536) if ready else b""
            except OSError:
                break
            if ready and not part:
                break
            said += part
            if keys and keys[0][0].encode() in said:
                os.write(terminal, keys.pop(0)[1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL if time.monotonic() >= deadline else 0)
        os.waitpid(child, 0)
        os.close(terminal)
    assert time.monotonic() < deadline, said
    return said.decode()


def test_ctrl_c_on_a_terminal(program: str) -> None:
    said = on_terminal(
        ["-m", "procmem", "trace", "-o", os.devnull, "--", program, "sigint"], [("r", b"\x03")]
    )
    assert "STATUS 7" in said
    said = on_terminal(
        ["-m", "procmem", "trace", "--", program, "wait", "1"], [("start", b""), ("r", b"\x03")]
    )
    assert f"STATUS {128 + signal.SIGINT}" in said


@pytest.mark.parametrize("malloc", [[], ["--malloc"]])
def test_ctrl_z_on_a_terminal(program: str, malloc: list[str]) -> None:
    said = on_terminal(
        ["-m", "procmem", "trace", *malloc, "-o", os.devnull, "--", program, "sigint"],
        [("r", b"\x1a"), ("STOPPED", b""), ("STOPPED", b"\x03")],
    )
    assert "STOPPED" in said
    assert "STATUS" in said
