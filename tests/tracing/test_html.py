"""Traces in a notebook: the sums are those of the calls."""

from __future__ import annotations

import sys
from collections import Counter

import procmem
from tests.support.html import page_of, rows_below

CODE = "import mmap; m = mmap.mmap(-1, 1 << 24); m[::4096] = b'x' * 4096; m.close()"


def test_a_trace() -> None:
    trace = procmem.trace([sys.executable, "-c", CODE])
    page = page_of(trace)
    *rows, footer = rows_below(page, "Call")
    counted = Counter(call.name for call in trace)
    assert {row[0]: int(row[1].replace(",", "")) for row in rows} == dict(counted)
    assert footer[1] == f"{len(trace):,}"
    failed = sum(call.errno is not None for call in trace)
    assert footer[2] == f"{failed:,}"
    unknown = sum(call.delta_vsz is None for call in trace)
    assert ("unknown" in footer[3]) == (unknown > 0)
    assert f"Trace of process {trace.pid}" in page.text


def test_nothing_traced() -> None:
    page = page_of(procmem.Trace([], pid=7))
    assert "0 calls" in page.text
    assert page.rows == []
