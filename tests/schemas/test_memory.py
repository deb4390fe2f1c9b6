"""What the commands on one process print is what their schemas say, and nothing else is."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from procmem.regions.counters import ATTRIBUTES
from tests.support.schemas import complaints, fits, spoilt

if TYPE_CHECKING:
    from tests.support.commands import Run
    from tests.support.targets import Target

COMMANDS = [
    ("maps", "maps"),
    ("maps", "maps --fast"),
    ("maps by", "maps --by kind"),
    ("maps by", "maps --by path"),
    ("maps by", "maps --by use"),
    ("threads", "threads"),
    ("reconcile", "reconcile"),
    ("family", "family"),
    ("sections", "sections"),
    ("sections", "sections --totals"),
    ("sections", "sections --bridge"),
    ("pages", "pages"),
    ("heap", "heap"),
]


@pytest.mark.parametrize("name, words", COMMANDS)
def test_live_output(run: Run, target: Target, name: str, words: str) -> None:
    value = json.loads(run(*words.split(), target.pid, "--json").out)
    assert value
    assert complaints(name, value) == []


@pytest.mark.parametrize(
    "name, words", [("maps", "maps --fast"), ("threads", "threads"), ("maps by", "maps --by kind")]
)
def test_what_is_spoilt_does_not_fit(run: Run, target: Target, name: str, words: str) -> None:
    value = json.loads(run(*words.split(), target.pid, "--json").out)
    wrong = spoilt(value)
    assert len(wrong) > 20
    counters = {f"{name} is missing" for name in (*ATTRIBUTES.values(), "uss", "hugetlb", "kind")}
    still = {why for why, one in wrong if fits(name, one)}
    # With other options, and on other kernels, keys of counters are absent.
    assert {why.split("/")[-1] for why in still} <= counters if name != "threads" else not still


def test_query(run: Run, target: Target) -> None:
    value = json.loads(run("query", target.pid, f"{target.truths.main:x}", "--json").out)
    assert complaints("query", value) == []
    assert not fits("query", [{**value[0], "address": "0x1000"}])


def test_size(run: Run) -> None:
    value = json.loads(run("size", "--json", sys.executable).out)
    assert complaints("size", value) == []
