"""Names of unnamed memory in a trace, compared with those of maps."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from procmem import MemoryCall, Process, RegionKind
from procmem.tracing.tracer import Tracing
from procmem.view.places import Places
from procmem.view.trace import TraceTable
from tests.support.stacks import has_marked_guards
from tests.support.targets import PAGE
from tests.support.traced import build, command

if TYPE_CHECKING:
    from pathlib import Path

    from procmem import Region, RegionTable


THREADED = """#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static pthread_barrier_t all;
static void *work(void *last) {
    char *made = malloc(1000);
    *made = 1;
    pthread_barrier_wait(&all);
    if (last) return made;
    for (;;) pause();
}
int main(void) {
    pthread_t thread[3];
    pthread_barrier_init(&all, 0, 4);
    for (long i = 0; i < 3; i++) pthread_create(thread + i, 0, work, (void *)(i == 2));
    pthread_barrier_wait(&all);
    pthread_join(thread[2], 0);
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
"""


@pytest.mark.parametrize("compiler, malloc", [("gcc", True), ("gcc", False), ("musl-gcc", False)])
def test_memory_without_a_name_is_called_as_maps_calls_it(
    place: Path, compiler: str, malloc: bool
) -> None:
    made = build(place, THREADED, "-pthread", compiler=compiler, name=f"threaded-{compiler}")
    table, places = TraceTable(malloc=malloc), Places()
    calls: list[tuple[MemoryCall, str]] = []
    maps: RegionTable[Region] | None = None
    lines = ""
    read, write = os.pipe()
    os.set_blocking(read, False)
    with Tracing([str(made)], stdout=write, malloc=malloc) as tracing:
        for group in tracing.groups():
            for one in group:
                lines += table.add(one)
                if isinstance(one, MemoryCall) and not one.is_function:
                    places.watch(one)
                    known = places.known(one)
                    calls.append((one, known.word if known else ""))
            with contextlib.suppress(BlockingIOError):
                if not group and maps is None and os.read(read, 100):
                    maps = Process(tracing.pid).maps()
                    maps.by_kind()  # while it lives
                    tracing.send_signal(signal.SIGKILL)
    os.close(read)
    os.close(write)
    lines += table.end()
    assert maps is not None
    names = {(one.start, one.end, str(one.perms)): one for one in maps}
    shown = {}
    for call, at_that_time in calls:
        told, known = call.region_row, places.known(call)
        region = names.get(told[:3]) if told and call.name in ("mmap", "mprotect") else None
        if region is None:
            continue
        assert told
        word = known.word if known else told[3]
        shown[region] = word
        # At that time it was said, or guessed, or said to be no more than it is.
        if at_that_time.startswith(("stack of thread ", "stacks of ")):
            # Later stacks beside it are in the same region where guards are marks.
            assert at_that_time.rstrip("?") == word or has_marked_guards(maps, region)
            continue
        assert at_that_time in (word, word + "?", "", "thread stack?"), (region, at_that_time)
    if compiler == "gcc":  # with musl the kernel maps the C library, which is the loader as well
        assert {one.kind for one in shown} >= {RegionKind.TEXT, RegionKind.BSS}
    for region, word in shown.items():
        if region.kind is RegionKind.ARENA and not malloc:
            assert word == region.name + "?"
        elif region.kind is not RegionKind.OTHER and not (region.use and not region.kind_guess):
            assert word == region.name, (region, region.kind_evidence)
    stacks = [one for one in maps if one.kind is RegionKind.THREAD_STACK]
    assert stacks
    for stack in stacks:
        assert stack.name in lines or has_marked_guards(maps, stack)
    if any(one.kind is RegionKind.ARENA for one in maps):
        arena = "malloc arena" if malloc else "malloc arena?"
        assert f"{arena}\n" in lines


def test_names_in_json_are_those_of_maps(place: Path) -> None:
    made = build(place, THREADED.replace("for (;;) pause();", "return 0;"), "-pthread", name="ends")
    told = json.loads(command("--json", "--", made).stderr)
    regions = [(call, call["region"]) for call in told["calls"] if call["region"]]
    kinds = {region["kind"] for _, region in regions}
    assert {"text", "rodata", "data"} <= kinds
    asked = [(call, r) for call, r in regions if r["kind_evidence"] == "MAP_STACK"]
    for _, region in asked:
        assert (region["name"], region["kind_guess"]) in (
            ("thread stack", True),
            ("stack guard", True),
        )
    assert len(told["stacks"]) == 3
    for stack in told["stacks"]:
        assert stack["pid"] == told["pid"] != stack["tid"]
        assert stack["end"] - stack["start"] >= 4 * PAGE
    arenas = [r for _, r in regions if r["kind"] == "arena"]
    for region in arenas:
        assert region["start"] % (64 << 20) == 0 or region["name"] == "malloc arena, reserved"
        assert region["use"] == "malloc arena"
        assert region["kind_guess"] is region["use_guess"] is True
