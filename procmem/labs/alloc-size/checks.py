"""alloc-size: what ten small and ten large blocks do to the heap and to the address space."""

import functools

import pytest

from procmem import RegionKind
from procmem.experiments import Specimen
from procmem.grade import (
    PAGE,
    KiB,
    anonymous,
    heap,
    mmap_threshold,
    not_possible,
    only,
    pieces,
    points,
    predicted,
    top_pad,
    verify,
    walk,
)

COUNT, SMALL, LARGE = 10, 32 * KiB, 256 * KiB


@pytest.fixture(scope="module")
def seen(program):
    """The program at its seven waits: seen[1] to seen[7]."""
    if not SMALL + PAGE < mmap_threshold() <= LARGE:
        not_possible(f"malloc calls mmap from {mmap_threshold():,} bytes on here, not from 128 KiB")
    return walk(
        program,
        "at the start",
        "after ten mallocs of 32 KiB",
        "after writing to all of them",
        "after freeing them",
        "after ten mallocs of 256 KiB",
        "after freeing the first of them",
        "after the malloc of 256 KiB that follows",
    )


@pytest.fixture(scope="module")
def asked(program):
    """The sizes that the program asks malloc for, in order; None: that can't be seen here."""
    found = pieces(program, answers=[""] * 7)
    return None if found is None else found.asked


def spare():
    """malloc asks brk for more than it needs, and keeps as much: a heap may be this much larger."""
    return top_pad() + 2 * PAGE


@functools.cache
def here():
    """What malloc and free do on this machine, measured in a process of procmem's own."""

    def area(step):
        region = one.process.region_at(step.address)
        return "heap" if region is not None and region.kind is RegionKind.HEAP else "mapping"

    with Specimen(libc=True) as one:
        small = [one.malloc(SMALL) for _ in range(COUNT)]
        found = {"small_area": area(small[0])}
        found["first_freed"] = one.free(small[0].address).delta.vsz
        large = one.malloc(LARGE)
        found["large"] = large.delta
        found["large_area"] = area(large)
        one.free(large.address)
        found["again_area"] = area(one.malloc(LARGE))
    return found


# ---- the program ---------------------------------------------------------------------


@points(
    1,
    "alloc_size waits seven times and ends with status 0",
    hint="Keep every ask(), and return 0 from main.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    2,
    "ten blocks of 32 KiB come from the heap",
    hint="Call malloc ten times, each time for 32 * 1024 bytes, and keep all ten pointers.",
)
def test_small_blocks_lie_in_the_heap(seen, asked):
    before, after = seen[1], seen[2]
    assert anonymous(after).size - anonymous(before).size == 0, "small blocks need no mapping"
    assert heap(after).size - heap(before).size >= COUNT * SMALL - spare(), (
        "the heap grew too little for ten blocks"
    )
    assert heap(after).size - heap(before).size <= COUNT * SMALL + spare(), (
        "the heap grew by more than ten blocks need"
    )
    if asked is not None and SMALL in asked:
        # The heap grows in steps of several blocks: ten and eleven may need the same size.
        assert asked.count(SMALL) == COUNT, "calls of malloc for 32 KiB"


@points(
    1,
    "every byte of the ten small blocks is written to",
    hint="memset(block, 'x', 32 * 1024), for each of the ten.",
)
def test_small_blocks_are_written_to(seen):
    before, after = seen[1], seen[3]
    assert heap(after).rss - heap(before).rss >= COUNT * SMALL, (
        "some pages of the ten blocks are not in memory"
    )
    assert heap(after).rss - heap(before).rss <= COUNT * SMALL + 2 * PAGE, (
        "more than ten blocks of 32 KiB were written to"
    )


@points(
    2,
    "freeing all ten makes the heap shrink",
    hint="Are all ten freed? The heap can only give back what is at its end.",
)
def test_small_blocks_are_freed(seen):
    begun, after = seen[1], seen[4]
    # malloc gives back all but M_TOP_PAD of what is free at the end (systrim() in malloc/malloc.c),
    # so the heap is as large as before the ten blocks, or as the first malloc makes it.
    left = max(heap(begun).size, top_pad() + PAGE) + 2 * PAGE
    assert heap(seen[3]).size > left, "before the blocks are freed the heap must be larger"
    assert heap(after).size <= left, (
        "something that is still in use is near the end of the heap: a block that was not "
        "freed, or the buffer that printf gets at its first call, if that came after the blocks"
    )


@points(
    2,
    "each block of 256 KiB is a mapping of its own",
    hint="Call malloc ten times for 256 * 1024 bytes, and keep all ten pointers.",
)
def test_large_blocks_are_mapped(seen):
    before, after = seen[4], seen[5]
    each = here()["large"].vsz
    why = "ten blocks, each with malloc's header in front, in whole pages"
    if heap(before).size >= heap(seen[1]).size + LARGE:
        why += "; the heap did not shrink, and its free part may hold one of them"
    assert anonymous(after).size - anonymous(before).size == COUNT * each, why


@points(
    1,
    "only one page of a large block is in memory before it is written",
    hint="Does your program write to these blocks? It should not.",
    needs="test_large_blocks_are_mapped",
)
def test_large_blocks_are_not_in_memory(seen):
    before, after = seen[4], seen[5]
    each = here()["large"].rss
    assert anonymous(after).rss - anonymous(before).rss == COUNT * each


@points(
    1,
    "freeing one large block unmaps it at once",
    hint="Free one of the ten, and only one.",
    needs="test_large_blocks_are_mapped",
)
def test_a_large_block_is_unmapped(seen):
    before, after = seen[5], seen[6]
    each = here()["large"].vsz
    assert anonymous(before).size - anonymous(after).size == each


@points(
    1,
    "the next block of 256 KiB comes from the heap",
    hint="Allocate 256 KiB once more, after the free.",
    needs="test_a_large_block_is_unmapped",
)
def test_the_next_one_lies_in_the_heap(seen):
    before, after = seen[6], seen[7]
    assert anonymous(after).size - anonymous(before).size == 0, (
        "the block needs no mapping any more"
    )
    assert heap(after).size - heap(before).size >= LARGE - spare(), (
        "the heap grew too little for a block of 256 KiB"
    )
    assert heap(after).size - heap(before).size <= LARGE + spare(), (
        "the heap grew by more than one block needs"
    )


# ---- predictions, by what a process does on this machine -----------------------------------


WHERE = ["heap", "mapping"]


@points(1, "prediction: small_area", hint="Watch the line [heap] in /proc/PID/maps.")
def test_predicted_small_area(submission):
    predicted(
        "small_area", submission.predictions.choice("small_area", WHERE), here()["small_area"]
    )


@points(1, "prediction: large_area", hint="Watch the line [heap] in /proc/PID/maps.")
def test_predicted_large_area(submission):
    predicted(
        "large_area", submission.predictions.choice("large_area", WHERE), here()["large_area"]
    )


@points(
    1,
    "prediction: large_vsz",
    hint="The block, with malloc's header in front of it, in whole pages.",
)
def test_predicted_large_vsz(submission):
    predicted("large_vsz", submission.predictions.size("large_vsz"), here()["large"].vsz)


@points(1, "prediction: large_rss", hint="Who wrote to the block before you did, and where?")
def test_predicted_large_rss(submission):
    predicted("large_rss", submission.predictions.size("large_rss"), here()["large"].rss)


@points(1, "prediction: again_area", hint="man 3 mallopt, under M_MMAP_THRESHOLD.")
def test_predicted_again_area(submission):
    predicted(
        "again_area", submission.predictions.choice("again_area", WHERE), here()["again_area"]
    )


# ---- quiz: the right answer is the one that holds on this machine --------------------------


@points(1, "quiz: the threshold", hint="Try sizes in between, or read man 3 mallopt.")
def test_quiz_threshold(submission):
    sizes = {"a": 4 * KiB, "b": 32 * KiB, "c": 128 * KiB, "d": 256 * KiB}
    right = only({letter: size == mmap_threshold() for letter, size in sizes.items()})
    verify(submission, "threshold", right)


@points(1, "quiz: the first block is freed", hint="A heap has one end that moves. Which one?")
def test_quiz_first_freed(submission):
    sizes = {"a": 0, "b": SMALL, "c": 132 * KiB, "d": COUNT * SMALL}
    right = only({letter: size == -here()["first_freed"] for letter, size in sizes.items()})
    verify(submission, "first_freed", right)


@points(
    1, "quiz: the block that moved", hint="Leave out the free, and see where the block is then."
)
def test_quiz_moved(submission):
    moved = here()["large_area"] == "mapping" and here()["again_area"] == "heap"
    verify(submission, "moved", only({"b": moved}))
