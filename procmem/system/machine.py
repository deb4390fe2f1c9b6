"""Machine: every process, and what the rest of the memory is used for, at one time."""

from __future__ import annotations

import os
import time
from collections import deque
from functools import partial

from procmem.arrow import Columnar
from procmem.procfs import pids
from procmem.procfs.sweep import sweep
from procmem.system.freeing import can_read_frames, read_freeing
from procmem.system.memory import parts_of, read_sums
from procmem.system.pace import Pace, pages_and_more
from procmem.system.processes import SIZES, Freed, read_process

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from procmem.arrow import Makers
    from procmem.columns import ArrowColumn
    from procmem.system.freeing import Freeing
    from procmem.system.memory import KernelSums, MemoryPart
    from procmem.system.processes import MachineProcess

__all__ = ["GROUPINGS", "Machine", "ProcessGroup", "machine"]


class ProcessGroup:
    """Some processes of the machine together. Sizes are bytes; None: none of them could be read.

    Attributes:
        name: what they have in common; for a process tree, its root's name and PID.
        processes: the processes, the one with the largest PSS first.
        freed: what ending all of them would free; see Machine.freed().
    """

    def __init__(self, name: str, processes: list[MachineProcess], freed: Freed | None) -> None:
        self.name = name
        self.processes = processes
        self.freed = freed

    def __repr__(self) -> str:
        return f"<ProcessGroup {self.name}: {len(self.processes)} processes>"

    def __len__(self) -> int:
        return len(self.processes)

    @property
    def rss(self) -> int | None:
        """Σ RSS. Pages that several of them map are counted several times."""
        return self._sum("rss")

    @property
    def pss(self) -> int | None:
        """Σ PSS: each page once, divided among all processes of the machine that map it."""
        return self._sum("pss")

    @property
    def uss(self) -> int | None:
        """Σ USS. Pages that only the group maps, but several of its processes, are in `frees`."""
        return self._sum("uss")

    @property
    def swap(self) -> int | None:
        """Σ swap; swapped pages that several of them share are counted several times."""
        return self._sum("swap")

    @property
    def swap_pss(self) -> int | None:
        """Σ SwapPss: each swapped page once."""
        return self._sum("swap_pss")

    @property
    def huge(self) -> int | None:
        """Bytes of rss that huge pages map."""
        return self._sum("huge")

    @property
    def ksm(self) -> int | None:
        """Bytes that KSM merged (Linux 6.6)."""
        return self._sum("ksm")

    @property
    def frees(self) -> int | None:
        """Bytes of memory that ending all of them would free; see Machine.freed()."""
        return None if self.freed is None else self.freed.size

    @property
    def unread(self) -> list[MachineProcess]:
        """Those that could not be read; only rss has a share of theirs."""
        return [process for process in self.processes if process.unread]

    def _sum(self, name: str) -> int | None:
        sizes = [getattr(process, name) for process in self.processes]
        known = [size for size in sizes if size is not None]
        return sum(known) if known else None

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; processes are PIDs."""
        return {
            "name": self.name,
            "processes": [process.pid for process in self.processes],
            **{
                name: getattr(self, name)
                for name in ("rss", "pss", "uss", "swap", "swap_pss", "huge", "ksm", "frees")
            },
            "frees_exact": None if self.freed is None else self.freed.exact,
            "unread": [process.pid for process in self.unread],
        }


class Machine(Columnar):
    """The memory of the machine, read once by machine().

    Kernel threads and zombies have no memory and are left out, and so are processes that ended
    during the reading.

    Attributes:
        processes: every process, by PID; those that could not be read, too.
        sums: the kernel's own sums.
        parts: what MemTotal is used for, processes first. Their sum and `remainder` are `total`.
        remainder: what no part accounts for, in bytes. The sums are read one after
            the other, so it may be a little below 0.
        causes: likely causes of the remainder, in words.
    """

    def __init__(
        self, processes: list[MachineProcess], sums: KernelSums, freeing: Freeing | None = None
    ) -> None:
        self.processes = processes
        self.sums = sums
        self._freeing = freeing
        if freeing is not None:
            alone = freeing.of_groups([[process] for process in processes])
            for process, theirs in zip(processes, alone, strict=True):
                process.freed = theirs
        shmem = [process.pss_shmem for process in processes if not process.unread]
        known = [size for size in shmem if size is not None]
        parts, remainder, why = parts_of(
            sums,
            pss=sum(process.pss or 0 for process in processes),
            pss_shmem=sum(known) if len(known) == len(shmem) else None,
            unread=len(self.unread),
        )
        self.parts: list[MemoryPart] = parts
        self.remainder: int = remainder
        self.causes: list[str] = why

    def __repr__(self) -> str:
        return f"<Machine: {len(self.processes)} processes, {len(self.unread)} of them not read>"

    @property
    def total(self) -> int:
        """MemTotal of proc_meminfo(5), in bytes.

        The kernel's own image and what the firmware keeps are not in it.
        """
        return self.sums.meminfo.get("MemTotal", 0)

    @property
    def has_frames(self) -> bool:
        """Whether page frames were read, so that what ending processes would free is known."""
        return self._freeing is not None

    @property
    def unread(self) -> list[MachineProcess]:
        """The processes that could not be read; `unread` of each says why."""
        return [process for process in self.processes if process.unread]

    def groups(self, by: str) -> list[ProcessGroup]:
        """The processes in groups, the group with the largest PSS first.

        Args:
            by: "command" (MachineProcess.name), "user", "cgroup", "service" (the systemd unit or
                container), or "tree" (a child of process 1 with all its descendants).

        Raises:
            BadArgument: there is no such grouping.
        """
        if by not in GROUPINGS:
            from procmem.errors import BadArgument

            raise BadArgument(f"by is one of {', '.join(GROUPINGS)}, not {by!r}")
        key_of = GROUPINGS[by](self.processes)
        found: dict[str, list[MachineProcess]] = {}
        for process in sorted(self.processes, key=size_of, reverse=True):
            found.setdefault(key_of(process), []).append(process)
        if self._freeing is None:
            freed = [self.freed(members) for members in found.values()]
        else:
            freed = self._freeing.of_groups(list(found.values()))
        made = [
            ProcessGroup(name, members, theirs)
            for (name, members), theirs in zip(found.items(), freed, strict=True)
        ]
        return sorted(made, key=lambda group: (group.pss or 0, group.rss or 0), reverse=True)

    def freed(self, processes: Iterable[MachineProcess]) -> Freed | None:
        """What ending some processes together would free.

        That is anonymous memory that nobody else maps. Without page frames only what each process
        maps alone is known: a lower bound. The page cache stays, and so do tmpfs files, System V
        segments and memfd_create(2) files that others may hold. Kernel memory, such as their page
        tables, is freed besides.

        Args:
            processes: of this machine.

        Returns:
            None: none of them could be read.
        """
        processes = list(processes)
        if self._freeing is not None:
            return self._freeing.of_groups([processes])[0]
        found = [process.freed for process in processes]
        known = [freed for freed in found if freed is not None]
        if not known:
            return None
        anonymous, shared, _ = (sum(column) for column in zip(*known, strict=True))
        return Freed(anonymous, shared, exact=False)

    def arrow_makers(self) -> Makers:
        """What makes each column for data frames, a row for each process.

        frees_exact is False where `frees` is a lower bound. command, cgroup and service are read
        now, unless they were asked for before; of a process that has ended by then, command is
        comm and the others are missing.
        """
        return ProcessTable(self.processes).arrow_makers()

    def _repr_html_(self) -> str:
        """What a notebook shows: the parts of MemTotal, and the processes with most memory."""
        from procmem.picture.markup import MOST_ROWS, block, details, kib, table
        from procmem.units import about, count

        parts = [[part.name, kib(part.size), part.source] for part in self.parts if part.size]
        parts.append(["remainder", kib(self.remainder), "MemTotal - all parts"])
        footer = ["in all", kib(self.total), "MemTotal"]
        shown = sorted(self.processes, key=size_of, reverse=True)[:MOST_ROWS]
        rows: list[list[str | None]] = [
            [str(one.pid), one.name, kib(one.rss), kib(one.pss), kib(one.uss), kib(one.swap)]
            for one in shown
        ]
        left = len(self.processes) - len(shown)
        summary = f"{count(len(self.processes), 'process')}, in KiB"
        if left:
            summary = f"The {MOST_ROWS} of {len(self.processes):,} processes with most PSS, in KiB"
        heading = ["PID", "Name", "RSS", "PSS", "USS", "Swap"]
        unread = len(self.unread)
        return block(
            f"Memory of the machine: {about(self.total)}",
            table(["Part", "KiB", "Computed from"], parts, "<><", footer=footer),
            f"{count(unread, 'process')} could not be read." if unread else "",
            details(summary, table(heading, rows, "><>>>>")),
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "total": self.total,
            "parts": [part._asdict() for part in self.parts],
            "remainder": self.remainder,
            "causes": self.causes,
            "processes": [process.to_dict() for process in self.processes],
            "unread": [process.pid for process in self.unread],
        }


class ProcessTable(Columnar):
    """Some processes of a machine as a table, in this order; see Machine.arrow_makers()."""

    __slots__ = ("_listed",)

    def __init__(self, processes: Sequence[MachineProcess]) -> None:
        self._listed = processes

    def arrow_makers(self) -> Makers:
        """What makes each column, a row for each process."""
        from procmem.columns import booleans, categories, numbers, sourced, texts

        listed = self._listed

        def values(name: str, unit: str | None = None) -> ArrowColumn:
            return numbers(name, [getattr(one, name) for one in listed]).described(unit)

        def words(name: str) -> ArrowColumn:
            return categories(name, [getattr(one, name) or None for one in listed])

        def exact() -> ArrowColumn:
            freed = [one.freed for one in listed]
            return booleans("frees_exact", [None if one is None else one.exact for one in freed])

        makers: Makers = {
            **{name: partial(values, name) for name in ("pid", "ppid", "uid")},
            **{name: partial(words, name) for name in ("name", "user", "cgroup", "service")},
            "command": lambda: texts("command", [one.command for one in listed]),
            **{name: partial(values, name, "bytes") for name in (*SIZES, "frees")},
            "frees_exact": exact,
            "unread": partial(words, "unread"),
        }
        return sourced(makers, SOURCES)


SOURCES = {
    "pid": "/proc",
    "ppid": "stat",
    "uid": "/proc: the owner of the directory",
    "name": "stat: comm; of an interpreter cmdline",
    "user": "the user database (passwd(5))",
    "cgroup": "cgroup",
    "service": "cgroup",
    "command": "cmdline",
    "rss": "smaps_rollup: Rss, else statm",
    "pss": "smaps_rollup: Pss",
    "uss": "smaps_rollup: Private_Clean + Private_Dirty",
    "swap": "smaps_rollup: Swap",
    "swap_pss": "smaps_rollup: SwapPss",
    "huge": "smaps_rollup: AnonHugePages + ShmemPmdMapped + FilePmdMapped",
    "hugetlb": "smaps_rollup: Shared_Hugetlb + Private_Hugetlb",
    "ksm": "smaps_rollup: KSM",
    "frees": "kpagecount where it may be read, else smaps_rollup",
    "frees_exact": "procmem",
    "unread": "procmem",
}


def size_of(process: MachineProcess) -> tuple[int, int]:
    return process.pss or 0, process.rss or 0


# ---- groups ---------------------------------------------------------------------


def by_tree(processes: Iterable[MachineProcess]) -> Callable[[MachineProcess], str]:
    """The name of the tree of each process: that of the ancestor whose parent is process 1."""
    known = {process.pid: process for process in processes}

    def tree_of(process: MachineProcess) -> str:
        while process.ppid > 1 and process.ppid in known:
            process = known[process.ppid]
        return f"{process.name} ({process.pid})"

    return tree_of


NO_SERVICE = "(no unit or container)"
ENDED = "(ended meanwhile)"

GROUPINGS: dict[str, Callable[[Iterable[MachineProcess]], Callable[[MachineProcess], str]]] = {
    "command": lambda _: lambda process: process.name,
    "user": lambda _: lambda process: process.user,
    "cgroup": lambda _: lambda process: process.cgroup or ENDED,
    "service": lambda _: lambda process: process.service or NO_SERVICE,
    "tree": by_tree,
}


# ---- reading --------------------------------------------------------------------


WORTH_A_MEASURE = 1024
"""Resident pages of processes that take long enough for the time of one page to be measured."""

FIRST_GUESS = 100e-9
"""Seconds that the kernel takes for a resident page, until processes were measured."""

LATEST = 64
"""How many measurements count: one during which the CPU did something else is forgotten."""


class Stalls:
    """Estimates for how long a reading would stop a process from mapping memory.

    The kernel holds the lock of the address space while it makes smaps_rollup, so the time of a
    reading is the longest that the process may have to wait. It grows with the resident pages, and
    with the page tables: memory that was only read maps the page of zeros, and is in no RSS.

    Args:
        most: seconds that are accepted; None: any.
    """

    def __init__(self, most: float | None) -> None:
        self.most = most
        self._per_page = deque([FIRST_GUESS], maxlen=LATEST)

    def read(self, pid: int, root: str) -> MachineProcess | None:
        """Reads a process, unless it would have to wait too long; see read_process()."""
        if self.most is None:
            return read_process(pid, root)
        found = sweep(pid, root, "status")
        if found is None:
            return None
        pages, more = pages_and_more(found.text)
        expected = pages * max(self._per_page) + more
        # Small ones are read as long as a machine of ordinary speed would allow it, so that one
        # slow reading does not leave out all that come after it.
        at_best = pages * FIRST_GUESS + more
        if expected > self.most and (pages >= 2 * WORTH_A_MEASURE or at_best > self.most):
            return read_process(pid, root, stall=expected)
        begun = time.thread_time()
        process = read_process(pid, root)
        if pages >= WORTH_A_MEASURE:
            self._per_page.append((time.thread_time() - begun - more) / pages)
        return process


def machine(
    *,
    root: str | os.PathLike[str] = "/proc",
    frames: bool | None = None,
    share: float = 1.0,
    max_stall: float | None = None,
    progress: Callable[[int], object] | None = None,
) -> Machine:
    """Reads the memory of the whole machine: each process's RSS, PSS, USS and swap, and the rest.

    Args:
        root: as for Process.
        frames: read the page frames, too, so that what ending processes would free is exact:
            10 to 30 ms for each GiB that is resident in all of them together. Otherwise it is a
            lower bound. None: if this user may (CAP_SYS_ADMIN).
        share: the share of one CPU that it may use; it rests between processes.
        max_stall: seconds. A process whose own mmap(2) calls would probably have to wait longer,
            judging by its size, is not read; see MachineProcess.unread. None: all are read.
        progress: called after each process with the number of those that were read so far.

    Raises:
        Unsupported: root is no /proc.
        BadArgument: share or max_stall is not above 0.
        AccessDenied: frames are asked for, and this user may not read them.

    Source: proc_pid_smaps(5), proc_meminfo(5).

    >>> import procmem
    >>> found = procmem.machine()
    >>> found.total == sum(part.size for part in found.parts) + found.remainder
    True
    """
    root = os.path.abspath(os.fspath(root))
    if not share > 0 or not (max_stall is None or max_stall > 0):
        from procmem.errors import BadArgument

        raise BadArgument("share and max_stall must be above 0")
    if frames is None:
        frames = can_read_frames(root)
    elif frames and not can_read_frames(root):
        from procmem.errors import AccessDenied

        raise AccessDenied(os.getpid(), f"{root}/kpagecount and page frames take CAP_SYS_ADMIN")
    pace, stalls = Pace(share), Stalls(max_stall)
    found = []
    for pid in pids(root):
        process = stalls.read(pid, root)
        if process is not None:
            found.append(process)
        if progress is not None:
            progress(len(found))
        pace.rest()
    sums = read_sums(root)
    return Machine(found, sums, read_freeing(found, root, pace) if frames else None)
