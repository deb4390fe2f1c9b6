"""The short files of /proc/PID: stat, statm, status."""

from __future__ import annotations

import os
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, RLIMIT_STACK, getrlimit
from typing import TYPE_CHECKING

import pytest

from procmem import (
    ParseError,
    Process,
)
from procmem.procfs import parse_stat, parse_statm, parse_status
from procmem.procfs.text import parse_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.targets import (
        Target,
    )

    Start = Callable[..., Target]


@pytest.mark.parametrize(
    "comm", [b"a", b"", b")", b"((", b") R 1 2", b"x\ny", b"\xff", b"a b c", b"1 (x) S 1"]
)
def test_a_command_name_may_hold_anything(comm: bytes) -> None:
    fields = b" ".join(b"%d" % n for n in range(4, 53))
    stat = parse_stat(b"77 (" + comm + b") S " + fields + b"\n")
    assert (stat.pid, stat.comm, stat.state) == (77, comm, "S")
    assert (stat.ppid, stat.flags, stat.minflt, stat.majflt) == (4, 9, 10, 12)
    assert (stat.num_threads, stat.starttime, stat.vsize, stat.rss) == (20, 22, 23, 24)
    assert (stat.startcode, stat.endcode, stat.startstack) == (26, 27, 28)


@pytest.mark.parametrize("comm", [b") R 1 2 (", b"a\nb", b"((()", b"\xff\xfe"])
def test_a_hostile_command_name_on_a_live_process(target: Target, comm: bytes) -> None:
    target.comm(comm)
    process = Process(target.pid)
    assert process.faults().minor > 0
    assert process.threads()[0].name == os.fsdecode(comm)
    assert process.memory().vsz


@pytest.mark.parametrize("data", [b"", b"x", b"1 (x) S", b"1 (x", b"x (y) S 1 2", b")("])
def test_what_is_no_stat_is_a_parse_error(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_stat(data)
    with pytest.raises(ParseError):
        parse_statm(data)


def test_statm_and_status() -> None:
    statm = parse_statm(b"10 5 3 1 0 4 0\n")
    assert (statm.size, statm.resident, statm.shared, statm.text, statm.data) == (10, 5, 3, 1, 4)
    status = parse_status(b"Name:\ta:b \\n\xff\nVmSize:\t      8 kB\n\n")
    assert status == {"Name": "a:b \\n\udcff", "VmSize": "8 kB"}
    with pytest.raises(ParseError):
        parse_status(b"no colon\n")


def test_limits_are_numbers_or_unlimited() -> None:
    text = Path("/proc/self/limits").read_bytes()
    found = parse_limits(text)
    for name, number in (("Max stack size", RLIMIT_STACK), ("Max open files", RLIMIT_NOFILE)):
        limits = [None if value == RLIM_INFINITY else value for value in getrlimit(number)]
        assert list(found[name]) == limits
    for bad in (b"", b"Limit  Soft Limit\n", b"Max stack size            many  none\n"):
        with pytest.raises(ParseError):
            parse_limits(bad)
