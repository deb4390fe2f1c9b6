"""Fixtures of the tests of the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.experiments import Specimen

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def specimen() -> Iterator[Specimen]:
    with Specimen() as one:
        yield one
