"""Runs commands in this process, and on a Specimen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.cli import main
from procmem.experiments import Specimen
from tests.support.commands import Ran
from tests.support.traced import place, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.commands import Run

__all__ = ["place", "program", "run", "specimen"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""

    def ran(*words: object) -> Ran:
        try:
            status = main([str(word) for word in words])
        except SystemExit as left:  # argparse, after its message
            status = left.code if isinstance(left.code, int) else 1
        shown = capsys.readouterr()
        return Ran(status, shown.out, shown.err)

    return ran


@pytest.fixture
def specimen() -> Iterator[Specimen]:
    with Specimen() as one:
        yield one


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: its status, stdout, stderr."""

    def ran(*words: object) -> tuple[int, str, str]:
        try:
            status = main([str(word) for word in words])
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 1
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return ran
