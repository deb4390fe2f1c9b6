"""A student's submission: a private copy, built once, its programs, and what it predicts."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

from procmem.grade.building import Build, build
from procmem.grade.errors import BuildFailed, SubmissionError
from procmem.grade.files import copy_tree, open_below
from procmem.grade.predictions import Predictions
from procmem.grade.running import Program
from procmem.grade.sandbox import Sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from procmem.grade.lab import Question
    from procmem.grade.limits import Limits
    from procmem.grade.sandbox import Job

__all__ = ["Submission"]

LONGEST_TEXT = 4 << 20


class Submission:
    """A submission, in a private copy; a context manager that leaves nothing behind.

    Args:
        source: the student's directory; it is only read.
        build: the command that builds it; none: there is nothing to be built.
        program: the program of program(), with its first arguments.
        files: what should be there.
        quiz: the questions that answers.toml answers.
        sandbox: None: the strongest there is here.
        limits: of its programs; None: the sandbox's.

    Raises:
        SubmissionError: source is no directory that can be read.

    Attributes:
        source: the student's directory.
        directory: the copy.
        built: what came of building it; None: nobody has asked for that yet.
        told: a sentence for each thing that was not copied, such as links that lead out.
        missing: names of `files` that are not there.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        build: Sequence[str] = (),
        program: Sequence[str] = (),
        files: Sequence[str] = (),
        quiz: Sequence[Question] = (),
        sandbox: Sandbox | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.source = os.fspath(source)
        self.command = tuple(build)
        self.argv = tuple(program)
        self.quiz = tuple(quiz)
        sandbox = sandbox or Sandbox()
        self.sandbox = replace(sandbox, limits=limits) if limits else sandbox
        self.built: Build | None = None
        if not os.path.isdir(self.source):
            raise SubmissionError(f"{self.source}: there is no such directory")
        self.job: Job = self.sandbox.job()
        self.directory = self.job.directory
        try:
            copied = copy_tree(
                self.source,
                self.directory,
                self.job.own,
                most_bytes=self.sandbox.limits.disk,
                most_files=self.sandbox.limits.files,
            )
        except OSError as error:
            self.close()
            raise SubmissionError(f"{self.source} can't be read: {error.strerror}") from error
        except BaseException:
            self.close()
            raise
        self.told = copied.told
        self.missing = [
            name for name in files if not os.path.lexists(os.path.join(self.directory, name))
        ]

    @property
    def build(self) -> Build:
        """What came of building it, which is done when this is first asked for."""
        if self.built is None:
            self.built = build(self.job, self.command)
        return self.built

    def program(self, name: str | Sequence[str] | None = None) -> Program:
        """A program of it, built.

        Args:
            name: its file, or that with first arguments; None: the lab's program. A name without
                a slash is looked for in PATH, as for ["python3", "grow.py"].

        Raises:
            BuildFailed: it can't be built.
            SubmissionError: there is no such file.
        """
        argv = self.argv if name is None else (name,) if isinstance(name, str) else tuple(name)
        if not argv:
            raise ValueError("which program? This lab names none")
        if not self.build.ok:
            missing = f"; missing: {', '.join(self.missing)}" if self.missing else ""
            raise BuildFailed(f"it can't be built: {self.build.why}{missing}", self.build)
        if "/" in argv[0] and not argv[0].startswith("/"):
            os.close(self.open(argv[0]))
        return Program(self.job, argv)

    def open(self, name: str) -> int:
        """A descriptor of one of its files, as it is now; links are not followed.

        Raises:
            SubmissionError: it isn't there, or is no regular file.
        """
        try:
            return open_below(self.directory, name)
        except OSError as error:
            if error.errno == errno.ENOENT:
                why = "there is no such file"
            elif error.errno in {errno.ELOOP, errno.ENOTDIR}:
                why = "it is, or lies behind, a link"
            else:
                why = error.strerror or str(error)
            raise SubmissionError(f"{name}: {why}") from error

    def path(self, name: str) -> str:
        """The path of one of its files, which is there, regular, and behind no link.

        Raises:
            SubmissionError: it is not.
        """
        os.close(self.open(name))
        return os.path.normpath(os.path.join(self.directory, name))

    def read(self, name: str) -> str:
        """The text of one of its files; bytes that are no UTF-8 as U+FFFD.

        Raises:
            SubmissionError: it isn't there, or is larger than 4 MiB.
        """
        with open(self.open(name), "rb") as file:
            data = file.read(LONGEST_TEXT + 1)
        if len(data) > LONGEST_TEXT:
            raise SubmissionError(f"{name} is larger than {LONGEST_TEXT:,} bytes")
        return data.decode(errors="replace")

    @property
    def predictions(self) -> Predictions:
        """What the student wrote into predictions.toml."""
        return Predictions(os.path.join(self.directory, "predictions.toml"))

    @property
    def answers(self) -> Predictions:
        """What the student wrote into answers.toml: choices of the quiz."""
        return Predictions(os.path.join(self.directory, "answers.toml"), self.quiz)

    def close(self) -> None:
        """Ends all its programs and removes the copy."""
        self.job.close()

    def __enter__(self) -> Submission:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Submission {self.source}>"
