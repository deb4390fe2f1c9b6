"""Which of many rows of figures differ from most others: by the median, and the distances to it.

Plain arithmetic: it knows neither processes nor why they differ.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FEWEST", "SCORE", "Deviation", "deviations"]

K = TypeVar("K")

FEWEST = 3
"""Rows that have a figure: of two that differ, neither is the odd one."""

SCORE = 3.5
"""The modified z-score above which a figure is an outlier.

Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993); NIST/SEMATECH e-Handbook of
Statistical Methods, 1.3.5.17.
"""

NORMAL = 0.6745
"""The third quartile of the normal distribution, which makes the score comparable to a z-score."""


@dataclass(frozen=True)
class Deviation(Generic[K]):
    """A figure of one row that is far from those of the others.

    Attributes:
        row: the row's number.
        figure: its name, as given.
        value: what it is.
        median: the median of the figure over all rows that have it.
        mad: the median of the distances to it.
        rows: how many rows have it.
    """

    row: int
    figure: K
    value: int
    median: float
    mad: float
    rows: int

    @property
    def difference(self) -> float:
        """The value less the median."""
        return self.value - self.median


def deviations(
    rows: Sequence[Mapping[K, int | None]], least: Mapping[K, float] | float = 0
) -> list[Deviation[K]]:
    """The figures that are outliers: 0.6745 × distance / MAD above 3.5.

    If more than half of the rows have the same value, MAD is 0, and every other value counts.

    Args:
        rows: figures by name; None, or no such name: the row does not have it.
        least: distances up to this are never reported; by figure, or for all.

    Returns:
        The largest distance first.

    >>> rows = [{"rss": 100}] * 9 + [{"rss": 137}]
    >>> [(one.row, one.difference, one.mad) for one in deviations(rows)]
    [(9, 37.0, 0.0)]
    >>> deviations(rows, least=37)
    []
    """
    values: dict[K, list[tuple[int, int]]] = defaultdict(list)
    for row, figures in enumerate(rows):
        for name, value in figures.items():
            if value is not None:
                values[name].append((row, value))
    found = []
    for name, known in values.items():
        if len(known) < FEWEST:
            continue
        middle = float(median(value for _, value in known))
        mad = float(median(abs(value - middle) for _, value in known))
        floor = float(least.get(name, 0)) if not isinstance(least, (int, float)) else least
        limit = max(SCORE * mad / NORMAL, floor)
        found += [
            Deviation(row, name, value, middle, mad, len(known))
            for row, value in known
            if abs(value - middle) > limit
        ]
    return sorted(found, key=lambda one: (-abs(one.difference), one.row, str(one.figure)))
