"""The process from which jobs are forked.

It has imported everything, runs no thread, and makes sure that nothing of a submission is left.

One server does one job at a time. A job is a forked child that writes events as JSON to a pipe; the
server forwards them. The server is the subreaper of whatever the child leaves behind.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import sys
import tempfile
import time
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from procmem.errors import ProcmemError
from procmem.grade.sandbox import waiting
from procmem.grade.sandbox.inherited import set_right
from procmem.grade.sandbox.job import claim_place
from procmem.grade.sandbox.sandbox import Sandbox
from procmem.grade.sandbox.untrusted import remove_tree

__all__ = ["main"]

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main(descriptor: int) -> None:
    """Serves jobs until the client closes the connection.

    Args:
        descriptor: a connected socket.
    """
    set_right(quiet=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    preload()
    gc.collect()
    gc.freeze()
    client = Connection(descriptor)
    client.send_bytes(b"ready")
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            serve(client, client.recv())


def prctl(option: int, argument: int) -> None:
    """prctl(2)."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


USED = (
    "pytest", "procmem.elf.sizing", "procmem.experiments.specimen.libc",
    "procmem.grade.checks.facts", "procmem.grade.checks.plugin", "procmem.grade.grading.job",
    "procmem.grade.grading.proving", "procmem.grade.submissions.lab", "procmem.process",
    "procmem.tracing.tracer",
)  # fmt: skip


def preload() -> None:
    """Imports what jobs use, so that their processes need not."""
    for name in USED:
        import_module(name)
    # What works here is tried out once, and remembered.
    with contextlib.suppress(ProcmemError, OSError):
        Sandbox().chosen()
        waiting.check_machine()


def serve(client: Connection, job: dict[str, Any]) -> None:
    try:
        place, lock = claim_place()
    except ProcmemError as error:
        send(client, {"event": "error", "error": str(error)})
        send(client, {"event": "end", "hung": False, "status": 0})
        return
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        work(job, writing, place, client.fileno())
    os.close(writing)
    watch = os.pidfd_open(child)
    patience = job["patience"]
    heard = time.monotonic()
    left = b""
    ended = hung = gone = False
    try:
        while not ended:
            wait = max(0.0, heard + patience - time.monotonic())
            ready = select.select([reading, watch, client.fileno()], [], [], wait)[0]
            if reading in ready:
                piece = os.read(reading, 1 << 16)
                *lines, left = (left + piece).split(b"\n")
                for line in lines:
                    client.send_bytes(line)
                heard = time.monotonic()
                ended = not piece
            elif watch in ready:
                # All that it has told is read; another process may hold the pipe open.
                ended = True
            elif client.fileno() in ready:
                # It has nothing to say but that it is gone.
                gone = ended = True
            else:
                hung = ended = True
    except OSError:
        gone = True
    if gone or hung:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(watch)
    os.close(reading)
    end_orphans()
    with contextlib.suppress(OSError):
        remove_tree(place)
    os.close(lock)
    if gone:
        raise EOFError
    code = os.waitstatus_to_exitcode(status)
    send(client, {"event": "end", "hung": hung, "status": code})


def send(client: Connection, event: dict[str, Any]) -> None:
    client.send_bytes(json.dumps(event).encode())


def work(job: dict[str, Any], writing: int, place: str, client: int) -> None:
    """Does a job, in the child; never returns."""
    status = 1
    try:
        os.close(client)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        tempfile.tempdir = os.environ["TMPDIR"] = place
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        os.close(nothing)
        os.chdir(place)
        sys.dont_write_bytecode = True

        def tell(event: dict[str, Any]) -> None:
            line = json.dumps(event).encode() + b"\n"
            while line:
                line = line[os.write(writing, line) :]

        from procmem.grade.grading import job as child

        child.work(job, tell)
        status = 0
    finally:
        os._exit(status)


# ---- nothing is left ------------------------------------------------------------------------


def end_orphans() -> None:
    """Kills the processes that a job left behind: this process is their subreaper."""
    deadline = time.monotonic() + STUBBORN
    while (left := waiting.descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.001)


STUBBORN = 10.0
"""Seconds after which a process that can't be killed is left running: one of another user, or one
that sleeps in a broken driver."""
