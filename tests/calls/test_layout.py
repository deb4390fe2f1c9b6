"""The pieces of a Mapping, after any changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from procmem.calls.layout import Piece, PieceTable


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.sampled_from([None, 1, 2, 3])),
        max_size=10,
    )
)
def test_layouts(changes: list[tuple[int, int, int | None]]) -> None:
    layout, model = PieceTable([Piece(0, 20, 3)]), [3] * 20
    for one, other, prot in changes:
        start, end = min(one, other), max(one, other)
        layout = layout.changed(
            start,
            end,
            lambda piece, prot=prot: None if prot is None else piece._replace(prot=prot),  # type: ignore[misc]
        )
        for at in range(start, end):
            if model[at]:
                model[at] = prot or 0
    found = [0] * 20
    for piece in layout.pieces:
        assert piece.start < piece.end
        found[piece.start : piece.end] = [piece.prot] * (piece.end - piece.start)
    assert found == model
    assert layout.mapped == sum(map(bool, model))
    assert all(a[1] < b[0] for a, b in zip(layout.spans(), layout.spans()[1:], strict=False))
