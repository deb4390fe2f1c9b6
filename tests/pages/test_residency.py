"""Resident and swapped bytes of regions, from the page table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from procmem import Process
from procmem.process import reading
from procmem.procfs import probes
from procmem.regions import read as live

if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem.procfs import ProcessFiles
    from tests.support.targets import Target

    Start = Callable[..., Target]


def needs_scan() -> None:
    if not probes.has_pagemap_scan():
        pytest.skip("kernel feature missing: PAGEMAP_SCAN, which finds memory outside all regions")


def test_a_residency_that_does_not_fit_its_regions_is_read_again(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_scan()
    process = Process(target.pid)
    add = reading.add_residency
    calls: list[bool] = []

    def map_meanwhile(files: ProcessFiles, *arguments: Any) -> bool:
        if not calls:
            target.touch(target.map(3))
        calls.append(add(files, *arguments))
        return calls[-1]

    monkeypatch.setattr(reading, "add_residency", map_meanwhile)
    table = process.residency()
    assert calls == [False, True]
    assert table.consistent
    # Pages of files may be dropped before smaps is read.
    anonymous = [(region.start, region.rss) for region in table if not region.inode]
    assert anonymous == [(one.start, one.rss) for one in process.smaps() if not one.inode]


def test_a_residency_that_never_fits_says_so(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_scan()
    process = Process(target.pid)
    add = reading.add_residency
    calls: list[bool] = []

    def map_meanwhile(files: ProcessFiles, *arguments: Any) -> bool:
        target.touch(target.map(1))
        calls.append(add(files, *arguments))
        return calls[-1]

    monkeypatch.setattr(reading, "add_residency", map_meanwhile)
    table = process.residency()
    assert calls == [False] * live.ATTEMPTS
    assert not table.consistent
    assert table.ordered
