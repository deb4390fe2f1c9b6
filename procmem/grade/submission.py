"""A student's submission: a private copy, built once, its programs, and what it predicts."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import replace

from procmem.grade.building import Build, build
from procmem.grade.errors import BuildFailed, SubmissionError
from procmem.grade.files import copy_tree, open_below
from procmem.grade.limits import Limits
from procmem.grade.running import Program
from procmem.grade.sandbox import Job, Sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Any

__all__ = ["Entries", "Submission"]

LONGEST_TEXT = 4 << 20


class Entries(Mapping[str, "Any"]):
    """The entries of a TOML file that a student fills in.

    Asking for one that is missing, or of another type, is a SubmissionError that says what to write.

    Attributes:
        file: its name.
    """

    def __init__(self, file: str, entries: dict[str, Any]) -> None:
        self.file = file
        self._entries = entries

    def __getitem__(self, name: str) -> Any:
        """An entry; "table.name" is looked for in a table."""
        found: Any = self._entries
        for part in name.split("."):
            if not isinstance(found, dict) or part not in found:
                raise SubmissionError(f"{self.file} lacks an entry: write {name} = ...")
            found = found[part]
        return found

    def number(self, name: str) -> int | float:
        """An entry that is a number."""
        found = self[name]
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            raise SubmissionError(f"{self.file}: {name} is to be a number, not {found!r}")
        return found

    def text(self, name: str) -> str:
        """An entry that is a string."""
        found = self[name]
        if not isinstance(found, str):
            raise SubmissionError(f'{self.file}: {name} is to be a "string", not {found!r}')
        return found

    def truth(self, name: str) -> bool:
        """An entry that is true or false."""
        found = self[name]
        if not isinstance(found, bool):
            raise SubmissionError(f"{self.file}: {name} is to be true or false, not {found!r}")
        return found

    def __contains__(self, name: object) -> bool:
        try:
            self[str(name)]
        except SubmissionError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Entries of {self.file}: {', '.join(self._entries)}>"


class Submission:
    """A submission, in a private copy; a context manager that leaves nothing behind.

    Args:
        source: the student's directory; it is only read.
        build: the command that builds it; none: there is nothing to be built.
        program: the program of program(), with its first arguments.
        files: what should be there.
        sandbox: None: the strongest there is here.
        limits: of its programs; None: the sandbox's.

    Raises:
        SubmissionError: source is no directory that can be read.

    Attributes:
        source: the student's directory.
        directory: the copy.
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
        sandbox: Sandbox | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.source = os.fspath(source)
        self.command = tuple(build)
        self.argv = tuple(program)
        sandbox = sandbox or Sandbox()
        self.sandbox = replace(sandbox, limits=limits) if limits else sandbox
        self._built: Build | None = None
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
        if self._built is None:
            self._built = build(self.job, self.command)
        return self._built

    def program(self, name: str | Sequence[str] | None = None) -> Program:
        """A program of it, built.

        Args:
            name: its file, or that with first arguments; None: the lab's program.

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
        if "/" in argv[0]:
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
    def predictions(self) -> Entries:
        """What the student wrote into predictions.toml."""
        return self.entries("predictions.toml")

    @property
    def answers(self) -> Entries:
        """What the student wrote into answers.toml."""
        return self.entries("answers.toml")

    def entries(self, name: str) -> Entries:
        """A TOML file of the student's.

        Raises:
            SubmissionError: it isn't there, or is no TOML.
        """
        try:
            import tomllib
        except ImportError:  # before Python 3.11
            import tomli as tomllib

        try:
            return Entries(name, tomllib.loads(self.read(name)))
        except tomllib.TOMLDecodeError as error:
            raise SubmissionError(f"{name} can't be read: {error}") from error

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
