"""A command in a terminal of its own: what it writes, and whether the terminal is as it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OPENED", "PATIENCE", "Terminal", "terminal"]

PATIENCE = 300.0

OPENED = b"\x1b[?1049h"
CLOSED = b"\x1b[?1049l"
CURSOR = b"\x1b[?25h"
NO_MOUSE = b"\x1b[?1000l"


class Terminal:
    """A command in a terminal of its own.

    Args:
        words: the command's arguments.
        env: of it, besides this process's own.
        without: the name of a module that can't be imported.
        first: Python code that runs before the command does.
    """

    def __init__(
        self,
        *words: str,
        env: dict[str, str] | None = None,
        without: str = "",
        first: str = "",
    ) -> None:
        self.leader, self.follower = pty.openpty()
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.follower)
        code = "import sys; from procmem.cli import main; sys.exit(main())"
        if without:
            code = f"import sys; sys.modules[{without!r}] = None; " + code
        code = f"{first}\n{code}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdin=self.follower,
            stdout=self.follower,
            stderr=self.follower,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24",
                 **(env or {})},
            start_new_session=True,
        )  # fmt: skip
        self.seen = b""

    def read_until(self, *wanted: bytes) -> None:
        """Reads until all of some texts were written."""
        deadline = time.monotonic() + PATIENCE
        while not all(one in self.seen for one in wanted):
            assert time.monotonic() < deadline, (wanted, self.seen[-2000:])
            if not self.read():
                assert all(one in self.seen for one in wanted), (wanted, self.seen[-2000:])

    def read(self) -> bool:
        """Reads what is there; whether the command still runs, or had written something."""
        if not select.select([self.leader], [], [], 0.05)[0]:
            return self.process.poll() is None
        self.seen += os.read(self.leader, 65536)
        return True

    def press(self, keys: bytes) -> None:
        os.write(self.leader, keys)

    def end(self) -> int:
        """The exit status, with all that was written read."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen[-2000:]
            self.read()
        while self.read():
            pass
        return self.process.wait()

    def is_restored(self) -> bool:
        """Whether the terminal is as it was."""
        modes = termios.tcgetattr(self.follower)
        return (
            modes == self.before
            and self.seen.rfind(CLOSED) > self.seen.rfind(OPENED)
            and self.seen.rfind(CURSOR) > self.seen.rfind(b"\x1b[?25l")
            and self.seen.rfind(NO_MOUSE) > self.seen.rfind(b"\x1b[?1000h")
        )

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        os.close(self.leader)
        os.close(self.follower)


@contextlib.contextmanager
def terminal(
    *words: str, env: dict[str, str] | None = None, without: str = "", first: str = ""
) -> Iterator[Terminal]:
    made = Terminal(*words, env=env, without=without, first=first)
    try:
        yield made
    finally:
        made.close()
