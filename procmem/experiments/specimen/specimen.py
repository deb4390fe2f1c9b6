"""The Specimen: a quiet process that does one memory operation at a time.

It has no libc and no malloc, sleeps in read(2) between operations, and is measured from
outside while it sleeps: what moves is the operation's doing.
"""

from __future__ import annotations

import errno
import os
import platform
import resource
import signal as signals
from contextlib import suppress
from operator import sub
from struct import Struct

from procmem.calls.constants import Map, Mremap, Prot, advice_of
from procmem.errors import BadArgument, MemoryFault, SyscallError, Unsupported
from procmem.experiments.model.faults import Order, Rules, Trap
from procmem.experiments.model.page_tables import Tally
from procmem.experiments.model.space import Space
from procmem.experiments.model.vmas import EXEC, Backing, Cache
from procmem.experiments.specimen.arguments import (
    WORD,
    Area,
    area_of,
    byte_length,
    hint_for,
    integer,
    letters,
    names,
    order_of,
    part,
    protection,
)
from procmem.experiments.specimen.helper import Helper, launch_best
from procmem.experiments.specimen.kernel import (
    has_swap,
    how_regions_join,
    huge_pages,
    initial_space,
    page_size,
)
from procmem.experiments.specimen.launch import PROGRAMS, Launched
from procmem.experiments.specimen.step import Delta, Figures, Step
from procmem.experiments.specimen.why import Cause
from procmem.native import lib
from procmem.procfs.probes import counters_lag
from procmem.regions import parse_maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from procmem.experiments.specimen.libc import Libc
    from procmem.experiments.specimen.written import WriteWatch

__all__ = ["Area", "Specimen"]

REPLY = Struct("=q3QQqQ")
CAP_IPC_LOCK = 14
AT_FDCWD = WORD - 99

SLOT = 1 << 39
"""What one table below the topmost spans, with 4 KiB pages: 512 GiB."""

_rules: Rules | None = None


class Specimen(Helper):
    """A process for experiments, which does nothing but what it is told.

    >>> from procmem import KiB
    >>> with Specimen() as s:
    ...     mapped = s.mmap(pages=1000)
    ...     touched = s.touch(mapped.mapping, pages=10)
    >>> mapped.delta.vsz == 4000 * KiB, mapped.delta.rss
    (True, 0)
    >>> touched.delta.rss == touched.predicted.rss == 40 * KiB
    True

    Args:
        libc: whether it is linked with the system's libc: for malloc and threads.
        cpu: the CPU that it is pinned to; None: the scheduler decides.
        thp: let it have transparent huge pages as the system is set; they are off otherwise,
            since a single touch may then map any number of pages.
        kind: "program", "libc" or "fork" instead of what fits: the last is a forked child of this
            process that never leaves a loop in C, where the program can't be run.
        source: where Rss comes from, "status" or "smaps_rollup", instead of the cheapest that
            was seen to be exact.

    Attributes:
        pid: its process ID: any outsider can check.
        space: the model of its address space.

    Raises:
        Unsupported: it can't be started here.
        OSError

    It ends with the with statement, with close(), or with this process. It may be used from
    several threads, one step at a time.
    """

    def __init__(
        self,
        *,
        libc: bool = False,
        cpu: int | None = None,
        thp: bool = False,
        kind: str | None = None,
        source: str | None = None,
    ) -> None:
        if cpu is not None and cpu not in os.sched_getaffinity(0):
            raise BadArgument(f"cpu={cpu} is none of this process's: {os.sched_getaffinity(0)}")
        if source not in (None, "status", "smaps_rollup"):
            raise BadArgument(f'source is "status" or "smaps_rollup", not {source!r}')
        if kind not in (None, "fork", *PROGRAMS):
            raise BadArgument(f'kind is "program", "libc" or "fork", not {kind!r}')
        flags = (lib.PM_SERVE_PINNED if cpu is not None else 0) | (lib.PM_SERVE_THP if thp else 0)
        self._begin(launch_best(kind, libc, flags, cpu or 0), thp, source)

    def _begin(self, started: Launched, thp: bool, source: str | None) -> None:
        self._set_up(started)
        self._thp = thp
        self._reason: str | None = None
        try:
            self._scratch = self._quiet(lib.PM_OP_NOTHING)
            self._open()
            self._learn(source)
        except BaseException:
            self.close()
            raise

    def _learn(self, source: str | None) -> None:
        """Finds out, once for this kernel, what the model must know; and calibrates."""
        global _rules  # noqa: PLW0603 - a kernel's rules hold as long as it runs
        size = page_size()
        stack = max(
            (int(line.split(b"-")[0], 16) for line in self._files.read("maps").splitlines()
             if b"[stack]" in line),
            default=1 << 46,
        )  # fmt: skip
        bits = stack.bit_length()
        # Far away from what the program maps itself, in a slot that nobody uses.
        self._base = 1 << (bits - 3)
        self._next = self._base
        known = Rules(size, (size // 8).bit_length() - 1, address_bits=bits)
        self.space = Space(known)
        self._calibrate(source)
        if _rules is None:
            _rules = self._probe(known)
        self.space = initial_space(
            self._files, _rules._replace(huge=huge_pages() if self._thp else "never")
        )
        if self.kind == "fork":
            for region in self.space.vmas.all:
                region.forked = region.anon_vma is not None
        self._next = self._base + SLOT

    def _calibrate(self, source: str | None) -> None:
        """Touches one page and expects one page.

        Counters that lag may show it by chance, and not the next one.
        """
        size = self.space.rules.page_size
        at = self._base
        self._map_quietly(at, size, shared=False)
        for attempt in ("status", "smaps_rollup"):
            if source not in (None, attempt) or (attempt == "status" and counters_lag()):
                continue
            self._native.source = (
                lib.PM_SOURCE_STATUS if attempt == "status" else lib.PM_SOURCE_ROLLUP
            )
            self._syscall("madvise", at, size, advice_of("dontneed"))
            before, after = self._measure(lib.PM_OP_TOUCH, at, 1, size, 1, 1, 0)
            if (after.rss or 0) - (before.rss or 0) == size:
                break
        else:
            self._reason = "no source here tells one page: statm and smaps_rollup are inexact"
        self._syscall("munmap", at, size)

    def _probe(self, known: Rules) -> Rules:
        """How many pages a fault on a file maps, and whether emptied tables are freed."""
        size = known.page_size
        span = size << known.bits
        at = self._base + (span << known.bits)
        self._map_quietly(at, span, shared=True)
        self._measure(lib.PM_OP_TOUCH, at, 64, size, 1, 1, 0)
        self._syscall("madvise", at, span, advice_of("dontneed"))
        before, after = self._measure(lib.PM_OP_READ, at, 1, size, 1, 1, 0)
        around = ((after.rss or 0) - (before.rss or 0)) // size
        self._measure(lib.PM_OP_TOUCH, at, 1, size, 1, 1, 0)
        before = self.figures
        self._syscall("madvise", at, span, advice_of("dontneed"))
        reclaims = (self.figures.page_tables or 0) < (before.page_tables or 0)
        sticky = False
        with suppress(SyscallError):  # guards are newer than Linux 6.12
            self._syscall("madvise", at, size, advice_of("guard_install"))
            sticky = b" gu" in self._files.read("smaps")
        self._syscall("munmap", at, span)
        uncharges, joins = how_regions_join(self, at)
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
        self._syscall("mmap", at, length, Prot.PROT_READ | Prot.PROT_WRITE, flags, WORD, 0)

    def _step(
        self,
        op: int,
        arguments: tuple[int, ...],
        call: tuple[str, Callable[[], tuple[object, ...]]],
        predict: Callable[[Tally, int], Trap | None],
        reason: str | None = None,
    ) -> Step:
        """One operation, measured and predicted.

        `predict` applies it to the model; it is told what the call returned, which decides no
        figure but the address.

        Raises:
            SyscallError: the kernel refused.
        """
        with self._lock:
            self._run(lib.pm_specimen_step, op, arguments)
            before, after = self._figures(self._before), self._figures(self._after)
            result, minor, major, ns, number, code, address = REPLY.unpack_from(self._answer)
            tally = Tally()
            if -4096 < result < 0:
                if call[0] in PARTIAL:
                    predict(tally, result)
                elif call[0] == "mremap":
                    self._forget_unmapped()
                raise SyscallError(call[0], -result, hint_for(call[0], -result))
            regions = len(self.space.vmas)
            trap = predict(tally, result)
            regions = len(self.space.vmas) - regions
        delta = difference(before, after, minor, major)
        size = self.space.rules.page_size
        predicted = Delta(
            tally.vsz * size,
            (tally.anon + tally.file + tally.shmem) * size,
            tally.anon * size,
            tally.file * size,
            tally.shmem * size,
            tally.swap * size,
            tally.hugetlb * size,
            tally.locked * size,
            tally.tables * size,
            regions,
            tally.minor,
            tally.major,
        )
        step = Step(
            call, before, after, delta, predicted, result, ns,
            self._reason or reason or tally.uncertain,
            Cause(call[0], tally, regions, size, trap is not None),
        )  # fmt: skip
        if number:
            step.fault = MemoryFault(address, number, code)
            if trap is None:
                self._reason = step.reason = LOST
                step.exact = False
        if trap is not None:
            step.predicted_fault = trap.signal, trap.code, trap.address
        return step

    def _call(
        self,
        name: str,
        arguments: tuple[int, ...],
        shown: Callable[[], tuple[object, ...]],
        predict: Callable[[Tally, int], Trap | None],
        reason: str | None = None,
    ) -> Step:
        words = tuple(argument & WORD for argument in arguments)
        op = lib.PM_OP_CALL + getattr(lib, f"SYS_{name}")
        return self._step(op, words, (name, shown), predict, reason)

    # ---- mapping -----------------------------------------------------------

    def mmap(
        self,
        length: int | None = None,
        *,
        pages: int | None = None,
        prot: str | int = "rw",
        shared: bool = False,
        file: str | os.PathLike[str] | int | None = None,
        offset: int = 0,
        warm: bool = True,
        populate: bool = False,
        locked: bool = False,
        noreserve: bool = False,
        hugetlb: bool = False,
        address: int | None = None,
        place: str = "near",
    ) -> Step:
        """Maps memory, as mmap(2) does. The step's `mapping` is what was mapped.

        Args:
            length: in bytes; or give `pages`.
            pages: of the page size, with `hugetlb` of that of huge pages.
            prot: letters of maps ("rw", "r-x", "") or Prot.
            shared: MAP_SHARED; else MAP_PRIVATE.
            file: a path or a descriptor; None: anonymous memory.
            offset: into the file, whole pages.
            warm: read the file into the page cache first; False: drop it from there.
            populate: MAP_POPULATE: bring all pages in at once.
            locked: MAP_LOCKED.
            noreserve: MAP_NORESERVE.
            hugetlb: MAP_HUGETLB: huge pages that the system has set aside.
            address: where, replacing nothing; None: as `place` says.
            place: "near": behind the last mapping, with a hole in between, aligned to what a
                lowest page table spans; "slot": with page tables of its own on every level;
                "kernel": where the kernel puts it.

        Raises:
            SyscallError: as mmap(2) fails; EEXIST: something lies at `address`.
            BadArgument: values that no call could be made with.
        """
        size = self.space.rules.page_size
        unit = self._huge_page_size() if hugetlb else size
        length = byte_length(length, pages, unit)
        given = protection(prot)
        offset = integer("the offset", offset)
        flags = (
            (lib.MAP_SHARED if shared else lib.MAP_PRIVATE)
            | (lib.MAP_POPULATE if populate else 0)
            | (lib.MAP_LOCKED if locked else 0)
            | (lib.MAP_NORESERVE if noreserve else 0)
            | (lib.MAP_HUGETLB if hugetlb else 0)
            | (lib.MAP_ANONYMOUS if file is None else 0)
            | (lib.MAP_FIXED_NOREPLACE if place != "kernel" or address is not None else 0)
        )
        rounded = -(-length // unit) * unit
        if address is not None:
            address = integer("the address", address)
        at = self._place(rounded, place) if address is None else address
        backing, fd, reason = None, WORD, None
        kept = {name for name, on in (("locked", locked), ("noreserve", noreserve)) if on}
        if file is not None:
            backing, fd, reason = self._open_file(file, given, shared, warm)
            if shared and not given & lib.PROT_WRITE:
                kept.add("nowrite")  # it was opened for reading
            if not isinstance(file, int) and os.statvfs(file).f_flag & os.ST_NOEXEC:
                kept.add("noexec")
        elif hugetlb:
            backing = Backing("hugetlb", Cache(rounded // size))
        elif shared:
            backing = Backing("shmem", Cache(rounded // size))

        def predict(tally: Tally, result: int) -> None:
            self.space.mmap(
                result // size, rounded // size, letters(given), tally, shared=shared,
                backing=backing, offset=offset // size, flags=kept, populate=populate,
            )  # fmt: skip

        try:
            step = self._call(
                "mmap",
                (at, length, given, flags, fd, offset),
                lambda: (hex(at) if at else "NULL", length, names(given, Prot), names(flags, Map),
                         -1 if fd == WORD else fd, offset),
                predict,
                reason,
            )  # fmt: skip
        finally:
            if fd != WORD:
                self._syscall("close", fd)
        step.mapping = Area(step.result, rounded, unit)
        return step

    def _place(self, length: int, place: str) -> int:
        if place == "kernel":
            return 0
        rules = self.space.rules
        step = {"near": rules.page_size << rules.bits, "slot": SLOT}.get(place)
        if step is None:
            raise BadArgument(f'place is "near", "slot" or "kernel", not {place!r}')
        at = -(-self._next // step) * step
        if length < 1 << rules.address_bits:
            self._next = -(-(at + length + step) // step) * step
        return at

    def _huge_page_size(self) -> int:
        from procmem.procfs.files import system_file

        for line in (system_file("meminfo") or b"").splitlines():
            if line.startswith(b"Hugepagesize:"):
                return int(line.split()[1]) * 1024
        raise Unsupported("hugetlb", "this kernel has no huge pages (CONFIG_HUGETLBFS)")

    def _open_file(
        self, file: str | os.PathLike[str] | int, prot: int, shared: bool, warm: bool
    ) -> tuple[Backing, int, str | None]:
        """Opens it in the specimen; with what the model must know of it."""
        from procmem.experiments.specimen.backing import describe

        path = f"/proc/{os.getpid()}/fd/{file}" if isinstance(file, int) else os.path.abspath(file)
        cache, kind, reason = describe(path, self.space.rules.page_size, warm)
        self._store(os.fsencode(path) + b"\0")
        flags = os.O_RDWR if shared and prot & lib.PROT_WRITE else os.O_RDONLY
        fd = self._quiet(
            lib.PM_OP_CALL + lib.SYS_openat, AT_FDCWD, self._scratch, flags | os.O_CLOEXEC
        )
        if fd < 0:
            raise SyscallError("openat", -fd, f"{path} in the specimen")
        return Backing(kind, cache), fd, reason

    def munmap(self, area: Area, *, start: int = 0, pages: int | None = None) -> Step:
        """Unmaps all of it or some of its pages, as munmap(2) does."""
        address, length = part(area, start, pages)
        size = self.space.rules.page_size

        def predict(tally: Tally, _result: int) -> None:
            self.space.munmap(address // size, length // size, tally)

        return self._call("munmap", (address, length), lambda: (hex(address), length), predict)

    def mremap(
        self,
        area: Area,
        *,
        pages: int,
        to: int | None = None,
        move: bool = True,
        keep: bool = False,
    ) -> Step:
        """Gives it another size, as mremap(2) does: in place if there is room, else elsewhere.

        Args:
            area: what to resize or move.
            pages: the new size.
            to: the address to move to, in any case.
            move: MREMAP_MAYMOVE.
            keep: MREMAP_DONTUNMAP: leave the old range mapped, and empty.
        """
        area, size = area_of(area), self.space.rules.page_size
        if to is not None:
            to = integer("the address", to)
        flags = Mremap(0)
        if move or to is not None or keep:
            flags |= Mremap.MREMAP_MAYMOVE
        if to is not None:
            flags |= Mremap.MREMAP_FIXED
        if keep:
            flags |= Mremap.MREMAP_DONTUNMAP
        length = byte_length(None, pages, area.page_size)

        def predict(tally: Tally, result: int) -> None:
            self.space.mremap(
                area.start // size, area.length // size, length // size, result // size, tally,
                keep=keep,
            )  # fmt: skip

        step = self._call(
            "mremap",
            (area.start, area.length, length, flags, to or 0),
            lambda: (
                hex(area.start),
                area.length,
                length,
                names(flags, Mremap),
                *(() if to is None else (hex(to),)),
            ),
            predict,
        )
        step.mapping = Area(step.result, length, area.page_size)
        return step

    def mprotect(
        self, area: Area, prot: str | int, *, start: int = 0, pages: int | None = None
    ) -> Step:
        """Changes the protection, as mprotect(2) does."""
        address, length = part(area, start, pages)
        given, size = protection(prot), self.space.rules.page_size

        def predict(tally: Tally, result: int) -> None:
            where = address // size, length // size
            if result >= 0 or self._did_a_part(
                -result, *where, allowed=self.space.allows_mprotect(*where, letters(given))
            ):
                self.space.mprotect(*where, letters(given), tally)

        return self._call(
            "mprotect",
            (address, length, given),
            lambda: (hex(address), length, names(given, Prot)),
            predict,
        )

    def madvise(
        self, area: Area, advice: str | int, *, start: int = 0, pages: int | None = None
    ) -> Step:
        """Gives advice by name ("dontneed", "MADV_FREE") or number, as madvise(2) takes it."""
        from procmem.calls.constants import Advice

        address, length = part(area, start, pages)
        if not isinstance(advice, str):
            advice = integer("the advice", advice, -WORD)
        number, size = advice_of(advice), self.space.rules.page_size
        name = Advice(number).name if number in set(Advice) else str(number)
        short = name.removeprefix("MADV_").lower()
        if short == "pageout":
            self.space.rules = self.space.rules._replace(has_swap=has_swap())

        def predict(tally: Tally, result: int) -> None:
            where = address // size, length // size
            if result >= 0 or (
                self._knows_advice(address, number)
                and self._did_a_part(
                    -result, *where, allowed=self.space.allows_madvise(*where, short)
                )
            ):
                self.space.madvise(*where, short, tally)

        return self._call(
            "madvise", (address, length, number), lambda: (hex(address), length, name), predict,
            self._doubt_advice(short, name),
        )  # fmt: skip

    def _knows_advice(self, address: int, number: int) -> bool:
        """Whether the kernel takes such advice at all; it says so for no pages, too."""
        op = lib.PM_OP_CALL + lib.SYS_madvise
        return self._quiet(op, address & WORD, 0, number & WORD) == 0

    def _did_a_part(self, number: int, start: int, pages: int, *, allowed: bool) -> bool:
        """Whether a call has done what comes before an obstacle that the model sees.

        Regions are taken one after the other, and each is checked before it is changed: of a
        single one that the kernel refused for a reason of its own, nothing is changed.
        """
        if number == errno.ENOSYS:
            return False
        if not allowed and number != errno.EPERM:  # a seccomp filter's, or that of mseal(2)
            return True
        if sum(1 for _ in self.space.vmas.within(start, start + pages)) > 1:
            self._reason = REFUSED
        return False

    def _forget_unmapped(self) -> None:
        """A call that moves a mapping may have unmapped something before it failed."""
        size, ignored = self.space.rules.page_size, Tally()
        maps = self._files.read("maps")
        table = parse_maps(maps, source=f"{self._files.path}/maps", page_size=size)
        for region in list(self.space.vmas.all):
            start = region.start
            for one in table:  # in order of their addresses
                first, last = one.start // size, one.end // size
                if start < min(first, region.end):
                    self.space.munmap(start, min(first, region.end) - start, ignored)
                start = max(start, last)
            if start < region.end:
                self.space.munmap(start, region.end - start, ignored)

    def _doubt_advice(self, short: str, name: str) -> str | None:
        if short == "pageout" and len(os.sched_getaffinity(self.pid)) > 1:
            return "pages that wait in another CPU's list are not found: cpu= pins the specimen"
        return None if short in PREDICTED else f"no rule here predicts {name}"

    def mlock(
        self, area: Area, *, start: int = 0, pages: int | None = None, on_fault: bool = False
    ) -> Step:
        """Locks pages, as mlock(2) does, or with `on_fault` mlock2(2) with MLOCK_ONFAULT."""
        address, length = part(area, start, pages)
        size = self.space.rules.page_size

        def predict(tally: Tally, result: int) -> None:
            where = address // size, length // size
            if result < 0 and (-result in NO_LOCK or self._exceeds_lock_limit(*where)):
                return
            if self.space.mlock(*where, tally, on_fault=on_fault) and result < 0:
                self._reason = REFUSED

        if on_fault:
            return self._call(
                "mlock2", (address, length, lib.MLOCK_ONFAULT),
                lambda: (hex(address), length, "MLOCK_ONFAULT"), predict,
            )  # fmt: skip
        return self._call("mlock", (address, length), lambda: (hex(address), length), predict)

    def _exceeds_lock_limit(self, start: int, pages: int) -> bool:
        """Whether mlock(2) refuses before it locks anything."""
        for line in self._files.read("status").splitlines():
            if line.startswith(b"CapEff:") and int(line.split()[1], 16) >> CAP_IPC_LOCK & 1:
                return False
        limit, _ = resource.prlimit(self.pid, resource.RLIMIT_MEMLOCK)
        wanted = self.space.locked_after(start, pages) * self.space.rules.page_size
        return limit != resource.RLIM_INFINITY and wanted > limit

    def munlock(self, area: Area, *, start: int = 0, pages: int | None = None) -> Step:
        """Unlocks pages, as munlock(2) does."""
        address, length = part(area, start, pages)
        size = self.space.rules.page_size

        def predict(tally: Tally, result: int) -> None:
            if -result in NO_LOCK:
                return
            if self.space.munlock(address // size, length // size, tally) and result < 0:
                self._reason = REFUSED

        return self._call("munlock", (address, length), lambda: (hex(address), length), predict)

    def brk(self, address: int) -> Step:
        """Moves the end of the heap to an address, as brk(2) does.

        Raises:
            SyscallError: ENOMEM: the kernel left it where it is.
        """
        if self.kind == "libc":
            raise BadArgument(
                "malloc relies on the break staying where it put it: move it in a Specimen()"
                " without libc"
            )
        start, old = self._heap()
        address = integer("the break", address)

        def predict(tally: Tally, result: int) -> None:
            if result == address:
                self.space.set_brk(address, tally)

        step = self._call("brk", (address,), lambda: (hex(address),), predict)
        if step.result != address:
            # The system call returns the old break where the function of libc fails.
            raise SyscallError("brk", errno.ENOMEM, f"the break stays at {old:#x}")
        step.mapping = Area(start, max(0, address - start), self.space.rules.page_size)
        return step

    def sbrk(self, increment: int) -> Step:
        """Moves the end of the heap by so many bytes, as sbrk(3) does."""
        return self.brk(self._heap()[1] + integer("the increment", increment, -WORD))

    def _heap(self) -> tuple[int, int]:
        if not self.space.brk[0]:
            now = self._quiet(lib.PM_OP_CALL + lib.SYS_brk, 0)
            self.space.brk = now, now
        return self.space.brk

    # ---- accesses ------------------------------------------------------------

    def touch(
        self,
        area: Area | int,
        *,
        pages: int | None = None,
        start: int = 0,
        write: bool = True,
        stride: int | None = None,
        order: str | Order = "forward",
        seed: int = 0,
        value: int = 1,
    ) -> Step:
        """Reads or writes one byte of each of some pages.

        Args:
            area: what mmap gave, or an address.
            pages: how many accesses; all from `start` on if not given (one at a bare address).
            start: the first page, counted from the area's start.
            write: or else read.
            stride: bytes between two accesses; a page if not given.
            order: "forward", "backward", "random" (by `seed`), or an Order.
            seed: of the random order.
            value: the byte that is written.

        The step's `fault` is the signal of an access that wasn't allowed; `result` tells how many
        accesses came before it.
        """
        start = integer("the first page", start, -WORD)
        if isinstance(area, Area):
            unit, base, there = area.page_size, area.start, area.pages - start
        else:
            unit, base, there = self.space.rules.page_size, integer("the address", area), 1
        address = integer("the address", base + start * unit)
        pages = integer("the number of pages", there if pages is None else pages, -WORD)
        if pages < 1:
            raise BadArgument(f"{pages} pages can't be touched")
        stride = integer("the stride", unit if stride is None else stride, 1)
        value = integer("the byte", value, -WORD)
        way = order if isinstance(order, Order) else order_of(order, pages, seed)

        def predict(tally: Tally, _result: int) -> Trap | None:
            return self.space.touch(
                address, tally, count=pages, stride=stride, write=write, order=way
            )

        return self._step(
            lib.PM_OP_TOUCH if write else lib.PM_OP_READ,
            (address, pages, stride, value & 255, way.factor, way.shift),
            (
                "write" if write else "read",
                lambda: (hex(address), "1 byte" if pages == 1 else f"{pages} × {stride} bytes"),
            ),
            predict,
            self._doubt(address),
        )

    def _doubt(self, address: int) -> str | None:
        region = self.space.vmas.at(address // self.space.rules.page_size)
        return region.backing.cache.doubt if region is not None and region.backing else None

    def read(self, area: Area | int, **how: Any) -> Step:
        """Reads one byte of each page: touch() with write=False."""
        return self.touch(area, write=False, **how)

    def jump(self, address: int) -> Step:
        """Executes the code at an address, which must return at once."""
        size = self.space.rules.page_size
        address = integer("the address", address)

        def predict(tally: Tally, _result: int) -> Trap | None:
            region = self.space.vmas.at(address // size)
            if region is None or region.prot & EXEC:
                return self.space.touch(address, tally, write=False)
            if region.prot and platform.machine() == "x86_64":
                # Its processors tell a fetch from a read only where a page is present: the
                # kernel brings one in before it says no.
                self.space.touch(address, tally, write=False)
            return Trap(signals.SIGSEGV, 2, address, 0)

        return self._step(lib.PM_OP_JUMP, (address,), ("jump", lambda: (hex(address),)), predict)

    def watch_writes(self, area: Area) -> WriteWatch:
        """Tells from now on which pages of an area are written."""
        from procmem.experiments.specimen.written import WriteWatch

        return WriteWatch(self, area_of(area))

    # ---- libc ----------------------------------------------------------------

    @property
    def _libc(self) -> Libc:
        with self._lock:
            if self._allocator is None:
                from procmem.experiments.specimen.libc import Libc

                self._check_open()
                if self.kind != "libc":
                    raise BadArgument(
                        "this specimen has no libc, and so no malloc: Specimen(libc=True) has"
                    )
                self._allocator = Libc(self)
            return self._allocator

    def malloc(self, size: int, *, thread: int | None = None) -> Step:
        """Calls malloc(3), in a thread that thread() started or in the main one.

        Needs Specimen(libc=True). The step's `address` is what malloc returned; touch() takes it.

        >>> with Specimen(libc=True) as s:
        ...     first, second = s.malloc(1000), s.malloc(1000)
        >>> first.delta.vsz // 1024, second.delta.vsz
        (132, 0)

        Raises:
            SyscallError: ENOMEM: there is no room for it.
            BadArgument: no such thread, or no libc.
            NoSuchProcess: libc ended the process; the message says by which signal.

        Source: malloc(3), mallopt(3), glibc's malloc/malloc.c.
        """
        return self._libc.malloc(size, thread)

    def calloc(self, count: int, size: int, *, thread: int | None = None) -> Step:
        """Calls calloc(3): cleared memory, untouched where it comes fresh from the kernel."""
        return self._libc.calloc(count, size, thread)

    def realloc(self, address: int, size: int, *, thread: int | None = None) -> Step:
        """Calls realloc(3) on what malloc returned."""
        return self._libc.realloc(address, size, thread)

    def free(self, address: int, *, thread: int | None = None, check: bool = True) -> Step:
        """Calls free(3) on what malloc returned, in any thread.

        Args:
            address: what malloc, calloc or realloc returned.
            thread: its number; None: the main thread.
            check: refuse what is not allocated. Without, libc is asked: glibc ends the process
                with SIGABRT where it notices, which is then NoSuchProcess here.
        """
        return self._libc.free(address, thread, check=check)

    def trim(self, pad: int = 0) -> Step:
        """Calls malloc_trim(3), which gives free memory back and leaves `pad` bytes at the end.

        Raises:
            Unsupported: this libc has none.
        """
        return self._libc.trim(pad)

    def thread(self, stack_size: int | None = None) -> Step:
        """Starts a thread, as pthread_create(3) does. The step's `thread` is its number.

        Args:
            stack_size: in bytes; None: as libc has it, which is `ulimit -s`.
        """
        return self._libc.thread(stack_size)

    def join(self, thread: int) -> Step:
        """Lets a thread return, and joins it, as pthread_join(3) does."""
        return self._libc.join(thread)

    def fault(self, kind: str) -> Step:
        """One page fault of a kind, provoked on purpose. What it needs is set up before the step.

        Args:
            kind: one of FAULTS: "minor"; "major" (a page of a file that isn't in memory) or "swap"
                (one that was swapped out); or an access that ends in a signal, which is the
                step's `fault`: to "null", "unmapped", "kernel" or "non-canonical" addresses, a
                write to "read-only" memory or the program's "text", any access to "prot-none"
                memory, executing "no-exec" memory, an access "past-end" of a mapped file.

        Raises:
            Unsupported: this machine has no such fault: no swap, no file system on a disk.
            BadArgument: no such kind.
        """
        from procmem.experiments.specimen.provoke import provoke

        return provoke(self, kind)

    # ---- fork ----------------------------------------------------------------

    def fork(self) -> Step:
        """Forks, as fork(2) does. The step's `child` is a specimen of its own."""
        if self._allocator is not None and self._allocator.threads:
            raise BadArgument("fork copies none of the other threads: join them first")
        pipes = [self._quiet(lib.PM_OP_PIPE), self._quiet(lib.PM_OP_PIPE)]
        (theirs_in, request), (reply, theirs_out) = [(p & 0xFFFFFFFF, p >> 32) for p in pipes]
        ours: list[int] = []
        try:
            for fd, how in ((theirs_in, os.O_RDONLY), (request, os.O_WRONLY), (reply, os.O_RDONLY)):
                ours.append(self._open_end(fd, how))
            for fd in (request, reply):
                self._syscall("close", fd)
            made: list[Space] = []

            def predict(_tally: Tally, _result: int) -> None:
                made.append(self.space.fork())

            step = self._step(
                lib.PM_OP_FORK, (theirs_in, theirs_out, self.pid), ("fork", tuple), predict
            )
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        child = Specimen.__new__(Specimen)
        child._adopt(self, Launched(self.kind, step.result, ours[1], ours[2], ours[0]), made[0])
        if self._allocator is not None:
            child._allocator = self._allocator.fork(child)
        step.child = child
        return step

    def _open_end(self, fd: int, how: int) -> int:
        directory = self._files.directory()
        return os.open(f"fd/{fd}", how | os.O_CLOEXEC, dir_fd=directory.fd)

    def _adopt(self, parent: Specimen, started: Launched, space: Space) -> None:
        self._set_up(started)
        self._parent = parent
        self._thp, self._reason = parent._thp, parent._reason
        self._base, self._next, self._scratch = parent._base, parent._next, parent._scratch
        self._native.source = parent._native.source
        self.space = space
        try:
            # Its answer to the fork, once it serves.
            self._native.waiting = 1
            self._check(lib.pm_specimen_ask(self._native))
            self._open()
        except BaseException:
            self.close()
            raise


PREDICTED = frozenset(
    "normal random sequential willneed dontneed free remove dontfork dofork mergeable unmergeable "
    "hugepage nohugepage dontdump dodump wipeonfork keeponfork cold pageout populate_read "
    "populate_write guard_install guard_remove".split()
)
"""Advice that the model knows."""

LOST = "an access failed for want of room: what came in before it can't be known"

REFUSED = (
    "the kernel refused a call for a reason that the model doesn't see: how far it got is unknown"
)

NO_LOCK = (errno.EINVAL, errno.ENOSYS, errno.EPERM)
"""Errors of mlock(2) and munlock(2) that come before the first region is asked."""

PARTIAL = frozenset(
    ("mprotect", "madvise", "mlock", "mlock2", "munlock", "malloc", "calloc", "realloc")
)
"""Calls that have done something when they fail: what lies before an obstacle, or made a heap."""


def difference(before: Figures, after: Figures, minor: int, major: int) -> Delta:
    moved: Any = map(sub, after, before)
    if None in before:
        moved = (
            None if old is None or new is None else new - old
            for old, new in zip(before, after, strict=True)
        )
    return Delta(*moved, minor, major)  # type: ignore[call-arg]  # ten and two
