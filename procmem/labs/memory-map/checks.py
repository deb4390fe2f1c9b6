"""Checks of memory-map: support, sharing, protection and growth of areas, seen from outside."""

import pytest

from procmem.experiments import Specimen
from procmem.grade import (
    PAGE,
    KiB,
    heap,
    installed,
    not_possible,
    points,
    predicted,
    regions,
    stack,
    verify,
    walk,
)

NOTES, BOARD, SHARED, WORK = 20 * KiB, 64 * KiB, 128 * KiB, 512 * KiB
HEAP, STACK = 300 * KiB, 480 * KiB
PHASES = (
    "at the start", "1: a private file", "2: a shared file", "3: shared memory",
    "4: private memory", "5: half of it read-only", "6: the heap", "7: the stack", "8: all gone",
)  # fmt: skip


def pages(size):
    """A size, rounded up to whole pages."""
    return -(-size // PAGE) * PAGE


@pytest.fixture(scope="module")
def shots(program):
    return walk(program, *PHASES)


def appeared(change):
    """The regions after a step that are new, or differ from the one that began there before."""
    before = {one.start: one for one in change.before.regions}
    found = []
    for one in change.after.regions:
        old = before.get(one.start)
        if old is None or (old.end, old.perms, old.pathname) != (one.end, one.perms, one.pathname):
            found.append(one)
    return found


@points(
    1,
    "the program waits nine times for Enter, then ends with status 0",
    hint="Leave the calls of wait_for_enter() as they are. What does the program print?",
)
def test_waits(shots):
    shots.require_end()


@points(
    2,
    "1: notes.dat is mapped: from a file, private, read-only",
    hint="mmap(NULL, NOTES, PROT_READ, MAP_..., fd, 0)",
)
def test_private_file(shots):
    mine = regions(shots[2], path="notes.dat")
    assert len(mine) == 1, "areas of notes.dat"
    assert str(mine[0].perms) == "r--p", "permissions of notes.dat"
    assert mine[0].size == pages(NOTES), "bytes of it that are mapped"
    assert not regions(shots[1], path="notes.dat"), "areas of it before step 1"


@points(
    2,
    "2: board.dat is mapped: from a file, shared, writable",
    hint="A write reaches the file only through MAP_SHARED. Is the file open for writing, too?",
)
def test_shared_file(shots):
    mine = regions(shots[3], path="board.dat")
    assert len(mine) == 1, "areas of board.dat"
    assert str(mine[0].perms) == "rw-s", "permissions of board.dat"
    assert mine[0].size == pages(BOARD), "bytes of it that are mapped"
    assert not regions(shots[2], path="board.dat"), "areas of it before step 2"


@points(
    2,
    "3: shared memory without a file is mapped",
    hint="MAP_SHARED together with MAP_ANONYMOUS, and -1 for the descriptor.",
)
def test_shared_memory(shots):
    change = shots[4] - shots[3]
    mine = [one for one in appeared(change) if str(one.kind) == "shared memory"]
    assert len(mine) == 1, "new areas that are shared and have no file on disk"
    assert mine[0].size == pages(SHARED), "its size"
    assert str(mine[0].perms) == "rw-s", "its permissions"


@points(
    1,
    "4: private memory without a file is mapped",
    hint="MAP_PRIVATE together with MAP_ANONYMOUS. malloc adds data of its own.",
)
def test_private_memory(shots):
    change = shots[5] - shots[4]
    assert change.vsz == pages(WORK)
    shared = [one for one in appeared(change) if one.perms.shared]
    assert len(shared) == 0, "new areas that are shared"


@points(1, "4: all of that memory is written", hint="An area takes memory only when it is written.")
def test_written(shots):
    change = shots[5] - shots[4]
    # RssAnon lags before Linux 6.2.
    before, after = (shot.regions.total("anonymous") for shot in (change.before, change.after))
    assert after - before >= pages(WORK), "growth of anonymous memory (Anonymous of smaps)"


@points(
    2,
    "5: its second half is read-only, and VSZ does not change",
    hint="mprotect(work + WORK / 2, WORK / 2, PROT_READ)",
    needs="test_private_memory",
)
def test_protection(shots):
    change = shots[6] - shots[5]
    assert change.vsz == 0
    mine = [one for one in appeared(change) if one.perms.read and not one.perms.write]
    assert len(mine) == 1, "areas that have become read-only"
    assert mine[0].size == pages(WORK // 2)
    whole = change.before.regions.find(mine[0].start)
    assert whole is not None
    assert whole.start < mine[0].start, "its first half is left as it was"


@points(
    1,
    "6: the heap has grown upwards",
    hint="Allocations below 128 KiB come from the heap. Keep them all.",
)
def test_heap_grows_up(shots):
    change = shots[7] - shots[6]
    before, after = (regions(one, kind="heap") for one in (change.before, change.after))
    assert after, "areas of the heap"
    assert heap(change.after).size >= HEAP, "the heap after the allocations"
    assert change.vsz == heap(change.after).size - heap(change.before).size
    if before:  # A program that does not use stdio may have none yet.
        assert after[0].start == before[0].start, "where the heap begins"
        assert after[-1].end > before[-1].end, "where the heap ends"


@points(1, "7: the stack has grown downwards", hint="use_stack(30)")
def test_stack_grows_down(shots):
    change = shots[8] - shots[7]
    before, after = (regions(one, kind="stack")[0] for one in (change.before, change.after))
    assert stack(change.after).size >= STACK, "the stack after the calls"
    assert change.vsz == after.size - before.size
    assert after.end == before.end, "where the stack begins, at its upper end"
    assert after.start < before.start, "where the stack ends"


@points(
    2,
    "8: all four areas are unmapped",
    hint="munmap needs the address and the length of each. Which area is still in the map?",
)
def test_unmapped(shots):
    mapped = shots[5].vsz - shots[1].vsz
    assert mapped > 0, "bytes that steps 1 to 4 have mapped"
    change = shots[9] - shots[8]
    for name in ("notes.dat", "board.dat"):
        assert not regions(change.after, path=name), f"areas of {name} at the end"
    assert change.vsz == -mapped


# ---- predictions --------------------------------------------------------------------


@pytest.fixture(scope="module")
def python(submission):
    with submission.program([installed("python3"), "-c", "input()"]).run() as run:
        return run.pause("python3, waiting")


@points(
    2,
    "predictions: support, sharing and protection of text, data, heap and stack",
    hint="See columns two and six of /proc/PID/maps: permissions, p or s, and the file.",
)
def test_predicted_areas(submission, python):
    said = submission.predictions
    for name in ("text", "data", "heap", "stack"):
        own = [
            one for one in regions(python, kind=name) if str(one.owner) in ("executable", "None")
        ]
        if not own:
            not_possible(f"the program for comparison has no {name} here")
        area = own[0]
        for part, choices, seen in (
            ("support", ["file", "none"], "file" if area.inode else "none"),
            ("sharing", ["private", "shared"], "shared" if area.perms.shared else "private"),
        ):
            predicted(f"{name}_{part}", said.choice(f"{name}_{part}", choices), seen)
        predicted(f"{name}_protection", said.text(f"{name}_protection"), str(area.perms)[:3])


@points(
    2,
    "predictions: VSZ at each step",
    hint="How many whole pages does each size take? Does mprotect map anything?",
)
def test_predicted_vsz(submission):
    said = submission.predictions
    with Specimen() as one:
        steps = [one.mmap(length=size) for size in (NOTES, BOARD, SHARED, WORK)]
        area = steps[-1].mapping
        assert area is not None
        steps.append(one.mprotect(area, "r", pages=area.pages // 2))
    for number, step in enumerate(steps, 1):
        predicted(f"vsz_{number}", said.size(f"vsz_{number}"), step.delta.vsz)


# ---- quiz ---------------------------------------------------------------------------


@points(1, "quiz: the name of shared memory", hint="Look at your program after step 3.")
def test_quiz_shared(submission):
    with Specimen() as one:
        area = one.mmap(pages=1, shared=True).mapping
        assert area is not None
        region = one.process.region_at(area.start)
    name = region.pathname if region else None
    right = "b" if name and name.startswith("/dev/zero") else "a" if name is None else "c"
    verify(submission, "shared", right)


@points(1, "quiz: RSS of a mapped file", hint="Look at Rss of board.dat in smaps.")
def test_quiz_resident(submission):
    with Specimen() as one, open("/proc/self/exe", "rb") as file:
        grown = one.mmap(pages=16, prot="r", file=file.fileno()).delta.rss
    right = "c" if grown == 0 else "b" if grown == PAGE else "a"
    verify(submission, "resident", right)


@points(1, "quiz: writing to a private file mapping", hint="mmap(2), under MAP_PRIVATE")
def test_quiz_file(submission, tmp_path):
    import mmap

    path = tmp_path / "file"
    path.write_bytes(b"before")
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 6, mmap.MAP_PRIVATE) as mapped:
        mapped[:6] = b"behind"
        right = "a" if path.read_bytes() == b"before" else "b"
    verify(submission, "file", right)


@points(1, "quiz: 5,000 bytes", hint="getconf PAGESIZE")
def test_quiz_rounding(submission):
    with Specimen() as one:
        grown = one.mmap(length=5000).delta.vsz
    right = "a" if grown == 5000 else "c" if grown == pages(5000) else "b"
    verify(submission, "rounding", right)
