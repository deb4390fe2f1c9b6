"""A PID that goes to another process, at once or within one clock tick of the start time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import procmem
from procmem import Process
from procmem.procfs import files as procfs_files
from tests.support.blocking import until, until_blocked

FORCED = """
import ctypes, os, signal, sys, threading, time
import procmem
from procmem.tracing import tracer
from procmem.recording.recorder import Recorder
from procmem.procfs import files

way, tries = sys.argv[1], int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
SLEEP = "/bin/sleep"

def start(name, pid=None):
    if pid is None:
        return os.posix_spawn(SLEEP, [name, "60"], {})
    if way == "ns_last_pid":
        # In a namespace of its own nobody else takes the number.
        with open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(pid - 1))
        return os.posix_spawn(SLEEP, [name, "60"], {})
    # clone3(2) with set_tid: struct clone_args of ten words. The number is asked for at once.
    wanted = (ctypes.c_int * 1)(pid)
    at = ctypes.addressof(wanted)
    words = (ctypes.c_uint64 * 11)(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, at, 1, 0)
    child = libc.syscall(435, words, ctypes.sizeof(words))
    if child == 0:
        os.execv(SLEEP, [name, "60"])
    if child > 0:
        return child
    if ctypes.get_errno() != 17:  # EEXIST: somebody else was given it meanwhile
        raise OSError(ctypes.get_errno(), "clone3")
    return None

def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

def reads(process):
    yield from (
        process.maps, process.smaps, process.residency, process.rollup, process.memory,
        process.faults, process.threads, process.reconcile, process.objects, process.sections,
        lambda: process.snapshot("maps"), lambda: process.snapshot("residency"),
        lambda: process.snapshot("smaps"), lambda: process.region_at(1 << 40),
        lambda: process.pagemap(0, 1 << 40), lambda: process.symbol_at(1 << 40),
        process.page_tables, lambda: process.frames(0, 4096), lambda: process.translate(4096),
        lambda: process.sharers(0, 4096), lambda: Recorder(process),
    )

def answer(call):
    # A file that was opened before shows the first process as long as its address space lives:
    # somebody else who reads it at this moment keeps it. There is nothing at the address.
    over = time.monotonic() + 60
    while (shown := call()) is None and time.monotonic() < over:
        time.sleep(0.01)
    return shown

GONE = (procmem.ProcessChanged, procmem.NoSuchProcess)
close = lost = 0
number = 0
tick = 1_000_000_000 // files.TICKS
over = time.monotonic() + 300
while close < tries and number < 20 * tries and time.monotonic() < over:
    while time.clock_gettime_ns(time.CLOCK_BOOTTIME) % tick > tick // 8:
        pass  # so that much of a tick is left
    files.KEPT_OPEN = 64 if number % 2 else 3  # so that directories are let go, or not
    first = start("first")
    held, closed, evicted = (procmem.Process(first) for _ in range(3))
    listed, recorder = [], None
    if number % 3 == 0:
        read, asked = procmem.Process(first), procmem.Process(first)
        read.maps(); asked.region_at(1 << 40); held.faults(); closed.faults()
        listed += [read, asked]
    if number % 30 == 1:
        listed += [one for one in procmem.processes() if one.pid == first]
    if number % 30 == 2:
        recorder = Recorder(held)
    closed.close()
    before = held.start_time
    end(first)
    second = start("second", first)
    if second is None:
        lost += 1
        assert lost < 10 * tries
        continue
    assert second == first, (first, second)
    number += 1
    fresh = procmem.Process(second)
    close += fresh.start_time == before
    assert fresh.memory().vsz
    for process in (held, closed, evicted, *listed):
        for call in reads(process):
            for _ in range(2):
                try:
                    shown = answer(call)
                except GONE as error:
                    assert getattr(error, "reason", "pid reused") == "pid reused", error
                except procmem.AccessDenied as error:
                    assert "CAP_SYS_ADMIN" in str(error), error
                else:
                    raise AssertionError(f"{call} shows {shown} of another process")
        assert process != fresh
    if recorder is not None:
        try:
            assert recorder.turn() is None
        except GONE as error:
            assert recorder.why_ended(error)
        else:
            raise AssertionError("the recorder goes on with another process")
        recorder.close()
    end(second)

class Late:
    "The process ends, and its PID is given away, just before it is attached to."

    def __init__(self, lib):
        self.lib = lib

    def __getattr__(self, name):
        return getattr(self.lib, name)

    def pm_trace_attach(self, tracer, pid):
        # In a thread of its own: the tracing thread waits for all of its children.
        end(pid)
        worker = threading.Thread(target=lambda: setattr(self, "second", start("second", pid)))
        worker.start()
        worker.join()
        return self.lib.pm_trace_attach(tracer, pid)

first, late = start("first"), Late(tracer.lib)
tracer.lib = late
try:
    tracer.Tracing(pid=first)
except GONE:
    status = open(f"/proc/{late.second}/status").read()
    assert "TracerPid:\\t0\\n" in status, status
else:
    raise AssertionError("another process is traced")
end(late.second)
print(close, number)
"""


def forced(way: str, tries: int) -> None:
    """Runs the script above in a PID namespace; or here, where root may choose a PID.

    Args:
        way: how a PID is given away.
        tries: how many are to be given away within the tick in which they were given first.
    """
    command = [sys.executable, "-c", FORCED, way, str(tries)]
    if way == "ns_last_pid":
        if shutil.which("unshare") is None:
            pytest.skip("unshare (util-linux) is not installed")
        inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if os.geteuid():
            inside += ["--user", "--map-root-user"]
        probe = "echo 100 >/proc/sys/kernel/ns_last_pid"
        possible = subprocess.run(
            [*inside, "sh", "-c", probe], capture_output=True, text=True, check=False
        )
        if possible.returncode:
            pytest.skip(f"no PID namespace with ns_last_pid here: {possible.stderr}")
        command = [*inside, *command]
    elif os.geteuid():
        pytest.skip("clone3(2) with set_tid takes root (CAP_CHECKPOINT_RESTORE)")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if "Errno 1] clone3" in done.stderr or "Errno 38] clone3" in done.stderr:
        pytest.skip("clone3(2) with set_tid is not allowed here")
    assert done.returncode == 0, done.stderr[-4000:]
    within, number = map(int, done.stdout.split())
    assert number >= within
    if within < tries:
        pytest.skip(f"too busy here: of {number} PIDs {within} were given away within one tick")


@pytest.mark.parametrize("way", ["ns_last_pid", "clone3"])
def test_a_pid_that_is_given_away_at_once(way: str) -> None:
    forced(way, 20)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ns_last_pid", "clone3"])
def test_a_pid_that_is_given_away_at_once_1000_times(way: str) -> None:
    forced(way, 1000)


SPAWNER = """
import os, sys
actions = [(os.POSIX_SPAWN_OPEN, 9, sys.argv[1], os.O_WRONLY, 0)]
os.waitpid(os.posix_spawn("/bin/sleep", ["sleep", "60"], {}, file_actions=actions), 0)
"""


def test_a_child_of_vfork_that_executes_a_program(tmp_path: Path) -> None:
    """Until then it has its parent's address space, which goes on without it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen([sys.executable, "-c", SPAWNER, str(fifo)]) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        until(lambda: bool(children.read_text()))
        pid = int(children.read_text())
        try:
            # It sleeps in open(2): nobody reads from the FIFO yet.
            until_blocked(pid, "open", "openat")
            child = Process(pid)
            own = child.maps()[0]
            assert own == Process(parent.pid).maps()[0]
            assert child.region_at(own.start) == own
            with open(fifo, "rb"):
                until(lambda: os.readlink(f"/proc/{pid}/exe").endswith(("sleep", "coreutils")))
                shown = child.region_at(own.start)
            assert shown is None or shown.inode != own.inode
        finally:
            os.kill(pid, signal.SIGKILL)


def test_directories_of_young_processes_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their start time could be that of the next process with this PID."""
    monkeypatch.setattr(procfs_files, "KEPT_OPEN", 2)
    fixed = os.stat(f"/proc/{os.getpid()}").st_ino
    assert Process().snapshot("maps").identity.inode == fixed
    with subprocess.Popen(["sleep", "60"]) as child:
        young = Process(child.pid)
        tick = young.start_time
        assert tick is not None
        now = tick * 10**9 // procfs_files.TICKS + 1
        monkeypatch.setattr("time.clock_gettime_ns", lambda _: now)
        young = Process(child.pid)
        young.close()
        others = [Process(), Process(), Process()]
        assert young.files._directory() is not None
        assert young == Process(child.pid)
        assert young.maps()
        now += 3 * 10**9 // procfs_files.TICKS
        young.close()
        assert young.files._directory() is None
        assert young.maps()
        assert len(others) == 3
        child.kill()
    for _ in range(2):
        with pytest.raises(procmem.NoSuchProcess):
            young.maps()


def test_two_of_one_process_are_equal() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        one, other = Process(child.pid), Process(child.pid)
        assert one == other
        assert hash(one) == hash(other)
        assert one != Process()
        one.close()
        assert one == other
        child.kill()
    assert one == one
    assert one == other
