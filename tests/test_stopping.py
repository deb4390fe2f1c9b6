"""A request to stop: a handler of a signal may make it, whatever runs in the main thread."""

from __future__ import annotations

import subprocess
import sys
import threading

from procmem.stopping import StopRequest

AT_EACH_STEP = """
import sys, time
from procmem.stopping import StopRequest

def waits(step, seconds):
    "As if a signal came at a step of wait(); when each step was."
    asked, steps = StopRequest(), []

    def trace(frame, event, argument):
        frame.f_trace_opcodes = True
        steps.append(time.monotonic())
        if len(steps) == step:
            asked.set()
        return trace

    sys.settrace(trace)
    made = asked.wait(seconds)
    sys.settrace(None)
    assert made == asked.is_set() == (0 < step <= len(steps)), (step, len(steps))
    return steps

steps = waits(0, 1)
assert len(steps) > 10
for step in range(1, len(steps) - 4):
    waits(step, 0.001)
# Before it sleeps, each wakes it.
rests = [later - now for now, later in zip(steps, steps[1:])]
for step in range(1, rests.index(max(rests)) + 2):
    waits(step, 600)
print("all")
"""


def test_a_handler_may_make_it_at_any_step_of_waiting() -> None:
    """The event of the threading module waits for itself there."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EACH_STEP], capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("all\n", "")


def test_all_threads_that_wait_are_woken() -> None:
    asked, woken = StopRequest(), []
    threads = [threading.Thread(target=lambda: woken.append(asked.wait(600))) for _ in range(3)]
    for thread in threads:
        thread.start()
    asked.set()
    for thread in threads:
        thread.join(60)
    assert woken == [True] * 3


def test_no_time_is_too_short_or_too_long() -> None:
    asked = StopRequest()
    assert not asked.wait(-1)
    asked.set()
    assert asked.wait(-1)
    assert asked.wait(1e12)
