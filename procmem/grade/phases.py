"""All phases of one run, for checks that share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem.grade.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.grade.runs.run import Program
    from procmem.snapshots import Snapshot

__all__ = ["Phases", "follow"]


class Phases:
    """Snapshots of a run, by number. One that the program didn't come to raises why.

    So a program that fails in its fourth phase loses the checks of that and of later phases, and
    no others.

    Attributes:
        names: of the phases.
        status: with which the program ended; None: it wasn't let go on to its end.
        output: what it printed.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.status: int | None = None
        self.output = ""
        self._snapshots: list[Snapshot] = []
        self._failure: RunFailed | None = None
        self._shift = 0

    def shifted(self, by: int) -> Phases:
        """The same run with its phases renumbered: number n is number n + by of this one."""
        other = Phases(self.names)
        other.status, other.output = self.status, self.output
        other._snapshots, other._failure = self._snapshots, self._failure
        other._shift = by
        return other

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Snapshot:
        """The snapshot of a phase, counted from 0.

        Raises:
            RunFailed: the program didn't come so far.
            IndexError: there is no such phase.
        """
        if not 0 <= number < len(self.names):
            raise IndexError(f"phases are numbered from 0 to {len(self.names) - 1}")
        number += self._shift
        if self._shift and not 0 <= number < len(self._snapshots):
            raise RunFailed("the program has no such phase")
        if number < len(self._snapshots):
            return self._snapshots[number]
        assert self._failure is not None  # noqa: S101 - nothing else ends the run
        raise self._failure

    def require_end(self) -> None:
        """Ends the check unless the program came through all phases and ended with status 0.

        Raises:
            RunFailed
        """
        if self._failure is not None:
            raise self._failure
        if self.status != 0:
            raise RunFailed(f"it ended with status {self.status}: a program that is done returns 0")


def follow(program: Program, names: Sequence[str]) -> Phases:
    """Runs a program through phases: each begins when it waits for input, and ends with an answer.

    Args:
        program: what to run.
        names: what the phases are called.
    """
    phases = Phases(names)
    with program.run() as run:
        try:
            for name in phases.names:
                phases._snapshots.append(run.pause(name))
                run.answer()
            phases.status = run.finish(may_ask=False).status
        except RunFailed as error:
            phases._failure = error
        phases.output = run.output
    return phases
