"""The sums that the kernel keeps for a process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import (
    KiB,
    Process,
    doctor,
)
from tests.support.still import pin_files
from tests.support.targets import PAGE, Advice, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    Start = Callable[..., Target]


def feature(name: str) -> bool:
    return next(each.found for each in doctor() if each.name == name)


@pytest.fixture
def process(target: Target) -> Process:
    return Process(target.pid)


def test_totals_move_by_what_was_done(target: Target, process: Process) -> None:
    if not feature("exact VmRSS"):
        pytest.skip("kernel feature missing: exact VmRSS")
    pin_files(process, target)
    # The code that is run below is in memory now.
    warm = target.map(4)
    target.madvise(warm, Advice.NOHUGEPAGE)
    target.touch(warm)
    target.lock(warm)
    target.unlock(warm)
    before = process.memory()
    mapping = target.map(300)
    target.madvise(mapping, Advice.NOHUGEPAGE)
    target.touch(mapping, 100)
    target.lock(mapping.page(0, 50))
    after = process.memory()
    assert before.vsz is not None
    assert after.vsz == before.vsz + 300 * PAGE
    assert after.rss == (before.rss or 0) + 100 * PAGE
    assert after.rss_anon == (before.rss_anon or 0) + 100 * PAGE
    assert after.rss_file == before.rss_file
    assert after.rss_shmem == before.rss_shmem
    assert after.locked == (before.locked or 0) + 50 * PAGE
    assert after.swap == 0
    shared = target.map(20, "rw-s")
    target.touch(shared)
    assert process.memory().rss_shmem == (before.rss_shmem or 0) + 20 * PAGE


def test_memory_is_what_status_says(target: Target, process: Process) -> None:
    usage = process.memory()
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{target.pid}/status").read_text().splitlines()
    )
    told = {
        "vsz": "VmSize",
        "rss": "VmRSS",
        "rss_anon": "RssAnon",
        "rss_file": "RssFile",
        "rss_shmem": "RssShmem",
        "swap": "VmSwap",
        "page_tables": "VmPTE",
        "locked": "VmLck",
        "pinned": "VmPin",
        "peak_vsz": "VmPeak",
        "peak_rss": "VmHWM",
        "data": "VmData",
        "stack": "VmStk",
        "text": "VmExe",
        "libraries": "VmLib",
        "hugetlb": "HugetlbPages",
    }
    assert set(told) == set(usage._fields)
    for name, line in told.items():
        expected = int(status[line].split()[0]) * KiB if line in status else None
        assert getattr(usage, name) == expected, name


def test_faults_count_what_was_touched(target: Target, process: Process) -> None:
    pin_files(process, target)
    warm = target.map(4)
    target.touch(warm)
    mapping = target.map(200)
    target.madvise(mapping, Advice.NOHUGEPAGE)
    before = process.faults()
    target.touch(mapping, 150)
    after = process.faults()
    assert (after.minor - before.minor, after.major - before.major) == (150, 0)
