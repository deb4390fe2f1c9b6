"""The questions of a lab's quiz."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Question"]


@dataclass(frozen=True)
class Question:
    """A question of a lab's quiz. A check determines the right answer on each machine.

    Attributes:
        name: the name of its entry in answers.toml.
        text: the question.
        choices: the possible answers, by the letter or word to write; empty: the answer is a
            number or a size.
    """

    name: str
    text: str
    choices: Mapping[str, str] = field(default_factory=dict, hash=False)
