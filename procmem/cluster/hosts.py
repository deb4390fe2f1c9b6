"""What runs on each host: finds the chosen processes, and takes a snapshot of each.

Only plain values go back, so that another version of procmem can say what it does not understand.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from procmem._version import __version__
from procmem.errors import ProcmemError
from procmem.process import Process
from procmem.procfs import parse_statm, pids, system_file
from procmem.procfs.sweep import sweep
from procmem.snapshots.saved import frame
from procmem.system.processes import MachineProcess
from procmem.system.rounds import ProcessChoice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["HostChoice", "read_host"]


class HostChoice(NamedTuple):
    """Which processes of a host are read, and how.

    Attributes:
        pids: these; empty: all that fit the rest.
        names, users, groups: as of ProcessChoice.
        detail: "maps", "residency" or "smaps"; see Process.snapshot().
        root: see Process.
    """

    pids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    detail: str = "smaps"
    root: str = "/proc"


def read_host(chosen: tuple[Any, ...]) -> dict[str, Any]:
    """Snapshots of the chosen processes of this host, and of which processes there are none.

    Args:
        chosen: the fields of a HostChoice.

    Raises:
        Unsupported: root is no /proc.
    """
    choice = HostChoice(*chosen)
    taken, unread = [], []
    for process in processes_of(choice):
        try:
            with Process(process.pid, root=choice.root) as live:
                if live.start_time != process.start_time:
                    continue  # the PID has gone to another process
                snapshot = live.snapshot(choice.detail)
        except (ProcmemError, OSError) as error:
            unread.append((process.pid, process.name, str(error)))
        else:
            taken.append((process.pid, process.name, process.user, frame(snapshot, quick=True)))
    listed = {process.pid for process in processes_of(choice)} if choice.pids else set()
    unread += [
        (pid, "", f"process {pid}: no such process")
        for pid in choice.pids
        if pid not in listed and pid not in {row[0] for row in (*taken, *unread)}
    ]
    return {
        "version": __version__,
        "host": os.uname().nodename,
        "machine": machine_of(choice.root),
        "taken": taken,
        "unread": unread,
    }


def processes_of(choice: HostChoice) -> Iterator[MachineProcess]:
    """The chosen processes that have memory."""
    fits = ProcessChoice(choice.names, choice.users, choice.groups)
    for pid in sorted(choice.pids) or pids(choice.root):
        found = sweep(pid, choice.root, None)
        if found is None or not found.statm or not parse_statm(found.statm).size:
            continue
        process = MachineProcess(found, None, root=choice.root)
        if fits.takes(process) and (choice.pids or pid != os.getpid()):
            yield process


def machine_of(root: str) -> str:
    """What two hosts have in common if they show the same processes: the boot and the PIDs."""
    boot = (system_file("sys/kernel/random/boot_id", root) or b"?").decode("ascii", "replace")
    try:
        return f"{boot.strip()} {os.readlink(f'{root}/self/ns/pid')}"
    except OSError:
        return f"{boot.strip()} ?"
