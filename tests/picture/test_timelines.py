"""Timelines: valid JSON whatever the names are, units right, each call inside of its caller."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pytest

from procmem.calls.constants import Advice, Prot
from procmem.picture.timelines import EventTimeline, Flames, is_flames, is_timeline, plain
from tests.support.timelines import check_flames, check_timeline

HOSTILE = ["</script><img onerror>", "a" * 4096, "\x1b[2J\x00", "\udcff", "\u202e", '"\\', "日本"]


def timeline_of(**about: object) -> tuple[io.StringIO, EventTimeline]:
    file = io.StringIO()
    return file, EventTimeline(file, about)


def test_times_are_microseconds_without_rounding() -> None:
    file, made = timeline_of(clock="CLOCK_MONOTONIC")
    assert is_timeline(file.getvalue().encode()[:256])
    began = 123_456_789_012_345_678
    made.slice("mmap", 7, 8, began, 1_234, {"length": 4096})
    made.counter("RSS", 7, began, {"bytes": 1 << 50})
    made.instant("fork", 7, None, began, {})
    made.close()
    assert '"ts": 123456789012345.678' in file.getvalue()
    found = check_timeline(file.getvalue())
    call, counter, instant = found["traceEvents"]
    assert (call["ph"], call["dur"], call["args"]) == ("X", 1.234, {"length": 4096})
    assert counter["args"] == {"bytes": 1 << 50}
    assert (instant["ph"], instant["s"]) == ("i", "p")
    assert found["otherData"]["clock"] == "CLOCK_MONOTONIC"


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_text(name: str) -> None:
    file, made = timeline_of(name=name)
    made.process(1, name)
    made.thread(1, 1, name)
    made.slice(name, 1, 1, 0, 0, {name: name, "argv": [name]})
    made.counter(name, 1, 0, {name: 1})
    made.instant(name, 1, 1, 0, {})
    made.close()
    check_timeline(file.getvalue())
    file = io.StringIO()
    flames = Flames(file, name)
    flames.slice(name, name, 0, 1)
    flames.weigh(name, (name,), 1)
    flames.close()
    assert is_flames(file.getvalue().encode()[:256])
    check_flames(file.getvalue())


def test_plain_values() -> None:
    assert plain((1, 2.5, True, None, b"x", 1 << 63)) == [
        1, 2.5, True, None, "b'x'", "0x8000000000000000",
    ]  # fmt: skip
    assert plain(-(1 << 40)) == "-0x10000000000"
    assert plain(Prot.PROT_READ | Prot.PROT_WRITE) == "PROT_READ|PROT_WRITE"
    assert plain(Prot(0x41)) == "PROT_READ|0x40"
    assert plain(Prot(0)) == "PROT_NONE"
    assert plain(Advice.MADV_DONTNEED) == "MADV_DONTNEED"


def test_nothing_is_valid() -> None:
    file, made = timeline_of()
    made.close()
    assert check_timeline(file.getvalue())["traceEvents"] == []
    file = io.StringIO()
    Flames(file, "x").close()
    assert check_flames(file.getvalue())["profiles"] == []


def test_calls_are_inside_of_those_that_made_them() -> None:
    file = io.StringIO()
    flames = Flames(file, "x")
    # They come in the order in which they ended.
    flames.slice("t", "brk", 20, 30)
    flames.slice("t", "mmap", 40, 50)
    flames.slice("t", "malloc", 10, 60)
    flames.slice("t", "exit", 70, 70)
    flames.slice("other", "free", 15, 90)
    flames.weigh("bytes", ("malloc", "brk"), 4096)
    flames.weigh("bytes", ("malloc", "brk"), 4096)
    flames.close()
    found = check_flames(file.getvalue())
    frames = [frame["name"] for frame in found["shared"]["frames"]]
    first, other, weighed = found["profiles"]
    told = [(one["type"], frames[one["frame"]], one["at"]) for one in first["events"]]
    assert told == [
        ("O", "malloc", 0), ("O", "brk", 10), ("C", "brk", 20), ("O", "mmap", 30),
        ("C", "mmap", 40), ("C", "malloc", 50), ("O", "exit", 60), ("C", "exit", 60),
    ]  # fmt: skip
    assert (other["name"], other["endValue"]) == ("other", 80)
    assert (weighed["weights"], weighed["unit"], weighed["endValue"]) == ([8192], "bytes", 8192)
    assert [[frames[at] for at in one] for one in weighed["samples"]] == [["malloc", "brk"]]


@pytest.mark.parametrize("seed", range(20))
def test_any_intervals_are_balanced(seed: int) -> None:
    """Those that overlap in part can't come from one thread, and must not break a file."""
    numbers = random.Random(seed)
    file = io.StringIO()
    flames = Flames(file, "x")
    for _ in range(200):
        start = numbers.randrange(1000)
        flames.slice("t", f"f{numbers.randrange(5)}", start, start + numbers.randrange(200))
    flames.close()
    [profile] = check_flames(file.getvalue())["profiles"]
    assert len(profile["events"]) == 400


def test_the_checks_find_faults() -> None:
    good: Any = {
        "exporter": "x", "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": [{"name": "a"}]},
        "profiles": [{"type": "evented", "name": "t", "unit": "nanoseconds", "startValue": 0,
                      "endValue": 2, "events": [{"type": "O", "frame": 0, "at": 1},
                                                {"type": "C", "frame": 0, "at": 2}]}],
    }  # fmt: skip
    check_flames(json.dumps(good))
    for at, value in ((0, 3), (1, 5)):
        bad = json.loads(json.dumps(good))
        bad["profiles"][0]["events"][at]["at"] = value
        with pytest.raises(AssertionError):
            check_flames(json.dumps(bad))
    bad = json.loads(json.dumps(good))
    bad["profiles"][0]["events"].pop()
    with pytest.raises(AssertionError):
        check_flames(json.dumps(bad))
