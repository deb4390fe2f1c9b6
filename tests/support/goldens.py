"""Outputs that were looked at by eye before they were kept.

`PROCMEM_WRITE_GOLDENS=1 pytest ...` writes those that differ; look at each before it is committed.
"""

from __future__ import annotations

import os

from tests.support.paths import TESTS

__all__ = ["same_as_golden"]

FOLDER = TESTS / "fixtures" / "goldens"


def same_as_golden(name: str, text: str) -> None:
    """Compares a text with the file that was kept.

    Args:
        name: the file's path below tests/fixtures/goldens.
        text: what was made now.
    """
    path = FOLDER / name
    if os.environ.get("PROCMEM_WRITE_GOLDENS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), name
