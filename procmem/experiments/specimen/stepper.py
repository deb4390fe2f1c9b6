"""Steps of a specimen: each operation is measured by the kernel, and predicted by the model."""

from __future__ import annotations

import os
from contextlib import suppress

from procmem.calls.constants import Map, Prot, advice_of
from procmem.errors import BadArgument, MemoryFault, SyscallError
from procmem.experiments.model.faults import Rules
from procmem.experiments.model.page_tables import Tally
from procmem.experiments.specimen.arguments import WORD, hint_for
from procmem.experiments.specimen.helper import Helper
from procmem.experiments.specimen.kernel import (
    how_regions_join,
    huge_pages,
    initial_space,
    page_size,
)
from procmem.experiments.specimen.launch import PROGRAMS, launch_best
from procmem.experiments.specimen.step import Step, difference
from procmem.experiments.specimen.why import Prediction
from procmem.native import lib
from procmem.procfs.probes import counters_lag
from procmem.regions import parse_maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem.experiments.model.faults import Trap
    from procmem.experiments.model.space import Space
    from procmem.experiments.specimen.step import Call

__all__ = ["LOST", "PARTIAL", "Stepper", "start"]

SLOT = 1 << 39
"""Addresses that one entry of the topmost page table spans with 4 KiB pages: 512 GiB."""

LOST = "an access failed for want of memory: which pages came before it is not known"

PARTIAL = frozenset(
    ("mprotect", "madvise", "mlock", "mlock2", "munlock", "malloc", "calloc", "realloc")
)
"""Calls that may have changed something when they fail: what is before the obstacle, or a heap."""

_rules: Rules | None = None


def start(
    *,
    libc: bool = False,
    cpu: int | None = None,
    thp: bool = False,
    kind: str | None = None,
    source: str | None = None,
) -> Stepper:
    """Starts a specimen; the arguments and errors are those of Specimen."""
    if cpu is not None and cpu not in os.sched_getaffinity(0):
        raise BadArgument(
            f"cpu={cpu} is not among the CPUs of this process: {os.sched_getaffinity(0)}"
        )
    if source not in (None, "status", "smaps_rollup"):
        raise BadArgument(f'source is "status" or "smaps_rollup", not {source!r}')
    if kind not in (None, "fork", *PROGRAMS):
        raise BadArgument(f'kind is "program", "libc" or "fork", not {kind!r}')
    flags = (lib.PM_SERVE_PINNED if cpu is not None else 0) | (lib.PM_SERVE_THP if thp else 0)
    stepper = Stepper(Helper(launch_best(kind, libc, flags, cpu or 0)), thp=thp)
    try:
        stepper.learn(source)
    except BaseException:
        stepper.helper.close()
        raise
    return stepper


class Stepper:
    """Carries out steps.

    Args:
        helper: the process.
        thp: whether it may have transparent huge pages.

    Attributes:
        helper: the process.
        space: the model of its address space, once learn() was called.
        reason: why no step is exact any more; None: steps are exact.
    """

    space: Space

    def __init__(self, helper: Helper, *, thp: bool, base: int = 0, following: int = 0) -> None:
        self.helper = helper
        self.reason: str | None = None
        self._thp = thp
        self._base = base
        self._next = following

    def fork(self, helper: Helper, space: Space) -> Stepper:
        """The stepper of a child that this process has forked."""
        child = Stepper(helper, thp=self._thp, base=self._base, following=self._next)
        child.space = space
        child.reason = self.reason
        return child

    # ---- learning ----------------------------------------------------------

    def learn(self, source: str | None) -> None:
        """Finds out, once for this kernel, what the model must know; and calibrates."""
        global _rules  # noqa: PLW0603 - a kernel's rules hold as long as it runs
        helper, size = self.helper, page_size()
        stack = max(
            (int(line.split(b"-")[0], 16) for line in helper.files.read("maps").splitlines()
             if b"[stack]" in line),
            default=1 << 46,
        )  # fmt: skip
        bits = stack.bit_length()
        # Far away from what the program maps itself, where no other mapping is.
        self._base = self._next = 1 << (bits - 3)
        known = Rules(size, (size // 8).bit_length() - 1, address_bits=bits)
        self._calibrate(source, size)
        if _rules is None:
            _rules = self._probe(known)
        self.space = initial_space(
            helper.files, _rules._replace(huge=huge_pages() if self._thp else "never")
        )
        if helper.kind == "fork":
            for region in self.space.vmas.all:
                region.forked = region.anon_vma is not None
        self._next = self._base + SLOT

    def _calibrate(self, source: str | None, size: int) -> None:
        """Touches one page, and takes the cheapest source of RSS that shows exactly one page.

        Counters that lag may show it by chance, and not the next page.
        """
        helper, at = self.helper, self._base
        self._map_quietly(at, size, shared=False)
        for attempt in ("status", "smaps_rollup"):
            if source not in (None, attempt) or (attempt == "status" and counters_lag()):
                continue
            helper.native.source = (
                lib.PM_SOURCE_STATUS if attempt == "status" else lib.PM_SOURCE_ROLLUP
            )
            helper.syscall("madvise", at, size, advice_of("dontneed"))
            before, after = helper.measure(lib.PM_OP_TOUCH, at, 1, size, 1, 1, 0)
            if (after.rss or 0) - (before.rss or 0) == size:
                break
        else:
            self.reason = "RSS is not exact to a page here: neither statm nor smaps_rollup is"
        helper.syscall("munmap", at, size)

    def _probe(self, known: Rules) -> Rules:
        """How many pages a fault on a file maps, and whether emptied tables are freed."""
        helper, size = self.helper, known.page_size
        span = size << known.bits
        at = self._base + (span << known.bits)
        self._map_quietly(at, span, shared=True)
        helper.measure(lib.PM_OP_TOUCH, at, 64, size, 1, 1, 0)
        helper.syscall("madvise", at, span, advice_of("dontneed"))
        before, after = helper.measure(lib.PM_OP_READ, at, 1, size, 1, 1, 0)
        around = ((after.rss or 0) - (before.rss or 0)) // size
        helper.measure(lib.PM_OP_TOUCH, at, 1, size, 1, 1, 0)
        before = helper.figures()
        helper.syscall("madvise", at, span, advice_of("dontneed"))
        reclaims = (helper.figures().page_tables or 0) < (before.page_tables or 0)
        sticky = False
        with suppress(SyscallError):  # guards are newer than Linux 6.12
            helper.syscall("madvise", at, size, advice_of("guard_install"))
            sticky = b" gu" in helper.files.read("smaps")
        helper.syscall("munmap", at, span)
        uncharges, joins = how_regions_join(helper, at)
        return known._replace(
            around=max(1, around),
            pt_reclaim=reclaims,
            sticky_guards=sticky,
            uncharges=uncharges,
            untouched_joins=joins,
        )

    def _map_quietly(self, at: int, length: int, *, shared: bool) -> None:
        kind = Map.MAP_SHARED if shared else Map.MAP_PRIVATE
        flags = kind | Map.MAP_ANONYMOUS | Map.MAP_FIXED_NOREPLACE
        prot = Prot.PROT_READ | Prot.PROT_WRITE
        self.helper.syscall("mmap", at, length, prot, flags, WORD, 0)

    # ---- steps -------------------------------------------------------------

    def step(
        self,
        op: int,
        arguments: tuple[int, ...],
        call: Call,
        predict: Callable[[Tally, int], Trap | None],
        reason: str | None = None,
    ) -> Step:
        """One operation, measured and predicted.

        Args:
            op: PM_OP_*, or PM_OP_CALL and the number of a system call.
            arguments: six words at most.
            call: the name of the operation, and its arguments as they are shown.
            predict: applies the operation to the model. It gets the result of the call, which
                decides only the address of a mapping and whether the call failed.
            reason: why the step is not exact; None: it is.

        Raises:
            SyscallError: the kernel refused.
        """
        helper, space, name = self.helper, self.space, call[0]
        tally = Tally()
        with helper.lock:
            before, after, reply = helper.step(op, arguments)
            result, minor, major, ns, number, code, address = reply
            if -4096 < result < 0:
                if name in PARTIAL:
                    predict(tally, result)
                elif name == "mremap":
                    self._forget_unmapped()
                raise SyscallError(name, -result, hint_for(name, -result))
            regions = len(space.vmas)
            trap = predict(tally, result)
            tally.regions = len(space.vmas) - regions
        if number and trap is None:
            self.reason = LOST
        return Step(
            call,
            before,
            after,
            difference(before, after, minor, major),
            result,
            ns,
            self.reason or reason or tally.uncertain,
            Prediction(name, tally, space.rules.page_size, trap is not None),
            MemoryFault(address, number, code) if number else None,
            None if trap is None else (trap.signal, trap.code, trap.address),
        )

    def syscall(
        self,
        name: str,
        arguments: tuple[int, ...],
        shown: Callable[[], tuple[object, ...]],
        predict: Callable[[Tally, int], Trap | None],
        reason: str | None = None,
    ) -> Step:
        """One system call by its name; see step()."""
        words = tuple(argument & WORD for argument in arguments)
        op = lib.PM_OP_CALL + getattr(lib, f"SYS_{name}")
        return self.step(op, words, (name, shown), predict, reason)

    def _forget_unmapped(self) -> None:
        """A call that moves a mapping may have unmapped something before it failed."""
        helper, space = self.helper, self.space
        size, ignored = space.rules.page_size, Tally()
        maps = helper.files.read("maps")
        table = parse_maps(maps, source=f"{helper.files.path}/maps", page_size=size)
        for region in list(space.vmas.all):
            start = region.start
            for one in table:  # in order of their addresses
                first, last = one.start // size, one.end // size
                if start < min(first, region.end):
                    space.munmap(start, min(first, region.end) - start, ignored)
                start = max(start, last)
            if start < region.end:
                space.munmap(start, region.end - start, ignored)

    # ---- addresses ---------------------------------------------------------

    def place(self, length: int, place: str) -> int:
        """An address for a new mapping; 0: the kernel chooses. See Specimen.mmap()."""
        if place == "kernel":
            return 0
        rules = self.space.rules
        step = {"near": rules.page_size << rules.bits, "slot": SLOT}.get(place)
        if step is None:
            raise BadArgument(f'place is "near", "slot" or "kernel", not {place!r}')
        at = self.aligned(step)
        if length < 1 << rules.address_bits:
            self._next = -(-(at + length + step) // step) * step
        return at

    def aligned(self, step: int) -> int:
        """The first free address that is a multiple of `step`."""
        return -(-self._next // step) * step

    def heap(self) -> tuple[int, int]:
        """Start and end of the heap that brk(2) moves."""
        space = self.space
        if not space.brk[0]:
            now = self.helper.quiet(lib.PM_OP_CALL + lib.SYS_brk, 0)
            space.brk = now, now
        return space.brk
