"""Pages whose examples need something that not every machine has."""

from __future__ import annotations

import pytest

from procmem.experiments import Specimen


@pytest.fixture(autouse=True)
def can_run(request: pytest.FixtureRequest) -> None:
    """Skips what can't be as the page has it, with the reason."""
    if request.path.name == "malloc.md":
        with Specimen(libc=True) as specimen:
            step = specimen.malloc(100)
        if not step.exact:
            pytest.skip(f"this C library is not the glibc that the model knows: {step.reason}")
