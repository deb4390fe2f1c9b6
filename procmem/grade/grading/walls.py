"""Which parts of the sandbox work on this machine, and what each missing one costs."""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

from procmem.grade.grading.proving import why_not_graded
from procmem.grade.sandbox import cgroups
from procmem.grade.sandbox.job import claim_uid
from procmem.grade.sandbox.kinds import KINDS, PATH
from procmem.grade.sandbox.sandbox import why_not
from procmem.procfs.blocked import NAMES

__all__ = ["Wall", "walls"]


class Wall(NamedTuple):
    """A part of the sandbox, or something else that grading needs.

    Attributes:
        name: what it is.
        stands: whether it works for this user.
        serves: what it is for.
        cost: what is lost without it; empty if it works.
        detail: what was found.
    """

    name: str
    stands: bool
    serves: str
    cost: str
    detail: str


APART = "sees no other process, no network and no files but its own and the system's"
NO_WALLS = (
    "where namespaces are missing too NOTHING keeps a submission from files that its user may "
    "read, from the network, nor (but as root) from killing its user's processes and forging its "
    "grade"
)
KINDS_SERVE = {
    "bubblewrap": ("the first choice", "namespaces that procmem makes itself are used instead"),
    "namespaces": (
        "the second choice: user, mount, PID, network and IPC namespaces",
        "only landlock keeps programs from files, and they see the names of other processes",
    ),
    "landlock": (
        "the third choice: landlock(7) denies files, TCP and signals; seccomp(2) denies sockets",
        NO_WALLS,
    ),
}


def walls() -> list[Wall]:
    """Each part, whether it works or not. Sandboxes are tried by starting one.

    >>> all(wall.cost for wall in walls() if not wall.stands)
    True
    """
    found: list[Wall] = []

    def wall(name: str, why: str, serves: str, cost: str, detail: str = "") -> None:
        found.append(Wall(name, not why, serves, cost if why else "", why or detail))

    chosen = next((kind for kind in KINDS if not why_not(kind)), "")
    wall(
        "sandbox",
        "" if chosen not in {"rlimits", ""} else "only rlimits work" if chosen else "none works",
        f"grading: a program {APART}",
        "grade only submissions that you would run yourself",
        chosen,
    )
    for kind, (serves, cost) in KINDS_SERVE.items():
        wall(f"sandbox: {kind}", why_not(kind), serves, cost)
    where = cgroups.parents()
    for name, serves, cost in (
        ("memory", "the kernel limits the memory of a job",
         "it is measured a hundred times a second: memory that is not mapped is not counted"),
        ("pids", "the kernel limits the number of a job's processes",
         "RLIMIT_NPROC limits them; for an ordinary user, with that user's other processes"),
    ):  # fmt: skip
        why = (
            ""
            if name in where
            else "no control group can be made: that needs root, or a delegated one"
        )
        wall(f"cgroup: {name}", why, serves, cost)
    uid, claim = claim_uid()
    if claim is not None:
        claim.close()
    wall(
        "users of jobs",
        "" if claim is not None else "needs root",
        "each job has a user of its own",
        "all jobs run as this user: only PID namespaces, if available, separate them",
        f"such as {uid}",
    )
    why = "" if NAMES else f"system calls of {os.uname().machine} are unknown"
    for path in ("syscall", f"task/{os.getpid()}/children"):
        if not why and not os.path.exists(f"/proc/self/{path}"):
            why = f"the kernel has no /proc/PID/{path.replace(str(os.getpid()), 'TID')}"
    wall(
        "waits seen from outside",
        why,
        "pause(): a program that waits for input is known by its system call",
        "no program can be run phase by phase",
    )
    wall(
        "trial run",
        why_not_graded(),
        "grading: a trial program is built, started, paused, measured and ended, as submissions "
        "are",
        "nothing is graded here",
    )
    for program, package, serves in (
        ("gcc", "gcc", "building submissions in C"),
        ("make", "make", "building submissions"),
        ("valgrind", "valgrind", "leaks()"),
    ):
        there = shutil.which(program, path=PATH)
        why = "" if there else f"on Debian: apt-get install {package}"
        wall(program, why, serves, "checks that need it are not possible here", there or "")
    return found
