"""Code in processes of its own, and mappings that merge with no other."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from itertools import count
from typing import Any

import procmem
from procmem import (
    Mapping,
    mmap,
)
from tests.support.targets import PAGE

__all__ = ["PREAMBLE", "alone", "in_slot", "regions", "run", "slots"]


PREAMBLE = f"""
import json, os, signal, sys, threading
import procmem
from procmem import calls, mmap, MemoryFault, SyscallError
PAGE = {PAGE}
said = {{}}

def small(mapping):
    try:
        mapping.advise("nohugepage")
    except SyscallError:
        pass  # a kernel without huge pages
    return mapping

def change(operation, *arguments, **options):
    it = calls.bracket(operation, *arguments, **options)
    assert it.exact, it.reason
    assert it.after.since(it.before) == it.delta
    return [it.delta.vsz // PAGE, it.delta.rss // PAGE, it.minor, it.major], it.result

def fault(operation, *arguments, **options):
    try:
        operation(*arguments, **options)
    except MemoryFault as error:
        return [error.address, error.signal, error.code]
"""


def run(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    script = PREAMBLE + textwrap.dedent(code) + "\nprint(json.dumps(said))\n"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


def alone(code: str, *arguments: str) -> dict[str, Any]:
    """What a process with one thread said."""
    done = run(code, *arguments)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


slots = count(0x1_0000_0000_00, 1 << 30)


def in_slot(pages: int, **options: Any) -> Mapping:
    """At an address of its own, so that it merges with nothing."""
    return mmap(pages=pages, address=next(slots), fixed_noreplace=True, **options)


def regions(mapping: Mapping) -> list[tuple[int, int, str]]:
    """Start, end and permissions of the regions within a mapping, in pages."""
    address, end = mapping.address, mapping.address + mapping.size
    return [
        ((r.start - address) // PAGE, (r.end - address) // PAGE, r.perms)
        for r in procmem.Process().maps()
        if r.start < end and address < r.end
    ]
