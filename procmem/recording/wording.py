"""Sentences about suspected leaks, which tables and reports share. Names in them are escaped."""

from __future__ import annotations

from procmem.names import escaped
from procmem.units import about, count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.recording.heaps import HeapGrowth
    from procmem.recording.suspects import Suspect, SuspectPlace

__all__ = ["place_words", "suspect_words"]


def suspect_words(one: Suspect) -> str:
    """What grew, since when and how fast, and what it may be."""
    when = "during the whole recording" if one.whole else f"from {one.since:.1f} s to the end"
    if one.figure == "size" and one.kind == "file":
        may = "files that stay mapped"
    elif one.figure == "size":
        may = "addresses that are reserved but not used yet"
    else:
        may = "a leak, or something that was not full yet"
    verdict = f"It looks like {may}" if one.heap is None else heap_words(one.heap)
    return (
        f"{escaped(one.name)} ({one.kind}) grew {when}: {about(one.gained)} in"
        f" {one.gained / one.rate:.1f} s, {about(round(one.rate))} a second"
        f"{', in size only' if one.figure == 'size' else ''}. {verdict}."
    )


def place_words(one: Suspect) -> list[str]:
    """The addresses at which it gained most, each with its share and the threads that allocate."""
    whole = one.elsewhere + sum(place.gained for place in one.places)
    found = []
    for place in one.places:
        share = f"  {100 * place.gained / whole:.0f} % of it" if place.gained < whole else ""
        users = f", {used_by(place)}" if place.threads else ""
        found.append(f"at {place.start:012x}-{place.end:012x}{share}{users}")
    if one.elsewhere:
        found.append(f"{100 * one.elsewhere / whole:.0f} % of it at other addresses")
    return found


def heap_words(heap: HeapGrowth) -> str:
    """What the allocator gained, live or free, and what that means."""
    where = "Python's allocator" if heap.allocator == "Python" else "malloc"
    when = f"from {heap.since:.1f} to {heap.until:.1f} s"
    live = f"{where} has {about(heap.in_use)} more in use"
    free = f"{about(heap.resident_free)} more free in memory"
    would = f"malloc_trim(0) would return {about(heap.trimmable_now)}"
    if heap.verdict == "live":
        words = f"It is live: {live} ({when}). A leak, or something that was not full yet"
    elif heap.verdict == "kept":
        words = f"It is not live: {where} has {free} ({when}), freed and not returned; {would}"
    elif heap.verdict == "fragmented":
        words = f"It is fragmentation: {where} has {free} ({when}), in holes between what is in use"
        words += "" if heap.allocator == "Python" else f"; {would}"
    else:
        words = f"It is both live and free: {live} and {free} ({when})"
    return words if heap.certain else f"{words} (not certain: the heap changed while it was read)"


def used_by(place: SuspectPlace) -> str:
    """The threads that allocate from this arena."""
    tid, name = place.threads[0]
    first = f"the arena of thread {tid} ({escaped(name)})"
    others = len(place.threads) - 1
    return first if not others else f"{first} and {count(others, 'other thread')}"
