from __future__ import annotations

import pytest

from procmem.grade.sandbox.waiting import stuck
from procmem.procfs.blocked import ThreadState


@pytest.mark.parametrize(
    "state, call, arguments, forever",
    [
        ("S", "futex", (1, 128, 2, 0, 0, 0), True),
        ("S", "futex", (1, 137, 2, 0x7FFC, 0, 0), False),  # with a timeout
        ("S", "futex", (1, 129, 2, 0, 0, 0), False),  # FUTEX_WAKE
        ("S", "wait4", (1, 0, 0, 0, 0, 0), True),
        ("S", "read", (0, 0, 0, 0, 0, 0), False),
        ("T", "wait4", (1, 0, 0, 0, 0, 0), False),
    ],
)
def test_whether_only_another_thread_can_wake_it(
    state: str, call: str, arguments: tuple[int, ...], forever: bool
) -> None:
    assert stuck(ThreadState(1, 1, state, call, arguments, 0)) is forever
