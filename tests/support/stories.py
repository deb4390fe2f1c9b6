"""Stories of ready experiments, for tests."""

from __future__ import annotations

from typing import Any

from procmem.experiments.model.page_tables import Tally
from procmem.experiments.ready.story import Story, Teller, Told, find
from procmem.experiments.specimen.step import Delta, Figures, Step
from procmem.experiments.specimen.why import Prediction

__all__ = ["K", "M", "claims", "deltas", "labelled", "made_step", "sample", "story"]

K = 1024
M = K * K

stories: dict[str, Story] = {}


def story(name: str) -> Story:
    """An experiment's result; run once."""
    if name not in stories:
        function = find(name)
        stories[name] = function(**function.quick)  # type: ignore[attr-defined]
    return stories[name]


def deltas(told: Story) -> list[tuple[int, int, int, int, int, int]]:
    """VSZ, RSS and page tables in KiB; minor and major faults; regions."""
    found = []
    for one in told.told:
        if one.step is not None:
            d = one.step.delta
            assert None not in (d.rss, d.page_tables)
            kib = d.vsz // K, (d.rss or 0) // K, (d.page_tables or 0) // K
            found.append((*kib, d.minor, d.major, d.regions))
    return found


def claims(told: Story) -> dict[str, Any]:
    return {one.label: one.claim.seen for one in told.told if one.claim is not None}


def labelled(told: Story, label: str) -> Told:
    (found,) = (one for one in told.told if one.label == label)
    return found


def made_step(delta: Delta, reason: str | None = None) -> Step:
    figures = Figures(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    predicted = Prediction("mmap", Tally(vsz=1, regions=1), 4096)
    call = "mmap", lambda: ("...",)
    return Step(call, figures, figures, delta, 0, 0, reason, predicted, None, None)


def sample() -> Story:
    right, wrong = Delta(vsz=4096, regions=1), Delta(vsz=4096, rss=4096, regions=1)
    teller = Teller()
    teller.step("map one page", made_step(right))
    teller.step("map another", made_step(wrong), "So it should not be.")
    teller.step("map a third", made_step(wrong, "this kernel counts roughly"))
    teller.claim("the sky is", "blue", "blue", "It scatters.")
    teller.bytes("size", 8192, 4096)
    teller.impossible("swap it out", "no swap here")
    teller.table("Reported:", ("what", "ms"), [("a", 1.25), ("b", None)], "A note.")
    return Story("sample", "Sample", "Does it look right?", (*teller.told,), (*teller.tables,))
