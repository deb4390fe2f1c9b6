"""procmem heap: the sentence, the arenas, the same figures as JSON."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.units import about
from tests.support.allocating import Allocating, built

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.commands import Run

GLIBC = "CS_GNU_LIBC_VERSION" in os.confstr_names
pytestmark = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Allocating]:
    with Allocating(built(str(tmp_path)), 2) as started:
        started.go(5, 20000)
        yield started


def test_the_sentence_comes_first(run: Run, target: Allocating) -> None:
    ran = run("heap", target.pid)
    assert ran.status == 0
    heap = procmem.Process(target.pid).heap()
    sentence = " ".join(ran.out.split("\n\n")[0].split())
    assert f"malloc_trim(0) would return {about(heap.trimmable)}" in sentence
    assert "Not certain" not in ran.out
    rows = {line.split()[0] for line in ran.out.splitlines() if line}
    assert {"main", "1", "2", "total"} <= rows


def test_json_has_the_same_figures(run: Run, target: Allocating) -> None:
    (found,) = json.loads(run("heap", "--json", target.pid).out)
    info = target.info()
    assert found["in_use"] + found["tcache"] == info.uordblks
    assert found["free"] == info.fordblks
    assert [arena["system"] for arena in found["arenas"]] == [one.system for one in info.arenas]
    assert sum(one["resident"] for one in found["trim"]) == found["trimmable"]
    assert found["certain"] is True


def test_tables_fit_and_sizes_are_listed(run: Run, target: Allocating) -> None:
    ran = run("heap", "--sizes", target.pid)
    assert "Chunk, bytes" in ran.out
    narrow = run("heap", "--columns", "arena,trim", target.pid)
    assert narrow.status == 2
    chosen = run("heap", "--columns", "arena,trimmable", target.pid)
    assert chosen.status == 0
    assert "System" not in chosen.out


def test_no_heap_of_glibc_is_said(run: Run) -> None:
    with procmem.experiments.Specimen() as specimen:
        ran = run("heap", specimen.pid)
    assert ran.status == 0
    assert "No heap of glibc's malloc was found" in ran.out


def test_a_stopped_process_and_its_pages(run: Run, target: Allocating) -> None:
    ran = run("heap", "--stop", "--pages", "--arenas", target.pid)
    assert ran.status == 0
    assert "The process was stopped for " in ran.out
    assert "In use on a page" in ran.out
    assert "Largest holes" in ran.out
    (found,) = json.loads(run("heap", "--json", "--stop", "--pages", target.pid).out)
    assert found["held"] > 0
    assert found["pages"]["returned"] * found["pages"]["page_size"] == found["trimmable"]
    assert sum(part["resident"] for part in found["parts"]) + found["unexplained"] == found["rss"]
