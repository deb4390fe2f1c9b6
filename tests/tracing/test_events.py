"""What a trace consists of: each call with its effect, signals, ends."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import (
    trace,
)
from procmem.calls.constants import Advice, Map, Prot
from procmem.procfs import probes
from procmem.tracing.events import ProcessEnd
from procmem.tracing.tracer import Tracing
from procmem.view.strace import strace_line
from tests.support.targets import PAGE
from tests.support.traced import build, named, own

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced program counts in pages of 4 KiB")


def test_each_call_with_its_effect(program: str) -> None:
    traced = trace([program, "everything"])
    # Where counters lag, RSS comes with a later call.
    exact = not probes.counters_lag()
    assert (traced.returncode, traced.exact, not traced.reason) == (0, exact, exact)
    assert traced[0].name == "execve"
    assert traced[0].args["argv"] == (program, "everything")
    assert traced[0].delta_vsz is None
    calls = own(traced)
    mapped = calls[0]
    assert (mapped.name, mapped.delta_vsz) == ("mmap", 100 * PAGE)
    assert mapped.delta_rss == 0 or not exact
    assert mapped.args["prot"] == Prot.PROT_READ | Prot.PROT_WRITE
    assert mapped.args["flags"] == (Map.MAP_PRIVATE | Map.MAP_ANONYMOUS | Map.MAP_FIXED_NOREPLACE)
    assert (mapped.args["fd"], mapped.args["length"]) == (-1, 100 * PAGE)
    assert mapped.region is not None
    assert (mapped.region.start, mapped.region.size) == (0x10000000000, 100 * PAGE)
    assert (mapped.region.perms, mapped.pid, mapped.tid) == ("rw-p", traced.pid, traced.pid)
    # Touching is no call, and shows between two of them.
    assert calls[1].after is not None
    assert calls[2].before is not None
    assert calls[2].before.rss - calls[1].after.rss == 10 * PAGE or not exact
    protect, again = named(calls, "mprotect")[:2]
    assert protect.delta_vsz == 0
    assert protect.delta_rss == 0 or not exact
    assert protect.region is not None
    assert (protect.region.size, protect.region.perms) == (50 * PAGE, "r--p")
    assert again.region is not None
    assert again.region.size == 100 * PAGE
    dropped, refused = named(calls, "madvise")[1:3]
    assert dropped.args["advice"] is Advice.MADV_DONTNEED
    assert dropped.delta_vsz == 0
    assert dropped.delta_rss == -4 * PAGE or not exact
    assert (refused.errno, refused.result, refused.region) == (errno.EINVAL, None, None)
    [grown] = named(calls, "mremap")
    assert grown.delta_vsz == 100 * PAGE
    assert grown.delta_rss == 0 or not exact
    locked = named(calls, "mlock")[0]
    assert locked.errno or locked.delta_rss == PAGE or not exact
    unmapped, failed = named(calls, "munmap")
    assert unmapped.delta_vsz == -200 * PAGE
    assert unmapped.region is not None
    assert failed.errno == errno.EINVAL
    assert named(calls, "mmap")[2].errno == errno.EBADF
    if named(calls, "shmat"):
        assert named(calls, "shmat")[0].delta_vsz == 3 * PAGE
        assert named(calls, "shmdt")[0].delta_vsz == -3 * PAGE
    assert named(calls, "brk")[-1].delta_vsz == 5 * PAGE
    last = calls[-1]
    assert (last.name, last.returned, last.result, last.after) == ("exit_group", False, None, None)
    assert all(call.ns is not None and call.ns > 0 for call in calls[:-1])
    assert json.loads(json.dumps(calls[0].to_dict()))["delta_vsz"] == 100 * PAGE


def test_it_is_a_sequence(program: str) -> None:
    traced = trace([program, "many", "3"])
    assert [c.name for c in traced] == [traced[i].name for i in range(len(traced))]
    assert [c.name for c in traced[-3:]] == ["mmap", "munmap", "exit_group"]
    assert "MemoryCall" in repr(traced[0])
    assert "returncode 0" in repr(traced)
    with pytest.raises(IndexError):
        traced[len(traced)]


def test_memory_is_bounded(program: str) -> None:
    traced = trace([program, "many", "5000"], limit=100)
    assert len(traced) == 100
    assert traced.dropped > 9900
    assert traced.returncode == 0


def test_the_face() -> None:
    assert procmem.trace is trace
    assert isinstance(ProcessEnd(1, 0, several=False), ProcessEnd)
    assert strace_line.__doc__


def test_ends_are_told_of_all(place: Path) -> None:
    made = build(place, "int main(void) { return 0; }", name="nothing")
    with Tracing([str(made)]) as tracing:
        ends = [one for one in tracing if isinstance(one, ProcessEnd)]
    assert [one.returncode for one in ends] == [0]
