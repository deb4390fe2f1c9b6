"""What traces need, and their calls by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem import SyscallError, trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem import MemoryCall

__all__ = ["may_trace", "named", "seen"]


def may_trace() -> bool:
    try:
        trace(["true"])
    except SyscallError:
        return False
    return True


def seen(program: str) -> None:
    """Skips where malloc can't be seen."""
    breakpoints = trace([program, "nothing"], malloc=True).breakpoints
    if not any(one.names for one in breakpoints):
        pytest.skip(f"malloc can't be seen here: {[one.reason for one in breakpoints]}")


def named(calls: Sequence[MemoryCall], name: str) -> list[MemoryCall]:
    return [call for call in calls if call.name == name]
