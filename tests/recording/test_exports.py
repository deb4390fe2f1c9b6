"""Recordings for Perfetto: each snapshot's figures at its time, and what changed."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from procmem import BadArgument, Recording
from procmem.snapshots.moment import Identity
from tests.support.recordings import paced, replace_clock
from tests.support.snapshots import anon, mapped, table
from tests.support.timelines import check_timeline

if TYPE_CHECKING:
    from procmem.experiments import Specimen

PAGE = os.sysconf("SC_PAGE_SIZE")


def events_of(one: Recording, **how: Any) -> list[dict[str, Any]]:
    file = io.StringIO()
    one.to_perfetto(file, **how)
    found: list[dict[str, Any]] = check_timeline(file.getvalue())["traceEvents"]
    return found


def counted(events: list[dict[str, Any]], name: str) -> list[tuple[float, dict[str, int]]]:
    return [
        (event["ts"], event["args"])
        for event in events
        if event["ph"] == "C" and event["name"] == name
    ]


def test_figures_and_causes_of_each_snapshot(specimen: Specimen) -> None:
    one = paced(specimen, lambda _: specimen.touch(mapped(specimen, 10)))
    events = events_of(one)
    times = [event["ts"] for event in events if event["name"] != "RSS by kind"]
    assert times == sorted(times)
    # 100 ms are 100,000 microseconds.
    assert counted(events, "RSS") == [
        (at * 100_000, {"bytes": snapshot.rss}) for at, snapshot in enumerate(one)
    ]
    assert counted(events, "VSZ")[-1] == (3_900_000, {"bytes": one[-1].vsz})
    for (_, kinds), snapshot in zip(counted(events, "RSS by kind"), one, strict=True):
        assert sum(kinds.values()) == snapshot.regions.total("rss")
    causes = [event for event in events if event["ph"] == "i"]
    assert len(causes) >= 39
    first = [event for event in causes if event["ts"] == 100_000]
    assert sum(event["args"]["RSS"] for event in first) == 10 * PAGE
    assert all(event["args"]["cause"] for event in causes)
    assert events[0]["args"]["name"] == "specimen"


def test_causes_can_be_left_out(specimen: Specimen) -> None:
    one = paced(specimen, lambda _: mapped(specimen, 1))
    events = events_of(one, causes=False)
    assert not [event for event in events if event["ph"] == "i"]
    assert len(counted(events, "VSZ")) == 40


def test_only_what_changed_is_written_again() -> None:
    same = [replace_clock(table(anon(0, 9, rss=3)), at) for at in range(5)]
    assert len(counted(events_of(Recording(same)), "RSS")) == 1


def test_a_kind_that_is_gone_is_zero_from_then_on() -> None:
    stack = table(anon(0, 9, rss=3), anon(100, 9, rss=2, pathname="[stack]"))
    gone = [replace_clock(stack, 0), replace_clock(table(anon(0, 9, rss=3)), 1)]
    (_, first), (_, then) = counted(events_of(Recording(gone)), "RSS by kind")
    assert first["stack"] == 2 * 4096
    assert then["stack"] == 0


def test_a_kind_that_comes_is_zero_until_then() -> None:
    """Chrome's viewer shows no kind that the first event lacks."""
    plain, stack = anon(0, 9, rss=3), anon(100, 9, rss=2, pathname="[stack]")
    come = [replace_clock(table(plain), 0), replace_clock(table(plain, stack), 1)]
    (_, first), (_, then) = counted(events_of(Recording(come)), "RSS by kind")
    assert first["stack"] == 0
    assert then["stack"] == 2 * 4096


def test_snapshots_of_different_detail_are_compared_with_their_like(specimen: Specimen) -> None:
    one = paced(specimen, lambda _: specimen.touch(mapped(specimen, 10)), details=("smaps", "maps"))
    events = events_of(one)
    assert len(counted(events, "VSZ")) == 40
    at = {event["ts"] for event in events if event["ph"] == "i"}
    assert at <= {200_000 * number for number in range(1, 20)}


def test_a_program_that_was_replaced_is_named() -> None:
    old = replace_clock(table(anon(0, 9, rss=3)), 0)
    new = replace(
        replace_clock(table(anon(5000, 7, rss=1)), 1),
        identity=Identity(7, 7, "boot", "</script>\udcff", "/new", ()),
    )
    events = events_of(Recording([old, new]))
    names = [event["args"]["name"] for event in events if event["ph"] == "M"]
    assert names == ["x", "</script>\\xff"]


def test_without_clocks_there_is_no_timeline() -> None:
    with pytest.raises(BadArgument, match="no clocks"):
        events_of(Recording([table(anon(0, 1))]))
    assert events_of(Recording([])) == []
