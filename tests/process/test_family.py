"""A process and its forks: each page that is written moves from one column to another."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.process import family as module
from procmem.procfs import probes
from tests.support.specimens import in_memory
from tests.support.targets import PAGE, machine

if TYPE_CHECKING:
    from pathlib import Path

    from procmem.process.family import FamilyMember, FamilyRegion
    from tests.support.targets import Mapping, Target


@pytest.fixture(params=["frames", "bits"], autouse=True)
def frames(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways to compare pages: by frames, as root, and by the bits that everybody sees."""
    if request.param == "bits":
        monkeypatch.setattr(probes, "shows_page_frames", lambda: False)
    elif not probes.shows_page_frames():
        pytest.skip("page frame numbers take CAP_SYS_ADMIN")
    return bool(request.param == "frames")


def members(target: Target) -> dict[int, FamilyMember]:
    family = procmem.Process(target.pid).family()
    assert (family.unread, family.gone) == ({}, 0)
    return {member.pid: member for member in family.members}


def part(member: FamilyMember, mapping: Mapping) -> FamilyRegion:
    (found,) = [each for each in member.regions if each.region.start == mapping.start]
    return found


def pages(member: FamilyMember, mapping: Mapping) -> tuple[int, int, int, int]:
    found = part(member, mapping)
    assert found.swapped == 0
    return (
        found.shared // PAGE,
        found.copied // PAGE,
        found.own // PAGE,
        found.file // PAGE,
    )


def test_each_page_that_is_written_moves(target: Target, frames: bool) -> None:
    mapping = target.map(1000)
    target.touch(mapping, 600)
    with target.fork() as child, target.fork() as other:
        found = members(target)
        # By PID: they begin anew at the last one, so that the younger may come first.
        assert list(found) == [target.pid, *sorted((child.pid, other.pid))]
        assert pages(found[target.pid], mapping) == (600, 0, 0, 0)
        assert pages(found[child.pid], mapping) == (600, 0, 0, 0)
        assert part(found[child.pid], mapping).inherited
        child.touch(mapping.page(0, 70))
        child.touch(mapping.page(600, 25))
        found = members(target)
        assert pages(found[child.pid], mapping) == (530, 70, 25, 0)
        assert pages(found[other.pid], mapping) == (600, 0, 0, 0)
        assert pages(found[target.pid], mapping) == (600, 0, 0, 0)
        # The parent writes: the children keep what it had, and share that with each other.
        target.touch(mapping.page(100, 40))
        found = members(target)
        assert pages(found[child.pid], mapping) == (490, 110, 25, 0)
        assert pages(found[other.pid], mapping) == (560, 40, 0, 0)
        assert pages(found[target.pid], mapping) == (560, 0, 40, 0)
        assert found[child.pid].frees >= (70 + 25) * PAGE
        assert (found[child.pid].depth, found[child.pid].ppid) == (1, target.pid)
    assert list(members(target)) == [target.pid]
    assert frames == procmem.Process(target.pid).family().exact


def test_grandchildren_are_compared_with_their_parent(target: Target) -> None:
    mapping = target.map(100)
    target.touch(mapping)
    with target.fork() as child:
        child.touch(mapping.page(0, 30))
        with child.fork() as grandchild:
            grandchild.touch(mapping.page(20, 20))
            found = members(target)
            assert [member.depth for member in found.values()] == [0, 1, 2]
            assert pages(found[child.pid], mapping) == (70, 30, 0, 0)
            assert pages(found[grandchild.pid], mapping) == (80, 20, 0, 0)


def test_memory_that_was_mapped_after_the_fork_is_not_inherited(target: Target) -> None:
    with target.fork() as child:
        mine = target.map(40)
        theirs = child.map(50)
        target.touch(mine)
        child.touch(theirs, 20)
        found = members(target)
        assert mine.start == theirs.start or not part(found[child.pid], theirs).inherited
        assert sum(pages(found[child.pid], theirs)[:3]) == 20
        assert found[child.pid].own + found[child.pid].copied >= 20 * PAGE


def test_files_and_shared_memory_have_a_column(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(30 * PAGE))
    private, shared = target.map_file(path, 30, "rw-p"), target.map(25, "rw-s")
    target.read(private)
    target.touch(shared)
    with in_memory(path), target.fork() as child:
        child.read(private)
        child.touch(shared.page(0, 10))
        child.touch(private.page(0, 4))
        found = members(target)
        # A copy of a page of the file: the parent has the file's.
        assert pages(found[child.pid], private) == (0, 4, 0, 26)
        assert pages(found[child.pid], shared) == (0, 0, 0, 10)
        assert pages(found[target.pid], shared) == (0, 0, 0, 25)


def test_the_zero_page_is_no_memory(target: Target) -> None:
    mapping = target.map(20)
    target.read(mapping, 10)
    with target.fork() as child:
        child.read(mapping)
        child.touch(mapping.page(0, 3))
        # Before Linux 6.7 it looks like any other page.
        own = 3 if probes.has_pagemap_scan() else 20
        assert pages(members(target)[child.pid], mapping) == (0, 0, own, 0)


def test_after_execve_nothing_is_inherited(target: Target) -> None:
    words, pipe = [sys.executable, "-c", "input(chr(10))"], subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe) as started:
        # execve(2) closes Popen's pipe before it is done.
        assert started.stdout is not None
        started.stdout.read(1)
        family = procmem.Process().family()
        (member,) = [each for each in family.members if each.pid == started.pid]
        assert member.executed
        assert not any(each.inherited for each in member.regions)
        assert (member.shared, member.copied) == (0, 0)
        assert member not in family.forked
        assert started.stdin is not None
        started.stdin.write(b"\n")


def test_those_that_end_or_deny_are_counted(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = module.read_member
    errors: list[procmem.ProcessError] = [
        procmem.AccessDenied(1, "no"),
        procmem.NoSuchProcess(1),
        procmem.ZombieProcess(1),
    ]

    def some(files: procmem.procfs.ProcessFiles, *rest: object) -> object:
        if files.pid != target.pid and errors:
            raise errors.pop(0)
        return read(files, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "read_member", some)
    with target.fork() as a, target.fork() as b, target.fork() as c, target.fork() as d:
        denied, _, _, read_last = sorted(child.pid for child in (a, b, c, d))
        family = procmem.Process(target.pid).family()
        assert [member.pid for member in family.members] == [target.pid, read_last]
        assert list(family.unread) == [denied]
        assert family.gone == 2


def test_errors_of_the_first_member_are_raised(target: Target) -> None:
    process = procmem.Process(target.pid)
    target.close()
    with pytest.raises(procmem.NoSuchProcess):
        process.family()


def test_all_of_it_as_plain_values(target: Target) -> None:
    mapping = target.map(10)
    target.touch(mapping)
    with target.fork() as child:
        plain = json.loads(json.dumps(procmem.Process(target.pid).family().to_dict()))
        assert [each["pid"] for each in plain["members"]] == [target.pid, child.pid]
        for each in plain["members"]:
            for size in ("shared", "copied", "own", "file", "swapped"):
                assert each[size] == sum(region[size] for region in each["regions"])


def test_a_user_sees_his_own_family(target: Target) -> None:
    code = (
        "import os, time, mmap, procmem\n"
        "memory = mmap.mmap(-1, 400 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "memory[:] = b'x' * len(memory)\n"
        "go, end = os.pipe(), os.pipe()\n"
        "if not (child := os.fork()):\n"
        "    memory[: 100 * 4096] = b'y' * 100 * 4096\n"
        "    os.write(go[1], b'x'); os.close(end[1]); os.read(end[0], 1); os._exit(0)\n"
        "os.read(go[0], 1)\n"
        "family = procmem.Process().family()\n"
        "print(family.exact, *((m.shared // 4096 >= 300, m.copied // 4096 >= 100)"
        " for m in family.forked))\n"
        "os.close(end[1]); os.waitpid(child, 0)\n"
    )
    done = machine.as_nobody(code, modules=("procmem.process.family",))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "False (True, True)\n"
