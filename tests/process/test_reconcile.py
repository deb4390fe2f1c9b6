"""Totals against each other: what differs is explained by what really caused it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import AccessDenied, MiB, Process, ProcessError, Reconciliation, doctor, processes
from procmem.process import reconcile as module
from procmem.process.reading import read_maps, read_rollup, read_smaps
from procmem.procfs import ProcessFiles, probes
from tests.support.still import at_rest
from tests.support.targets import PAGE, Advice, Mapping, Target, machine, needs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from procmem import Comparison

    Start = Callable[..., Target]


def found(result: Reconciliation, left: str, right: str = "") -> Comparison:
    (one,) = [c for c in result.comparisons if c.left == left and right in c.right]
    return one


def undisturbed(target: Target) -> Reconciliation:
    """The totals of a target, read while nobody began or ceased to share its pages."""
    process = Process(target.pid)
    return at_rest(process, process.reconcile, "Rss", "Pss")


def feature(name: str) -> bool:
    return next(each.found for each in doctor() if each.name == name)


def assert_explained(result: Reconciliation) -> None:
    assert result.explained, result.unexplained
    assert not result.unexplained
    for comparison in result.comparisons:
        assert comparison.difference == comparison.left_value - comparison.right_value
        assert bool(comparison.why) == bool(comparison.difference)
        assert comparison.why != "unexplained"


def test_every_total_is_compared_with_every_other(target: Target) -> None:
    target.touch(target.map(100), 50)
    result = Process(target.pid).reconcile()
    assert_explained(result)
    assert result.pid == target.pid
    assert not result.unavailable
    sides = " ".join(c.left + " " + c.right for c in result.comparisons)
    for source in ("maps", "smaps", "rollup", "status", "statm", "stat)", "residency", "pagemap"):
        assert source in sides
    for total in ("VmSize", "VmRSS", "RssAnon", "VmSwap", "VmLck", "HugetlbPages", "Pss", "Size"):
        assert total in sides
    assert result.maps is not None
    assert result.maps.total("size") == found(result, "Σ maps").left_value
    assert result.memory.vsz == found(result, "Σ maps").right_value


def test_vsyscall_is_a_region_outside_of_vm_size(target: Target) -> None:
    result = Process(target.pid).reconcile()
    assert result.maps is not None
    if result.maps[-1].pathname != "[vsyscall]":
        pytest.skip("kernel feature missing: [vsyscall]")
    comparison = found(result, "Σ maps")
    assert comparison.difference == result.maps[-1].size
    assert comparison.cause == "gate"
    assert "[vsyscall]" in comparison.why


def test_exact_totals_are_equal(target: Target) -> None:
    if not feature("exact VmRSS"):
        pytest.skip("kernel feature missing: exact VmRSS")
    target.touch(target.map(321))
    target.touch(target.map(77, "rw-s"))
    result = undisturbed(target)
    for left in (
        "resident (statm)",
        "size (statm)",
        "vsize (stat)",
        "RssAnon + RssFile + RssShmem",
        "VmRSS (status)",
        "RssAnon (status)",
        "Σ smaps Rss",
        "Σ smaps Size",
        "Σ smaps Shared_* + Private_*",
    ):
        assert found(result, left).difference == 0, left


def test_the_quick_counter_of_stat(target: Target) -> None:
    process = Process(target.pid)
    seen = set()
    # A page at a time stays below a batch, so the quick counter falls behind sooner or later.
    for _ in range(200):
        target.touch(target.map(1))
        result = process.reconcile()
        assert_explained(result)
        comparison = found(result, "rss (stat)")
        seen.add(comparison.cause)
        if "approximate stat" in seen:
            assert comparison.difference % PAGE == 0
            return
    pytest.skip("kernel feature missing: an approximate rss in stat")


def test_pss_is_cut_where_pages_are_shared_by_three(target: Target) -> None:
    mappings = [target.map(1) for _ in range(9)]
    for mapping in mappings:
        target.touch(mapping)
    with target.fork(), target.fork():
        result = undisturbed(target)
        assert_explained(result)
        comparison = found(result, "Σ smaps Pss")
        # A third of a page is 1,365 bytes and a bit: each region loses a third of a KiB.
        assert comparison.cause == "truncated pss"
        assert -1024 * len(result.maps or ()) < comparison.difference <= -9 * 341


def test_locked_memory_that_is_not_resident(target: Target) -> None:
    mapping = target.map(20)
    with needs("mlock2"):
        target.lock(mapping, on_fault=True)
    target.touch(mapping, 3)
    result = Process(target.pid).reconcile()
    assert_explained(result)
    comparison = found(result, "Σ smaps Locked", "VmLck")
    assert comparison.right_value == 20 * PAGE
    assert comparison.left_value == 3 * PAGE
    assert comparison.cause == "locked"


def test_hugetlb_stands_apart(target: Target) -> None:
    with machine.hugepages(2) as setting:
        setting.or_skip()
        target.touch(target.map_huge(2 * MiB).page(0))
        result = undisturbed(target)
        assert_explained(result)
        comparison = found(result, "Σ smaps *_Hugetlb")
        assert comparison.left_value == comparison.right_value == 2 * MiB
        walked = found(result, "Σ residency (pagemap)")
        if feature("PAGEMAP_SCAN"):
            assert walked.difference == 0
        else:
            assert (walked.difference, "hugetlbfs" in walked.why) == (2 * MiB, True)
        target.close()


def test_swapped_shared_memory_is_not_in_vm_swap(target: Target) -> None:
    with machine.swap() as setting:
        setting.or_skip()
        private, shared = target.map(32), target.map(32, "rw-s")
        for mapping in (private, shared):
            target.touch(mapping)
            with needs("MADV_PAGEOUT"):
                target.madvise(mapping, Advice.PAGEOUT)
        process = Process(target.pid)
        out = process.smaps().find(shared.start)
        assert out is not None
        result = process.reconcile()
        assert_explained(result)
        if not out.swap:
            pytest.skip("no shared memory could be swapped out")
        comparison = found(result, "Σ smaps Swap", "VmSwap")
        assert comparison.cause == "shared swap"
        assert comparison.difference == out.swap
        target.close()


def test_a_target_that_moves_all_the_time(target: Target) -> None:
    mapping = target.map(2000)
    worker = target.churn(mapping)
    process = Process(target.pid)
    moved: list[Comparison] = []
    deadline = time.monotonic() + 300
    # It may have been off its CPU between all the readings of one call.
    while not moved:
        result = process.reconcile()
        assert_explained(result)
        moved = [c for c in result.comparisons if c.cause == "moved"]
        assert result.moved or not moved
        assert time.monotonic() < deadline
    assert "changed its memory" in moved[0].why
    target.stop(worker)
    assert not process.reconcile().moved


def test_a_target_that_is_elsewhere_whenever_its_totals_are_read(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same before and after each reading, but not in between, nor from one to the next.
    maps, smaps = read_maps, read_smaps
    place = target.map(1, at="slot").start
    target.unmap(Mapping(place, PAGE))
    pages = iter(range(3, 100))

    def without(read: Callable[[ProcessFiles], object], count: int) -> object:
        mapping = target.map(count, at=place)
        try:
            return read(ProcessFiles(target.pid))
        finally:
            target.unmap(mapping)

    count = 0

    def maps_then(_: ProcessFiles) -> object:
        nonlocal count
        count = next(pages)
        return without(maps, count)

    monkeypatch.setattr(module, "read_maps", maps_then)
    monkeypatch.setattr(module, "read_smaps", lambda _: without(smaps, count))
    result = Process(target.pid).reconcile()
    assert result.moved
    assert_explained(result)
    assert found(result, "Σ maps").cause == "moved"


def test_a_target_in_a_storm(target: Target) -> None:
    storm = target.storm()
    process = Process(target.pid)
    for _ in range(5):
        assert_explained(process.reconcile())
    target.stop(storm)


def test_pages_that_others_begin_to_share_meanwhile(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = target.map(30)
    target.touch(mapping)
    children = []
    rollup = read_rollup

    def fork_first(files: ProcessFiles) -> procmem.Counters:
        children.append(target.fork())
        return rollup(files)

    monkeypatch.setattr(module, "read_rollup", fork_first)
    result = Process(target.pid).reconcile()
    for child in children:
        child.close()
    assert_explained(result)
    # The first fork makes what was private shared; later ones only change the shares.
    assert {c.cause for c in result.comparisons} & {"sharing", "moved"}


def test_without_pagemap_scan(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "has_pagemap_scan", lambda: False)
    monkeypatch.setattr(module, "has_pagemap_scan", lambda: False)
    mapping = target.map(50)
    target.madvise(mapping, Advice.NOHUGEPAGE)
    target.read(mapping)
    result = undisturbed(target)
    assert_explained(result)
    comparison = found(result, "Σ residency (pagemap)")
    assert comparison.cause == "zero page"
    assert comparison.difference >= 50 * PAGE


def test_a_process_that_may_not_be_read_is_compared_as_far_as_it_goes(target: Target) -> None:
    code = """
import sys, procmem
result = procmem.Process(int(sys.argv[1])).reconcile()
assert set(result.unavailable) == {"maps", "smaps", "smaps_rollup", "pagemap"}, result.unavailable
assert result.explained, result.unexplained
assert len(result.comparisons) >= 4
assert result.maps is None
assert result.memory.vsz
"""
    done = machine.as_nobody(code, target.pid)
    assert done.returncode == 0, done.stderr


# ---- what has no cause is not explained away ----


@pytest.fixture
def tree(target: Target, tmp_path: Path) -> Path:
    place = tmp_path / str(target.pid)
    place.mkdir()
    target.touch(target.map(64))
    # Saved until nobody has begun or ceased to share a page in between, nor has one been dropped.
    for _ in range(200):
        for name in ("stat", "statm", "status", "maps", "smaps", "smaps_rollup"):
            with open(f"/proc/{target.pid}/{name}", "rb", buffering=0) as file:
                data = b"".join(iter(lambda: file.read(65536), b""))
            (place / name).write_bytes(data)
        result = Process(target.pid, root=tmp_path).reconcile()
        if result.explained and not {c.cause for c in result.comparisons} & {"sharing"}:
            break
    return place


def doctored(tree: Path, name: str, old: str, add: int) -> list[tuple[str, str]]:
    """The unexplained comparisons once a number behind `old` in a saved file is larger."""
    text = (tree / name).read_text()
    head, found_, rest = text.partition(old) if old else ("", "", text)
    assert found_ == old
    digits = rest.lstrip(" \t").split(maxsplit=1)[0]
    rest = rest.replace(digits, str(int(digits) + add), 1)
    (tree / name).write_text(head + found_ + rest)
    result = Process(int(tree.name), root=tree.parent).reconcile()
    assert not result.explained
    assert "unexplained" in repr(result)
    for comparison in result.unexplained:
        assert comparison.difference
        assert comparison.cause is None
        assert comparison.why == "unexplained"
    return [(c.left, c.right) for c in result.unexplained]


def test_a_saved_process_is_explained_before_it_is_doctored(tree: Path) -> None:
    result = Process(int(tree.name), root=tree.parent).reconcile()
    assert_explained(result)
    assert set(result.unavailable) == {"pagemap"}


@pytest.mark.parametrize(
    "name, old, add, expected",
    [
        ("status", "VmSize:", 8, ("Σ maps", "VmSize (status)")),
        ("status", "VmSize:", -4, ("size (statm)", "VmSize (status)")),
        ("status", "VmRSS:", 4, ("RssAnon + RssFile + RssShmem", "VmRSS (status)")),
        ("status", "VmSwap:", 4, ("Σ smaps Swap", "VmSwap (status)")),
        ("status", "HugetlbPages:", 2048, ("Σ smaps *_Hugetlb", "HugetlbPages (status)")),
        ("statm", "", 1, ("size (statm)", "VmSize (status)")),
        ("smaps", "Size:", 4, ("Σ smaps Size", "Σ maps")),
        ("smaps", "\nRss:", 4, ("Σ smaps Rss", "Rss (smaps_rollup)")),
        ("smaps", "\nSwap:", 4, ("Σ smaps Swap", "Swap (smaps_rollup)")),
        ("smaps", "\nPrivate_Dirty:", 4, ("Σ smaps Shared_* + Private_*", "Σ smaps Rss")),
        ("smaps", "\nPss:", 8192, ("Σ smaps Pss", "Pss (smaps_rollup)")),
        ("smaps_rollup", "\nPss:", 8192, ("Pss_Anon + Pss_File + Pss_Shmem", "Pss (smaps_rollup)")),
        (
            "smaps_rollup",
            "\nShared_Clean:",
            4,
            ("Σ smaps Shared_Clean", "Shared_Clean (smaps_rollup)"),
        ),
        ("smaps_rollup", "\nRss:", 1 << 20, ("VmRSS (status)", "Rss (smaps_rollup)")),
    ],
)
def test_a_difference_without_a_cause_is_unexplained(
    tree: Path, name: str, old: str, add: int, expected: tuple[str, str]
) -> None:
    assert expected in doctored(tree, name, old, add)


def test_a_lag_explains_no_more_than_its_bound(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "counters_lag", lambda: True)
    found_ = doctored(tree, "smaps_rollup", "\nRss:", 1 << 20)
    assert ("VmRSS (status)", "Rss (smaps_rollup)") in found_


def test_a_stat_that_is_further_off_than_any_batch(tree: Path) -> None:
    stat = (tree / "stat").read_text()
    head, bracket, rest = stat.rpartition(")")
    fields = rest.split()
    fields[21] = str(int(fields[21]) + (1 << 24))
    (tree / "stat").write_text(head + bracket + " " + " ".join(fields))
    result = Process(int(tree.name), root=tree.parent).reconcile()
    assert [c.left for c in result.unexplained] == ["rss (stat)"]


def test_a_region_that_is_missing_is_noticed(tree: Path) -> None:
    lines = (tree / "maps").read_bytes().split(b"\n")
    (tree / "maps").write_bytes(b"\n".join(lines[:3] + lines[4:]))
    result = Process(int(tree.name), root=tree.parent).reconcile()
    left = [c.left for c in result.comparisons if c.difference and c.cause != "truncated pss"]
    assert "Σ maps" in left
    assert "Σ smaps Size" in left


# ---- its form ----


def test_as_plain_values(target: Target) -> None:
    result = Process(target.pid).reconcile()
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["pid"] == target.pid
    assert plain["explained"] is True
    assert len(plain["comparisons"]) == len(result.comparisons)
    assert plain["memory"]["vsz"] == result.memory.vsz
    for row, comparison in zip(plain["comparisons"], result.comparisons, strict=True):
        assert row["difference"] == comparison.difference
        assert row["why"] == comparison.why
    assert set(module.CAUSES) >= {c.cause for c in result.comparisons if c.cause}


def test_nothing_is_unexplained_on_this_machine() -> None:
    read = denied = 0
    for process in processes():
        try:
            result = process.reconcile()
        except AccessDenied:
            denied += 1
        except ProcessError:
            continue
        else:
            assert_explained(result)
            read += 1
    assert read


def test_this_very_process_is_explained() -> None:
    code = """
import procmem
for _ in range(5):
    data = bytearray(3 << 20)
    result = procmem.Process().reconcile()
    assert result.explained, result.unexplained
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
