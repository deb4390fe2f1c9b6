"""A program that was handed in, and the ways to run it."""

from __future__ import annotations

import os
import re
import threading

from procmem.errors import ProcessError, SyscallError, Unsupported
from procmem.grade.errors import NotPossibleHere, SubmissionError
from procmem.grade.runs.run import Run
from procmem.grade.sandbox.untrusted import open_below

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from procmem.elf.sizing import ObjectSize
    from procmem.grade.runs.leaks import Leaks
    from procmem.grade.sandbox.job import Job
    from procmem.tracing.events import Trace

__all__ = ["Program"]

LARGEST_LOOKED_AT = 16 << 20
SANITIZERS = re.compile(rb"__lsan_|__asan_init|__hwasan_init|lib(?:asan|lsan|hwasan)\.so")


class Program:
    """A program of a submission.

    Attributes:
        argv: its name and first arguments.
        path: the path of its file, outside of the sandbox.
        job: the job that it belongs to.
        limits: what it may use.
        runs: each Run of this and the submission's other programs.
    """

    def __init__(self, job: Job, argv: Sequence[str], runs: list[Run] | None = None) -> None:
        if not argv:
            raise ValueError("argv is empty: it begins with the program's name")
        self.job = job
        self.argv = tuple(argv)
        self.limits = job.limits
        self.runs = [] if runs is None else runs
        self.path = os.path.normpath(os.path.join(job.directory, self.argv[0]))

    @property
    def size(self) -> ObjectSize:
        """Its text, data and bss, as GNU size prints them.

        Raises:
            SubmissionError: it does not exist, or is not a program.
        """
        from procmem.elf.sizing import size
        from procmem.errors import ElfError

        try:
            os.close(open_below(self.job.directory, self.argv[0]))
            return size(self.path)
        except OSError as error:
            raise SubmissionError(f"{self.argv[0]}: {error.strerror}") from error
        except ElfError as error:
            raise SubmissionError(f"{self.argv[0]} is not a program: {error}") from error

    @property
    def sanitized(self) -> bool:
        """Whether it contains a leak checker, which does not work while it is traced.

        clang links the runtime into the program; gcc's is a library that it names.
        """
        try:
            with open(open_below(self.job.directory, self.argv[0]), "rb") as file:
                return SANITIZERS.search(file.read(LARGEST_LOOKED_AT)) is not None
        except OSError:
            return False

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Run:
        """A run of the program, on a terminal, in the sandbox; a context manager.

        Args:
            arguments: added to its own.
            environment: variables beside PATH, HOME, TMPDIR and LANG; it gets no others.
        """
        argv = (*self.argv, *arguments)
        run = Run(
            self.job,
            argv,
            environment=environment,
            limits=self.limits,
            watched=not self.sanitized,
        )
        self.runs.append(run)
        return run

    def calls(self, *arguments: str, answers: Sequence[str] = (), malloc: bool = False) -> Trace:
        """The memory calls of a run, from execve(2) to the end, as procmem.trace() records them.

        Args:
            arguments: added to its own.
            answers: a line for each time that it waits for input; afterwards, the end of input.
            malloc: record calls of malloc, free and related functions, too.

        Raises:
            NotPossibleHere: programs can't be traced here.
            RunFailed: the program crashes or does not end.
        """
        from procmem.tracing.tracer import Tracing

        found: list[Trace] = []
        failed: list[BaseException] = []

        def collect() -> None:
            try:
                found.append(tracing.whole())
            except BaseException as error:  # noqa: BLE001 - raised again below
                failed.append(error)

        run = Run(self.job, (*self.argv, *arguments), limits=self.limits, hold=True)
        self.runs.append(run)
        with run:
            try:
                tracing = Tracing(pid=run.pid, malloc=malloc)
            except (ProcessError, SyscallError, Unsupported) as error:
                raise NotPossibleHere(f"a program can't be traced here: {error}") from error
            with tracing:
                collector = threading.Thread(target=collect, name="procmem-calls")
                collector.start()
                try:
                    run.begin()
                    run.finish(answers)
                finally:
                    # It ends by itself, since what is traced has ended, or is killed now.
                    run.close()
                    collector.join()
        if failed:
            raise failed[0]
        return found[0]

    def leaks(self, *arguments: str, answers: Sequence[str] = ()) -> Leaks:
        """What a run has not freed at its end, as valgrind reports it.

        Args:
            arguments: added to its own.
            answers: a line for each time that it waits for input; afterwards, the end of input.

        Raises:
            NotPossibleHere: valgrind is not installed.
            RunFailed: the program crashes or does not end.
        """
        from procmem.grade.runs.leaks import leaks

        return leaks(
            self.job, (*self.argv, *arguments), answers, limits=self.limits, runs=self.runs
        )

    def __repr__(self) -> str:
        return f"<Program {' '.join(self.argv)}>"
