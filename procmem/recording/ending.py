"""How a process ended, as the kernel tells those who are not its parent."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import TYPE_CHECKING

from procmem.units import signal_name

if TYPE_CHECKING:
    from procmem.procfs import ProcessFiles

__all__ = ["Ending"]

INFO = struct.Struct("=QQ11Ii")
"""struct pidfd_info as Linux 6.13 has it (include/uapi/linux/pidfd.h)."""

GET_INFO = 3 << 30 | INFO.size << 16 | 0xFF << 8 | 11
"""PIDFD_GET_INFO: _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)."""

EXIT = 1 << 3
"""PIDFD_INFO_EXIT: asks for exit_code, and says that it is told (Linux 6.15)."""


class Ending:
    """Holds a process by a pidfd, which tells its exit status when it has been waited for.

    Args:
        files: the process, alive.
    """

    def __init__(self, files: ProcessFiles) -> None:
        self._pidfd = -1
        if files.root != "/proc" or not hasattr(os, "pidfd_open"):
            return  # PIDs of another namespace
        try:
            self._pidfd = os.pidfd_open(files.pid)
        except OSError:
            return
        # It was opened by number: whose it is shows in that the process still has this number.
        try:
            files.stat()
        except BaseException:
            self.close()
            raise

    def words(self, zombie: ProcessFiles | None) -> str:
        """That it has ended, and how, where that is told.

        Args:
            zombie: its files, if it was not waited for yet.
        """
        status = self._status() if zombie is None else status_of(zombie)
        if status is None:
            return "the process has ended"
        if os.WIFSIGNALED(status):
            return f"the process was ended by {signal_name(os.WTERMSIG(status))}"
        return f"the process has ended with status {os.WEXITSTATUS(status)}"

    def _status(self) -> int | None:
        if self._pidfd < 0:
            return None
        asked = bytearray(INFO.pack(EXIT, *(0,) * 13))
        try:
            fcntl.ioctl(self._pidfd, GET_INFO, asked)
        except OSError:
            return None
        told = INFO.unpack(asked)
        return told[-1] if told[0] & EXIT else None

    def close(self) -> None:
        """Lets go of it. Harmless if that is done."""
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)

    def __del__(self) -> None:
        self.close()


def status_of(zombie: ProcessFiles) -> int | None:
    """Its exit status as wait(2) gives it; the kernel tells it to those who may trace it.

    0 stands for "not told", too.
    """
    from procmem.errors import ProcessError

    try:
        return zombie.stat().exit_code or None
    except ProcessError:
        return None
