"""Tracing live programs: starting, attaching, detaching, threads, children, signals."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import (
    MemoryCall,
    SyscallError,
    trace,
)
from procmem.errors import BadArgument
from procmem.procfs import probes
from procmem.tracing.arguments import Clone
from procmem.tracing.events import ProcessEnd, Signal
from procmem.tracing.tracer import Tracing, find_program
from tests.support import targets
from tests.support.paths import TARGETS
from tests.support.targets import NOBODY, PAGE
from tests.support.traced import (
    LEAKS,
    build,
    command,
    named,
    own,
    shell,
    until,
    until_state,
    until_traced,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable
pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced program counts in pages of 4 KiB")


@pytest.mark.parametrize("seccomp", [True, False])
def test_either_way_of_stopping_tells_the_same(program: str, seccomp: bool) -> None:
    traced = trace([program, "everything"], seccomp=seccomp)
    told = [(c.name, c.errno, c.delta_vsz) for c in own(traced)]
    assert told[0] == ("mmap", None, 100 * PAGE)
    assert told == [(c.name, c.errno, c.delta_vsz) for c in own(trace([program, "everything"]))]


@pytest.mark.parametrize("lags", [False, True])
def test_all_threads(program: str, monkeypatch: pytest.MonkeyPatch, lags: bool) -> None:
    """VSZ is not exact where RSS comes late, either."""
    if lags:
        monkeypatch.setattr(probes, "counters_lag", lambda: True)
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
        assert (mapped.delta_vsz, mapped.delta_rss, mapped.alone) == (7 * PAGE, 0, True)
        assert mapped.exact != probes.counters_lag()


def test_vfork_and_exec(program: str) -> None:
    traced = trace([program, "vfork"], follow=True)
    [made] = [c for c in traced if c.name == "vfork" or c.args.get("flags", 0) & 0x4000]
    assert made.result in traced.ended
    assert "vfork" in made.reason
    started = [c for c in traced if c.name == "execve" and c.pid == made.result]
    assert [c.errno for c in started] == [None]
    after = [c for c in traced if c.pid == made.result and c.began > started[0].began]
    assert all(call.alone for call in after)
    assert {call.exact for call in after} == {not probes.counters_lag()}
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
        input=b"one\0two\xff", capture_output=True, check=False, timeout=300,
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


def test_an_exception_ends_what_was_launched(program: str) -> None:
    with pytest.raises(KeyError), Tracing(["sleep", "1000"]) as tracing:
        raise KeyError
    assert not Path(f"/proc/{tracing.pid}").exists()


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
        [sys.executable, "-m", "procmem", *words], capture_output=True, check=False, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("malloc", [False, True])
def test_a_programs_own_traps_are_its_own(program: str, malloc: bool) -> None:
    assert trace([program, "malloc-traps"], malloc=malloc).returncode == 0


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
    after = trace(["sh", "-c", '"$0"; :', tmp_path / "x86"], follow=True, seccomp=seccomp)
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
        capture_output=True, text=True, check=False, timeout=300,
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
        capture_output=True, text=True, check=False, timeout=300,
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


NO_LEAKS_LOOKED_FOR = {
    **os.environ,
    "ASAN_OPTIONS": "detect_leaks=0",
    "LSAN_OPTIONS": "detect_leaks=0",
}


@pytest.mark.parametrize("seccomp", [True, False])
@pytest.mark.parametrize("malloc", [True, False])
def test_children_made_with_clone_untraced_run_as_alone(
    place: Path, seccomp: bool, malloc: bool
) -> None:
    source = (TARGETS / "untraced.c").read_text()
    untraced = build(place, source, name="untraced")
    for how in ("x", "m", "v", "3", "b"):
        assert subprocess.run([untraced, how], check=False).returncode == 3
        for follow in (False, True):
            traced = trace([untraced, how], seccomp=seccomp, malloc=malloc, follow=follow)
            assert traced.returncode == 3, how
            # The flags are told as the program gave them.
            made = [c for c in traced if c.name in ("clone", "clone3")][-1]
            assert made.args["flags"] & Clone.CLONE_UNTRACED
            if follow and seccomp:
                [mapped] = [c for c in traced if c.pid != traced.pid and c.name == "mmap"][:1]
                assert mapped.delta_vsz == PAGE
    for how in ("p", "bp"):
        traced = trace(["sh", "-c", f'"$0" {how}', untraced], seccomp=seccomp, malloc=malloc)
        assert traced.returncode == 3


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("words", [("-fsanitize=address",), ("-fsanitize=leak",)])
def test_programs_with_sanitizers_run_as_alone(
    place: Path, compiler: str, words: tuple[str, ...]
) -> None:
    checked = build(place, LEAKS, *words, "-pthread", compiler=compiler, name=f"{compiler}-checked")
    for arguments in ([], ["leak"], ["leak", "in", "threads"]):
        alone = subprocess.run([checked, *arguments], capture_output=True, text=True, check=False)
        if "LeakSanitizer has encountered" in alone.stderr:
            pytest.skip("LeakSanitizer does not work here")
        for options in (["--no-malloc"], ["--malloc"], ["-f", "--no-malloc"]):
            ran = command(*options, "-o", os.devnull, "--", checked, *arguments)
            assert (ran.returncode, ran.stdout) == (alone.returncode, "")
            told = [re.findall(r"SUMMARY.*|leaked in.*", each.stderr) for each in (alone, ran)]
            assert told[0] == told[1]
    # Without the filter it is refused, as under strace, and ends at once.
    command("--no-seccomp", "-o", os.devnull, "--", checked, "leak", timeout=300)
    done = subprocess.run(
        [sys.executable, "-m", "procmem", "trace", "-o", os.devnull, "--", checked, "leak"],
        env=NO_LEAKS_LOOKED_FOR, capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


DAEMON = """#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {
    if (fork()) return 3;
    setsid();
    if (fork()) return 0;
    free(malloc(1234));
    FILE *done = fopen(words[1], "w"); fprintf(done, "done"); fclose(done);
    return 0;
}
"""


@pytest.mark.parametrize("malloc", [True, False])
def test_a_daemon_that_forks_twice(place: Path, tmp_path: Path, malloc: bool) -> None:
    made = build(place, DAEMON, name="daemon")
    traced = trace([made, tmp_path / "told"], malloc=malloc, follow=True)
    assert traced.returncode == 3
    assert sorted(traced.ended.values()) == [0, 0, 3]
    assert (tmp_path / "told").read_text() == "done"


OWN_FILTER = """#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mlock, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 95),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, 1, SECCOMP_FILTER_FLAG_TSYNC, &program)) return 1;
    void *at = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mlock(at, 4096) != -1) return 2;
    free(malloc(100));
    return munmap(at, 4096);
}
"""


def test_a_program_with_a_filter_of_its_own(place: Path) -> None:
    made = build(place, OWN_FILTER, name="filter")
    for seccomp in (True, False):
        traced = trace([made], malloc=True, seccomp=seccomp)
        assert traced.returncode == 0
        assert not [c for c in named(traced, "mlock") if c.result is not None]


LEADERLESS = """#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
static void *work(void *unused) {
    char byte;
    while (read(0, &byte, 1) == 1) {
        void *at = mmap(0, 3 * 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(at, 3 * 4096);
        write(1, "d", 1);
    }
    _exit(0);
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, 0, work, 0);
    pthread_exit(0);
}
"""


@pytest.mark.parametrize("malloc", [True, False])
def test_a_process_whose_leading_thread_has_ended_is_traced(place: Path, malloc: bool) -> None:
    made = build(place, LEADERLESS, "-pthread", name="leaderless")
    with subprocess.Popen([made], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdin
        assert started.stdout
        until_state(started.pid, "Z")
        calls: list[MemoryCall] = []
        with Tracing(pid=started.pid, malloc=malloc) as tracing:
            started.stdin.write(b"x")
            started.stdin.flush()
            for one in tracing:
                if isinstance(one, MemoryCall) and not one.is_function:
                    calls.append(one)
                if len(calls) == 2:
                    tracing.detach()
            assert tracing.pid == started.pid
        assert [(c.name, c.delta_vsz) for c in calls] == [
            ("mmap", 3 * PAGE), ("munmap", -3 * PAGE),
        ]  # fmt: skip
        assert calls[0].region is not None
        # The other way in: by the ID of the thread that lives.
        thread = next(int(t) for t in os.listdir(f"/proc/{started.pid}/task")
                      if int(t) != started.pid)  # fmt: skip
        with Tracing(pid=thread, malloc=malloc) as tracing:
            assert tracing.pid == started.pid
        started.stdin.close()
        assert started.wait(300) == 0


REUSED = """#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    pid_t first = getpid();
    if (fork()) return 3;
    while (!kill(first, 0)) usleep(1000);
    uint64_t words[11] = {0};
    words[4] = SIGCHLD;
    words[8] = (uintptr_t)&first;
    words[9] = 1;
    long child = syscall(435, words, sizeof words);
    if (!child) return getpid() != first;
    if (child < 0) return 100;
    waitpid(child, 0, 0);
    return 5;
}
"""


@pytest.mark.parametrize("follow", [True, False])
def test_a_descendant_with_the_pid_of_the_program(place: Path, follow: bool) -> None:
    """A daemon that lives on may be given the number of the program that started it."""
    made = build(place, REUSED, name="reused")
    if os.geteuid():
        pytest.skip("clone3(2) with set_tid takes root (CAP_CHECKPOINT_RESTORE)")
    alone = trace([made], follow=True)
    if 100 in alone.ended.values():
        pytest.skip("clone3(2) with set_tid is not allowed here")
    traced = trace([made], follow=follow)
    assert traced.returncode == 3
    ends = [call.args["status"] for call in traced if call.name == "exit_group"]
    assert sorted(ends) == ([0, 3, 5] if follow else [3])
