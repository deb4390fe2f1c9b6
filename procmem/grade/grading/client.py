"""The client of job servers: it starts servers, sends jobs, and collects what they report."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

from procmem.grade.grading.graded_on import machine
from procmem.grade.results import BuildResult, CheckResult, Grade, PhasePicture, Status
from procmem.grade.sandbox.inherited import above_standard, without_traces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from procmem.grade.submissions.lab import Lab

__all__ = ["Heard", "borrowed_server", "end_jobs", "end_servers"]

START = 60.0
"""Seconds within which a server must have started."""


class Heard:
    """The events that a job reported."""

    def __init__(self) -> None:
        self.listed: list[CheckResult] = []
        self.results: dict[str, CheckResult] = {}
        self.running: str | None = None
        self.build: BuildResult | None = None
        self.error: str | None = None
        self.done = False
        self.sandbox: str | None = None
        self.unopened: str | None = None
        self.notes: tuple[str, ...] = ()
        self.pictures: tuple[PhasePicture, ...] = ()

    def take(self, event: Mapping[str, Any]) -> None:
        """Takes an event."""
        match event["event"]:
            case "checks":
                self.listed = [CheckResult.from_dict(one) for one in event["checks"]]
            case "begins":
                self.running = event["name"]
            case "result":
                result = CheckResult.from_dict(event["result"])
                self.results[result.name] = result
                self.running = None
            case "build":
                built = event["build"]
                self.build = BuildResult(**{**built, "command": tuple(built["command"])})
            case "sandbox":
                self.sandbox = event["kind"]
            case "files":
                self.unopened, self.notes = event["unopened"], tuple(event["notes"])
            case "pictures":
                self.pictures = tuple(map(PhasePicture.from_dict, event["pictures"]))
            case "error":
                self.error = event["error"]
            case "done":
                self.done = True
            case "end" if not self.done and self.error is None:
                self.error = how_it_ended(event)

    def grade(self, lab: Lab, name: str, seconds: float) -> Grade:
        """The grade; a check that reported nothing counts as a failure of the grader."""
        from procmem._version import __version__

        checks = []
        for blank in self.listed:
            found = self.results.get(blank.name)
            if found is None:
                said = self.error or "it was not run"
                if blank.name != self.running:
                    said = f"not run: {said}"
                found = replace(blank, status=Status.ERROR, message=said)
            checks.append(found)
        here = dict(machine())
        if self.sandbox is not None:
            here["sandbox"] = self.sandbox
        return Grade(
            lab=lab.name,
            submission=name,
            checks=tuple(checks),
            build=self.build,
            error=self.error,
            unopened=self.unopened,
            notes=self.notes,
            seconds=round(seconds, 6),
            machine=here,
            version=__version__,
            pictures=self.pictures,
        )


def how_it_ended(event: Mapping[str, Any]) -> str:
    if event["hung"]:
        return "the checks did not finish in time and were stopped"
    if event["status"] < 0:
        return f"the grader's process was killed by signal {-event['status']}"
    return f"the grader's process ended before it was finished, with status {event['status']}"


# ---- servers -----------------------------------------------------------------------------


class Server:
    """The process that jobs are forked from; see procmem.grade.grading.server."""

    def __init__(self) -> None:
        from multiprocessing.connection import Connection

        ours, theirs = (
            socket.socket(fileno=above_standard(one.detach())) for one in socket.socketpair()
        )
        with theirs:
            # The same modules as here, whatever the environment says by then.
            path = [os.path.abspath(entry) for entry in sys.path]
            code = (
                f"import sys; sys.path[:] = {path!r}; "
                f"from procmem.grade.grading.server import main; main({theirs.fileno()})"
            )
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=without_traces(os.environ),
                start_new_session=True,
            )
        self.socket = ours
        self.connection = Connection(os.dup(ours.fileno()))
        self.pid = os.getpid()
        try:
            is_up = self.connection.poll(START) and self.connection.recv_bytes() == b"ready"
        except BaseException:
            self.process.kill()
            self.close()
            raise
        if not is_up:
            self.process.kill()
            self.close()
            raise EOFError("it does not start")

    def do(self, job: dict[str, Any], heard: Heard) -> None:
        """Does one job; returns when nothing of it is left.

        Args:
            job: what to do, which is pickled; see procmem.grade.grading.job.
            heard: takes each event, which is sent back as JSON.

        Raises:
            EOFError, OSError: the server has ended.
        """
        self.connection.send(job)
        while True:
            event = json.loads(self.connection.recv_bytes())
            heard.take(event)
            if event["event"] == "end":
                return

    def interrupt(self) -> None:
        """Ends its job from another thread; do() then raises EOFError there."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the server and its job."""
        self.connection.close()
        self.socket.close()
        if self.pid == os.getpid():
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


_idle: list[Server] = []
_busy: set[Server] = set()
_lock = threading.Lock()


@contextlib.contextmanager
def borrowed_server() -> Iterator[Server]:
    """A server that nobody else uses until the block ends."""
    with _lock:
        server = _idle.pop() if _idle else None
    if server is None:
        server = Server()
    with _lock:
        _busy.add(server)
    try:
        yield server
    except BaseException:
        # In the middle of a job: what it would say next is nobody's.
        server.close()
        raise
    finally:
        with _lock:
            _busy.discard(server)
            if not server.connection.closed:
                _idle.append(server)


def forget_servers() -> None:
    """Closes the connections in a forked child, because they belong to the parent."""
    global _lock  # noqa: PLW0603 - another thread may have held it
    _lock = threading.Lock()
    for server in (*_idle, *_busy):
        server.connection.close()
        server.socket.close()
    _idle.clear()
    _busy.clear()


def end_jobs() -> None:
    """Ends grade() in other threads: each returns a Grade with an error."""
    with _lock:
        for server in _busy:
            server.interrupt()


def end_servers() -> None:
    """Ends the server processes that wait for the next grade(). They also end with this process."""
    while _idle:
        with contextlib.suppress(OSError):
            _idle.pop().close()


os.register_at_fork(after_in_child=forget_servers)
atexit.register(end_servers)
