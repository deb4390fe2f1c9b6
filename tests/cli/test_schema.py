"""procmem schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from procmem.schemas import NAMES, schema

if TYPE_CHECKING:
    from tests.support.commands import Run


def test_it_lists_the_commands(run: Run) -> None:
    assert run("schema").out.splitlines() == list(NAMES)


def test_it_prints_a_schema(run: Run) -> None:
    assert json.loads(run("schema", "maps").out) == schema("maps")
    assert json.loads(run("schema", "maps", "by").out) == schema("maps by")


def test_a_name_that_is_none(run: Run) -> None:
    ran = run("schema", "mapz")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "maps by" in ran.err
