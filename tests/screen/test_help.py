"""The help names every key that is bound."""

from __future__ import annotations

import re

import pytest

from procmem.screen.app import TopScreen
from procmem.screen.help import KEYS, help_rows
from procmem.screen.lines import ScreenRows
from procmem.screen.tables import TextPiece
from procmem.view.names import cells

NAMES = {
    "question_mark": "?", "slash": "/", "space": "Space", "escape": "Esc", "tab": "Tab",
    "left_square_bracket": "[", "right_square_bracket": "]", "plus": "+", "minus": "-",
    "ctrl+c": "Ctrl-C", "ctrl+z": "Ctrl-Z", "backspace": "Backspace", "enter": "Enter",
    "home": "Home", "end": "End", "f1": "F1", "up": "arrows", "down": "arrows",
    "pageup": "page keys", "pagedown": "page keys",
}  # fmt: skip
UNSAID = {"equals_sign", "shift+tab"}
"""The same key as another, with or without Shift."""


def test_every_key_is_explained() -> None:
    said = " ".join(key for key, what in KEYS if what)
    for binding in [*TopScreen.BINDINGS, *ScreenRows.BINDINGS]:
        for key in binding.key.split(","):  # type: ignore[union-attr]
            if key not in UNSAID and not key.isdigit():
                word = NAMES.get(key, key)
                assert re.search(rf"(^|[ ,]){re.escape(word)}($|[ ,])", said), key


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_it_fits(width: int) -> None:
    for line in help_rows(width).lines:
        text = line.text if isinstance(line, TextPiece) else line
        assert cells(text) <= max(width, 44)
