"""What makes a pytest function a check: its points and title, and how it may end."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Check", "Partly", "check_of", "not_possible", "only", "partly", "points"]

MARK = "__procmem_check__"


class Check:
    """What `points` notes of a function.

    Attributes:
        points: what it is worth.
        title: in words, for the student.
        hint: shown with a failure; None: there is none.
        needs: names of the checks without which it makes no sense.
        hidden: whether the student is told no more than whether it passed.
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
    """Ends a check with a part of its points. No Exception, so that no check catches it."""

    def __init__(self, share: float, why: str) -> None:
        super().__init__(share, why)
        self.share: object = share
        self.why = why

    def of(self, points: float) -> float:
        """The points that it gives, of those that the check is worth."""
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
        points: what it is worth; 0: it informs.
        title: what it asks, in words, for the student.
        hint: shown when it failed: better a question than the answer.
        needs: the name of a check, or several, without which this one makes no sense: if one of
            them failed, this one is missed, loses its points and isn't run.
        hidden: the student sees no title, no figures and no hint of it.

    Raises:
        ValueError: the points are negative or no number, or the title is empty.

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
    """What `points` noted of a function; None: it is no check."""
    found = getattr(function, MARK, None)
    return found if isinstance(found, Check) else None


def partly(share: float, why: str) -> NoReturn:
    """Ends the check with a part of its points.

    Args:
        share: a float: the part, from 0.0 to 1.0; an int: points.
        why: what is missing, for the student.
    """
    raise Partly(share, why)


def not_possible(why: str) -> NoReturn:
    """Ends the check: it can't be told on this machine. The student neither gains nor loses.

    Args:
        why: what is lacking here.

    Raises:
        NotPossibleHere: always.
    """
    from procmem.grade.errors import NotPossibleHere

    raise NotPossibleHere(why)


def only(holds: Mapping[str, bool]) -> str:
    """The one answer of several that holds on this machine.

    Args:
        holds: whether it does, by answer.

    Raises:
        NotPossibleHere: none of them does, or several do.

    >>> only({"a": 2 + 2 == 5, "b": 2 + 2 == 4})
    'b'
    """
    found = [answer for answer, right in holds.items() if right]
    if len(found) != 1:
        not_possible("none of the answers holds on this machine, or more than one does")
    return found[0]
