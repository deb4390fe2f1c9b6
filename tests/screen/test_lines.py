"""Lines of the screen: styles, cuts, cells."""

from __future__ import annotations

import pytest

from procmem.picture.palette import TONES
from procmem.screen.lines import cut, strip_of, style_of
from procmem.screen.tables import TextPiece


def test_styles() -> None:
    assert style_of("").color is None
    assert style_of("bold").bold
    for tone in TONES.values():
        color = style_of(f"color{tone.ansi}").color
        assert color is not None
        assert color.number == tone.ansi
    # A selected row is seen without colours.
    assert style_of("color137", True).color is None
    assert style_of("color137", True).reverse


def test_a_line_is_as_wide_as_the_screen() -> None:
    for width in (1, 5, 80):
        strip = strip_of([TextPiece("日本語"), TextPiece("[red]x[/]", "bold")], width)
        assert strip.cell_length == width
    assert strip_of([TextPiece("[red]x")], 6).text == "[red]x"


@pytest.mark.parametrize("width", [1, 4, 6, 20])
def test_what_does_not_fit_is_cut(width: int) -> None:
    pieces = cut([TextPiece("abc", "bold"), TextPiece("defghij")], width)
    text = "".join(piece.text for piece in pieces)
    assert len(text) <= width
    if width == 6:
        assert text == "abc…"
