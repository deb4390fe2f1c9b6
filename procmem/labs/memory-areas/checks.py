"""Checks of memory-areas. All figures are measured from outside; none is what a program prints."""

import pytest

from procmem.grade import (
    PAGE,
    KiB,
    bss,
    heap,
    installed,
    libraries,
    points,
    regions,
    stack,
    stack_limit,
    top_pad,
    verify,
    walk,
)

CONSTANTS = SETTINGS = 32 * KiB
BUFFER = 64 * KiB


@pytest.fixture(scope="module")
def shots(program):
    return walk(program, "after the greeting", "after the buffer is written")


@pytest.fixture(scope="module")
def greeted(shots):
    return shots[1]


def of_program(snapshot, kind):
    return [one for one in regions(snapshot, kind=kind) if str(one.owner) == "executable"]


def largest(snapshot, kind):
    return max((one.size for one in of_program(snapshot, kind)), default=0)


@points(
    1,
    "hello waits twice for Enter, then ends with status 0",
    hint="Call wait_for_enter() a second time, after the loop, and return 0 from main.",
)
def test_waits(shots):
    shots.require_end()


@points(
    2,
    "32 KiB of constants are in a read-only area",
    hint="Which keyword declares that a variable may not be written?",
)
def test_constants(greeted):
    size = largest(greeted, "rodata")
    assert size >= CONSTANTS, "the largest r--p area of the program"


@points(
    2,
    "32 KiB of initialised variables are in the data area",
    hint="A variable is in .data only if its initial value isn't zero.",
)
def test_settings(program, greeted):
    assert program.size.data >= SETTINGS, "data, as `size hello` shows it"
    size = largest(greeted, "data")
    assert size >= SETTINGS, "the rw-p area of the program's file"


@points(
    2,
    "64 KiB of variables without an initial value are in bss, which has no file",
    hint="Declare the array outside of main, without `=`, and without malloc.",
)
def test_buffer(program, greeted):
    assert program.size.bss >= BUFFER, "bss, as `size hello` shows it"
    # The first bytes of bss are in the last page of the data.
    assert bss(greeted).size >= BUFFER - PAGE, "the rw-p area after the program's file"


@points(
    2,
    "the buffer takes memory only when it is written",
    hint="At the first Enter none of it may have been written, at the second one every page.",
)
def test_lazy(shots):
    before, after = bss(shots[1]).rss, bss(shots[2]).rss
    assert before is not None and after is not None
    assert before < BUFFER // 2, "bytes of bss in memory before the loop"
    assert after >= BUFFER - PAGE, "bytes of bss in memory after the loop"


@points(
    1,
    "the heap is no larger than the one that stdio creates",
    hint="printf() allocates a buffer at its first call. Nothing else here needs the heap.",
)
def test_first_heap(greeted):
    # The heap may begin within a page. stdio allocates two small buffers; write(2) needs none.
    assert heap(greeted).size <= top_pad() + 4 * PAGE, "the heap after stdio's buffers alone"


@points(
    2,
    "hello-merged has its constants in the area of its code",
    hint="Link it with -Wl,-z,noseparate-code, and hello without. Compare the first lines of pmap.",
)
def test_merged(submission, greeted):
    with submission.program(["./hello-merged"]).run() as run:
        merged = run.pause("hello-merged, after the greeting")
    first = of_program(greeted, "rodata")
    assert first and first[0] < of_program(greeted, "text")[0], "hello begins with an r--p area"
    size = largest(merged, "text")
    assert size >= CONSTANTS, "the r-xp area of hello-merged"
    fewer = len(of_program(greeted, "rodata")) - len(of_program(merged, "rodata"))
    assert fewer >= 2, "how many fewer r--p areas hello-merged has"


@points(
    1,
    "hello.py waits, and the process is the interpreter",
    hint="input() waits for Enter.",
)
def test_python(submission):
    with submission.program([installed("python3"), "-c", "input()"]).run() as run:
        interpreter = run.pause("python3, waiting").identity.exe
    with submission.program([installed("python3"), "hello.py"]).run() as run:
        waiting = run.pause("hello.py, after the greeting")
    assert waiting.identity.exe == interpreter, "the program that runs hello.py"
    assert not regions(waiting, path="hello.py"), "areas of hello.py"


# ---- quiz: the right answer is the one that holds on this machine -------------------


@pytest.fixture(scope="module")
def cat(submission):
    with submission.program([installed("cat")]).run() as run:
        return run.pause("cat, waiting")


@points(1, "quiz: pmap's total and VSZ", hint="Add up the sizes in /proc/PID/maps of any process.")
def test_quiz_total(submission, cat):
    assert all(one.start % PAGE == 0 and one.size % PAGE == 0 for one in cat.regions)
    total = sum(one.size for one in cat.regions)
    vsyscall = sum(one.size for one in regions(cat, kind="vsyscall"))
    right = "b" if total - vsyscall == cat.vsz else "a" if total == cat.vsz else "c"
    verify(submission, "total", right)


@points(1, "quiz: RSS and VSZ", hint="ps -o rss,vsz,comm -C cat")
def test_quiz_resident(submission, cat):
    assert cat.rss is not None
    right = "a" if cat.rss < cat.vsz else "b" if cat.rss == cat.vsz else "c"
    verify(submission, "resident", right)


@points(1, "quiz: libraries", hint="Count the lines of /proc/PID/maps with .so and r-xp.")
def test_quiz_libraries(submission, cat):
    with submission.program([installed("bash"), "-c", "read line"]).run() as run:
        bash = run.pause("bash, waiting")
    ours, theirs = len(libraries(cat)), len(libraries(bash))
    right = "c" if theirs > ours else "b" if theirs == ours else "a"
    verify(submission, "libraries", right)


@points(1, "quiz: the interpreter", hint="ls -l /proc/PID/exe; grep hello.py /proc/PID/maps")
def test_quiz_interpreter(submission):
    with submission.program([installed("python3"), "-c", "input()"]).run() as run:
        waiting = run.pause("python3, waiting")
    owner = of_program(waiting, "text")[0].pathname or ""
    right = "b" if "python" in owner else "a"
    verify(submission, "interpreter", right)


@points(1, "quiz: the stack", hint="grep stack /proc/PID/maps; ulimit -s")
def test_quiz_stack(submission, cat):
    limit = stack_limit()
    area = stack(cat)
    small = limit is None or area.size < limit
    right = "c" if small else "a" if area.rss == area.size else "b"
    verify(submission, "stack", right)
