"""Sums: one sentence for each cause, however many regions it concerns."""

from __future__ import annotations

from procmem import Cause
from procmem.snapshots.sums import listed
from tests.support.snapshots import anon, of_file, table


def test_regions_with_one_cause_are_one_sentence_with_their_sum() -> None:
    after = table(*(anon(10 * i, 4, rss=i + 1) for i in range(3)))
    found = after - table(*(anon(10 * i, 4) for i in range(3)))
    (one,) = found.causes
    assert one.cause is Cause.FIRST_TOUCH
    assert (one.vsz, one.rss, len(one.changes)) == (0, 6 * 4096, 3)
    assert one.words.startswith("24 KiB touched for the first time in 3 regions (6 pages)")
    assert isinstance(one.evidence, tuple)


def test_the_largest_comes_first_and_its_evidence_is_the_changes() -> None:
    one = table(anon(0, 4), of_file(90, 1))
    found = table(anon(0, 4, rss=2), anon(50, 30)) - one
    assert [each.cause for each in found.causes] == [
        Cause.MEMORY_MAPPED,
        Cause.FIRST_TOUCH,
        Cause.FILE_UNMAPPED,
    ]
    for each in found.causes:
        (change,) = each.changes
        assert each.evidence == change.evidence


def test_what_a_region_adds_to_two_causes_is_counted_once_in_each() -> None:
    one = table(anon(0, 9, rss=4, Swap=0))
    found = table(anon(0, 9, rss=6, Swap=4096)) - one
    sums = {each.cause: each for each in found.causes}
    assert set(sums) == {Cause.FIRST_TOUCH, Cause.SWAPPED_OUT}
    assert sum(each.rss or 0 for each in sums.values()) == found.changes[0].rss == 2 * 4096


def test_a_list_of_names() -> None:
    assert listed([]) == ""
    assert listed(["a", "b", "c", "d"]) == "a, b, c, d"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
