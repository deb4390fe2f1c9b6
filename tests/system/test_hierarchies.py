"""Which control group a PID, a path, a name or a container's ID stands for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.procfs.text import parse_cgroup
from procmem.system import hierarchies
from procmem.system.hierarchies import (
    Hierarchy,
    container_id,
    find_group,
    group_paths,
    memory_hierarchy,
    parse_hierarchies,
)
from tests.support.paths import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = FIXTURES / "cgroups"
ID = "0123456789abcdef" * 4
NAME = f"system.slice/docker-{ID}.scope"

V1 = b"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
V2 = b"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"


def test_version_1_is_taken_where_it_has_the_memory_controller() -> None:
    assert memory_hierarchy(V2 + V1) == Hierarchy(1, "/sys/fs/cgroup/memory", "/")
    assert memory_hierarchy(V2).version == 2
    with pytest.raises(procmem.Unsupported, match="no control groups are mounted"):
        memory_hierarchy(b"31 23 0:28 / /sys rw - sysfs sysfs rw\n\nodd line\n - \n")


def test_several_controllers_in_one_hierarchy() -> None:
    line = b"1 2 0:3 / /cg/cpu,memory rw shared:9 master:1 - cgroup cgroup rw,cpu,memory\n"
    assert parse_hierarchies(line)["memory"].point == "/cg/cpu,memory"
    assert parse_hierarchies(line)["cpu"].point == "/cg/cpu,memory"


@pytest.mark.parametrize(
    "root, path, inner",
    [
        ("/", "/", ""),
        ("/", "/a/b", "/a/b"),
        # Version 1 in docker, without a cgroup namespace: both name the host's path.
        ("/docker/1f", "/docker/1f", ""),
        ("/docker/1f", "/docker/1f/init", "/init"),
        ("/docker/1f", "/docker/2e", None),
        ("/docker/1f", "/", None),
        # In a cgroup namespace: groups outside of it are above its root.
        ("/", "/..", None),
        ("/", "/../b", None),
        ("/../..", "/../../c", "/c"),
        ("/../..", "/../..", ""),
        ("/../..", "/", None),
        ("/..", "/../../x", None),
    ],
)
def test_directory(root: str, path: str, inner: str | None) -> None:
    expected = None if inner is None else f"/m{inner}"
    assert Hierarchy(2, "/m", root).directory(path) == expected


@pytest.mark.parametrize("kernel", ["linux-6.12-v2", "linux-6.1-v2"])
def test_real_files_of_version_2(kernel: str) -> None:
    folder = GROUPS / kernel
    outside = memory_hierarchy((folder / "mountinfo").read_bytes())
    assert outside == Hierarchy(2, "/sys/fs/cgroup", "/")
    group = parse_cgroup((folder / "cgroup").read_bytes())[""]
    assert outside.directory(group) == f"/sys/fs/cgroup/{NAME}"
    # In the container's namespace, with the mount of the host: the names between are not shown.
    inside = memory_hierarchy((folder / "inside.self.mountinfo").read_bytes())
    assert inside.root == "/../.."
    own = parse_cgroup((folder / "inside.self.cgroup").read_bytes())[""]
    assert (own, inside.directory(own)) == ("/", None)
    first = parse_cgroup((folder / "inside.1.cgroup").read_bytes())[""]
    assert inside.directory(first) == "/sys/fs/cgroup"


@pytest.mark.parametrize(
    "name",
    [
        ID,
        f"docker-{ID}.scope",
        f"libpod-{ID}.scope",
        f"cri-containerd-{ID}.scope",
        f"crio-{ID}.scope",
    ],
)
def test_names_of_containers(name: str) -> None:
    assert container_id(name) == ID


@pytest.mark.parametrize("name", ["ssh.service", "docker-12.scope", "", "user.slice", ID[:12]])
def test_other_names(name: str) -> None:
    assert container_id(name) is None


# ---- words, in a tree that stands for the mounted one ----


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    other = "f" * 64
    for name in (
        f"kubepods.slice/kubepods-pod7.slice/cri-containerd-{ID}.scope/inner",
        f"docker/{other}",
        "system.slice/ssh.service",
        "user.slice/ssh.service",
        "docker/4711",
    ):
        (tmp_path / name).mkdir(parents=True)
    for path in group_paths(str(tmp_path)):
        with open(f"{path}/memory.current", "w", encoding="ascii") as file:
            file.write("4096\n")
        with open(f"{path}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0\n")
    (tmp_path / "system.slice/cgroup.procs").write_text(f"{os.getpid()}\n")
    made = Hierarchy(2, str(tmp_path), "/")
    monkeypatch.setattr(hierarchies, "memory_hierarchy", lambda: made)
    return tmp_path


@pytest.mark.parametrize(
    "word, found",
    [
        (ID, f"kubepods.slice/kubepods-pod7.slice/cri-containerd-{ID}.scope"),
        (ID[:6], f"kubepods.slice/kubepods-pod7.slice/cri-containerd-{ID}.scope"),
        ("ffffffffffff", "docker/" + "f" * 64),
        ("/system.slice/ssh.service", "system.slice/ssh.service"),
        ("system.slice/ssh.service", "system.slice/ssh.service"),
        ("docker", "docker"),
        # No process has this number, but a group does.
        ("99999999", "docker/99999999"),
        ("/", "."),
    ],
)
def test_words(tree: Path, word: str, found: str) -> None:
    (tree / "docker/99999999").mkdir()
    assert find_group(word) == os.path.normpath(tree / found)


@pytest.mark.parametrize(
    "word, message",
    [
        ("ssh.service", "matches 2 control groups"),
        ("ffff", "at least 6 digits"),
        ("nothing", "no control group below"),
        ("", "no control group"),
        ("a\0b", "no control group"),
        ("/nothing/here", "no such directory"),
        ("/usr", "is no memory control group"),
    ],
)
def test_words_that_stand_for_nothing(tree: Path, word: str, message: str) -> None:
    with pytest.raises(procmem.BadArgument, match=message):
        find_group(word)


def test_no_such_process(tree: Path) -> None:
    with pytest.raises(procmem.NoSuchProcess):
        find_group("99999998")


def test_a_process_that_its_path_does_not_lead_to_is_searched(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a cgroup namespace that sees the mount of another one."""
    made = Hierarchy(2, str(tree), "/../..")
    monkeypatch.setattr(hierarchies, "memory_hierarchy", lambda: made)
    monkeypatch.setattr(hierarchies, "parse_cgroup", lambda _: {"": "/"})
    assert find_group(os.getpid()) == str(tree / "system.slice")
    (tree / "system.slice/cgroup.procs").write_text("0\n")
    with pytest.raises(procmem.Unsupported, match="outside of"):
        find_group("self")
