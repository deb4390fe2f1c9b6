"""Processes that wait, while the kernel takes pages of files and others begin to share them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from tests.support.targets import Mapping, TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem import Process
    from tests.support.targets import Commands

__all__ = ["at_rest", "pin_files", "undisturbed"]

T = TypeVar("T")
U = TypeVar("U")


def at_rest(process: Process, read: Callable[[], T], *figures: str) -> T:
    """What a function returns that ran while the pages of a waiting process stayed the same.

    The kernel may drop clean pages of files at any time; whoever starts or ends another process
    changes the shares of their pages.

    Args:
        process: it.
        read: reads the process, perhaps more than once.
        figures: of smaps_rollup, which have to stay the same; none: Rss.
    """
    names = figures or ("Rss",)

    def shown() -> list[object]:
        rollup = process.rollup()
        return [rollup[name] for name in names]

    for _ in range(300):
        before = shown()
        found = read()
        if shown() == before:
            return found
    raise AssertionError("the pages of a process that waits never kept still")


def pin_files(process: Process, target: Commands) -> None:
    """The kernel takes no page of a file from a target any more, as far as it may lock memory."""
    for region in process.maps():
        if region.inode:
            with contextlib.suppress(TargetError):
                target.lock(Mapping(region.start, region.size))


def undisturbed(truth: Callable[[], T], found: Callable[[], U]) -> tuple[T, U]:
    """What is compared, read before and after the other reading until it is the same.

    For readings that at_rest() can't judge: by PSS, by a page's frame. What is wrong of a process
    that keeps still is wrong the first time.
    """
    for _ in range(300):
        before, seen = truth(), found()
        if truth() == before:
            break
    return before, seen
