from __future__ import annotations

import pytest

from tests.support.allocating import built

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of random histories, compiled."""
    return built(str(tmp_path_factory.mktemp("allocating")))
