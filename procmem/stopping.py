"""A request to stop, which a handler of a signal may make."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue

__all__ = ["StopRequest"]


class StopRequest:
    """What threading.Event is, but set() may be called by a handler of a signal.

    Python runs such handlers in the main thread, between two instructions of whatever runs there.
    If that is Event.wait(), it may hold the lock that Event.set() would wait for, for ever.
    put() of a SimpleQueue is reentrant, for this purpose.

    >>> asked = StopRequest()
    >>> asked.wait(0.01), asked.set(), asked.wait(60), asked.is_set()
    (False, None, True, True)
    """

    def __init__(self) -> None:
        self._made = False
        self._wakings: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Makes the request, and wakes who waits for it."""
        self._made = True
        self._wakings.put(None)

    def is_set(self) -> bool:
        """Whether it was made."""
        return self._made

    def wait(self, seconds: float) -> bool:
        """Waits until it is made, or the time is over; returns whether it was made."""
        if not self._made:
            with suppress(Empty):
                self._wakings.get(timeout=min(max(seconds, 0), threading.TIMEOUT_MAX))
                self._wakings.put(None)  # another thread may wait, too
        return self._made
