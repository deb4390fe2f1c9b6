"""A student's submission: a private copy that is built once, its programs and predictions."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from dataclasses import replace

from procmem.grade.errors import BuildFailed, MachineError, SubmissionError
from procmem.grade.results import Build
from procmem.grade.runs.build import build
from procmem.grade.runs.program import Program
from procmem.grade.runs.provenance import ELF
from procmem.grade.sandbox.contents import foreign, main_is_data, what_instead
from procmem.grade.sandbox.job import temporary_directory
from procmem.grade.sandbox.sandbox import Sandbox
from procmem.grade.sandbox.untrusted import (
    MACHINES,
    copy_file,
    copy_tree,
    open_below,
    remove_below,
    shown,
)
from procmem.grade.submissions.archives import Allowance, kind_of, unpack
from procmem.grade.submissions.placing import Asked, Placed, listed, place, walk
from procmem.grade.submissions.predictions import Predictions

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.grade.runs.provenance import Provenance
    from procmem.grade.runs.run import Run
    from procmem.grade.sandbox.job import Job
    from procmem.grade.sandbox.limits import Limits
    from procmem.grade.submissions.quiz import Question

__all__ = ["Submission"]

LONGEST_TEXT = 4 << 20

HEAD = 64
"""Bytes of a file that say what it is."""

ONLY_COMPILED = "a program has to be compiled and linked from the sources that were handed in"


class Submission:
    """A submission, in a private copy; a context manager that leaves nothing behind.

    What is graded is built from what was handed in: if there is a build, or `files` are named,
    hidden files and everything that a build creates are left out. `files` are found in any
    directory.

    Args:
        source: the student's directory, archive or single file; it is only read.
        build: the command that builds it; empty: there is nothing to build.
        program: the program that program() returns, with its first arguments.
        files: the names of the files that are to be handed in.
        starter: a directory whose files replace those of `files` that were not handed in, if at
            least one was. None: there is none.
        quiz: the questions of answers.toml.
        tools: names of programs whose output may become part of a program, beside compilers and
            linkers.
        sandbox: None: the strongest that works here.
        limits: the limits of its programs; None: those of the sandbox.

    Raises:
        SubmissionError: source does not exist, or can't be read.

    Attributes:
        source: what was handed in.
        directory: the copy.
        built: the result of the build; None: it was not built yet.
        notes: a sentence for its author about each file that was left out or found elsewhere.
        missing: names of `files` that were not handed in.
        refused: why it could not be opened, for example a broken archive; the copy is empty then.
            Empty: it could.
        runs: each Run of its programs.
        faults: compiled files that were removed after the build, and why: a phrase to be appended
            to the name.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        build: Sequence[str] = (),
        program: Sequence[str] = (),
        files: Sequence[str] = (),
        starter: str | os.PathLike[str] | None = None,
        quiz: Sequence[Question] = (),
        tools: Sequence[str] = (),
        sandbox: Sandbox | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.source = os.fspath(source)
        self.command = tuple(build)
        self.argv = tuple(program)
        self.quiz = tuple(quiz)
        self.tools = tuple(tools)
        sandbox = sandbox or Sandbox()
        self.sandbox = replace(sandbox, limits=limits) if limits else sandbox
        self.built: Build | None = None
        if not os.path.lexists(self.source):
            raise SubmissionError(f"{self.source}: there is no such file or directory")
        asked = Asked(
            tuple(files), self.argv, self.command, "" if starter is None else os.fspath(starter)
        )
        self.notes: list[str] = []
        self.missing: list[str] = list(files)
        self.refused = ""
        self.faults: dict[str, str] = {}
        self.runs: list[Run] = []
        self.job: Job = self.sandbox.job()
        self.directory = self.job.directory
        self._times = int(time.time() - 10) * 10**9
        try:
            try:
                placed = self._take_in(asked)
                self.notes += placed.notes
                self.missing = placed.missing
            except SubmissionError as error:
                self.refused = str(error)
                self.notes.append(self.refused)
                remove_below(self.directory)
            self._settle()
        except OSError as error:
            full = self.job.full() if error.errno in MACHINES else ""
            self.close()
            if error.errno in MACHINES:
                raise MachineError(full or f"{temporary_directory()}: {error.strerror}") from error
            name = os.path.basename(os.path.abspath(self.source))
            raise SubmissionError(f"{name} can't be read: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def _take_in(self, asked: Asked) -> Placed:
        """Copies what was handed in to where the lab wants it."""
        limits = self.sandbox.limits
        with self.job.staging() as staging:
            unwrap = False
            if os.path.isdir(self.source):
                copied = copy_tree(
                    self.source,
                    staging,
                    lambda _: None,
                    most_bytes=limits.disk,
                    most_files=limits.files,
                )
                self.notes += copied.notes
            elif not os.path.isfile(self.source):
                raise SubmissionError("it is neither a directory nor a file")
            elif kind_of(self.source):
                allowance = Allowance()
                unpack(self.source, staging, allowance)
                self.notes += allowance.notes
                unwrap = True
            else:
                name = os.path.basename(self.source)
                copy_file(self.source, os.path.join(staging, name), limits.disk)
            placed = place(staging, self.directory, asked, unwrap=unwrap)
            if os.path.isfile(self.source) and asked.files and not placed.found:
                raise SubmissionError(
                    f"it contains nothing that the lab asks for: {listed(asked.files)}"
                )
            return placed

    def _settle(self) -> None:
        """Gives all files to the job's user, and the same time, because make(1) compares times."""
        for path, about in walk(self.directory):
            whole = os.path.join(self.directory, path)
            self.job.own(whole)
            if stat.S_ISLNK(about.st_mode):
                continue
            runs = stat.S_ISDIR(about.st_mode) or about.st_mode & 0o111
            os.chmod(whole, 0o755 if runs else 0o644)
            os.utime(whole, ns=(self._times, self._times))

    @property
    def build(self) -> Build:
        """The result of the build, which is done at the first use of this.

        Raises:
            MachineError: the disk is full.
        """
        if self.built is None and self.refused:
            self.built = Build(False, self.command, self.refused, None, 0.0, self.refused)
        elif self.built is None:
            before = [path for path, about in walk(self.directory) if stat.S_ISREG(about.st_mode)]
            built, provenance = build(self.job, self.command, tools=self.tools)
            if not built.ok and (full := self.job.full()):
                raise MachineError(full)
            self.built = built
            if provenance is not None:
                self._remove_faults(provenance)
            anew = [path for path in before if self._changed(path)]
            if anew:
                self.notes.append(f"overwritten by the build: {listed(anew)}")
        return self.built

    def _remove_faults(self, provenance: Provenance) -> None:
        """Removes compiled files that no compiler made from what was handed in."""
        if provenance.why_not:
            self.notes.append(f"the build could not be traced: {provenance.why_not}")
            return
        for path, about in list(walk(self.directory)):
            if not stat.S_ISREG(about.st_mode):
                continue
            whole = os.path.join(self.directory, path)
            with contextlib.suppress(OSError):
                with open(open_below(self.directory, path), "rb") as file:
                    head = file.read(HEAD)
                    if not head.startswith(ELF):
                        continue
                    fault = provenance.fault(file.fileno()) or main_is_data(whole)
                if fault:
                    os.unlink(whole)
                    # That it can't be run here says more than who wrote it.
                    runs = not foreign(head)
                    said = f"{fault}: {ONLY_COMPILED}"
                    self.faults[path] = said if runs else f"can't be run: {what_instead(head)}"
                    self.notes.append(f"left out, because it {fault}: {shown(path)}")

    def _changed(self, path: str) -> bool:
        try:
            return os.lstat(os.path.join(self.directory, path)).st_mtime_ns != self._times
        except OSError:
            return True

    def program(self, name: str | Sequence[str] | None = None) -> Program:
        """A program of the submission, after the build.

        Args:
            name: its file name, or a list with first arguments; None: the lab's program. A name
                without a slash is searched in PATH, as in ["python3", "grow.py"].

        Raises:
            BuildFailed: it can't be built.
            SubmissionError: there is no such file.
        """
        argv = self.argv if name is None else (name,) if isinstance(name, str) else tuple(name)
        if not argv:
            raise ValueError("which program? The lab does not name one")
        if self.refused:
            raise SubmissionError(f"it could not be opened: {self.refused}")
        if not self.build.ok:
            missing = f"; missing: {', '.join(self.missing)}" if self.missing else ""
            raise BuildFailed(f"it can't be built: {self.build.why}{missing}", self.build)
        if "/" in argv[0] and not argv[0].startswith("/"):
            os.close(self.open(argv[0]))
        return Program(self.job, argv, self.runs)

    def open(self, name: str) -> int:
        """A descriptor of one of its files, as it is now; links are not followed.

        Raises:
            SubmissionError: it does not exist, or is not a regular file.
        """
        try:
            return open_below(self.directory, name)
        except OSError as error:
            if fault := self.faults.get(os.path.normpath(name)):
                raise SubmissionError(f"{name} {fault}") from error
            if error.errno == errno.ENOENT:
                why = "there is no such file"
            elif error.errno in {errno.ELOOP, errno.ENOTDIR}:
                why = "it is a link, or is reached through one"
            elif os.path.isdir(os.path.join(self.directory, name)):
                why = "it is a directory"
            else:
                why = error.strerror or str(error)
            raise SubmissionError(f"{name}: {why}") from error

    def path(self, name: str) -> str:
        """The path of one of its files, which is a regular file and not reached through a link.

        Raises:
            SubmissionError: it is not.
        """
        os.close(self.open(name))
        return os.path.normpath(os.path.join(self.directory, name))

    def read(self, name: str) -> str:
        """The text of one of its files; bytes that are not UTF-8 become U+FFFD.

        Raises:
            SubmissionError: it does not exist, or is larger than 4 MiB.
        """
        with open(self.open(name), "rb") as file:
            data = file.read(LONGEST_TEXT + 1)
        if len(data) > LONGEST_TEXT:
            raise SubmissionError(f"{name} is larger than {LONGEST_TEXT:,} bytes")
        return data.decode(errors="replace")

    @property
    def predictions(self) -> Predictions:
        """The student's predictions.toml."""
        return Predictions(os.path.join(self.directory, "predictions.toml"))

    @property
    def answers(self) -> Predictions:
        """The student's answers.toml: choices in the quiz."""
        return Predictions(os.path.join(self.directory, "answers.toml"), self.quiz)

    def close(self) -> None:
        """Ends all its programs, and removes the copy."""
        self.job.close()

    def __enter__(self) -> Submission:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Submission {self.source}>"
