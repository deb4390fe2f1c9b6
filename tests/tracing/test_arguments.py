"""Arguments of traced calls, decoded."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from procmem import trace
from procmem.procfs import probes
from tests.support.targets import PAGE
from tests.support.traced import CALLS, build, command

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced programs count in pages of 4 KiB")


@pytest.mark.parametrize("seccomp", [True, False])
def test_every_call_that_changes_memory(place: Path, seccomp: bool) -> None:
    made = build(place, CALLS, name="calls")
    traced = trace([made], seccomp=seccomp)
    assert traced.returncode == 0
    start = next(i for i, c in enumerate(traced) if c.words[0] == 0x10000000000)
    told = [(c.name, c.delta_rss) for c in traced[start:]]
    expected = [
        ("mmap", 0),
        ("mmap", 0),
        ("fallocate", -2 * PAGE),
        ("ftruncate", -8 * PAGE),
        ("prctl", 0),
        ("prctl", 0),
        ("mbind", 0),
        ("remap_file_pages", told[7][1]),
        ("mseal", 0),
        ("munmap", 0 if traced[start + 8].errno is None else told[9][1]),
        ("exit_group", None),
    ]
    assert [name for name, _ in told] == [name for name, _ in expected]
    assert told == expected or probes.counters_lag()  # RSS comes with a later call there
    sealed, unmapped = traced[start + 8 : start + 10]
    if sealed.errno is None:
        assert unmapped.errno == 1
    assert sealed.args == {"addr": 0x10000000000, "length": PAGE, "flags": 0}
    text = "".join(command("--no-malloc", "--", made).stderr)
    assert "punch a hole of 8 KiB in the file" in text
    assert "seal 4 KiB" in text or sealed.errno == errno.ENOSYS
