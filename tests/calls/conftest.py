"""A file to map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.targets import PAGE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "four pages"
    path.write_bytes(b"".join(bytes([65 + page]) * PAGE for page in range(4)))
    return path
