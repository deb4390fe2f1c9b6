"""Building a submission. Its Makefile is trusted no more than its program."""

from __future__ import annotations

import os
import select
import shlex
import time

from procmem.grade.results import Build
from procmem.grade.runs.provenance import Provenance
from procmem.units import signal_name

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from procmem.grade.sandbox.job import Job
    from procmem.grade.sandbox.limits import Limits

__all__ = ["build"]

ANEW = {"MAKEFLAGS": "B"}
"""make(1) builds everything, whatever files were handed in and whatever times they have."""


def build(
    job: Job,
    command: Sequence[str],
    limits: Limits | None = None,
    *,
    tools: Iterable[str] = (),
) -> tuple[Build, Provenance | None]:
    """Runs a command in a job's directory, in a sandbox of its own.

    Args:
        job: its directory holds the files.
        command: such as ["make"]; empty: there is nothing to build.
        limits: None: those of the job's sandbox for building.
        tools: names of more programs whose output may become part of a program.

    Returns:
        The result, and which program wrote which file; None: nothing was run.
    """
    limits = limits or job.building
    if not command:
        return Build(True, (), "", 0, 0.0), None
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    began = time.monotonic()
    output = bytearray()
    printed = 0
    listening = True
    why = ""
    status: int | None = None
    try:
        with open(os.devnull, "rb") as null:
            jailed = job.start(command, limits, null.fileno(), theirs, environment=ANEW)
        os.close(theirs)
        theirs = -1
        provenance = Provenance(jailed, tools)
        with provenance, jailed:
            try:
                jailed.begin(traced=not provenance.why_not)
            except OSError as error:
                why = f"{command[0]}: {error.strerror}"
                return Build(False, tuple(command), "", 127, time.monotonic() - began, why), None
            events = select.poll()
            events.register(ours, select.POLLIN)
            events.register(jailed.socket, select.POLLIN)
            while True:
                events.poll(50)
                ended = jailed.look()
                while listening and printed <= limits.output and (data := read(ours)) is not None:
                    if not data:
                        events.unregister(ours)
                        listening = False
                    printed += len(data)
                    output += data[: max(0, limits.output - len(output))]
                if ended is not None:
                    status = ended.status if ended.signal is None else -ended.signal
                    if over := jailed.over(at_its_end=True):
                        why = over[1]
                    elif ended.signal is not None:
                        why = (
                            f"{command[0]} was killed by {signal_name(ended.signal, meaning=True)}"
                        )
                    elif status:
                        why = f"{shlex.join(command)} ended with status {status}"
                    break
                if over := jailed.over():
                    why = over[1]
                    break
                if printed > limits.output:
                    why = f"it printed more than {limits.output:,} bytes"
                    break
                if time.monotonic() - began > limits.wall:
                    why = f"it did not finish within {limits.wall:g} seconds"
                    break
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    text = output.decode(errors="replace")
    seconds = time.monotonic() - began
    return Build(not why, tuple(command), text, status, seconds, why), provenance


def read(fd: int) -> bytes | None:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return None
