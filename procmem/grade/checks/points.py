"""What makes a pytest function a check: points, a title, and the ways in which it may end."""

from __future__ import annotations

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Check", "Partly", "check_of", "not_possible", "only", "partly", "points"]

MARK = "__procmem_check__"


class Check:
    """What `points` records about a function.

    Attributes:
        points: what it is worth.
        title: in words, for the student.
        hint: shown with a failure; None: there is none.
        needs: names of the checks that must pass first.
        hidden: whether the student sees only whether it passed.
    """

    __slots__ = ("hidden", "hint", "needs", "points", "title")

    def __init__(
        self, points: float, title: str, hint: str | None, needs: tuple[str, ...], hidden: bool
    ) -> None:
        self.points = points
        self.title = title
        self.hint = hint
        self.needs = needs
        self.hidden = hidden


class Partly(BaseException):
    """Ends a check with part of its points. It is a BaseException, so that no check catches it."""

    def __init__(self, share: float, why: str) -> None:
        super().__init__(share, why)
        self.share: object = share
        self.why = why

    def of(self, points: float) -> float:
        """The points that it gives for a check of so many points."""
        share = self.share
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise ValueError(f"partly({share!r}): a share such as 0.5, or a number of points")  # noqa: TRY004
        given = share * points if isinstance(share, float) else share
        if not 0 <= given <= points:
            raise ValueError(f"partly({share!r}) of a check of {points:g} points")
        return given


def points(
    points: float,
    title: str,
    hint: str | None = None,
    needs: str | Sequence[str] | None = None,
    hidden: bool = False,
) -> Callable[[F], F]:
    """Makes a pytest function a check.

    Args:
        points: what it is worth; 0: it only informs.
        title: what it requires, in words, for the student.
        hint: shown when it failed; a question is better than the answer.
        needs: the name of a check that must pass first, or several names. If one of them failed,
            this one is not run and its points are lost.
        hidden: whether its title, figures and hint are hidden from the student.

    Raises:
        ValueError: the points are negative or not a number, or the title is empty.

    >>> @points(2, "the mapping is lazy", hint="Who allocates the page?")
    ... def test_lazy(program):
    ...     with program.run() as run:
    ...         before = run.pause()
    ...         run.answer()
    ...         assert (run.pause() - before).rss == 0
    """
    number: object = points
    words: object = title
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1e6:
        raise ValueError(f"points({points!r}, ...): it has to be a number that is not negative")
    if not isinstance(words, str) or not words.strip():
        raise ValueError(
            f"points({points!r}, {title!r}): the title has to say what the check requires"
        )
    names = (needs,) if isinstance(needs, str) else tuple(needs or ())
    check = Check(points, title, hint, names, hidden)

    def mark(function: F) -> F:
        setattr(function, MARK, check)
        return function

    return mark


def check_of(function: object) -> Check | None:
    """What `points` recorded about a function; None: it is not a check."""
    found = getattr(function, MARK, None)
    return found if isinstance(found, Check) else None


def partly(share: float, why: str) -> NoReturn:
    """Ends the check with part of its points.

    Args:
        share: a float is a share, from 0.0 to 1.0; an int is a number of points.
        why: what is missing, for the student.
    """
    raise Partly(share, why)


def not_possible(why: str) -> NoReturn:
    """Ends a check that can't be made on this machine. Its points are neither won nor lost.

    Args:
        why: what this machine lacks.

    Raises:
        NotPossibleHere: always.
    """
    from procmem.grade.errors import NotPossibleHere

    raise NotPossibleHere(why)


def only(holds: Mapping[str, bool]) -> str:
    """The one of several answers that is true on this machine.

    Args:
        holds: whether each answer is true.

    Raises:
        NotPossibleHere: none of them is true, or more than one.

    >>> only({"a": 2 + 2 == 5, "b": 2 + 2 == 4})
    'b'
    """
    found = [answer for answer, right in holds.items() if right]
    if len(found) != 1:
        not_possible("none of the answers holds on this machine, or more than one does")
    return found[0]
