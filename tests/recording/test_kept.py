"""Snapshots kept in bounded memory."""

from __future__ import annotations

import pytest

from procmem.recording.kept import KeptSnapshots
from tests.support.screens import made_recording


def test_what_is_kept_is_what_was_added() -> None:
    recording = made_recording(5, 4)
    kept = KeptSnapshots()
    assert [kept.add(snapshot) for snapshot in recording] == [0, 1, 2, 3]
    assert (kept.first, kept.end) == (0, 4)
    for number, snapshot in enumerate(recording):
        found = kept.snapshot(number)
        assert list(found.regions) == list(snapshot.regions)
        assert (found.rss, found.vsz, found.clock) == (snapshot.rss, snapshot.vsz, snapshot.clock)
    first, figures = kept.figures()
    assert first == 0
    assert [one.rss for one in figures] == recording.values("rss")


def test_the_oldest_are_dropped() -> None:
    recording = made_recording(50, 20)
    whole = KeptSnapshots()
    for snapshot in recording:
        whole.add(snapshot)
    kept = KeptSnapshots(whole.size // 4)
    for number, snapshot in enumerate(recording):
        assert kept.add(snapshot) == number
        assert kept.size <= whole.size // 4
    assert 0 < kept.first < kept.end == 20
    assert kept.snapshot(kept.first).rss == recording[kept.first].rss
    for number in (kept.first - 1, 20, -1):
        with pytest.raises(IndexError):
            kept.snapshot(number)
    assert kept.figures()[0] == kept.first


def test_the_last_is_kept_however_large_it_is() -> None:
    kept = KeptSnapshots(1)
    for snapshot in made_recording(5, 3):
        kept.add(snapshot)
    assert (kept.first, kept.end) == (2, 3)
    assert kept.snapshot(2).rss is not None
