"""Traces for other programs: every call with its times, arguments and effects."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from procmem import trace
from procmem.calls import Reading
from procmem.tracing.exports import FlameTrace, PerfettoTrace
from tests.support.targets import PAGE
from tests.support.timelines import check_flames, check_timeline
from tests.support.traced import own

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced program counts in pages of 4 KiB")


def written(export: Any) -> str:
    file = io.StringIO()
    export(file)
    return file.getvalue()


def test_each_call_is_a_slice_with_its_effect(program: str) -> None:
    traced = trace([program, "everything"])
    events = check_timeline(written(traced.to_perfetto))["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    assert [one["name"] for one in slices] == [call.name for call in traced]
    for one, call in zip(slices, traced, strict=True):
        assert one["ts"] == pytest.approx(call.began / 1000, abs=0.01)
        assert one["dur"] == pytest.approx((call.ns or 0) / 1000, abs=0.002)
        assert (one["pid"], one["tid"]) == (call.pid, call.tid)
        assert one["args"].get("change of VSZ") == call.delta_vsz
        assert one["args"].get("change of RSS") == call.delta_rss
    mapped = own(traced)[0]
    [shown] = [one for one, call in zip(slices, traced, strict=True) if call.began == mapped.began]
    assert shown["args"]["prot"] == "PROT_READ|PROT_WRITE"
    assert shown["args"]["length"] == 100 * PAGE
    assert shown["args"]["result"] == "0x10000000000"
    assert shown["args"]["region"].startswith("10000000000-10000064000 rw-p ")


def test_counters_are_the_figures_of_the_kernel(program: str) -> None:
    traced = trace([program, "everything"])
    events = check_timeline(written(traced.to_perfetto))["traceEvents"]
    counted = [
        (event["name"], event["args"]["bytes"], event["ts"])
        for event in events
        if event["ph"] == "C"
    ]
    vsz = [value for name, value, _ in counted if name == "VSZ"]
    known = [
        value.vsz for call in traced for value in (call.before, call.after) if value is not None
    ]
    assert vsz == [one for at, one in enumerate(known) if not at or known[at - 1] != one]
    times = [when for _, _, when in counted]
    assert times == sorted(times)


def call_of(tid: int, began: int, ended: int, rss: tuple[int, int]) -> Any:
    """A call of one of several threads of process 1."""
    before, after = (Reading(1 << 20, size) for size in rss)
    return SimpleNamespace(
        name="madvise", pid=1, tid=tid, args={}, within=None, is_function=False, made=0, result=0,
        errno=None, returned=True, began=began, ns=ended - began, before=before, after=after,
        delta_vsz=0, delta_rss=rss[1] - rss[0], region_row=None, reason="", several=True,
    )  # fmt: skip


def test_what_a_function_touched_itself_is_its_own() -> None:
    file = io.StringIO()
    made = FlameTrace(file, 1)
    brk = call_of(1, 2_000, 3_000, (4096, 8192))
    brk.name, brk.within = "brk", "malloc"
    malloc = call_of(1, 1_000, 9_000, (4096, 20480))
    malloc.name, malloc.is_function, malloc.made = "malloc", True, 1
    made.add(brk)
    made.add(malloc)
    made.add(call_of(1, 10_000, 11_000, (20480, 24576)))
    made.close()
    found = check_flames(file.getvalue())
    frames = [frame["name"] for frame in found["shared"]["frames"]]
    [growth] = [one for one in found["profiles"] if one["name"] == "growth of RSS in calls"]
    stacks = [tuple(frames[at] for at in stack) for stack in growth["samples"]]
    assert dict(zip(stacks, growth["weights"], strict=True)) == {
        ("malloc", "brk"): 4096,
        ("malloc",): 12288,
        ("madvise",): 4096,
    }


def test_counters_of_threads_are_in_the_order_of_time() -> None:
    """Calls come when they return; those of other threads have begun and ended meanwhile."""
    file = io.StringIO()
    made = PerfettoTrace(file, 1)
    made.add(call_of(2, 2_000, 5_000, (4096, 8192)))
    made.add(call_of(1, 1_000, 9_000, (4096, 12288)))
    made.close()
    events = check_timeline(file.getvalue())["traceEvents"]
    rss = [(one["ts"], one["args"]["bytes"]) for one in events if one["name"] == "RSS"]
    assert rss == [(1, 4096), (5, 8192), (9, 12288)]


def test_a_failed_call_has_its_error(program: str) -> None:
    traced = trace([program, "everything"])
    events = check_timeline(written(traced.to_perfetto))["traceEvents"]
    failed = [call for call in traced if call.errno]
    assert failed
    shown = [event["args"]["error"] for event in events if "error" in event.get("args", {})]
    assert len(shown) == len(failed)
    assert all(str(name).startswith("E") for name in shown)


SHELL = "/bin/true; (exit 3); :"


def test_forks_execs_and_exits_are_instants() -> None:
    traced = trace(["/bin/sh", "-c", SHELL], follow=True)
    text = written(traced.to_perfetto)
    events = check_timeline(text)["traceEvents"]
    instants = [event["name"] for event in events if event["ph"] == "i"]
    children = [call.result for call in traced if "fork" in call.name or "clone" in call.name]
    assert len(children) == 2
    for child in children:
        assert any(name.endswith(f": process {child}") for name in instants)
    assert "execve: /bin/true" in instants
    named = {
        event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"
    }
    assert named[traced.pid] == "sh"
    assert "true" in named.values()
    assert instants.count("exit_group") == 3


def test_speedscope_has_a_profile_for_each_thread_and_the_growth(program: str) -> None:
    traced = trace([program, "everything"])
    found = check_flames(written(traced.to_speedscope))
    frames = [frame["name"] for frame in found["shared"]["frames"]]
    calls, *weighed = found["profiles"]
    assert calls["name"] == f"process {traced.pid}"
    opened = [frames[event["frame"]] for event in calls["events"] if event["type"] == "O"]
    by_time = sorted(traced, key=lambda call: call.began)
    assert opened == [call.name for call in by_time]
    [growth] = [one for one in weighed if one["name"] == "growth of VSZ in calls"]
    assert growth["endValue"] == sum(max(call.delta_vsz or 0, 0) for call in traced)


def test_functions_of_malloc_are_around_their_calls() -> None:
    traced = trace(["/bin/sh", "-c", ":"], malloc=True)
    if not traced.breakpoints or not any(one.names for one in traced.breakpoints):
        pytest.skip("no breakpoints can be set at malloc here")
    found = check_flames(written(traced.to_speedscope))
    frames = [frame["name"] for frame in found["shared"]["frames"]]
    inner = {call.name for call in traced if call.within}
    depth, nested = 0, set()
    for event in found["profiles"][0]["events"]:
        depth += 1 if event["type"] == "O" else -1
        if depth == 2:
            nested.add(frames[event["frame"]])
    assert inner <= nested
    check_timeline(written(traced.to_perfetto))


def test_a_path_is_written_anew(program: str, tmp_path: Path) -> None:
    traced = trace([program, "everything"])
    for export in (traced.to_perfetto, traced.to_speedscope):
        path = tmp_path / "out.json"
        path.write_text("x" * 100_000)
        export(path)
        assert json.loads(path.read_text())
