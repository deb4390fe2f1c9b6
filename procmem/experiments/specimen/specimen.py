"""The Specimen: a quiet process that does one memory operation at a time.

It has no libc and no malloc, sleeps in read(2) between operations, and is measured from outside
while it sleeps: whatever its figures show is the effect of the operation.
"""

from __future__ import annotations

import os

from procmem.errors import BadArgument
from procmem.experiments.specimen.arguments import Area, area_of
from procmem.experiments.specimen.calls import Calls
from procmem.experiments.specimen.helper import Helper
from procmem.experiments.specimen.launch import Launched
from procmem.experiments.specimen.stepper import Stepper, start
from procmem.native import lib

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from typing_extensions import Self

    from procmem.experiments.model.page_tables import Tally
    from procmem.experiments.model.space import Space
    from procmem.experiments.specimen.libc import Libc
    from procmem.experiments.specimen.step import Figures, Step
    from procmem.experiments.specimen.written import WriteWatch
    from procmem.process import Process

__all__ = ["Area", "Specimen"]


class Specimen(Calls):
    """A process for experiments, which does only what it is asked to do.

    >>> from procmem import KiB
    >>> with Specimen() as s:
    ...     mapped = s.mmap(pages=1000)
    ...     touched = s.touch(mapped.mapping, pages=10)
    >>> mapped.delta.vsz == 4000 * KiB, mapped.delta.rss
    (True, 0)
    >>> touched.delta.rss == touched.predicted.rss == 40 * KiB
    True

    Args:
        libc: link it with the system's libc: for malloc and threads.
        cpu: the CPU that it is pinned to; None: it may run on any.
        thp: let it have transparent huge pages according to the system's settings. They are off
            otherwise, since a single access may then map any number of pages.
        kind: "program", "libc" or "fork", instead of what fits: "fork" is a forked child of this
            process that stays in a loop in C, used where the program can't be run.
        source: where RSS is read from, "status" or "smaps_rollup", instead of the cheapest that
            is exact.

    Attributes:
        pid: its process ID: any other tool can check the figures.
        kind: "program", "libc" or "fork".
        space: the model of its address space.

    Raises:
        Unsupported: it can't be started here.
        OSError

    It ends with the with statement, with close(), or with this process. Several threads may use
    it, one step at a time.
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
        self._serve(start(libc=libc, cpu=cpu, thp=thp, kind=kind, source=source))

    def _serve(self, stepper: Stepper, allocator: Libc | None = None) -> None:
        super().__init__(stepper)
        self._allocator = allocator

    # ---- life ----------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process. Harmless if it has ended."""
        self._stepper.helper.close()

    @property
    def is_alive(self) -> bool:
        """Whether it can do further steps: it was not closed and has not ended."""
        return self._stepper.helper.is_alive

    @property
    def process(self) -> Process:
        """The specimen as any other process, for maps(), smaps() and so on."""
        from procmem.process import Process

        return Process(self.pid)

    @property
    def figures(self) -> Figures:
        """The kernel's figures of it now."""
        return self._stepper.helper.figures()

    def __repr__(self) -> str:
        return f"<Specimen pid={self.pid} kind={self.kind!r}>"

    # ---- faults and writes -----------------------------------------------------

    def watch_writes(self, area: Area) -> WriteWatch:
        """Records from now on which pages of an area are written to."""
        from procmem.experiments.specimen.written import WriteWatch

        return WriteWatch(self._stepper, area_of(area))

    def fault(self, kind: str) -> Step:
        """Causes one page fault of a kind. Whatever it needs is set up before the step.

        Args:
            kind: one of FAULTS: "minor"; "major" (a page of a file that is not in memory) or "swap"
                (a page that was swapped out); or an access that ends in a signal, which is the
                step's `fault`: to a "null", "unmapped", "kernel" or "non-canonical" address, a
                write to "read-only" memory or the program's "text", any access to "prot-none"
                memory, executing "no-exec" memory, an access "past-end" of a mapped file.

        Raises:
            Unsupported: this machine can't have such a fault: no swap, no file system on a disk.
            BadArgument: no such kind.
        """
        from procmem.experiments.specimen.provoke import provoke

        return provoke(self, kind)

    # ---- libc ----------------------------------------------------------------

    @property
    def _libc(self) -> Libc:
        helper = self._stepper.helper
        with helper.lock:
            if self._allocator is None:
                from procmem.experiments.specimen.libc import Libc

                helper.check_open()
                if self.kind != "libc":
                    raise BadArgument(
                        "this specimen has no libc, and so no malloc: use Specimen(libc=True)"
                    )
                self._allocator = Libc(self._stepper)
            return self._allocator

    def malloc(self, size: int, *, thread: int | None = None) -> Step:
        """Calls malloc(3), in a thread that thread() started or in the main one.

        Needs Specimen(libc=True). The step's `address` is what malloc returned; touch() takes it.

        >>> with Specimen(libc=True) as s:
        ...     first, second = s.malloc(1000), s.malloc(1000)
        >>> first.delta.vsz // 1024, second.delta.vsz
        (132, 0)

        Raises:
            SyscallError: ENOMEM: there is no memory for it.
            BadArgument: no such thread, or no libc.
            NoSuchProcess: libc aborted the process; the message names the signal.

        Source: malloc(3), mallopt(3), glibc's malloc/malloc.c.
        """
        return self._libc.malloc(size, thread)

    def calloc(self, count: int, size: int, *, thread: int | None = None) -> Step:
        """Calls calloc(3): zeroed memory, not touched where it comes fresh from the kernel."""
        return self._libc.calloc(count, size, thread)

    def realloc(self, address: int, size: int, *, thread: int | None = None) -> Step:
        """Calls realloc(3) on what malloc returned."""
        return self._libc.realloc(address, size, thread)

    def free(self, address: int, *, thread: int | None = None, check: bool = True) -> Step:
        """Calls free(3) on what malloc returned, in any thread.

        Args:
            address: what malloc, calloc or realloc returned.
            thread: the number of the thread that calls; None: the main thread.
            check: refuse an address that is not allocated. Otherwise libc gets it: if glibc
                notices the error, it aborts the process, and NoSuchProcess is raised.
        """
        return self._libc.free(address, thread, check=check)

    def trim(self, pad: int = 0) -> Step:
        """Calls malloc_trim(3), which gives free memory back but for `pad` bytes at the end.

        Raises:
            Unsupported: this libc has no malloc_trim().
        """
        return self._libc.trim(pad)

    def thread(self, stack_size: int | None = None) -> Step:
        """Starts a thread, as pthread_create(3) does. The step's `thread` is its number.

        Args:
            stack_size: in bytes; None: the default of libc, which is `ulimit -s`.
        """
        return self._libc.thread(stack_size)

    def join(self, thread: int) -> Step:
        """Lets a thread return, and joins it, as pthread_join(3) does."""
        return self._libc.join(thread)

    # ---- fork ----------------------------------------------------------------

    def fork(self) -> Step:
        """Forks, as fork(2) does. The step's `child` is a specimen of its own."""
        if self._allocator is not None and self._allocator.threads:
            raise BadArgument("fork copies none of the other threads: join them first")
        stepper, helper = self._stepper, self._stepper.helper
        pipes = [helper.quiet(lib.PM_OP_PIPE), helper.quiet(lib.PM_OP_PIPE)]
        (theirs_in, request), (reply, theirs_out) = [(p & 0xFFFFFFFF, p >> 32) for p in pipes]
        ours: list[int] = []
        try:
            for fd, how in ((theirs_in, os.O_RDONLY), (request, os.O_WRONLY), (reply, os.O_RDONLY)):
                directory = helper.files.directory()
                ours.append(os.open(f"fd/{fd}", how | os.O_CLOEXEC, dir_fd=directory.fd))
            for fd in (request, reply):
                helper.syscall("close", fd)
            made: list[Space] = []

            def predict(_tally: Tally, _result: int) -> None:
                made.append(self.space.fork())

            step = stepper.step(
                lib.PM_OP_FORK, (theirs_in, theirs_out, self.pid), ("fork", tuple), predict
            )
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        started = Launched(self.kind, step.result, ours[1], ours[2], ours[0])
        forked = stepper.fork(Helper(started, parent=helper), made[0])
        allocator = self._allocator and self._allocator.fork(forked)
        step.child = Forked(forked, allocator)
        return step


class Forked(Specimen):
    """A specimen that another one has forked."""

    def __init__(self, stepper: Stepper, allocator: Libc | None) -> None:
        self._serve(stepper, allocator)
