"""Sets of processes that map the same frames; pages of a process beside its parent's."""

from __future__ import annotations

import os
from array import array
from typing import TYPE_CHECKING

import pytest

from procmem.pages.pagemap import PageMap
from procmem.pages.sharing import FrameSharing, Kin, compare_with_parent

if TYPE_CHECKING:
    from pathlib import Path

PRESENT, SWAPPED, FILE, EXCLUSIVE = 1 << 63, 1 << 62, 1 << 61, 1 << 56


def pages(*entries: int) -> PageMap:
    return PageMap.from_bytes(array("Q", entries).tobytes())


def shared(*frames: int) -> PageMap:
    return pages(*(PRESENT | frame for frame in frames))


def settled(sharing: FrameSharing, tmp_path: Path, counts: dict[int, int]) -> FrameSharing:
    """The sharing of frames that the kernel says are mapped so often."""
    path = tmp_path / "kpagecount"
    words = array("Q", bytes(8 * (max(counts, default=0) + 1)))
    for frame, count in counts.items():
        words[frame] = count
    path.write_bytes(words.tobytes())
    fd = os.open(path, os.O_RDONLY)
    try:
        sharing.settle(fd)
    finally:
        os.close(fd)
    return sharing


def test_pages_by_who_maps_them(tmp_path: Path) -> None:
    sharing = FrameSharing()
    alone = PRESENT | EXCLUSIVE
    assert sharing.add([pages(alone | 1, alone | 2, PRESENT | 10, PRESENT | 11)]) == 2
    assert sharing.add([shared(10, 11, 12)]) == 0
    assert sharing.add([shared(10), pages(0, PRESENT | 12)]) == 0
    settled(sharing, tmp_path, {10: 3, 11: 2, 12: 2})
    assert sharing.of_groups([0, 1, 2], 3) == [0, 0, 0]
    assert sharing.of_groups([0, 0, 1], 2) == [1, 0]
    assert sharing.of_groups([0, 1, 1], 2) == [0, 1]
    assert sharing.of_groups([None, 0, 0], 1) == [1]
    assert sharing.of_groups([0, 0, 0], 1) == [3]
    assert sharing.of_groups([None, None, None], 0) == []
    assert sharing.incomplete() == set()


def test_files_swap_and_nothing_do_not_count(tmp_path: Path) -> None:
    sharing = FrameSharing()
    assert sharing.add([pages(0, PRESENT | FILE | 4, PRESENT | FILE | EXCLUSIVE | 5, SWAPPED)]) == 0
    settled(sharing, tmp_path, {4: 1})
    assert sharing.of_groups([0], 1) == [0]


def test_a_frame_that_someone_else_maps_too_is_nobodys(tmp_path: Path) -> None:
    sharing = FrameSharing()
    for frames in ((7, 8), (7, 8), (9,)):
        sharing.add([shared(*frames)])
    settled(sharing, tmp_path, {7: 3, 8: 2, 9: 1})
    assert sharing.of_groups([0, 0, 1], 2) == [1, 1]
    assert sharing.incomplete() == {0, 1}


def test_a_frame_above_the_last_one_of_kpagecount(tmp_path: Path) -> None:
    sharing = FrameSharing()
    sharing.add([shared(100)])
    settled(sharing, tmp_path, {3: 1})
    assert sharing.of_groups([0], 1) == [0]
    assert sharing.incomplete() == {0}


def test_a_page_that_ksm_merged_is_mapped_twice_in_one_process(tmp_path: Path) -> None:
    sharing = FrameSharing()
    sharing.add([shared(5, 5, 5)])
    sharing.add([shared(6, 5)])
    settled(sharing, tmp_path, {5: 4, 6: 1})
    assert sharing.of_groups([0, 0], 1) == [2]
    assert sharing.of_groups([0, 1], 2) == [0, 1]


def test_many(tmp_path: Path) -> None:
    """Against sets of Python: each process maps the frames whose number it divides."""
    processes, frames = 60, 20_000
    sharing = FrameSharing()
    mapped = [range(0, frames, step) for step in range(1, processes + 1)]
    for each in mapped:
        sharing.add([shared(*each)])
    counts = {
        frame: sum(frame % step == 0 for step in range(1, processes + 1)) for frame in range(frames)
    }
    settled(sharing, tmp_path, counts)
    groups = [number % 3 for number in range(processes)]
    expected = [0, 0, 0]
    for frame in range(frames):
        of = {groups[step - 1] for step in range(1, processes + 1) if frame % step == 0}
        if len(of) == 1:
            expected[of.pop()] += 1
    assert sharing.of_groups(groups, 3) == expected
    assert sum(expected) > 0


def test_what_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    sharing = FrameSharing()
    sharing.add([shared(5)])
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            sharing.settle(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "child, parent, kin",
    [
        (PRESENT | 9, PRESENT | 9, "shared"),
        (PRESENT | 9, PRESENT | 8, "copied"),
        (PRESENT | EXCLUSIVE | 9, PRESENT | FILE | 8, "copied"),
        (PRESENT | EXCLUSIVE | 9, SWAPPED | 8, "copied"),
        (PRESENT | EXCLUSIVE | 9, 0, "own"),
        (PRESENT | FILE | 9, PRESENT | FILE | 9, "file"),
        (PRESENT | FILE | 9, PRESENT | 8, "file"),
        (PRESENT | FILE | 9, 0, "file"),
        (SWAPPED | 5, PRESENT | 8, "swapped"),
        (0, PRESENT | 8, ""),
        (1 << 58 | SWAPPED, PRESENT | 8, ""),
    ],
)
def test_a_page_beside_the_parents(child: int, parent: int, kin: str) -> None:
    found = compare_with_parent(pages(child), pages(parent))
    assert found == Kin(**{name: int(name == kin) for name in Kin._fields})


@pytest.mark.parametrize(
    "child, parent, kin",
    [
        (PRESENT, PRESENT, "shared"),
        (PRESENT | EXCLUSIVE, PRESENT, "copied"),
        (PRESENT, PRESENT | EXCLUSIVE, "copied"),
        (PRESENT | EXCLUSIVE, PRESENT | FILE, "copied"),
        (PRESENT | EXCLUSIVE, 0, "own"),
        (PRESENT | FILE, PRESENT | FILE, "file"),
        (PRESENT | FILE, 0, "file"),
    ],
)
def test_without_frames(child: int, parent: int, kin: str) -> None:
    found = compare_with_parent(pages(child), pages(parent))
    assert found == Kin(**{name: int(name == kin) for name in Kin._fields})
