"""The ELF objects that a target has loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import procmem

if TYPE_CHECKING:
    import subprocess

    from procmem.elf.loaded import LiveObject, LiveSection
    from tests.support.targets import Target

__all__ = ["holding", "named", "objects_of", "own"]


def objects_of(target: Target | subprocess.Popen[bytes]) -> list[LiveObject]:
    return procmem.Process(target.pid).objects()


def own(target: Target) -> LiveObject:
    """The object that holds the target's main()."""
    return holding(objects_of(target), target.truths.main)


def holding(objects: list[LiveObject], address: int) -> LiveObject:
    found = [live for live in objects if any(start <= address < end for start, end in live.pieces)]
    assert len(found) == 1
    return found[0]


def named(live: LiveObject, name: str) -> LiveSection:
    (found,) = [section for section in live.sections if section.name == name]
    return found
