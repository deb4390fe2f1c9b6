"""PAGEMAP_SCAN: ranges of pages by their categories."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.pages import scan
from procmem.procfs import probes
from tests.support.targets import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.targets import Target

    Start = Callable[..., Target]


needs_scan = pytest.mark.skipif(
    not probes.has_pagemap_scan(), reason="kernel feature missing: PAGEMAP_SCAN"
)


@needs_scan
def test_the_end_of_user_space() -> None:
    scan.user_limit.cache_clear()
    limit = scan.user_limit()
    assert limit % PAGE == 0
    assert limit > max(region.end for region in procmem.Process().maps() if region.end < 1 << 63)
    if os.uname().machine == "x86_64":
        assert limit in ((1 << 47) - PAGE, (1 << 56) - PAGE)


def test_a_kernel_that_knows_no_guards(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_knows_guards", False)
    mapping = target.map(4)
    target.touch(mapping, 2)
    fd = os.open(f"/proc/{target.pid}/pagemap", os.O_RDONLY)
    try:
        found = scan.scan_ranges(fd, mapping.start, mapping.end, scan.IS_PRESENT | scan.IS_GUARD)
    finally:
        os.close(fd)
    assert found is None or found == [(mapping.start, mapping.page(2).start, scan.IS_PRESENT)]
