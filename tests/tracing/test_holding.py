from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import procmem
from procmem.procfs import ProcessFiles
from procmem.tracing.holding import Hold
from tests.support.blocking import until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 300.0
"""Seconds: on a busy machine it takes long until a thread that is to stop gets a CPU."""

BUSY = """
import itertools, sys, threading
def spin():
    for _ in itertools.count():
        pass
for _ in range(3):
    threading.Thread(target=spin, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
HOLDER = """
import sys
from procmem.procfs import ProcessFiles
from procmem.tracing.holding import Hold
from tests.support.blocking import until
with Hold(ProcessFiles(int(sys.argv[1])), 300):
    print("held", flush=True)
    sys.stdin.read()
"""
VFORK = """
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    puts("ready");
    fflush(stdout);
    if (!vfork()) {
        char c;
        while (read(0, &c, 1) > 0)
            ;
        _exit(0);
    }
    return 0;
}
"""


@contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A program that has written its first line; its input is closed in the end."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline()
            yield process
        finally:
            process.stdin.close()


def states(pid: int) -> set[str]:
    """The states of all threads."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found.add((task / "stat").read_text().rpartition(")")[2].split()[0])
    return found


def wait_until(pid: int, *, held: bool) -> None:
    """Waits until the process is stopped by a tracer, or no longer is."""
    until(lambda: (states(pid) == {"t"}) == held and ("t" in states(pid)) == held)


def test_all_threads_stop_and_go_on() -> None:
    with running(sys.executable, "-c", BUSY) as process:
        with Hold(ProcessFiles(process.pid), LIMIT) as hold:
            assert states(process.pid) == {"t"}
            assert hold.stopped is None
        assert "t" not in states(process.pid)
        assert hold.stopped is not None
        assert hold.stopped.threads == 4
        assert hold.stopped.seconds > 0


def test_the_process_goes_on_if_the_reader_is_killed() -> None:
    with running(sys.executable, "-c", BUSY) as process:
        with running(sys.executable, "-c", HOLDER, str(process.pid)) as reader:
            assert states(process.pid) == {"t"}
            reader.kill()
            reader.wait()
        wait_until(process.pid, held=False)
        assert process.poll() is None


def test_what_another_process_traces_is_refused() -> None:
    with (
        running(sys.executable, "-c", BUSY) as process,
        running(sys.executable, "-c", HOLDER, str(process.pid)),
        pytest.raises(procmem.AccessDenied, match="already traces it"),
        Hold(ProcessFiles(process.pid)),
    ):
        pass


def test_a_stopped_process_stays_stopped() -> None:
    with running(sys.executable, "-c", BUSY) as process:
        os.kill(process.pid, signal.SIGSTOP)
        until(lambda: states(process.pid) == {"T"})
        with Hold(ProcessFiles(process.pid), LIMIT):
            assert states(process.pid) == {"t"}
        until(lambda: states(process.pid) == {"T"})
        os.kill(process.pid, signal.SIGCONT)


def test_signals_that_come_meanwhile_arrive_afterwards() -> None:
    # A signal that comes just before read(2) begins is seen by Python only when it has ended; and
    # a handler that prints while the program is in print() itself is an error ("reentrant call").
    code = (
        "import os, select, signal, sys\n"
        "signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'signal\\n'))\n"
        "os.write(1, b'ready\\n')\n"
        "while not select.select([sys.stdin], [], [], 0.1)[0]:\n"
        "    pass\n"
    )
    with running(sys.executable, "-c", code) as process:
        with Hold(ProcessFiles(process.pid), LIMIT):
            os.kill(process.pid, signal.SIGUSR1)
            assert states(process.pid) == {"t"}
        assert process.stdout is not None
        assert process.stdout.readline() == "signal\n"


def test_a_thread_that_can_not_stop_is_named(tmp_path: Path) -> None:
    source, program = tmp_path / "vfork.c", tmp_path / "vfork"
    source.write_text(VFORK)
    try:
        subprocess.run(["cc", "-o", program, source], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no C compiler here")
    with running(program) as process:
        # The parent waits in vfork(2), where no tracer can stop it.
        until(lambda: states(process.pid) == {"D"})
        with (
            pytest.raises(procmem.Unsupported, match=f"thread {process.pid} waits in the kernel"),
            Hold(ProcessFiles(process.pid), 0.05),
        ):
            pass
        # The kernel lets it go when the thread that traced it has ended.
        status = Path(f"/proc/{process.pid}/status")
        until(lambda: "TracerPid:\t0\n" in status.read_text())


def test_a_process_can_not_stop_itself() -> None:
    with (
        pytest.raises(procmem.BadArgument, match="can't stop itself"),
        Hold(ProcessFiles(os.getpid())),
    ):
        pass


def test_a_process_that_has_ended() -> None:
    with running(sys.executable, "-c", BUSY) as process:
        files = ProcessFiles(process.pid)
    with pytest.raises(procmem.NoSuchProcess), Hold(files):
        pass
