"""Running a program phase by phase, each until the program is seen to wait for input."""

from __future__ import annotations

import errno
import os
import pty
import select
import signal
import termios
import time

from procmem.errors import (
    AccessDenied,
    ProcmemError,
    ZombieProcess,
)
from procmem.grade.errors import (
    AsksAgain,
    MachineError,
    NeverAsked,
    NotPossibleHere,
    OutputFlood,
    OverLimit,
    ProgramCrashed,
    ProgramEnded,
    ProgramSleeps,
    ProgramSpins,
    RunFailed,
)
from procmem.grade.runs.hangs import hang
from procmem.grade.sandbox import waiting
from procmem.grade.sandbox.contents import why_not_run
from procmem.grade.sandbox.untrusted import open_below
from procmem.procfs.blocked import POLLS, SELECTS, SLEEPS
from procmem.regions.kinds import RegionKind
from procmem.units import signal_name

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from procmem.grade.sandbox.jail import Ended, Jailed
    from procmem.grade.sandbox.job import Job
    from procmem.grade.sandbox.limits import Limits
    from procmem.process import Faults, Process, Thread
    from procmem.snapshots import Snapshot

__all__ = ["Run"]

LOOK_AGAIN = 0.0005, 0.01
"""Seconds between two observations: at first, and at most."""

BUSY = 0.2
"""A share of the elapsed time: a program that was observed asleep and used less CPU time than this
is sleeping, not computing."""

MOST_ENDS = 10
"""How often the end of input is typed, because a program may repeat a read(2) that returned 0."""

STARVED = 10
"""How many times its wall-clock limit a program may take if it has to wait for a CPU."""

CHUNK = 65536
LARGEST_HEAD = 64 << 10

DENIALS = 20
"""Observations in a row that are denied before a program counts as hiding: while a program ends,
they are denied for a short time, too."""

HIDES = (
    "it hides from the grader: its files in /proc can't be read (prctl(PR_SET_DUMPABLE), or a "
    "program that may be run but not read)"
)


NO_STACK = (
    "it hides its stack: none of its regions is called [stack] any more (it was unmapped, or moved "
    "by prctl(PR_SET_MM))"
)


ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}


def ordinal(number: int) -> str:
    if number % 100 // 10 != 1 and number % 10 in ORDINALS:
        return f"{number - number % 10 or ''}{ORDINALS[number % 10]}" if number < 10 else (
            f"{number}{ORDINALS[number % 10][1:]}"
        )  # fmt: skip
    return f"{number}th"


class Run:
    """One run of a program. Nothing of it outlives the with block.

    Args:
        job: whose program it is.
        argv: its name and arguments.
        environment: variables beside PATH, HOME, TMPDIR and LANG.
        limits: what it may use; None: the limits of the job.
        watched: whether to record the address of a fatal signal, for which the program is traced.
        hold: whether it waits for begin(), so that the caller can trace it.
        keep: a descriptor that it inherits; -1: none.

    Attributes:
        job, argv, limits: as given.
        phases: the name and Snapshot of each pause.
        ended: how it ended; None: it is running.
    """

    def __init__(
        self,
        job: Job,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        watched: bool = True,
        hold: bool = False,
        keep: int = -1,
    ) -> None:
        self.job = job
        self.limits = limits or job.limits
        self.argv = tuple(argv)
        self.phases: list[tuple[str, Snapshot]] = []
        self.ended: Ended | None = None
        self._environment = environment
        self._hold = hold
        self._keep = keep
        # Whoever holds it back wants to trace it.
        self._watched = watched and not hold
        self._inner: Jailed | None = None
        self._output = bytearray()
        self._printed = 0
        self._answers = 0
        self._pauses = 0
        self._spent = 0.0
        self._slept = -1
        self._last = ""
        # Looks that found it so.
        self._asleep = self._running = 0
        self._failure: RunFailed | None = None
        self._master = self._slave = -1
        self._watchable = True
        self._denied = 0

    def __enter__(self) -> Run:
        waiting.check_machine()
        try:
            self._master, self._slave = pty.openpty()
        except OSError as error:
            raise MachineError(
                f"no terminal could be opened (pty(7)): {error.strerror or error}; more may be "
                "allowed "
                "by /proc/sys/kernel/pty/max"
            ) from error
        try:
            for fd in (self._master, self._slave):
                os.set_inheritable(fd, False)
            os.set_blocking(self._master, False)
            quiet(self._slave)
            self._terminal = os.fstat(self._slave)
            job = self.job
            if os.geteuid() == 0:
                os.fchown(self._slave, job.uid, -1)
            self._inner = job.start(
                self.argv,
                self.limits,
                self._slave,
                self._slave,
                environment=self._environment,
                keep=self._keep,
            )
            self._watchable = waiting.can_be_watched(self.pid)
            if not self._hold:
                self.begin()
        except BaseException:
            self.close()
            raise
        return self

    def begin(self) -> None:
        """Lets a run that was held back begin.

        Raises:
            RunFailed: it can't be run.
            MachineError: this machine can't run it in its present state.
        """
        try:
            self._jailed.begin(watched=self._watched)
        except OSError as error:
            raise self._not_run(error.errno or 0) from error

    def _not_run(self, number: int) -> ProcmemError:
        """Why execve(2) failed: the submission's fault, or this machine's."""
        name = self.argv[0]
        why = os.strerror(number)
        if "/" in name and not name.startswith("/"):
            try:
                file = open_below(self.job.directory, name)
            except OSError as error:
                if number == errno.ENOENT and error.errno == errno.ENOENT:
                    why = "there is no such program; was it built, and under this name?"
                elif os.path.isdir(os.path.join(self.job.directory, name)):
                    why = "it is a directory"
            else:
                with open(file, "rb") as read:
                    mode = os.fstat(file).st_mode
                    if (
                        number == errno.EACCES
                        and mode & 0o111
                        and (os.fstatvfs(file).f_flag & os.ST_NOEXEC)
                    ):
                        return MachineError(self.job.noexec())
                    why = why_not_run(number, read.read(LARGEST_HEAD), mode)
        elif number == errno.ENOENT:
            why = "there is no such program; was it built, and under this name?"
        return RunFailed(f"{name} can't be run: {why}", phase="at its start")

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kills the program, if it is running."""
        if self._inner is not None:
            self._inner.close()
        for fd in (self._master, self._slave):
            if fd >= 0:
                os.close(fd)
        self._master = self._slave = -1

    @property
    def _jailed(self) -> Jailed:
        if self._inner is None:
            raise ValueError("a run can only be used within its with block")
        return self._inner

    @property
    def phase(self) -> str:
        """The present phase: "at its start", "after the 2nd answer" ..."""
        return f"after the {ordinal(self._answers)} answer" if self._answers else "at its start"

    @property
    def output(self) -> str:
        """What it has printed so far; bytes that are not UTF-8 become U+FFFD."""
        if self._master >= 0:
            self._drain()
        return self._output.decode(errors="replace")

    @property
    def pid(self) -> int:
        """Its PID, outside of the sandbox."""
        return self._jailed.pid

    @property
    def process(self) -> Process:
        """Its process, as a procmem.Process."""
        from procmem.process import Process

        return Process(self.pid)

    def snapshot(self) -> Snapshot:
        """A snapshot of its memory now."""
        try:
            return self.process.snapshot()
        except ProcmemError as error:
            raise self._lost(error) from error

    def _lost(self, error: ProcmemError) -> Exception:
        ended = self._jailed.look()
        if ended is not None:
            return self._why(ended)
        if isinstance(error, ZombieProcess):
            return self._made(RunFailed, "its main thread has ended, while others still run")
        if self.hides(error):
            return self._made(RunFailed, HIDES)
        return error

    def hides(self, error: BaseException) -> bool:
        """Whether an error means that the program, and not this machine, denies access to it."""
        return isinstance(error, AccessDenied) and (
            self._watchable and self._inner is not None and error.pid == self.pid
        )

    @property
    def libraries(self) -> tuple[str, ...]:
        """The paths of the shared libraries that it has mapped, including the loader."""
        found = (region.pathname for region in self.process.maps() if region.pathname)
        return tuple(dict.fromkeys(path for path in found if is_library(path)))

    @property
    def threads(self) -> list[Thread]:
        """Its threads."""
        return self.process.threads()

    @property
    def faults(self) -> Faults:
        """Its minor and major faults so far."""
        return self.process.faults()

    def pause(self, name: str | None = None, *, at: str = "input") -> Snapshot:
        """Lets the program run until it waits for input, and takes a snapshot of its memory.

        Args:
            name: a name for the phase; None: "at the 1st wait", and so on.
            at: "input", or "sleep": stop also where it sleeps (pause(2), nanosleep(2) ...).

        Raises:
            ProgramEnded, NeverAsked, ProgramCrashed, ProgramSpins, ProgramSleeps, OutputFlood,
            OverLimit: it did something else.
        """
        self._until(at)
        self._pauses += 1
        snapshot = self.snapshot()
        if not any(region.kind is RegionKind.STACK for region in snapshot.regions):
            raise self._made(RunFailed, NO_STACK)
        self.phases.append((name or f"at the {ordinal(self._pauses)} wait", snapshot))
        return snapshot

    def answer(self, line: str = "") -> None:
        """Sends it a line, as if it was typed.

        Raises:
            RunFailed: it has ended, or failed otherwise.
            ValueError: the line is longer than a terminal accepts.
        """
        data = os.fsencode(line) + b"\n"
        if len(data) > 4095:
            raise ValueError("a terminal takes lines of at most 4,094 bytes")
        self._type(data)

    def end_of_input(self) -> None:
        """Types Ctrl-D: its read(2) returns 0."""
        self._type(b"\x04")

    def _type(self, data: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        self._answers += 1
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                # Its input is full: it does not read.
                self._until("input")

    def finish(self, answers: Sequence[str] | None = None, *, may_ask: bool = True) -> Ended:
        """Lets the program run to its end.

        Args:
            answers: a line for each time that it waits for input; afterwards, the end of input.
            may_ask: whether it may wait for input more often than there are answers.

        Raises:
            AsksAgain: it waited for input, which it may not.
            ProgramCrashed, ProgramSpins, ProgramSleeps, OutputFlood, OverLimit
        """
        left = list(answers or ())
        ends = 0
        while True:
            try:
                self._until("input")
            except ProgramEnded:
                if self.ended is not None:
                    return self.ended
                raise
            if left:
                self.answer(left.pop(0))
                continue
            if not may_ask:
                self._asks_again()
            ends += 1
            if ends > MOST_ENDS:
                self._fail(
                    ProgramSleeps,
                    "it keeps asking for input, although its input has ended",
                    call="read",
                    forever=False,
                )
            self.end_of_input()

    def _asks_again(self) -> NoReturn:
        """Counts its further waits, for the message."""
        wanted = self._pauses
        phase = self.phase
        more = 1
        while more < MOST_ENDS:
            self.answer()
            try:
                self._until("input")
            except RunFailed:
                break
            more += 1
        waits = f"{wanted + more}{'' if more < MOST_ENDS else ' or more'}"
        times = "time" if wanted == 1 else "times"
        text = bytes(self._output[-4096:]).decode(errors="replace")
        self._failure = AsksAgain(
            f"it should wait for input {wanted} {times}, but waits {waits} times ({phase})",
            phase=phase,
            output=text,
            waits=wanted + more,
        )
        raise self._failure

    # ---- waiting -----------------------------------------------------------------------------

    def _until(self, at: str) -> None:
        """Returns when the program waits for input or, if requested, sleeps."""
        if at not in {"input", "sleep"}:
            raise ValueError(f'at is "input" or "sleep", not {at!r}')
        if self._failure is not None:
            raise self._failure
        began = time.monotonic()
        spent = self._spent
        pause = LOOK_AGAIN[0]
        typed = select.poll()
        typed.register(self._slave, select.POLLIN)
        events = select.poll()
        events.register(self._master, select.POLLIN)
        events.register(self._jailed.socket, select.POLLIN)
        try:
            while True:
                self._drain()
                ended = self._jailed.look()
                if ended is not None:
                    self._drain()
                    raise self._why(ended)
                # poll(2) also brings what was typed to its reader (n_tty_poll() in
                # drivers/tty/n_tty.c), so that whoever still waits has had all of it.
                seen = None if typed.poll(0) else self._look()
                if seen is not None and seen.waits:
                    self._drain()
                    return
                if seen is not None and at == "sleep" and seen.turns != self._slept and (
                    seen.sleeps in SLEEPS or seen.sleeps in POLLS
                    or seen.sleeps in SELECTS
                ):  # fmt: skip
                    self._slept = seen.turns
                    return
                self._spent = spent + time.monotonic() - began
                self._check(seen)
                events.poll(max(1, pause * 1000) if pause >= 0.001 else pause * 1000)
                pause = min(max(pause, (self._spent - spent) / 20), LOOK_AGAIN[1])
        except RunFailed as error:
            self._failure = error
            raise
        finally:
            self._spent = spent + time.monotonic() - began

    def _look(self) -> waiting.Seen | None:
        try:
            seen = waiting.look(self._jailed.first, self._terminal)
            self._denied = 0
            return seen
        except PermissionError as error:
            if self._watchable:
                self._denied += 1
                if self._denied > DENIALS:
                    self._fail(RunFailed, HIDES)
                return None
            raise NotPossibleHere(
                "a program can't be watched here: /proc/PID/syscall is denied (ptrace(2))"
            ) from error

    def _drain(self) -> None:
        """Reads what the program printed, so that it never has to wait for the grader."""
        while True:
            try:
                data = os.read(self._master, CHUNK)
            except (BlockingIOError, OSError):
                return
            if not data:
                return
            self._printed += len(data)
            room = self.limits.output - len(self._output)
            self._output += data[: max(room, 0)]
            if self._printed > self.limits.output:
                self._fail(
                    OutputFlood,
                    f"it printed more than {self.limits.output:,} bytes",
                    limit=self.limits.output,
                )

    def _check(self, seen: waiting.Seen | None) -> None:
        """Raises an error if there is no point in waiting any longer."""
        limits = self.limits
        if over := self._jailed.over():
            self._fail(OverLimit, over[1], limit=over[0])
        if seen is not None and seen.forever:
            self._fail(
                ProgramSleeps,
                "it waits forever: each of its threads waits for another one (a deadlock)",
                call=seen.sleeps,
                forever=True,
            )
        if seen is not None:
            self._last = seen.sleeps
            self._asleep += 1
        else:
            self._running += 1
        if self._spent <= limits.wall:
            return
        used, queued = self._jailed.cpu_seconds()
        # The time in which others had the CPU is not its own, within reason.
        own = self._spent - queued
        if own <= limits.wall and self._spent <= limits.wall * STARVED:
            return
        if self._last and (self._asleep > self._running or used < own * BUSY):
            why = hang(self.pid)
            self._fail(
                ProgramSleeps,
                f"it does not ask for input: it sleeps in {self._last}{why and f': {why}'}",
                call=self._last,
                forever=False,
            )
        self._fail(
            ProgramSpins,
            f"it does not ask for input: it is still running after {limits.wall:g} seconds",
            seconds=used,
        )

    def _fail(self, kind: type[RunFailed], message: str, **more: object) -> NoReturn:
        raise self._made(kind, message, **more)

    def _made(self, kind: type[RunFailed], message: str, **more: object) -> RunFailed:
        text = bytes(self._output[-4096:]).decode(errors="replace")
        self._failure = kind(f"{message} ({self.phase})", phase=self.phase, output=text, **more)
        return self._failure

    def _why(self, ended: Ended) -> RunFailed:
        """The error for a program that ended before it waited for input."""
        self.ended = ended
        over = self._jailed.over(at_its_end=True)
        if over and over[0] == "cpu":
            return self._made(
                ProgramSpins, f"it does not ask for input: {over[1]}", seconds=ended.cpu
            )
        if over and (ended.signal is not None or over[0] != "memory"):
            return self._made(OverLimit, over[1], limit=over[0])
        if ended.signal is not None:
            return self._made(
                ProgramCrashed,
                f"it was killed by {signal_name(ended.signal, meaning=True)}{told(ended)}",
                signal=ended.signal,
                code=ended.code,
                address=ended.address,
            )
        if self._pauses or self._answers:
            return self._made(
                ProgramEnded, f"it ended with status {ended.status}", status=ended.status
            )
        return self._made(
            NeverAsked,
            f"it ended with status {ended.status} without asking for input",
            status=ended.status,
        )


CODES = {
    (signal.SIGSEGV, 1): "nothing is mapped there (SEGV_MAPERR)",
    (signal.SIGSEGV, 2): "what is mapped there does not allow this access (SEGV_ACCERR)",
    (signal.SIGBUS, 2): "it is beyond the end of the mapped file (BUS_ADRERR)",
    (signal.SIGFPE, 1): "an integer was divided by zero (FPE_INTDIV)",
}
"""By signal and si_code (sigaction(2))."""

SI_KERNEL = 128


def told(ended: Ended) -> str:
    """What is known about a fatal signal, to be appended to its name."""
    if ended.code is None or ended.signal is None:
        return ""
    if ended.code == SI_KERNEL:
        return ": an address that no process can use, or a privileged instruction"
    why = CODES.get((signal.Signals(ended.signal), ended.code))
    at = f" at {ended.address:#x}" if ended.address is not None else ""
    return f"{at}: {why}" if why else ""


def is_library(path: str) -> bool:
    name = os.path.basename(path)
    return name.endswith(".so") or ".so." in name


def quiet(terminal: int) -> None:
    """Turns off echo and newline conversion: the output is what the program writes."""
    modes = termios.tcgetattr(terminal)
    modes[1] &= ~termios.OPOST
    modes[3] &= ~(termios.ECHO | termios.ECHONL)
    termios.tcsetattr(terminal, termios.TCSANOW, modes)
