"""Fixtures of tests of grading."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., bytes]:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")

    def compile_it(source: str, *options: str, suffix: str = ".c") -> bytes:
        made, came = tmp_path / "compiled.out", tmp_path / f"compiled{suffix}"
        came.write_text(source)
        subprocess.run(["gcc", *options, "-o", made, came], check=True)
        return made.read_bytes()

    return compile_it
