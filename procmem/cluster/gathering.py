"""gather(): reads the processes of a service on every host of a cluster."""

from __future__ import annotations

import contextlib
import io
import os
import time
from concurrent.futures import FIRST_COMPLETED, Executor, wait

from procmem.cluster.gathered import Gathered, GatheredProcess, HostLeftOut, UnreadProcess
from procmem.cluster.hosts import HostChoice, read_host
from procmem.errors import BadArgument, MissingExtra, ParseError
from procmem.snapshots.moment import DETAILS
from procmem.snapshots.saved import read_frames
from procmem.snapshots.snapshot import snapshot_of

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

__all__ = ["gather"]

JOB = "__import__('procmem.cluster.hosts', fromlist=['']).read_host(choice)"
"""What a host runs. A function of procmem could not be unpickled where procmem is missing, and a
worker of Dask that cannot unpickle a job closes its connection and never answers."""

CONNECT = 20
"""Seconds to wait for a scheduler of Dask."""


def gather(
    hosts: Any = None,
    *,
    pids: Iterable[int] = (),
    names: Iterable[str] = (),
    users: Iterable[str] = (),
    groups: Iterable[str] = (),
    detail: str = "smaps",
    timeout: float = 60.0,
    root: str = "/proc",
) -> Gathered:
    """Takes snapshots of the chosen processes on many hosts at about the same time.

    Chosen are processes that fit one of each kind that is given. A host that fails, does not answer
    in time or lacks procmem is in `left_out`, and does not stop the others.

    Args:
        hosts: a `distributed.Client`, or the address of a scheduler of Dask: one job on each host
            that has workers. Or an executor of concurrent.futures, which runs one job, or several
            executors by the names of their hosts. None: this host alone, without any of these.
        pids: these PIDs, on each host.
        names: processes of these names, as `procmem top` shows them.
        users: processes of these effective users, by name or number.
        groups: processes of these control groups, services or containers, and of those below.
        detail: "maps", "residency" or "smaps"; see Process.snapshot().
        timeout: seconds to wait for all hosts.
        root: the /proc to read, on each host.

    Raises:
        BadArgument: nothing is chosen; hosts, detail or timeout is not one of the above.
        MissingExtra: Dask is not installed here.
        OSError: the scheduler cannot be reached.

    >>> import os, procmem
    >>> found = procmem.gather(pids=[os.getpid()])
    >>> found[0].pid == os.getpid(), found.left_out, found.outliers()
    (True, (), [])
    """
    choice = HostChoice(
        tuple(pids), tuple(names), tuple(users), tuple(groups), detail, os.fspath(root)
    )
    if not (choice.pids or choice.names or choice.users or choice.groups):
        raise BadArgument("nothing is chosen: give pids, names, users or groups")
    if detail not in DETAILS:
        raise BadArgument(f"detail must be one of {', '.join(DETAILS)}, not {detail!r}")
    if not 0 < timeout < 1e9:
        raise BadArgument("timeout must be seconds above 0")
    if hosts is None:
        return joined({"": read_host(tuple(choice))}, [])
    with executors(hosts) as sites:
        return over(sites, choice, timeout)


@contextlib.contextmanager
def executors(hosts: Any) -> Iterator[Mapping[str, Executor]]:
    """An executor for each host, by its name or address."""
    if isinstance(hosts, str):
        try:
            from distributed import Client
        except ImportError:
            raise MissingExtra("distributed", "gathering over a cluster of Dask") from None
        with Client(hosts, timeout=CONNECT, set_as_default=False) as client:
            yield of_client(client)
    elif isinstance(hosts, Executor):
        yield {"": hosts}
    elif hasattr(hosts, "scheduler_info"):
        yield of_client(hosts)
    elif hasattr(hosts, "items"):
        yield dict(hosts)
    else:
        raise BadArgument(
            "hosts must be a Client of Dask, the address of a scheduler, an executor, executors by "
            f"host, or None, not {type(hosts).__name__}"
        )


def of_client(client: Any) -> dict[str, Executor]:
    """An executor for each host that has workers; its job goes to any worker of that host."""
    workers: dict[str, list[str]] = {}
    for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        workers.setdefault(worker["host"], []).append(address)
    how = {"pure": False, "retries": 0, "allow_other_workers": False}
    return {
        host: client.get_executor(workers=addresses, **how) for host, addresses in workers.items()
    }


def over(sites: Mapping[str, Executor], choice: HostChoice, timeout: float) -> Gathered:
    """Reads all hosts, and waits for them until the time is up."""
    deadline = time.monotonic() + timeout
    answers: dict[str, dict[str, Any]] = {}
    left_out = []
    waiting = {}
    for host, executor in sites.items():
        try:
            waiting[executor.submit(eval, JOB, {"choice": tuple(choice)})] = host
        except Exception as error:  # noqa: BLE001 - another host's trouble does not stop the others
            left_out.append(HostLeftOut(host, reason_of(error)))
    while waiting:
        done, _ = wait(waiting, max(deadline - time.monotonic(), 0), FIRST_COMPLETED)
        if not done:
            break
        for future in done:
            host = waiting.pop(future)
            try:
                answers[host] = future.result()
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                left_out.append(HostLeftOut(host, reason_of(error)))
    for future, host in waiting.items():
        future.cancel()
        left_out.append(HostLeftOut(host, f"no answer within {timeout:g} s"))
    return joined(answers, left_out)


def reason_of(error: BaseException) -> str:
    """Why a host gave nothing, in one line."""
    said = " ".join(str(error).split())
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "procmem":
        return f"procmem, or this version of it, is not installed there: {said}"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def joined(answers: Mapping[str, dict[str, Any]], left_out: list[HostLeftOut]) -> Gathered:
    """All hosts' answers; of two that are the same machine, the first counts."""
    seen: dict[str, str] = {}
    labels = {host: label_of(host, answers) for host in answers}
    processes, unread, hosts = [], [], []
    for host in sorted(answers):
        answer, label = answers[host], labels[host]
        if answer["machine"] in seen:
            reason = f"shows the same processes as {seen[answer['machine']]}"
            left_out.append(HostLeftOut(label, reason))
            continue
        try:
            theirs = [
                GatheredProcess(label, pid, name, user, snapshot_of(moment))
                for pid, name, user, data in answer["taken"]
                for moment in read_frames(io.BytesIO(data), label)
            ]
        except ParseError as error:
            reason = f"procmem {answer['version']} there sent what this version cannot read"
            left_out.append(HostLeftOut(label, f"{reason}: {error}"))
            continue
        seen[answer["machine"]] = label
        hosts.append(label)
        processes += theirs
        unread += [UnreadProcess(label, *row) for row in answer["unread"]]
    return Gathered(processes, tuple(hosts), tuple(sorted(left_out)), tuple(unread))


def label_of(host: str, answers: Mapping[str, dict[str, Any]]) -> str:
    """The host's own name; with the name that the caller knows it by, if others have it, too."""
    name = str(answers[host]["host"])
    same = [other for other, answer in answers.items() if answer["host"] == name]
    return name if len(same) == 1 else f"{name} ({host})"
