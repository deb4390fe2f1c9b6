"""ControlGroup: its parts make up the usage, live in a group of its own, and saved."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, cast

import pytest

import procmem
from procmem.system.controlgroup import ControlGroup
from procmem.system.hierarchies import memory_hierarchy
from tests.support.paths import FIXTURES
from tests.support.targets import PAGE, Target, TargetDied, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

ID = "0123456789abcdef" * 4
SAVED = FIXTURES / f"cgroups/linux-6.12-v2/tree/system.slice/docker-{ID}.scope"
MiB = 1 << 20


@pytest.fixture
def group() -> Iterator[Path]:
    with machine.memory_cgroup(1 << 30) as setting:
        yield setting.or_skip().path


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something comes true: memory.stat is brought up to date every two seconds."""
    deadline = time.monotonic() + 300
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def join(group: Path, pid: int) -> None:
    (group / "cgroup.procs").write_text(f"{pid}\n")


def test_its_parts_make_up_its_usage(group: Path) -> None:
    with Target() as target:
        join(group, target.pid)
        target.touch(target.map(500))
        target.touch(target.map_memfd("shared", 300))
        found = ControlGroup(group)
        assert found.version in (1, 2)
        assert found.usage == sum(found.parts.values()) + (found.remainder or 0)
        assert (found.limit, found.effective_limit, found.limited_by) == (
            1 << 30,
            1 << 30,
            str(group),
        )
        assert found.peak is None or found.peak >= (found.usage or 0)

        anon, shmem = 500 * PAGE, 300 * PAGE
        if os.path.exists("/proc/kpagecgroup"):
            exact = found.charges.frames
            assert exact["anon"] >= anon
            assert exact["shmem"] == shmem

        def settled() -> bool:
            now = ControlGroup(group)
            return (
                (now.anon or 0) >= anon
                and now.shmem == shmem
                and abs(now.remainder or 0) <= now.stock
            )

        assert eventually(settled), ControlGroup(group).parts
        assert [one.pid for one in found.processes] == [target.pid]
        assert ControlGroup(target.pid).path == str(group)
        assert ControlGroup(group.name).path == str(group)


def test_a_process_that_exceeds_the_limit_is_killed() -> None:
    with machine.memory_cgroup(4 * MiB) as setting, Target() as target:
        group = setting.or_skip().path
        join(group, target.pid)
        assert ControlGroup(group).oom_kills == 0
        with pytest.raises(TargetDied):
            target.touch(target.map(2048))
        found = ControlGroup(group)
        assert found.oom_kills == 1
        assert found.events["max"] >= 1
        assert found.peak is None or found.peak <= 4 * MiB


def test_a_limit_of_the_group_above_counts(group: Path) -> None:
    inner = group / "inner"
    machine.count_inside(group)
    inner.mkdir()
    try:
        found = ControlGroup(inner)
        assert (found.limit, found.effective_limit) == (None, 1 << 30)
        assert found.limited_by == str(group)
        assert found.processes == []
    finally:
        machine.remove_group(inner)


def test_the_group_of_this_process() -> None:
    try:
        found = ControlGroup("self")
    except procmem.Unsupported as error:
        pytest.skip(str(error))
    assert found.path == ControlGroup(os.getpid()).path
    assert os.getpid() in [one.pid for one in found.processes]
    assert found.usage is None or found.usage > 0
    assert found.working_set is None or found.working_set <= (found.usage or 0)


def test_saved_files_of_version_2() -> None:
    found = ControlGroup(SAVED)
    assert (found.version, found.live) == (2, False)
    assert (found.usage, found.limit, found.peak) == (12906496, 64 * MiB, 14077952)
    assert found.parts == {
        "anon": 53248,
        "shmem": 12 * MiB,
        "file": 0,
        "kernel": 90112,
        "sock": 0,
    }
    assert found.remainder == 12906496 - 53248 - 12 * MiB - 90112
    assert found.working_set == 12906496
    assert found.reclaimable == 29408
    assert found.oom_kills == 0
    # PIDs in saved files are not those of this machine.
    assert (found.processes, found.files) == ([], [])
    with pytest.raises(procmem.Unsupported, match="saved files"):
        found.charges  # noqa: B018 - reads


def test_the_root_of_version_2_has_no_usage() -> None:
    found = ControlGroup(SAVED.parent.parent)
    assert (found.usage, found.remainder, found.working_set) == (None, None, None)
    assert found.shmem == 16801792


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(procmem.BadArgument, match="is no memory control group"):
        ControlGroup(tmp_path)
    (tmp_path / "cgroup.controllers").write_text("cpu\n")
    with pytest.raises(procmem.BadArgument):
        ControlGroup(tmp_path)
    with pytest.raises(procmem.NoSuchProcess):
        ControlGroup(1 << 30)


SHOW = """
import json, procmem
group = procmem.ControlGroup("self")
print(json.dumps({name: getattr(group, name) for name in ("path", "limit", "usage", "kernel")}))
"""


def in_namespace(group: Path, *before: str) -> dict[str, Any]:
    """What `procmem container self` shows in a cgroup namespace whose root is the group."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare(1) is missing")
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(SHOW)}"
    script = f"echo $$ > {group}/cgroup.procs && exec unshare --cgroup --mount sh -c " + (
        shlex.quote(" && ".join([*before, f"exec {command}"]))
    )
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr or "permission denied" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return cast("dict[str, Any]", json.loads(done.stdout))


def test_inside_a_container_with_the_hosts_mount(group: Path) -> None:
    found = in_namespace(group)
    assert (found["path"], found["limit"]) == (str(group), 1 << 30)
    assert found["usage"] > 0


def test_inside_a_container_with_a_mount_of_its_own(group: Path) -> None:
    version, point, _ = memory_hierarchy()
    kind = "cgroup2" if version == 2 else "cgroup -o memory"
    found = in_namespace(group, f"umount {point}", f"mount -t {kind} group {point}")
    # Its own group is the root of what it sees, and still has a limit and kernel memory.
    assert (found["path"], found["limit"]) == (point, 1 << 30)
    assert found["kernel"] > 0
