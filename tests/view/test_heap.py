"""What is said of a heap."""

from __future__ import annotations

from procmem.heap.heap import Heap, HeapArena, Trim
from procmem.view.heap import heap_sentence, heap_text

MIB = 1 << 20


def heap(*, doubts: tuple[str, ...] = (), arenas: int = 2) -> Heap:
    made = [
        HeapArena(
            address=0x7F0000000030 + number,
            main=number == 0,
            system=100 * MIB,
            in_use=40 * MIB,
            tcache=0,
            fast=0,
            free=59 * MIB,
            top=MIB,
            resident_free=50 * MIB,
            trimmable=48 * MIB if number == 0 else 10 * MIB,
            chunks=1000,
            threads=(77,),
            last_in_use=0x7F0000001000,
            last_size=48,
            locked=False,
        )
        for number in range(arenas)
    ]
    trim = Trim(sum(arena.trimmable for arena in made), ())
    return Heap(
        made,
        mmapped=0,
        mmaps=0,
        python=None,
        doubts=doubts,
        trim=trim,
        sizes={},
        pid=5,
        rss=300 * MIB,
    )


def test_the_sentence_names_the_arena_that_keeps_most() -> None:
    said = heap_sentence(heap())
    assert said == (
        "100 MiB of 300 MiB RSS is free inside malloc; malloc_trim(0) would return 58 MiB; "
        "arena 1 alone keeps 40 MiB that it would not, the nearest chunk to its top has 48 bytes."
    )


def test_doubts_are_shown() -> None:
    text = heap_text(heap(doubts=("the arena at 0x1 changed while it was read",)), width=80)
    assert text.endswith("Not certain:\nthe arena at 0x1 changed while it was read.\n")


def test_no_line_is_wider_than_the_screen() -> None:
    for width in (60, 80, 200):
        text = heap_text(heap(), width=width)
        assert max(map(len, text.splitlines())) <= width


def test_without_a_heap() -> None:
    assert heap_text(heap(arenas=0)).startswith("No heap of glibc's malloc was found")
