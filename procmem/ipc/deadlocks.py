"""Which threads can never go on, from what each waits for. Plain data, no process is read.

A thread waits for several things at once (poll(2)), and each of them may be done by several
processes (a pipe with two writers): any of them suffices. So a thread is stuck only if nobody who
could end one of its waits can ever run, and the stuck threads are the largest set in which each
waits only for others of the set: start with all that wait, and drop those that somebody outside
can help, until nothing changes.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Waiter", "cycles_of", "stuck_threads"]


class Waiter(NamedTuple):
    """A thread that waits.

    Attributes:
        tid, pid: its IDs.
        processes: those that could end its wait, by any of their threads.
        threads: threads that could, each itself: owners of locks.
    """

    tid: int
    pid: int
    processes: frozenset[int]
    threads: frozenset[int]


def stuck_threads(waiters: Iterable[Waiter], threads: Mapping[int, Iterable[int]]) -> set[int]:
    """The IDs of the threads that nobody outside of their set can help.

    Args:
        waiters: the threads that wait and have no other way out.
        threads: for each process that was seen the IDs of its threads; one that is missing was not
            seen, so it may do anything.

    >>> a = Waiter(1, 1, frozenset({2}), frozenset())
    >>> b = Waiter(2, 2, frozenset({1}), frozenset())
    >>> c = Waiter(3, 3, frozenset({1, 4}), frozenset())
    >>> stuck_threads([a, b, c], {1: [1], 2: [2], 3: [3], 4: [4]})
    {1, 2}
    """
    listed = {waiter.tid: waiter for waiter in waiters}
    stuck = set(listed)
    # Whoever waits for a process or a thread is asked again when that can run.
    by_process: dict[int, list[int]] = {}
    by_thread: dict[int, list[int]] = {}
    for waiter in listed.values():
        for pid in waiter.processes:
            by_process.setdefault(pid, []).append(waiter.tid)
        for tid in waiter.threads:
            by_thread.setdefault(tid, []).append(waiter.tid)
    freed: list[int] = []

    def free(tids: Iterable[int]) -> None:
        for tid in tids:
            if tid in stuck:
                stuck.discard(tid)
                freed.append(tid)

    for pid, asking in by_process.items():
        if pid not in threads or any(tid not in listed for tid in threads[pid]):
            free(asking)
    for tid, asking in by_thread.items():
        if tid not in listed:
            free(asking)
    while freed:
        tid = freed.pop()
        free(by_thread.get(tid, ()))
        free(by_process.get(listed[tid].pid, ()))
    return stuck


def cycles_of(
    stuck: set[int], waiters: Iterable[Waiter], threads: Mapping[int, Iterable[int]]
) -> list[list[int]]:
    """The sets of processes that wait for each other, each ascending, by their first PID.

    Args:
        stuck: as stuck_threads() returns it.
        waiters: as there.
        threads: as there.

    >>> a = Waiter(1, 1, frozenset({1}), frozenset())
    >>> b = Waiter(2, 2, frozenset({1}), frozenset())
    >>> cycles_of({1, 2}, [a, b], {1: [1], 2: [2]})
    [[1]]
    """
    graph: dict[int, list[int]] = {}
    owner: dict[int, int] = {}
    for waiter in waiters:
        if waiter.tid not in stuck:
            continue
        owner[waiter.tid] = waiter.pid
        next_ones = [tid for pid in waiter.processes for tid in threads.get(pid, ())]
        next_ones += waiter.threads
        graph[waiter.tid] = [tid for tid in next_ones if tid in stuck]
    found = {
        tuple(sorted({owner[tid] for tid in group}))
        for group in components(graph)
        if len(group) > 1 or group[0] in graph[group[0]]
    }
    return [list(pids) for pids in sorted(found)]


def components(graph: Mapping[int, list[int]]) -> list[list[int]]:
    """The strongly connected components of a graph: Tarjan's algorithm, without recursion."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on_stack: set[int] = set()
    stack: list[int] = []
    found: list[list[int]] = []
    for root in graph:
        if root in index:
            continue
        work = [(root, iter(graph[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(graph[other])))
                    break
                if other in on_stack:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        group.append(member)
                        if member == node:
                            break
                    found.append(group)
    return found
