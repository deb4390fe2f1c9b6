"""How a process ended, as far as the kernel shows that to a process that is not its parent."""

from __future__ import annotations

import fcntl
import os
import struct

from procmem.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.procfs import ProcessFiles

__all__ = ["Ending"]

INFO = struct.Struct("=QQ11Ii")
"""struct pidfd_info as Linux 6.13 has it (include/uapi/linux/pidfd.h)."""

GET_INFO = 3 << 30 | INFO.size << 16 | 0xFF << 8 | 11
"""PIDFD_GET_INFO: _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)."""

EXIT = 1 << 3
"""PIDFD_INFO_EXIT: asks for exit_code, and is set if there is one (Linux 6.15)."""


class Ending:
    """Holds a process by a pidfd, which shows its exit status after its parent has waited for it.

    Args:
        files: the process, which is alive.
    """

    def __init__(self, files: ProcessFiles) -> None:
        self._pidfd = -1
        if files.root != "/proc" or not hasattr(os, "pidfd_open"):
            return  # its PID is one of another namespace
        try:
            self._pidfd = os.pidfd_open(files.pid)
        except OSError:
            return
        # It was opened by PID: it is the right process if that still has this PID.
        try:
            files.stat()
        except BaseException:
            self.close()
            raise

    def words(self, zombie: ProcessFiles | None) -> str:
        """That it has ended, and how, if the kernel shows that.

        Args:
            zombie: its files, if its parent has not waited for it yet.
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
        info = INFO.unpack(asked)
        return info[-1] if info[0] & EXIT else None

    def close(self) -> None:
        """Closes the pidfd. Harmless if it is closed."""
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)

    def __del__(self) -> None:
        self.close()


def status_of(zombie: ProcessFiles) -> int | None:
    """Its exit status as wait(2) gives it; None: the kernel does not show it.

    The kernel shows it to processes that may trace it (ptrace(2)); others get 0, so that 0 is
    not known either.
    """
    from procmem.errors import ProcessError

    try:
        return zombie.stat().exit_code or None
    except ProcessError:
        return None
