"""Records, the extension type below Region."""

from __future__ import annotations

import pytest

from procmem import (
    native,
)


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
