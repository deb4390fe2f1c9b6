"""gather(): reads the processes of a service on every host of a cluster."""

from __future__ import annotations

import contextlib
import io
import os
import time
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from typing import NamedTuple

from procmem.cluster.gathered import Gathered, GatheredProcess, HostLeftOut, UnreadProcess
from procmem.cluster.hosts import HostChoice, read_host
from procmem.errors import BadArgument, MissingExtra, ParseError
from procmem.snapshots.moment import DETAILS
from procmem.snapshots.saved import read_frames
from procmem.snapshots.snapshot import snapshot_of

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from typing import Any

__all__ = ["gather"]

JOB = "exec(source, here) or here['answer_of_child'](choice, seconds)"
"""What a worker runs. A function of procmem could not be unpickled where procmem is missing, and a
worker of Dask that cannot unpickle a job closes its connection and never answers."""

SOURCE = """
def answer_of_child(choice, seconds):
    import marshal, subprocess, sys

    words = [sys.executable, "-W", "ignore", "-c", CHILD]
    given = marshal.dumps((sys.path, choice))
    try:
        done = subprocess.run(words, input=given, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"failed": ("TimeoutError", "reading took too long, and was ended", "")}
    if done.returncode or not done.stdout:
        said = (done.stderr.decode(errors="replace").splitlines() or [""])[-1]
        why = f"the process that reads ended with status {done.returncode}: {said}"
        return {"failed": ("ChildProcessError", why, "")}
    return marshal.loads(done.stdout)
"""
"""Reads in a process of its own: the worker may be one of those that are compared, and would have
11 MiB more than the others once it has loaded procmem."""

CHILD = """
import marshal, sys
sys.path[:], choice = marshal.load(sys.stdin.buffer)
try:
    from procmem.cluster.hosts import read_host
    answer = read_host(choice)
except Exception as error:
    name = getattr(error, "name", None)
    answer = {"failed": (type(error).__name__, str(error), name if isinstance(name, str) else "")}
sys.stdout.buffer.write(marshal.dumps(answer))
"""

CONNECT = 20
"""Seconds to wait for a scheduler of Dask."""

TRIES = 3
"""Jobs for a host, if the first ones fail or do not answer."""


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
def executors(hosts: Any) -> Iterator[Mapping[str, list[Executor]]]:
    """Executors for each host, by its name or address: of the second on they are spares."""
    if isinstance(hosts, str):
        try:
            from distributed import Client
        except ImportError:
            raise MissingExtra("distributed", "gathering over a cluster of Dask") from None
        with Client(hosts, timeout=CONNECT, set_as_default=False) as client:
            yield of_client(client)
    elif isinstance(hosts, Executor):
        yield {"": [hosts]}
    elif hasattr(hosts, "scheduler_info"):
        yield of_client(hosts)
    elif hasattr(hosts, "items"):
        yield {host: [executor] for host, executor in hosts.items()}
    else:
        raise BadArgument(
            "hosts must be a Client of Dask, the address of a scheduler, an executor, executors by "
            f"host, or None, not {type(hosts).__name__}"
        )


def of_client(client: Any) -> dict[str, list[Executor]]:
    """Executors for each host that has workers, up to three with different workers.

    A job goes to the least busy worker of its executor.
    """
    workers: dict[str, list[str]] = {}
    for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        workers.setdefault(worker["host"], []).append(address)
    how = {"pure": False, "retries": 0, "allow_other_workers": False}
    return {
        host: [
            client.get_executor(workers=addresses[first::TRIES], **how)
            for first in range(min(TRIES, len(addresses)))
        ]
        for host, addresses in workers.items()
    }


class HostJob(NamedTuple):
    """A job that was submitted.

    Attributes:
        host: as the caller calls it.
        number: how many were submitted for this host before.
    """

    host: str
    number: int


def over(sites: Mapping[str, list[Executor]], choice: HostChoice, timeout: float) -> Gathered:
    """Reads all hosts, and waits for them until the time is up.

    A host's next executor is tried if one fails, or has given no answer after a quarter of the
    time: a job that is sent to a worker that is stopped waits there.
    """
    begin = time.monotonic()
    answers: dict[str, dict[str, Any]] = {}
    reasons: dict[str, str] = {}
    waiting: dict[Future[Any], HostJob] = {}

    def submit(host: str, number: int) -> None:
        for place, executor in enumerate(sites[host][number:], number):
            left = begin + timeout - time.monotonic()
            try:
                future = executor.submit(eval, JOB, values_of_job(choice, max(left, 0.01)))
            except Exception as error:  # noqa: BLE001 - one host's trouble does not stop the others
                reasons[host] = reason_of(error)
            else:
                waiting[future] = HostJob(host, place)
                return

    for host in sites:
        submit(host, 0)
    due = [begin + timeout * part / (TRIES + 1) for part in range(1, TRIES)] + [begin + timeout]
    while waiting and due:
        done, _ = wait(waiting, max(due[0] - time.monotonic(), 0), FIRST_COMPLETED)
        if not done:
            due.pop(0)
            newest = {job.host: job.number for job in waiting.values()} if due else {}
            for host, number in newest.items():
                submit(host, number + 1)
        for future in done:
            host, number = waiting.pop(future)
            if host in answers:
                continue
            try:
                answer = future.result()
                if failed := answer.get("failed"):
                    reasons[host] = reason_in_words(*failed)
                else:
                    answers[host] = answer
                    continue
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                reasons[host] = reason_of(error)
            if host not in {job.host for job in waiting.values()}:
                submit(host, number + 1)
        for future in [one for one, job in waiting.items() if job.host in answers]:
            del waiting[future]
            future.cancel()
    for future, job in waiting.items():
        future.cancel()
        reasons.setdefault(job.host, f"no answer within {timeout:g} s")
    missing = [HostLeftOut(host, reasons[host]) for host in sites if host not in answers]
    return joined(answers, missing)


def values_of_job(choice: HostChoice, timeout: float) -> dict[str, Any]:
    """The names that JOB uses. A dictionary for each host: eval() adds to it."""
    here = {"CHILD": CHILD}
    return {"source": SOURCE, "here": here, "choice": tuple(choice), "seconds": timeout}


def reason_of(error: BaseException) -> str:
    """Why a host gave nothing, in one line."""
    module = error.name if isinstance(error, ImportError) else ""
    return reason_in_words(type(error).__name__, str(error), module or "")


def reason_in_words(error: str, message: str, module: str) -> str:
    """Why a host gave nothing.

    Args:
        error: the name of the exception's class.
        message: what it says.
        module: of an ImportError the module; else "".
    """
    said = " ".join(message.split())
    if module.partition(".")[0] == "procmem":
        return f"procmem, or this version of it, is not installed there: {said}"
    return f"{error}: {said}" if said else error


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
