"""What docs/grading.md says of the vocabulary of checks."""

from __future__ import annotations

import inspect
import re

import pytest

import procmem.grade
from procmem.grade.checks import facts
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/grading.md").read_text()
LISTED = PAGE.partition("## What a check can ask")[2].partition("## Minute 8")[0]


def written(name: str) -> list[str]:
    """The parameters that the page gives a function."""
    found = re.search(rf"`{name}\(([^`]*)\)`", LISTED)
    assert found is not None, f"docs/grading.md does not list {name}()"
    parts = [part.partition("=")[0].strip().lstrip("*") for part in found[1].split(", ")]
    return [part for part in parts if part]


FUNCTIONS = sorted(
    {name for name in facts.__all__ if inspect.isfunction(getattr(facts, name))}
    | {"malloc_state", "not_possible", "only", "partly", "pieces", "predicted", "verify", "walk"}
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_stands_there_with_its_parameters(name: str) -> None:
    signature = inspect.signature(getattr(procmem.grade, name))
    assert written(name) == list(signature.parameters), name
