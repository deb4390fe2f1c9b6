"""The sandbox that untrusted programs are run in."""

from __future__ import annotations

import functools
import os
import shutil
from dataclasses import dataclass

from procmem.grade.errors import MachineError, SandboxError
from procmem.grade.sandbox.job import Job, words_for
from procmem.grade.sandbox.kinds import KINDS, LABS, PATH
from procmem.grade.sandbox.limits import BUILDING, RUNNING, Limits

__all__ = ["Sandbox", "why_not"]


@dataclass(frozen=True)
class Sandbox:
    """The sandbox that untrusted programs are run in.

    Args:
        kind: one of KINDS; None: the strongest that works here.
        limits: the limits of a program.
        building: the limits of a build.
        readable: directories that programs may read, beside the system's own.
        hidden: directories in these that they may not read: procmem's labs, with their
            solutions, may be installed below /usr.
    """

    kind: str | None = None
    limits: Limits = RUNNING
    building: Limits = BUILDING
    readable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = (LABS,)

    def chosen(self) -> str:
        """The kind that is used.

        Raises:
            SandboxError: the requested one does not work here.
        """
        if self.kind is None:
            for kind in KINDS:
                if not why_not(kind):
                    return kind
            raise MachineError(why_not(KINDS[-1]))
        if reason := why_not(self.kind):
            raise SandboxError(f"no sandbox of the kind {self.kind}: {reason}")
        return self.kind

    def warning(self) -> str:
        """A warning if no real sandbox works here; otherwise empty."""
        if self.chosen() != "rlimits":
            return ""
        said = (
            "NO SANDBOX works here except rlimits: a submission can read the checks and other "
            "submissions, and use the network"
        )
        if os.geteuid() != 0:
            said += "; it runs as you, so it can change results and forge its grade"
        return (
            f"{said}. Grade only what you would run yourself; procmem doctor says what is missing."
        )

    def job(self) -> Job:
        """A job for one submission: a directory, a user and a control group of its own."""
        return Job(
            self.chosen(),
            limits=self.limits,
            building=self.building,
            readable=self.readable,
            hidden=self.hidden,
        )


@functools.cache
def why_not(kind: str) -> str:
    """Why a kind of sandbox does not work here; empty: it works."""
    if kind not in KINDS:
        return f"there is no such kind; there are {', '.join(KINDS)}"
    if kind == "bubblewrap" and shutil.which("bwrap", path=PATH) is None:
        return "bwrap is not installed (on Debian: apt-get install bubblewrap)"
    try:
        with (
            Job(kind) as job,
            open(os.devnull, "r+b") as null,
            job.start(["/bin/true"], RUNNING, null.fileno(), null.fileno()) as jailed,
        ):
            jailed.begin()
    except SandboxError as error:
        return str(error)
    except OSError as error:
        return words_for(error)
    return ""
