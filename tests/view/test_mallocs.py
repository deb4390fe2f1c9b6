"""Calls of malloc functions: which of them made system calls, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem import MemoryCall, trace
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


def test_calls_are_counted_and_explained(place: Path) -> None:
    made = build(place, SIZES, name="sizes")
    seen(str(made))
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
    sizes = [size_of(call) for call in traced if call.name == "malloc"]
    assert sizes.count(1000) == 8
    assert sizes.count(1 << 20) == 1
    text = " ".join(found.text().split())
    assert found.large == 1
    assert found.given_back == 1
    assert "have a mapping each: 1 call, each with an mmap" in text
    assert "gave 1 such mapping back at once (munmap)" in text
    assert "Never freed: 1 piece, 1,000 bytes." in text
