"""Builds: what they print, how they fail, and that they end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from procmem.grade import (
    BuildFailed,
    Limits,
    Sandbox,
    Submission,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / name.replace("_c", ".c")).write_text(text)
        return tmp_path

    return make


def test_a_build_and_its_output(write: Callable[..., Path]) -> None:
    source = write(a_c="int main(void) { return 7; }", Makefile="a: a.c\n\tgcc -o a a.c\n")
    with Submission(source, build=["make"], program=["./a"], files=["a.c", "b.c"]) as submission:
        assert submission.build.ok
        assert "gcc -o a a.c" in submission.build.output
        assert submission.build.seconds > 0
        assert submission.missing == ["b.c"]
        with submission.program().run() as run:
            assert run.finish().status == 7
    assert sorted(os.listdir(source)) == ["Makefile", "a.c"]
    assert not os.path.exists(submission.directory)


def test_a_failed_build(write: Callable[..., Path]) -> None:
    source = write(a_c="int main(void) { return x; }", Makefile="a: a.c\n\tgcc -o a a.c\n")
    with Submission(source, build=["make"], program=["./a"]) as submission:
        assert submission.build.status == 2
        assert "undeclared" in submission.build.output
        with pytest.raises(BuildFailed, match="make ended with status 2") as caught:
            submission.program()
        assert caught.value.build is submission.build
    with Submission(source, build=["no-such-tool"]) as submission:
        assert submission.build.status == 127


@pytest.mark.parametrize(
    "recipe, why",
    [
        ("while :; do :; done", "did not finish within"),
        ("sleep 1000", "did not finish within"),
        ("yes", "printed more"),
        ("kill -9 $$$$PPID", ""),
    ],
)
def test_builds_that_do_not_end(write: Callable[..., Path], recipe: str, why: str) -> None:
    source = write(Makefile=f"all:\n\t{recipe}\n")
    # However busy the machine is, yes(1) prints too much before its time is over.
    sandbox = Sandbox(building=Limits(cpu=20, wall=30 if recipe == "yes" else 1))
    with Submission(source, build=["make"], sandbox=sandbox) as submission:
        assert not submission.build.ok
        assert why in submission.build.why
        assert len(submission.build.output) <= Limits().output
