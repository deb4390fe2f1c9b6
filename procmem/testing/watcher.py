"""The process that watches a test's process: `python -m procmem.testing.watcher PID`.

It reads requests from stdin, a line each, and answers each with a line of JSON. It takes the
snapshots, because a process that takes them of itself changes what it measures. It ends with its
stdin.
"""

from __future__ import annotations

import json
import os
import sys

from procmem.errors import ProcmemError
from procmem.process import Process
from procmem.procfs.totals import reset_peak_rss
from procmem.regions.kinds import JOINED, RegionKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from procmem.regions.region import MeasuredRegion
    from procmem.snapshots import Diff, Snapshot

__all__ = ["Watcher"]


class Watcher:
    """Answers requests about one process.

    Args:
        pid: the process.
    """

    def __init__(self, pid: int) -> None:
        self.process = Process(pid)
        self.before: Snapshot | None = None
        self.begun: dict[str, Any] = {}

    def answer(self, request: str) -> dict[str, Any]:
        """What a request asks for; {"error": ...} if it can't be had."""
        try:
            if request == "begin":
                return self.begin()
            if request == "end":
                return self.end()
        except (ProcmemError, OSError) as error:
            return {"error": str(error)}
        return {"error": f"no request is called {request!r}"}

    def begin(self) -> dict[str, Any]:
        """Takes the first snapshot, and sets the peak of RSS back to what RSS is."""
        reset = reset_peak_rss(self.process.pid)
        self.before = before = self.process.snapshot()
        memory = self.process.memory()
        self.begun = {
            "rss": before.rss,
            "vsz": before.vsz,
            "peak_vsz": memory.peak_vsz,
            "peak_rss": memory.peak_rss,
            "peak_was_reset": reset,
        }
        return self.begun

    def end(self) -> dict[str, Any]:
        """Takes the second snapshot; what changed since the first, and what begin() answered.

        Whoever keeps an answer of begin() has grown by it, since it was made after the snapshot.
        """
        if self.before is None:
            return {"error": "nothing was begun"}
        memory = self.process.memory()
        after = self.process.snapshot()
        diff = after - self.before
        return {
            "before": self.begun,
            "rss": diff.rss,
            "vsz": diff.vsz,
            "own": own(diff),
            "peak_vsz": memory.peak_vsz,
            "peak_rss": memory.peak_rss,
            "page_size": after.regions.page_size,
            "gained": [region for change in diff.changes for region in gained(change)],
            "explained": explained(diff),
        }


def own(diff: Diff) -> int | None:
    """By how many bytes memory grew that is not that of files: anonymous, shared and in swap."""
    before, after = own_of(diff.before), own_of(diff.after)
    return diff.rss if before is None or after is None else after - before


def own_of(snapshot: Snapshot) -> int | None:
    """Memory that is not that of files, in bytes; None: not known.

    Where the counters of /proc/PID/status lag, the sum over regions is exact; a file of tmpfs that
    is mapped counts as a file there.
    """
    if snapshot.kernel and snapshot.kernel.rss_error and snapshot.detail == "smaps":
        return sum(own_of_region(region) for region in snapshot.regions)
    memory = snapshot.memory
    if memory is None or memory.rss_anon is None or memory.rss_shmem is None:
        return None
    return memory.rss_anon + memory.rss_shmem + (memory.swap or 0)


def own_of_region(region: MeasuredRegion) -> int:
    resident = region.rss if region.kind is RegionKind.SHARED_MEMORY else region.anonymous
    return (resident or 0) + (region.swap or 0)


def gained(change: Any) -> list[dict[str, Any]]:
    """The regions of a change that cover addresses which were not mapped before."""
    ranges = change.gained
    had_arena = any(region.kind is RegionKind.ARENA for region in change.before)
    found = []
    for region in change.after:
        size = sum(max(0, min(region.end, end) - max(region.start, start)) for start, end in ranges)
        if size:
            use = region.use
            beside_arena = had_arena and region.kind_evidence == JOINED
            found.append(
                {
                    "start": region.start,
                    "end": region.end,
                    "gained": size,
                    "perms": str(region.perms),
                    "kind": region.kind.value,
                    "beside_arena": beside_arena,
                    "owner": None if region.owner is None else region.owner.value,
                    "use": None if use is None else use.name,
                    "name": region.pathname or region.name,
                }
            )
    return found


def explained(diff: Diff) -> str:
    """The diff as the command prints it."""
    from procmem.view.diff import diff_table

    return diff_table(diff, width=100)


def main() -> None:
    """Answers requests until stdin ends."""
    # The tested process reads the answers: nothing else may be written there.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    watcher = None
    for line in sys.stdin:
        try:
            watcher = watcher or Watcher(int(sys.argv[1]))
            answer = watcher.answer(line.strip())
        except ProcmemError as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
