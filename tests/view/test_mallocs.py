"""Calls of malloc functions: which of them made system calls, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem import MemoryCall, Trace, trace
from procmem.view.mallocs import Mallocs, size_of
from tests.support.traced import build, seen

if TYPE_CHECKING:
    from pathlib import Path

SIZES = """#include <stdlib.h>
int main(void) {
    char *volatile small[8], *volatile large;
    for (int i = 0; i < 8; i++) small[i] = malloc(1000);
    large = malloc(1 << 20);
    free(large);
    for (int i = 0; i < 7; i++) free(small[i]);
    return 0;
}
"""


def counted(made: Path) -> tuple[Mallocs, Trace]:
    found = Mallocs()
    held: list[MemoryCall] = []
    traced = trace([made], malloc=True)
    for placed in traced.breakpoints:
        found.place(placed)
    for call in traced:
        if call.is_function:
            found.add(call, held)
            held = []
        elif call.within:
            held.append(call)
        else:
            found.system_call(call)
    return found, traced


def test_calls_are_counted_and_explained(place: Path) -> None:
    made = build(place, SIZES, name="sizes")
    seen(str(made))
    found, traced = counted(made)
    sizes = [size_of(call) for call in traced if call.name == "malloc"]
    assert sizes.count(1000) == 8
    assert sizes.count(1 << 20) == 1
    text = " ".join(found.text().split())
    assert found.large == 1
    assert found.given_back == 1
    assert "have a mapping each: 1 call, each with an mmap" in text
    assert "gave 1 such mapping back at once (munmap)" in text
    assert "Never freed: 1 piece, 1,000 bytes." in text


SHARED = """#include <stdlib.h>
int main(void) {
    char *volatile pieces[60];
    for (int i = 0; i < 60; i++) pieces[i] = malloc(1000);
    for (int i = 0; i < 60; i++) free(pieces[i]);
    return 0;
}
"""


def test_pieces_that_share_a_mapping_of_a_page_have_none_each(place: Path) -> None:
    """musl maps pages for a few small pieces of one size."""
    made = build(place, SHARED, "-static", compiler="musl-gcc", name="shared")
    found, _ = counted(made)
    assert found.rows["malloc"][0] == 60
    text = " ".join(found.text().split())
    assert found.inside["malloc"]["mmap"] >= 2
    assert found.large == 0
    assert "a mapping each" not in text
    assert "such mapping" not in text
