"""procmem threads: the sentence, the rows, what is not known, the same figures as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from procmem import AlternateStack, LiveStack, RegionGroup, Stacks
from procmem.view.threads import stacks_text
from tests.support.deep import Deep, built_stacks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.commands import Run

MIB = 1 << 20


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Deep]:
    with Deep(built_stacks(str(tmp_path)), "plain", 20, 30) as started:
        started.stacks()
        yield started


def made(*stacks: LiveStack, groups: tuple[RegionGroup, ...] = ()) -> Stacks:
    return Stacks(stacks, pid=4700, regions=61204, max_regions=65530, groups=groups)


WORKER = LiveStack(
    4711, "worker-7", "S", 0x10000000, 0x10800000, touched=2202010, in_use=4096, limit=8 * MIB,
    limited_by="its reserved size", guard=4096,
)  # fmt: skip


def test_the_sentence_that_an_engineer_needs() -> None:
    groups = (RegionGroup("thread stacks and their guards", 24482, guess=False),)
    others = [WORKER._replace(tid=4711 + n, touched=100 << 10) for n in range(1, 412)]
    text = stacks_text(made(WORKER, *others, groups=groups), top=1)
    assert text.splitlines()[0] == (
        "412 threads reserve 3.2 GiB of stacks and have touched 42.2 MiB; the deepest, worker-7 "
        "(4711), used 2.1 of 8 MiB. 61,204 of 65,530 regions (vm.max_map_count): 40 % are thread "
        "stacks and their guards; without a free one mmap, mprotect and new threads fail with "
        "ENOMEM."
    )
    assert "411 other threads are not listed (--top)." in text


def test_what_is_not_known_is_said() -> None:
    on_signal = WORKER._replace(
        tid=2, in_use=None, alternate=AlternateStack(0x1000, 65536, 100),
        elsewhere="an alternate signal stack",
    )  # fmt: skip
    text = stacks_text(
        made(
            WORKER._replace(tid=1, state="R", in_use=None),
            on_signal,
            LiveStack(3, "go", "S", elsewhere="Go heap"),
            WORKER._replace(tid=4, guess=True),
            WORKER._replace(tid=5, huge=True),
            WORKER._replace(tid=6, guard_marks=True),
        )
    )
    assert text.startswith("5 of 6 threads reserve 40 MiB? of stacks")
    assert "the stack of 1 is not known" in text
    assert "1 thread in state R" in text
    assert "an alternate signal stack (1), Go heap (1)" in text
    assert "the bounds of a region, not proved by a thread descriptor" in text
    assert "The lowest page of 1 stack is part of a huge page" in text
    assert "guard marks in the page table" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line[:1].isspace()}
    assert rows["4"][3:5] == ["8192?", "2150?"]
    assert rows["3"][3:9] == ["-"] * 6
    assert rows["6"][8] == "4*"
    alone = stacks_text(made(LiveStack(3, "go", "S", elsewhere="Go heap")))
    assert alone.startswith("1 thread; where its stack is is not known.")


def test_the_deepest_come_first_or_as_asked(run: Run, target: Deep) -> None:
    def order(*options: object) -> list[int]:
        ran = run("threads", *options, target.pid)
        assert ran.status == 0
        first = [line.split()[0] for line in ran.out.splitlines() if line.split()]
        return [int(word) for word in first if word.isdigit() and int(word) in target.truths]

    found = json.loads(run("threads", "--json", target.pid).out)
    assert len(found) == 1
    stacks = found[0]["stacks"]
    deepest = sorted(stacks, key=lambda one: (-one["touched"], one["tid"]))
    assert order() == [one["tid"] for one in deepest]
    assert order("--sort", "tid") == sorted(target.truths)
    assert order("--top", 1) == [deepest[0]["tid"]]
    assert found[0]["reserved"] == sum(one["reserved"] for one in stacks)
    assert {one["tid"] for one in stacks} == set(target.truths)


def test_it_fits_eighty_columns(run: Run, target: Deep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("procmem.cli.threads.table_columns", lambda: 80)
    ran = run("threads", target.pid)
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "deep-30" in ran.out


def test_bad_usage(run: Run, target: Deep) -> None:
    assert run("threads", "--top", 0, target.pid).status == 2
    assert run("threads", "--top", 2, "--json", target.pid).status == 2
    assert run("threads", "--columns", "none", target.pid).status == 2
    assert run("threads", "--sort", "none", target.pid).status == 2
    gone = run("threads", 4194304)
    assert (gone.status, gone.out) == (1, "")
    assert len(gone.err.splitlines()) == 1
