"""A student's predictions.toml and answers.toml.

Any error in such a file is a SubmissionError that says what to write.
"""

from __future__ import annotations

import difflib
import os
import re
from typing import Any

from procmem.grade.errors import SubmissionError
from procmem.grade.sandbox.untrusted import open_below
from procmem.units import parse_size

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from procmem.grade.submissions.quiz import Question

__all__ = ["Predictions"]

LONGEST = 16 << 10
"""The largest file that is read, since parsing takes time by the square of the dots in a name."""

LARGEST = 1 << 63
"""TOML's integers are below; Python refuses to print much larger ones."""

AN_EXAMPLE = '12345 or "12 KiB"'
"""Not the size of a page or a buffer, which students would take for the answer."""

MISSING = object()


class Predictions:
    """The entries of a TOML file that the student wrote. The file is read at the first use.

    Args:
        path: the file.
        quiz: the questions that it answers.

    `name` may name an entry in a table: "table.name".

    Each method raises SubmissionError if the file or the entry is missing or wrong.
    """

    def __init__(self, path: str | os.PathLike[str], quiz: Sequence[Question] = ()) -> None:
        self.path = os.fspath(path)
        self.quiz = {question.name: question for question in quiz}
        self._entries: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return os.path.basename(self.path)

    @property
    def entries(self) -> Mapping[str, Any]:
        """All entries of the file."""
        if self._entries is None:
            self._entries = read_toml(self.path)
        return self._entries

    def size(self, name: str) -> int:
        """A size in bytes, written as 4096, "4 KiB" or "4K"."""
        value = self._entry(name, AN_EXAMPLE)
        if isinstance(value, str):
            try:
                return parse_size(value)
            except ValueError:
                raise self._odd(name, value, AN_EXAMPLE) from None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._odd(name, value, AN_EXAMPLE)
        return value

    def integer(self, name: str) -> int:
        """A whole number, also 0x1f or "1,024"."""
        value = self._entry(name, "7")
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9][0-9_,]{,24}", value.strip()):
            return int(re.sub("[_,]", "", value))
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._odd(name, value, "7")
        return value

    def number(self, name: str) -> float:
        """A number."""
        value = self._entry(name, "7.5")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._odd(name, value, "7.5")
        return value

    def text(self, name: str) -> str:
        """A text in quotes."""
        value = self._entry(name, '"some words"')
        if not isinstance(value, str):
            raise self._odd(name, value, '"some words"')
        return value

    def boolean(self, name: str) -> bool:
        """A truth value: true or false, also written as "yes" or "no"."""
        value = self._entry(name, "true or false")
        if isinstance(value, str):
            value = {"yes": True, "true": True, "no": False, "false": False}.get(
                value.strip().lower(), value
            )
        if not isinstance(value, bool):
            raise self._odd(name, value, "true or false")
        return value

    def choice(self, name: str, choices: Sequence[str] | None = None) -> str:
        """One of `choices`; None: the choices of the quiz's question of this name."""
        if choices is None:
            question = self.quiz.get(name)
            if question is None:
                raise KeyError(f"quiz.toml has no question {name!r}")
            choices = tuple(question.choices)
        # All of them: one alone would look like the answer.
        listed = ", ".join(f'"{choice}"' for choice in choices[:-1])
        listed += f' or "{choices[-1]}"' if listed else f'"{choices[-1]}"'
        value = self._entry(name, listed)
        found = str(value).strip().lower()
        if not isinstance(value, str) or found not in [choice.lower() for choice in choices]:
            raise self._odd(name, value, listed)
        return next(choice for choice in choices if choice.lower() == found)

    def _entry(self, name: str, example: str) -> Any:
        value: Any = self.entries
        for part in name.split("."):
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
        if value is not MISSING:
            why = ""
            if isinstance(value, dict | list):
                why = "not a single value"
            elif isinstance(value, int) and abs(value) >= LARGEST:
                why = "too large a number"
            elif value in ("", "?", "..."):
                why = "not filled in"
            if why:
                raise SubmissionError(f"{self.name}: {name} is {why}: write {name} = {example}")
            return value
        said = f"{self.name} has no entry {name}: write {name} = {example}"
        if near := difflib.get_close_matches(name, self.entries, 1):
            said += f" (there is {near[0]}: was that intended?)"
        raise SubmissionError(said)

    def _odd(self, name: str, value: Any, wanted: str) -> SubmissionError:
        shown = repr(value)
        shown = shown if len(shown) <= 40 else shown[:37] + "..."
        return SubmissionError(f"{self.name}: {name} = {shown}: write {name} = {wanted}")


def read_toml(path: str) -> Mapping[str, Any]:
    """A student's TOML file.

    Raises:
        SubmissionError: it is missing, not a regular file, too long, or not TOML.
    """
    place, name = os.path.split(path)
    try:
        descriptor = open_below(place, name)
    except FileNotFoundError:
        raise SubmissionError(f"{name} is missing: hand it in together with the program") from None
    except OSError as error:
        raise SubmissionError(f"{name}: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        raw = file.read(LONGEST + 1)
    if len(raw) > LONGEST:
        raise SubmissionError(f"{name}: it is longer than {LONGEST >> 10} KiB")
    from procmem.grade.submissions.toml import loads

    try:
        known: Mapping[str, Any] = loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise SubmissionError(f"{name}: it is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: a number may have too many digits.
        raise SubmissionError(
            f"{name} is not TOML: {error}. Write lines such as: name = 4096"
        ) from None
    return known
