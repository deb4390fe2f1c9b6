"""Facts of live processes: what their threads, memory and files say about regions."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import (
    Cause,
    KiB,
    MiB,
    Process,
    RegionKind,
    Snapshot,
)
from procmem.experiments import Specimen
from procmem.process.facts import StillMapped
from procmem.regions.kinds import kind_word
from procmem.regions.region import PAGE_SIZE
from tests.support.stacks import (
    compiled,
    has_marked_guards,
    on_stack,
    pointer_of,
    region_at,
    stacks_in,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


K = RegionKind

ODD = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>
#define MAP(n) mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
#define MAP_NONE(n) mmap(0, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
static ucontext_t main_context, coroutine;
static void *waits(void *x) { for (;;) pause(); return x; }
static void *ends(void *x) { return x; }
static volatile unsigned long n;
static volatile int full;
static void *runs(void *x) {
    (void)x; nice(19); for (;;) n++;
    return 0;
}
static void handler(int number) { (void)number; for (;;) pause(); }
static void *handles(void *x) {
    stack_t stack = {.ss_sp = x, .ss_size = 65536};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, 0); sigaction(SIGUSR1, &action, 0); raise(SIGUSR1); return 0;
}
static void *fills(void *x) {
    (void)x; for (int i = 0; i < 1000; i++) memset(malloc(100000), 1, 100000);
    full = 1; for (;;) pause(); return 0;
}
static void turns(void) { for (;;) pause(); }
static void said(const char *name, void *at) { printf("%s %lx\n", name, (unsigned long)at); }
int main(void) {
    pthread_t thread, ended[3]; pthread_attr_t attr; char *at, *aligned; pid_t child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    at = MAP(1 << 20); mprotect(at, 4096, PROT_NONE); said("own", at + 4096);
    pthread_attr_init(&attr); pthread_attr_setstack(&attr, at + 4096, (1 << 20) - 4096);
    pthread_create(&thread, &attr, waits, 0);
    mmap(0, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_create(&thread, 0, runs, 0);
    /* Not beside that stack. */
    mmap(0, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* Between pages of its own: it would be one region with a stack beside it. */
    at = MAP(65536 + 2 * 4096); mprotect(at, 4096, PROT_NONE); at += 4096;
    mprotect(at + 65536, 4096, PROT_NONE);
    said("signal", at); pthread_create(&thread, 0, handles, at);
    mmap(0, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_create(&thread, 0, fills, 0);
    for (int i = 0; i < 3; i++) pthread_create(&ended[i], 0, ends, 0);
    for (int i = 0; i < 3; i++) pthread_join(ended[i], 0);
    /* A page above it that can't be written: an arena there would be one region with it. */
    at = MAP((8 << 20) + 8192); mprotect(at, 4096, PROT_NONE); memset(at + 4096, 1, 8 << 20);
    mprotect(at + 4096 + (8 << 20), 4096, PROT_READ);
    said("decoy", at + 4096);
    at = MAP_NONE(192 << 20);
    aligned = (char *)(((unsigned long)at + (64 << 20) - 1) & ~((64ul << 20) - 1));
    munmap(at, aligned - at);
    munmap(aligned + (64 << 20), at + (192 << 20) - (aligned + (64 << 20)));
    mprotect(aligned, 132 << 10, PROT_READ | PROT_WRITE); memset(aligned, 1, 4096);
    said("no_arena", aligned);
    at = MAP(256 << 10); mprotect(at, 4096, PROT_NONE); said("coroutine", at + 4096);
    sleep(1); while (!full) usleep(1000);
    child = fork();
    if (!child) { prctl(PR_SET_PDEATHSIG, SIGKILL); for (;;) pause(); }
    /* Its first write after that is a fault. */
    for (unsigned long was = n; n == was;) usleep(1000);
    printf("child %x\n", child); fflush(stdout);
    getcontext(&coroutine); coroutine.uc_stack.ss_sp = at + 4096;
    coroutine.uc_stack.ss_size = (256 << 10) - 4096; coroutine.uc_link = &main_context;
    makecontext(&coroutine, turns, 0); swapcontext(&main_context, &coroutine);
    return 0;
}
"""


class Odd:
    """The running program, and where it put things."""

    def __init__(self, process: subprocess.Popen[str], places: dict[str, int]) -> None:
        self.pid = process.pid
        self.places = places


@pytest.fixture(
    scope="module",
    params=[("cc",), ("cc", "-static"), ("cc", "-z", "execstack")],
    ids=" ".join,
)
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    compiler, *flags = request.param
    program = compiled(ODD, tmp_path_factory.mktemp("odd"), *flags, compiler=compiler)
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            places = {}
            for line in process.stdout:
                name, value = line.split()
                places[name] = int(value, 16)
                if name == "child":
                    break
            wait_for(lambda: on_stack(process.pid, process.pid, places["coroutine"], 256 * KiB))
            # Each other thread waits where it is going to, but for the one that runs.
            tids = [int(tid) for tid in os.listdir(f"/proc/{process.pid}/task")]
            for name, size in (("own", 1 << 20), ("signal", 65536)):
                start = places[name]
                wait_for(lambda: any(on_stack(process.pid, tid, start, size) for tid in tids))  # noqa: B023
            wait_for(lambda: sum(pointer_of(process.pid, tid) is None for tid in tids) == 1)
            yield Odd(process, places)
        finally:
            process.kill()


def test_stacks_are_where_threads_are(odd: Odd) -> None:
    table = Process(odd.pid).maps()
    for name in ("own", "signal", "coroutine"):
        region = region_at(table, odd.places[name])
        assert (kind_word(region), region.kind_evidence) == ("thread stack", "stack pointer"), name
    stacks = [region for region in table if region.kind is K.THREAD_STACK]
    named = "".join(region.name for region in stacks)
    for tid in os.listdir(f"/proc/{odd.pid}/task"):
        assert tid in named or "threads" in named
    guessed = [region for region in table if region.kind_guess and region.kind is not K.GUARD]
    assert guessed == []


def test_another_stack_than_the_threads_own_is_memory_that_it_runs_on(odd: Odd) -> None:
    table = Process(odd.pid).maps()
    assert region_at(table, odd.places["own"]).name.startswith("stack of thread ")
    for name in ("signal", "coroutine"):
        said = region_at(table, odd.places[name]).name
        assert re.fullmatch(r"memory that thread \d+ runs on(, executable)?", said), said
    assert f"memory that thread {odd.pid} runs on" in region_at(table, odd.places["coroutine"]).name


def test_a_thread_that_runs_is_known_by_its_descriptor(odd: Odd) -> None:
    seen = {int(tid) for tid in os.listdir(f"/proc/{odd.pid}/task")}

    def alone() -> bool:
        """Whether one thread alone has never waited so far."""
        nonlocal seen
        seen = {tid for tid in seen if pointer_of(odd.pid, tid) is None}
        return len(seen) == 1

    wait_for(alone)
    (running,) = seen
    table = Process(odd.pid).maps()
    stacks = [r for r in table if r.kind is K.THREAD_STACK]
    if not (own := [r for r in stacks if r.name.startswith(f"stack of thread {running}")]):
        # Its name is among those of the other threads in the region.
        several = [re.match(r"stacks of \d+ threads, (\d+) to (\d+)", r.name) for r in stacks]
        own = [r for r, m in zip(stacks, several, strict=True)
               if m and int(m[1]) <= running <= int(m[2])]  # fmt: skip
        assert len(own) == 1
        assert has_marked_guards(table, own[0])
        return
    (stack,) = own
    assert (stack.kind, stack.kind_evidence) == (K.THREAD_STACK, "thread descriptor")
    if has_marked_guards(table, stack):
        assert stack.use is not None
        assert "KiB of guard pages" in stack.use.name
        return
    guard = region_at(table, stack.start - 1)
    assert (guard.kind, guard.kind_evidence, guard.name) == (
        K.GUARD, "thread descriptor", "stack guard",
    )  # fmt: skip


def test_memory_like_a_stack_or_an_arena_is_neither(odd: Odd) -> None:
    table = Process(odd.pid).smaps()
    decoy, no_arena = (region_at(table, odd.places[name]) for name in ("decoy", "no_arena"))
    assert (decoy.kind, decoy.use) == (K.ANON, None)
    assert (no_arena.kind, no_arena.use) == (K.ANON, None)
    assert region_at(table, no_arena.end).kind is K.ANON


def test_full_arenas_are_arenas(odd: Odd) -> None:
    table = Process(odd.pid).maps()
    arenas = [region for region in table if region.kind is K.ARENA]
    written = [region for region in arenas if region.perms == "rw-p"]
    assert sum(region.size for region in written) >= 100_000_000
    assert {region.kind_evidence for region in arenas} == {"heap header"}


def test_stacks_of_ended_threads_are_not_called_threads(odd: Odd) -> None:
    table = Process(odd.pid).maps()
    assert stacks_in(table)[1] == 3


def test_a_child_of_fork_has_stacks_of_no_thread(odd: Odd) -> None:
    table = Process(odd.places["child"]).maps()
    assert [r for r in table if r.kind is K.THREAD_STACK] == []
    assert stacks_in(table)[1] >= 6
    assert any(r.kind is K.ARENA for r in table)


def test_an_arena_that_the_kernel_joined_with_other_memory() -> None:
    """How much of it is the arena is known; what the rest is, is not."""
    with Specimen(libc=True) as specimen:
        specimen.thread()
        first = Process(specimen.pid).snapshot()
        arena = (specimen.malloc(1000, thread=0).address or 0) & -(64 * MiB)
        alone = region_at(Process(specimen.pid).maps(), arena)
        assert (alone.start, alone.kind_evidence) == (arena, "heap header")
        before = Process(specimen.pid).snapshot()
        noreserve = "nr" in (region_at(before.regions, arena).vm_flags or "")
        specimen.mmap(64 * KiB, address=arena - 64 * KiB, noreserve=noreserve)
        after = Process(specimen.pid).snapshot()
        assert {change.cause for change in (after - before).changes} == {Cause.MEMORY_MAPPED}
        assert {change.cause for change in (before - after).changes} == {Cause.MEMORY_UNMAPPED}
        joined = region_at(Process(specimen.pid).maps(), arena)
        if joined.start == arena:
            pytest.skip("something else was mapped before the arena")
        assert (joined.kind, joined.kind_guess) == (K.ARENA, True)
        assert joined.kind_evidence == "heap header of a part"
        assert joined.use is not None
        assert str(joined.use) == "malloc arena and other memory?"
        (made,) = [one for one in (after - first).explanations if one.cause is Cause.ARENA_MADE]
        assert "a malloc arena and other memory?, " in made.words
        assert made.evidence == ("the first words of a heap of malloc are in it",)
        threads = Process(specimen.pid).snapshot().threads or ()
        assert [one.arena for one in threads if one.arena] == [arena]


def test_reading_facts_brings_no_page_in(odd: Odd) -> None:
    process = Process(odd.pid)

    def anonymous() -> list[tuple[int, int | None]]:
        # The kernel may take pages of files at any time, and their next use is a fault.
        return [(r.start, r.rss) for r in process.residency() if not r.inode]

    before = anonymous()
    for _ in range(3):
        process.maps()[0].kind  # noqa: B018
    assert anonymous() == before


def test_a_snapshot_keeps_its_facts(odd: Odd, tmp_path: Path) -> None:
    snapshot = Process(odd.pid).snapshot("maps")
    told = [(r.kind, r.kind_evidence, r.name, r.use) for r in snapshot.regions]
    for name in ("a.snap", "a.json"):
        snapshot.save(tmp_path / name)
        again = Snapshot.load(tmp_path / name)
        assert [(r.kind, r.kind_evidence, r.name, r.use) for r in again.regions] == told
    assert any(evidence == "thread descriptor" for _, evidence, _, _ in told)


def test_a_region_alone_has_the_same_kind(odd: Odd) -> None:
    process = Process(odd.pid)
    table = process.maps()
    for name in ("own", "coroutine", "decoy", "no_arena"):
        alone, among = process.region_at(odd.places[name]), table.find(odd.places[name])
        assert alone is not None
        assert among is not None
        assert (alone.kind, alone.kind_evidence, alone.use) == (
            among.kind, among.kind_evidence, among.use,
        )  # fmt: skip


def test_without_the_right_to_read_memory_arenas_are_guesses(
    odd: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("procmem.process.facts.ResidentMemory.__bool__", lambda _: False)
    monkeypatch.setattr("procmem.process.facts.ResidentMemory.read", lambda *_: b"")
    table = Process(odd.pid).maps()
    words = {kind_word(region) for region in table}
    assert "thread stack" in words
    assert "thread stack?" not in words
    # A static program without symbols of a malloc says nothing of arenas.
    assert "arena" not in words
    own = region_at(table, odd.places["own"])
    assert (kind_word(own), own.kind_evidence) == ("thread stack", "stack pointer")


def test_a_process_that_has_gone_leaves_guesses() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        # Its own program is there, its libraries are mapped, and it waits.
        wait_for(lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes())
        wait_for(lambda: b"libc" in Path(f"/proc/{process.pid}/maps").read_bytes())
        wait_for(lambda: b") S " in Path(f"/proc/{process.pid}/stat").read_bytes())
        table = Process(process.pid).maps()
        process.kill()
        process.wait()
        assert {region.kind for region in table} >= {K.TEXT, K.STACK}
        assert {r.kind_evidence for r in table.filter(kind="bss")} == {"position"}


def test_facts_of_another_program_are_not_taken() -> None:
    with subprocess.Popen(["sh", "-c", "read x; exec sleep 60"], stdin=subprocess.PIPE) as process:
        try:
            wait_for(lambda: b"read" in Path(f"/proc/{process.pid}/cmdline").read_bytes())
            wait_for(lambda: b") S " in Path(f"/proc/{process.pid}/stat").read_bytes())
            table = Process(process.pid).maps()
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            wait_for(lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes()[:5])
            assert {r.kind_evidence for r in table.filter(kind="bss")} == {"position"}
        finally:
            process.kill()


@pytest.mark.parametrize("expected", [0, 1 << 20], ids=["one by one", "read again"])
def test_what_is_still_mapped(expected: int) -> None:
    """A few regions are asked for one by one, many are found in maps: the answers are the same."""
    with Specimen() as specimen:
        kept, gone, cut = (specimen.mmap(pages=pages).mapping for pages in (3, 4, 5))
        assert kept is not None
        assert gone is not None
        assert cut is not None
        specimen.mprotect(cut, "")
        specimen.mprotect(gone, "r")
        table = Process(specimen.pid).maps()
        files = Process(specimen.pid).files
        index = {table[i].start: i for i in range(len(table))}
        three = [index[area.start] for area in (kept, gone, cut)]
        specimen.munmap(gone)
        specimen.munmap(cut, start=4)
        with files.memory("maps") as maps:
            present = StillMapped(files, maps, list(table), table.reading.marks(), expected)
            assert [region.start for region in present.some(three)] == [kept.start]
            assert [region.start for region in present.begun(three)] == [kept.start, cut.start]
            assert present.find(kept.start + 5) is table[index[kept.start]]
            assert present.find(gone.start) is None
            assert present.find(cut.start) is None  # part of it is gone
            assert present.find(kept.start - 1) is None or kept.start - 1 in table
            assert present.bounds(gone.start) == (0, 0)
            assert present.bounds(cut.start) == (cut.start, cut.start + 4 * PAGE_SIZE)
            left = [region for region in table if region.start not in (gone.start, cut.start)]
            assert present.all == left
        one = table.find(kept.start)
        assert one is not None
        assert one.kind is K.ANON
