"""dlopen: which libraries are mapped at each wait, and whether their functions were called."""

from typing import NamedTuple

import pytest

from procmem.grade import SubmissionError, not_possible, only, points, regions, verify, walk

PHASES = (
    "at the start", "with libred.so", "with libblue.so", "after libred.so was loaded again",
    "after libred.so was unloaded", "after libblue.so was unloaded",
)  # fmt: skip

RED, BLUE, BASE = "libred.so", "libblue.so", "libbase.so"


class Look(NamedTuple):
    """What the data of the libraries says."""

    red: bool
    base: bool


def look(run):
    shot = run.phases[-1][1]
    return Look(
        called(run, shot, RED, b"red was called"), called(run, shot, BASE, b"base was called")
    )


def called(run, shot, name, text):
    """Whether a text is in the writable memory of a library."""
    with open(f"/proc/{run.pid}/mem", "rb", buffering=0) as memory:
        for region in regions(shot, path=name):
            if region.perms.write:
                memory.seek(region.start)
                if text in memory.read(region.size):
                    return True
    return False


@pytest.fixture(scope="module")
def seen(program):
    return walk(program, *PHASES, look=look)


@pytest.fixture(scope="module")
def here(solution):
    """What the solution shows on this machine."""
    return solution.walk(*PHASES, look=look)


def code(seen, wait, name):
    """The addresses at which code of a library is mapped."""
    return [one.start for one in regions(seen[wait], path=name) if one.perms.execute]


WAITS = "first", "second", "third", "fourth", "fifth", "sixth"


def expect(seen, wait, *names):
    """Ends the check unless these of the three libraries are mapped, and no others."""
    when = f"at the {WAITS[wait - 1]} wait"
    for name in (RED, BLUE, BASE):
        left = len(regions(seen[wait], path=name))
        if name not in names and left:
            raise SubmissionError(f"{name} is mapped {when}")
        many = len(code(seen, wait, name))
        if name in names and many != 1:
            how = f"mapped {many} times" if many else "not mapped"
            raise SubmissionError(f"{name} is {how} {when}")


def need_unmapping(here):
    """Ends the check where the C library never unmaps a library, as musl does."""
    if code(here, 5, RED):
        not_possible("dlclose of this C library unmaps nothing")


# ---- the checks ---------------------------------------------------------------------


@points(
    1,
    "plugins waits six times and ends with status 0",
    hint="dlerror() says why a library can't be loaded. Keep every ask().",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    2,
    "libred.so is loaded after the start",
    hint="A program that is linked with -lred has the library from its start.",
)
def test_red(seen):
    expect(seen, 1)
    expect(seen, 2, RED)


@points(
    2,
    "its function red was called",
    hint="dlsym(library, name) returns the address of a function.",
    needs="test_red",
)
def test_red_is_called(seen):
    assert seen.look(2).red, "red() was not called before the third wait"


@points(
    2,
    "with libblue.so its needed library libbase.so is loaded, too",
    hint='Load "./libblue.so" alone: the loader finds the other one.',
    needs="test_red",
)
def test_blue(seen):
    expect(seen, 3, RED, BLUE, BASE)


@points(2, "blue was called, which calls base", hint="dlsym again.", needs="test_blue")
def test_blue_is_called(seen):
    assert seen.look(3).base, "base() was not called before the fourth wait"


@points(
    2,
    "libred.so stays where it was, after it was loaded once more and unloaded once",
    hint="The loader counts. How often was it loaded, how often unloaded?",
    needs="test_red",
)
def test_red_is_counted(seen):
    assert code(seen, 4, RED) == code(seen, 2, RED), "addresses of libred.so's code"


@points(
    2,
    "after its last dlclose libred.so is gone, and the others stay",
    hint="Each dlopen needs a dlclose.",
    needs=["test_blue", "test_red_is_counted"],
)
def test_red_is_gone(seen, here):
    need_unmapping(here)
    expect(seen, 5, BLUE, BASE)


@points(
    2,
    "after dlclose of libblue.so no library is left of the three",
    hint="RTLD_NODELETE keeps a library, and so does another user of it.",
    needs="test_red_is_gone",
)
def test_all_are_gone(seen, here):
    need_unmapping(here)
    expect(seen, 6)


# ---- quiz: the right answer is what the solution shows on this machine --------------------


@points(1, "quiz: what a library needs", hint="readelf -d libblue.so | grep NEEDED")
def test_quiz_needed(submission, here):
    at_start, later = (len(code(here, wait, BASE)) for wait in (1, 3))
    right = only({"a": at_start > 0, "b": not at_start and later > 0, "c": later == 0})
    verify(submission, "needed", right)


@points(1, "quiz: loaded twice", hint="grep -c libred.so /proc/PID/maps")
def test_quiz_twice(submission, here):
    many = len(code(here, 4, RED))
    verify(submission, "twice", only({"a": many == 2, "b": many == 1, "c": many == 0}))


@points(1, "quiz: after the last user", hint="grep libbase.so /proc/PID/maps")
def test_quiz_closed(submission, here):
    left = len(regions(here[6], path=BASE))
    still = len(code(here, 6, BASE))
    verify(submission, "closed", only({"a": left == 0, "b": left > still, "c": left == still > 0}))
