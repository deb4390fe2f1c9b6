"""malloc and threads of a specimen with libc, each call a step."""

from __future__ import annotations

import copy
import errno
import os
import resource
import threading
from contextlib import closing
from typing import NamedTuple

from procmem.errors import BadArgument, SyscallError, Unsupported
from procmem.experiments.model.allocatestack import STACK_MINIMUM
from procmem.experiments.model.arena import HEAP_MAX, Actor
from procmem.experiments.model.chunks import Learned, LostTrackError
from procmem.experiments.model.malloc import Malloc
from procmem.experiments.specimen.arguments import integer
from procmem.experiments.specimen.kernel import initial_space
from procmem.experiments.specimen.stepper import Stepper, start
from procmem.native import lib
from procmem.regions import parse_maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procmem.experiments.model.page_tables import Tally
    from procmem.experiments.model.space import Space
    from procmem.experiments.specimen.helper import Helper
    from procmem.experiments.specimen.step import Call, Step

__all__ = ["Libc", "Verdict", "verdict"]

WORD = (1 << 64) - 1
DEFAULT_STACK = 2 << 20
"""Of a thread where `ulimit -s` is unlimited (ARCH_STACK_DEFAULT_SIZE)."""


class Verdict(NamedTuple):
    """What was found out about this machine's libc.

    Attributes:
        learned: what differs between builds of glibc.
        malloc, threads: why calls can't be predicted exactly; None: they can.
    """

    learned: Learned
    malloc: str | None
    threads: str | None


BOTH_FAULT = (
    "fork(2) made all pages read-only: where two threads write to one of them for the first time "
    "at once, each takes a fault, and both count"
)
"""Seen once in sixty first threads after a fork, and never in a process that did not fork."""

_verdict: Verdict | None = None
_lock = threading.Lock()


class Libc:
    """The calls of libc that a specimen makes.

    Args:
        stepper: carries the calls out.
        found: what is known of this machine's libc; None: it is found out.

    Attributes:
        threads: the running threads, by number.
        given: what malloc returned and nobody has freed, with the size that was asked for.
        reason: why no call is exact any more; None: calls are exact.
        forked: whether the process has forked since its last thread was started.
    """

    def __init__(self, stepper: Stepper, found: Verdict | None = None) -> None:
        self.stepper = stepper
        self.found = verdict() if found is None else found
        self.reason = self.found.malloc
        self.threads: dict[int, Actor] = {}
        self.given: dict[int, int] = {}
        self.freed: set[int] = set()
        self.forked = False
        stepper.heap()
        learned, pid = self.found.learned, stepper.helper.pid
        self.model = Malloc(
            stepper.space,
            learned,
            default_stack(pid, stepper.space.rules.page_size),
            len(os.sched_getaffinity(pid))
            if learned.by_affinity
            else os.sysconf("SC_NPROCESSORS_ONLN"),
        )

    def fork(self, stepper: Stepper) -> Libc:
        """The same of a child that the specimen has forked."""
        self.forked = True
        other = copy.copy(self)
        shared = "libc's notes on threads are shared with the parent since the fork"
        other.stepper = stepper
        other.found = self.found._replace(threads=shared)
        other.reason = self.reason or (shared if self.model.threaded else None)
        other.threads, other.given, other.freed = {}, dict(self.given), set(self.freed)
        other.model = self.model.fork(stepper.space)
        return other

    # ---- calls ---------------------------------------------------------------

    def malloc(self, size: int, thread: int | None) -> Step:
        """malloc(3)."""
        size = size_t(size)
        return self._allocate(
            "malloc", lib.PM_OP_MALLOC, (size,), thread, size,
            lambda actor: self.model.malloc(actor, size),
        )  # fmt: skip

    def calloc(self, count: int, size: int, thread: int | None) -> Step:
        """calloc(3)."""
        count, size = size_t(count), size_t(size)
        return self._allocate(
            "calloc", lib.PM_OP_CALLOC, (count, size), thread, count * size,
            lambda actor: self.model.calloc(actor, count * size),
        )  # fmt: skip

    def realloc(self, address: int, size: int, thread: int | None) -> Step:
        """realloc(3)."""
        size = size_t(size)
        if not size:
            raise BadArgument("realloc to 0 bytes is free in glibc: call free()")
        address = integer("the address", address, -WORD)
        if not address:
            return self.malloc(size, thread)
        self._check_given(address)
        step = self._allocate(
            "realloc", lib.PM_OP_REALLOC, (address, size), thread, size,
            lambda actor: self.model.realloc(actor, address, size),
        )  # fmt: skip
        if step.address != address:
            self.given.pop(address, None)
            self.freed.add(address)
        return step

    def _allocate(
        self,
        name: str,
        op: int,
        arguments: tuple[int, ...],
        thread: int | None,
        size: int,
        act: Callable[[Actor], int | None],
    ) -> Step:
        actor, words = self._actor(thread)
        predicted: list[int | None] = []
        shown = (hex(arguments[0]), arguments[1]) if name == "realloc" else arguments
        try:
            step = self._do(
                op, (*arguments, *words[len(arguments) :]), (name, lambda: shown),
                lambda: predicted.append(act(actor)), thread,
            )  # fmt: skip
        except SyscallError as error:
            if error.errno != errno.ENOMEM:
                raise
            raise SyscallError(
                name, errno.ENOMEM,
                f"{size:,} bytes: no mapping of that size fits into the address space, or"
                " vm.overcommit_memory doesn't let it; ask for less",
            ) from error  # fmt: skip
        step.address = step.result
        if predicted and step.exact:
            step.predicted_address = predicted[0]
            if predicted[0] != step.address:
                self._lose(f"{step.call} returned {step.address:#x}")
        self.given[step.result] = size
        self.freed.discard(step.result)
        return step

    def free(self, address: int, thread: int | None, *, check: bool) -> Step:
        """free(3)."""
        address = integer("the address", address, -WORD)
        actor, words = self._actor(thread)
        if address and check:
            self._check_given(address)
        elif address and address not in self.given:
            self._lose("an address was freed that was not allocated")
        step = self._do(
            lib.PM_OP_FREE, (address & WORD, *words[1:]), ("free", lambda: (hex(address),)),
            lambda: self.model.free(actor, address), thread,
        )  # fmt: skip
        if self.given.pop(address, None) is not None:
            self.freed.add(address)
        return step

    def trim(self, pad: int) -> Step:
        """malloc_trim(3)."""
        pad = size_t(pad)
        try:
            return self._do(
                lib.PM_OP_TRIM,
                (pad,),
                ("malloc_trim", lambda: (pad,)),
                lambda: self.model.trim(pad),
                None,
            )
        except SyscallError as error:
            if error.errno == errno.ENOSYS:
                raise Unsupported("malloc_trim", "this libc is not glibc") from error
            raise

    def thread(self, stack_size: int | None) -> Step:
        """pthread_create(3)."""
        page = self.stepper.space.rules.page_size
        if stack_size is not None:
            stack_size = integer("the size of a stack", stack_size)
        if stack_size is not None and not STACK_MINIMUM <= stack_size <= WORD >> 1:
            raise BadArgument(
                f"a stack of {stack_size} bytes: the least is {STACK_MINIMUM:,}; None means"
                " the size of `ulimit -s`"
            )
        made: list[Actor] = []
        reason = self.found.threads
        if reason is None and stack_size is not None and stack_size % page:
            reason = (
                f"the stack is not a multiple of {page:,} bytes: how many pages it has may vary"
            )
        if reason is not None:
            self._lose(reason, plain=True)
        step = self._do(
            lib.PM_OP_THREAD, (stack_size or 0,),
            ("pthread_create", lambda: () if stack_size is None else (stack_size,)),
            lambda: made.append(self.model.thread(stack_size)), None,
            BOTH_FAULT if self.forked else None,
        )  # fmt: skip
        self.forked = False
        step.thread = step.result
        self.threads[step.result] = made[0] if made else Actor()
        return step

    def join(self, thread: int) -> Step:
        """pthread_join(3)."""
        thread = integer("the thread's number", thread)
        actor, _ = self._actor(thread)
        step = self._do(
            lib.PM_OP_JOIN, (thread,), ("pthread_join", lambda: (thread,)),
            lambda: self.model.join(actor), thread,
        )  # fmt: skip
        step.thread = thread
        del self.threads[thread]
        return step

    # ---- inside ----------------------------------------------------------------

    def _actor(self, thread: int | None) -> tuple[Actor, tuple[int, ...]]:
        """The thread that makes a call, and the words of the request after the arguments."""
        if thread is None:
            return self.model.main, (0,) * 6
        if thread not in self.threads:
            alive = ", ".join(map(str, self.threads)) or "none"
            raise BadArgument(
                f"there is no thread {thread} (running: {alive}): thread() starts one"
            )
        return self.threads[thread], (0, 0, 0, 0, 0, thread + 1)

    def _check_given(self, address: int) -> None:
        if address in self.given:
            return
        shown = hex(address)
        if address in self.freed:
            raise BadArgument(
                f"{shown} is freed already: freeing it twice is undefined, and glibc aborts the"
                " process if it notices (check=False lets it)"
            )
        raise BadArgument(
            f"malloc never returned {shown}: give the .address of a step (check=False hands it to"
            " libc all the same)"
        )

    def _lose(self, reason: str, *, plain: bool = False) -> None:
        if self.reason is None:
            self.reason = reason if plain else f"the model lost track of malloc: {reason}"

    def _do(
        self,
        op: int,
        arguments: tuple[int, ...],
        call: Call,
        act: Callable[[], object],
        thread: int | None,
        doubt: str | None = None,
    ) -> Step:
        stepper, model = self.stepper, self.model
        name, shown = call
        if thread is not None and name != "pthread_join":
            call = name, lambda: (*shown(), f"thread={thread}")
        known = self.reason is None

        def predict(tally: Tally, result: int) -> None:
            if not known:
                return
            model.begin(tally, result, self._find)
            try:
                act()
            except (LostTrackError, KeyError) as error:
                self._lose(f"{name}: {error}")
                tally.uncertain = self.reason
            finally:
                model.finish()
            tally.said = " ".join(model.said)

        with stepper.helper.lock:
            try:
                return stepper.step(op, arguments, call, predict, self.reason or doubt)
            finally:
                if self.reason is not None and stepper.helper.is_alive:
                    self._follow()

    def _follow(self) -> None:
        """Reads from the process what the model can't predict: system calls stay exact."""
        stepper = self.stepper
        brk = stepper.space.brk
        stepper.space = initial_space(stepper.helper.files, stepper.space.rules)
        stepper.space.brk = brk
        self.model.space = stepper.space

    def _find(self, length: int, align: int) -> int | None:
        """Where the kernel has put a mapping whose place the model does not know yet."""
        stepper = self.stepper
        page = stepper.space.rules.page_size
        own = self.model.mapped_at
        fitting = []
        for low, high in new_ranges(stepper.helper, stepper.space):
            at = -(-low // align) * align
            while at + length <= high:
                if own % page or not own or not at <= own < at + length:
                    fitting.append((high - low != length, at))
                    break
                at += align
        if fitting:
            return min(fitting)[1]
        # A heap may be mapped and unmapped within one call; its address changes no figure.
        return stepper.aligned(align) if align > page else None


def new_ranges(helper: Helper, known: Space) -> list[tuple[int, int]]:
    """Addresses that are mapped in the process, and not in the model."""
    size = known.rules.page_size
    found = []
    for region in parse_maps(helper.files.read("maps"), source="maps", page_size=size):
        start = region.start
        for one in known.vmas.within(start // size, region.end // size):
            if one.start * size > start:
                found.append((start, one.start * size))
            start = max(start, one.end * size)
        if start < region.end:
            if found and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, region.end))
    return found


def default_stack(pid: int, page_size: int) -> int:
    """Of a thread, in bytes: `ulimit -s` when the process began."""
    limit = resource.prlimit(pid, resource.RLIMIT_STACK)[0]
    if limit == resource.RLIM_INFINITY:
        return DEFAULT_STACK
    return -(-max(limit, STACK_MINIMUM) // page_size) * page_size


def size_t(size: int) -> int:
    given = integer("the size", size, -WORD, WORD + 1)
    if not 0 <= given <= WORD:
        raise BadArgument(f"a size of {given} bytes: a size_t holds 0 to 2^64 - 1")
    return given


# ---- what libc is this? --------------------------------------------------------


def verdict() -> Verdict:
    """What the model must know of this machine's libc, found out once with processes of its own."""
    global _verdict  # noqa: PLW0603 - libc stays the same as long as this process runs
    with _lock:
        if _verdict is None:
            learned, threads = learn()
            _verdict = try_out(learned, threads)
        return _verdict


def learn() -> tuple[Learned, str | None]:
    """What a first malloc and a first thread do; and why threads can't be predicted."""
    from procmem.process import Process

    stepper = start(libc=True)
    with closing(stepper.helper) as one:
        space = stepper.space
        size = space.rules.page_size
        brk = -(-stepper.heap()[1] // 16) * 16
        first = one.quiet(lib.PM_OP_MALLOC, 24)
        number = one.quiet(lib.PM_OP_THREAD, 0)
        if number < 0:
            return Learned(), f"pthread_create fails here: {os.strerror(-number)}"
        after = initial_space(one.files, space.rules)
        ranges = new_ranges(one, space)
        second = one.quiet(lib.PM_OP_MALLOC, 24)
        other = one.quiet(lib.PM_OP_MALLOC, 24, 0, 0, 0, 0, number + 1)
        one.quiet(lib.PM_OP_FREE, second)
        cleared = one.quiet(lib.PM_OP_CALLOC, 1, 24)
        regions = Process(one.pid).smaps()
        arena = regions.find(other)
        tcache = first - brk - 16
        learned = Learned(
            tcache=tcache,
            arena=other % HEAP_MAX - 16 - tcache,
            dtv=second - first - 32,
            by_affinity=counts_by_affinity(),
            calloc_cached=cleared == second,
            arena_noreserve=arena is None or "nr" in (arena.vm_flags or ()),
        )
        length = default_stack(one.pid, size) + size
        stack = next((begun for begun, end in ranges if end - begun == length), None)
        if stack is None:  # before Linux 6.7 stacks are joined with memory beside them
            return learned, "threads here have no stack as glibc makes them"
        flags = regions.find(stack + length - size)
        end = (stack + length) // size
        pages = tuple(n for n in range(1, length // size + 1) if is_own(after, end - n))
    no_huge = flags is not None and "nh" in (flags.vm_flags or ())
    flags_seen = frozenset({"nohugepage"} if no_huge else ())
    return learned._replace(stack_flags=flags_seen, stack_pages=pages), None


def counts_by_affinity() -> bool:
    """Whether a process that is pinned to one CPU has nine arenas at most."""
    if os.sysconf("SC_NPROCESSORS_ONLN") == 1:
        return True
    stepper = start(libc=True, cpu=min(os.sched_getaffinity(0)))
    with closing(stepper.helper) as one:
        numbers = [one.quiet(lib.PM_OP_THREAD, 65536) for _ in range(9)]
        heaps = {
            one.quiet(lib.PM_OP_MALLOC, 24, 0, 0, 0, 0, number + 1) // HEAP_MAX
            for number in numbers
        }
        return len(heaps) < 9 or stepper.heap()[1] // HEAP_MAX in heaps


def is_own(space: Space, page: int) -> bool:
    """Whether a page of anonymous memory is present."""
    table = space.tables.lowest.get(page >> space.rules.bits)
    return table is not None and bool(table.anon >> (page & ((1 << space.rules.bits) - 1)) & 1)


SCRIPT: tuple[tuple[str, int], ...] = (
    ("malloc", 24), ("malloc", 2000), ("malloc", 100_000), ("malloc", 131_049), ("malloc", 131_048),
    ("free", 0), ("free", 1), ("malloc", 1000), ("free", 2), ("malloc", 24), ("free", 3),
    ("malloc", 140_000), ("calloc", 5000), ("free", 0), ("malloc", 300), ("malloc", 70_000),
    ("trim", 0), *(("malloc", 100),) * 9, *(("free", -1),) * 9, ("malloc", 5000), ("trim", 0),
    # From and into caches, by each function.
    *(("calloc", 100),) * 9, *(("free", -1),) * 8, *(("calloc", 90),) * 8, ("realloc", 10),
    ("realloc", 100), ("realloc", 5000), ("realloc", 20), ("malloc", 3000), ("free", -1),
    ("calloc", 3000), ("realloc", 90_000), ("free", -1), ("calloc", 60_000),
    # Mappings of their own, also beyond the largest threshold; each that is freed moves it.
    ("malloc", 300_000), ("realloc", 700_000), ("realloc", 200_000), ("free", -1),
    ("calloc", 150_000), ("free", -1), ("malloc", 40_000_000), ("free", -1),
    ("malloc", 33_000_000), ("free", -1), ("malloc", 33_000_000), ("free", -1),
    ("malloc", 34_000_000), ("calloc", 1_000_000), ("free", -1), ("free", -1), ("trim", 0),
)  # fmt: skip
"""Calls of everything that the model predicts, by which another malloc is recognised. The number of
free is the index of what is freed, among what is allocated; realloc takes the last."""


def try_out(learned: Learned, threads: str | None) -> Verdict:
    """Whether the model predicts what this libc does."""
    plausible = 0 < learned.tcache < 4096 and learned.dtv >= 32 and 0 < learned.arena < 8192
    if threads is None and not plausible:
        threads = "this libc isn't the glibc that the model knows"
    malloc = play(learned) if plausible else threads
    if malloc is None and threads is None:
        threads = play(learned, threaded=True)
    return Verdict(learned, malloc, threads or malloc)


def play(learned: Learned, *, threaded: bool = False) -> str | None:
    """Makes the calls of SCRIPT; says which of them was not as predicted."""
    stepper = start(libc=True)
    with closing(stepper.helper):
        libc = Libc(stepper, Verdict(learned, None, None))
        try:
            for step in steps(libc, threaded=threaded):
                if not step.exact or not step.agrees:
                    return (
                        f"this libc isn't the glibc that the model knows: {step.call} differs in"
                        f" {', '.join(step.differences) or libc.reason}"
                    )
        except (Unsupported, SyscallError) as error:
            return f"this libc isn't the glibc that the model knows: {error}"
    return None


def steps(libc: Libc, *, threaded: bool) -> Iterator[Step]:
    kept: list[int] = []
    thread = None
    if threaded:
        yield (begun := libc.thread(None))
        thread = begun.thread
    for name, value in SCRIPT:
        if name == "free":
            yield libc.free(kept.pop(value), thread, check=True)
            continue
        if name == "trim":
            yield libc.trim(0)
            continue
        if name == "realloc":
            step = libc.realloc(kept.pop(), value, thread)
        elif name == "calloc":
            step = libc.calloc(1, value, thread)
        else:
            step = libc.malloc(value, thread)
        kept.append(step.address or 0)
        yield step
    if thread is not None:
        yield libc.join(thread)
        yield libc.thread(None)
