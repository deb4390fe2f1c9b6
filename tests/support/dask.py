"""A scheduler of Dask and workers, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

__all__ = ["Cluster", "wait_for"]


FORKED = """
import ctypes, os, signal, distributed, distributed.cli.dask_worker
parent = os.getpid()
for _ in range({count} - 1):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
        break
"""
"""The workers share the pages of what was loaded before, and need 20 MiB each."""


def wait_for(happened: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Cluster:
    """A scheduler, and as many workers as are started. They end with the stack."""

    def __init__(self, stack: ExitStack, place: Path) -> None:
        pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
        self.stack = stack
        self.place = place
        about = place / "scheduler.json"
        self.start("scheduler", "--port=0", "--no-dashboard", f"--scheduler-file={about}")
        wait_for(lambda: about.exists() and about.read_text().rstrip().endswith("}"))
        self.address = json.loads(about.read_text())["address"]

    def worker(self, *words: str, before: str = "") -> subprocess.Popen[bytes]:
        """Starts a worker.

        Args:
            words: options of `dask worker`.
            before: Python that the process runs first.
        """
        how = ("--nthreads=1", "--no-dashboard", "--no-nanny", *words)
        return self.start("worker", self.address, *how, before=before)

    def workers(self, count: int, *words: str) -> subprocess.Popen[bytes]:
        """Starts many workers, forked from the first one, which is returned: they end with it."""
        return self.worker(*words, before=FORKED.format(count=count))

    def start(self, *words: str, before: str = "") -> subprocess.Popen[bytes]:
        code = f"{before}import sys; from dask.__main__ import main; sys.exit(main())"
        log = self.stack.enter_context((self.place / f"{words[0]}.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, *words],
            stdout=log, stderr=log, cwd=self.place,
            # Killed, they leave what they keep in files.
            env=os.environ
            | {"DASK_CONFIG": "/dev/null", "DASK_TEMPORARY_DIRECTORY": str(self.place)},
        )  # fmt: skip
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process
