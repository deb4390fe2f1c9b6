"""The tested process's side of the watcher: it asks, and allocates as little as it can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["CantWatch", "Watching"]


START = """
import sys
from pathlib import Path
if not sys.path[0]:
    del sys.path[0]
from procmem.testing.watcher import main
main()
"""
"""Not `-m`, which would look for modules in the directory of the tests first."""


class CantWatch(Exception):
    """The watcher can't read this process, or has ended."""


class Watching:
    """Starts the watcher when it is first asked, one for each process that tests run in."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._of = 0
        self._requests = self._answers = -1

    def ask(self, request: str) -> dict[str, Any]:
        """The watcher's answer.

        Raises:
            CantWatch: it can't read this process, or has ended.
        """
        self._start()
        line = b""
        try:
            os.write(self._requests, request.encode() + b"\n")
            while not line.endswith(b"\n"):
                part = os.read(self._answers, 1 << 16)
                if not part:
                    raise CantWatch("the process that measures has ended")
                line += part
        except OSError as error:
            raise CantWatch(f"the process that measures has ended: {error}") from error
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise CantWatch(answer["error"])
        return answer

    def _start(self) -> None:
        # A child of fork(2) would write into its parent's pipe.
        if self._process is not None and self._of == os.getpid():
            return
        self._of = os.getpid()
        path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        theirs_in, self._requests = os.pipe()
        self._answers, theirs_out = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, str(self._of)],
                stdin=theirs_in,
                stdout=theirs_out,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
            )
        finally:
            os.close(theirs_in)
            os.close(theirs_out)

    def end(self) -> None:
        """Ends the watcher, if there is one."""
        process, self._process = self._process, None
        if process is None or self._of != os.getpid():
            return
        os.close(self._requests)
        os.close(self._answers)
        process.wait()
