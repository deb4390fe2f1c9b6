"""fragmentation: what malloc keeps after free, seen in its own structures and in RSS."""

import re
from typing import NamedTuple

import pytest

from procmem.grade import (
    PAGE,
    KiB,
    MiB,
    SubmissionError,
    heap,
    malloc_heap,
    only,
    points,
    predicted,
    verify,
    walk,
)

BLOCKS, SIZE, LAST = 4000, 4000, 2000
ALL = BLOCKS * SIZE

PHASES = (
    "at the start", "with all blocks", "after every second block was freed",
    "after the other half was freed", "after malloc_trim", "after the last block was freed",
)  # fmt: skip


class Chunks(NamedTuple):
    """What malloc's own structures say at a wait.

    Attributes:
        blocks: chunks in use that may be one of the 4,000 blocks, by their size.
        free_blocks: free chunks of such a size.
        highest: the size of the chunk in use that is nearest to the end of the heap.
        free: free bytes.
        trimmable: bytes that malloc_trim(0) would return.
    """

    blocks: int
    free_blocks: int
    highest: int | None
    free: int
    trimmable: int


def fits(size, request):
    """Whether a chunk may serve a request: 8 bytes of header, and less than 64 left over."""
    return request + 8 <= size < request + 72


def chunks(run):
    """What is in malloc's structures; an error where they can't be read: it is raised on use."""
    try:
        inside = malloc_heap(run)
    except SubmissionError as error:
        return error
    mine = [row for row in inside.by_size() if fits(row.size, SIZE)]
    return Chunks(
        sum(row.in_use for row in mine),
        sum(row.free for row in mine),
        inside.arenas[0].last_size,
        inside.free,
        inside.trimmable,
    )


def inside(seen, wait):
    found = seen.look(wait)
    if isinstance(found, SubmissionError):
        raise found
    return found


def last_is_above(seen, wait):
    """Whether the block of 2,000 bytes is the highest one in the heap."""
    highest = inside(seen, wait).highest
    return highest is not None and fits(highest, LAST)


@pytest.fixture(scope="module")
def seen(program):
    return walk(program, *PHASES, look=chunks)


# ---- fragment ---------------------------------------------------------------------------


@points(
    1,
    "fragment waits six times and ends with status 0",
    hint="Keep every ask(), and return 0 from main.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    2,
    "4,000 blocks of 4,000 bytes are allocated, and in memory",
    hint="One malloc for each block.",
)
def test_blocks(seen):
    now = inside(seen, 2)
    assert now.blocks == BLOCKS, "blocks of 4,000 bytes in use"
    assert heap(seen[2]).rss - heap(seen[1]).rss >= ALL, "growth of the heap's RSS, in bytes"


@points(
    1,
    "a block of 2,000 bytes is above all others",
    hint="Allocate it after the 4,000 blocks, so that it gets the highest address.",
    needs="test_blocks",
)
def test_last_is_above(seen):
    highest = inside(seen, 2).highest
    assert highest is not None, "the highest block in use"
    wrong = f"the highest block in use: a chunk of {highest:,} bytes, not one of 2,000"
    assert last_is_above(seen, 2), wrong


@points(
    2,
    "every second block is free, and RSS is as high as before",
    hint="Blocks 0, 2, 4 and so on. Two free neighbours would become one large free chunk.",
    needs="test_blocks",
)
def test_half_is_free(seen):
    now = inside(seen, 3)
    assert now.blocks == BLOCKS // 2, "blocks of 4,000 bytes in use"
    # The first one may have become one chunk with what was free before it.
    assert now.free_blocks >= BLOCKS // 2 - 2, "free chunks of the size of one block"
    assert heap(seen[3]).rss >= heap(seen[2]).rss - 64 * KiB, "RSS of the heap, in bytes"


@points(
    2,
    "all 4,000 blocks are free, and the block above them keeps RSS high",
    hint="free() returns memory only from the end of the heap. What is there?",
    needs=["test_blocks", "test_last_is_above"],
)
def test_all_is_free(seen):
    now = inside(seen, 4)
    assert now.blocks == 0, "blocks of 4,000 bytes in use"
    assert last_is_above(seen, 4), "the block of 2,000 bytes was freed too early"
    assert now.free >= ALL, "free bytes inside malloc"
    assert heap(seen[4]).rss >= heap(seen[2]).rss - 64 * KiB, "RSS of the heap, in bytes"


@points(
    2,
    "malloc_trim returns the pages: RSS falls, and the heap's addresses stay",
    hint="malloc_trim(0), while the last block is still in use.",
    needs="test_all_is_free",
)
def test_trimmed(seen):
    assert last_is_above(seen, 5), "the block of 2,000 bytes was freed too early"
    fall = heap(seen[4]).rss - heap(seen[5]).rss
    assert fall >= inside(seen, 4).trimmable - 64 * KiB, "fall of the heap's RSS, in bytes"
    assert fall >= ALL - 64 * KiB, "fall of the heap's RSS, in bytes"
    # malloc_trim also shortens what is free at the end of the heap, above the last block.
    assert heap(seen[5]).size >= ALL, "size of the heap, in bytes"


@points(
    2,
    "without the last block, the heap itself shrinks",
    hint="free(last). A block that is still in use above the others, such as a buffer of stdio "
    "that was allocated late, holds them as well.",
    needs="test_trimmed",
)
def test_shrunk(seen):
    left = inside(seen, 6)
    above = heap(seen[6]).size - heap(seen[1]).size
    if above > MiB and left.highest is not None:
        raise SubmissionError(
            f"the heap is still {above:,} bytes larger than at the start: the highest chunk in "
            f"use has {left.highest:,} bytes"
        )
    assert above <= MiB, "growth of the heap since the start, in bytes"


# ---- service ----------------------------------------------------------------------------

REQUESTS, BUFFER = 4000, 4000
NUMBERED = re.compile(rb"record (\d{4}) of the service")
NOISE = 256 * KiB
"""What malloc may keep at the end of its heap, with room for the stack; the records are more."""

LARGEST = 256 * MiB
"""No larger region is read."""


def own(snapshot):
    """RSS of all memory that the program can write to and that is no file's."""
    return sum(
        region.rss
        for region in snapshot.regions
        if region.perms.write and (region.perms.shared or not region.inode)
    )


def requests(run):
    """How many buffers and different records are in the program's memory."""
    buffers, records = 0, set()
    with open(f"/proc/{run.pid}/mem", "rb", buffering=0) as memory:
        for region in run.phases[-1][1].regions:
            readable = region.perms.write and region.perms.read and region.rss
            if not readable or region.size > LARGEST:
                continue
            try:
                memory.seek(region.start)
                data = memory.read(region.size)
            except OSError:
                continue
            # Buffers may adjoin each other, or be apart.
            buffers += data.count(b"w" * (BUFFER // 4))
            records |= set(NUMBERED.findall(data))
    return buffers // 4, len(records)


@pytest.fixture(scope="module")
def service(submission):
    return walk(
        submission.program(["./service"]),
        "service, at the start",
        "service, with all requests open",
        "service, after the buffers were freed",
        "service, after the records were freed",
        look=requests,
    )


@points(
    1,
    "service waits four times and ends with status 0",
    hint="Keep every ask(), and return 0 from main.",
)
def test_service_runs(service):
    assert service.ended.status == 0, "the program ends with status 0"


@points(
    1,
    "4,000 requests are open at once, each with its buffer and its record",
    hint="All buffers are in memory at the second wait, filled by answer().",
)
def test_service_opens(service):
    buffers, records = service.look(2)
    assert buffers >= REQUESTS, "buffers in memory"
    assert records == REQUESTS, "different records in memory"
    assert own(service[2]) - own(service[1]) >= REQUESTS * BUFFER, "growth of RSS, in bytes"


@points(
    3,
    "the buffers' memory has returned to the kernel, and all records are still there",
    hint="How many live records are on each page? Put them together: allocate them elsewhere than "
    "the buffers. An arena made by mmap is one way.",
    needs="test_service_opens",
)
def test_service_returns(service):
    _, records = service.look(3)
    assert records == REQUESTS, "different records in memory"
    kept = own(service[3]) - own(service[1])
    assert kept <= MiB, "growth of RSS since the start, in bytes"


@points(
    2,
    "after the records were freed, RSS is back where it began",
    hint="free() keeps small chunks in caches and fast bins; malloc_trim(0) or munmap return them.",
    needs="test_service_returns",
)
def test_service_ends_small(service):
    kept = own(service[4]) - own(service[1])
    assert kept <= NOISE, "growth of RSS since the start, in bytes"


# ---- predictions and quiz, by what the solution does on this machine -------------------------


@pytest.fixture(scope="module")
def here(solution):
    return solution.walk(*PHASES, look=chunks)


def whole(size):
    """A fall in whole MiB; growth counts as none."""
    return max(size, 0) // MiB


def fall_of_rss(here, wait):
    return whole(heap(here[wait - 1]).rss - heap(here[wait]).rss)


def fall_of_size(here, wait):
    return whole(heap(here[wait - 1]).size - heap(here[wait]).size)


def check_prediction(submission, name, right):
    predicted(name, submission.predictions.integer(name), right)


@points(1, "prediction: half_rss", hint="What is left on each page?")
def test_predicted_half_rss(submission, here):
    check_prediction(submission, "half_rss", fall_of_rss(here, 3))


@points(1, "prediction: half_trim", hint="malloc_trim returns whole pages, each of them free.")
def test_predicted_half_trim(submission, here):
    check_prediction(submission, "half_trim", whole(inside(here, 3).trimmable))


@points(1, "prediction: all_rss", hint="Where is the block that is still in use?")
def test_predicted_all_rss(submission, here):
    check_prediction(submission, "all_rss", fall_of_rss(here, 4))


@points(1, "prediction: trim_rss", hint="4,000 blocks of 4,000 bytes: how many MiB are that?")
def test_predicted_trim_rss(submission, here):
    check_prediction(submission, "trim_rss", fall_of_rss(here, 5))


@points(1, "prediction: trim_vsz", hint="Could a heap have a hole in its middle?")
def test_predicted_trim_vsz(submission, here):
    check_prediction(submission, "trim_vsz", fall_of_size(here, 5))


@points(1, "prediction: last_vsz", hint="What does free do when the end of the heap is free?")
def test_predicted_last_vsz(submission, here):
    check_prediction(submission, "last_vsz", fall_of_size(here, 6))


@points(1, "quiz: where the free memory is", hint="procmem heap PID, after the second half.")
def test_quiz_free(submission, here):
    now = inside(here, 4)
    in_rss = heap(here[4]).rss
    right = only({
        "a": in_rss < ALL // 2,
        "b": in_rss >= ALL and now.free >= ALL and not now.blocks,
        "c": now.blocks > 0,
    })  # fmt: skip
    verify(submission, "free_memory", right)


@points(1, "quiz: one record on each page", hint="procmem heap PID: the column Trim.")
def test_quiz_scattered(submission, here):
    returned = inside(here, 3).trimmable
    free = inside(here, 3).free
    right = only({
        "a": returned >= free - PAGE,
        "b": returned < free // 100,
        "c": free // 100 <= returned < free - PAGE,
    })  # fmt: skip
    verify(submission, "scattered", right)


@points(1, "quiz: a smaller last block", hint="Try it: LAST = 100, and look at VSZ at the end.")
def test_quiz_small_last(submission):
    right = only(freed_small_block())
    verify(submission, "small_last", right)


def freed_small_block():
    """What becomes of a freed block of 100 bytes: {answer: whether it holds}."""
    from procmem.experiments import Specimen

    with Specimen(libc=True) as one:
        block = one.malloc(100)
        before = one.process.heap()
        one.free(block.address)
        after = one.process.heap()
    cached = after.tcache > before.tcache
    return {"a": not cached and after.in_use < before.in_use, "b": cached, "c": False}
