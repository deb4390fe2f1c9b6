"""What a command really prints fits its schema, and nothing that is wrong anywhere in it does."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.cli import watch
from procmem.grade.grading.client import end_servers
from procmem.process import Process
from procmem.schemas import NAMES, schema
from tests.support.labs_made import make_lab, make_submission
from tests.support.schemas import accepted, complaints, fits, sample, spoilt

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target

ON_A_PROCESS = {
    "maps": ["maps --smaps", "maps --fast", "maps --zeros"],
    "maps by": ["maps --by kind", "maps --by path", "maps --by use"],
    "threads": ["threads"],
    "reconcile": ["reconcile"],
    "family": ["family"],
    "sections": ["sections", "sections --totals", "sections --bridge"],
    "pages": ["pages", "pages --tables"],
    "heap": ["heap --sizes"],
    "snapshot": ["snapshot --heap", "snapshot --detail maps"],
    "top": ["top --fast"],
    "top by": ["top --fast --by user"],
    "cache": ["cache"],
    "container": ["container"],
    "gather": ["gather --pid"],
    "pipes": ["pipes"],
    "shm": ["shm"],
    "why": ["why"],
}
"""Commands that take a process last, by the names of their schemas."""

WITHOUT = {
    "doctor": ["doctor"],
    "top memory": ["top --memory"],
    "experiment": ["experiment lazy-allocation"],
    "experiment list": ["experiment"],
    "lab list": ["lab list"],
    "size": ["size /proc/self/exe"],
}
"""Commands that take none."""

CHECKS = """
from procmem.grade import points

@points(2, "the file says yes", hint="Write yes into it.")
def test_yes(submission):
    assert submission.read("it.txt").strip() == "yes"
"""


class Printing:
    """Runs a command so that it has something to print."""

    def __init__(
        self, run: Run, target: Target, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.run = run
        self.target = target
        self.place = place
        self.monkeypatch = monkeypatch

    def of(self, name: str) -> list[Any]:
        """What the command prints as JSON, once for each way in which it is called here."""
        if name in WITHOUT:
            return [self.printed(*words.split()) for words in WITHOUT[name]]
        if name in ON_A_PROCESS:
            return [self.printed(*line.split(), self.target.pid) for line in ON_A_PROCESS[name]]
        own: Callable[[], Any] = getattr(self, name.replace(" ", "_"))
        return [own()]

    def printed(self, *words: object) -> Any:
        ran = self.run(*words, "--json")
        assert ran.out, ran.err
        return json.loads(ran.out)

    def query(self) -> Any:
        return self.printed("query", self.target.pid, f"{self.target.truths.main:x}")

    def diff(self) -> Any:
        before, after = self.place / "before", self.place / "after"
        self.run("snapshot", "--heap", self.target.pid, "-o", before)
        self.target.touch(self.target.map(7))
        self.run("snapshot", "--heap", self.target.pid, "-o", after)
        return self.printed("diff", before, after)

    def watch(self) -> Any:
        with Process(self.target.pid) as process:
            before = process.snapshot()
            self.target.touch(self.target.map(7))
            changed = procmem.diff(before, process.snapshot())
        self.monkeypatch.setattr(watch, "watch", lambda *_, **__: changes(changed))
        lines = self.run("watch", self.target.pid, "--json").out.splitlines()
        assert json.loads(lines[1]) == {"ended": "it exited"}
        return json.loads(lines[0])

    def record_report(self) -> Any:
        file = self.place / "recording"
        self.run("record", "self", "-o", file, "--for", "0.1", "--quiet")
        return self.printed("record", "--report", file)

    def trace(self) -> Any:
        file = self.place / "trace"
        self.run("trace", "--malloc", "--json", "-o", file, "--", "true")
        return json.loads(file.read_text())

    def lab(self) -> tuple[Path, Path]:
        lab = make_lab(self.place / "lab", CHECKS, 'files = ["it.txt"]\nprogram = ["cat"]\n')
        make_submission(self.place / "all" / "ada", {"it.txt": "no"})
        return lab.directory, self.place / "all"

    def lab_check(self) -> Any:
        lab, handed_in = self.lab()
        return self.printed("lab", "check", handed_in / "ada", "--lab", lab)

    def grade(self) -> Any:
        return self.printed("grade", *self.lab(), "-o", self.place / "results")


def changes(changed: procmem.Diff) -> Generator[procmem.Diff, None, str]:
    yield changed
    return "it exited"


@pytest.fixture
def printing(
    run: Run, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Printing]:
    ends = os.pipe()  # so that there is one
    yield Printing(run, target, tmp_path, monkeypatch)
    for fd in ends:
        os.close(fd)
    end_servers()


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_real_output_fits_and_spoilt_output_does_not(
        self, name: str, printing: Printing
    ) -> None:
        for value in printing.of(name):
            if name == "container" and not value:
                pytest.skip("no memory control group here")
            assert complaints(name, value) == []
            assert accepted(name, value) == []

    def test_no_field_of_the_schema_takes_what_is_wrong(self, name: str) -> None:
        *_, value = sample(schema(name))  # of two the last: of watch its end, the other is a diff
        assert complaints(name, value) == []
        assert len([*spoilt(name, value)]) > 2
        assert [what for what, one in spoilt(name, value) if fits(name, one)] == []


def test_what_spoils() -> None:
    new, pages = "a key that is new", {"start": 4096, "zeros": 0}
    value = [{**next(sample(schema("maps")))[0], "zeros": [pages]}]
    found = dict(spoilt("maps", value))
    assert found["$.*.zeros.*: start is missing"][0]["zeros"] == [{"zeros": 0}]
    assert found[f"$.*.zeros.*: {new}"][0]["zeros"] == [{**pages, new: 1}]
    assert found["$.*.zeros.*.zeros: a negative number"][0]["zeros"] == [{**pages, "zeros": -1}]
    assert found["$.*.zeros.*.zeros: a value of type string"][0]["zeros"][0]["zeros"] == "text"
    assert value[0]["zeros"] == [pages], "the value itself stays as it is"
    assert accepted("maps", value) == []
