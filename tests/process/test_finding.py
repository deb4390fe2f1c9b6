"""Processes by name, and what a word of a command line stands for."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.errors import BadArgument
from procmem.process.finding import find, oldest, resolve
from procmem.process.naming import script_of
from tests.support.sleepers import copied, save_process, sleepers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.targets import Target


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., int]]:
    yield from sleepers(tmp_path)


def test_a_process_is_found_by_each_of_its_names(start: Callable[..., int], tmp_path: Path) -> None:
    mark = f"pm{os.getpid()}"
    long = copied(tmp_path, f"{mark}-with-a-long-name")
    first = start(long, "60")
    titled = start(f"{mark}-titled: worker process", "60", executable=long)
    for name, pids in {
        f"{mark}-with-a-long-name": {first, titled},  # the executable of both
        long: {first, titled},
        f"{mark}-titled": {titled},
        f"{mark}-with-a-long-name"[:15]: {first, titled},  # comm
        f"{mark}-with": set(),
        mark: set(),
    }.items():
        assert {process.pid for process in find(name)} == pids, name


def test_a_script_is_found_by_its_name(start: Callable[..., int], tmp_path: Path) -> None:
    name = f"pm{os.getpid()}app.py"
    (tmp_path / name).write_text("import time\ntime.sleep(60)\n")
    plain = start(sys.executable, name)
    warned = start(sys.executable, "-u", "-W", "error", f"{tmp_path}/{name}")
    assert [process.pid for process in find(name)] == sorted([plain, warned])


@pytest.mark.parametrize(
    "interpreter, words, script",
    [
        ("python", ["app.py", "x"], "app.py"),
        ("python", ["-u", "-X", "dev", "app.py"], "app.py"),
        ("python", ["-m", "http.server"], "http.server"),
        ("python", ["-c", "app.py"], None),
        ("python", ["-Ec", "app.py"], None),
        ("python", [], None),
        ("bash", ["-e", "run.sh"], "run.sh"),
        ("bash", ["-o", "pipefail", "run.sh"], "run.sh"),
        ("sh", ["-c", "run.sh"], None),
        ("sh", ["-ec", "run.sh"], None),
        ("perl", ["-e", "x"], None),
        ("perl", ["-w", "x.pl"], "x.pl"),
        ("java", ["-cp", "a:b", "-jar", "x.jar"], "x.jar"),
        ("java", ["-Xmx1g", "org.Main"], "org.Main"),
        ("node", ["--import", "x", "server.js"], "server.js"),
        ("bash", ["--", "run.sh"], "run.sh"),
    ],
)
def test_the_script_of_an_interpreter(
    interpreter: str, words: list[str], script: str | None
) -> None:
    assert next(script_of(interpreter, words), None) == script


def test_this_process_is_never_found() -> None:
    own = {Path(os.readlink("/proc/self/exe")).name, Path("/proc/self/comm").read_text().strip()}
    for name in own:
        assert os.getpid() not in {process.pid for process in find(name)}


@pytest.fixture
def saved(target: Target, tmp_path: Path) -> Path:
    return save_process(target.pid, tmp_path)


def test_a_number_is_a_pid_and_a_doubt_is_refused(
    start: Callable[..., int], tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(saved / "one.snap", str(os.getpid()))
    (only,) = resolve(str(os.getpid()))
    assert only == procmem.Process()
    (only,) = resolve(f"./{os.getpid()}")
    assert isinstance(only, procmem.Snapshot)
    name = f"pm{os.getpid()}doubt"
    pid = start(copied(tmp_path, name), "60")
    # The program's own file is no snapshot: it is the process that is meant.
    assert [one.pid for one in resolve(name) if isinstance(one, procmem.Process)] == [pid]
    os.unlink(name)
    shutil.copy(saved / "one.snap", name)
    monkeypatch.setattr("procmem.process.finding.find", lambda *_, **__: [procmem.Process(pid)])
    with pytest.raises(BadArgument, match=f"a file here and the name of process {pid}"):
        resolve(name)


def test_a_parent_stands_for_its_children(target: Target) -> None:
    name = f"pm{os.getpid()}three"
    target.comm(name)
    with target.fork() as child, child.fork():
        assert len(find(name)) == 3
        assert oldest([name, "7", "no such name"]) == [str(target.pid), "7", "no such name"]
    assert oldest([name]) == [name]


def test_a_file_that_may_not_be_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not "no such file": a directory on the way may not be searched by this user."""

    def denied(path: str, **_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with pytest.raises(BadArgument, match="no such file"):
        resolve("/nowhere/x.snap")
    with monkeypatch.context() as patch, pytest.raises(PermissionError):
        patch.setattr("procmem.process.finding.os.stat", denied)
        resolve("/nowhere/x.snap")
