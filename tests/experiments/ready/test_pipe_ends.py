"""The experiment pipe-ends."""

from __future__ import annotations

import pytest

from procmem.experiments.ready.pipe_ends import ending, text
from tests.support.stories import claims, story


def test_who_keeps_a_pipe_open() -> None:
    told = story("pipe-ends")
    if told.skipped:
        pytest.skip(told.skipped)
    seen = claims(told)
    assert seen["descriptors of the write end"] == 2
    assert seen["one of the two writers closes its end: the read"] == "waits"
    assert seen["read after the last writer"] == "end of file"
    assert seen["procmem.waits(): it is deadlocked"] is True
    assert seen["one of two readers closed its end; write 5 bytes"] == 5
    assert seen["the last reader has ended; write, ignoring SIGPIPE"] == "EPIPE"
    assert seen["a process writes to a pipe whose only reader is itself"] == 5
    assert seen["it closes that end, and writes"] == "killed by SIGPIPE"


def test_in_words() -> None:
    assert (text(b""), text(b"a"), text("EAGAIN")) == ("end of file", "a", "EAGAIN")
    assert [ending(one) for one in (-13, 2, None)] == [
        "killed by SIGPIPE", "exit status 2", "it went on",
    ]  # fmt: skip
