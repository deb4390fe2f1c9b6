"""The errors that are psutil's, too."""

from __future__ import annotations

import psutil

from procmem.errors.base import ProcessError

__all__ = ["AccessDenied", "InvalidPid", "NoSuchProcess", "ZombieProcess"]


class NoSuchProcess(ProcessError, psutil.NoSuchProcess):
    """No process has this PID, or the one that had it has ended."""

    def __init__(self, pid: int, msg: str = "no such process") -> None:
        psutil.NoSuchProcess.__init__(self, pid, None, msg)
        self.args = (pid, msg)


class InvalidPid(NoSuchProcess, ValueError):
    """The number cannot be a PID: it is negative, or larger than any PID can be."""


class AccessDenied(ProcessError, psutil.AccessDenied):  # type: ignore[misc]  # its pid may be None
    """The kernel does not let this user read that file of the process.

    Source: ptrace(2), "Ptrace access mode checking".
    """

    def __init__(self, pid: int, msg: str = "access denied") -> None:
        psutil.AccessDenied.__init__(self, pid, None, msg)
        self.args = (pid, msg)


class ZombieProcess(ProcessError, psutil.ZombieProcess):
    """The process has ended, but its parent has not waited for it: its memory is already freed.

    Source: wait(2), "zombie".
    """

    def __init__(self, pid: int, msg: str = "a zombie: it has ended, its memory is freed") -> None:
        psutil.ZombieProcess.__init__(self, pid, None, None, msg)
        self.args = (pid, msg)
