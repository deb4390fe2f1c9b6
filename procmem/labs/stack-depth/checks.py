"""stack-depth: what of each stack is reserved, was touched, and is in use, at each wait."""

import signal
from typing import NamedTuple

import pytest

from procmem.grade import (
    PAGE,
    KiB,
    MiB,
    ProgramCrashed,
    SubmissionError,
    not_possible,
    only,
    points,
    predicted,
    stack,
    verify,
    walk,
)

FRAME, LEVELS, THREAD_LEVELS = 4096, 1100, 100
DEEP, THREAD_DEEP = LEVELS * FRAME, THREAD_LEVELS * FRAME
SMALL = 1 * MiB
NOISE = 64 * KiB
"""The functions of the C library use some pages of a stack, too."""

PHASES = (
    "at the start", "in the deepest level", "after all levels have returned",
    "while the thread is deep", "after the thread has returned from its levels",
    "after the thread has ended",
)  # fmt: skip


class Look(NamedTuple):
    """The stack of the main thread, and those of all others."""

    main: object
    others: list


def stacks(run):
    found = list(run.process.stacks())
    # IDs of threads may start again at small numbers: the main thread is not always the first.
    (main,) = (one for one in found if one.tid == run.pid)
    return Look(main, [one for one in found if one is not main])


@pytest.fixture(scope="module")
def seen(program):
    return walk(program, *PHASES, look=stacks)


def main_stack(seen, wait):
    found = seen.look(wait).main
    if found.in_use is None and found.elsewhere:
        raise SubmissionError(
            f"the main thread does not run on its stack, but on {found.elsewhere}"
        )
    return known(found)


def thread_stack(seen, wait):
    found = seen.look(wait).others
    if len(found) != 1:
        raise SubmissionError(
            f"{len(found)} threads beside the main thread exist, where there should be one"
        )
    return known(found[0])


def known(found):
    if found.reserved is None or found.touched is None or found.in_use is None:
        not_possible("the stacks of threads can't be read here")
    return found


# ---- depth --------------------------------------------------------------------------


@points(
    1,
    "depth waits six times and ends with status 0",
    hint="Keep every ask(), and return 0 from main.",
)
def test_runs_to_its_end(seen):
    assert seen.ended.status == 0, "the program ends with status 0"


@points(
    2,
    "the main thread waits 1,100 levels deep",
    hint="Each level calls the next one before it returns, and the last one asks.",
)
def test_main_is_deep(seen):
    start, deep = main_stack(seen, 1), main_stack(seen, 2)
    assert deep.in_use - start.in_use >= DEEP, "bytes of the main thread's stack in use, more"
    assert deep.in_use - start.in_use <= DEEP + DEEP // 4, "bytes of the main thread's stack in use"
    assert deep.touched - start.touched >= DEEP - NOISE, "bytes of it ever touched, more"


@points(
    2,
    "after the return little is in use, and all that was touched is still in memory",
    hint="Let every level return before the third wait.",
    needs="test_main_is_deep",
)
def test_main_is_back(seen):
    start, deep, back = (main_stack(seen, wait) for wait in (1, 2, 3))
    assert back.in_use - start.in_use <= NOISE, "bytes of the main thread's stack in use, more"
    assert back.touched >= deep.touched, "bytes of it ever touched"
    assert stack(seen[3]).rss >= stack(seen[2]).rss - NOISE, "RSS of the stack, in bytes"


@points(
    2,
    "a thread exists, with a stack of 1 MiB and a guard below it",
    hint="pthread_attr_setstacksize, before pthread_create.",
)
def test_thread_stack(seen):
    assert len(seen.look(3).others) == 0, "other threads before the fourth wait"
    mine = thread_stack(seen, 4)
    assert mine.reserved == SMALL, "bytes reserved for the thread's stack"
    assert mine.guard is not None and mine.guard >= PAGE, "bytes of the guard below its stack"


@points(
    2,
    "the thread waits 100 levels deep, and main does not",
    hint="Call deeper() in work(), where the thread runs.",
    needs="test_thread_stack",
)
def test_thread_is_deep(seen):
    mine = thread_stack(seen, 4)
    assert mine.in_use >= THREAD_DEEP, "bytes of the thread's stack in use"
    assert mine.in_use <= THREAD_DEEP + THREAD_DEEP // 4 + NOISE, (
        "bytes of the thread's stack in use"
    )
    main = main_stack(seen, 4).in_use - main_stack(seen, 1).in_use
    assert main <= NOISE, "bytes of the main thread's stack in use, more than at the start"


@points(
    2,
    "the thread has returned from its levels and still exists; its pages stay",
    hint="It should not end before the fifth Enter.",
    needs="test_thread_is_deep",
)
def test_thread_is_back(seen):
    deep, back = thread_stack(seen, 4), thread_stack(seen, 5)
    assert back.tid == deep.tid, "ID of the thread"
    assert back.in_use <= NOISE, "bytes of the thread's stack in use"
    assert back.touched >= deep.touched, "bytes of it ever touched"


@points(1, "the thread has ended", hint="pthread_join, before the last wait.")
def test_thread_ended(seen):
    assert len(seen.look(5).others) == 1, "other threads at the fifth wait"
    assert len(seen.look(6).others) == 0, "other threads at the last wait"


# ---- overflow -------------------------------------------------------------------------

THREAD_STACK, GUARD, ALTERNATE = 256 * KiB, 64 * KiB, 64 * KiB
SI_KERNEL = 128
"""si_code of the SIGSEGV that the kernel sends if the frame of a handler can't be written."""


class Handler(NamedTuple):
    """The main thread while it waits in a signal handler.

    Attributes:
        stack: its stack.
        blocked: whether SIGSEGV is blocked, as it is while its handler runs (sigaction(2)).
    """

    stack: object
    blocked: bool

    @property
    def filled(self):
        """Whether the whole stack was touched, but for one frame that may be large."""
        return self.stack.touched >= self.stack.limit - MiB

    @property
    def on_part_of_it(self):
        """Whether an alternate stack is itself a part of the thread's stack."""
        in_use = self.stack.in_use
        return self.blocked and self.filled and in_use is not None and in_use < DEEP


def handling(run):
    with open(f"/proc/{run.pid}/status", encoding="utf-8") as file:
        (mask,) = (line.split()[1] for line in file if line.startswith("SigBlk:"))
    main = stacks(run).main
    if main.limit is None or main.touched is None:
        not_possible("the stacks of threads can't be read here")
    return Handler(main, bool(int(mask, 16) >> signal.SIGSEGV - 1 & 1))


@pytest.fixture(scope="module")
def full(submission):
    return walk(
        submission.program(["./overflow"]),
        "overflow, at the start",
        "overflow, in the handler",
        look=handling,
    )


@points(
    1,
    "overflow waits in its handler, and ends with status 0",
    hint="A handler needs a stack. Which one does it get, when the thread's own is full?",
)
def test_handler_runs(full):
    ended = full.failure
    killed = isinstance(ended, ProgramCrashed) and ended.signal == signal.SIGSEGV
    if killed and len(full.looks) == 1:
        why = "it has no handler for it"
        if ended.code == SI_KERNEL:
            why = "its handler found no place on the full stack, and has no other one"
        raise SubmissionError(f"it was killed by SIGSEGV when its stack was full: {why}")
    full.look(2)
    assert full.ended.status == 0, "the program ends with status 0"


@points(
    2,
    "the handler runs on an alternate stack",
    hint="sigaltstack() names the stack; SA_ONSTACK makes the handler use it.",
    needs="test_handler_runs",
)
def test_alternate_stack(full):
    now = full.look(2)
    if now.stack.alternate is not None:
        assert now.stack.alternate.size >= ALTERNATE, "bytes of the alternate signal stack"
        return
    usual = now.stack.elsewhere is None and not now.on_part_of_it
    assert not usual, "the program waits on the thread's usual stack"


@points(
    2,
    "the stack is full when the handler is called",
    hint="Recursion without an end reaches the limit (ulimit -s) by itself; raise() does not.",
    needs="test_alternate_stack",
)
def test_stack_is_full(full):
    now = full.look(2)
    # The stack pointer of the function that was interrupted is below the stack, unless it is
    # known to be in it.
    if now.stack.in_use is None or now.on_part_of_it:
        assert now.filled, "the stack was not filled when the signal came"
        return
    # The access that failed was below the limit, and at most a few bytes below the pointer.
    least = now.stack.limit - PAGE
    assert now.stack.in_use >= least, "bytes of the stack in use when the signal came"


@pytest.fixture(scope="module")
def guarded(submission):
    program = submission.program(["./overflow", "thread"])
    return walk(program, "overflow thread, at its start", look=stacks)


@points(
    2,
    "overflow thread has a thread with a stack of 256 KiB and a guard of 64 KiB",
    hint="pthread_attr_setguardsize",
)
def test_guard(guarded):
    mine = thread_stack(guarded, 1)
    assert mine.reserved == THREAD_STACK, "bytes reserved for the thread's stack"
    assert mine.guard == GUARD, "bytes of the guard below its stack"


@points(
    2,
    "the thread's recursion ends the program in the guard",
    hint="No handler for SIGSEGV here: the program is killed by it.",
    needs="test_guard",
)
def test_ends_in_the_guard(guarded):
    mine = thread_stack(guarded, 1)
    ended = guarded.failure
    if ended is None:
        raise SubmissionError(
            f"it ended with status {guarded.ended.status}, where SIGSEGV should have killed it"
        )
    if not isinstance(ended, ProgramCrashed):
        raise ended
    assert signal.Signals(ended.signal).name == "SIGSEGV", "the signal that killed it"
    if ended.address is None:
        not_possible("the address of a fatal signal is not known here")
    place = ended.address
    assert place >= mine.start - GUARD, "the address that was accessed"
    assert place < mine.start, "the address that was accessed"


# ---- predictions and quiz, by what the solution does on this machine ------------------------


@pytest.fixture(scope="module")
def here(solution):
    return solution.walk(*PHASES, look=stacks)


def check_prediction(submission, name, size):
    predicted(name, submission.predictions.integer(name), max(size, 0) // MiB)


def growth(here, wait, figure):
    return getattr(main_stack(here, wait), figure) - getattr(main_stack(here, 1), figure)


@points(1, "prediction: deep_in_use", hint="1,100 times 4,096 bytes: how many MiB are that?")
def test_predicted_deep_in_use(submission, here):
    check_prediction(submission, "deep_in_use", growth(here, 2, "in_use"))


@points(1, "prediction: deep_touched", hint="Each level writes to its array.")
def test_predicted_deep_touched(submission, here):
    check_prediction(submission, "deep_touched", growth(here, 2, "touched"))


@points(1, "prediction: back_in_use", hint="Where is the stack pointer after the return?")
def test_predicted_back_in_use(submission, here):
    check_prediction(submission, "back_in_use", growth(here, 3, "in_use"))


@points(1, "prediction: back_touched", hint="Who would return the pages?")
def test_predicted_back_touched(submission, here):
    check_prediction(submission, "back_touched", growth(here, 3, "touched"))


@points(1, "prediction: thread_reserved", hint="A thread's stack is mapped as a whole.")
def test_predicted_thread_reserved(submission, here):
    check_prediction(submission, "thread_reserved", thread_stack(here, 4).reserved)


@points(1, "prediction: thread_in_use", hint="100 times 4,096 bytes.")
def test_predicted_thread_in_use(submission, here):
    check_prediction(submission, "thread_in_use", thread_stack(here, 4).in_use)


@points(1, "quiz: after the return", hint="procmem threads PID, before and after.")
def test_quiz_returns(submission, here):
    deep, back = thread_stack(here, 4), thread_stack(here, 5)
    right = only({
        "a": back.reserved < deep.reserved,
        "b": back.touched < deep.touched,
        "c": back.in_use < deep.in_use - THREAD_DEEP // 2,
    })  # fmt: skip
    verify(submission, "returns", right)


@points(1, "quiz: how stacks come into being", hint="Column Reserved of procmem threads PID.")
def test_quiz_mapped(submission, here):
    main_grows = main_stack(here, 2).reserved > main_stack(here, 1).reserved + DEEP // 2
    thread_grows = thread_stack(here, 4).reserved < SMALL
    right = only({
        "a": not main_grows and not thread_grows,
        "b": main_grows and not thread_grows,
        "c": main_grows and thread_grows,
    })  # fmt: skip
    verify(submission, "mapped", right)


@points(1, "quiz: the overflow of a thread", hint="procmem lab check . shows the address.")
def test_quiz_overflow(submission, solution):
    seen = solution.walk(
        "the solution's overflow thread", program=["./overflow", "thread"], look=stacks, ends=False
    )
    mine, ended = thread_stack(seen, 1), seen.failure
    if not isinstance(ended, ProgramCrashed) or ended.address is None:
        not_possible("the address of a fatal signal is not known here")
    in_guard = mine.start - mine.guard <= ended.address < mine.start
    right = only({"a": in_guard, "b": not in_guard and ended.address > PAGE, "c": False})
    verify(submission, "overflow", right)
