"""Decides whether a figure kept growing until the end of a recording, by its lower envelope.

Memory that is allocated and freed again hides a leak. So the time is divided into windows, and only
the least value of each counts: leaked memory is still there when all other memory is freed.
"""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MOST_COMPARED", "Growth", "Sustained", "grown", "sustained"]

MOST_COMPARED = 200
"""The most points in time, evenly spaced, that growth is judged by: every two are compared."""

WINDOWS = 40
"""The number of windows that the time is divided into."""

SPANS = 1, 2, 4, 8
"""Windows over which the least value is taken, tried in turn: longer ones hide more peaks."""

SHORTEST = 8
"""The least number of windows that a growth lasts: a shorter rise may be temporary."""

INDEPENDENT = 5
"""The least number of windows that share no value: with fewer, a rise may be chance."""

TREND = 0.7
"""The least excess of rising over falling pairs of windows, as a share of all pairs that differ."""

DROP = 0.35
"""The largest temporary drop, as a share of the gain."""

SCATTER = 0.25
"""The largest standard deviation from a straight line, as a share of the gain."""

STEP = 0.45
"""The largest single step, as a share of the gain."""

BEGUN = 0.03
"""The share of the total gain below which the growth has not yet begun."""

STOPPED = 0.1
"""The share of the windows that may be without growth at the end."""

PAUSES = 1.5
"""A growth has stopped if its last pause is longer than all before, by more than this factor."""

SLOWER = 0.45
"""The least gain of the second half, as a share of the first half's: a cache that fills up grows
ever more slowly."""

SLOWER_PIECE = 0.8
"""The same for a part of a growth that slows down: such a part is nearly a straight line."""

LONG_PIECE = 16
"""The least number of windows of such a part."""

NOTABLE = 0.25
"""The least gain of a window that counts as growth, as a share of the average gain."""


class Growth(NamedTuple):
    """How a figure changes over time, judged at up to 200 evenly spaced points in time.

    Attributes:
        slope: bytes per second, the slope of the least-squares line.
        confidence: Kendall's tau: the share of all pairs of points in which the later value is
            larger, minus the share in which it is smaller. 1: it always grew; 0: no trend;
            -1: it always shrank.
        first, last: the first and the last value, in bytes.
    """

    slope: float
    confidence: float
    first: int
    last: int


class Sustained(NamedTuple):
    """Growth that lasts until the end.

    Attributes:
        since: the time at which it began.
        until: the time of the last value.
        gained: the rise of the lower envelope.
        whole: whether it began with the first value.
        lasted: the length of time in which the envelope rose by that. It may be less than until -
            since, because the envelope of the last windows is not known.

    Times are in the unit of the times passed to sustained(), the gain in that of the values.
    """

    since: float
    until: float
    gained: int
    whole: bool
    lasted: float

    @property
    def rate(self) -> float:
        """The gain per unit of time."""
        return self.gained / self.lasted


def sustained(times: Sequence[float], values: Sequence[int], least: int = 1) -> Sustained | None:
    """Finds growth that lasts until the end; None: there is none, or it has stopped.

    A value holds until the next one. The longest growth that ends with the last value is returned.

    Args:
        times: in ascending order.
        values: the value at each time.
        least: the least gain that is reported.
    """
    if len(times) < 4 or times[-1] <= times[0] or max(values) - min(values) < least:
        return None
    floors = floors_of(times, values)
    width = (times[-1] - times[0]) / WINDOWS
    found: Sustained | None = None
    for span in SPANS:
        envelope = [min(floors[at : at + span]) for at in range(WINDOWS - span + 1)]
        slowed = False
        for first in range(0, len(envelope) - SHORTEST + 1, 2):
            part = envelope[first:]
            if len(part) + span - 1 < INDEPENDENT * span:
                break
            begun = beginning(part, least)
            if begun is None or (first and ramped_before(envelope[:first], part)):
                continue
            if has_stopped(part[begun:], floors[first + begun :], span):
                if found is None and len(part) - begun >= WINDOWS / 2:
                    return None
                break
            if slowed and len(part) - begun < LONG_PIECE:
                break
            if slows(part[begun:], strictly=slowed):
                slowed = True
                continue
            at = first + begun
            since = times[0] + at * width
            if found is None or since < found.since:
                gained = part[-1] - part[0]
                lasted = (len(part) - begun) * width
                found = Sustained(since, times[-1], gained, at <= max(2, span), lasted)
            break
    return found


def floors_of(times: Sequence[float], values: Sequence[int]) -> list[int]:
    """The least value in each window, including the value that holds at the window's start."""
    start, end = times[0], times[-1]
    floors: list[int] = []
    at, held = 0, values[0]
    for window in range(1, WINDOWS + 1):
        edge = end if window == WINDOWS else start + (end - start) * window / WINDOWS
        floor = held
        first = True
        while at < len(times) and times[at] <= edge:
            # A value at the very start of the window replaces the one that held until then.
            floor = min(floor, values[at]) if not first or at else values[at]
            held = values[at]
            first = False
            at += 1
        floors.append(floor)
    return floors


def beginning(part: Sequence[int], least: int) -> int | None:
    """The window from which on the values grow until the last one; None: they do not."""
    gained = part[-1] - part[0]
    if gained < least or gained <= 0:
        return None
    begun = max(at for at, value in enumerate(part) if value <= part[0] + BEGUN * gained)
    if len(part) - begun < SHORTEST:
        return None
    if max(later - earlier for earlier, later in pairwise(part)) > STEP * gained:
        return None
    peak = part[0]
    for value in part:
        peak = max(peak, value)
        if peak - value > DROP * gained:
            return None
    return begun if is_steady(part[begun:]) else None


def has_stopped(part: Sequence[int], floors: Sequence[int], span: int) -> bool:
    """Whether the pause at the end is longer than any pause before."""
    notable = NOTABLE * (part[-1] - part[0]) / len(part)
    peak, since, pauses = part[0], 0, [1]
    for at, value in enumerate(part):
        if value > peak + notable:
            pauses.append(at - since)
            peak, since = value, at
    # When it first reached its last level; in `part` the last windows count late.
    level = min(floors[-3:] if span == 1 else part[-1:]) - notable
    reached = max((at for at, value in enumerate(floors) if value < level), default=0)
    tail = len(floors) - 1 - reached
    return tail > max(PAUSES * max(pauses), STOPPED * WINDOWS) + span - 1


def slows(part: Sequence[int], *, strictly: bool) -> bool:
    """Whether the second half gained so much less than the first that the growth will end soon."""
    middle = (len(part) - 1) // 2
    before, behind = part[middle] - part[0], part[-1] - part[-1 - middle]
    return behind < before * (SLOWER_PIECE if strictly else SLOWER)


def is_steady(part: Sequence[int]) -> bool:
    """Whether the values rise steadily, and not by chance."""
    signs = [(b > a) - (b < a) for a, b in combinations(part, 2)]
    if sum(signs) < TREND * sum(map(abs, signs)):
        return False
    count = len(part)
    mean_at, mean = (count - 1) / 2, sum(part) / count
    spread = sum((at - mean_at) ** 2 for at in range(count))
    slope = sum((at - mean_at) * (value - mean) for at, value in enumerate(part)) / spread
    squares = sum((value - mean - slope * (at - mean_at)) ** 2 for at, value in enumerate(part))
    return math.sqrt(squares / count) <= SCATTER * (part[-1] - part[0])


def ramped_before(earlier: Sequence[int], part: Sequence[int]) -> bool:
    """Whether as much was slowly gained and lost before: then this will probably be lost again."""
    low, gained = part[0], part[-1] - part[0]
    between, risen = 0, False
    for value in [*earlier, part[0]]:
        level = (value - low) / gained
        if level >= 0.75:
            risen = risen or between >= 2
        elif level > 0.25:
            between += not risen
        else:
            if risen:
                return True
            between = 0
    return False


def points_of(
    times: Sequence[float | None], values: Sequence[int | None]
) -> list[tuple[float, int]]:
    return [
        (when, value)
        for when, value in zip(times, values, strict=True)
        if when is not None and value is not None
    ]


def evenly(points: Sequence[tuple[float, int]], count: int) -> list[tuple[float, float]]:
    """Evenly spaced points on the line through these points.

    Snapshots are close together while memory changes, and far apart while it does not.
    """
    start, end = points[0][0], points[-1][0]
    found: list[tuple[float, float]] = []
    at = 0
    for number in range(count):
        when = start + (end - start) * number / (count - 1)
        while at < len(points) - 2 and points[at + 1][0] < when:
            at += 1
        (left, low), (right, high) = points[at : at + 2]
        part = (when - left) / (right - left) if right > left else 1.0
        found.append((when, low + (high - low) * min(part, 1.0)))
    return found


def grown(times: Sequence[float | None], values: Sequence[int | None]) -> Growth | None:
    """Slope and trend of values over time.

    Args:
        times: seconds, ascending; None: not known.
        values: bytes at each time; None: not known.

    Returns:
        None: fewer than two values at different times are known.
    """
    known = points_of(times, values)
    if len(known) < 2 or known[0][0] == known[-1][0]:
        return None
    points = evenly(known, min(len(known), MOST_COMPARED))
    mean_time = sum(when for when, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((when - mean_time) ** 2 for when, _ in points)
    slope = sum((when - mean_time) * (value - mean) for when, value in points) / spread
    signs = [
        (later > earlier) - (later < earlier)
        for (_, earlier), (_, later) in combinations(points, 2)
    ]
    return Growth(slope, sum(signs) / len(signs), known[0][1], known[-1][1])
