"""gather(): executors and Dask; hosts that fail, hang, or lack procmem are named."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.cluster import gathering
from procmem.cluster.gathered import HostLeftOut
from procmem.cluster.hosts import read_host
from tests.support.dask import Cluster, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ME = os.getpid()


class Elsewhere(ThreadPoolExecutor):
    """An executor of another host: what it answers is changed."""

    def __init__(self, change: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__(1)
        self.change = change

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(lambda: self.change(read_host(args[1]["choice"])))


def answers(name: str) -> Elsewhere:
    return Elsewhere(lambda answer: {**answer, "host": name, "machine": name})


def fails(error: BaseException) -> Elsewhere:
    def change(_: Any) -> Any:
        raise error

    return Elsewhere(change)


def test_here_alone() -> None:
    found = procmem.gather(pids=[ME])
    assert [(one.host, one.pid) for one in found] == [(os.uname().nodename, ME)]
    assert (found.left_out, found.unread) == ((), ())


def test_an_executor() -> None:
    with ThreadPoolExecutor(1) as executor:
        assert [one.pid for one in procmem.gather(executor, pids=[ME])] == [ME]


def test_hosts_that_give_nothing_are_named_and_the_rest_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time is over once all have answered but the one that never will."""

    def over_early(waiting: Any, _: float, until: str) -> Any:
        return wait(waiting, 0 if len(waiting) == 1 else 60, until)

    monkeypatch.setattr(gathering, "wait", over_early)
    ended = threading.Event()
    hanging = Elsewhere(lambda _: ended.wait(600))
    old = Elsewhere(
        lambda answer: {**answer, "machine": "old", "taken": [(1, "x", "root", b"nonsense")]}
    )
    shut = ThreadPoolExecutor(1)
    shut.shutdown()
    missing = ModuleNotFoundError("No module named 'procmem.cluster'", name="procmem.cluster")
    hosts = {
        "b": answers("b"), "a": answers("a"), "again": answers("a"), "old": old, "shut": shut,
        "broken": fails(RuntimeError("out\nof order")), "bare": fails(missing), "slow": hanging,
    }  # fmt: skip
    try:
        found = procmem.gather(hosts, pids=[ME], timeout=15)
    finally:
        ended.set()
    assert [(one.host, one.pid) for one in found] == [("a (a)", ME), ("b", ME)]
    assert found.hosts == ("a (a)", "b")
    why = dict(found.left_out)
    assert why.keys() == {"a (again)", old_label(), "shut", "broken", "bare", "slow"}
    assert why["a (again)"] == "shows the same processes as a (a)"
    assert why[old_label()].startswith(f"procmem {procmem.__version__} there sent what this")
    assert why["shut"] == "RuntimeError: cannot schedule new futures after shutdown"
    assert why["broken"] == "RuntimeError: out of order"
    assert why["bare"].startswith("procmem, or this version of it, is not installed there: No mod")
    assert why["slow"] == "no answer within 15 s"


def old_label() -> str:
    return os.uname().nodename


def test_wrong_arguments() -> None:
    for words in (
        {},
        {"pids": [ME], "detail": "all"},
        {"pids": [ME], "timeout": 0},
        {"pids": [ME], "hosts": 7},
    ):
        with pytest.raises(procmem.BadArgument):
            procmem.gather(**words)


def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(procmem.MissingExtra, match="procmem-live\\[distributed\\]"):
        procmem.gather("tcp://127.0.0.1:1", pids=[ME])


def test_ctrl_c_is_not_a_host_that_failed() -> None:
    with pytest.raises(KeyboardInterrupt):
        procmem.gather({"a": fails(KeyboardInterrupt())}, pids=[ME])


@pytest.mark.slow
def test_dask_one_job_for_each_host(tmp_path: Path) -> None:
    """Hosts are addresses of workers: here 127.0.0.1 to 127.0.0.4."""
    with ExitStack() as stack:
        cluster = Cluster(stack, tmp_path)
        for _ in range(2):
            cluster.worker("--host=127.0.0.1")
        cluster.worker("--host=127.0.0.2")
        bare = tmp_path / "bare"
        bare.mkdir()
        (bare / "procmem.py").write_text("raise ModuleNotFoundError('None', name='procmem')")
        path = f"import sys; sys.path.insert(0, {str(bare)!r}); "
        cluster.worker("--host=127.0.0.3", before=path)
        stopped = cluster.worker("--host=127.0.0.4")
        from distributed import Client

        with Client(cluster.address, set_as_default=False) as client:
            wait_for(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 5)
            stopped.send_signal(signal.SIGSTOP)
            try:
                found = procmem.gather(client, pids=[ME], timeout=60)
            finally:
                stopped.send_signal(signal.SIGCONT)
            assert [one.pid for one in found] == [ME]
            assert len(found.hosts) == 1
            why = dict(found.left_out)
            assert len(why) == 3
            # They are not changed by it: another process reads.
            assert set(client.run(lambda: "procmem" in sys.modules).values()) == {False}
            assert why["127.0.0.4"] == "no answer within 60 s"
            assert "is not installed there" in why["127.0.0.3"]
            assert any(reason.startswith("shows the same processes as") for reason in why.values())
        # By its address, too.
        by_address = procmem.gather(cluster.address, pids=[ME], timeout=60)
        assert [one.pid for one in by_address] == [ME]


WORKERS = int(os.environ.get("PROCMEM_DASK_WORKERS", "5"))
"""docs/gather.md has what was measured with 200."""

PAGES = 137


GROW = """
import mmap, sys
kept = sys.modules["kept for good"] = mmap.mmap(-1, 2 * pages * mmap.PAGESIZE)
for page in range(pages):
    kept[page * mmap.PAGESIZE] = 1
"""
"""What a worker is made to do: it keeps shared memory, of which it touches the first half."""


@pytest.mark.slow
def test_dask_which_worker_differs_and_in_what(tmp_path: Path) -> None:
    """The odd worker is found to the byte; also if others die, hang, or refuse to be read."""
    patience = 60 + 5 * WORKERS
    with ExitStack() as stack:
        cluster = Cluster(stack, tmp_path)
        parent = cluster.workers(WORKERS, "--host=127.0.0.1").pid
        from distributed import Client

        client = stack.enter_context(Client(cluster.address, set_as_default=False))

        def here() -> list[str]:
            return sorted(client.scheduler_info(n_workers=-1)["workers"])

        wait_for(lambda: len(here()) == WORKERS, patience)
        # The first task of a worker starts the thread that runs its tasks.
        first = [client.submit(os.getpid, workers=[one], pure=False) for one in here()]
        pids = dict(zip(here(), client.gather(first), strict=True))
        odd, dying, *_, hanging = sorted(pids, key=lambda one: (pids[one] == parent, one))
        client.submit(exec, GROW, {"pages": PAGES}, workers=[odd]).result(patience)

        def check(gathered: procmem.Gathered, expected: list[int]) -> None:
            assert [one.pid for one in gathered] == sorted(expected)
            assert gathered.left_out == ()
            shared = [one for one in gathered.outliers(0) if one.kind == "shared memory"]
            assert {one.process.pid for one in shared} == {pids[odd]}
            found = {one.counter: one for one in shared}
            for counter, pages in (("size", 2 * PAGES), ("rss", PAGES), ("uss", PAGES)):
                one = found[counter]
                assert (one.difference, one.median) == (pages * mmap.PAGESIZE, 0)
                assert one.processes == len(expected)
            (region,) = gathered.unlike(found["rss"])
            assert (region.size, region.rss) == (2 * PAGES * mmap.PAGESIZE, PAGES * mmap.PAGESIZE)

        everyone = sorted(pids.values())
        found = procmem.gather(client, pids=everyone, timeout=patience)
        check(found, everyone)
        assert found.unread == ()
        # None of them is changed by it: another process reads.
        assert set(client.run(lambda: "procmem" in sys.modules).values()) == {False}

        os.kill(pids[hanging], signal.SIGSTOP)
        try:
            os.kill(pids[dying], signal.SIGKILL)
            wait_for(lambda: len(here()) == WORKERS - 1)
            found = procmem.gather(client, pids=everyone, timeout=patience)
        finally:
            os.kill(pids[hanging], signal.SIGCONT)
        check(found, [pid for pid in everyone if pid != pids[dying]])
        assert [one.pid for one in found.unread] == [pids[dying]]


def test_labels_and_reasons() -> None:
    answer = read_host(((ME,),))
    assert gathering.label_of("x", {"x": answer}) == answer["host"]
    assert gathering.reason_of(ValueError()) == "ValueError"
    assert HostLeftOut("a", "b").host == "a"
