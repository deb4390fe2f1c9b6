"""Where control groups are mounted, which one a process is in, and which one a word stands for."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from procmem.errors import BadArgument, NoSuchProcess, Unsupported
from procmem.procfs import ProcessFiles, system_file
from procmem.procfs.text import parse_cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Hierarchy",
    "find_group",
    "group_paths",
    "group_pids",
    "memory_hierarchy",
    "parse_hierarchies",
]

CONTAINER_ID = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}-[0-9]+|[0-9a-f]{32}")
"""Names that docker, podman, containerd and CRI-O give; the second form is ECS's."""

SHORTEST_ID = 6
"""Digits of a container ID that are taken for one; `docker ps` shows twelve."""


class Hierarchy(NamedTuple):
    """A mounted tree of control groups that has the memory controller.

    Attributes:
        version: 1 or 2.
        point: where it is mounted.
        root: the group that is mounted there, as this process's /proc/PID/cgroup would name it.
            Inside a container it may be the container's own group.
    """

    version: int
    point: str
    root: str

    def directory(self, path: str) -> str | None:
        """The directory of a group of /proc/PID/cgroup; None: it is outside, or not known.

        >>> Hierarchy(1, "/sys/fs/cgroup/memory", "/docker/1f").directory("/docker/1f/a")
        '/sys/fs/cgroup/memory/a'
        >>> Hierarchy(2, "/sys/fs/cgroup", "/").directory("/../b") is None
        True
        """
        inner = os.path.relpath(up(path), up(self.root))
        if inner == ".":
            return self.point
        # Between the mount's root and the group are groups whose names are not shown.
        if inner == ".." or inner.startswith("../") or "\0" in inner:
            return None
        return f"{self.point}/{inner}"


def up(path: str) -> str:
    """A path of /proc/PID/cgroup with "/.." as names, so that it can be compared.

    In a cgroup namespace a group outside of it is shown as "/../other" (cgroup_namespaces(7)),
    which a path in a file system would drop.
    """
    names = path.strip("/").split("/")
    parents = 0
    while parents < len(names) and names[parents] == "..":
        parents += 1
    # Enough levels above the namespace's root for any number of "..".
    above = [f"\0{level}" for level in range(LEVELS, parents, -1)]
    return "/" + "/".join([*above, *names[parents:]]).rstrip("/")


LEVELS = 64


def parse_hierarchies(mountinfo: bytes) -> dict[str, Hierarchy]:
    r"""The mounted hierarchies by controller; that of version 2 as "".

    Args:
        mountinfo: the text of /proc/PID/mountinfo (proc_pid_mountinfo(5)).

    >>> line = b"35 31 0:32 /a\\040b /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    >>> parse_hierarchies(line)["memory"]
    Hierarchy(version=1, point='/sys/fs/cgroup/memory', root='/a b')
    """
    found: dict[str, Hierarchy] = {}
    for line in mountinfo.split(b"\n"):
        before, dash, behind = line.partition(b" - ")
        fields, kinds = before.split(b" "), behind.split(b" ")
        if not dash or len(fields) < 5:
            continue
        root, point = (unescaped(field) for field in fields[3:5])
        if kinds[0] == b"cgroup2":
            found.setdefault("", Hierarchy(2, point, root))
        elif kinds[0] == b"cgroup":
            for name in kinds[-1].decode("ascii", "replace").split(","):
                found.setdefault(name, Hierarchy(1, point, root))
    return found


def unescaped(field: bytes) -> str:
    r"""A path of mountinfo, where blanks and backslashes are written in octal (\040)."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field))


def memory_hierarchy(mountinfo: bytes | None = None) -> Hierarchy:
    """The mounted hierarchy with the memory controller: version 1 if that has it, else 2.

    Args:
        mountinfo: the text of mountinfo; None: this process's.

    Raises:
        Unsupported: none is mounted.
    """
    if mountinfo is None:
        mountinfo = system_file("self/mountinfo") or b""
    mounted = parse_hierarchies(mountinfo)
    if "memory" in mounted:
        return mounted["memory"]
    if "" in mounted:
        return mounted[""]
    raise Unsupported(
        "memory control groups",
        "no control groups are mounted here: mount -t cgroup2 none /sys/fs/cgroup, as root; "
        "in a container: start it with /sys/fs/cgroup",
    )


def group_of(pid: int, hierarchy: Hierarchy, root: str = "/proc") -> str:
    """The directory of the memory group of a process.

    Raises:
        NoSuchProcess, AccessDenied
        Unsupported: it is outside of what is mounted here.
    """
    files = ProcessFiles(pid, root)
    try:
        groups = parse_cgroup(files.read("cgroup"))
    finally:
        files.close()
    path = groups.get("memory" if hierarchy.version == 1 else "")
    if path is None:
        raise Unsupported("memory control groups", f"/proc/{pid}/cgroup has no memory controller")
    found = hierarchy.directory(path.removesuffix(" (deleted)"))
    if found is None:
        # The mount may be of a namespace further out than this process's.
        found = next((each for each in group_paths(hierarchy.point) if pid in pids_in(each)), None)
    if found is None:
        raise Unsupported(
            "memory control groups",
            f"process {pid} is in {path}, outside of {hierarchy.point}, which this container sees: "
            f"run on the host",
        )
    return found


def find_group(what: str | int, *, root: str = "/proc") -> str:
    """The directory of the memory group that a word stands for.

    Args:
        what: a directory; a PID, or "self"; a path below the mount point, as /proc/PID/cgroup
            shows it ("/system.slice/ssh.service"); the name of a group ("ssh.service"); the ID
            of a container of docker, podman, containerd or CRI-O, at least its first six digits.
            A decimal number is a PID if there is such a process.
        root: the /proc in which PIDs are looked up.

    Raises:
        NoSuchProcess: no process has the PID.
        BadArgument: there is no such group, or there are several.
        Unsupported: no control groups are mounted, or the group is outside of this container.
    """
    word = str(what)
    if "\0" in word or not word:
        raise BadArgument(f"no control group: {word!r}")
    if os.path.isdir(word) and is_group(word):
        return os.path.abspath(word)
    hierarchy = memory_hierarchy()
    if word in ("self", "/proc/self"):
        return group_of(int(os.readlink(f"{root}/self")), hierarchy, root)
    number = word.removeprefix("/proc/").rstrip("/")
    # PIDs are not written with a zero first; IDs of containers may begin with one.
    if number.isascii() and number.isdecimal() and len(number) <= 10 and number[0] != "0":
        try:
            return group_of(int(number), hierarchy, root)
        except NoSuchProcess:
            found = named(number, hierarchy)
            if not found:
                raise
            return only(word, found)
    if word.startswith("/"):
        inside = hierarchy.directory(word.rstrip("/") or "/")
        if inside is not None and os.path.isdir(inside):
            return inside
    if os.path.isdir(word):
        raise BadArgument(
            f"{word} is no memory control group: it has neither memory.stat nor memory.current"
        )
    if word.startswith("/"):
        raise BadArgument(f"{word}: no such directory, and no such group below {hierarchy.point}")
    found = named(word.strip("/"), hierarchy)
    if not found:
        raise BadArgument(
            f"no control group below {hierarchy.point} is called {word!r}: give a directory, a "
            f"PID, or the ID of a container (at least {SHORTEST_ID} digits)"
        )
    return only(word, found)


def is_group(directory: str) -> bool:
    """Whether a directory is of a memory control group, or a saved one."""
    return any(
        os.path.exists(f"{directory}/{name}")
        for name in ("memory.current", "memory.usage_in_bytes", "memory.stat")
    )


def named(word: str, hierarchy: Hierarchy) -> list[str]:
    """The groups with a name, or of a container with that ID."""
    digits = word.removeprefix("sha256:").lower()
    is_id = re.fullmatch(rf"[0-9a-f]{{{SHORTEST_ID},}}", digits) is not None
    exact, containers = [], []
    for path in group_paths(hierarchy.point):
        name = os.path.basename(path)
        if name == word or path.removeprefix(hierarchy.point + "/") == word:
            exact.append(path)
        elif is_id:
            held = container_id(name)
            # A container may have groups of its own below, and docker's runtime some beside.
            if held and held.startswith(digits) and "-conmon-" not in name:
                containers.append(path)
    return exact or containers


def container_id(name: str) -> str | None:
    """The container ID in the name of a group; None: it has none.

    >>> container_id("docker-" + 64 * "a" + ".scope") == 64 * "a"
    True
    >>> container_id("ssh.service") is None
    True
    """
    base = name.removesuffix(".scope")
    for prefix in ("docker-", "libpod-", "cri-containerd-", "crio-", "containerd-", "nerdctl-"):
        base = base.removeprefix(prefix)
    return base if CONTAINER_ID.fullmatch(base) else None


def only(word: str, found: list[str]) -> str:
    if len(found) > 1:
        listed = ", ".join(found[:4]) + (" ..." if len(found) > 4 else "")
        raise BadArgument(f"{word} matches {len(found)} control groups: {listed}")
    return found[0]


def group_paths(directory: str) -> Iterator[str]:
    """A group's directory and those of all groups below it."""
    for path, names, _ in os.walk(directory):
        names.sort()
        yield path


def group_pids(directory: str) -> list[int]:
    """The processes of a group and of all groups below it, ascending.

    Processes that this PID namespace does not show are left out.
    """
    found: set[int] = set()
    for path in group_paths(directory):
        found |= pids_in(path)
    return sorted(found - {0})


def pids_in(directory: str) -> set[int]:
    """The processes of one group; 0 stands for those of other PID namespaces."""
    try:
        with open(f"{directory}/cgroup.procs", "rb", buffering=0) as file:
            return {int(word) for word in file.readall().split()}
    except (OSError, ValueError):
        # Removed meanwhile, or a threaded group of version 2, whose processes the group
        # above lists.
        return set()
