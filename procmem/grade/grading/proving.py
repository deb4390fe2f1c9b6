"""A trial of grading on this machine: a program is built, started, paused, measured and ended.

It runs in the same place and sandbox as the jobs. Otherwise a failure of the machine would count as
a failure of every submission.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile

from procmem.errors import ProcmemError, Unsupported
from procmem.grade.errors import BuildFailed, MachineError, SandboxError
from procmem.grade.sandbox import waiting
from procmem.grade.sandbox.inherited import check_limits
from procmem.grade.sandbox.job import tasks_of, words_for
from procmem.grade.sandbox.kinds import PAGE, PATH
from procmem.grade.sandbox.limits import RUNNING
from procmem.grade.sandbox.sandbox import Sandbox
from procmem.grade.submissions.placing import COMPILED
from procmem.grade.submissions.submission import Submission

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.grade.sandbox.limits import Limits

__all__ = ["prove", "why_not_graded"]

LEAST_PROCESSES = 48
"""The number of processes that a user must be able to start: make(1), a compiler, a sandbox."""

SOURCE = r"""
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
    char byte, *page;

    if (read(0, &byte, 1) != 1)
        return 1;
    page = mmap(0, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 2;
    *page = 1;
    return read(0, &byte, 1) == 1 ? 7 : 3;
}
"""
STATUS = 7
MAKEFILE = "trial: trial.c\n\t{compiler} -o trial trial.c\n"


def prove(
    build: Sequence[str] = ("make",),
    files: Sequence[str] = ("trial.c",),
    *,
    sandbox: Sandbox | None = None,
    limits: Limits = RUNNING,
) -> None:
    """Builds and runs a program of known behaviour in the way that submissions are.

    Args:
        build: the command that builds submissions to the lab; empty: nothing is built.
        files: the names of the files that are handed in; C sources need a compiler.
        sandbox: None: the strongest that works here.
        limits: the limits of a submission.

    Raises:
        MachineError: something does not work here; the message says what would help.
    """
    sandbox = sandbox or Sandbox()
    try:
        waiting.check_machine()
        check_python()
        check_kernel()
        check_limits(limits, sandbox.building)
        check_processes()
        with tempfile.TemporaryDirectory(prefix="trial-") as place:
            try_one(place, build, files, sandbox)
    except MachineError:
        raise
    except Unsupported as error:
        raise MachineError(str(error)) from error
    except OSError as error:
        raise MachineError(words_for(error)) from error
    except ProcmemError as error:
        raise MachineError(
            f"a program can't be run in the way that submissions are run: {error}"
        ) from error


def try_one(place: str, build: Sequence[str], files: Sequence[str], sandbox: Sandbox) -> None:
    """Runs the trial program."""
    command, program = trial(place, build, files)
    with Submission(place, build=command, program=program, sandbox=sandbox) as made:
        try:
            run = made.program().run()
        except BuildFailed as error:
            said = error.build.output.strip().splitlines()
            last = f": {said[-1]}" if said else ""
            raise MachineError(f"a program can't be built here: {error.build.why}{last}") from error
        with run:
            before = run.pause()
            run.answer()
            after = run.pause()
            if command:
                run.answer()
            ended = run.finish()
    if not command:
        if ended.status != 0:
            raise MachineError(f"a copy of cat(1) ended with status {ended.status} instead of 0")
        return
    if ended.status != STATUS:
        raise MachineError(f"a program ended with status {ended.status} instead of {STATUS}")
    change = after - before
    if (change.vsz, change.rss) != (PAGE, PAGE):
        raise MachineError(
            f"a measurement is wrong: a program that mapped and wrote {PAGE} bytes shows VSZ "
            f"{change.vsz:+} and RSS {change.rss:+}"
        )


def found(tool: str) -> str | None:
    """The path of a program in the PATH of builds."""
    return shutil.which(tool, path=PATH)


def trial(place: str, build: Sequence[str], files: Sequence[str]) -> tuple[list[str], list[str]]:
    """Writes the trial program: a C program if the lab's are, otherwise a copy of cat(1).

    Raises:
        MachineError: the tool that builds it is not installed.
    """
    tool = build[0] if build else ""
    if tool and "/" not in tool and found(tool) is None:
        raise MachineError(f"{tool} is not installed (on Debian: apt-get install {tool})")
    compiler = next((one for one in ("cc", "gcc", "clang") if found(one)), "")
    wanted = any(name.endswith(COMPILED[:4]) for name in files)
    if build and wanted and not compiler:
        raise MachineError("there is no C compiler (on Debian: apt-get install gcc)")
    if build and compiler:
        with open(os.path.join(place, "trial.c"), "w", encoding="ascii") as file:
            file.write(SOURCE)
        if found("make") is None:
            return [compiler, "-o", "trial", "trial.c"], ["./trial"]
        with open(os.path.join(place, "Makefile"), "w", encoding="ascii") as file:
            file.write(MAKEFILE.format(compiler=shlex.quote(compiler)))
        return ["make"], ["./trial"]
    shutil.copyfile(found("cat") or "/bin/cat", os.path.join(place, "trial"))
    os.chmod(os.path.join(place, "trial"), 0o755)  # noqa: S103 - a program
    return [], ["./trial"]


def check_python() -> None:
    """Checks that this Python can call prctl(2) and ptrace(2).

    Raises:
        MachineError
    """
    try:
        import ctypes  # noqa: F401 - whether it is there
    except ImportError as error:
        raise MachineError(
            "this Python was built without ctypes, which grading needs: use one that has it"
        ) from error


def check_kernel() -> None:
    """Checks that the kernel shows what a program waits for.

    Raises:
        MachineError
    """
    for path in ("syscall", f"task/{os.getpid()}/children"):
        if not os.path.exists(f"/proc/self/{path}"):
            shown = path.replace(str(os.getpid()), "TID")
            raise MachineError(
                f"the kernel has no /proc/PID/{shown}: what a program waits for can't be seen"
            )


def check_processes() -> None:
    """Checks that enough processes can be started.

    Raises:
        MachineError
    """
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.geteuid() == 0 or hard == resource.RLIM_INFINITY:
        return
    running = tasks_of(os.geteuid())
    if hard < running + LEAST_PROCESSES:
        raise MachineError(
            f"too few processes can be started: `ulimit -H -u` is {hard:,}, and {running:,} of "
            f"this user's are running: end some, or raise the limit by "
            f"{running + LEAST_PROCESSES - hard:,}"
        )


def why_not_graded() -> str:
    """Why this machine can't grade, according to prove(); empty: it can."""
    try:
        prove()
    except (MachineError, SandboxError) as error:
        return str(error)
    return ""
