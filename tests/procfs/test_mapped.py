"""Names of mapped files that can be read in two ways, and what they lead to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem import (
    Owner,
    Process,
    RegionKind,
)
from tests.support.targets import (
    PAGE,
    Target,
    hostile_names,
    start_copy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., Target]


NAMES = hostile_names()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_file_has_its_true_name(target: Target, tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    Path(os.fsdecode(path)).write_bytes(b"x" * PAGE)
    mapping = target.map_file(path, 1)
    process = Process(target.pid)

    def regions() -> Iterator[Any]:
        yield process.maps().find(mapping.start)
        yield process.smaps().find(mapping.start)
        yield process.residency().find(mapping.start)
        yield process.region_at(mapping.start)

    unsure = b"\\012" in name and not resolves()
    for region in regions():
        if not unsure:
            assert region.pathname == os.fsdecode(path)
        assert not region.deleted
        assert region.kind is RegionKind.FILE
    os.unlink(path)
    for region in regions():
        if not unsure:
            assert region.pathname == os.fsdecode(path)
        assert region.deleted
        assert region.kind is RegionKind.FILE


def resolves() -> bool:
    """Whether the kernel tells a newline from the four characters."""
    return any(each.name == "PROCMAP_QUERY" and each.found for each in procmem.doctor())


@pytest.mark.parametrize("name", [n for n in NAMES.values() if len(n) < 240], ids=repr)
def test_a_memfd_has_its_true_name(target: Target, name: bytes) -> None:
    mapping = target.map_memfd(name, 1)
    process = Process(target.pid)
    for region in (process.maps().find(mapping.start), process.region_at(mapping.start)):
        assert region is not None
        if b"\\012" not in name or resolves():
            assert region.pathname == "/memfd:" + os.fsdecode(name)
        assert region.deleted
        assert region.kind is RegionKind.SHARED_MEMORY


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("then", ["", "delete", "replace"])
def test_an_executable_of_any_name_is_known_as_one(tmp_path: Path, name: bytes, then: Any) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    with start_copy(path, then=then) as target:
        process = Process(target.pid)
        table = process.maps()
        region = table.find(target.truths.main)
        assert region is not None
        assert region.owner is Owner.EXECUTABLE
        assert region.kind is RegionKind.TEXT
        assert region.deleted == bool(then)
        if b"\\012" not in name or resolves():
            assert region.pathname == os.fsdecode(path)
        alone = process.region_at(target.truths.main)
        assert alone is not None
        assert (alone.owner, alone.kind) == (Owner.EXECUTABLE, RegionKind.TEXT)


@pytest.mark.parametrize("end", [b"", b" (deleted)"])
def test_a_name_of_4096_bytes(target: Target, tmp_path: Path, end: bytes) -> None:
    place = os.fsencode(tmp_path)
    target.chdir(place)
    here = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    used = len(place)
    try:
        while used < 4096:
            # What is left for the last part has room for a slash and a name.
            left = 4096 - used - 1
            part = b"d" * (left if left <= 250 else min(250, left - 20))
            last = used + 1 + len(part) == 4096
            if last:
                part = part[: len(part) - len(end)] + end
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, dir_fd=here)
                os.write(descriptor, b"x" * PAGE)
                os.close(descriptor)
            else:
                os.mkdir(part, dir_fd=here)
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
                os.close(here)
                here = below
                target.chdir(part)
            used += 1 + len(part)
        assert used == 4096
    finally:
        os.close(here)
    mapping = target.map_file(part, 1)
    process = Process(target.pid)
    region = process.maps().find(mapping.start)
    assert region is not None
    assert region.raw_pathname is not None
    assert len(region.raw_pathname) == 4096
    assert process.region_at(mapping.start) == region


def test_a_deleted_file_beside_a_new_one_of_its_printed_name(
    target: Target, tmp_path: Path
) -> None:
    old = tmp_path / "x"
    old.write_bytes(b"x" * PAGE)
    mapping = target.map_file(old, 1)
    old.unlink()
    (tmp_path / "x (deleted)").write_bytes(b"y" * PAGE)
    region = Process(target.pid).maps().find(mapping.start)
    assert region is not None
    assert (region.pathname, region.deleted) == (str(old), True)
