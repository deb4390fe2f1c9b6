"""Control groups, which limit the memory and processes of a job (cgroups(7), v1 and v2)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import time

from procmem.procfs import system_file
from procmem.procfs.text import parse_cgroup
from procmem.system.hierarchies import parse_hierarchies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.grade.sandbox.limits import Limits

__all__ = ["Cgroup", "parents", "remove_forgotten"]

MARK = "procmem-job-"
CONTROLLERS = ("memory", "pids")
REMOVAL = 10.0
"""Seconds within which the processes of a group have to be gone once they were killed."""


def parents() -> dict[str, str]:
    """For each controller, a directory in which this user may create groups."""
    found: dict[str, str] = {}
    mounted = parse_hierarchies(system_file("self/mountinfo") or b"")
    mine = parse_cgroup(system_file("self/cgroup") or b"")
    for name in CONTROLLERS:
        if name in mounted and name in mine:
            here = mounted[name].directory(mine[name]) or mounted[name].point
            if os.access(here, os.W_OK):
                found[name] = here
    if "" in mounted and "" in mine and len(found) < len(CONTROLLERS):
        point = mounted[""].point
        here = mounted[""].directory(mine[""]) or point
        # No group that holds processes can hand controllers down, but the root
        # (cgroup-v2.rst, "No Internal Process Constraint"): a group beside ours may do.
        while here.startswith(point):
            missing = [name for name in CONTROLLERS if name not in found]
            given = words(os.path.join(here, "cgroup.subtree_control"))
            for name in missing:
                if name not in given and name in words(os.path.join(here, "cgroup.controllers")):
                    with contextlib.suppress(OSError):
                        write(os.path.join(here, "cgroup.subtree_control"), f"+{name}")
            given = words(os.path.join(here, "cgroup.subtree_control"))
            if os.access(os.path.join(here, "cgroup.procs"), os.W_OK):
                found.update({name: here for name in missing if name in given})
            if here == point or len(found) == len(CONTROLLERS):
                break
            here = os.path.dirname(here)
    return found


def words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def make(path: str) -> int:
    """Creates a group. The descriptor locks it, so that others know that it is in use."""
    while True:
        os.mkdir(path, 0o755)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another one may have taken it for a leftover just before.
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except (BlockingIOError, FileNotFoundError):
            remove(path)
        os.close(fd)


class Cgroup:
    """A group of its own in each hierarchy where one can be created.

    Attributes:
        directories: the directory of each controller; may be empty.
    """

    def __init__(self, name: str, where: dict[str, str]) -> None:
        self.directories: dict[str, str] = {}
        self._locks: list[int] = []
        for controller, parent in where.items():
            path = os.path.join(parent, MARK + name)
            try:
                if path not in self.directories.values():
                    self._locks.append(make(path))
            except OSError:
                continue
            self.directories[controller] = path

    def limit(self, limits: Limits) -> None:
        """Sets the limits."""
        for controller, value in (("memory", limits.memory), ("pids", limits.processes)):
            path = self.directories.get(controller)
            if path is None:
                continue
            names = (
                ("memory.max", "memory.limit_in_bytes") if controller == "memory" else ("pids.max",)
            )
            for name in names:
                with contextlib.suppress(OSError):
                    write(os.path.join(path, name), f"{value}")
        memory = self.directories.get("memory")
        if memory is not None:
            # Swapping would let it pass the limit.
            for name, value in (("memory.swap.max", 0), ("memory.swappiness", 0)):
                with contextlib.suppress(OSError):
                    write(os.path.join(memory, name), f"{value}")

    def add(self, pid: int) -> None:
        """Puts a process into it."""
        for path in set(self.directories.values()):
            with contextlib.suppress(OSError):
                write(os.path.join(path, "cgroup.procs"), f"{pid}")

    def stop(self) -> None:
        """Allows no more processes, so that they can't multiply while they are killed."""
        path = self.directories.get("pids")
        if path is not None:
            with contextlib.suppress(OSError):
                write(os.path.join(path, "pids.max"), "0")

    def killed(self) -> int:
        """How many processes the kernel killed because memory was exhausted."""
        path = self.directories.get("memory")
        if path is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            told = words(os.path.join(path, name))
            if "oom_kill" in told:
                return int(told[told.index("oom_kill") + 1])
        return 0

    def close(self) -> None:
        """Kills what is in it and removes it."""
        for path in set(self.directories.values()):
            remove(path)
        self.directories = {}
        for fd in self._locks:
            os.close(fd)
        self._locks = []


def members(path: str) -> Iterator[int]:
    yield from (int(word) for word in words(os.path.join(path, "cgroup.procs")) if int(word) > 0)


def remove(path: str) -> None:
    # What was killed leaves its group when it is reaped, and needs its turn on a CPU for that.
    deadline = time.monotonic() + REMOVAL
    while time.monotonic() < deadline:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            for pid in members(path):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
        else:
            return


def remove_forgotten(where: dict[str, str]) -> None:
    """Removes groups of graders that were killed."""
    for parent in set(where.values()):
        try:
            names = [name for name in os.listdir(parent) if name.startswith(MARK)]
        except OSError:
            continue
        for name in names:
            path = os.path.join(parent, name)
            with contextlib.suppress(OSError):
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(path)
                finally:
                    os.close(fd)
