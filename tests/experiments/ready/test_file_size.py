"""The experiment file-size."""

from __future__ import annotations

import pytest

from procmem import MiB, experiments
from procmem.errors import BadArgument
from tests.support.stories import claims, story


def test_when_the_sizes_differ() -> None:
    told = story("file-size")
    if told.skipped:
        pytest.skip(told.skipped)
    seen = claims(told)
    assert seen["fwrite(3) of 1,000 bytes: ftell(3)"] == 1000
    assert seen["after fflush(3), by stat(2)"] == 1000
    assert seen["write one byte there: by stat(2)"] == MiB + 1
    assert seen["a pipe with 5 bytes in it: fseek(3) to its end"] == "ESPIPE"


def test_other_sizes() -> None:
    assert experiments.file_size(size=4095).agrees
    for size in (0, 4096):
        with pytest.raises(BadArgument):
            experiments.file_size(size=size)
