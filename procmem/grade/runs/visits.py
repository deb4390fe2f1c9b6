"""A program from its start to its end, seen at each wait: what most checks look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from procmem.grade.errors import SubmissionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from procmem.grade.runs.run import Program, Run
    from procmem.grade.sandbox.sandbox import Ended
    from procmem.snapshots import Snapshot

__all__ = ["Walk", "walk"]


class Walk:
    """What was seen of a program. What it never came to raises why, when it is asked for.

    Attributes:
        phases: name and Snapshot of each wait.
        looks: what `look` gave at each wait.
        failure: why it did not come to its end; None: it did.
    """

    def __init__(self, shift: int = 0) -> None:
        self._shift = shift
        self.phases: list[tuple[str, Snapshot]] = []
        self.looks: list[Any] = []
        self.failure: SubmissionError | None = None
        self._ended: Ended | None = None

    def __getitem__(self, number: int) -> Snapshot:
        """The snapshot at a wait; 1 is the first.

        Raises:
            SubmissionError: the program never came to it.
        """
        found: Snapshot = self._at(self.phases, number)[1]
        return found

    def look(self, number: int) -> Any:
        """What `look` gave at a wait; 1 is the first.

        Raises:
            SubmissionError: the program never came to it.
        """
        return self._at(self.looks, number)

    def shifted(self, by: int) -> Walk:
        """The same run with its waits renumbered: its n-th is number n + by of this one."""
        other = Walk(by)
        other.phases, other.looks = self.phases, self.looks
        other.failure, other._ended = self.failure, self._ended
        return other

    def _at(self, found: Sequence[Any], number: int) -> Any:
        place = number + self._shift
        if place > len(found) and self.failure is not None:
            raise self.failure
        if self._shift and not 0 < place <= len(found):
            raise SubmissionError("the program has no such wait")
        return found[place - 1]

    @property
    def ended(self) -> Ended:
        """How it ended, after the last wait.

        Raises:
            SubmissionError: it did not come to it, or was killed.
        """
        if self._ended is None:
            raise self.failure or SubmissionError("it did not end")
        return self._ended


def walk(
    program: Program,
    *phases: str,
    arguments: Sequence[str] = (),
    look: Callable[[Run], Any] | None = None,
) -> Walk:
    """Runs a program to its end, with an empty line at each wait.

    Args:
        program: it.
        phases: a name for each of its waits for input.
        arguments: it is started with.
        look: called at each wait, for what a snapshot of the program doesn't tell.
    """
    found = Walk()
    with program.run(*arguments) as run:
        found.phases = run.phases
        try:
            for phase in phases:
                run.pause(phase)
                if look is not None:
                    found.looks.append(look(run))
                run.answer()
            found._ended = run.finish(may_ask=False)
        except SubmissionError as error:
            found.failure = error
    return found
