"""What is said of a heap."""

from __future__ import annotations

from array import array

from procmem.heap.arena import HeapArena, HeapHole, Trim
from procmem.heap.heap import Heap
from procmem.heap.others import OtherAllocator
from procmem.heap.parts import HeapPart
from procmem.heap.pinned import HeapPages
from procmem.heap.python import PythonArena, PythonBlock, PythonHeap
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


def test_the_chunk_at_the_top_is_named() -> None:
    made = heap()
    hole = HeapHole(0x7F0000000500, 49 * MIB, 48 * MIB, 1, 48)
    made.arenas = (made.arenas[0], made.arenas[1]._replace(holes=(hole,)))
    assert heap_sentence(made) == (
        "100 MiB of 300 MiB RSS is free inside malloc; malloc_trim(0) would return 58 MiB; "
        "arena 1 alone holds 48 MiB for one chunk of 48 bytes at its top."
    )
    several = hole._replace(above=3, above_bytes=144)
    made.arenas = (made.arenas[0], made.arenas[1]._replace(holes=(several,)))
    assert "for 3 chunks of 144 bytes together at its top." in heap_sentence(made)
    text = heap_text(made, arenas=True, width=80)
    assert "1 7f0000000500 50176 49152 3 144" in [
        " ".join(row.split()) for row in text.splitlines()
    ]


def test_how_long_the_process_was_stopped() -> None:
    made = heap()
    made.held = 0.0123
    assert heap_text(made).endswith(
        "The process was stopped for 12.3 ms. Certain: all structures are consistent, and none "
        "changed while it was read.\n"
    )


def test_threads_that_are_a_guess_are_marked() -> None:
    made = heap(arenas=1)
    assert " 77\n" in heap_text(made)
    made.arenas = (made.arenas[0]._replace(threads_guess=True, threads=(1, 2, 3, 4)),)
    assert " 1 2 3 and 1 more?\n" in heap_text(made)


def test_parts_and_the_difference_from_vmrss() -> None:
    made = heap()
    made.parts = (HeapPart("malloc: in use", 4 * MIB, 299 * MIB, "chunks"),)
    text = heap_text(made, width=80)
    rows = [" ".join(row.split()) for row in text.splitlines()]
    assert any(row.startswith("difference from VmRSS +1024 ") for row in rows)
    assert "total 4096 307200" in rows


def test_allocators_that_are_not_read() -> None:
    made = heap(arenas=0)
    made.allocator = "jemalloc"
    made.others = (
        OtherAllocator("jemalloc", "a library", True, 2, 8 * MIB, 90 * MIB, 80 * MIB, 0, 5 * MIB),
    )
    assert heap_sentence(made) == (
        "80 MiB of 300 MiB RSS belongs to jemalloc, whose inside is not read; 5 MiB of that is "
        "free (MADV_FREE), and the kernel takes it if needed."
    )
    assert "jemalloc?" in heap_text(made, width=80)


def test_pages_and_what_keeps_them() -> None:
    made = heap()
    uses = array("Q", [0x1000, 48, 1, 0x1010, 48])
    made.pages = HeapPages(uses, page_size=4096, resident=10, whole=3, returned=2)
    text = heap_text(made, pages=True)
    assert "A trim would return 2 of the 6 pages on which nothing is in use." in text
    assert "keeps each of 1 page (4 KiB): 1 page by one of 48 bytes." in text


def test_arenas_of_python_that_a_block_keeps() -> None:
    made = heap()
    block = PythonBlock(0x7F0000100030, 32)
    arenas = (PythonArena(0x7F0000100000, 1, 32, MIB, 1, (block,)),)
    made.python = PythonHeap(arenas, 1, 32, 16000, {}, 16384, "pymalloc", "headers of its pools")
    text = heap_text(made)
    assert "in 1 arena of which less than 25 % is in use" in text
    assert "The arena at 7f0000100000 is kept by 1 block: 32 bytes at 7f0000100030." in text
    made.python = PythonHeap((), 0, 0, 0, {}, 16384, "malloc", "PYTHONMALLOC=malloc", True)
    assert "Python's small objects are in malloc? (PYTHONMALLOC=malloc)." in heap_text(made)


def test_no_two_blank_lines_where_there_is_no_python() -> None:
    assert "\n\n\n" not in heap_text(heap(), sizes=True, arenas=True, pages=True)
