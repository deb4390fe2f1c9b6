"""Page frames: their flags, and how often they are mapped."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING

import pytest

from procmem import FrameFlags
from procmem.pages.frames import FrameReader, stretches
from procmem.procfs import probes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.targets import Target

    Start = Callable[..., Target]


needs_frames = pytest.mark.skipif(
    not probes.shows_page_frames(), reason="page frame numbers take CAP_SYS_ADMIN"
)


def test_flags_without_a_name_are_kept() -> None:
    flags = FrameFlags(1 << 33 | FrameFlags.ANON)
    assert flags.names == ["ANON", "bit 33"]
    assert FrameFlags.ANON in flags


def test_frames_that_lie_close_are_read_together() -> None:
    told = list(stretches([1, 2, 60, 200, 201, 20_000]))
    assert told == [(1, 60, [1, 2, 60]), (200, 201, [200, 201]), (20_000, 20_000, [20_000])]
    assert list(stretches([])) == []
    long = list(stretches(list(range(20_000))))
    assert [frame for _, _, frames in long for frame in frames] == list(range(20_000))
    assert max(last - first for first, last, _ in long) < 8192


@needs_frames
def test_a_reader_without_cgroups(tmp_path: Path) -> None:
    for name in ("kpagecount", "kpageflags"):
        (tmp_path / name).write_bytes(array.array("Q", [5, 6, 7]).tobytes())
    with FrameReader(str(tmp_path)) as reader:
        (frame,) = reader.read([(4096, 1), (8192, 99)])
    assert (frame.mapped, int(frame.flags), frame.cgroup) == (6, 6, None)
    with pytest.raises(FileNotFoundError):
        FrameReader(str(tmp_path / "none"))
