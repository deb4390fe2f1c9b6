"""What the commands on one process print is what their schemas say, and nothing else is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.schemas import complaints, fits

if TYPE_CHECKING:
    from tests.support.commands import Run
    from tests.support.targets import Target


@pytest.mark.parametrize("name", ["maps", "threads", "heap", "sections", "family"])
def test_two_processes(run: Run, target: Target, name: str) -> None:
    value = json.loads(run(name, target.pid, target.pid, "--json").out)
    assert len(value) == 2
    assert complaints(name, value) == []


def test_an_address_is_a_number(run: Run, target: Target) -> None:
    value = json.loads(run("query", target.pid, f"{target.truths.main:x}", "--json").out)
    assert complaints("query", value) == []
    assert not fits("query", [{**value[0], "address": "0x1000"}])
