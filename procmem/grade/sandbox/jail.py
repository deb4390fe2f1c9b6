"""A program in its sandbox, from its start to its end: the other side of native/jail.c."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from typing import NamedTuple

from procmem import native
from procmem.errors import Unsupported
from procmem.grade.errors import SandboxError
from procmem.grade.sandbox import waiting
from procmem.grade.sandbox.kinds import PAGE, PATH, PATIENCE
from procmem.grade.sandbox.untrusted import used

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from procmem.grade.sandbox.cgroups import Cgroup
    from procmem.grade.sandbox.limits import Limits

__all__ = ["Ended", "Jailed", "jail_program"]

MESSAGE = struct.Struct("=iiqqqqiiQ")
"""struct jail_message in native/jail.h."""


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
        status: its exit status; None if a signal killed it.
        signal: the number of that signal, else None.
        seconds: from its start to its end.
        cpu: seconds of CPU time, including children that it waited for.
        minor: minor page faults, without children.
        major: major page faults, without children.
        peak: the highest RSS, in bytes.
        code: si_code of that signal, such as 1 (SEGV_MAPERR); None: not known.
        address: the address that was accessed; None: not known.
    """

    status: int | None
    signal: int | None
    seconds: float
    cpu: float
    minor: int
    major: int
    peak: int
    code: int | None = None
    address: int | None = None


def jail_program() -> str:
    """The path of the program that is the innermost part of every sandbox.

    Raises:
        Unsupported: it was not built.
    """
    path = os.path.join(os.path.dirname(os.path.abspath(native.__file__)), "jail")
    if not os.access(path, os.X_OK):
        raise Unsupported("the jail program", f"{path} was not built: is there a C compiler?")
    return path


class Jailed:
    """A program in its sandbox; nothing of either is left after close().

    Args:
        command: returns the command line that starts the sandbox, from the descriptors of the jail
            program and of the socket between the two.
        argv: the program and its arguments.
        limits: what it may use.
        environment: all of its environment.
        keep: descriptors that it inherits.
        jail: path of the jail program.
        directory: the size of its contents is limited.
        cgroup: the control group that it runs in; None: none.

    Attributes:
        pid: the PID of the program, outside of the sandbox.
        first: the PID of its parent, whose descendants are all processes of the sandbox.
        ended: how the program ended; None: it has not.
    """

    def __init__(
        self,
        command: Callable[[int, int], Sequence[str]],
        argv: Sequence[str | bytes],
        limits: Limits,
        environment: Mapping[str, str],
        *,
        keep: Sequence[int],
        jail: str,
        directory: str,
        cgroup: Cgroup | None,
    ) -> None:
        self.ended: Ended | None = None
        self.pid = self.first = 0
        self._began = self._look_at_disk = 0.0
        self._directory = directory
        self._cgroup = cgroup
        self._limits = limits
        self._kills = 0 if cgroup is None else cgroup.killed()
        self.socket, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
        )
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.settimeout(PATIENCE)
        program = os.open(jail, os.O_RDONLY | os.O_CLOEXEC)
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        try:
            words: list[str | bytes] = [
                *command(program, theirs.fileno()),
                "--",
                *(f"{name}={value}" for name, value in environment.items()),
                "--",
                *argv,
            ]
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=tuple({theirs.fileno(), program, *keep}),
                env={"PATH": PATH},
                cwd="/",
                # Ctrl-C is for the grader, which then ends us in its own order.
                start_new_session=True,
            )
            theirs.close()
            try:
                self._set_up()
            except (SandboxError, OSError) as error:
                self.close()
                said.seek(0)
                why = said.read(2000).decode(errors="replace").strip()
                raise SandboxError(f"the sandbox did not start: {why or error}") from error
        except BaseException:
            theirs.close()
            self.socket.close()
            raise
        finally:
            os.close(program)
            said.close()
        if cgroup is not None:
            cgroup.add(self.pid)

    def _set_up(self) -> None:
        while not self.pid:
            kind, number, pid, _ = self._receive()
            if kind == "I":
                self.first = pid
            elif kind == "C":
                self.pid = pid
                if number:
                    raise OSError(number, os.strerror(number))

    def _receive(self) -> tuple[str, int, int, tuple[int, ...]]:
        data, ancillary, _, _ = self.socket.recvmsg(MESSAGE.size, socket.CMSG_SPACE(12))
        if len(data) != MESSAGE.size:
            raise SandboxError("it ended at once")
        kind, number, *rest = MESSAGE.unpack(data)
        pid = 0
        for level, what, content in ancillary:
            if level == socket.SOL_SOCKET and what == socket.SCM_CREDENTIALS:
                pid = struct.unpack("=iII", content)[0]
        return chr(kind), number, pid, tuple(rest)

    def begin(self, *, watched: bool = False, traced: bool = False) -> None:
        """Lets the program begin.

        Args:
            watched: whether to record the address of a fatal signal. The program is traced for that
                (ptrace(2)), so nobody else can trace it.
            traced: whether the caller traces it with PTRACE_O_TRACESECCOMP. It then stops at each
                call that opens a file.

        Raises:
            OSError: it can't be run (errno says why).
            SandboxError: its sandbox has ended.
        """
        self._began = time.monotonic()
        self.socket.send(b"w" if watched else b"t" if traced else b"g")
        kind, number, _, _ = self._receive()
        self.socket.setblocking(False)
        if kind == "X":
            raise OSError(number, os.strerror(number))

    def look(self) -> Ended | None:
        """How the program ended; None: it is still running."""
        while self.ended is None:
            try:
                kind, number, _, rest = self._receive()
            except BlockingIOError:
                break
            except (SandboxError, OSError):
                # Without a PID namespace a program may kill what is above it.
                since = time.monotonic() - self._began
                self.ended = Ended(None, signal.SIGKILL, since, 0.0, 0, 0, 0)
                break
            if kind == "E":
                killed = number & 0x7F
                cpu, minor, major, peak, watched, code, address = rest
                self.ended = Ended(
                    None if killed else number >> 8,
                    killed or None,
                    time.monotonic() - self._began,
                    cpu / 1e6,
                    minor,
                    major,
                    peak,
                    code if watched else None,
                    address if watched else None,
                )
        return self.ended

    def cpu_seconds(self) -> tuple[float, float]:
        """The CPU time of the processes in it, and how long they had to wait for a CPU.

        The latter is known only for a single process: several may have waited for each other.
        """
        ticks, longest = 0, 0
        pids = waiting.descendants(self.first)
        for pid in pids:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
                ticks += sum(map(int, file.read().rsplit(b")", 1)[1].split()[11:15]))
            with contextlib.suppress(OSError), open(f"/proc/{pid}/schedstat", "rb") as file:
                longest = max(longest, int(file.read().split()[1]))
        return ticks / os.sysconf("SC_CLK_TCK"), longest / 1e9 if len(pids) == 1 else 0.0

    def over(self, *, at_its_end: bool = False) -> tuple[str, str] | None:
        """The limit that it exceeded, as a field of Limits and as a sentence; None: none.

        A limit that the kernel enforces is known only at the end of the program.
        """
        limits, cgroup, ended = self._limits, self._cgroup, self.ended
        memory = "memory", f"it uses more than {limits.memory:,} bytes of memory"
        if cgroup is not None and cgroup.killed() > self._kills:
            # In a tmpfs files are memory: it may have been too many of them.
            return self._too_many_files() or memory
        if ended is not None and ended.signal == signal.SIGXFSZ:
            return "file_size", f"it wrote a file of more than {limits.file_size:,} bytes"
        if ended is not None and (
            ended.signal == signal.SIGXCPU
            or (ended.signal == signal.SIGKILL and ended.cpu >= limits.cpu)
        ):
            return "cpu", f"it used {ended.cpu:.0f} seconds of CPU time"
        if not at_its_end:
            resident = 0
            for pid in waiting.descendants(self.first):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/statm", "rb") as file:
                    resident += int(file.read().split()[1]) * PAGE
            if resident > limits.memory:
                return memory
        now = time.monotonic()
        if at_its_end or now > self._look_at_disk:
            found = self._too_many_files()
            # A look at many files takes its time: no more than a tenth of all.
            self._look_at_disk = max(now + 0.1, time.monotonic() + 10 * (time.monotonic() - now))
            return found
        return None

    def _too_many_files(self) -> tuple[str, str] | None:
        limits = self._limits
        size, files = used(self._directory, limits.disk, limits.files)
        if size > limits.disk:
            return "disk", f"its files take more than {limits.disk:,} bytes"
        if files > limits.files:
            return "files", f"it created more than {limits.files:,} files"
        return None

    def close(self) -> None:
        """Kills all processes of the sandbox, and waits until they have ended."""
        if self._cgroup is not None:
            self._cgroup.stop()
        self.socket.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Jailed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
