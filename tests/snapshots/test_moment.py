"""A Moment: whose it is, and which figure is its RSS."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from procmem import MemoryUsage, Process, parse_maps, parse_smaps
from procmem.procfs import files as procfs_files
from procmem.snapshots.moment import Identity, Kernel, Moment


def test_snapshots_of_the_same_tick_are_not_taken_for_one_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        first = Process(child.pid).snapshot("maps")
        child.kill()
    clock, start = first.clock, first.identity.start_time
    assert clock is not None
    assert start is not None
    assert first.same_process(first) is True
    identity = first.identity._replace(inode=1)
    tick = 10**9 // procfs_files.TICKS
    young = replace(first, clock=clock._replace(boottime=start * tick + tick // 2))
    later = replace(young, identity=identity, clock=clock._replace(boottime=start * tick + tick))
    assert young.same_process(later) is None
    assert (later - young).same_process is None
    old = replace(young, clock=clock._replace(boottime=(start + 3) * tick))
    late = replace(later, clock=clock._replace(boottime=(start + 9) * tick))
    assert old.same_process(late) is True


MEMORY = MemoryUsage(**dict.fromkeys(MemoryUsage._fields))._replace(vsz=40960, rss=12288)
EXACT = Kernel("7.0", "x86_64", 4096, ("exact VmRSS",), 0)
LAGS = Kernel("6.1", "x86_64", 4096, (), 65536)
MAPS = b"10000000-1000a000 rw-p 00000000 00:00 0 \n"
SMAPS = MAPS + b"Rss: 20 kB\n"


@pytest.mark.parametrize(
    "text, kernel, rss, error",
    [
        (SMAPS, EXACT, 12288, 0),
        (SMAPS, LAGS, 20480, 0),
        (SMAPS, None, 20480, 0),
        (MAPS, EXACT, 12288, 0),
        (MAPS, LAGS, 12288, 65536),
        (MAPS, None, 12288, None),
    ],
)
def test_rss_is_exact_or_its_error_is_known(
    text: bytes, kernel: Kernel | None, rss: int, error: int | None
) -> None:
    parse = parse_smaps if text is SMAPS else parse_maps
    one = Moment(parse(text), memory=MEMORY, kernel=kernel)
    assert (one.vsz, one.rss, one.rss_error) == (40960, rss, error)


def test_what_was_not_read_is_none() -> None:
    one = Moment(parse_maps(MAPS))
    assert (one.detail, one.vsz) == ("maps", 40960)
    assert (one.rss, one.rss_error, one.swap, one.page_tables) == (None, 0, None, None)


@pytest.mark.parametrize(
    "other, same",
    [
        ({}, True),
        ({"pid": 8}, False),
        ({"pid": None}, None),
        ({"start_time": 6}, False),
        ({"start_time": None}, None),
        ({"boot_id": "next"}, False),
        ({"boot_id": None}, None),
        ({"inode": 9}, None),
        ({"inode": None}, True),
    ],
)
def test_the_same_process(other: dict[str, object], same: bool | None) -> None:
    identity = Identity(7, 5, "boot", "x", None, (), 3)
    one = Moment(parse_maps(MAPS), identity=identity)
    two = replace(one, identity=Identity(**{**identity._asdict(), **other}))
    assert one.same_process(two) is same
    assert two.same_process(one) is same
