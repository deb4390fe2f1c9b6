"""The marks of regions against what their attributes say, and the runs that are found by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from procmem import parse_maps, parse_smaps
from procmem.regions.classify import classify
from procmem.regions.kinds import ARENA_SIZES
from procmem.regions.marks import Marks, where
from procmem.regions.region import PAGE_SIZE
from procmem.regions.uses import Layout, Unclaimed
from tests.support.paths import FIXTURES
from tests.support.texts import kernel_line

if TYPE_CHECKING:
    from procmem import RegionTable

PERMS = ["rw-p", "rwxp", "---p", "---s", "r--p", "r-xp", "-w-p", "--xp", "rw-s"]
NAMES = [b"", b"", b"", b"/a", b"/b (deleted)", b"[heap]", b"[anon:x]"]
FLAGS = [b"rd wr ", b"rd wr ht ", b"rd gu nh ", b"gu ", b"nh ", b"ghtg xguxx ", b""]
GAPS = [0, 0, 0, 1, PAGE_SIZE, 1 << 26, 1 << 32, 1 << 62]
SIZES = [0, 1, PAGE_SIZE, 2 * PAGE_SIZE - 1, 2 * PAGE_SIZE, 1 << 20, (1 << 26) + 1]


@st.composite
def tables(draw: st.DrawFn) -> RegionTable[Any]:
    """Regions of every sort that a mark is for, in order, with VmFlags or without."""
    end, text, flags = 0, b"", draw(st.booleans())
    for _ in range(draw(st.integers(0, 14))):
        start = min(end + draw(st.sampled_from(GAPS)), (1 << 64) - 1)
        end = min(start + draw(st.sampled_from(SIZES)), (1 << 64) - 1)
        name, perms = draw(st.sampled_from(NAMES)), draw(st.sampled_from(PERMS))
        inode = draw(st.sampled_from([0, 7]))
        text += kernel_line(start, end, perms, 0, (0, 0), inode, name).text + b"\n"
        if flags:
            text += b"VmFlags: " + draw(st.sampled_from(FLAGS)) + b"\n"
    return parse_smaps(text) if flags else parse_maps(text)


def as_marked(marks: Marks, index: int) -> dict[str, bool]:
    names = "named noted reserved barred executable apart by_file stack_like heap_like"
    return {name: bool(getattr(marks, name)[index]) for name in names.split()}


@given(tables())
def test_marks_are_what_the_attributes_say(table: RegionTable[Any]) -> None:
    marks = table.reading.marks()
    assert marks.count == len(table)
    wide = any(1 << 32 < region.end < 1 << 63 for region in table)
    assert marks.word_size == (8 if wide else 4)
    heap = ARENA_SIZES[not wide]
    before = None
    for index, region in enumerate(table):
        flags = set(getattr(region, "vm_flags", None) or ())
        anonymous = region.raw_pathname is None and not region.inode
        assert as_marked(marks, index) == {
            "named": region.raw_pathname is not None,
            "noted": "ht" in flags or {"gu", "nh"} <= flags,
            "reserved": region.perms == "---p",
            "barred": region.perms.startswith("---"),
            "executable": region.perms.execute,
            "apart": before is None or before.end != region.start,
            "by_file": bool(region.inode or (before is not None and before.inode)),
            "stack_like": anonymous
            and region.perms in ("rw-p", "rwxp")
            and region.size >= 2 * PAGE_SIZE,
            "heap_like": (region.start - 1) // heap != (region.end - 1) // heap,
        }
        before = region
    assert marks.column(0) == [region.start for region in table]


@given(st.lists(st.sampled_from([0, 0, 0, 0, 0, 1])), st.integers(0, 70), st.integers(0, 70))
def test_where_finds_each_mark(bits: list[int], first: int, stop: int) -> None:
    first, stop = min(first, len(bits)), min(max(first, stop), len(bits))
    assert where(bytes(bits)) == [index for index, bit in enumerate(bits) if bit]
    assert where(bytes(bits), first, stop) == [i for i in range(first, stop) if bits[i]]


def runs_one_by_one(layout: Layout) -> list[Unclaimed]:
    """The runs of a layout, region by region."""
    groups: list[list[int]] = []
    for index, kind in enumerate(layout.found):
        if kind is not None:
            continue
        beside = groups and groups[-1][-1] == index - 1
        if beside and layout.regions[index - 1].end == layout.regions[index].start:
            groups[-1].append(index)
        else:
            groups.append([index])
    runs = []
    for group in groups:
        members = [layout.regions[index] for index in group]
        barred = [region.size for region in members if region.perms == "---p"]
        bounds = group[0], group[-1], members[0].start, members[-1].end
        runs.append(Unclaimed(*bounds, sum(barred), max(barred, default=0), len(barred)))
    return runs


@given(tables(), st.data())
def test_runs_are_those_that_are_found_region_by_region(
    table: RegionTable[Any], data: st.DataObject
) -> None:
    marks = table.reading.marks()
    kinds = classify(list(table), marks, None)
    found = [kind if data.draw(st.booleans()) else None for kind in kinds]
    layout = Layout(list(table), found, None, {}, marks)
    assert layout.runs() == runs_one_by_one(layout)


def test_marks_of_a_real_process() -> None:
    table = parse_smaps((FIXTURES / "linux-5.4-x86_64.smaps").read_bytes())
    marks = table.reading.marks()
    assert where(marks.executable) == [i for i, one in enumerate(table) if one.perms.execute]
    assert where(marks.by_file)
