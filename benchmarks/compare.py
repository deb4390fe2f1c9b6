"""Measuring things side by side.

Everything is sampled in turn, round after round (A B A B ...), so that what else
the machine does falls on all alike. A ratio is taken within a round; the median
of the rounds' ratios is the figure.

Times are CPU times, of this thread or of the commands that it starts. Nothing
that is measured here waits, so on an idle machine that is the elapsed time;
on a busy one the wall clock would also count the time in which other processes ran.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

__all__ = [
    "FULL",
    "SMOKE",
    "Comparison",
    "Effort",
    "Row",
    "Skip",
    "children_time",
    "compare",
    "timed",
]

Sample = Callable[[], float]
"""Measures once: seconds or bytes."""


@dataclass(frozen=True)
class Effort:
    """How hard to measure.

    Attributes:
        rounds: of each comparison, at least.
        budget: seconds after which no more rounds than those are begun.
        window: seconds that one sample of a time should take.
        sizes: regions of the targets.
        largest: regions of the target of pmap -X.
        mebibytes: resident in the target that is large in another way.
    """

    rounds: int
    budget: float
    window: float
    sizes: tuple[int, ...]
    largest: int
    mebibytes: int


FULL = Effort(
    rounds=15,
    budget=3.0,
    window=0.005,
    sizes=(100, 2_000, 30_000),
    largest=60_000,
    mebibytes=512,
)
SMOKE = Effort(rounds=3, budget=0.0, window=0.0, sizes=(100, 2_000), largest=2_000, mebibytes=16)

MOST_ROUNDS = 101


@dataclass(frozen=True)
class Row:
    """One line of the table: something of ours against its baseline.

    Attributes:
        benchmark: its name.
        regions: of the target; None where there is none.
        subject, baseline: what was measured.
        unit: "s" or "B".
        value, baseline_value: medians over the rounds, in that unit.
        ratio, lowest, highest: median, minimum and maximum of value / baseline_value.
        rounds: how many.
        target: what the ratio must not pass; None: for information.
    """

    benchmark: str
    regions: int | None
    subject: str
    baseline: str
    unit: str
    value: float
    baseline_value: float
    ratio: float
    lowest: float
    highest: float
    rounds: int
    target: float | None

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.ratio <= self.target


@dataclass(frozen=True)
class Skip:
    """Something that could not be measured here, and why."""

    benchmark: str
    what: str
    why: str


TICK = 1e-9
"""A nanosecond, the unit of clocks: on some virtual machines a short call takes no time at all."""


def timed(
    run: Callable[[], object], effort: Effort, clock: Callable[[], float] = time.thread_time
) -> Sample:
    """Samples the time of a call, repeated within a sample if it is short.

    What the call returns is freed within the time, and the collector works as
    a user's does.

    Args:
        run: the call.
        effort: says how long a sample should take.
        clock: seconds; children_time for a call that waits for a command.
    """
    start = clock()
    run()
    once = max(clock() - start, TICK)
    repeats = range(max(1, int(effort.window / once)))

    def sample() -> float:
        start = clock()
        for _ in repeats:
            run()
        return max(clock() - start, TICK) / len(repeats)

    return sample


def children_time() -> float:
    """CPU time of all commands that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Comparison:
    """Samples of several things, taken in turn."""

    def __init__(self, benchmark: str, regions: int | None, unit: str) -> None:
        self.benchmark = benchmark
        self.regions = regions
        self.unit = unit
        self.values: dict[str, list[float]] = {}

    def row(self, subject: str, baseline: str, target: float | None = None) -> Row:
        ours, theirs = self.values[subject], self.values[baseline]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        return Row(
            self.benchmark,
            self.regions,
            subject,
            baseline,
            self.unit,
            median(ours),
            median(theirs),
            median(ratios),
            min(ratios),
            max(ratios),
            len(ratios),
            target,
        )


def compare(
    benchmark: str,
    regions: int | None,
    samples: Mapping[str, Sample],
    effort: Effort,
    unit: str = "s",
) -> Comparison:
    """Takes a sample of each in turn, for as many rounds as the effort says."""
    found = Comparison(benchmark, regions, unit)
    found.values = {name: [] for name in samples}
    for sample in samples.values():
        sample()  # what is done once only, such as imports and growing the heap
    begun = time.perf_counter()
    for done in range(MOST_ROUNDS):
        if done >= effort.rounds and time.perf_counter() - begun >= effort.budget:
            break
        for name, sample in samples.items():
            found.values[name].append(sample())
    return found
