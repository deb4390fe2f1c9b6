"""What a process inherits: signal dispositions, limits, environment, descriptors, umask.

All of it survives fork(2) and execve(2), and may change what grading does or measures. So the
commands, and each process that grades, reset it first of all.
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
"""Soft limits that are raised to the hard ones; the limits of a job are set in the sandbox."""

CHANGING = ("PYTEST_", "MALLOC_", "COV_", "GLIBC_", "GCC_", "LD_", "MAKE", "VALGRIND_")
"""Prefixes of variables that change pytest, the measurements, or what a compiler does."""
CHANGING_NAMES = frozenset((
    "CC", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "LDLIBS", "LOADLIBES", "TARGET_ARCH",
    "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH",
    "ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "BASH_ENV", "ENV", "CDPATH",
    "POSIXLY_CORRECT", "GREP_OPTIONS", "TERM",
))  # fmt: skip
KEPT = frozenset(("LD_LIBRARY_PATH",))
"""The interpreter may need it to start."""


def set_right(*, quiet: bool = False) -> None:
    """Resets what this process inherited; its children inherit the result.

    Args:
        quiet: whether it is an internal process, which keeps no dispositions of signals; in
            others, those that the shell sets (nohup's SIGHUP) are kept.
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

    Otherwise the next file that is opened would become standard output.
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
    """Moves a descriptor to a number above 2, if it is not."""
    if descriptor > 2:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved


def without_traces(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without variables that change pytest, the compiler or the measurements."""
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
"""The option of the shell's ulimit, what it limits, and its unit in bytes (bash(1))."""


def check_limits(limits: Limits, building: Limits) -> None:
    """Checks that this process's hard limits allow the limits of jobs.

    Raises:
        MachineError: one is too low; the message says which.
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
