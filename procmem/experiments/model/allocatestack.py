"""Stacks of threads as glibc caches them.

Source: nptl/allocatestack.c, nptl/nptl-stack.c of glibc 2.26 to 2.40.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STACK_CACHE_MAX", "STACK_MINIMUM", "StackCache", "ThreadStack"]

STACK_CACHE_MAX = 40 << 20
STACK_MINIMUM = 16384
"""PTHREAD_STACK_MIN."""


@dataclass(eq=False)
class ThreadStack:
    """The mapping of a thread's stack.

    Attributes:
        start: its address; the lowest page is the guard.
        length: in bytes, the guard included.
        dtv: the chunk of the thread's table of thread-local storage.
    """

    start: int
    length: int
    dtv: int


class StackCache:
    """Stacks of threads that have ended, kept for the next threads.

    Attributes:
        size: bytes of all of them.
    """

    def __init__(self) -> None:
        self._stacks: list[ThreadStack] = []
        self.size = 0

    def take(self, length: int) -> ThreadStack | None:
        """get_cached_stack(): the smallest that is large enough, but not much too large."""
        fitting = [one for one in self._stacks if one.length >= length]
        if not fitting:
            return None
        best = min(fitting, key=lambda one: one.length)
        if best.length > 4 * length:
            return None
        self._stacks.remove(best)
        self.size -= best.length
        return best

    def keep(self, stack: ThreadStack) -> list[ThreadStack]:
        """queue_stack(): adds one; returns older ones that exceed the cache, to be unmapped."""
        self._stacks.insert(0, stack)
        self.size += stack.length
        gone = []
        while self._stacks and self.size > STACK_CACHE_MAX:
            gone.append(self._stacks.pop())
            self.size -= gone[-1].length
        return gone
