"""grade(): a lab's checks on one submission, in a process of their own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from procmem.errors import MissingExtra
from procmem.grade.inherited import above_standard, without_traces
from procmem.grade.results import BuildResult, CheckResult, Grade, Status
from procmem.grade.submissions.handins import key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from procmem.grade.sandbox.limits import Limits
    from procmem.grade.sandbox.sandbox import Sandbox
    from procmem.grade.submissions.lab import Lab

__all__ = ["end_jobs", "end_servers", "grade", "machine", "ready"]

PATIENCE = 60.0
"""Seconds without a word from the checks, beyond what a build and some runs may take, that mean
they hang."""

RUNS = 8
"""Of the program in one check, each of which may take as long as it may."""

START = 60.0
"""Seconds in which a server must be up."""


def grade(
    lab: Lab | str | os.PathLike[str],
    submission: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
    sandbox: Sandbox | None = None,
    patience: float | None = None,
) -> Grade:
    """Grades one submission.

    The checks run in a process of their own. Whatever happens to it, what they found until then
    is kept, and the rest is an error of the grader. May be called from several threads at once.

    Args:
        lab: the exercise, or the directory where it lies.
        submission: the directory, archive or file that was handed in. It is copied, and never
            written to.
        limits: what the submission may use, instead of what the lab says.
        sandbox: where it runs; None: the strongest that stands here.
        patience: seconds without a result after which the checks count as hanging; None: a minute
            more than a build and eight runs of the program may take.

    Returns:
        The grade; one with `error` where the grader itself failed.

    Raises:
        LabError: the lab is not as it should be.
        MachineError: nothing can be graded on this machine as it is.
        MissingExtra: pytest is not installed.
    """
    from procmem.grade.submissions.lab import Lab

    begun = time.monotonic()
    need_pytest()
    if not isinstance(lab, Lab):
        lab = Lab.load(lab)
    used = lab.limits if limits is None else limits
    job = {
        "lab": lab,
        "submission": os.path.abspath(submission),
        "limits": used,
        "sandbox": sandbox,
        "patience": usual_patience(used) if patience is None else patience,
    }
    ready(lab, limits=used, sandbox=sandbox)
    found = done(lab, job, begun)
    return replace(found, checks=asked_of_solution(lab, found.checks, job))


def done(lab: Lab, job: dict[str, Any], begun: float) -> Grade:
    """Does a job in a process of its own."""
    heard = Heard()
    try:
        with borrowed_server() as server:
            server.do(job, heard)
    except (OSError, EOFError) as error:
        heard.error = f"the grader's own process is gone: {short(error)}"
    name = os.path.basename(os.path.abspath(job["submission"]))
    return heard.grade(lab, name, time.monotonic() - begun)


# ---- checks that can't be evaluated --------------------------------------------------------

_passed: dict[tuple[object, ...], frozenset[str]] = {}
_solving = threading.Lock()


def asked_of_solution(
    lab: Lab, checks: tuple[CheckResult, ...], job: Mapping[str, Any] | None = None
) -> tuple[CheckResult, ...]:
    """Checks of a submission; those whose own code failed are judged by what the solution does.

    Args:
        lab: whose solution is graded, once, if such a check is among them.
        checks: of the submission.
        job: as it was given to a server; None: nothing but the lab's own settings.
    """
    if not any(check.raised for check in checks) or not lab.solution.is_dir():
        return checks
    usual = {
        "lab": lab,
        "limits": lab.limits,
        "sandbox": None,
        "patience": usual_patience(lab.limits),
    }
    passed = passed_by_solution(lab, {**(job or usual), "submission": str(lab.solution)})
    return tuple(judged(checks, passed))


def usual_patience(limits: Limits) -> float:
    """Seconds without a result after which checks count as hanging."""
    from procmem.grade.sandbox.limits import BUILDING

    return PATIENCE + BUILDING.wall + RUNS * limits.wall


def passed_by_solution(lab: Lab, job: dict[str, Any]) -> frozenset[str]:
    """The names of the checks that the lab's own solution passes here; found out once."""
    known = (key(lab.directory), job["limits"], job["sandbox"])
    with _solving:
        if known not in _passed:
            found = done(lab, job, time.monotonic())
            _passed[known] = frozenset(
                check.name for check in found.checks if check.status is Status.PASSED
            )
        return _passed[known]


def judged(checks: Iterable[CheckResult], passed: frozenset[str]) -> list[CheckResult]:
    """Checks whose own code failed are failures of the submission if the solution passes them.

    Such as an index beyond the end of a list: never a reason not to count a check.
    """
    found = list(checks)
    lost: set[str] = set()
    for at, check in enumerate(found):
        if check.raised and check.name in passed:
            said = f"the program is too far from what is asked to be judged here ({check.raised})"
            found[at] = replace(check, status=Status.FAILED, score=0, message=said)
            lost |= {check.name, check.name.partition("[")[0]}
    for _ in found:  # until those that need others that need these are found, too
        for at, check in enumerate(found):
            blocked = check.status is Status.ERROR and not check.raised and not check.detail
            if blocked and lost.intersection(check.needs):
                found[at] = replace(check, status=Status.MISSED, message="it needs one that failed")
                lost |= {check.name, check.name.partition("[")[0]}
    return found


_proved: set[tuple[object, ...]] = set()
_proving = threading.Lock()


def ready(lab: Lab, *, limits: Limits | None = None, sandbox: Sandbox | None = None) -> None:
    """Proves once, before the first submission, that this machine can grade: procmem.grade.proving.

    Raises:
        MachineError: it can't.
        MissingExtra: pytest is not installed.
    """
    from procmem.grade.errors import MachineError
    from procmem.grade.sandbox.sandbox import words_for

    need_pytest()
    used = lab.limits if limits is None else limits
    known = (lab.build, lab.files, used, sandbox, tempfile.gettempdir(), os.geteuid())
    with _proving:
        if known in _proved:
            return
        job = {
            "lab": lab,
            "submission": None,
            "limits": used,
            "sandbox": sandbox,
            "patience": PATIENCE + 2 * used.wall,
        }
        heard = Heard()
        try:
            with borrowed_server() as server:
                server.do(job, heard)
        except OSError as error:
            raise MachineError(words_for(error)) from error
        except EOFError as error:
            raise MachineError(f"the grader's own process is gone: {short(error)}") from error
        if heard.error is not None:
            raise MachineError(heard.error)
        _proved.add(known)


def need_pytest() -> None:
    from importlib.util import find_spec

    if find_spec("pytest") is None:
        raise MissingExtra("grade", "grading")


def short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


class Heard:
    """What a job told of itself."""

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

    def take(self, event: Mapping[str, Any]) -> None:
        """Notes an event."""
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
            case "error":
                self.error = event["error"]
            case "done":
                self.done = True
            case "end" if not self.done and self.error is None:
                self.error = how_it_ended(event)

    def grade(self, lab: Lab, name: str, seconds: float) -> Grade:
        """All of it; a check of which nothing was heard is an error of the grader."""
        import procmem

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
            version=procmem.__version__,
        )


def how_it_ended(event: Mapping[str, Any]) -> str:
    if event["hung"]:
        return "the checks hang: they were ended"
    if event["status"] < 0:
        return f"the grader's process was ended by signal {-event['status']}"
    return f"the grader's process ended in the middle, with status {event['status']}"


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
            is_up = self.connection.poll(START) and self.connection.recv() == "ready"
        except BaseException:
            self.process.kill()
            self.close()
            raise
        if not is_up:
            self.process.kill()
            self.close()
            raise EOFError("it does not start")

    def do(self, job: dict[str, Any], heard: Heard) -> None:
        """One job; returns when nothing of it is left.

        Raises:
            EOFError, OSError: the server is gone.
        """
        self.connection.send(job)
        while True:
            event = self.connection.recv()
            heard.take(event)
            if event["event"] == "end":
                return

    def interrupt(self) -> None:
        """Ends its job, from another thread: whoever waits for it hears that it is gone."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends it, and the job that it does."""
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
    """A server that nobody else uses; it goes back where it was when the block ends."""
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
    """In a forked child: they are the parent's."""
    global _lock, _proving, _solving  # noqa: PLW0603 - another thread may have held them
    _lock = threading.Lock()
    _solving = threading.Lock()
    _proving = threading.Lock()
    for server in (*_idle, *_busy):
        server.connection.close()
        server.socket.close()
    _idle.clear()
    _busy.clear()


def end_jobs() -> None:
    """Ends what grade() does in other threads: each gives a Grade with an error."""
    with _lock:
        for server in _busy:
            server.interrupt()


def end_servers() -> None:
    """Ends the processes that wait for the next grade(); they end with this process, too."""
    while _idle:
        with contextlib.suppress(OSError):
            _idle.pop().close()


os.register_at_fork(after_in_child=forget_servers)
atexit.register(end_servers)


# ---- in the child -----------------------------------------------------------------------


QUIET = (
    "terminal cacheprovider junitxml pastebin doctest logging faulthandler debugging unittest "
    "stepwise setuponly setupplan capture warnings legacypath nose threadexception "
    "unraisableexception"
).split()
"""Plugins of pytest that are of no use where nobody looks on; each would take its time."""


def work(job: Mapping[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
    """Grades in this process; the server's child comes here."""
    from procmem.grade.errors import SandboxError, SubmissionError
    from procmem.grade.proving import prove

    lab, limits, sandbox = job["lab"], job["limits"], job["sandbox"]
    try:
        if job["submission"] is None:
            prove(lab.build, lab.files, sandbox=sandbox, limits=limits)
            tell({"event": "done"})
            return
        with lab.open(job["submission"], limits=limits, sandbox=sandbox) as submission:
            tell({"event": "sandbox", "kind": submission.job.kind})
            run_checks(lab, submission, tell)
    except (SubmissionError, SandboxError) as error:
        tell({"event": "error", "error": str(error)})
    except Exception as error:  # noqa: BLE001 - told, and the others are graded
        tell({"event": "error", "error": f"{type(error).__name__}: {error}"})
    tell({"event": "done"})


def run_checks(lab: Lab, submission: Any, tell: Callable[[dict[str, Any]], None]) -> None:
    """Runs pytest on the checks, alone: nothing of the user's own pytest takes part."""
    import pytest

    from procmem.grade.checks import explain
    from procmem.grade.checks.plugin import Collector

    collector = Collector(lab, submission, tell)
    tell(collector.files())
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(name, None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    arguments = [
        str(lab.checks),
        f"--rootdir={lab.directory}",
        # Else the directories above it would be looked through, too.
        f"--confcutdir={lab.directory}",
        f"-c{os.devnull}",
        "--noconftest",
        *(f"-pno:{name}" for name in QUIET),
    ]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = pytest.main(arguments, plugins=[collector])
    tell(collector.files())
    built = collector.build()
    if built is not None:
        tell({"event": "build", "build": {**asdict(built), "command": list(built.command)}})
    if collector.error is not None:
        tell({"event": "error", "error": collector.error})
    elif status == pytest.ExitCode.NO_TESTS_COLLECTED:
        tell({"event": "error", "error": f"{lab.checks.name} holds no checks"})
    elif status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        words = explain.short(said.getvalue())
        tell({"event": "error", "error": f"pytest ended with status {int(status)}: {words}"})


# ---- what it was graded on ----------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def machine() -> Mapping[str, Any]:
    """What decides what a check may expect: kernel, page size, libc, compiler."""
    from procmem.regions.region import PAGE_SIZE

    uname = os.uname()
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):
        libc = None
    return {
        "kernel": uname.release,
        "machine": uname.machine,
        "page_size": PAGE_SIZE,
        "libc": libc,
        "compiler": compiler(),
    }


def compiler() -> str | None:
    """The first line that the C compiler says of itself; None: there is none."""
    try:
        done = subprocess.run(
            ["cc", "--version"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.partition("\n")[0] or None
