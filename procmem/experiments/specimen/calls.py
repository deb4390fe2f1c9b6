"""System calls and memory accesses of a specimen, each a step."""

from __future__ import annotations

import errno
import os
import platform
import resource
import signal as signals

from procmem.calls.constants import Advice, Map, Mremap, Prot, advice_of
from procmem.errors import BadArgument, SyscallError
from procmem.experiments.model.faults import Order, Trap
from procmem.experiments.model.vmas import EXEC, Backing, Cache
from procmem.experiments.specimen.arguments import (
    WORD,
    Area,
    area_of,
    byte_length,
    integer,
    letters,
    names,
    order_of,
    part,
    protection,
)
from procmem.experiments.specimen.helper import SCRATCH
from procmem.experiments.specimen.kernel import has_swap
from procmem.native import lib
from procmem.procfs import huge_page_size
from procmem.procfs.mapped import read_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from procmem.experiments.model.page_tables import Tally
    from procmem.experiments.model.space import Space
    from procmem.experiments.specimen.step import Step
    from procmem.experiments.specimen.stepper import Stepper

__all__ = ["Calls"]

CAP_IPC_LOCK = 14
AT_FDCWD = WORD - 99

PREDICTED = frozenset(
    "normal random sequential willneed dontneed free remove dontfork dofork mergeable unmergeable "
    "hugepage nohugepage dontdump dodump wipeonfork keeponfork cold pageout populate_read "
    "populate_write guard_install guard_remove".split()
)
"""Advice that the model has rules for."""

REFUSED = (
    "the kernel refused a call for a reason that the model does not know, so what it had changed is"
    " unknown"
)

NO_LOCK = (errno.EINVAL, errno.ENOSYS, errno.EPERM)
"""Errors of mlock(2) and munlock(2) that come before the first region is changed."""


class Calls:
    """System calls and accesses of one process.

    Attributes:
        pid: its process ID.
        kind: "program", "libc" or "fork"; see Specimen.
    """

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper
        self.pid = stepper.helper.pid
        self.kind = stepper.helper.kind

    @property
    def space(self) -> Space:
        """The model of its address space."""
        return self._stepper.space

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
        """Maps memory, as mmap(2) does. The step's `mapping` is the new mapping.

        Args:
            length: in bytes; or give `pages`.
            pages: the length in pages; with `hugetlb` in huge pages.
            prot: letters as in maps ("rw", "r-x", "") or Prot.
            shared: MAP_SHARED; else MAP_PRIVATE.
            file: a path or a descriptor; None: anonymous memory.
            offset: into the file in bytes, a multiple of the page size.
            warm: read the file into the page cache first; False: drop it from the page cache.
            populate: MAP_POPULATE: bring all pages in at once.
            locked: MAP_LOCKED.
            noreserve: MAP_NORESERVE.
            hugetlb: MAP_HUGETLB: huge pages from the pool of the system.
            address: where to map it, replacing nothing (MAP_FIXED_NOREPLACE); None: see `place`.
            place: "near": after the last mapping, with a gap in between, aligned to the range of a
                lowest-level page table; "slot": with page tables of its own on every level;
                "kernel": where the kernel chooses.

        Raises:
            SyscallError: as mmap(2) fails; EEXIST: something is mapped at `address`.
            BadArgument: values that no call can be made with.
        """
        size = self.space.rules.page_size
        unit = huge_page_size() if hugetlb else size
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
        at = self._stepper.place(rounded, place) if address is None else address
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
            step = self._stepper.syscall(
                "mmap",
                (at, length, given, flags, fd, offset),
                lambda: (hex(at) if at else "NULL", length, names(given, Prot), names(flags, Map),
                         -1 if fd == WORD else fd, offset),
                predict,
                reason,
            )  # fmt: skip
        finally:
            if fd != WORD:
                self._stepper.helper.syscall("close", fd)
        step.mapping = Area(step.result, rounded, unit)
        return step

    def _open_file(
        self, file: str | os.PathLike[str] | int, prot: int, shared: bool, warm: bool
    ) -> tuple[Backing, int, str | None]:
        """Opens a file in the specimen; its backing, descriptor, and why faults are not exact."""
        from procmem.experiments.specimen.backing import describe

        path = f"/proc/{os.getpid()}/fd/{file}" if isinstance(file, int) else os.path.abspath(file)
        cache, kind, reason = describe(path, self.space.rules.page_size, warm)
        self._stepper.helper.store(os.fsencode(path) + b"\0")
        flags = os.O_RDWR if shared and prot & lib.PROT_WRITE else os.O_RDONLY
        fd = self._stepper.helper.quiet(
            lib.PM_OP_CALL + lib.SYS_openat,
            AT_FDCWD,
            self._stepper.helper.scratch,
            flags | os.O_CLOEXEC,
        )
        if fd < 0:
            raise SyscallError("openat", -fd, f"{path} in the specimen")
        return Backing(kind, cache), fd, reason

    def munmap(self, area: Area, *, start: int = 0, pages: int | None = None) -> Step:
        """Unmaps an area or some of its pages, as munmap(2) does."""
        address, length = part(area, start, pages)
        size = self.space.rules.page_size

        def predict(tally: Tally, _result: int) -> None:
            self.space.munmap(address // size, length // size, tally)

        return self._stepper.syscall(
            "munmap", (address, length), lambda: (hex(address), length), predict
        )

    def mremap(
        self,
        area: Area,
        *,
        pages: int,
        to: int | None = None,
        move: bool = True,
        keep: bool = False,
    ) -> Step:
        """Resizes or moves an area, as mremap(2) does.

        Args:
            area: what to resize or move.
            pages: the new size.
            to: the address to move to (MREMAP_FIXED); None: resize in place, or where the kernel
                chooses.
            move: MREMAP_MAYMOVE: it may move if there is no room to grow in place.
            keep: MREMAP_DONTUNMAP: leave the old range mapped, without pages.
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

        step = self._stepper.syscall(
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
        """Changes the protection of an area or some of its pages, as mprotect(2) does."""
        address, length = part(area, start, pages)
        given, size = protection(prot), self.space.rules.page_size

        def predict(tally: Tally, result: int) -> None:
            where = address // size, length // size
            if result >= 0 or self._did_a_part(
                -result, *where, allowed=self.space.allows_mprotect(*where, letters(given))
            ):
                self.space.mprotect(*where, letters(given), tally)

        return self._stepper.syscall(
            "mprotect",
            (address, length, given),
            lambda: (hex(address), length, names(given, Prot)),
            predict,
        )

    def madvise(
        self, area: Area, advice: str | int, *, start: int = 0, pages: int | None = None
    ) -> Step:
        """Gives advice by name ("dontneed", "MADV_FREE") or number, as madvise(2) takes it."""
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

        return self._stepper.syscall(
            "madvise", (address, length, number), lambda: (hex(address), length, name), predict,
            self._doubt_advice(short, name),
        )  # fmt: skip

    def _knows_advice(self, address: int, number: int) -> bool:
        """Whether the kernel knows the advice at all; it says so for an empty range, too."""
        op = lib.PM_OP_CALL + lib.SYS_madvise
        return self._stepper.helper.quiet(op, address & WORD, 0, number & WORD) == 0

    def _did_a_part(self, number: int, start: int, pages: int, *, allowed: bool) -> bool:
        """Whether a failed call has changed the regions before an obstacle that the model knows.

        The kernel takes regions one after the other, and checks each before it changes it: if it
        refuses a single region for a reason that the model does not know, nothing has changed.
        """
        if number == errno.ENOSYS:
            return False
        if not allowed and number != errno.EPERM:  # a seccomp filter's, or that of mseal(2)
            return True
        if sum(1 for _ in self.space.vmas.within(start, start + pages)) > 1:
            self._stepper.reason = REFUSED
        return False

    def _doubt_advice(self, short: str, name: str) -> str | None:
        if short == "pageout" and len(os.sched_getaffinity(self.pid)) > 1:
            return "pages on another CPU's LRU list are not found: pin the specimen with cpu="
        return None if short in PREDICTED else f"the model has no rule for {name}"

    def mlock(
        self, area: Area, *, start: int = 0, pages: int | None = None, on_fault: bool = False
    ) -> Step:
        """Locks pages, as mlock(2) does; with `on_fault` as mlock2(2) with MLOCK_ONFAULT."""
        address, length = part(area, start, pages)
        size = self.space.rules.page_size

        def predict(tally: Tally, result: int) -> None:
            where = address // size, length // size
            if result < 0 and (-result in NO_LOCK or self._exceeds_lock_limit(*where)):
                return
            if self.space.mlock(*where, tally, on_fault=on_fault) and result < 0:
                self._stepper.reason = REFUSED

        if on_fault:
            return self._stepper.syscall(
                "mlock2", (address, length, lib.MLOCK_ONFAULT),
                lambda: (hex(address), length, "MLOCK_ONFAULT"), predict,
            )  # fmt: skip
        return self._stepper.syscall(
            "mlock", (address, length), lambda: (hex(address), length), predict
        )

    def _exceeds_lock_limit(self, start: int, pages: int) -> bool:
        """Whether mlock(2) refuses before it locks anything."""
        for line in self._stepper.helper.files.read("status").splitlines():
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
                self._stepper.reason = REFUSED

        return self._stepper.syscall(
            "munlock", (address, length), lambda: (hex(address), length), predict
        )

    def brk(self, address: int) -> Step:
        """Moves the end of the heap to an address, as brk(2) does.

        Raises:
            SyscallError: ENOMEM: the kernel left it where it is.
        """
        if self.kind == "libc":
            raise BadArgument(
                "malloc relies on the break staying where malloc put it: move it in a Specimen()"
                " without libc"
            )
        start, old = self._stepper.heap()
        address = integer("the break", address)

        def predict(tally: Tally, result: int) -> None:
            if result == address:
                self.space.set_brk(address, tally)

        step = self._stepper.syscall("brk", (address,), lambda: (hex(address),), predict)
        if step.result != address:
            # The system call returns the old break where the function of libc fails.
            raise SyscallError("brk", errno.ENOMEM, f"the break stays at {old:#x}")
        step.mapping = Area(start, max(0, address - start), self.space.rules.page_size)
        return step

    def sbrk(self, increment: int) -> Step:
        """Moves the end of the heap by a number of bytes, as sbrk(3) does."""
        return self.brk(self._stepper.heap()[1] + integer("the increment", increment, -WORD))

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
            area: the mapping of a step, or an address.
            pages: how many accesses; None: all pages from `start` on (one at an address).
            start: the first page, counted from the start of the area.
            write: write; else read.
            stride: bytes from one access to the next; None: a page.
            order: "forward", "backward", "random" (by `seed`), or an Order.
            seed: of the random order.
            value: the byte that is written.

        The step's `fault` is the signal of an access that is not allowed; `result` is the number
        of accesses before it.
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
        self._forget_reclaimed(address, address + (pages - 1) * stride + 1)

        def predict(tally: Tally, _result: int) -> Trap | None:
            return self.space.touch(
                address, tally, count=pages, stride=stride, write=write, order=way
            )

        return self._stepper.step(
            lib.PM_OP_TOUCH if write else lib.PM_OP_READ,
            (address, pages, stride, value & 255, way.factor, way.shift),
            (
                "write" if write else "read",
                lambda: (hex(address), "1 byte" if pages == 1 else f"{pages} × {stride} bytes"),
            ),
            predict,
            self._doubt(address),
        )

    def _forget_reclaimed(self, start: int, end: int) -> None:
        """Takes out of the model's page cache what the kernel has dropped from its own since.

        It may drop clean pages of files at any time. Pages that came are the model's own to know.
        Source: mincore(2), which reports all pages of files that the caller may not write.
        """
        size = self.space.rules.page_size
        helper = self._stepper.helper
        for region in self.space.vmas.within(start // size, -(-end // size)):
            backing = region.backing
            if backing is None or backing.kind != "file" or backing.cache.doubt:
                continue
            for first in range(region.start, region.end, SCRATCH):
                pages = min(SCRATCH, region.end - first)
                op = lib.PM_OP_CALL + lib.SYS_mincore
                if helper.quiet(op, first * size, pages * size, helper.scratch):
                    break
                states = read_memory(helper.files, helper.scratch, pages)
                at = first - region.start + region.offset
                gone = sum(1 << at + page for page, state in enumerate(states) if not state & 1)
                backing.cache.held &= ~gone

    def _doubt(self, address: int) -> str | None:
        region = self.space.vmas.at(address // self.space.rules.page_size)
        return region.backing.cache.doubt if region is not None and region.backing else None

    def read(self, area: Area | int, **how: Any) -> Step:
        """Reads one byte of each page: touch() with write=False."""
        return self.touch(area, write=False, **how)

    def jump(self, address: int) -> Step:
        """Executes the code at an address, which must return at once.

        The step's `fault` is the signal of an address that must not be executed.
        """
        size = self.space.rules.page_size
        address = integer("the address", address)

        def predict(tally: Tally, _result: int) -> Trap | None:
            region = self.space.vmas.at(address // size)
            if region is None or region.prot & EXEC:
                return self.space.touch(address, tally, write=False)
            if region.prot and platform.machine() == "x86_64":
                # Its processors report a fetch as such only where a page is present: the kernel
                # brings a page in before it refuses.
                self.space.touch(address, tally, write=False)
            return Trap(signals.SIGSEGV, 2, address, 0)

        return self._stepper.step(
            lib.PM_OP_JUMP, (address,), ("jump", lambda: (hex(address),)), predict
        )
