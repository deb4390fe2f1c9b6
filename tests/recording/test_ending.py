"""How a recorded process ended, in words."""

from __future__ import annotations

import subprocess
import sys

from procmem import Process, Recorder


class TestRecorder:
    def test_how_it_ended(self) -> None:
        for code, told in (
            ("import sys; sys.stdin.read(); sys.exit(3)", "has ended with status 3"),
            ("import os, sys; sys.stdin.read(); os.kill(os.getpid(), 15)", "was ended by SIGTERM"),
        ):
            with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
                made, reaped = (Recorder(Process(child.pid), every=0.01) for _ in range(2))
                assert child.stdin is not None
                child.stdin.close()
                assert made.run(300).ended == f"the process {told}, and waits for its parent"
                child.wait(300)
            # Kernels before 6.15 don't tell it to strangers.
            assert reaped.run(300).ended in (f"the process {told}", "the process has ended")
