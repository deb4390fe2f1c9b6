"""The set of threads that nobody can help: against a search that tries every helper."""

from __future__ import annotations

import itertools
import random

import pytest

from procmem.ipc.deadlocks import Waiter, components, cycles_of, stuck_threads


def waiter(pid: int, *others: int, owners: tuple[int, ...] = ()) -> Waiter:
    return Waiter(pid, pid, frozenset(others), frozenset(owners))


def stuck_by_search(waiters: list[Waiter], threads: dict[int, list[int]]) -> set[int]:
    """The union of all sets in which each waits only for others of the set."""
    found: set[int] = set()
    for size in range(1, len(waiters) + 1):
        for chosen in itertools.combinations(waiters, size):
            tids = {one.tid for one in chosen}
            closed = all(
                pid in threads and tids.issuperset(threads[pid])
                for one in chosen
                for pid in one.processes
            ) and all(one.threads <= tids for one in chosen)
            if closed:
                found |= tids
    return found


@pytest.mark.parametrize("seed", range(300))
def test_the_largest_set_is_found(seed: int) -> None:
    made = random.Random(seed)
    threads: dict[int, list[int]] = {}
    tid = 0
    for pid in range(1, made.randint(2, 6)):
        threads[pid] = list(range(tid + 1, tid + 1 + made.choice((0, 1, 1, 1, 2))))
        tid += len(threads[pid])
    owner = {tid: pid for pid, tids in threads.items() for tid in tids}
    waiters = [
        Waiter(
            tid,
            pid,
            frozenset(made.sample([*threads, 99], made.choice((0, 1, 1, 1, 2)))),
            frozenset(made.sample([*owner, 999], made.choice((0, 0, 0, 1)))),
        )
        for tid, pid in owner.items()
        if made.random() < 0.9
    ]
    assert stuck_threads(waiters, threads) == stuck_by_search(waiters, threads)


def test_cycles_are_the_processes_that_wait_for_each_other() -> None:
    waiters = [waiter(1, 2), waiter(2, 1), waiter(3, 2), waiter(4, 4), waiter(5, 3, 4)]
    threads = {pid: [pid] for pid in range(1, 6)}
    stuck = stuck_threads(waiters, threads)
    assert stuck == {1, 2, 3, 4, 5}
    assert cycles_of(stuck, waiters, threads) == [[1, 2], [4]]


def test_a_process_that_was_not_seen_may_do_anything() -> None:
    assert stuck_threads([waiter(1, 1, 7)], {1: [1]}) == set()
    assert stuck_threads([waiter(1, 1)], {1: [1]}) == {1}
    assert stuck_threads([waiter(1, 1)], {1: [1, 2]}) == set()


def test_only_the_owner_of_a_lock_helps() -> None:
    """Two threads of one process hold a lock each, while a third runs."""
    waiters = [
        Waiter(11, 1, frozenset(), frozenset({12})),
        Waiter(12, 1, frozenset(), frozenset({11})),
    ]
    threads = {1: [11, 12, 13]}
    stuck = stuck_threads(waiters, threads)
    assert stuck == {11, 12}
    assert cycles_of(stuck, waiters, threads) == [[1]]


def test_a_long_chain_needs_no_recursion() -> None:
    graph = {number: [number + 1] for number in range(50_000)} | {50_000: [0]}
    (group,) = components(graph)
    assert len(group) == 50_001
