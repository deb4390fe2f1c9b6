"""Snapshot: an immutable value that another one can be taken from."""

from __future__ import annotations

import pytest

from procmem import Process, Snapshot, parse_maps
from procmem.snapshots.moment import Moment
from procmem.snapshots.snapshot import snapshot_of


def test_it_is_immutable() -> None:
    mine = Process().snapshot("maps")
    with pytest.raises(AttributeError):
        mine.moved = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        mine.unavailable["x"] = "y"  # type: ignore[index]
    hash(mine)


def test_what_is_no_snapshot() -> None:
    with pytest.raises(TypeError):
        Process().snapshot("maps") - 3  # type: ignore[operator]


def test_it_holds_what_its_moment_does() -> None:
    moment = Moment(parse_maps(b""), source="<none>", unavailable={"memory": "not read"})
    one = snapshot_of(moment)
    assert isinstance(one, Snapshot)
    assert vars(one) == vars(moment)
    assert one == Snapshot(**vars(moment))
    assert isinstance((one - one).before, Snapshot)
