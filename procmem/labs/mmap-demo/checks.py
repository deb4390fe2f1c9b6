"""mmap-demo: mmap takes address space, and the first write to a page takes memory."""

import functools

import pytest

from procmem import RegionKind
from procmem.errors import SyscallError
from procmem.experiments import Specimen
from procmem.grade import PAGE, KiB, anonymous, only, points, predicted, verify, walk

PAGES = 64


@pytest.fixture(scope="module")
def seen(program):
    """The program at its ten waits: seen[1] to seen[10]."""
    return walk(
        program,
        "at the start",
        "after mapping one page",
        "after writing to it",
        "after unmapping it",
        "after mapping 64 pages",
        "after reading from each",
        "after writing to each",
        "after unmapping half of them",
        "after unmapping the rest",
        "after mapping 64 pages that are in memory",
    )


def mapped(before, after):
    """The range that was mapped between two waits (the largest one): its start and its end."""
    pieces = [piece for change in (after - before).changes for piece in change.gained]
    return max(pieces, key=lambda piece: piece[1] - piece[0], default=(0, 0))


def is_mapped(snapshot, address):
    return snapshot.regions.find(address) is not None


@points(
    1,
    "mmap_demo waits ten times and ends with status 0",
    hint="Keep every ask(), and return 0 from main.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


# ---- one page ------------------------------------------------------------------------


@points(1, "one page is mapped", hint="mmap(NULL, page, ...), MAP_PRIVATE and MAP_ANONYMOUS.")
def test_maps_a_page(seen):
    before, after = seen[1], seen[2]
    assert anonymous(after).size - anonymous(before).size == PAGE


@points(
    1,
    "mapping the page takes no memory",
    hint="Who allocates the page: mmap, or the first write? Which flag would change that?",
    needs="test_maps_a_page",
)
def test_is_lazy(seen):
    before, after = seen[1], seen[2]
    assert anonymous(after).rss - anonymous(before).rss == 0


@points(
    1,
    "writing one byte brings one page into memory",
    hint="Write to the page only after the wait.",
    needs="test_maps_a_page",
)
def test_a_write_brings_a_page(seen):
    before, after = seen[1], seen[3]
    assert anonymous(after).rss - anonymous(before).rss == PAGE


@points(
    1,
    "munmap gives back both, address space and memory",
    hint="munmap needs the address that mmap returned, and the length.",
    needs="test_maps_a_page",
)
def test_unmaps_the_page(seen):
    start, _ = mapped(seen[1], seen[2])
    assert is_mapped(seen[3], start), "the page must stay mapped until the wait before munmap"
    assert not is_mapped(seen[4], start), "the page is still mapped"


# ---- 64 pages ------------------------------------------------------------------------


@points(1, "64 pages are mapped", hint="One mmap, of 64 * page bytes.")
def test_maps_many(seen):
    before, after = seen[4], seen[5]
    assert anonymous(after).size - anonymous(before).size == PAGES * PAGE


@points(
    1,
    "mapping the 64 pages takes no memory",
    hint="Don't write to them yet, and leave MAP_POPULATE out.",
    needs="test_maps_many",
)
def test_many_are_lazy(seen):
    before, after = seen[4], seen[5]
    assert anonymous(after).rss - anonymous(before).rss == 0


@points(
    2,
    "reading each of the 64 pages takes no memory",
    hint="Is each page read? Without `volatile` the compiler may leave out useless reads.",
    needs="test_many_are_lazy",
)
def test_reading_adds_nothing(seen):
    before, after = seen[5], seen[6]
    assert anonymous(after).rss - anonymous(before).rss == 0
    # Each first read of a page is a page fault, which maps the shared page of zeros.
    assert (after - before).minor >= PAGES, "page faults: not each of the 64 pages was read"


@points(
    1,
    "writing to each of the 64 pages brings all of them into memory",
    hint="One byte in each page is enough: many[i * page] = 1.",
    needs="test_maps_many",
)
def test_writing_brings_all(seen):
    before, after = seen[4], seen[7]
    assert anonymous(after).rss - anonymous(before).rss == PAGES * PAGE


@points(
    2,
    "the middle is unmapped, the first and the last quarter stay mapped",
    hint="munmap(many + 16 * page, 32 * page): any whole pages of a mapping may be unmapped.",
    needs="test_maps_many",
)
def test_unmaps_the_middle(seen):
    before, after = seen[7], seen[8]
    assert anonymous(before).size - anonymous(after).size == PAGES // 2 * PAGE
    start, end = mapped(seen[4], seen[5])
    quarter = PAGES // 4 * PAGE
    assert is_mapped(after, start), "the first page must stay mapped"
    assert is_mapped(after, end - PAGE), "the last page must stay mapped"
    assert not is_mapped(after, start + quarter), "the second quarter must be unmapped"
    assert not is_mapped(after, end - quarter - PAGE), "the third quarter must be unmapped"


@points(
    1,
    "all of the 64 pages are unmapped",
    hint="Two pieces are left, so munmap is called twice; or once, for all 64 pages.",
    needs="test_maps_many",
)
def test_unmaps_the_rest(seen):
    before, after = seen[4], seen[9]
    assert anonymous(after).size - anonymous(before).size == 0


@points(
    2,
    "64 pages are mapped, and all are in memory",
    hint="MAP_POPULATE, or a write to each page before the wait.",
)
def test_maps_what_is_in_memory(seen):
    before, after = seen[9], seen[10]
    assert anonymous(after).size - anonymous(before).size == PAGES * PAGE
    assert anonymous(after).rss - anonymous(before).rss == PAGES * PAGE


# ---- predictions, by what a process does on this machine -----------------------------------


@functools.cache
def here():
    """What mmap, reads, writes and munmap change on this machine."""
    with Specimen() as one:
        step = one.mmap(pages=PAGES)
        area = step.mapping
        return {
            "map": step.delta,
            "read": one.read(area).delta,
            "write": one.touch(area).delta,
            "unmap": one.munmap(area, start=PAGES // 4, pages=PAGES // 2).delta,
        }


@points(1, "prediction: map_vsz", hint="man 2 mmap; ps -o vsz,rss -p PID before and after.")
def test_predicted_map_vsz(submission):
    predicted("map_vsz", submission.predictions.size("map_vsz"), here()["map"].vsz)


@points(1, "prediction: map_rss", hint="How much memory do pages take that were never accessed?")
def test_predicted_map_rss(submission):
    predicted("map_rss", submission.predictions.size("map_rss"), here()["map"].rss)


@points(1, "prediction: read_rss", hint="All pages that were only read map the same page of zeros.")
def test_predicted_read_rss(submission):
    predicted("read_rss", submission.predictions.size("read_rss"), here()["read"].rss)


@points(1, "prediction: write_rss", hint="How much memory does one byte in a page need?")
def test_predicted_write_rss(submission):
    predicted("write_rss", submission.predictions.size("write_rss"), here()["write"].rss)


@points(1, "prediction: unmap_vsz and unmap_rss", hint="Is it more, or less? Mind the sign.")
def test_predicted_unmap(submission):
    predicted("unmap_vsz", submission.predictions.size("unmap_vsz"), here()["unmap"].vsz)
    predicted("unmap_rss", submission.predictions.size("unmap_rss"), here()["unmap"].rss)


# ---- quiz: the right answer is the one that holds on this machine --------------------------


@points(1, "quiz: half a page", hint="Try it. Then try byte 5,000.")
def test_quiz_half_page(submission):
    half = PAGE // 2
    with Specimen() as one:
        try:
            area = one.mmap(half).mapping
        except SyscallError:
            verify(submission, "half_page", "b")
            return
        fault = one.touch(area.start + PAGE * 3 // 4).fault
    verify(submission, "half_page", only({"a": fault is not None, "c": fault is None}))


@points(1, "quiz: munmap of a part", hint="man 2 munmap")
def test_quiz_partial(submission):
    with Specimen() as one:
        area = one.mmap(pages=PAGES).mapping
        try:
            gone = -one.munmap(area, start=PAGES // 4, pages=PAGES // 2).delta.vsz
        except SyscallError:
            gone = 0
    right = only({"a": gone == 0, "b": gone == PAGES // 2 * PAGE, "c": gone == PAGES * PAGE})
    verify(submission, "partial", right)


@points(1, "quiz: the first getchar", hint="strace shows brk just before the first read.")
def test_quiz_first_getchar(submission):
    with Specimen(libc=True) as one:
        buffer = one.malloc(1 * KiB)
        region = one.process.region_at(buffer.address)
    begins = buffer.delta.vsz >= 128 * KiB and region.kind is RegionKind.HEAP
    verify(submission, "first_getchar", only({"a": begins}))


@points(1, "quiz: one byte", hint="Look at RSS before and after, and divide by the page's size.")
def test_quiz_one_byte(submission):
    with Specimen() as one:
        area = one.mmap(pages=PAGES).mapping
        grown = one.touch(area, pages=1).delta.rss
    right = only({"a": grown == 1, "b": grown == PAGE, "c": grown == PAGES * PAGE})
    verify(submission, "one_byte", right)
