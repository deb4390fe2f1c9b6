"""ControlGroup: what a control group, and so a container, is charged for, and why."""

from __future__ import annotations

import os
from typing import NamedTuple

from procmem.errors import AccessDenied, BadArgument, ProcessError, ProcmemError, Unsupported
from procmem.process import Process
from procmem.process.finding import command_line_of
from procmem.process.held import cached_files
from procmem.regions.region import PAGE_SIZE
from procmem.system.accounting import FILES, figures_of
from procmem.system.charges import Charges, FileCharge, charges_of
from procmem.system.hierarchies import find_group, group_pids, memory_hierarchy

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from procmem.system.accounting import GroupFigures

__all__ = ["ControlGroup", "GroupProcess"]

STOCK = 64
"""Pages that a CPU may charge ahead for a group (MEMCG_CHARGE_BATCH, mm/memcontrol.c)."""

TRIES = 5


class GroupProcess(NamedTuple):
    """A process of a control group. Sizes are bytes; None: this reader may not read it.

    Attributes:
        pid: its ID.
        name: its command name.
        command: its command line; its name where it has none.
        rss, pss, swap: what it maps, wherever that is charged; None too for a zombie and for
            a process that has ended meanwhile.
        pss_anon: its share of anonymous memory.
    """

    pid: int
    name: str
    command: str
    rss: int | None
    pss: int | None
    pss_anon: int | None
    swap: int | None


class ControlGroup:
    """What a memory control group, with all groups below it, is charged for.

    One reading: all figures are of the time when the object was made, but `processes`, `charges`
    and `files` are read when they are first asked for. Make another object for newer figures.

    A page is charged to the group of the process that touched it first, and stays charged to it
    until it is freed, whoever maps it then. So the sum of the PSS of a group's processes is not
    its usage.

    Args:
        what: a directory below /sys/fs/cgroup, or a saved copy; a PID; "self"; a path as
            /proc/PID/cgroup shows it; the name of a group; the ID of a container, see
            find_group().
        files: files and directories to look into for page cache that it is charged for; files that
            its processes have mapped or open are found without.
        root: the /proc in which PIDs are looked up.

    Attributes:
        path: its directory.
        live: whether it is a control group of the kernel, and not a saved copy of its files,
            of which neither processes nor page frames are known.
        version: 1 or 2, of the control groups (cgroups(7)).
        figures: all that the kernel's files show, see GroupFigures.
        moved: whether its usage changed while it was read, each time that this was tried.

    All sizes are bytes; None: this kernel does not show it.

    Raises:
        BadArgument: there is no such group, or several.
        NoSuchProcess: no process has the PID.
        PermissionError: its files may not be read.
        Unsupported: no memory control groups are mounted here; the group is outside of this
            container; or the groups of version 2 have no memory controller.

    Source: Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst.
    """

    __slots__ = (
        "_charges",
        "_files",
        "_is_root",
        "_limits",
        "_look_into",
        "_processes",
        "_root",
        "figures",
        "live",
        "moved",
        "path",
        "version",
    )

    def __init__(
        self,
        what: str | os.PathLike[str] | int = "self",
        *,
        files: Iterable[str] = (),
        root: str = "/proc",
    ) -> None:
        word = what if isinstance(what, int) else os.fspath(what)
        self._root = root
        self._look_into = tuple(files)
        self.path = find_group(word, root=root)
        self.version = version_of(self.path)
        self.live = is_live(self.path)
        self.figures, self.moved = read_figures(self.path, self.version)
        self._limits = limits_above(self.path, self.version)
        # The counters of the group of all processes leave out kernel memory (version 1).
        self._is_root = is_top(self.path, self.version)
        self._processes: list[GroupProcess] | None = None
        self._charges: Charges | None = None
        self._files: list[FileCharge] | None = None

    def __repr__(self) -> str:
        return f"<ControlGroup {self.path}, version {self.version}, usage {self.usage}>"

    @property
    def usage(self) -> int | None:
        """What it is charged for; None: the root of version 2, which has no such figure."""
        return self.figures.usage

    @property
    def limit(self) -> int | None:
        """Its own limit; None: it has none. A group above it may have a lower one."""
        return self.figures.limit

    @property
    def effective_limit(self) -> int | None:
        """The lowest of its own limit and of the visible groups' above it; None: there is none."""
        limits = [limit for _, limit in self._limits]
        return min(limits) if limits else None

    @property
    def limited_by(self) -> str | None:
        """The directory of the group that has the lowest limit; None: there is none."""
        lowest = min(self._limits, key=lambda one: one[1], default=None)
        return None if lowest is None else lowest[0]

    @property
    def peak(self) -> int | None:
        """The highest usage so far; None: before Linux 5.19 with version 2."""
        return self.figures.peak

    @property
    def swap(self) -> int | None:
        """What it has in swap."""
        return self.figures.swap

    @property
    def working_set(self) -> int | None:
        """Its working set as Kubernetes and cAdvisor count it: usage without inactive_file."""
        usage, inactive = self.usage, self.figures.inactive_file
        if usage is None or inactive is None:
            return None
        return max(usage - inactive, 0)

    @property
    def anon(self) -> int | None:
        """Anonymous memory: heaps, stacks, private copies of pages."""
        return self.figures.anon

    @property
    def shmem(self) -> int | None:
        """Shared memory and files of tmpfs; it is in no other part."""
        return self.figures.shmem

    @property
    def file(self) -> int | None:
        """Page cache of files, without shared memory and tmpfs, mapped or not."""
        return self.figures.file

    @property
    def kernel(self) -> int | None:
        """Kernel memory: page tables, kernel stacks, slab and more, see `figures.kernel_parts`.

        None for the root of version 1, whose usage does not count any.
        """
        return None if self._is_root and self.version == 1 else self.figures.kernel

    @property
    def parts(self) -> dict[str, int]:
        """The parts of `usage` that the kernel shows, which with `remainder` make it up."""
        parts = {
            "anon": self.anon,
            "shmem": self.shmem,
            "file": self.file,
            "kernel": self.kernel,
            "sock": self.figures.sock,
            "hugetlb": self.figures.hugetlb,
        }
        return {name: value for name, value in parts.items() if value is not None}

    @property
    def remainder(self) -> int | None:
        """What `parts` leave of `usage`; below zero where memory.stat lags behind.

        Up to `stock` bytes either way are how the kernel counts: each CPU charges pages ahead,
        and memory.stat is brought up to date every two seconds or after as many pages.
        """
        if self.usage is None:
            return None
        return self.usage - sum(self.parts.values())

    @property
    def stock(self) -> int:
        """The largest remainder that the kernel's counting explains: 64 pages for each CPU."""
        return STOCK * (os.cpu_count() or 1) * PAGE_SIZE

    @property
    def reclaimable(self) -> int | None:
        """What the kernel can take without swapping or writing: clean page cache, and slab.

        Mapped page cache is counted, too; the kernel unmaps it first. Version 1 does not show
        how much of the slab it can take.
        """
        known = self.figures
        if known.inactive_file is None or known.active_file is None:
            return None
        unclean = (known.file_dirty or 0) + (known.file_writeback or 0)
        clean = max(known.inactive_file + known.active_file - unclean, 0)
        return clean + (known.slab_reclaimable or 0)

    @property
    def events(self) -> dict[str, int]:
        """How often what happened, by the kernel's names.

        "max": its usage was about to exceed the limit; "oom_kill": a process was killed; version
        2 has "low", "high" and "oom", too. Version 1 counts oom_kill for the group alone, without
        the groups below.
        """
        return self.figures.events

    @property
    def oom_kills(self) -> int | None:
        """How many of its processes the kernel killed when memory was short."""
        return self.figures.events.get("oom_kill")

    @property
    def processes(self) -> list[GroupProcess]:
        """Its processes and those of the groups below, largest PSS first."""
        if self._processes is None:
            pids = group_pids(self.path) if self.live else []
            found = [process_of(pid, self._root) for pid in pids]
            known = [one for one in found if one is not None]
            self._processes = sorted(known, key=lambda one: -(one.pss or one.rss or 0))
        return self._processes

    @property
    def charges(self) -> Charges:
        """The page frames it is charged for: by process and use, by file, and who else maps them.

        See charges_of() for what that costs.

        Raises:
            Unsupported: the reader is not root, or the kernel has no /proc/kpagecgroup.
        """
        if not self.live:
            raise Unsupported("kpagecgroup", "these are saved files, without page frames")
        if self._charges is None:
            self._charges = charges_of(
                self.path, group_pids(self.path), self._root, self._look_into
            )
        return self._charges

    @property
    def files(self) -> list[FileCharge]:
        """The files, and shared memory, that its processes have mapped or open, largest first.

        Who is charged for them is known to root alone; others get what the page cache has.
        """
        if self._files is None:
            try:
                self._files = self.charges.files
            except Unsupported:
                pids = group_pids(self.path) if self.live else []
                self._files = files_in_cache(pids, self._root)
        return self._files


def process_of(pid: int, root: str) -> GroupProcess | None:
    """A process of a group; None: it has ended."""
    try:
        process = Process(pid, root=root)
    except ProcessError:
        return None
    with process:
        command = command_line_of(process)
        try:
            name = os.fsdecode(process.files.read("comm").removesuffix(b"\n"))
        except (ProcmemError, OSError):
            return None
        rss = pss = anon = swap = None
        try:
            rollup = process.rollup()
            rss, pss, swap = rollup.rss, rollup.pss, rollup.swap
            anon = rollup.pss_anon
        except AccessDenied:
            try:
                memory = process.memory()
                rss, swap = memory.rss, memory.swap
            except ProcmemError:
                pass
        except ProcmemError:
            pass
        return GroupProcess(pid, name, command, rss, pss, anon, swap)


def files_in_cache(pids: list[int], root: str) -> list[FileCharge]:
    """What the page cache has of the files of some processes, without who is charged for it."""
    found: dict[str, FileCharge] = {}
    for pid in pids:
        try:
            with Process(pid, root=root) as process:
                listed = cached_files(process.files)
        except ProcmemError:
            continue
        for one in listed:
            if one.cache is not None and one.cache.cached:
                cached, dirty = one.cache.cached, one.cache.dirty
                found[one.path] = FileCharge(one.path, None, None, None, dirty, cached)
    return sorted(found.values(), key=lambda file: -(file.cached or 0))


def version_of(path: str) -> int:
    """The version of the control groups that a directory belongs to.

    Raises:
        BadArgument: it is no memory control group.
        Unsupported: it is of version 2, without the memory controller.
    """
    if os.path.exists(f"{path}/memory.usage_in_bytes"):
        return 1
    if os.path.exists(f"{path}/memory.current") or os.path.exists(f"{path}/memory.stat"):
        return 2
    if os.path.exists(f"{path}/cgroup.controllers"):
        raise Unsupported(
            "memory controller",
            f"{path} has no memory controller: write +memory to cgroup.subtree_control of the "
            f"group above it, as root",
        )
    raise BadArgument(f"{path} is no memory control group: it has no memory.usage_in_bytes")


def is_live(path: str) -> bool:
    """Whether a directory is of a mounted hierarchy."""
    try:
        point = memory_hierarchy().point
    except Unsupported:
        return False
    return path == point or path.startswith(f"{point}/")


def is_top(path: str, version: int) -> bool:
    """Whether a group is the root of its hierarchy, and not of a container's view of it."""
    if version == 1:
        return os.path.exists(f"{path}/release_agent")
    return not os.path.exists(f"{path}/memory.current")


def read_files(path: str, version: int) -> dict[str, bytes]:
    """Those of the memory files of a group that are there.

    Raises:
        BadArgument: the group was removed.
        PermissionError
    """
    found = {}
    for name in FILES[version]:
        try:
            with open(f"{path}/{name}", "rb", buffering=0) as file:
                found[name] = file.readall()
        except PermissionError:
            raise
        except OSError:
            continue
    if not found:
        raise BadArgument(f"{path}: the control group was removed, or has no memory files")
    return found


def read_figures(path: str, version: int) -> tuple[GroupFigures, bool]:
    """The figures of a group, of one time if it holds still; whether it did not."""
    usage = FILES[version][0]
    for _ in range(TRIES):
        files = read_files(path, version)
        try:
            with open(f"{path}/{usage}", "rb", buffering=0) as file:
                moved = file.readall() != files.get(usage)
        except OSError:
            moved = False
        if not moved:
            break
    return figures_of(version, files), moved


def limits_above(path: str, version: int) -> list[tuple[str, int]]:
    """The groups that have a limit, from this one up to the mount point."""
    name = "memory.limit_in_bytes" if version == 1 else "memory.max"
    found = []
    at = path
    while os.path.exists(f"{at}/cgroup.procs") or at == path:
        try:
            with open(f"{at}/{name}", "rb", buffering=0) as file:
                text = file.readall()
        except OSError:
            text = b""
        limit = figures_of(version, {name: text}).limit
        if limit is not None:
            found.append((at, limit))
        if at == "/":
            break
        at = os.path.dirname(at)
    return found
