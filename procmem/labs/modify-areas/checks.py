"""Checks of modify-areas: each program is compared with `plain`, which lacks its one change."""

import os
import subprocess

import pytest

import procmem
from procmem.experiments import Specimen
from procmem.grade import (
    PAGE,
    KiB,
    heap,
    installed,
    not_possible,
    pieces,
    points,
    regions,
    stack,
    top_pad,
    verify,
    walk,
)

CONSTANTS, DATA, BSS, HEAP, STACK = 8 * KiB, 16 * KiB, 32 * KiB, 192 * KiB, 320 * KiB

SLACK = KiB
"""What else a change adds to a file: code, names in the symbol tables, alignment."""


def run(submission, name):
    return walk(submission.program([f"./{name}"]), f"{name}, at the start", f"{name}, changed")


def sizes(submission, name):
    return submission.program([f"./{name}"]).size


def own(snapshot, *kinds):
    """Bytes of the program's own areas of some kinds."""
    return sum(
        one.size
        for kind in kinds
        for one in regions(snapshot, kind=kind)
        if str(one.owner) == "executable"
    )


@pytest.fixture(scope="module")
def plain(submission):
    return sizes(submission, "plain")


@pytest.fixture(scope="module")
def plain_run(submission):
    return run(submission, "plain")


@points(
    1,
    "plain waits twice, and none of its areas changes",
    hint="Whatever you add belongs between #ifdef and #endif.",
)
def test_plain(plain, plain_run):
    start, changed = plain_run[1], plain_run[2]
    plain_run.require_end()
    assert plain.data + plain.bss < DATA, "data and bss of plain"
    assert heap(changed).size == heap(start).size
    assert stack(changed).size == stack(start).size


@points(
    2,
    "8 KiB of constants enlarge text, and nothing else",
    hint="Compare `size plain constants`. Is the array const? Is it global?",
)
def test_constants(submission, plain, plain_run):
    ours = sizes(submission, "constants")
    assert ours.text - plain.text >= CONSTANTS, (
        "how much larger text is in ./constants than in ./plain"
    )
    assert ours.text - plain.text <= CONSTANTS + SLACK, (
        "how much larger text is in ./constants than in ./plain"
    )
    assert abs(ours.data - plain.data) < SLACK, "how far data of ./constants differs from ./plain's"
    assert abs(ours.bss - plain.bss) < SLACK, "how far bss of ./constants differs from ./plain's"
    running = run(submission, "constants")[1]
    more = own(running, "rodata", "text") - own(plain_run[1], "rodata", "text")
    assert more >= CONSTANTS - PAGE, (
        "how much larger these areas are in memory than those of ./plain"
    )
    assert more <= CONSTANTS + PAGE, (
        "how much larger these areas are in memory than those of ./plain"
    )
    assert heap(running).size == heap(plain_run[1]).size


@points(
    2,
    "16 KiB of variables with an initial value enlarge data, and nothing else",
    hint="Compare `size plain data`. With an initial value of zero, it is in bss.",
)
def test_data(submission, plain, plain_run):
    ours = sizes(submission, "data")
    assert ours.data - plain.data >= DATA, "how much larger data is in ./data than in ./plain"
    assert ours.data - plain.data <= DATA + SLACK, (
        "how much larger data is in ./data than in ./plain"
    )
    assert abs(ours.text - plain.text) < SLACK, "how far text of ./data differs from ./plain's"
    assert abs(ours.bss - plain.bss) < SLACK, "how far bss of ./data differs from ./plain's"
    running = run(submission, "data")[1]
    more = own(running, "data") - own(plain_run[1], "data")
    assert more >= DATA - PAGE, "how much larger these areas are in memory than those of ./plain"
    assert more <= DATA + PAGE, "how much larger these areas are in memory than those of ./plain"
    assert heap(running).size == heap(plain_run[1]).size


@points(
    2,
    "32 KiB of variables without an initial value enlarge bss, and nothing else",
    hint="Compare `size plain bss`. Leave out the `=`.",
)
def test_bss(submission, plain, plain_run):
    ours = sizes(submission, "bss")
    assert ours.bss - plain.bss >= BSS, "how much larger bss is in ./bss than in ./plain"
    assert ours.bss - plain.bss <= BSS + SLACK, "how much larger bss is in ./bss than in ./plain"
    assert abs(ours.text - plain.text) < SLACK, "how far text of ./bss differs from ./plain's"
    assert abs(ours.data - plain.data) < SLACK, "how far data of ./bss differs from ./plain's"
    running = run(submission, "bss")[1]
    more = own(running, "bss", "data") - own(plain_run[1], "bss", "data")
    assert more >= BSS - PAGE, "how much larger these areas are in memory than those of ./plain"
    assert more <= BSS + PAGE, "how much larger these areas are in memory than those of ./plain"
    assert heap(running).size == heap(plain_run[1]).size


@points(
    2,
    "192 KiB of small allocations enlarge the heap, and nothing else",
    hint="A block of 128 KiB or more is mapped outside of the heap. Freed blocks are reused.",
)
def test_heap(submission, plain):
    shots = run(submission, "heap")
    start, changed = shots[1], shots[2]
    change = changed - start
    grown = heap(changed).size - heap(start).size
    # What is left of the first heap serves the first pieces.
    assert heap(changed).size >= HEAP, "the heap after the allocations"
    assert heap(changed).size <= HEAP + 2 * top_pad() + 8 * PAGE, "the heap after the allocations"
    assert grown > 0, "growth of the heap between the waits"
    assert change.vsz == grown
    assert heap(changed).rss >= HEAP, "bytes of the heap in memory"
    found = pieces(submission.program(["./heap"]), answers=["", ""])
    if found is not None:
        # The rest is what stdio allocates for its buffers, and less than another piece.
        assert HEAP <= sum(found.asked) < HEAP + 8 * KiB, "bytes that malloc is asked for in total"
    ours = sizes(submission, "heap")
    assert abs(ours.data - plain.data) < SLACK, "how far data of ./heap differs from ./plain's"
    # Pointers to the pieces have to be somewhere: 8 bytes for a piece of 64 at the least.
    assert ours.bss - plain.bss < HEAP // 8 + SLACK, (
        "how much larger bss is in ./heap than in ./plain"
    )
    shots.require_end()


@points(
    2,
    "20 calls with 16 KiB each enlarge the stack, and nothing else",
    hint="Is the array volatile, and written to? Does each call have its own?",
)
def test_stack(submission, plain):
    shots = run(submission, "stack")
    start, changed = shots[1], shots[2]
    change = changed - start
    grown = stack(changed).size - stack(start).size
    # At the start it holds the environment and what main needs; some of that is used again.
    taken = stack(changed).size - stack(start).rss
    assert taken >= STACK - 12 * KiB, "bytes of the stack that the calls take"
    # A compiler that optimises may put more than one call into a frame.
    assert taken <= STACK + 16 * KiB, "bytes of the stack that the calls take"
    assert change.vsz == grown
    ours = sizes(submission, "stack")
    assert abs(ours.data - plain.data) < SLACK, "how far data of ./stack differs from ./plain's"
    assert abs(ours.bss - plain.bss) < SLACK, "how far bss of ./stack differs from ./plain's"
    shots.require_end()


# ---- what this machine's compiler does -------------------------------------------------

EMPTY = "int first(void) { return 1; }"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("objects")


def compiled(directory, code):
    """Sizes of what this machine's compiler makes of some code."""
    source = directory / "code.c"
    source.write_text(code)
    command = ["cc", "-O1", "-c", "-o", directory / "code.o", source]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        not_possible("no C compiler (cc) is installed for the checks")
    if done.returncode:
        not_possible(f"cc: {done.stderr.strip()}")
    return procmem.size(directory / "code.o")


# ---- predictions --------------------------------------------------------------------


@points(
    2,
    "predictions: text, data and bss",
    hint="Each array is in one of the three, and takes its size there.",
)
def test_predicted_sizes(submission, directory):
    said = submission.predictions
    empty = compiled(directory, EMPTY)
    for entry, part, code in (
        ("constants_text", "text", f"const char array[{CONSTANTS}] = {{1}};"),
        ("data_data", "data", f"char array[{DATA}] = {{1}};"),
        ("bss_bss", "bss", f"char array[{BSS}];"),
    ):
        more = getattr(compiled(directory, f"{EMPTY}\n{code}"), part) - getattr(empty, part)
        assert abs(said.size(entry) - more) < SLACK, entry


@points(
    1,
    "prediction: what bss adds to the file",
    hint="What would the file hold? Compare ls -l plain bss.",
)
def test_predicted_file(submission, directory):
    without = os.path.getsize(compiled(directory, EMPTY).path)
    more = os.path.getsize(compiled(directory, f"{EMPTY}\nchar array[{BSS}];").path) - without
    assert abs(submission.predictions.size("bss_file") - more) < SLACK, "bss_file"


@points(
    1,
    "prediction: the size of the heap",
    hint="Count what you allocate. The library asks for a little more.",
)
def test_predicted_heap(submission):
    with Specimen(libc=True) as one:
        grown = sum(one.malloc(4 * KiB).delta.vsz for _ in range(HEAP // (4 * KiB)))
    said = submission.predictions.size("heap_size")
    assert said <= grown, "heap_size"
    assert said >= grown - top_pad(), "heap_size"


# ---- quiz ---------------------------------------------------------------------------


def larger(directory, code):
    """Where code makes an object larger: "text", "data" or "bss"."""
    before, after = compiled(directory, EMPTY), compiled(directory, f"{EMPTY}\n{code}")
    return max(
        ("text", "data", "bss"), key=lambda name: getattr(after, name) - getattr(before, name)
    )


@points(1, "quiz: zeros", hint="Compile it with -c, and run `size`.")
def test_quiz_zero(submission, directory):
    right = {"data": "a", "bss": "b", "text": "c"}[larger(directory, "int a[8192] = {0};")]
    verify(submission, "zero", right)


@points(1, "quiz: strings", hint="Make the string a few KiB long, and run `size`.")
def test_quiz_string(submission, directory):
    code = f'const char *name = "{"long" * 500}";'
    right = {"text": "a", "data": "b", "bss": "c"}[larger(directory, code)]
    verify(submission, "string", right)


@points(1, "quiz: static variables of functions", hint="Compile one with -c, and run `size`.")
def test_quiz_local(submission, directory):
    code = "int *calls_of(void) { static int calls[1024]; return calls; }"
    right = "c" if larger(directory, code) == "bss" else "a"
    verify(submission, "local", right)


@points(1, "quiz: after a recursion", hint="Let the program wait once more after use_stack().")
def test_quiz_returned(submission):
    # A shell, whose functions call themselves on the stack.
    script = "f() { if [ $1 -gt 0 ]; then f $(($1 - 1)); fi; }; read line; f 1000; read line"
    shots = walk(submission.program([installed("bash"), "-c", script]), "before it", "after it")
    size = stack(shots[2]).size - stack(shots[1]).size
    used = stack(shots[2]).rss - stack(shots[1]).rss
    right = "a" if size < 64 * KiB else "b" if used > size // 2 else "c"
    verify(submission, "returned", right)
