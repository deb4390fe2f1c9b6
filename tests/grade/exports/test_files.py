"""All formats by their names."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from procmem.grade.exports import (
    FORMATS,
    text,
    written,
)
from tests.support.grades import MIXED, SECRET, TRACE

if TYPE_CHECKING:
    from procmem.grade.results import Grade


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_valid_utf8_without_controls(grade: Grade, form: str) -> None:
    told = written(grade, form).decode("utf-8")
    assert not [char for char in told if not (char.isprintable() or char in "\n\t")]
    assert told == written(grade, form).decode("utf-8")


@pytest.mark.parametrize("form", [*FORMATS, "text"])
def test_what_a_student_may_not_see_is_in_no_format(form: str) -> None:
    told = text(MIXED) if form == "text" else written(MIXED, form).decode()
    if form == "classroom":
        told = base64.b64decode(told).decode()
    assert TRACE not in told
    if form == "gradescope":  # it hides the whole test
        assert [t["visibility"] for t in json.loads(told)["tests"] if SECRET in str(t)] == [
            "hidden"
        ]
    else:
        assert SECRET not in told
        assert "test_secret" not in told
        assert "hidden check 1" in told or "hidden_1" in told
