"""An exercise with its checks, as its directory describes it."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from procmem.errors import ProcmemError
from procmem.grade.errors import LabError
from procmem.grade.submissions.quiz import Question

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from procmem.grade.sandbox.limits import Limits
    from procmem.grade.sandbox.sandbox import Sandbox
    from procmem.grade.submissions.submission import Submission

__all__ = ["Lab"]

LAB = "lab.toml"
CHECKS = "checks.py"
QUIZ = "quiz.toml"
KEYS = ("title", "summary", "build", "tools", "program", "files", "limits")


@dataclass(frozen=True)
class Lab:
    """An exercise.

    Attributes:
        FILE, QUIZ: the names of the files that describe a lab and its quiz.
        name: the name of its directory.
        directory: the directory of its files.
        title, summary: what it is about, in words.
        build: the command that builds a submission; empty: nothing is built.
        program: the command that runs it.
        files: the names of the files that a student hands in.
        tools: names of programs whose output may become part of a program, beside compilers and
            linkers.
        settings: its limits: fields of Limits.
        quiz: its questions.
    """

    FILE: ClassVar[str] = LAB
    QUIZ: ClassVar[str] = QUIZ

    name: str
    directory: Path
    title: str
    summary: str = ""
    build: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    quiz: tuple[Question, ...] = ()
    tools: tuple[str, ...] = ()

    @property
    def checks(self) -> Path:
        """The file of its checks."""
        return self.directory / CHECKS

    @property
    def handout(self) -> Path:
        """The hand-out for students, in Markdown."""
        return self.directory / "handout.md"

    @property
    def starter(self) -> Path:
        """The files that a student begins with."""
        return self.directory / "starter"

    @property
    def solution(self) -> Path:
        """A submission that gets all points."""
        return self.directory / "solution"

    @property
    def limits(self) -> Limits:
        """The limits of a submission."""
        from procmem.grade.sandbox.limits import Limits

        return Limits(**self.settings)

    def open(
        self,
        submission: str | os.PathLike[str],
        *,
        limits: Limits | None = None,
        sandbox: Sandbox | None = None,
    ) -> Submission:
        """A submission to this lab, in a private copy: a context manager.

        Raises:
            SubmissionError: it does not exist, or can't be read.
        """
        from procmem.grade.sandbox.sandbox import Sandbox
        from procmem.grade.submissions.submission import Submission

        sandbox = sandbox or Sandbox()
        hidden = (*sandbox.hidden, str(self.directory))
        return Submission(
            submission,
            build=self.build,
            program=self.program,
            files=self.files,
            starter=self.starter if self.starter.is_dir() else None,
            quiz=self.quiz,
            tools=self.tools,
            limits=self.limits if limits is None else limits,
            sandbox=replace(sandbox, hidden=hidden),
        )

    @staticmethod
    def load(directory: str | os.PathLike[str]) -> Lab:
        """The lab in a directory.

        Raises:
            LabError: one of its files is missing or wrong; the message says what to write.
        """
        place = Path(directory).resolve()
        path = place / LAB
        known = read(path)
        only(path, known, KEYS)
        if not place.joinpath(CHECKS).is_file():
            raise LabError(place / CHECKS, "a lab's checks are missing")
        title = string(path, known, "title", None)
        settings = known.get("limits", {})
        if not isinstance(settings, dict):
            raise LabError(
                path, "limits is not a table: write [limits] and below it lines like cpu = 2"
            )
        check_limits(path, settings)
        return Lab(
            name=place.name,
            directory=place,
            title=title,
            summary=string(path, known, "summary", ""),
            build=words(path, known, "build", ["make"]),
            program=words(path, known, "program", ["./program"]),
            files=names(path, known),
            settings=dict(settings),
            quiz=quiz(place / QUIZ),
            tools=words(path, known, "tools", ["objcopy"]),
        )


# ---- reading --------------------------------------------------------------------------


def read(path: Path) -> dict[str, Any]:
    from procmem.grade.submissions.toml import TOMLDecodeError, loads

    try:
        known: dict[str, Any] = loads(path.read_text(encoding="utf-8"))
        return known
    except FileNotFoundError:
        raise LabError(
            path, "it is missing: a lab is a directory with lab.toml and checks.py"
        ) from None
    except OSError as error:
        raise LabError(path, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise LabError(path, "it is not UTF-8 text") from None
    except TOMLDecodeError as error:
        raise LabError(path, f"not TOML: {error}") from None


def only(path: Path, known: Iterable[str], allowed: Iterable[str], where: str = "") -> None:
    allowed = tuple(allowed)
    for key in known:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, 1)
            way = f"did you mean {near[0]}?" if near else f"the known ones are {', '.join(allowed)}"
            raise LabError(path, f"unknown key {key}{where}: {way}")


def string(path: Path, known: Mapping[str, Any], key: str, default: str | None) -> str:
    value = known.get(key, default)
    if value is None:
        raise LabError(path, f'{key} is missing: write {key} = "some words"')
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise LabError(path, f'{key} = {value!r}: write {key} = "some words"')
    return value


def words(path: Path, known: Mapping[str, Any], key: str, example: list[str]) -> tuple[str, ...]:
    """A command as a list of words; a string is split as a shell would."""
    value = known.get(key, [])
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise LabError(path, f"{key} = {value!r}: {error}") from None
    if not isinstance(value, list) or not all(isinstance(w, str) and w for w in value):
        shown = "[" + ", ".join(f'"{word}"' for word in example) + "]"
        raise LabError(path, f"{key} = {value!r}: write a list of words: {key} = {shown}")
    return tuple(value)


def names(path: Path, known: Mapping[str, Any]) -> tuple[str, ...]:
    found = words(path, {"files": known.get("files", [])}, "files", ["program.c", "Makefile"])
    for name in found:
        if name.startswith("/") or ".." in name.split("/"):
            raise LabError(path, f"files: {name!r} is outside of the submission")
    return found


def check_limits(path: Path, settings: Mapping[str, Any]) -> None:
    if not settings:
        return
    from procmem.grade.sandbox.limits import Limits

    only(path, settings, [known.name for known in fields(Limits)], " in [limits]")
    for key, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise LabError(path, f"limits: {key} = {value!r}: write a number above 0")
    try:
        Limits(**settings)
    except (TypeError, ValueError, ProcmemError) as error:
        raise LabError(path, f"limits: {error}") from None


def quiz(path: Path) -> tuple[Question, ...]:
    """The questions of a quiz; empty if there is no such file.

    Raises:
        LabError
    """
    if not path.exists():
        return ()
    known = read(path)
    only(path, known, ("question",))
    listed = known.get("question", [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise LabError(path, "question is not a list of tables: write [[question]] above each")
    found: dict[str, Question] = {}
    for number, one in enumerate(listed, 1):
        where = f" in question {number}"
        only(path, one, ("name", "text", "choices"), where)
        name = string(path, one, "name", None)
        if name in found:
            raise LabError(path, f"two questions are called {name}")
        choices = one.get("choices", {})
        if not isinstance(choices, dict) or not all(
            isinstance(text, str) for text in choices.values()
        ):
            raise LabError(
                path, f'choices{where}: write choices = {{ a = "one answer", b = "another" }}'
            )
        if len(choices) == 1:
            raise LabError(path, f"choices{where}: there have to be at least two")
        found[name] = Question(name, string(path, one, "text", None), dict(choices))
    return tuple(found.values())
