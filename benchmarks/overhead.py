"""Grading: what grade() takes above building a submission and running its program.

The baseline copies the directory, calls make, and runs the program on a pipe. Elapsed times, since
processes wait for each other; both are measured in turn, so that other load affects both alike.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.compare import Row, compare
from benchmarks.targets import CantMeasure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.compare import Effort

__all__ = ["overhead"]

BUDGET = 0.150
"""Seconds that grading may take above building and running."""

SOURCE = r"""
#include <stdio.h>
#include <sys/mman.h>

int main(void)
{
    char *page;

    getchar();
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    getchar();
    page[0] = 1;
    getchar();
    return 0;
}
"""
MAKEFILE = "lazy: lazy.c\n\tcc -O1 -o lazy lazy.c\n"
CHECKS = """
import pytest
from procmem.grade import PAGE, points

@pytest.fixture(scope="module")
def shots(program):
    with program.run() as run:
        found = []
        for _ in range(3):
            found.append(run.pause())
            run.answer()
        assert run.finish().status == 0
        return found

@points(1, "a page is mapped", hint="Which call maps memory?")
def test_maps(shots):
    assert (shots[1] - shots[0]).vsz == PAGE

@points(2, "the mapping is lazy", needs="test_maps")
def test_lazy(shots):
    assert (shots[1] - shots[0]).rss == 0

@points(1, "a write brings the page")
def test_touch(shots):
    assert (shots[2] - shots[1]).rss == PAGE
"""
TOML = 'title = "lazy"\nbuild = ["make"]\nprogram = ["./lazy"]\nfiles = ["lazy.c", "Makefile"]\n'


def overhead(effort: Effort) -> Iterator[Row]:
    from procmem.grade import grade

    for tool in ("make", "cc"):
        if shutil.which(tool) is None:
            raise CantMeasure(f"there is no {tool} here")
    with tempfile.TemporaryDirectory() as place:
        lab, submission = Path(place, "lab"), Path(place, "submission")
        for directory, files in (
            (lab, {"lab.toml": TOML, "checks.py": CHECKS}),
            (submission, {"lazy.c": SOURCE, "Makefile": MAKEFILE}),
        ):
            directory.mkdir()
            for name, text in files.items():
                directory.joinpath(name).write_text(text)

        def graded() -> float:
            begun = time.perf_counter()
            found = grade(lab, submission)
            taken = time.perf_counter() - begun
            assert (found.score, found.max_score, found.error) == (4, 4, None)
            return taken

        def by_hand() -> float:
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as copy:
                shutil.copytree(submission, copy, dirs_exist_ok=True)
                subprocess.run(["make"], cwd=copy, check=True, capture_output=True)
                subprocess.run(["./lazy"], cwd=copy, check=True, input=b"\n\n\n")
            return time.perf_counter() - begun

        found = compare("grade", None, {"grade()": graded, "make, run": by_hand}, effort)
        yield found.row("grade()", "make, run")
        ours, theirs = found.values["grade()"], found.values["make, run"]
        found.values["above both"] = [a - b for a, b in zip(ours, theirs, strict=True)]
        found.values["150 ms"] = [BUDGET] * len(ours)
        yield found.row("above both", "150 ms", target=1.0)
