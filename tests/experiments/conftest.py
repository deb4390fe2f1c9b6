"""Fixtures of the tests of experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.errors import Unsupported
from procmem.experiments import Specimen
from procmem.experiments.specimen.libc import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def specimen() -> Iterator[Specimen]:
    with Specimen() as one:
        yield one


@pytest.fixture
def s() -> Iterator[Specimen]:
    try:
        made = Specimen(libc=True)
    except Unsupported as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture
def glibc(s: Specimen) -> Specimen:
    found = verdict()
    if found.malloc or found.threads:
        pytest.skip(found.malloc or found.threads or "")
    return s
