"""Descriptors and mappings as things to wait for."""

from __future__ import annotations

import os

import pytest

from procmem.ipc.waiting import TIME, bits, mapping_of, maps_of, outside


def test_the_line_of_maps_that_covers_an_address() -> None:
    text = (
        b"1000-3000 rw-s 00000000 00:01 99   /dev/shm/a name\n"
        b"4000-5000 rw-p 00000000 00:00 0 \n"
        b"broken\n"
    )
    found = mapping_of(text, 0x2000)
    assert found is not None
    assert found[3:] == [b"00:01", b"99", b"/dev/shm/a name"]
    assert mapping_of(text, 0x3000) is None
    assert mapping_of(maps_of(os.getpid(), "/proc"), id(text)) is not None
    assert maps_of(1 << 30, "/proc") == b""


@pytest.mark.parametrize(
    "name, kind",
    [
        ("anon_inode:[timerfd]", "time"),
        ("anon_inode:[signalfd]", "signal"),
        ("anon_inode:inotify", "other"),
        ("/dev/null", "other"),
    ],
)
def test_what_no_process_serves(name: str, kind: str) -> None:
    assert outside(name)[0] == kind
    assert outside("anon_inode:[timerfd]")[1] == TIME


def test_masks_of_signals() -> None:
    assert bits(1, 17) == 0x10001
