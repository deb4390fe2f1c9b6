"""The fixture `memory`: what a part of a test does to the memory of its process."""

from __future__ import annotations

import gc
from contextlib import contextmanager

from procmem.calls import bracket
from procmem.testing.watching import Watching

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    from procmem.calls import Bracket

    R = TypeVar("R")

__all__ = ["MemoryOfTest", "Used"]


class Used:
    """What the part of the test did, in bytes, after it has ended; None: not known.

    Attributes:
        rss: by how much RSS grew.
        vsz: by how much VSZ grew.
        own: by how much memory grew that is not that of files: anonymous, shared and in swap.
        why: what changed, and the causes, as `procmem diff` prints it.
    """

    rss: int | None = None
    vsz: int | None = None
    own: int | None = None
    why: str = ""

    def __repr__(self) -> str:
        return f"<Used rss {self.rss}, vsz {self.vsz}>"


class MemoryOfTest:
    """The memory of the process that runs the test.

    Another process reads it, so that reading does not change it. What Python itself allocates in
    the measured part counts. For a single system call, bracket() is exact to the byte.
    """

    def __init__(self) -> None:
        self._watching = Watching()

    @contextmanager
    def measure(self) -> Iterator[Used]:
        """Measures what is done inside `with`. Garbage is collected before each measurement.

        Raises:
            CantWatch: the process can't be read.
        """
        used = Used()
        gc.collect()
        # The second request finds what the first made the interpreter load.
        self._watching.ask("begin")
        self._watching.ask("begin")
        yield used
        gc.collect()
        found = self._watching.ask("end")
        used.rss, used.vsz, used.own = found["rss"], found["vsz"], found["own"]
        used.why = found["explained"]

    def bracket(self, operation: Callable[..., R], *arguments: Any, **options: Any) -> Bracket[R]:
        """One system call of procmem.calls, exactly; see procmem.calls.bracket()."""
        return bracket(operation, *arguments, **options)

    def end(self) -> None:
        """Ends the process that measures."""
        self._watching.end()
