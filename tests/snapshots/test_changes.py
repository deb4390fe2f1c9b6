"""What happened to each region, of snapshots made by hand."""

from __future__ import annotations

import os
from typing import Any

import pytest

import procmem
from procmem import ChangeKind, Faults, Process, Snapshot, diff
from procmem.experiments import Specimen
from tests.support.snapshots import accounts, anon, kinds, mirrored, of_file, table

K = ChangeKind
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "before, after, expected",
    [
        ([], [anon(0, 1)], [["mapped"]]),
        ([anon(0, 1, rss=1)], [], [["unmapped", "dropped"]]),
        ([anon(0, 1)], [anon(0, 3, rss=2)], [["grown", "touched"]]),
        ([anon(1, 1)], [anon(0, 3)], [["grown"]]),
        (
            [anon(0, 9, rss=9)],
            [anon(0, 3, rss=3), anon(5, 4, rss=4)],
            [["shrunk", "split", "dropped"]],
        ),
        ([anon(0, 3), anon(5, 4)], [anon(0, 9)], [["grown", "merged"]]),
        ([anon(0, 9)], [anon(0, 3), anon(3, 6, "r--p")], [["split", "protected"]]),
        ([anon(0, 3), anon(3, 3, "---p")], [anon(0, 4), anon(4, 2, "---p")], [["protected"]]),
        ([anon(0, 4, rss=4, Swap=0)], [anon(0, 4, rss=1, Swap=3 * 4096)], [["swapped"]]),
        (
            [anon(0, 4, rss=4, Swap=0)],
            [anon(0, 4, rss=1, Swap=4096)],
            [["dropped", "swapped"]],
        ),
        ([anon(0, 4, rss=3)], [anon(70, 4, rss=3)], [["moved"]]),
        ([anon(0, 4)], [anon(70, 4)], [["moved"]]),
        ([anon(0, 4)], [anon(70, 4, "r--p")], [["unmapped"], ["mapped"]]),
        ([anon(0, 4)], [anon(70, 4), anon(90, 5)], [["unmapped"], ["mapped"], ["mapped"]]),
        ([anon(0, 4)], [anon(70, 4, rss=1)], [["unmapped"], ["mapped", "touched"]]),
        (
            [anon(0, 4, rss=3), anon(9, 4, rss=3)],
            [anon(70, 4, rss=3)],
            [["unmapped", "dropped"]] * 2 + [["mapped", "touched"]],
        ),
        ([of_file(0, 4)], [of_file(70, 4)], [["moved"]]),
        ([of_file(0, 4)], [of_file(0, 4, 1)], [["unmapped"], ["mapped"]]),
        ([of_file(0, 4)], [of_file(0, 4, pathname="/new")], [["renamed"]]),
        ([of_file(0, 4)], [of_file(0, 4, deleted=True)], [["renamed"]]),
        ([of_file(0, 4)], [anon(0, 4)], [["unmapped"], ["mapped"]]),
        ([anon(0, 4)], [anon(0, 4, pathname="[anon:pool]")], [["renamed"]]),
        ([anon(0, 4, vm_flags="rd wr sd")], [anon(0, 4, vm_flags="rd wr lo")], [["advised"]]),
        ([anon(0, 4, vm_flags="rd wr sd")], [anon(0, 4, vm_flags="rd wr")], []),
        (
            [of_file(0, 4, rss=4, Anonymous=0)],
            [of_file(0, 4, rss=4, Anonymous=8192)],
            [["copied"]],
        ),
    ],
)
def test_kinds(before: Any, after: Any, expected: Any) -> None:
    one, other = table(*before), table(*after)
    found = diff(one, other)
    assert kinds(found) == expected
    accounts(found)
    mirrored(found, diff(other, one))
    assert not found.remainder


def test_ten_mappings_that_become_one_region() -> None:
    one = table(anon(0, 3, rss=1))
    other = table(anon(0, 3 + 10 * 65, rss=11))
    found = other - one
    assert kinds(found) == [["grown", "touched"]]
    assert found.changes[0].vsz == 10 * 65 * 4096
    assert found.changes[0].rss == 10 * 4096
    assert not found.remainder


def test_thousands_of_regions_that_hang_together() -> None:
    """Every boundary is at another address, so that all are one group: no work for each pair."""
    both = ["rw-p", "r--p"]
    one = table(*(anon(2 * i, 2, both[i % 2], rss=1) for i in range(8000)))
    other = table(*(anon(2 * i + 1, 2, both[i % 2], rss=1) for i in range(8000)))
    found = other - one
    assert kinds(found) == [["grown", "shrunk", "protected"]]
    assert (found.changes[0].gained, found.changes[0].lost) != ((), ())
    accounts(found)
    mirrored(found, one - other)


def test_what_was_not_read_is_none() -> None:
    one = table(anon(0, 3, rss=1, Anonymous=4096))
    plain = Snapshot(procmem.parse_maps(b""), faults=Faults(0, 0), identity=one.identity)
    (change,) = (one - plain).changes
    assert (change.rss, change.swap, change.copied, change.minor) == (None, None, None, None)
    with Specimen() as s:
        process = Process(s.pid)
        before = process.snapshot("maps")
        s.mmap(pages=4)
        (change,) = (process.snapshot("maps") - before).changes
    assert (change.vsz, change.rss, change.minor) == (4 * PAGE, None, None)


def test_details_may_differ() -> None:
    with Specimen() as s:
        process = Process(s.pid)
        before = process.snapshot("maps")
        s.mmap(pages=4)
        found = process.snapshot("smaps") - before
        assert kinds(found) == [["mapped"]]
        assert kinds(before - process.snapshot("smaps")) == [["unmapped"]]
