"""Sentences about suspected leaks."""

from __future__ import annotations

from procmem.recording.growth import Growth
from procmem.recording.heaps import HeapGrowth
from procmem.recording.suspects import Suspect, SuspectPlace
from procmem.recording.wording import place_words, suspect_words

MIB = 1 << 20


def test_what_grew_since_when_and_what_it_may_be() -> None:
    one = Suspect(
        "a\nb", "anon", Growth(0.0, 1.0, 10, 10), 1, "resident", 2.0, False, 10 * MIB, MIB
    )
    assert suspect_words(one) == (
        "a\\nb (anon) grew from 2.0 s to the end: 10 MiB in 10.0 s, 1 MiB a second. "
        "It looks like a leak, or something that was not full yet."
    )
    assert "in size only. It looks like addresses that are reserved" in suspect_words(
        one._replace(figure="size")
    )
    heap = HeapGrowth("kept", "malloc", 0.0, 9.0, 10 * MIB, 0, 9 * MIB, 8 * MIB, 8 * MIB, False)
    said = suspect_words(one._replace(heap=heap))
    assert "It is not live: malloc has 9 MiB more free in memory" in said
    assert "not certain" in said


def test_places_with_their_share_and_threads() -> None:
    places = (SuspectPlace(0x1000, 0x2000, 3 * MIB, ((7, "a\x1b"), (8, "b"))),)
    one = Suspect(
        "x",
        "arena",
        Growth(0.0, 1.0, 10, 10),
        1,
        "resident",
        gained=4 * MIB,
        rate=MIB,
        places=places,
        elsewhere=MIB,
    )
    where = "at 000000001000-000000002000  75 % of it, the arena of thread 7 (a\\x1b) and 1 other"
    assert place_words(one) == [f"{where} thread", "25 % of it at other addresses"]
