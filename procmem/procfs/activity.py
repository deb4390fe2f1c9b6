"""Whether any thread of a process has run between two points in time."""

from __future__ import annotations

import re

from procmem.errors import ProcessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.procfs.files import ProcessFiles

__all__ = ["idle_since", "switches_in"]

SWITCHES = re.compile(
    rb"^State:\s+(\S).*^voluntary_ctxt_switches:\s+(\d+)\nnonvoluntary_ctxt_switches:\s+(\d+)$",
    re.DOTALL | re.MULTILINE,
)


def switches_in(status: bytes) -> tuple[int, int] | None:
    """How often a thread that does not run has given up the processor, willingly or not.

    Args:
        status: its /proc/PID/task/TID/status.

    Returns:
        None: it runs, or waits for a processor; or the kernel does not say.
    """
    found = SWITCHES.search(status)
    if found is None or found[1] == b"R":
        return None
    return int(found[2]), int(found[3])


def idle_since(files: ProcessFiles) -> dict[int, tuple[int, int]] | None:
    """The switches of all threads, if none of them runs.

    A thread that does not run and has run between two calls has been switched away from in
    between, so that its figures differ: if two calls give the same, no thread has run.

    Returns:
        None: a thread runs, or it can't be found out.

    Source: proc_pid_status(5), voluntary_ctxt_switches.
    """
    found = {}
    try:
        for tid in files.thread_ids():
            switches = switches_in(files.read(f"task/{tid}/status"))
            if switches is None:
                return None
            found[tid] = switches
    except ProcessError:
        return None
    return found
