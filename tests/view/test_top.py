"""What is said about the process and the group that use most."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from procmem.units import MiB
from procmem.view.top import group_sentence, most_sentence


def process(pid: int, rss: int, pss: int | None) -> Any:
    return SimpleNamespace(pid=pid, name="worker", rss=rss, pss=pss, freed=None)


def group(name: str, rss: int, pss: int | None, unread: tuple[int, ...] = ()) -> Any:
    class Group(SimpleNamespace):
        def __len__(self) -> int:
            return 1

    return Group(name=name, rss=rss, pss=pss, freed=None, unread=unread)


def test_one_that_can_not_be_read_may_use_more() -> None:
    two = [process(7, 9 * MiB, 8 * MiB), process(8, 4 * MiB, 3 * MiB)]
    assert most_sentence(two) == "worker (7) uses most: 8 MiB PSS."
    small, large = process(9, 8 * MiB, None), process(10, 64 * MiB, None)
    assert most_sentence([*two, small]) == "worker (7) uses most: 8 MiB PSS."
    assert most_sentence([*two, small, large]) == (
        "Of the 2 processes that could be read, worker (7) uses most: 8 MiB PSS."
    )
    assert most_sentence([two[0], large]) == "Only worker (7) could be read: 8 MiB PSS."
    assert most_sentence([large]) == ""


def test_so_may_a_group() -> None:
    mine = group("me", 9 * MiB, 8 * MiB)
    others = group("root", 64 * MiB, MiB, (1, 2))
    assert group_sentence([mine]) == "me uses most: 8 MiB PSS in 1 process."
    assert group_sentence([mine, others]) == (
        "Of what could be read, me uses most: 8 MiB PSS in 1 process."
    )
    others.rss = 8 * MiB
    assert group_sentence([mine, others]) == "me uses most: 8 MiB PSS in 1 process."
