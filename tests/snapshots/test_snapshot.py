"""Snapshots: taken, saved and loaded without loss, and loaded from what others saved."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pickle
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import procmem
from procmem import (
    MeasuredRegion,
    ParseError,
    Process,
    RegionTable,
    Snapshot,
    parse_maps,
    parse_smaps,
)
from procmem.errors import BadArgument, ElfError, NoSuchProcess, Unsupported
from procmem.experiments import Specimen
from procmem.regions.text import table_to_dict
from procmem.snapshots.saved import FRAME, MAGIC
from tests.support.paths import FIXTURES

TEXTS = sorted(path for path in FIXTURES.iterdir() if path.suffix in (".maps", ".smaps"))


def same(one: Snapshot, other: Snapshot) -> None:
    """Equal in all that equality looks at, and in the kinds, names and bytes of the regions."""
    assert one == other
    assert table_to_dict(one.regions) == table_to_dict(other.regions)
    assert one.to_dict() == other.to_dict()
    assert procmem.format_maps(one.regions) == procmem.format_maps(other.regions)


def mapped(s: Specimen, pages: int) -> Any:
    return s.mmap(pages=pages).mapping


# ---- taking ----


def own_figures(table: RegionTable[MeasuredRegion]) -> list[object]:
    """What others that map the same files don't change."""
    shared = ("Pss", "Shared", "Private", "Referenced")
    return [
        (
            region.line(),
            region.vm_flags,
            [it for it in region.counters.items() if not it[0].startswith(shared)],
        )
        for region in table
    ]


def test_a_snapshot_tells_what_the_kernel_tells() -> None:
    with Specimen() as s:
        s.touch(mapped(s, 100), pages=30)
        process = Process(s.pid)
        one = process.snapshot()
        assert own_figures(one.regions) == own_figures(process.smaps())
        assert one.memory == process.memory()
        assert one.faults == process.faults()
        assert not one.moved
        assert one.regions.consistent
        assert (one.vsz, one.rss) == (one.memory.vsz, one.memory.rss)
        assert one.rss == one.regions.total("rss")
        assert one.page_tables == one.memory.page_tables
        assert [t.tid for t in one.threads or ()] == [s.pid]
        stat = Path(f"/proc/{s.pid}/stat").read_text()
        assert one.identity.start_time == int(stat.rsplit(")", 1)[1].split()[19])
        assert one.identity.pid == s.pid
        assert one.identity.comm == Path(f"/proc/{s.pid}/comm").read_text().rstrip("\n")
        assert one.identity.exe == os.readlink(f"/proc/{s.pid}/exe")
        words = Path(f"/proc/{s.pid}/cmdline").read_bytes().split(b"\0")[:-1]
        assert one.identity.cmdline == tuple(map(os.fsdecode, words))
        assert one.kernel is not None
        assert one.kernel.release == os.uname().release
        later = process.snapshot("maps")
        assert one.clock is not None
        assert later.clock is not None
        assert one.clock.monotonic < later.clock.monotonic
        assert one.same_process(later) is True
    with pytest.raises(NoSuchProcess):
        process.snapshot()


def test_details() -> None:
    with Specimen() as s:
        process = Process(s.pid)
        s.touch(mapped(s, 8))
        assert process.snapshot("maps").regions == process.maps()
        try:
            resident = process.snapshot("residency")
        except Unsupported:
            resident = None
        if resident is not None:
            assert resident.regions.total("rss") == resident.rss
        assert [process.snapshot(d).detail for d in ("maps", "smaps")] == ["maps", "smaps"]
    with pytest.raises(BadArgument, match="maps, residency, smaps"):
        Process().snapshot("everything")


def test_a_process_that_looks_at_itself() -> None:
    mine = Process().snapshot()
    assert mine.identity.pid == os.getpid()
    assert mine.same_process(Process().snapshot()) is True
    assert mine.same_process(Snapshot(parse_maps(b""))) is None


def test_it_is_immutable() -> None:
    mine = Process().snapshot("maps")
    with pytest.raises(AttributeError):
        mine.moved = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        mine.unavailable["x"] = "y"  # type: ignore[index]
    hash(mine)


# ---- saving ----


@pytest.mark.parametrize("detail", ["maps", "residency", "smaps"])
def test_nothing_is_lost(detail: str, tmp_path: Path) -> None:
    try:
        mine = Process().snapshot(detail)
    except Unsupported as error:
        pytest.skip(str(error))
    mine.save(tmp_path / "one.json")
    mine.save(tmp_path / "one.snap")
    for name in ("one.json", "one.snap"):
        same(mine, procmem.load(tmp_path / name))
        same(mine, Snapshot.load(tmp_path / name))
    same(mine, Snapshot.from_json(mine.to_json(indent=1)))
    same(mine, pickle.loads(pickle.dumps(mine)))
    same(mine, copy.deepcopy(mine))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_texts_of_any_kernel(path: Path, tmp_path: Path) -> None:
    """Hostile names, lines of odd shape, unknown counters: as from the text itself."""
    data = path.read_bytes()
    loaded = procmem.load(path)
    parse = parse_smaps if path.suffix == ".smaps" else parse_maps
    assert loaded.regions == parse(data)
    assert loaded.memory is None
    assert loaded.unavailable["memory"]
    loaded.save(tmp_path / "one.snap")
    loaded.save(tmp_path / "one.json")
    same(loaded, procmem.load(tmp_path / "one.snap"))
    same(loaded, procmem.load(tmp_path / "one.json"))
    some = Snapshot(loaded.regions[1::2], source="<some>")
    some.save(tmp_path / "some.snap")
    same(some, procmem.load(tmp_path / "some.snap"))


def test_many_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "many.snap"
    with Specimen() as s:
        process = Process(s.pid)
        taken = []
        for pages in (1, 10, 100):
            s.touch(mapped(s, pages))
            taken.append(process.snapshot())
    Snapshot.save_all(taken, path)
    loaded = Snapshot.load_all(path)
    assert len(loaded) == 3
    for one, other in zip(taken, loaded, strict=True):
        same(one, other)
    with pytest.raises(ParseError, match="3 snapshots"):
        procmem.load(path)
    Snapshot.save_all([], path)
    assert Snapshot.load_all(path) == []


PERMS = st.sampled_from(["rw-p", "r--p", "---p", "r-xp", "rw-s"])


@st.composite
def tables(draw: st.DrawFn) -> Any:
    regions = []
    at = 0
    for _ in range(draw(st.integers(0, 12))):
        at += draw(st.integers(0, 1 << 40)) * 4096
        size = draw(st.integers(1, 1 << 20)) * 4096
        rss = draw(st.integers(0, size // 4096)) * 4096
        name = draw(
            st.one_of(
                st.none(),
                st.text(
                    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
                ),
            )
        )
        regions.append(
            MeasuredRegion(
                at,
                at + size,
                draw(PERMS),
                inode=draw(st.integers(0, 1 << 60)),
                pathname=None if name is None else "/" + name,
                Rss=rss,
                vm_flags=draw(st.sampled_from(["rd wr", "rd", "rd ex zz"])),
            )
        )
        at += size
    lines = b"".join(
        region.line()
        + b"\nRss: %d kB\nNew: 7 kB\nVmFlags: %b\n"
        % ((region.rss or 0) >> 10, str(region.vm_flags).encode())
        for region in regions
    )
    return parse_smaps(lines)


@settings(max_examples=60, deadline=None)
@given(tables())
def test_any_table_comes_back(tmp_path_factory: Any, table: Any) -> None:
    path = tmp_path_factory.mktemp("any") / "one.snap"
    one = Snapshot(table)
    one.save(path)
    same(one, procmem.load(path))
    same(one, Snapshot.from_json(one.to_json()))


def test_30000_regions_take_40_bytes_each(tmp_path: Path) -> None:
    """Sizes, gaps and counters at random: no process is less regular."""
    chance = random.Random(1)
    lines = []
    at = 0x7F00_0000_0000
    for number in range(30_000):
        at += chance.choice([0, 0, 1, chance.randrange(64)]) * 4096
        pages = chance.choice([1, 1, 4, 33, chance.randrange(1, 2048)])
        rss = chance.choice([0, pages, chance.randrange(pages + 1)]) * 4
        dirty = chance.choice([0, rss, rss // 2])
        perms = chance.choice([b"rw-p", b"r--p", b"---p"])
        name = b"/usr/lib/lib%d.so" % (number % 300) if number % 5 == 0 else b""
        lines.append(
            b"%x-%x %b %08x 08:01 %d %b\nSize: %d kB\nRss: %d kB\nPss: %d kB\n"
            b"Private_Clean: %d kB\nPrivate_Dirty: %d kB\nReferenced: %d kB\nAnonymous: %d kB\n"
            b"Swap: 0 kB\nLocked: 0 kB\nVmFlags: rd wr mr mw me ac\n"
            % (
                *(at, at + pages * 4096, perms, 0, 1000 + number % 300 if name else 0, name),
                *(pages * 4, rss, rss, rss - dirty, dirty, rss, dirty),
            )
        )
        at += pages * 4096
    one = Snapshot(parse_smaps(b"".join(lines)))
    path = tmp_path / "large.snap"
    one.save(path)
    assert path.stat().st_size <= 40 * 30_000
    assert procmem.load(path) == one


# ---- damage ----


def test_a_file_cut_off_or_changed_anywhere_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "one.snap"
    with Specimen() as s:
        one = Process(s.pid).snapshot()
    Snapshot.save_all([one, one], path)
    data = path.read_bytes()
    second = len(MAGIC) + FRAME.size + FRAME.unpack_from(data, len(MAGIC))[0]
    chance = random.Random(2)
    for cut in [*range(len(MAGIC), len(MAGIC) + 12), *chance.sample(range(30, len(data)), 60)]:
        path.write_bytes(data[:cut])
        if cut in (len(MAGIC), second):
            continue
        number = 1 if cut < second else 2
        with pytest.raises(ParseError, match=f"snapshot {number}, at byte .*cut off"):
            Snapshot.load_all(path)
    for at in chance.sample(range(len(MAGIC), len(data)), 60):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        with pytest.raises(ParseError):
            Snapshot.load_all(path)


def framed(content: bytes) -> bytes:
    import lzma
    import zlib

    from procmem.snapshots.saved import FILTERS

    packed = lzma.compress(content, lzma.FORMAT_RAW, filters=FILTERS)
    return MAGIC + FRAME.pack(len(packed), zlib.crc32(packed)) + packed


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xff\xff\xff",
        b"\x02\0\0\0{}",
        b"\x02\0\0\0[]",
        b"\x04\0\0\0null",
        b'\x1e\0\0\0{"format":"procmem.snapshot/2"}',
    ],
)
def test_foreign_frames(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.snap"
    path.write_bytes(framed(content))
    with pytest.raises(ParseError, match="snapshot 1"):
        Snapshot.load_all(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"{", b'{"format": 1}', b"\x89PNG\r\n", b"hello\n", b"\0" * 100, b"[1"],
)
def test_foreign_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(ParseError):
        procmem.load(path)


def test_wrong_values_in_json() -> None:
    mine = Process().snapshot("maps").to_dict()
    for key in mine:
        for value in (7, "x", [7], {"a": 1}):
            if key in ("source", "moved", "vsz", "rss", "rss_error", "unavailable"):
                continue
            with pytest.raises(ParseError):
                Snapshot.from_json(json.dumps({**mine, key: value}))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        procmem.load(tmp_path / "none")
    with pytest.raises(Unsupported):
        procmem.load(tmp_path)


# ---- trees and cores ----


def test_a_saved_tree(tmp_path: Path) -> None:
    with Specimen() as s:
        process = Process(s.pid)
        live = process.snapshot()
        saved = tmp_path / str(s.pid)
        saved.mkdir()
        for name in ("maps", "smaps", "status", "stat", "cmdline"):
            shutil.copy(f"/proc/{s.pid}/{name}", saved / name)
    for path in (saved, tmp_path):
        one = procmem.load(path)
        assert own_figures(one.regions) == own_figures(live.regions)
        assert (one.memory, one.faults) == (live.memory, live.faults)
        assert one.identity.cmdline == live.identity.cmdline
        assert one.clock is None
        assert not one.moved
    (saved / "smaps").unlink()
    (saved / "stat").unlink()
    one = procmem.load(saved)
    assert one.regions == parse_maps((saved / "maps").read_bytes())
    assert one.faults is None
    assert "stat" in one.unavailable["faults"]


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
        assert "which a core tells only in part" in why[shared]
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
