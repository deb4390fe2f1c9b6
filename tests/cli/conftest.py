"""Runs commands in this process, and on a Specimen."""

from __future__ import annotations

from json import loads
from typing import TYPE_CHECKING, Any

import pytest

from procmem import schemas
from procmem.cli import main
from procmem.experiments import Specimen
from procmem.view import json
from tests.support.commands import Ran
from tests.support.schemas import complaints
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


@pytest.fixture(autouse=True)
def json_fits_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test lets a command print as JSON is held against the command's schema."""
    commands: list[str] = []
    text_of, key_of = json.json_text, schemas.rows_key

    def rows_key(command: str) -> str:
        commands.append(command)
        return key_of(command)

    def json_text(value: Any, rows: str = "") -> str:
        text = text_of(value, rows)
        if len(text) < LONGEST:
            assert complaints(commands.pop(), loads(text)) == []
        return text

    monkeypatch.setattr(json, "json_text", json_text)
    monkeypatch.setattr(schemas, "rows_key", rows_key)


LONGEST = 1_000_000
"""Characters of JSON that a test validates: a second's work."""


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
