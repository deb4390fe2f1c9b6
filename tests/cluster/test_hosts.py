"""What runs on a host: chosen processes, and what could not be read."""

from __future__ import annotations

import io
import os
import pickle
from typing import TYPE_CHECKING

import pytest

from procmem.cluster.hosts import HostChoice, machine_of, read_host
from procmem.snapshots.saved import read_frames
from tests.support.sleepers import copied, sleepers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., int]]:
    yield from sleepers(tmp_path)


def test_by_name_and_user(start: Callable[..., int], tmp_path: Path) -> None:
    name = f"pmh{os.getpid()}"
    path = copied(tmp_path, name)
    pids = sorted(start(path, "600") for _ in range(2))
    answer = read_host(tuple(HostChoice(names=(name,), users=(str(os.geteuid()),))))
    assert [row[:2] for row in answer["taken"]] == [(pid, name) for pid in pids]
    assert answer["unread"] == []
    assert answer["host"] == os.uname().nodename
    for row in answer["taken"]:
        (moment,) = read_frames(io.BytesIO(row[3]), "x")
        assert moment.identity.pid == row[0]
        assert moment.detail == "smaps"
    assert read_host(tuple(HostChoice(names=(name,), users=("nobody-here",))))["taken"] == []


def test_pids_that_are_not_there_are_named() -> None:
    answer = read_host(tuple(HostChoice(pids=(2**22 + 1, os.getpid()), detail="maps")))
    assert [row[0] for row in answer["taken"]] == [os.getpid()]
    assert answer["unread"] == [(2**22 + 1, "", f"process {2**22 + 1}: no such process")]


def test_only_plain_values_go_back() -> None:
    data = pickle.dumps(read_host(tuple(HostChoice(pids=(os.getpid(),)))))
    assert b"procmem.cluster" not in data
    assert b"snapshot\x94" not in data


def test_what_tells_machines_apart(tmp_path: Path) -> None:
    assert machine_of("/proc") == machine_of("/proc") != "? ?"
    assert machine_of(str(tmp_path)) == "? ?"
