"""All pipes of a machine with 10,000 descriptors against readlink(2) of each in C, and lsof."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import procmem
from benchmarks.compare import FULL, Row, Skip, children_time, compare, timed
from benchmarks.targets import built

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.compare import Effort

__all__ = ["pipes"]

DESCRIPTORS = 34
"""Of each process: files, devices, sockets, eventfds, and four ends of pipes."""


@contextmanager
def processes(count: int) -> Iterator[None]:
    """Processes that hold descriptors, as daemons do, and sleep."""
    opened = [os.open("/usr/bin/env", os.O_RDONLY) for _ in range(9)]
    opened += [os.open("/dev/null", os.O_RDONLY) for _ in range(6)]
    opened += [socket.socket().detach() for _ in range(9)]
    opened += [os.eventfd(0) for _ in range(3)]
    started: list[int] = []
    try:
        for _ in range(count):
            ends = [*os.pipe(), *os.pipe()]
            pid = os.fork()
            if not pid:
                signal.pause()
                os._exit(0)
            started.append(pid)
            for fd in ends:
                os.close(fd)
        yield
    finally:
        for pid in started:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for fd in opened:
            os.close(fd)


def lsof() -> None:
    subprocess.run(["lsof", "-n", "-w"], stdout=subprocess.DEVNULL, check=False)


def pipes(effort: Effort) -> Iterator[Row | Skip]:
    read_links = ctypes.CDLL(str(built("readlinks.c", "-shared", "-fPIC"))).read_links
    read_links.restype = ctypes.c_int64
    with processes(300 if effort is FULL else 20):
        procmem.pipes()
        ours = timed(procmem.pipes, effort)
        samples = {"pipes()": ours, "readlink in C": timed(read_links, effort)}
        yield compare("pipes", None, samples, effort).row("pipes()", "readlink in C", 1.5)
        if shutil.which("lsof") is None:
            yield Skip("pipes", "lsof", "lsof is not installed")
            return
        others = {"pipes()": ours, "lsof": timed(lsof, effort, children_time)}
        yield compare("pipes", None, others, effort).row("pipes()", "lsof", 0.1)
