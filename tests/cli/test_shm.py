"""procmem shm: a sentence, a row for each segment, the same as JSON."""

from __future__ import annotations

import json
import mmap
import os
from typing import TYPE_CHECKING

import pytest

from procmem.ipc.shared import Segment, SegmentDescriptor, SegmentMapper, Segments
from procmem.view.shm import segments_text
from tests.support.targets import machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.commands import Run


@pytest.fixture
def orphan() -> Iterator[str]:
    path = f"/dev/shm/{machine.MARK}{os.getpid()}-shm"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, bytes(1 << 20))
    os.close(fd)
    yield path
    os.unlink(path)


def test_what_nobody_uses_is_named_with_the_way_to_remove_it(run: Run, orphan: str) -> None:
    ran = run("shm")
    assert ran.status == 0
    sentence = " ".join(ran.out.split("\n\n")[0].split())
    assert "used by no process" in sentence
    (row,) = [line for line in ran.out.splitlines() if orphan in line and "POSIX" in line]
    assert "leaked" in row
    assert "1024" in row.split()


def test_json_and_one_process(run: Run, orphan: str) -> None:
    with mmap.mmap(-1, 8192) as memory:
        memory[0] = 1
        found = json.loads(run("shm", "--json").out)
        (left,) = [one for one in found["segments"] if one["name"] == orphan]
        assert (left["orphan"], left["leaked"], left["size"]) == (True, True, 1 << 20)
        mine = json.loads(run("shm", os.getpid(), "--json").out)
        assert orphan not in [one["name"] for one in mine["segments"]]
        assert "anonymous" in [one["kind"] for one in mine["segments"]]


def test_it_fits_a_narrow_terminal(run: Run, orphan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = run("shm")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert run("shm", "--columns", "nothing").status == 2
    assert run("shm", "--units", "MiB").status == 0


def segment(
    mappers: tuple[SegmentMapper, ...] = (),
    descriptors: tuple[SegmentDescriptor, ...] = (),
    *,
    shmid: int | None = None,
    resident: int | None = 4096,
    swapped: int | None = 0,
) -> Segment:
    name = "/dev/shm/a-name-that-is-longer-than-a-narrow-terminal-has-room-for"
    return Segment("POSIX", False, name, None, shmid, 0, 1, 4096, resident, swapped, mappers,
                   descriptors, None, None, None, 0, False)  # fmt: skip


def test_users_are_not_cut_off() -> None:
    mappers = tuple(SegmentMapper(n, "postgres", 4096, True) for n in range(10_001, 10_010))
    text = segments_text(Segments([segment(mappers)], 9, [], 0), names={10_002: "wal"}, width=80)
    assert max(map(len, text.splitlines())) <= 80
    users = " ".join(" ".join(line[-24:] for line in text.splitlines()[4:-1]).split())
    assert users.endswith(
        "10001 postgres, 10002 wal, 10003 postgres, 10004 postgres, 10005 postgres, "
        "10006 postgres and 3 more"
    )


def test_a_descriptor_without_a_mapping_is_marked() -> None:
    held = SegmentDescriptor(7, 3, "b"), SegmentDescriptor(7, 4, "b"), SegmentDescriptor(6, 5, "a")
    found = Segments([segment((SegmentMapper(6, "a", 4096, True),), held)], 2, [], 0)
    text = segments_text(found)
    assert "6 a, 7 b (fd 3,4 only)\n" in text
    assert "has it open and does not map it" in text
    assert "only" not in segments_text(Segments([segment()], 0, [], 0))


def test_columns_with_nothing_to_show_are_left_out() -> None:
    def heading(one: Segment) -> list[str]:
        return segments_text(Segments([one], 0, [], 0)).split("\n\n")[1].split("\n")[0].split()

    assert not {"ID", "Swap"} & set(heading(segment()))
    assert "ID" in heading(segment(shmid=7))
    assert "Swap" in heading(segment(swapped=4096))
    assert "Swap" in heading(segment(swapped=None))
    assert "ID" in segments_text(Segments([segment()], 0, [], 0), chosen=["id"])


def test_what_is_not_known_is_not_said_to_be_nothing() -> None:
    def sentence(*segments: Segment) -> str:
        return segments_text(Segments(segments, 0, [], 0)).split("\n")[0]

    hidden = segment(resident=None, swapped=None)
    end = "; none is left without a user."
    assert sentence(hidden) == f"1 segment, how much of it is in memory is not known{end}"
    assert sentence(hidden, segment()) == (
        f"2 segments, 4 KiB of them in memory (of 1 that is not known){end}"
    )
