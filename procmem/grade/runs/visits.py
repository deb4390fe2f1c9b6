"""A program from its start to its end, with a snapshot at each wait: what most checks look at."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from procmem.grade.errors import RunFailed, SubmissionError

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from procmem.grade.runs.program import Program
    from procmem.grade.runs.run import Run
    from procmem.grade.sandbox.jail import Ended
    from procmem.snapshots import Snapshot

__all__ = ["Walk", "walk"]


class Walk:
    """One run of a program, with a snapshot at each wait for input.

    A wait that the program did not reach raises the reason when it is asked for. So a program that
    fails at its fourth wait loses the checks of that and of later waits, and no others.

    Args:
        names: of the waits that are expected.
        phases: name and Snapshot of each wait that was reached.
        looks: what `look` returned at each of them.
        end: how the program ended; None: it did not, or not well.
        failure: why it did not reach its end; None: it did.
        output: what it printed.
        shift: added to each number that is asked for.

    Attributes:
        names, phases, looks, failure, output: as given.
    """

    def __init__(
        self,
        names: Sequence[str],
        phases: Sequence[tuple[str, Snapshot]],
        looks: Sequence[Any] = (),
        *,
        end: Ended | None = None,
        failure: SubmissionError | None = None,
        output: str = "",
        shift: int = 0,
    ) -> None:
        self.names = tuple(names)
        self.phases = list(phases)
        self.looks = list(looks)
        self.failure = failure
        self.output = output
        self._end = end
        self._shift = shift

    def __len__(self) -> int:
        """The number of waits that are expected."""
        return len(self.names)

    def __getitem__(self, number: int) -> Snapshot:
        """The snapshot at a wait; 1 is the first.

        Raises:
            SubmissionError: the program did not reach it.
            IndexError: no such wait is expected.
        """
        found: Snapshot = self._at(self.phases, number)[1]
        return found

    def look(self, number: int) -> Any:
        """What `look` returned at a wait; 1 is the first.

        Raises:
            SubmissionError: the program did not reach it.
            IndexError: no such wait is expected.
        """
        return self._at(self.looks, number)

    def shifted(self, by: int) -> Walk:
        """The same run with its waits renumbered: its n-th is number n + by of this one."""
        return Walk(
            self.names,
            self.phases,
            self.looks,
            end=self._end,
            failure=self.failure,
            output=self.output,
            shift=by,
        )

    def _at(self, found: Sequence[Any], number: int) -> Any:
        if not 1 <= number <= len(self.names):
            raise IndexError(
                f"there is no wait {number}: they are numbered from 1 to {len(self.names)}"
            )
        place = number + self._shift
        if place > len(found) and self.failure is not None:
            raise self.failure
        if not 0 < place <= len(found):
            raise SubmissionError("the program did not reach this wait")
        return found[place - 1]

    @property
    def ended(self) -> Ended:
        """How the program ended, after the last wait.

        Raises:
            SubmissionError: it did not end there, or was killed.
        """
        if self._end is None:
            raise self.failure or SubmissionError("it did not end")
        return self._end

    def require_end(self) -> None:
        """Ends the check unless the program passed all waits and ended with status 0.

        Raises:
            SubmissionError
        """
        if self.ended.status != 0:
            raise RunFailed(
                f"it ended with status {self.ended.status}: a program that succeeds returns 0"
            )


def walk(
    program: Program,
    *phases: str,
    arguments: Sequence[str] = (),
    answers: Sequence[str] = (),
    look: Callable[[Run], Any] | None = None,
) -> Walk:
    """Runs a program to its end, with a line typed at each wait.

    Args:
        program: what to run.
        phases: a name for each of its waits for input.
        arguments: the program's arguments.
        answers: the lines; those that are missing are empty.
        look: called at each wait, for what a snapshot does not show.
    """
    looks: list[Any] = []
    end = failure = None
    with program.run(*arguments) as run:
        try:
            for phase, line in zip_longest(phases, answers[: len(phases)], fillvalue=""):
                run.pause(phase)
                if look is not None:
                    looks.append(look(run))
                run.answer(line)
            end = run.finish(may_ask=False)
        except SubmissionError as error:
            failure = error
        output = run.output
    return Walk(phases, run.phases, looks, end=end, failure=failure, output=output)
