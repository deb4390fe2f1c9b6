"""Every ready experiment: it agrees with theory, counts what it judges, leaves nothing behind."""

from __future__ import annotations

import gc
import json
import os
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from procmem import experiments
from procmem.errors import BadArgument, Unsupported
from procmem.experiments.ready.story import EXPERIMENTS, Story, Teller, experiment, find
from procmem.experiments.specimen.libc import verdict
from procmem.experiments.specimen.step import Delta
from procmem.view.experiment import story_text
from tests.support.stories import made_step, sample, story
from tests.support.svgs import Drawing

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_agrees_with_theory(name: str) -> None:
    told = story(name)
    if told.skipped:
        pytest.skip(told.skipped)
    if name in ("malloc", "threads") and (doubt := getattr(verdict(), name)):
        pytest.skip(doubt)
    assert [(one.label, one.step, one.claim) for one in told.told if one.agrees is False] == []
    assert told.agrees
    assert told.total >= 6
    assert told.agreed == told.total == sum(not one.impossible for one in told.told)


def test_a_claim_that_rests_on_a_step_that_is_not_exact_is_not_judged() -> None:
    right, wrong = Delta(vsz=4096), Delta(vsz=8192)
    exact, doubtful = made_step(right), made_step(wrong, "another libc")
    teller = Teller()
    teller.claim("one", 1, 2, rests_on=[exact, doubtful])
    teller.bytes("two", 1, 2, rests_on=[doubtful])
    teller.bytes("three", 1, 1, rests_on=[exact])
    teller.bytes("four", 1, 2, rests_on=[exact])
    story = Story("sample", "Sample", "?", (*teller.told,))
    assert [one.agrees for one in story.told] == [None, None, True, False]
    assert (story.agreed, story.total, story.not_judged) == (1, 2, 2)
    text = story_text(story)
    assert text.count("not judged") == 2
    assert "another libc" in text
    assert "Not judged, because it cannot be exact here: 2 (see above)." in text


def test_a_story_counts_what_it_judges() -> None:
    told = sample()
    assert (told.agreed, told.total, told.agrees) == (2, 4, False)
    assert [one.agrees for one in told.told] == [True, False, None, True, False, None]
    record = json.loads(json.dumps(told.to_dict()))
    assert (record["agreed"], record["total"]) == (2, 4)
    assert record["told"][1]["step"]["differences"] == ["rss"]
    assert record["told"][5]["impossible"] == "no swap here"
    assert record["tables"][0]["rows"] == [{"what": "a", "ms": 1.25}, {"what": "b", "ms": None}]
    with pytest.raises(FrozenInstanceError):
        told.name = "other"  # type: ignore[misc]
    assert repr(told) == "<Story sample: 2 of 4>"


def test_what_is_unsupported_is_told_and_no_failure() -> None:
    @experiment("none", "None", "Nothing?")
    def nothing(_tell: Teller) -> None:
        raise Unsupported("magic", "no wand")

    @experiment("half", "Half", "Half of it?")
    def half(tell: Teller, *, size: int = 1) -> None:
        tell.claim("one", size, 1)
        raise Unsupported("magic", "no wand")

    assert (nothing().skipped, nothing().agrees) == ("magic: no wand", True)
    assert "not possible here: magic: no wand" in story_text(nothing())
    assert (half().skipped, half().agreed, half().told[1].impossible) == ("", 1, "magic: no wand")
    assert not half(size=2).agrees


def test_a_disturbed_story_is_told_anew_and_says_so() -> None:
    seen = iter([2, 1, 2, 2, 2])

    @experiment("shaky", "Shaky", "Does it hold?")
    def shaky(tell: Teller) -> None:
        tell.claim("one", 1, next(seen))

    told = shaky()
    assert (told.agreed, told.total, told.disturbed) == (1, 1, ("one",))
    assert "Repeated, because of a disturbance at first: one." in story_text(told)
    told = shaky()  # what differs each time is no disturbance
    assert (told.agreed, told.total, told.disturbed) == (0, 1, ())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_are_functions_of_the_package(name: str) -> None:
    function = getattr(experiments, name.replace("-", "_"))
    assert function is find(name)
    assert function.__doc__
    # What type checkers see.
    spelled = name.replace("-", "_")
    source = Path(experiments.__file__).read_text()
    assert f"from procmem.experiments.ready.{spelled} import {spelled} as {spelled}\n" in source
    assert len(EXPERIMENTS[name]) <= 80 - 4 - max(map(len, EXPERIMENTS))


def test_unknown_experiments() -> None:
    with pytest.raises(AttributeError):
        experiments.no_such_experiment  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(BadArgument, match="lazy-allocation"):
        find("no-such")


@pytest.mark.parametrize(
    "call",
    [
        lambda: experiments.lazy_allocation(pages=0),
        lambda: experiments.lazy_allocation(pages=1, touched=2),
        lambda: experiments.brk(pages=1),
        lambda: experiments.file_mapping(pages=0),
        lambda: experiments.copy_on_write(pages=3),
        lambda: experiments.faults(pages=-1),
        lambda: experiments.grow(doublings=99),
        lambda: experiments.copy(size=0),
    ],
)
def test_values_that_make_no_sense(call: Any) -> None:
    with pytest.raises(BadArgument):
        call()


def state() -> tuple[set[str], set[str], int, str]:
    gc.collect()  # what earlier tests have left may hold descriptors
    children = set()
    for task in os.listdir("/proc/self/task"):
        children |= set(Path(f"/proc/self/task/{task}/children").read_text().split())
    return (
        children,
        set(os.listdir("/proc/self/fd")),
        len(Path("/proc/self/maps").read_text().splitlines()),
        Path("/proc/swaps").read_text(),
    )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_nothing_is_left_behind(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    function = find(name)
    function(**function.quick)  # type: ignore[attr-defined]  # what it imports stays
    before = state()
    function(**function.quick)  # type: ignore[attr-defined]
    after = state()
    assert after[:2] == before[:2]
    assert after[2] <= before[2] + 4  # malloc's own
    assert os.listdir(tmp_path) == []


def test_a_story_as_a_picture() -> None:
    told = story("lazy-allocation")
    found = Drawing(told.svg())
    assert found.title == "Lazy allocation"
    assert found.stays_inside()
    for one in told.told:
        assert one.step is not None
        delta = one.step.delta
        assert f"{one.label}: VSZ {delta.vsz // 1024:+,} KiB".replace("+0 KiB", "0 bytes") in (
            found.words
        )
    assert {"+4,000 KiB", "+40 KiB", "-4,000 KiB"} <= set(found.texts)


def test_claims_and_what_is_not_possible_are_in_the_picture() -> None:
    told = Story("x", "X", "Why?", sample().told)
    assert "Claims:" not in Drawing(told.svg()).title
    skipped = Drawing(Story("x", "X", "Why?", skipped="no pipes here").svg())
    assert "Not possible here: no pipes here." in skipped.words
