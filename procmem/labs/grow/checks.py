"""grow: a Python string that doubles, seen in the memory of the interpreter."""

import pytest

from procmem.grade import (
    PAGE,
    KiB,
    MiB,
    anonymous,
    malloc_state,
    mmap_threshold,
    only,
    points,
    predicted,
    regions,
    verify,
    walk,
)

SMALLEST, LARGEST = 16 * KiB, 16 * MiB
SIZES = [SMALLEST << step for step in range(11)]
"""Of the string, at the waits from the 2nd to the 12th."""

OBJECT = 64
"""What a Python string needs besides its characters, at most: always less than a page."""

ARENA = 256 * KiB
"""For its small objects the interpreter maps arenas of 1 MiB, older ones of 256 KiB, when it needs
one. A string's mapping never has such a size, since the object's header is in it, too."""


@pytest.fixture(scope="module")
def seen(program):
    """The interpreter at its twelve waits: seen[1] to seen[12]."""
    return walk(
        program,
        "at the start",
        *(f"with a string of {size // KiB:,} KiB" for size in SIZES),
        look=malloc_state,
    )


def step(seen, size):
    """The waits before and after the string reached a size."""
    number = 2 + SIZES.index(size)
    return seen[number - 1], seen[number]


NEAR = 4 * KiB
"""What the interpreter itself may ask for between a wait and the next string."""


def may_be_mapped(size):
    """Whether malloc maps a string of this size where its heap has no room for it."""
    return size + OBJECT >= mmap_threshold()


def in_mapping(seen, size):
    """Whether malloc mapped a string of this size: from its threshold on, if its heap had no room.

    Both depend on what the interpreter allocated and freed since its start. Where the room is only
    just enough, or only just too little, the measured growth decides.
    """
    if not may_be_mapped(size):
        return False
    number = 2 + SIZES.index(size)
    malloc = seen.look(number - 1)
    if malloc is None:
        return True
    if malloc.room > size + OBJECT + NEAR or malloc.threshold > size + OBJECT:
        return False
    if malloc.room + NEAR < size:
        return True
    change = anonymous(seen[number]).size - anonymous(seen[number - 1]).size
    gone = size // 2 + PAGE
    return change % ARENA not in (0, -gone % ARENA)


def wanted(seen, size):
    """By how much the mappings are to grow at the step to a string of this size."""
    change = size + PAGE if in_mapping(seen, size) else 0
    if size > SMALLEST and in_mapping(seen, size // 2):
        change -= size // 2 + PAGE
    return change


def grown(before, after, wanted):
    """By how much the mappings grew, arenas left out."""
    change = anonymous(after).size - anonymous(before).size
    extra = change - wanted
    return wanted if extra % ARENA == 0 and abs(extra) <= 4 * MiB else change


# ---- the program ---------------------------------------------------------------------


@points(
    1,
    "grow.py waits twelve times and ends with status 0",
    hint="Once before the first string, and once with each of eleven strings.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    2,
    "strings of less than 128 KiB come from the heap",
    hint="Start with 16 * 1024 characters. Characters beyond ASCII take more than a byte each.",
)
def test_small_strings_come_from_the_heap(seen):
    for size in SIZES:
        if not may_be_mapped(size):
            before, after = step(seen, size)
            assert grown(before, after, 0) == 0 * KiB, "growth of the mappings, in bytes"


@points(
    2,
    "a string of 128 KiB or more gets a mapping of its own, unless the heap has room for it",
    hint="It doubles from 16 to 32, 64 and 128 KiB.",
)
def test_the_first_mapping(seen):
    for size in SIZES:
        if may_be_mapped(size):
            before, after = step(seen, size)
            expected = wanted(seen, size)
            assert grown(before, after, expected) == expected, (
                "growth of the mappings, in bytes: a new one has the string and a page"
            )
            if in_mapping(seen, size):
                break


@points(
    2,
    "each doubling makes a new mapping, and removes the old one",
    hint="Keep the newest string only: `text = text + text`. What does a list of all strings keep?",
    needs="test_the_first_mapping",
)
def test_each_step_maps_anew(seen):
    for size in SIZES[1:]:
        if in_mapping(seen, size // 2):
            before, after = step(seen, size)
            expected = wanted(seen, size)
            assert grown(before, after, expected) == expected, (
                "growth of the mappings, in bytes: one is added, and the old one is removed"
            )
            gained = sum(end - start for c in (after - before).changes for start, end in c.gained)
            assert gained >= size, "addresses that were not in use before"


@points(
    1,
    "at the end, a string of 16 MiB is in memory, and no other",
    hint="The last string has 16 * 1024 * 1024 characters.",
)
def test_the_last_string(seen):
    before, after = seen[1], seen[12]
    assert anonymous(after).rss - anonymous(before).rss >= LARGEST
    assert anonymous(after).rss - anonymous(before).rss <= LARGEST + 4 * MiB


# ---- predictions, by what malloc does on this machine --------------------------------------


@points(1, "prediction: first_mapped", hint="man 3 mallopt, under M_MMAP_THRESHOLD.")
def test_predicted_first_mapped(submission):
    right = next(size for size in SIZES if may_be_mapped(size))
    predicted("first_mapped", submission.predictions.size("first_mapped"), right)


@points(1, "prediction: mapping_of_1_mib", hint="sys.getsizeof(text), in whole pages.")
def test_predicted_mapping(submission):
    right = -(-(MiB + OBJECT) // PAGE) * PAGE
    predicted("mapping_of_1_mib", submission.predictions.size("mapping_of_1_mib"), right)


@points(1, "prediction: last_step_vsz", hint="One mapping is added, and another one is removed.")
def test_predicted_last_step(submission):
    predicted("last_step_vsz", submission.predictions.size("last_step_vsz"), LARGEST - LARGEST // 2)


# ---- quiz: the right answer is the one that holds on this machine --------------------------

TWICE = "text = 'x' * (8 << 20); input(); text = text + text; input()"


@pytest.fixture(scope="module")
def doubled(submission):
    """An interpreter with a string of 8 MiB, and after doubling it."""
    python = submission.program(["python3", "-I", "-c", TWICE])
    return walk(python, "with a string of 8 MiB", "after doubling it")


@points(1, "quiz: whose memory it is", hint="ls -l /proc/PID/exe")
def test_quiz_program(submission, doubled):
    owners = {region.pathname for region in regions(doubled[1], kind="text")}
    exe = doubled[1].identity.exe or ""
    holds = {"a": any(str(path).endswith("grow.py") for path in owners), "b": "python" in exe}
    verify(submission, "program", only(holds))


@points(1, "quiz: at the peak", hint="When can the old string be freed? VmHWM in /proc/PID/status.")
def test_quiz_peak(submission, doubled):
    before, after = doubled[1], doubled[2]
    more = after.memory.peak_rss - before.rss
    at_peak = round((8 * MiB + more) / (8 * MiB)) * 8 * MiB
    sizes = {"a": 8 * MiB, "b": 16 * MiB, "c": 24 * MiB}
    right = only({letter: size == at_peak for letter, size in sizes.items()})
    verify(submission, "peak", right)


@points(1, "quiz: small strings", hint="Compare [heap] in /proc/PID/maps before and after.")
def test_quiz_small(submission):
    code = "text = 'x' * 16384; print(hex(id(text)), flush=True); input()"
    with submission.program(["python3", "-I", "-c", code]).run() as run:
        waiting = run.pause()
        region = waiting.regions.find(int(run.output.split()[0], 16))
    kind = "nowhere" if region is None else str(region.kind)
    right = only({"a": kind == "heap", "b": kind == "stack", "c": kind in ("data", "bss")})
    verify(submission, "small", right)
