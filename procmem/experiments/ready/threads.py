"""How much memory a thread takes: a stack, a guard page, an arena."""

from __future__ import annotations

import resource

from procmem.errors import BadArgument
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.specimen import Specimen
from procmem.units import MiB, kib

__all__ = ["threads"]


@experiment(
    "threads",
    "Threads",
    "How much memory does a thread take, and how much when it calls malloc?",
)
def threads(tell: Teller, *, stack: int = MiB) -> None:
    """Starts threads, lets them call malloc, and joins them.

    Args:
        stack: bytes of the stack of one thread, instead of the default.
    """
    page = resource.getpagesize()
    if stack < 65536 or stack % page or stack > 1 << 40:
        raise BadArgument(f"a stack of {stack} bytes: whole pages, 64 KiB to 1 TiB")
    with Specimen(libc=True) as s:
        tell.step("malloc(100) in the main thread", s.malloc(100))
        before = s.process.maps()
        first = tell.step(
            "start a thread",
            s.thread(),
            "The stack is only addresses at first: its pages are allocated as it is used.",
        )
        number = first.thread or 0
        known = {region.start for region in before}
        new = [region for region in s.process.maps() if region.start not in known]
        guard = next((region for region in new if str(region.perms) == "---p"), None)
        if guard is not None:
            tell.claim(
                "the guard below the stack",
                f"{page} bytes, ---p",
                f"{guard.size} bytes, {guard.perms}",
                "A thread that overruns its stack hits the guard, not other memory.",
                rests_on=[first],
            )
            limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
            tell.bytes(
                "the stack",
                2 * MiB if limit == resource.RLIM_INFINITY else -(-limit // page) * page,
                first.delta.vsz - guard.size,
                "The size of ulimit -s; 2 MiB where that is unlimited.",
                rests_on=[first],
            )
        tell.step(
            "malloc(100) in the thread",
            s.malloc(100, thread=number),
            "The thread gets an arena of its own, so that threads need not wait for each other:"
            " 64 MiB of addresses, and little memory. VSZ does not show how much is used.",
        )
        tell.step("malloc(100) there again", s.malloc(100, thread=number))
        large = tell.step(
            "malloc(100,000) there, twice",
            s.malloc(100_000, thread=number),
        )
        tell.step(
            "the second time",
            s.malloc(100_000, thread=number),
            "The arena grows by mprotect: it has the addresses already, so VSZ stays.",
        )
        tell.step(
            "the main thread frees the first",
            s.free(large.address or 0),
            "A chunk goes back to the arena that it came from, whichever thread frees it.",
        )
        tell.step(
            f"start a thread with a stack of {kib(stack)}",
            s.thread(stack),
            "The requested size, and the guard.",
        )
        tell.step("join the first thread", s.join(number), "Its arena is kept for the next thread.")
        other = tell.step("start another", s.thread())
        tell.step(
            "malloc(100) in it",
            s.malloc(100, thread=other.thread),
            "It gets the arena of the first thread: no more addresses.",
        )
    with Specimen(libc=True) as s:
        s.malloc(100)
        started = [s.thread() for _ in range(6)]
        tell.bytes(
            "in a new process: six threads",
            sum(one.predicted.vsz for one in started),
            sum(one.delta.vsz for one in started),
            rests_on=started,
        )
        joined = [s.join(one.thread or 0) for one in started]
        tell.bytes(
            "unmapped when all were joined",
            sum(-one.predicted.vsz for one in joined),
            sum(-one.delta.vsz for one in joined),
            "glibc keeps up to 40 MiB of stacks for later threads.",
            rests_on=joined,
        )
