"""What a process gets from whoever started it: signals, limits, environment, descriptors, umask.

All of it is kept over fork(2) and execve(2), and may change what grading does or measures. So the
commands and each process that grades set it right before anything else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import sys

from procmem.grade.errors import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from procmem.grade.sandbox.limits import Limits

__all__ = ["above_standard", "check_limits", "open_standard", "set_right", "without_traces"]

STACK = 8 << 20
"""The kernel's own soft limit (_STK_LIM in include/linux/resource.h): threads' stacks and the
layout of address spaces follow it (mmap_base() in mm/util.c)."""

LIFTED = (
    resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE,
    resource.RLIMIT_NPROC, resource.RLIMIT_CPU, resource.RLIMIT_MEMLOCK,
)  # fmt: skip
"""Soft limits that are raised to the hard one; a job's own are set in the sandbox."""

CHANGING = ("PYTEST_", "MALLOC_", "COV_", "GLIBC_", "GCC_", "LD_", "MAKE", "VALGRIND_")
"""Beginnings of names of variables that change pytest, the figures, or what a compiler does."""
CHANGING_NAMES = frozenset((
    "CC", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "LDLIBS", "LOADLIBES", "TARGET_ARCH",
    "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH",
    "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "BASH_ENV", "ENV", "CDPATH",
    "POSIXLY_CORRECT", "GREP_OPTIONS", "TERM",
))  # fmt: skip
KEPT = frozenset(("LD_LIBRARY_PATH",))
"""The interpreter itself may need it to be started."""


def set_right(*, quiet: bool = False) -> None:
    """Sets this process right; its children inherit that.

    Args:
        quiet: it is one of ours, which keeps no handlers of signals; else those that its user's
            shell sets for it (nohup's SIGHUP) stay.
    """
    open_standard()
    for number in signal.valid_signals() if quiet else (signal.SIGCHLD,):
        with contextlib.suppress(OSError, ValueError):
            if signal.getsignal(number) == signal.SIG_IGN and number != signal.SIGPIPE:
                signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for limit in LIFTED:
        soft, hard = resource.getrlimit(limit)
        # root may raise the hard one, but for open files above fs.nr_open (setrlimit(2)).
        wanted = resource.RLIM_INFINITY if limit != resource.RLIMIT_NOFILE else max(hard, 4096)
        for most in (wanted, hard) if quiet else (hard,):
            if soft != most:
                with contextlib.suppress(OSError, ValueError):
                    resource.setrlimit(limit, (most, most))
                    break
    # What a user wants to keep from others stays so; from itself nothing can be kept.
    os.umask(os.umask(0o077) & 0o077)
    if quiet:
        os.umask(0o022)
        soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
        if soft != STACK and (hard == resource.RLIM_INFINITY or hard >= STACK):
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_STACK, (STACK, hard))


def open_standard() -> None:
    """Opens /dev/null for each of the descriptors 0, 1 and 2 that is closed.

    Else the next file that is opened would be somebody's standard output.
    """
    for standard in (0, 1, 2):
        try:
            fcntl.fcntl(standard, fcntl.F_GETFD)
        except OSError:
            made = os.open(os.devnull, os.O_RDWR)
            if made != standard:
                os.dup2(made, standard)
                os.close(made)
            os.set_inheritable(standard, True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = ("stdin", "stdout", "stderr").index(name)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def above_standard(descriptor: int) -> int:
    """The same file under a number above 2, whatever the caller has closed; closes the given."""
    if descriptor > 2:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved


def without_traces(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what would change pytest, the compiler or the figures."""
    return {
        name: value
        for name, value in environment.items()
        if name in KEPT or not (name.startswith(CHANGING) or name in CHANGING_NAMES)
    }


WORDS = {
    resource.RLIMIT_FSIZE: ("-f", "the size of files", 1024),
    resource.RLIMIT_NOFILE: ("-n", "open files", 1),
    resource.RLIMIT_CPU: ("-t", "CPU seconds", 1),
    resource.RLIMIT_AS: ("-v", "the address space", 1024),
    resource.RLIMIT_DATA: ("-d", "data", 1024),
    resource.RLIMIT_STACK: ("-s", "the stack", 1024),
}
"""The option of a shell's ulimit, what it bounds, and its unit in bytes (bash(1))."""


def check_limits(limits: Limits, building: Limits) -> None:
    """Whether this process's hard limits leave jobs what they are promised.

    Raises:
        MachineError: one does not; it says which.
    """
    wanted = {
        resource.RLIMIT_FSIZE: max(limits.file_size, building.file_size),
        resource.RLIMIT_NOFILE: max(limits.descriptors, building.descriptors),
        resource.RLIMIT_CPU: int(max(limits.cpu, building.cpu)),
        resource.RLIMIT_AS: resource.RLIM_INFINITY,
        resource.RLIMIT_DATA: resource.RLIM_INFINITY,
        resource.RLIMIT_STACK: 1 << 20,
    }
    for limit, least in wanted.items():
        _, hard = resource.getrlimit(limit)
        if hard == resource.RLIM_INFINITY or (least != resource.RLIM_INFINITY and hard >= least):
            continue
        option, what, unit = WORDS[limit]
        need = "unlimited" if least == resource.RLIM_INFINITY else f"at least {-(-least // unit):,}"
        raise MachineError(
            f"{what} is limited here, so programs would be measured wrong or stopped: "
            f"`ulimit -H {option}` is {hard // unit:,} and must be {need}"
        )
