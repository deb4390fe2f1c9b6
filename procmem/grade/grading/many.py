"""Grading many submissions in parallel. It can be resumed, and no submission stops the others.

The results directory holds, for each submission, `submissions/NAME/` with its grade (`grade.json`),
the same in each requested format, and `done`, which says what was graded. It is written last: a
submission is done when it exists. `grades.csv` and `summary.json` are made from these
grades.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from procmem._version import __version__
from procmem.errors import ProcmemError
from procmem.grade.exports.files import FORMATS, written
from procmem.grade.exports.tables import csv_rows
from procmem.grade.grading.client import end_jobs
from procmem.grade.grading.grade import grade, ready
from procmem.grade.results import Grade, Status
from procmem.grade.submissions.handins import Handin, doubles, find, key
from procmem.grade.submissions.lab import Lab

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future

__all__ = ["CheckCount", "Outcome", "ResultsInUse", "Summary", "grade_all"]

TRIES = 2
"""How often a submission is tried, for example if the process that grades it is killed."""


class ResultsInUse(ProcmemError):
    """Another process is writing to that directory of results."""


@dataclass(frozen=True)
class Outcome:
    """The result of one submission.

    Attributes:
        submission: its name.
        score, max_score: its points, and the points of all checks that count.
        not_judged: the points of the checks that were not judged.
        lost: the titles of the checks that did not give all their points.
        error: how the grader failed; None: it did not.
        unopened: why the submission could not be opened; None: it could.
        kept: whether the grade is from an earlier run.
        seconds: how long grading took.
    """

    submission: str
    score: float
    max_score: float
    lost: tuple[str, ...] = ()
    error: str | None = None
    kept: bool = False
    seconds: float = 0.0
    not_judged: float = 0
    unopened: str | None = None


@dataclass
class CheckCount:
    """How a check ended in all submissions.

    Attributes:
        name, title: as in CheckResult.
        points: what it is worth.
        ends: the number of submissions for each Status.
    """

    name: str
    title: str
    points: float
    ends: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))

    @property
    def failing(self) -> int:
        """The number of submissions that lost points here."""
        return self.ends[Status.FAILED] + self.ends[Status.PARTLY] + self.ends[Status.MISSED]


@dataclass
class Summary:
    """The results of many submissions.

    Attributes:
        lab: the name of the lab.
        total: the number of submissions.
        outcomes: one for each that is done; sorted by name once all are.
        checks: counts for each check, in the lab's order; empty until all are done.
        seconds: how long it took.
        doubles: pairs of names that may be of one student: a guess, from names alone.
    """

    lab: str
    total: int
    outcomes: list[Outcome] = field(default_factory=list)
    checks: list[CheckCount] = field(default_factory=list)
    seconds: float = 0.0
    doubles: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def unopened(self) -> list[Outcome]:
        """The submissions that could not be opened; their points are lost."""
        return [one for one in self.outcomes if one.unopened is not None]

    @property
    def errors(self) -> list[Outcome]:
        """The submissions at which the grader failed, completely or at some checks."""
        return [one for one in self.outcomes if one.error is not None]

    @property
    def kept(self) -> int:
        """The number of submissions that an earlier run graded."""
        return sum(one.kept for one in self.outcomes)

    @property
    def remaining(self) -> float | None:
        """An estimate of the seconds that are left, from those graded so far."""
        made = len(self.outcomes) - self.kept
        return self.seconds / made * (self.total - len(self.outcomes)) if made else None

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        checks = [
            {
                "name": one.name,
                "title": one.title,
                "points": one.points,
                "failing": one.failing,
                **{status.value: count for status, count in one.ends.items()},
            }
            for one in self.checks
        ]
        return {
            "lab": self.lab,
            "total": self.total,
            "graded": len(self.outcomes),
            "kept": self.kept,
            "errors": len(self.errors),
            "unopened": [one.submission for one in self.unopened],
            "perhaps_of_one_student": [list(names) for names in self.doubles],
            "seconds": self.seconds,
            "checks": checks,
            "submissions": [asdict(one) for one in self.outcomes],
        }


def grade_all(
    lab: Lab | str | os.PathLike[str],
    submissions: str | os.PathLike[str],
    results: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[Outcome, Summary], None] | None = None,
    again: bool = False,
    formats: Iterable[str] = tuple(FORMATS),
) -> Summary:
    """Grades all submissions in a directory.

    A submission that an earlier run graded is not graded again unless it, the lab or procmem
    changed, or the grader failed at one of its checks. One that can't be graded doesn't stop the
    others. What is done is kept after a KeyboardInterrupt or a kill.

    Args:
        lab: the lab, or its directory.
        submissions: a directory of directories, archives (zip, tar), or single source
            files, which are completed from the lab's starter.
        results: a directory to write to; created if it is missing.
        jobs: the number of jobs at a time; None: the number of CPUs of this process. With an
            executor, at least that many are submitted to it at a time.
        executor: any of concurrent.futures, such as Client.get_executor() of Dask. The lab and the
            submissions must have the same paths on all its machines.
        progress: called after each submission.
        again: whether to grade those again that are done.
        formats: names in procmem.grade.exports.FORMATS.

    Raises:
        NoSubmissions: there are none.
        ResultsInUse: another process is writing there.
        LabError: a file of the lab is wrong.
        MachineError: this machine can't grade in its present state.
        OSError: the results can't be written.
    """
    lab = lab if isinstance(lab, Lab) else Lab.load(lab)
    handins = find(submissions, but=os.fspath(results))
    summary = Summary(lab.name, len(handins))
    summary.doubles = doubles([one.name for one in handins])
    if executor is None:
        ready(lab)
    with Results(os.fspath(results), tuple(formats)) as kept:
        job = {"lab": str(lab.directory), "run": uuid.uuid4().hex}
        run = Work(job, handins, kept, summary, progress, again=again)
        try:
            run.all(jobs or len(os.sched_getaffinity(0)), executor)
        finally:
            order = {one.name: place for place, one in enumerate(handins)}
            summary.outcomes.sort(key=lambda outcome: order[outcome.submission])
            kept.tables(summary)
    return summary


class Work:
    """The work of one grade_all()."""

    def __init__(
        self,
        job: dict[str, str],
        handins: list[Handin],
        results: Results,
        summary: Summary,
        progress: Callable[[Outcome, Summary], None] | None,
        *,
        again: bool,
    ) -> None:
        self.job = job
        self.results = results
        self.summary = summary
        self.progress = progress
        self.again = again
        self.lab_key = f"{__version__} {key(job['lab'])}"
        self.waiting = iter(handins)
        self.back: list[Handin] = []
        self.running: dict[Future[str], tuple[Handin, str]] = {}
        self.started = time.monotonic()

    def all(self, jobs: int, executor: Executor | None) -> None:
        """Grades them; in threads, if no executor is given, or the executor breaks."""
        with contextlib.ExitStack() as stack:
            own = executor is None
            window = jobs if own else max(4 * jobs, 256)
            if executor is None:
                executor = stack.enter_context(ThreadPoolExecutor(jobs, "procmem-grade"))
            try:
                while True:
                    try:
                        self.fill(executor, window)
                        if not self.running:
                            return
                        self.take()
                    except BrokenExecutor:
                        if own:
                            raise
                        own, window = True, jobs
                        self.back += [handin for handin, _ in self.running.values()]
                        self.running.clear()
                        executor = stack.enter_context(ThreadPoolExecutor(jobs, "procmem-grade"))
            except BaseException:
                CANCELLED.add(self.job["run"])
                for future in self.running:
                    future.cancel()
                if own:
                    end_jobs()
                raise

    def fill(self, executor: Executor, window: int) -> None:
        """Submits jobs, and takes over what is done already."""
        while len(self.running) < window:
            handin = self.back.pop() if self.back else next(self.waiting, None)
            if handin is None:
                return
            made_of = f"{self.lab_key} {key(*handin.paths)}"
            found = None if self.again else self.results.kept(handin.name, made_of)
            if found is not None:
                self.settle(found, kept=True)
                continue
            job = {**self.job, "name": handin.name, "paths": list(handin.paths)}
            try:
                future = executor.submit(graded, job)
            except BrokenExecutor:
                self.back.append(handin)
                raise
            self.running[future] = (handin, made_of)

    def take(self) -> None:
        """Waits for a job and writes its result."""
        ended, _ = wait(self.running, return_when=FIRST_COMPLETED)
        for future in ended:
            error = future.exception()
            if isinstance(error, BrokenExecutor):
                raise error
            handin, made_of = self.running.pop(future)
            if error is None:
                found = Grade.from_json(future.result())
            else:
                found = failed(self.summary.lab, handin.name, f"{type(error).__name__}: {error}")
            self.results.write(found, made_of)
            self.settle(found, kept=False)

    def settle(self, grade: Grade, *, kept: bool) -> None:
        outcome = outcome_of(grade, kept=kept)
        self.summary.outcomes.append(outcome)
        self.summary.seconds = time.monotonic() - self.started
        if self.progress is not None:
            self.progress(outcome, self.summary)


def outcome_of(grade: Grade, *, kept: bool) -> Outcome:
    error = grade.error
    if error is None and not grade.trusted:
        odd = [check for check in grade.checks if check.status is Status.ERROR]
        error = f"the grader failed at {len(odd)} of {len(grade.checks)} checks: {odd[0].title}"
        error += f": {odd[0].message.removeprefix('the grader failed: ')}" if odd[0].message else ""
    counted = (check for check in grade.checks if check.status.counts)
    lost = tuple(check.title for check in counted if check.status is not Status.PASSED)
    return Outcome(
        grade.submission,
        grade.score,
        grade.max_score,
        lost,
        error,
        kept,
        grade.seconds,
        grade.uncounted,
        grade.unopened,
    )


def failed(lab: str, name: str, why: str) -> Grade:
    return Grade(lab, name, error=why, version=__version__)


# ---- where the work is done -----------------------------------------------------

CANCELLED: set[str] = set()
"""Calls whose jobs are not to be tried again."""


def graded(job: dict[str, Any]) -> str:
    """Does a job in a thread or process of an executor. Returns a Grade as JSON."""
    lab = Lab.load(job["lab"])
    found = failed(lab.name, job["name"], "cancelled")
    for _ in range(TRIES):
        if job["run"] in CANCELLED:
            break
        path, *more = job["paths"]
        found = graded_once(lab, Handin(job["name"], path, tuple(more)))
        if found.error is None:
            break
    return found.to_json()


def graded_once(lab: Lab, handin: Handin) -> Grade:
    if not handin.more:
        return replace(grade(lab, handin.path), submission=handin.name)
    with tempfile.TemporaryDirectory(prefix="procmem-handin-") as place:
        for path in handin.paths:
            shutil.copyfile(path, os.path.join(place, os.path.basename(path)))
        return replace(grade(lab, place), submission=handin.name)


# ---- what is kept ---------------------------------------------------------------


class Results:
    """A directory of results; a context manager that locks it."""

    def __init__(self, directory: str, formats: tuple[str, ...]) -> None:
        self.directory = directory
        self.formats = formats
        self._lock = -1

    def __enter__(self) -> Results:
        # The submissions' programs shall not read it, should no wall stand but the user's.
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        self._lock = os.open(
            os.path.join(self.directory, ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise ResultsInUse(
                f"{self.directory}: another process is writing its results there: wait for it, or "
                "choose another directory"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def path(self, name: str, file: str) -> str:
        """The path of a file of a submission."""
        return os.path.join(self.directory, "submissions", name, file)

    def load(self, name: str) -> tuple[Grade, str] | None:
        """The grade of an earlier run and what it was made from; None: there is none."""
        try:
            with open(self.path(name, "grade.json"), "rb") as file:
                raw = file.read()
            with open(self.path(name, "done"), encoding="utf-8") as text:
                digest, made_of = text.read().split(" ", 1)
            if digest != hashlib.sha256(raw).hexdigest():
                return None
            return Grade.from_json(raw), made_of
        except (OSError, ValueError):
            return None

    def kept(self, name: str, made_of: str) -> Grade | None:
        """The grade of an earlier run, if it is still valid."""
        found = self.load(name)
        if found is None or found[1] != made_of or not found[0].trusted:
            return None
        for form in self.formats:
            if not os.path.exists(self.path(name, FORMATS[form])):
                put(self.path(name, FORMATS[form]), written(found[0], form))
        return found[0]

    def write(self, grade: Grade, made_of: str) -> None:
        """Writes a grade in all formats, and last the file `done`."""
        name = grade.submission
        os.makedirs(self.path(name, ""), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name, "done"))
        raw = grade.to_json(indent=1).encode() + b"\n"
        put(self.path(name, "grade.json"), raw)
        for form, file in FORMATS.items():
            if form in self.formats:
                put(self.path(name, file), written(grade, form))
            else:  # of an earlier run, and no longer true
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path(name, file))
        put(self.path(name, "done"), f"{hashlib.sha256(raw).hexdigest()} {made_of}".encode())

    def tables(self, summary: Summary) -> None:
        """Counts how the checks ended, and writes the tables of all submissions."""
        counts: dict[str, CheckCount] = {}
        for found in self.grades(summary):
            for check in found.checks:
                one = counts.get(check.name)
                if one is None:
                    one = counts[check.name] = CheckCount(check.name, check.title, check.points)
                one.ends[check.status] += 1
        summary.checks = list(counts.values())
        rows = csv_rows(list(counts), self.grades(summary))
        put(os.path.join(self.directory, "grades.csv"), (row.encode() for row in rows))
        told = json.dumps(summary.to_dict(), indent=1).encode() + b"\n"
        put(os.path.join(self.directory, "summary.json"), told)

    def grades(self, summary: Summary) -> Iterator[Grade]:
        for outcome in summary.outcomes:
            found = self.load(outcome.submission)
            if found is not None:
                yield found[0]


def put(path: str, content: bytes | Iterable[bytes]) -> None:
    """Writes a file atomically."""
    half = f"{path}.{os.getpid()}.part"
    try:
        with open(half, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
        os.replace(half, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(half)
        if isinstance(error, OSError) and error.filename is None:
            # Of a full disk and of `ulimit -f`, write(2) names no file.
            error.filename = path
        raise
