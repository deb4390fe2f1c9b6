"""Byte for byte against GNU size over all ELF files and archives under /usr."""

from __future__ import annotations

import os

import pytest

from tests.support.gnu_size import needs_size, same

MODES = (["-B"], ["-A"], ["-G"], ["-x"], ["-o"], ["-t"])
AT_ONCE = 40


def files() -> tuple[list[str], list[str]]:
    """ELF files and archives that this user may read."""
    elves, archives = [], []
    for folder, _, names in os.walk("/usr"):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            try:
                with open(path, "rb") as file:
                    magic = file.read(8)
            except OSError:
                continue
            if magic[:4] == b"\x7fELF":
                elves.append(path)
            elif magic in (b"!<arch>\n", b"!<thin>\n"):
                archives.append(path)
    return sorted(elves), sorted(archives)


def differing(mode: list[str], paths: list[str]) -> list[str]:
    if same([*mode, *paths]):
        return []
    return [path for path in paths if not same([*mode, path])] or paths


def agreement(elves: list[str], archives: list[str]) -> None:
    found: list[tuple[str, str]] = []
    for mode in MODES:
        different = [
            path
            for at in range(0, len(elves), AT_ONCE)
            for path in differing(mode, elves[at : at + AT_ONCE])
        ]
        different += [path for path in archives if not same([*mode, path])]
        total = len(elves) + len(archives)
        print(
            f"size {' '.join(mode)}: {total - len(different)} of {total} agree"
            f" ({len(elves)} ELF files, {len(archives)} archives)"
        )
        found += [(" ".join(mode), path) for path in different]
    assert found == []


@needs_size
def test_a_sample_of_usr_agrees() -> None:
    elves, archives = files()
    agreement(elves[:: max(1, len(elves) // 80)], archives[:: max(1, len(archives) // 5)])


@needs_size
@pytest.mark.slow
def test_all_of_usr_agrees() -> None:
    agreement(*files())
