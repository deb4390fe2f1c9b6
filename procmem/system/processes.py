"""The processes of the machine: whose each is, and what memory it uses."""

from __future__ import annotations

import os
from functools import cache
from typing import NamedTuple

from procmem.errors import ProcmemError, Unsupported
from procmem.process.naming import INTERPRETERS, name_of, text
from procmem.procfs import ProcessFiles, parse_stat, parse_statm
from procmem.procfs.files import DENIED
from procmem.procfs.sweep import sweep
from procmem.procfs.text import parse_cgroup
from procmem.regions import Counters, parse_rollup

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from typing import Any

    from procmem.procfs.sweep import Swept

__all__ = ["SIZES", "Freed", "MachineProcess", "read_process"]

PAGE_SIZE = os.sysconf("SC_PAGESIZE")

ROLLUP = "smaps_rollup"


class Freed(NamedTuple):
    """What ending some processes would free.

    Attributes:
        anonymous: bytes of anonymous memory that only they map.
        shared: bytes of shared anonymous memory (mmap(2), MAP_SHARED | MAP_ANONYMOUS) that only
            they map. It has no name, so that it ends with the last process that maps it.
        exact: False: a lower bound; an estimate where the kernel has only averages of how often
            pages are mapped (probes.averages_map_counts()).
    """

    anonymous: int
    shared: int
    exact: bool

    @property
    def size(self) -> int:
        """Both together, in bytes."""
        return self.anonymous + self.shared


class MachineProcess:
    """One process of the machine. Sizes are bytes; None: it could not be read.

    Attributes:
        pid, ppid: its ID and its parent's.
        start_time: clock ticks from boot to its start.
        comm: the kernel's name for it, at most 15 bytes.
        uid: its effective user ID.
        rss: what it has in memory.
        pss: the same, each page divided by the number of its mappings.
        uss: what it alone maps.
        swap: what it has in swap, swapped shared memory included.
        swap_pss: the same, divided by the number of processes that use it.
        unread: why pss and the other counters could not be read; empty if they were. rss is that
            of statm then.
    """

    __slots__ = (
        "_cgroups",
        "_freed",
        "_root",
        "_sizes",
        "_words",
        "comm",
        "pid",
        "ppid",
        "pss",
        "rss",
        "start_time",
        "swap",
        "swap_pss",
        "uid",
        "unread",
        "uss",
    )

    def __init__(
        self,
        found: Swept,
        sizes: dict[str, int] | None,
        *,
        root: str = "/proc",
        unread: str = "",
    ) -> None:
        self.pid = found.pid
        self.comm, self.ppid, self.start_time = basics(found.stat)
        self.uid = found.owner
        self.unread = unread
        self._sizes = sizes
        get = no_size if sizes is None else sizes.get
        self.pss = get("Pss")
        clean, dirty = get("Private_Clean"), get("Private_Dirty")
        self.uss = None if clean is None or dirty is None else clean + dirty
        self.swap = get("Swap")
        self.swap_pss = get("SwapPss")
        self.rss = get("Rss")
        if sizes is None and found.statm:
            self.rss = parse_statm(found.statm).resident * PAGE_SIZE
        self._root = root
        self._words: list[str] | None = None
        self._cgroups: dict[str, str] | None = None
        self._freed: Freed | None = None

    def __repr__(self) -> str:
        return f"<MachineProcess {self.pid}: {self.name}>"

    @property
    def user(self) -> str:
        """The name of its effective user; the number of one that has no name."""
        return user_name(self.uid)

    @property
    def counters(self) -> Counters | None:
        """All sums of smaps_rollup."""
        return None if self._sizes is None else Counters(self._sizes)

    @property
    def huge(self) -> int | None:
        """Bytes of rss that huge pages map (AnonHugePages, ShmemPmdMapped, FilePmdMapped)."""
        return self._sum("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")

    @property
    def hugetlb(self) -> int | None:
        """Bytes of huge pages of hugetlbfs, which are not in rss."""
        return self._sum("Shared_Hugetlb", "Private_Hugetlb")

    @property
    def ksm(self) -> int | None:
        """Bytes that KSM merged with equal pages (Linux 6.6)."""
        return self._sum("KSM")

    @property
    def pss_shmem(self) -> int | None:
        """The part of pss that is shared memory and tmpfs (Linux 5.9)."""
        return self._sum("Pss_Shmem")

    def _sum(self, *names: str) -> int | None:
        sizes = self._sizes or {}
        known = [sizes[name] for name in names if name in sizes]
        return sum(known) if known else None

    def _read(self, name: str) -> bytes:
        """A file of it that is read only when it is asked for; empty if it has ended by then."""
        try:
            files = ProcessFiles(self.pid, self._root)
            found = files.read(name) if files.start_time in (self.start_time, None) else b""
            files.close()
        except (ProcmemError, OSError):
            return b""
        return found

    @property
    def words(self) -> list[str]:
        """The words of its command line, read when they are first asked for."""
        if self._words is None:
            line = self._read("cmdline").rstrip(b"\0")
            self._words = [text(word) for word in line.split(b"\0")]
        return self._words

    @property
    def command(self) -> str:
        """Its command line; comm where it has none, or has ended by now."""
        return " ".join(self.words) or self.comm

    @property
    def name(self) -> str:
        """What it is called: comm; for an interpreter the script or module that it runs."""
        return name_of(self.comm, self.words) if INTERPRETERS.fullmatch(self.comm) else self.comm

    @property
    def cgroups(self) -> dict[str, str]:
        """Its control group in each hierarchy, by controller ("memory"); "" is version 2.

        It is read when it is first asked for. Empty if the process has ended by then.
        """
        if self._cgroups is None:
            self._cgroups = parse_cgroup(self._read("cgroup"))
        return self._cgroups

    @property
    def cgroup(self) -> str | None:
        """The path of the control group that memory is charged to; None: it has ended.

        That of version 1's memory controller where there is one, otherwise that of version 2.
        """
        return self.cgroups.get("memory", self.cgroups.get(""))

    @property
    def service(self) -> str | None:
        """The systemd unit or the container that it belongs to, by the name of a control group.

        "ssh.service", "session-3.scope", "docker 0123456789ab"; None: no group of it has such a
        name.
        """
        for hierarchy in ("name=systemd", "", "memory"):
            found = unit_of(self.cgroups.get(hierarchy, ""))
            if found:
                return found
        return None

    @property
    def freed(self) -> Freed | None:
        """What ending this process alone would free; see Machine.freed()."""
        if self._freed is not None:
            return self._freed
        if self.uss is None:
            return None
        files, shmem = self._sum("Pss_File"), self.pss_shmem
        if files is None or shmem is None:
            return Freed(0, 0, exact=False)
        # Each page of a file that is mapped here alone counts whole in Pss.
        return Freed(max(0, self.uss - files - shmem), 0, exact=False)

    @freed.setter
    def freed(self, freed: Freed | None) -> None:
        self._freed = freed

    @property
    def frees(self) -> int | None:
        """Bytes of memory that ending it would free: `freed.size`. `freed.exact`: or more."""
        return None if self.freed is None else self.freed.size

    def is_same_reading(self, earlier: MachineProcess) -> bool:
        """Whether an earlier reading of this process has the same figures and names."""
        return (
            self._sizes == earlier._sizes
            and (self.rss, self.unread, self.comm) == (earlier.rss, earlier.unread, earlier.comm)
            and (self.pid, self.start_time, self.ppid, self.uid)
            == (earlier.pid, earlier.start_time, earlier.ppid, earlier.uid)
            and self._words == earlier._words
            and self._cgroups == earlier._cgroups
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        freed = self.freed
        return {
            "pid": self.pid,
            "ppid": self.ppid,
            "name": self.name,
            "command": self.command,
            "user": self.user,
            "cgroup": self.cgroup,
            "service": self.service,
            **{name: getattr(self, name) for name in SIZES},
            "frees": self.frees,
            "frees_exact": None if freed is None else freed.exact,
            "unread": self.unread or None,
        }


SIZES = ("rss", "pss", "uss", "swap", "swap_pss", "huge", "hugetlb", "ksm")
"""The attributes of a process that are sizes in bytes."""


@cache
def user_name(uid: int) -> str:
    """The name of a user, or the number of one that has no name."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


UNITS = (".service", ".scope", ".mount", ".socket", ".swap")
"""Units of systemd that have processes (systemd.unit(5))."""

CONTAINER = 64
"""Hexadecimal digits of a container's ID."""


def unit_of(path: str) -> str | None:
    """The unit or container that a control group's path names; None: none.

    >>> unit_of("/system.slice/ssh.service"), unit_of("/docker/" + "0123456789abcdef" * 4)
    ('ssh.service', 'docker 0123456789ab')
    >>> unit_of("/kubepods/burstable/pod7/cri-containerd-" + "0123456789abcdef" * 4 + ".scope")
    'cri-containerd 0123456789ab'
    >>> unit_of("/user.slice/user-0.slice/session-3.scope"), unit_of("/a/b")
    ('session-3.scope', None)
    """
    parts = path.split("/")
    for place in range(len(parts) - 1, 0, -1):
        part = parts[place].removesuffix(" (deleted)")
        runtime, _, number = part.removesuffix(".scope").rpartition("-")
        if len(number) == CONTAINER and not number.strip("0123456789abcdef"):
            return f"{runtime or parts[place - 1] or 'container'} {number[:12]}"
        if part.endswith(UNITS):
            return part
    return None


def read_process(pid: int, root: str, *, stall: float | None = None) -> MachineProcess | None:
    """Reads one process.

    Args:
        pid: its ID.
        root: where /proc is.
        stall: leave its counters out and say so, since reading them would stop the process from
            mapping memory for about so many seconds; None: read them.

    Returns:
        None: it has ended, or it is a thread of the kernel or a zombie and has no memory.
    """
    found = sweep(pid, root, None if stall is not None else ROLLUP)
    if found is None:
        return None
    if stall is not None:
        why = f"left out by max_stall: its mmap calls might wait for {stall * 1000:.0f} ms"
        return MachineProcess(found, None, root=root, unread=why)
    if found.error is not None and found.error.errno in DENIED:
        why = found.error.strerror or str(found.error)
        return MachineProcess(found, None, root=root, unread=why)
    if found.text:
        return MachineProcess(found, sums(found.text), root=root)
    return read_hidden(found, root)


def read_hidden(found: Swept, root: str) -> MachineProcess | None:
    """A process that shows no address space: None, unless another of its threads shows it."""
    try:
        stat = parse_stat(found.stat)
        if stat.is_kernel_thread or (stat.is_zombie and stat.num_threads <= 1):
            return None
        from procmem.process.reading import read_rollup

        files = ProcessFiles(found.pid, root)
        if files.start_time != stat.starttime:
            return None
        return MachineProcess(found, only_sizes(read_rollup(files)), root=root)
    except Unsupported as error:
        return MachineProcess(found, None, root=root, unread=str(error))
    except (ProcmemError, OSError):
        return None


def basics(stat: bytes) -> tuple[str, int, int]:
    """The command name, the parent's PID and the start time, from a text of stat.

    parse_stat() takes three times as long, for all fields.
    """
    opened, closed = stat.find(b"("), stat.rfind(b")")
    fields = stat[closed + 2 :].split(b" ", 20)
    return text(stat[opened + 1 : closed]), int(fields[1]), int(fields[19])


_known: tuple[list[bytes], list[str]] = ([], [])
"""The names of the counters that this kernel prints, as they are in the text and as text."""


def sums(data: bytes) -> dict[str, int]:
    """The counters of a text of smaps_rollup; parse_rollup() takes many times as long."""
    global _known  # noqa: PLW0603 - all processes of a machine have the same counters
    words = data.split()
    names, units = words[6::3], words[8::3]
    if names != _known[0] or not names:
        if not all(name.endswith(b":") for name in names) or len(names) != len(units):
            return only_sizes(parse_rollup(data))
        _known = names, [name[:-1].decode("ascii", "replace") for name in names]
    if units.count(b"kB") != len(names):
        return only_sizes(parse_rollup(data))
    return dict(zip(_known[1], [int(word) << 10 for word in words[7::3]], strict=True))


def only_sizes(counters: Counters) -> dict[str, int]:
    return {name: value for name, value in counters.items() if isinstance(value, int)}


def no_size(_name: str) -> int | None:
    return None
