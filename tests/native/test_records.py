"""Records, the extension type below Region."""

from __future__ import annotations

import gc

import pytest

from procmem import Region, native


def test_a_record_that_nobody_filled_is_empty_and_harmless() -> None:
    empty = native.Record.__new__(native.Record)
    for name in (
        "start", "end", "size", "perms", "dev", "pathname", "deleted", "kind", "use", "name",
        "_reading", "_perms", "_extra0", "_index",
    ):  # fmt: skip
        with pytest.raises(AttributeError):
            getattr(empty, name)
    with pytest.raises(AttributeError):
        0 in empty  # noqa: B015
    with pytest.raises(AttributeError):
        empty._extras()


@pytest.mark.parametrize(
    "arguments",
    [(0, 64, 1), (1, 0, 1), (1, 64, -1), (0, 1, 2**40)],
)
def test_records_are_not_made_of_nonsense(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        native.make(native.Record, None, *arguments)
    with pytest.raises((TypeError, ValueError)):
        native.make("no class", None, 0, 64, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("on", [True, False])
def test_making_records_leaves_the_collector_as_it_was(on: bool) -> None:
    """It does not run meanwhile: records are in no cycle."""
    scan = native.Scan(native.MAPS, "<test>")
    scan.feed(b"1000-2000 rw-p 00000000 00:00 0 \n" * 5000)
    scan.finish()
    before = gc.isenabled()
    runs = []
    gc.callbacks.append(lambda phase, _: runs.append(phase))
    try:
        (gc.enable if on else gc.disable)()
        gc.collect()
        runs.clear()
        made = native.make(Region, object(), scan.address, scan.stride, scan.count)
        assert len(runs) <= 2  # what was due before, or is due now
        assert gc.isenabled() is on
        with pytest.raises(ValueError, match="block"):
            native.make(Region, object(), scan.address, 1, scan.count)
        assert gc.isenabled() is on
    finally:
        gc.callbacks.pop()
        (gc.enable if before else gc.disable)()
    assert len(made) == 5000
