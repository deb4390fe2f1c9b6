"""procmem gather: which processes differ, and in what."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from procmem.experiments import Specimen
from tests.support.specimens import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run

NOBODY = 2**22 + 1


@pytest.fixture
def workers() -> Iterator[list[Specimen]]:
    """Six processes with a mapping each; the third has touched 50 pages more."""
    with ExitStack() as stack:
        made = [stack.enter_context(Specimen()) for _ in range(6)]
        for number, one in enumerate(made):
            area = one.mmap(pages=100).mapping
            assert area is not None
            one.touch(area, pages=60 if number == 2 else 10)
        yield made


def words(workers: list[Specimen]) -> list[str]:
    return [word for one in workers for word in ("--pid", str(one.pid))]


def test_the_table(run: Run, workers: list[Specimen]) -> None:
    ran = run("gather", *words(workers))
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("6 processes on 1 host. 1 differs from the others:\n")
    more = 50 * PAGE // 1024
    rows = [line.split() for line in ran.out.splitlines()]
    whole = next(row for row in rows if "whole" in row)
    assert whole[:2] == [os.uname().nodename, str(workers[2].pid)]
    # Of the files that it maps others may map more or fewer meanwhile.
    assert whole[-3].startswith("+")
    part = next(row for row in rows if row[:1] == ["anon"])
    assert part == ["anon", *[f"+{more}"] * 3]
    region = next(row for row in rows if len(row) == 6 and row[2] == "rw-p")
    assert region[3:5] == [str(100 * PAGE // 1024), str(60 * PAGE // 1024)]
    assert "Why they differ is not known." in ran.out


def test_columns_units_and_bounds(run: Run, workers: list[Specimen]) -> None:
    ran = run("gather", "--columns", "pid,memory,rss", "--units", "B", *words(workers))
    assert ran.out.splitlines()[2].split() == ["PID", "Memory", "RSS"]
    assert f"+{50 * PAGE}" in ran.out
    ran = run("gather", "--least", "1M", *words(workers))
    assert ran.out == "6 processes on 1 host. None differs from the others.\n"
    ran = run("gather", "--columns", "nonsense", *words(workers))
    assert ran.status == 2


def test_json(run: Run, workers: list[Specimen]) -> None:
    ran = run("gather", "--json", *words(workers))
    assert (ran.status, ran.err) == (0, "")
    (plain,) = json.loads(ran.out)
    assert [one["pid"] for one in plain["processes"]] == sorted(one.pid for one in workers)
    found = {one["counter"]: one for one in plain["outliers"] if one["kind"] == "anon"}
    assert {one["pid"] for one in found.values()} == {workers[2].pid}
    assert {one["difference"] for one in found.values()} == {50.0 * PAGE}
    assert {"rss", "uss"} <= found.keys()


def test_a_row_for_each_process(run: Run, workers: list[Specimen]) -> None:
    ran = run("gather", "--format", "csv", "--columns", "pid,swap", *words(workers))
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.split() == ["pid,swap", *(f"{one.pid},0" for one in sorted_by_pid(workers))]


def sorted_by_pid(workers: list[Specimen]) -> list[Specimen]:
    return sorted(workers, key=lambda one: one.pid)


def test_two_are_not_compared(run: Run, workers: list[Specimen]) -> None:
    ran = run("gather", *words(workers[1:3]))
    assert ran.out == "2 processes on 1 host. Fewer than 3 processes are not compared.\n"


def test_what_could_not_be_read_is_named(run: Run, workers: list[Specimen]) -> None:
    ran = run("gather", "--pid", NOBODY, *words(workers[:1]))
    assert ran.status == 1
    host = os.uname().nodename
    assert ran.err == f"procmem gather: {host}: process {NOBODY}: no such process\n"
    ran = run("gather", "--name", f"nobody-{os.getpid()}")
    assert (ran.status, ran.err) == (1, "procmem gather: no process fits\n")


def test_usage(run: Run) -> None:
    for wrong in (
        [], ["--pid", "x"], ["--pid", "1", "--least", "x"], ["--pid", "1", "--timeout", "0"],
        ["--pid", "1", "--json", "--units", "B"],
    ):  # fmt: skip
        ran = run("gather", *wrong)
        assert ran.status == 2
        assert ran.err.count("\n") == 1


def test_a_scheduler_that_is_not_there(run: Run) -> None:
    pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    ran = run("gather", "no-such-protocol://x", "--pid", os.getpid())
    assert ran.status == 1
    assert ran.err.startswith("procmem gather: no-such-protocol://x: ")
    assert ran.err.count("\n") == 1
