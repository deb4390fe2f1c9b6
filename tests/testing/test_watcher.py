"""What the process that measures answers about a process."""

from __future__ import annotations

import subprocess
import sys

from procmem.testing.watcher import Watcher


def test_a_process_that_ends() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        watcher = Watcher(process.pid)
        assert watcher.answer("begin")["rss"] > 0
    assert "error" in watcher.answer("end")


def test_a_wrong_pid() -> None:
    command = [sys.executable, "-m", "procmem.testing.watcher", "999999999"]
    ran = subprocess.run(command, input="begin\n", capture_output=True, text=True, check=True)
    assert '"error"' in ran.stdout
    assert not ran.stderr
