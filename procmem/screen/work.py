"""A thread for what must not hold up the screen."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ScreenWorker"]

LONGEST = 3600.0
"""Seconds that it waits at most, before it asks again."""


class ScreenWorker:
    """Does jobs one after the other in a thread of its own. Of jobs of one name only the newest.

    Args:
        name: of the thread.
        failed: called in that thread with an error that a job raised; the worker ends then.
        idle: called whenever there is no job; returns the seconds until it is to be called again.
            None: it waits for jobs alone.
    """

    def __init__(
        self,
        name: str,
        failed: Callable[[BaseException], object],
        idle: Callable[[], float] | None = None,
    ) -> None:
        self._name = name
        self._failed = failed
        self._idle = idle
        self._jobs: dict[str, Callable[[], object]] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def submit(self, name: str, job: Callable[[], object]) -> None:
        """Has a job done soon; it takes the place of one of that name that was not begun."""
        with self._changed:
            self._jobs.pop(name, None)
            self._jobs[name] = job
            self._changed.notify()

    def wake(self) -> None:
        """Makes it call `idle` now."""
        self.submit("", lambda: None)

    def stop(self, patience: float | None = None) -> None:
        """Ends the thread after the current job.

        Args:
            patience: seconds to wait for that; None: as long as it takes.
        """
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(patience)

    def _run(self) -> None:
        try:
            rest = 0.0
            while True:
                with self._changed:
                    if not self._jobs and not self._stopped and rest > 0:
                        self._changed.wait(min(rest, LONGEST))
                    if self._stopped:
                        return
                    name = next(iter(self._jobs), None)
                    job = None if name is None else self._jobs.pop(name)
                if job is not None:
                    job()
                    rest = 0.0 if self._idle is not None else LONGEST
                elif self._idle is not None:
                    rest = self._idle()
                else:
                    rest = LONGEST
        except BaseException as error:  # noqa: BLE001 - shown by whoever started it
            self._failed(error)
