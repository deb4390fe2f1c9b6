"""Snapshots are saved and loaded without loss, and damage is found."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import procmem
from procmem import (
    MeasuredRegion,
    ParseError,
    Process,
    Snapshot,
    parse_smaps,
)
from procmem.errors import Unsupported
from procmem.experiments import Specimen
from procmem.recording.recording import Recording
from procmem.snapshots import load, saved
from procmem.snapshots.saved import FRAME, MAGIC
from tests.support.snapshots import mapped, same

if TYPE_CHECKING:
    from pathlib import Path


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


def test_a_python_without_liblzma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = procmem.Process().snapshot("maps")
    usual, other = tmp_path / "usual.snap", tmp_path / "other.snap"
    taken.save(usual)
    monkeypatch.setattr(saved, "lzma", None)
    taken.save(other)
    same(load(other), taken)
    with pytest.raises(Unsupported, match="LZMA: the snapshot is packed with it"):
        load(usual)


def test_modules_that_pythons_may_lack_are_not_needed() -> None:
    code = (
        "import sys; sys.modules.update(_lzma=None, _bz2=None)\n"
        "import procmem.snapshots.saved, procmem.grade.submissions.archives as archives\n"
        "print(*archives.OPENED)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("gzip\n", "")


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


def test_wrong_values_in_json() -> None:
    mine = Process().snapshot("maps").to_dict()
    for key in mine:
        for value in (7, "x", [7], {"a": 1}):
            if key in ("source", "moved", "vsz", "rss", "rss_error", "unavailable"):
                continue
            with pytest.raises(ParseError):
                Snapshot.from_json(json.dumps({**mine, key: value}))


# ---- damage that claims much ----


def frame_of(head: bytes, planes: bytes = b"") -> bytes:
    content = zlib.compress(len(head).to_bytes(4, "little") + head + planes)
    return MAGIC + FRAME.pack(len(content), zlib.crc32(content)) + content


def test_the_order_of_a_table_is_kept(tmp_path: Path, target_maps: bytes) -> None:
    table = procmem.parse_maps(target_maps)
    by_size = table.subset(sorted(table, key=lambda region: -region.size))
    Snapshot(by_size).save(tmp_path / "one.snap")
    back = Snapshot.load(tmp_path / "one.snap").regions
    assert [region.line() for region in back] == [region.line() for region in by_size]
    assert [region.start for region in back] != [region.start for region in table]


def test_saved_files_that_claim_gigabytes(tmp_path: Path, target_maps: bytes) -> None:
    path = tmp_path / "saved"
    path.write_bytes(MAGIC + FRAME.pack(0xFFFFFFFF, 0))
    os.truncate(path, 1 << 42)
    for call in (load, Recording.load):
        with pytest.raises(procmem.ParseError, match="more than the 512 MiB"):
            call(path)
    path.write_bytes(target_maps)
    os.truncate(path, 1 << 42)
    with pytest.raises(procmem.ParseError, match="more than the 512 MiB"):
        load(path)
    tree = tmp_path / "17"
    tree.mkdir()
    path.rename(tree / "maps")
    with pytest.raises(procmem.ParseError, match="too large"):
        load(tree)
    (tree / "maps").unlink()
    (tree / "maps").symlink_to("/dev/zero")
    with pytest.raises(procmem.ParseError, match="no ordinary file"):
        load(tree)


@pytest.fixture
def target_maps() -> bytes:
    return procmem.format_maps(procmem.Process().maps())


def test_saved_heads_of_another_shape(tmp_path: Path) -> None:
    whole = json.loads(procmem.Process().snapshot("maps").to_json())
    path = tmp_path / "saved"
    for place, odd in (
        (("faults", "minor"), "12"), (("faults", "major"), [1]), (("memory", "vsz"), 1.5),
        (("clock", "monotonic"), None), (("identity", "pid"), "1"), (("identity", "comm"), 7),
        (("identity", "cmdline"), [1]), (("kernel", "page_size"), 1 << 70),
        (("kernel", "features"), "abc"), (("moved",), 1), (("source",), None),
        (("unavailable",), {"x": 1}), (("threads",), [["a", "b", None]]),
        (("threads",), [[1, "b", "c"]]),
    ):  # fmt: skip
        damaged = json.loads(json.dumps(whole))
        inner = damaged
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = odd
        path.write_text(json.dumps(damaged))
        with pytest.raises(procmem.ParseError):
            load(path)
    path.write_text(json.dumps({**whole, "identity": None}))
    assert load(path).identity.pid is None
    path.write_text(json.dumps(whole))
    assert load(path).to_json() == json.dumps(whole)


def test_saved_columns_of_another_length(tmp_path: Path) -> None:
    from procmem.snapshots.saved import frame, unpacker

    snapshot = procmem.Process().snapshot("maps")
    start = len(MAGIC) + FRAME.size
    content = (MAGIC + frame(snapshot, quick=True))[start:]
    raw = unpacker(content)(content, 1 << 26)
    end = 4 + int.from_bytes(raw[:4], "little")
    path = tmp_path / "saved"
    for name, odd in (
        ("count", 1 << 40), ("count", -1), ("count", 3), ("stride", 1 << 40), ("stride", 0),
        ("strings", []), ("page_size", "x"), ("kinds", [[1]]), ("names", [[1 << 40, "x", False]]),
        ("constant", [[0]]), ("count", True),
    ):  # fmt: skip
        head = json.loads(raw[4:end])
        head["table"][name] = odd
        path.write_bytes(frame_of(json.dumps(head).encode(), raw[end:]))
        with pytest.raises(procmem.ParseError):
            load(path)
        with pytest.raises(procmem.ParseError):
            Recording.load(path)[0]
    path.write_bytes(frame_of(raw[4:end], raw[end:]))
    assert load(path).regions == snapshot.regions
