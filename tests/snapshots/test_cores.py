"""Snapshots of ELF cores."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem import (
    Process,
)
from procmem.errors import ElfError
from procmem.experiments import Specimen
from tests.support.snapshots import same

if TYPE_CHECKING:
    from pathlib import Path


def note(name: bytes, kind: int, data: bytes) -> bytes:
    padded = data + b"\0" * (-len(data) % 4)
    return struct.pack("<III", len(name) + 1, len(data), kind) + name.ljust(8, b"\0") + padded


def core(regions: Any, *, mapped: Any = None) -> bytes:
    """A core of these regions, without contents, as fs/binfmt_elf.c lays it out."""
    named = [r for r in regions if r.pathname and r.pathname.startswith("/")]
    count = len(named) if mapped is None else mapped
    files = struct.pack("<QQ", count, 4096)
    files += b"".join(struct.pack("<QQQ", r.start, r.end, r.offset // 4096) for r in named)
    files += b"".join(os.fsencode(r.pathname) + b"\0" for r in named)
    info = bytearray(136)
    info[24:28] = (4711).to_bytes(4, "little")
    info[40:44] = b"core"
    notes = note(b"CORE", 3, bytes(info)) + note(b"CORE", 0x46494C45, files)
    loads = [r for r in regions if r.start < 1 << 63]
    at = 64 + 56 * (len(loads) + 1)
    headers = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(notes), 0, 4)
    for r in loads:
        flags = 4 * r.perms.read + 2 * r.perms.write + r.perms.execute
        headers += struct.pack("<IIQQQQQQ", 1, flags, at + len(notes), r.start, 0, 0, r.size, 4096)
    ident = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, len(loads) + 1, 0, 0, 0
    )
    return header + headers + notes


def test_a_core(tmp_path: Path) -> None:
    path = tmp_path / "core"
    mine = Process().snapshot("maps")
    lower = [r for r in mine.regions if r.start < 1 << 63]
    path.write_bytes(core(lower))
    one = procmem.load(path)
    assert [(r.start, r.end, r.perms[:3]) for r in one.regions] == [
        (r.start, r.end, r.perms[:3]) for r in lower
    ]
    for got, true in zip(one.regions, lower, strict=True):
        if true.pathname and true.pathname.startswith("/"):
            assert (got.pathname, got.offset) == (true.pathname, true.offset)
        else:
            assert got.pathname is None
    text = next(r for r in lower if r.kind is procmem.RegionKind.TEXT)
    found = one.regions.find(text.start)
    assert found is not None
    assert found.kind is procmem.RegionKind.TEXT
    assert (one.identity.pid, one.identity.comm) == (4711, "core")
    assert one.vsz == sum(r.size for r in lower)
    assert (one.rss, one.memory) == (None, None)
    one.save(tmp_path / "core.snap")
    same(one, procmem.load(tmp_path / "core.snap"))


def test_damaged_cores(tmp_path: Path) -> None:
    path = tmp_path / "core"
    whole = core(Process().maps())
    path.write_bytes(core(Process().maps(), mapped=1 << 40))
    with pytest.raises(ElfError, match="too short"):
        procmem.load(path)
    chance = random.Random(3)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(3):
            data[chance.randrange(4, len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.choice([len(data), chance.randrange(5, len(data))])])
        with contextlib.suppress(procmem.ProcmemError):
            procmem.load(path)
    with pytest.raises(ElfError, match="no core"):
        procmem.load("/proc/self/exe")


def test_a_core_against_the_process_that_left_it(tmp_path: Path) -> None:
    path = tmp_path / "core"
    with Specimen(libc=True) as s:
        live = Process(s.pid).snapshot("maps")
        path.write_bytes(core(live.regions))
        found = Process(s.pid).snapshot("maps") - procmem.load(path)
    # Names of the kernel, and shared memory, are what a core lacks.
    assert all(change.vsz == 0 for change in found.changes)
    assert found.vsz == 0


def test_what_a_core_does_not_tell_is_no_change_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "core"
    with Specimen(libc=True) as s:
        area = s.mmap(pages=2, shared=True).mapping
        assert area is not None
        shared = area.start
        process = Process(s.pid)
        before = process.snapshot("maps")
        data = core(before.regions)
        data = data.replace((4711).to_bytes(4, "little"), s.pid.to_bytes(4, "little"), 1)
        path.write_bytes(data)
        more = s.mmap(pages=3, shared=True).mapping
        assert more is not None
        after = process.snapshot("maps")
    dumped = procmem.load(path)
    assert dumped.identity.pid == after.identity.pid
    for found in (after - dumped, dumped - after):
        assert found.same_process is None
        causes = {change.start: change.cause for change in found.changes}
        assert causes.pop(more.start) is not procmem.Cause.UNKNOWN
        assert shared in causes
        assert set(causes.values()) == {procmem.Cause.UNKNOWN}
        why = {change.start: change.why for change in found.changes}
        assert "which a core has only in part" in why[shared]
    assert (after - before).same_process


def test_a_core_that_leaves_segments_out(tmp_path: Path) -> None:
    path = tmp_path / "core"
    regions = [r for r in Process().maps() if r.start < 1 << 63]
    data = bytearray(core(regions))
    for number, region in enumerate(regions, 1):
        if region.kind is procmem.RegionKind.TEXT:
            data[64 + 56 * number : 68 + 56 * number] = bytes(4)  # PT_NULL
    path.write_bytes(data)
    one = procmem.load(path)
    named = [r for r in regions if r.pathname and r.pathname.startswith("/")]
    assert {(r.start, r.end) for r in named} <= {(r.start, r.end) for r in one.regions}
    assert "without permissions" in one.unavailable["perms of files"]
    text = next(r for r in regions if r.kind is procmem.RegionKind.TEXT)
    found = one.regions.find(text.start)
    assert found is not None
    assert (found.perms, found.kind) == ("---p", procmem.RegionKind.FILE)
