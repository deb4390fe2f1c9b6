"""Whether a figure that was seen through time keeps growing, by its lower envelope.

Memory that comes and goes hides what stays. So the time is cut into windows, and of each only
the least value counts: what a leak has taken is there even when everything else was given back.
"""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Sustained", "sustained"]

WINDOWS = 40
"""The time is cut into so many windows."""

SPANS = 1, 2, 4, 8
"""Windows over which the least value is taken, until what comes and goes is gone from it."""

SHORTEST = 8
"""Windows that a growth lasts at least. What has begun later can't be told from a passing rise."""

INDEPENDENT = 5
"""Windows that share no value: with fewer a rise may be chance."""

TREND = 0.7
"""Of all pairs of windows that differ, the later one is larger in so many more."""

DROP = 0.35
"""Of what was gained, the most that may have been lost again in between."""

SCATTER = 0.25
"""Of what was gained, the largest standard deviation from a straight line."""

STEP = 0.45
"""Of what was gained, the most that a single step may be."""

BEGUN = 0.03
"""Of what was gained, what still counts as not having begun."""

STOPPED = 0.1
"""Of the windows, how many may pass at the end without growth, if no pause was longer."""

PAUSES = 1.5
"""Times the longest pause before: what has not grown for longer has stopped."""

SLOWER = 0.45
"""What the second half of a growth gains at least, beside the first: what fills ever more slowly
ends."""

SLOWER_PIECE = 0.8
"""The same, of a piece of what grew more slowly as a whole: each piece of it is nearly straight."""


LONG_PIECE = 16
"""Windows that such a piece has at least."""

NOTABLE = 0.25
"""Of what a window gains on average, what counts as growth."""


class Sustained(NamedTuple):
    """Growth that lasts to the end.

    Attributes:
        since: when it began, in the unit of the times.
        until: the end.
        gained: by how much the lower envelope rose.
        whole: whether it began with the first value.
        lasted: the time in which that was gained: of the last windows the envelope is not known.
    """

    since: float
    until: float
    gained: int
    whole: bool
    lasted: float

    @property
    def rate(self) -> float:
        """What was gained in a unit of time."""
        return self.gained / self.lasted


def sustained(times: Sequence[float], values: Sequence[int], least: int = 1) -> Sustained | None:
    """Growth that lasts to the end; None: there is none, or it has stopped.

    A value holds until the next one. The longest stretch of time that ends with the last value
    and grew all along is given.

    Args:
        times: ascending.
        values: of each.
        least: what must have been gained.
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
    """The least value in each window; one that was reached before holds at its start."""
    start, end = times[0], times[-1]
    floors: list[int] = []
    at, held = 0, values[0]
    for window in range(1, WINDOWS + 1):
        edge = end if window == WINDOWS else start + (end - start) * window / WINDOWS
        floor = held
        first = True
        while at < len(times) and times[at] <= edge:
            # A value at the very start of the window takes the place of the one held.
            floor = min(floor, values[at]) if not first or at else values[at]
            held = values[at]
            first = False
            at += 1
        floors.append(floor)
    return floors


def beginning(part: Sequence[int], least: int) -> int | None:
    """The window in which values began to grow to the last one; None: they don't."""
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
    """Whether nothing came for longer, in the end, than ever before."""
    notable = NOTABLE * (part[-1] - part[0]) / len(part)
    peak, since, pauses = part[0], 0, [1]
    for at, value in enumerate(part):
        if value > peak + notable:
            pauses.append(at - since)
            peak, since = value, at
    # Since when it was as high as in the end: `part` reaches into the last windows late.
    level = min(floors[-3:] if span == 1 else part[-1:]) - notable
    reached = max((at for at, value in enumerate(floors) if value < level), default=0)
    tail = len(floors) - 1 - reached
    return tail > max(PAUSES * max(pauses), STOPPED * WINDOWS) + span - 1


def slows(part: Sequence[int], *, strictly: bool) -> bool:
    """Whether the second half gained so much less than the first that it will end."""
    middle = (len(part) - 1) // 2
    before, behind = part[middle] - part[0], part[-1] - part[-1 - middle]
    return behind < before * (SLOWER_PIECE if strictly else SLOWER)


def is_steady(part: Sequence[int]) -> bool:
    """Whether values rise with time, and not by chance."""
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
    """Whether as much was gained before, bit by bit, and lost again: it comes and goes, slowly."""
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
