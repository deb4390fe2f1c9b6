"""The pytest plugin that runs a lab's checks on a submission and collects the results.

`procmem.grade.grading.grade` starts pytest with it in a process of its own; `procmem.pytest_plugin`
adds it to a run of pytest that an instructor starts.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import time
import traceback
from dataclasses import replace
from typing import Any

import pytest

from procmem import native
from procmem.errors import (
    ElfError,
    MissingExtra,
    NoSuchProcess,
    ProcessChanged,
    ProcmemError,
    Unsupported,
    ZombieProcess,
)
from procmem.grade.checks import fixtures
from procmem.grade.checks.explain import Compared, Explained, explain, short
from procmem.grade.checks.points import Check, Partly, check_of
from procmem.grade.errors import (
    AsksAgain,
    LabError,
    NotPossibleHere,
    RunFailed,
    SandboxError,
    SubmissionError,
)
from procmem.grade.results import ONE_EARLY, ONE_LATE, BuildResult, CheckResult, Status
from procmem.grade.runs.pictures import pictures_of
from procmem.grade.runs.run import HIDES
from procmem.grade.runs.visits import Walk
from procmem.grade.sandbox.kinds import INSIDE
from procmem.grade.sandbox.untrusted import MACHINES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from procmem.grade.results import PhasePicture
    from procmem.grade.submissions.lab import Lab
    from procmem.grade.submissions.submission import Submission
    from procmem.snapshots import Snapshot

__all__ = ["Collector"]

NO_VERDICT = (MemoryError, NameError, ImportError, SyntaxError, RecursionError)
NOT_COUNTED = (NotPossibleHere, Unsupported, MissingExtra)
ENDED = (NoSuchProcess, ZombieProcess, ProcessChanged)
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(native.__file__)))
LABS = os.path.join(PACKAGE, "labs")
OUTPUT = 16 << 10
"""Characters of the build's output that are kept."""


class Collector:
    """Runs checks in their order, each at most once, and reports each as it ends.

    Args:
        lab: the exercise.
        submission: the submission to be graded.
        tell: called with a dict for each event: the list of checks, the start of a check, its
            result, the outcome of the build.
    """

    def __init__(
        self, lab: Lab, submission: Submission, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self.lab = lab
        self.submission = submission
        self.tell = tell
        self.results: dict[str, CheckResult] = {}
        self.error: str | None = None
        self.pictures: tuple[PhasePicture, ...] = ()
        self._order: list[str] = []
        self._comparisons: list[Compared] = []
        self._begun = 0.0
        self._known = 0
        source = os.path.abspath(submission.source)
        self._places = {
            submission.directory: INSIDE,
            submission.job.room: "/tmp",  # noqa: S108 - what a sandbox calls it
            os.path.dirname(submission.directory): "/",
            source: os.path.basename(source),
            str(lab.directory): lab.name,
            PACKAGE: "procmem",
        }

    def pytest_configure(self, config: pytest.Config) -> None:
        """Registers the fixtures."""
        config.stash[fixtures.LAB] = self.lab
        config.stash[fixtures.SUBMISSION] = self.submission
        config.pluginmanager.register(fixtures, "procmem-fixtures")
        if not config.pluginmanager.hasplugin("terminal"):
            # Nobody sees pytest's own traceback, and formatting one takes longer than the check.
            config.option.tbstyle = "no"

    # ---- which checks there are ------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Moves each check behind the checks that it needs."""
        mine = [item for item in items if self._is_mine(item)]
        try:
            ordered = in_order(mine, self.lab)
        except LabError as error:
            self.error = str(error)
            items[:] = []
            return
        places = iter(ordered)
        items[:] = [next(places) if self._is_mine(item) else item for item in items]
        self._order = [item.name for item in mine]
        listed = [blank(item).to_dict() for item in mine]
        self.tell({"event": "checks", "checks": listed})

    def _is_mine(self, item: pytest.Item) -> bool:
        return isinstance(item, pytest.Function) and str(item.path).startswith(
            str(self.lab.directory) + os.sep
        )

    @pytest.hookimpl(hookwrapper=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> Iterator[None]:
        """Records that a file of checks can't be read."""
        if report.failed and self.error is None:
            self.error = f"{self.lab.checks.name} can't be read: {tail(report.longreprtext)}"
        yield

    # ---- running them -----------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skips a check if one that it needs lost points, or has no result."""
        if not self._is_mine(item):
            return
        self._begun = time.monotonic()
        self._known = len(self.submission.runs)
        self.tell({"event": "begins", "name": item.name})
        self._comparisons.clear()
        for name in needed(item, self._order):
            status = self.results[name].status if name in self.results else Status.ERROR
            if status.lost:
                raise Missed(name, Status.MISSED)
            if not status.counts:
                raise Missed(name, status)

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        """Records the values that an assertion compared."""
        self._comparisons.append(Compared(op, left, right))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, Any, None]:
        """Turns pytest's report of a check into its result."""
        if not self._is_mine(item) or not isinstance(item, pytest.Function):
            yield
            return
        before = self.results.get(item.name)
        result = before
        if call.excinfo is not None:
            # A check that failed keeps its result, whatever fails in the teardown.
            if before is None or before.status is Status.PASSED:
                result = self._failed(item, call.excinfo)
                if result.status is Status.FAILED and call.when == "call":
                    result = self._at_another_wait(item, result)
        elif call.when == "call":
            check = mark_of(item)
            result = blank(item, Status.PASSED, score=check.points)
        if result is not None and (call.when != "setup" or call.excinfo is not None):
            clean: dict[str, Any] = {
                name: self.without_paths(text)
                for name in ("message", "expected", "seen", "what", "phase", "cause")
                if (text := getattr(result, name)) is not None
            }
            self.results[item.name] = result = replace(
                result, seconds=round(time.monotonic() - self._begun, 6), **clean
            )
        report = (yield).get_result()
        if result is not None and report.failed:
            self.shorten(report, result)
        if call.when == "call" and not mark_of(item).hidden:
            self._draw(item)
        if call.when == "teardown" and item.name in self.results:
            self.tell({"event": "result", "result": self.results[item.name].to_dict()})

    def _draw(self, item: pytest.Function) -> None:
        """Keeps pictures of the first run with several waits, else of one with a single wait.

        Runs that a hidden check makes by itself are not drawn: what it does stays hidden.
        """
        if self.pictures and self.pictures[0].before:
            return
        walked = [one.phases for one in item.funcargs.values() if isinstance(one, Walk)]
        walked += [run.phases for run in self.submission.runs[self._known :]]
        for phases in walked:
            if len(phases) > 1 or (phases and not self.pictures):
                # A grade is worth more than its picture.
                with contextlib.suppress(Exception):
                    self.pictures = pictures_of(phases)
                return

    def shorten(self, report: pytest.TestReport, result: CheckResult) -> None:
        """Sets what pytest's own report shows of a result."""
        if result.status in (Status.MISSED, Status.NOT_POSSIBLE):
            path, line, _ = report.location
            report.outcome = "skipped"
            report.longrepr = path, (line or 0) + 1, str(result.message)
        elif result.status is Status.PARTLY:
            report.longrepr = f"{result.score:g} of {result.points:g} points: {result.message}"

    def _failed(self, item: pytest.Function, excinfo: pytest.ExceptionInfo[Any]) -> CheckResult:
        error = excinfo.value
        check = mark_of(item)
        if isinstance(error, Missed):
            other = self._title(error.needed)
            if error.status is Status.MISSED:
                return blank(item, Status.MISSED, message=f"it needs “{other}”, which failed")
            return blank(
                item, error.status, message=f"it needs “{other}”, whose result is not known"
            )
        if full := self.submission.job.full():
            return blank(item, Status.ERROR, message=f"the grader failed: {full}")
        if isinstance(error, Partly):
            try:
                score = error.of(check.points)
            except ValueError as odd:
                return blank(item, Status.ERROR, message=str(odd))
            status = Status.PASSED if score == check.points else Status.PARTLY
            hint = None if status is Status.PASSED else check.hint
            return blank(item, status, score=score, message=error.why, hint=hint)
        if isinstance(error, pytest.skip.Exception):
            return blank(item, Status.NOT_POSSIBLE, message=str(error.msg))
        if isinstance(error, NOT_COUNTED):
            return blank(item, Status.NOT_POSSIBLE, message=short(str(error)))
        if isinstance(error, AssertionError) and not self._raised_inside(excinfo):
            return self._asserted(item, excinfo, error, check)
        if isinstance(error, SubmissionError):
            phase = error.phase if isinstance(error, RunFailed) else ""
            said = str(error).removesuffix(f" ({phase})")
            if isinstance(error, RunFailed) and not isinstance(error, AsksAgain):
                said += last_words(error.output)
            return blank(item, Status.FAILED, message=said, phase=phase or None, hint=check.hint)
        if isinstance(error, pytest.fail.Exception):
            return blank(item, Status.FAILED, message=short(str(error.msg)), hint=check.hint)
        if isinstance(error, ENDED):
            said = "the program ended, or was replaced by exec, while it was measured"
            return blank(item, Status.FAILED, message=said, hint=check.hint)
        if any(run.hides(error) for run in self.submission.runs):
            return blank(item, Status.FAILED, message=HIDES, hint=check.hint)
        if isinstance(error, ElfError) and self._handed_in(error.path):
            said = f"{os.path.basename(os.fspath(error.path))}: {error.reason}"
            return blank(item, Status.FAILED, message=said, hint=check.hint)
        if isinstance(error, SandboxError):
            return blank(item, Status.ERROR, message=f"the grader failed: {short(str(error))}")
        where = "".join(traceback.format_exception(error))
        return blank(
            item,
            Status.ERROR,
            message=f"the grader failed: {type(error).__name__}: {short(str(error))}",
            detail=where[-OUTPUT:],
            raised=self._raised_by_the_check(excinfo),
        )

    def _raised_by_the_check(self, excinfo: pytest.ExceptionInfo[Any]) -> str | None:
        """What the check's own code raised, such as an IndexError; None: it is no verdict.

        A name that is not defined is the lab's fault, whatever the submission. What other code
        raised, and what the machine lacks, is no verdict either.
        """
        error = excinfo.value
        if not isinstance(error, Exception) or isinstance(error, (*NO_VERDICT, ProcmemError)):
            return None
        if isinstance(error, OSError) and error.errno in MACHINES:
            return None
        home = str(self.lab.directory) + os.sep
        mine = [str(entry.path).startswith(home) for entry in excinfo.traceback]
        behind = excinfo.traceback[len(mine) - mine[::-1].index(True) :] if any(mine) else []
        if not any(mine) or any(str(entry.path).startswith(PACKAGE + os.sep) for entry in behind):
            return None
        return f"{type(error).__name__}: {short(str(error))}"

    def _asserted(
        self,
        item: pytest.Function,
        excinfo: pytest.ExceptionInfo[Any],
        error: AssertionError,
        check: Check,
    ) -> CheckResult:
        story = Explained(message=short(str(error)) or None)
        given = {name: value for name, value in item.funcargs.items() if name[0] != "_"}
        for entry in reversed(excinfo.traceback):
            path = str(entry.path)
            if not path.startswith(str(self.lab.directory) + os.sep):
                continue
            try:
                with open(path, encoding="utf-8") as file:
                    source = file.read()
                story = explain(
                    error,
                    self._comparisons,
                    source,
                    entry.lineno + 1,
                    entry.frame.f_locals,
                    self._phase,
                    given,
                )
            except Exception:  # noqa: BLE001 - the check has failed, explained or not
                story = Explained(message=short(str(error)) or None)
            break
        if "status" in (story.what or story.message or ""):
            story = story._replace(message=(story.message or "") + self._said_at_its_end())
        return blank(item, Status.FAILED, **story._asdict(), hint=check.hint)

    def _said_at_its_end(self) -> str:
        """The last output of the last program that ended with a status other than 0."""
        for run in reversed(self.submission.runs):
            if run.ended is not None and run.ended.status:
                return last_words(run.output)
        return ""

    def _at_another_wait(self, item: pytest.Function, result: CheckResult) -> CheckResult:
        """Adds a cause to a failure if the check passes with all waits counted one off."""
        given = item.funcargs
        moved = {
            name: one
            for name in inspect.signature(item.obj).parameters
            if isinstance(one := given.get(name), Walk)
        }
        if not moved:
            return result
        compared = list(self._comparisons)
        try:
            for by, words in ((1, ONE_LATE), (-1, ONE_EARLY)):
                arguments = {name: given[name] for name in inspect.signature(item.obj).parameters}
                arguments.update({name: one.shifted(by) for name, one in moved.items()})
                try:
                    item.obj(**arguments)
                except (Exception, pytest.fail.Exception, pytest.skip.Exception):  # noqa: BLE001, S112
                    continue
                return replace(result, cause=words)
        finally:
            self._comparisons[:] = compared
        return result

    def _raised_inside(self, excinfo: pytest.ExceptionInfo[Any]) -> bool:
        """Whether an assertion is procmem's own and not the lab's."""
        last = str(excinfo.traceback[-1].path)
        return last.startswith(PACKAGE + os.sep) and not last.startswith(LABS + os.sep)

    def _handed_in(self, path: str | os.PathLike[str]) -> bool:
        home = os.path.realpath(self.submission.directory) + os.sep
        return os.path.realpath(path).startswith(home)

    def _phase(self, shot: Snapshot) -> str | None:
        for run in self.submission.runs:
            for name, taken in run.phases:
                if taken is shot:
                    return name
        return None

    def _title(self, name: str) -> str:
        return self.results[name].title if name in self.results else name

    # ---- the end ------------------------------------------------------------------

    def finish(self) -> tuple[CheckResult, ...]:
        """All results in the lab's order."""
        return tuple(self.results[name] for name in self._order if name in self.results)

    def build(self) -> BuildResult | None:
        """How the submission was built; None: it was not."""
        built = build_result(self.submission)
        return None if built is None else replace(built, output=self.without_paths(built.output))

    def files(self) -> dict[str, Any]:
        """The event with the notes about the submission's files."""
        return {
            "event": "files",
            "unopened": self.without_paths(self.submission.refused) or None,
            "notes": [self.without_paths(note) for note in self.submission.notes],
        }

    def without_paths(self, text: str) -> str:
        """A text for students, in which the grader's paths are replaced by the sandbox's."""
        return without_paths(text, self._places)


class Missed(BaseException):
    """A check is not run because of the result of one that it needs."""

    def __init__(self, needed: str, status: Status) -> None:
        super().__init__(needed)
        self.needed = needed
        self.status = status


LAST_LINES, LAST_LENGTH = 3, 200


def last_words(output: str) -> str:
    r"""The last lines of a program's output, to be appended to a sentence; "" if there are none.

    >>> last_words("Press Enter.\nmmap: Cannot allocate memory\n")
    '; its last output:\nPress Enter.\nmmap: Cannot allocate memory'
    """
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    ends = [line if len(line) <= LAST_LENGTH else f"...{line[-LAST_LENGTH:]}" for line in lines]
    if not ends:
        return ""
    return "\n".join(["; its last output:", *ends[-LAST_LINES:]])


JOBS = re.compile(r"/[^\s'\":,;()]*/procmem-jobs-[^\s'\":,;()]*")
"""Paths of other jobs, and of temporary files of this one."""


def without_paths(text: str, places: Mapping[str, str]) -> str:
    """A text in which paths are replaced, the longest first.

    >>> without_paths("in /tmp/x/files/a.c and /tmp/procmem-jobs-0/job-1/b", {"/tmp/x/files": "."})
    'in ./a.c and ...'
    """
    for path in sorted(places, key=len, reverse=True):
        if len(path) > 1:
            text = text.replace(path, places[path])
    return JOBS.sub("...", text)


def build_result(submission: Submission) -> BuildResult | None:
    """How a submission was built, if it was."""
    if submission.refused:
        return BuildResult(ok=False, output=submission.refused)
    built = submission.built
    if built is None or not built.command:
        return None
    output = built.output
    if len(output) > OUTPUT:
        output = output[:OUTPUT] + f"\n... {len(output) - OUTPUT:,} more characters"
    return BuildResult(bool(built.ok), output, tuple(built.command), float(built.seconds))


# ---- checks and what they need -----------------------------------------------------------


def mark_of(item: pytest.Function) -> Check:
    """The mark of a check; a test function without one is a check for no points."""
    found = check_of(getattr(item, "obj", None))
    if found is not None:
        return found
    title = (getattr(item.obj, "__doc__", None) or item.originalname).strip().partition("\n")[0]
    return Check(0, title.removeprefix("test_").replace("_", " "), None, (), hidden=False)


def blank(item: pytest.Item, status: Status = Status.ERROR, **more: Any) -> CheckResult:
    """A result of a check, filled in from its mark."""
    assert isinstance(item, pytest.Function)  # noqa: S101 - for the type checker
    check = mark_of(item)
    variant = item.name[len(item.originalname) :].strip("[]")
    title = f"{check.title} ({variant})" if variant else check.title
    fields: dict[str, Any] = {"points": check.points, "hidden": check.hidden, "needs": check.needs}
    return CheckResult(item.name, title, status, **{**fields, **more})


def needed(item: pytest.Item, names: Sequence[str]) -> list[str]:
    """The names of the checks that a check needs, with all variants of each."""
    assert isinstance(item, pytest.Function)  # noqa: S101 - for the type checker
    return [
        name
        for wanted in mark_of(item).needs
        for name in names
        if name == wanted or name.partition("[")[0] == wanted
    ]


def in_order(items: Sequence[pytest.Item], lab: Lab) -> list[pytest.Item]:
    """The checks in an order in which each follows those that it needs, otherwise unchanged.

    Raises:
        LabError: a check needs one that does not exist, or needs itself, directly or not.
    """
    by_name = {item.name: item for item in items}
    names = list(by_name)
    done: dict[str, pytest.Item] = {}
    path: list[str] = []

    def add(item: pytest.Item) -> None:
        if item.name in done:
            return
        if item.name in path:
            circle = [*path[path.index(item.name) :], item.name]
            raise LabError(lab.checks, f"checks need each other: {' needs '.join(circle)}")
        path.append(item.name)
        assert isinstance(item, pytest.Function)  # noqa: S101 - for the type checker
        for wanted in mark_of(item).needs:
            if wanted not in by_name and not any(n.partition("[")[0] == wanted for n in names):
                import difflib

                near = difflib.get_close_matches(wanted, names, 1)
                way = f": did you mean {near[0]}?" if near else ""
                raise LabError(lab.checks, f"{item.name} needs {wanted}, which does not exist{way}")
        for name in needed(item, names):
            add(by_name[name])
        path.pop()
        done[item.name] = item

    for item in items:
        add(item)
    return list(done.values())


def tail(text: str) -> str:
    """The last lines of pytest's message about a file that it can't import."""
    lines = [line.removeprefix("E ") for line in text.splitlines()]
    kept = [line.strip() for line in lines if line.strip()]
    return "; ".join(kept[-3:])
