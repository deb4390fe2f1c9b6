from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from procmem.procfs import ProcessFiles
from procmem.procfs.activity import idle_since, switches_in
from tests.support.blocking import until

if TYPE_CHECKING:
    from tests.support.targets import Target

STATUS = b"""Name:\tState: R
State:\t%s
Threads:\t1
voluntary_ctxt_switches:\t150
nonvoluntary_ctxt_switches:\t545
"""


def test_a_thread_that_runs_has_no_switches() -> None:
    assert switches_in(STATUS % b"S (sleeping)") == (150, 545)
    assert switches_in(STATUS % b"R (running)") is None
    assert switches_in(b"Name:\tkept\nState:\tS (sleeping)\n") is None
    assert switches_in(b"") is None


def test_a_process_that_was_asked_something_has_run(target: Target) -> None:
    files = ProcessFiles(target.pid)

    def asleep() -> dict[int, tuple[int, int]]:
        while (found := idle_since(files)) is None:
            pass
        return found

    before = asleep()
    assert list(before) == [target.pid]
    target.map(1)
    assert asleep() != before


def test_what_runs_is_not_idle() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        files = ProcessFiles(process.pid)
        # It waits for a disk, perhaps, while it starts.
        while idle_since(files) is not None:
            pass
        process.send_signal(signal.SIGSTOP)
        # A stopped process has not run between two readings, once it has left its processor: the
        # kernel says that it is stopped, and then counts the switch.
        until(lambda: (found := idle_since(files)) is not None and found == idle_since(files))
        process.kill()
