"""procmem as its users have it: a wheel, installed in an environment of its own."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from procmem.cli import COMMANDS
from scripts.build_dist import machine_of, shared
from scripts.release import normalised
from scripts.try_wheel import (
    completion_problems,
    mypy_problems,
    pyright_problems,
    started_by_others,
    wheelhouse,
)
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


class Installed:
    """An environment with the wheel; its dependencies are those of this environment.

    Attributes:
        place: the environment.
        wheel: the wheel.
        python: its Python.
        site: its site-packages.
    """

    def __init__(self, place: Path) -> None:
        self.place = place / "env"
        sources = place / "sources"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if listed.returncode:
            pytest.skip("not a checkout: no git here")
        wanted = ("procmem/", "setup.py", "pyproject.toml", "README", "LICENSE")
        for name in listed.stdout.split("\0"):
            if name.startswith(wanted) and (ROOT / name).is_file():
                (sources / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, sources / name)
        code = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"
        done = subprocess.run(
            [sys.executable, "-c", code, str(place)],
            cwd=sources, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode and "license" in done.stderr:
            pytest.skip("setuptools is older than 77")
        assert done.returncode == 0, done.stderr
        (self.wheel,) = place.glob("*.whl")
        venv.create(self.place, with_pip=False)
        self.python = self.place / "bin" / "python"
        self.site = next(self.place.glob("lib/python*/site-packages"))
        # Only the directory is added: what .pth files in it name, such as this checkout, is not.
        (self.site / "more.pth").write_text(sysconfig.get_path("purelib") + "\n")
        with zipfile.ZipFile(self.wheel) as packed:
            packed.extractall(self.site)

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if key[:6] != "PYTHON"}
        return subprocess.run(
            [self.python, *words],
            cwd=self.place, env={**env, **more}, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


def test_it_is_the_wheel_that_is_used(installed: Installed) -> None:
    done = installed.run("-c", "import procmem, procmem.native as n; print(n.__file__)")
    assert done.stdout.startswith(str(installed.site)), done.stderr
    done = installed.run("-m", "procmem", "maps", "self")
    assert (done.returncode, done.stderr) == (0, "")
    assert "stack" in done.stdout


def test_it_has_completion_and_manual_pages(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as packed:
        names = set(packed.namelist())
    assert set(shared(installed.wheel)) <= names
    assert len([name for name in names if "/man1/" in name]) == len(COMMANDS) + 1
    assert machine_of(installed.wheel) == os.uname().machine


def test_both_commands_start_it(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as packed:
        (name,) = [one for one in packed.namelist() if one.endswith("entry_points.txt")]
        lines = packed.read(name).decode().splitlines()
    for command in ("procmem", "procmem-live"):
        assert f"{command} = procmem.cli:main" in lines


def test_mypy_knows_its_types(installed: Installed, tmp_path: Path) -> None:
    """PEP 561: py.typed and the stubs of the C parts are in the wheel."""
    pytest.importorskip("mypy", reason="mypy is not installed")
    assert mypy_problems(installed.python, tmp_path) == []


def tool(name: str) -> str | None:
    """The path of a tool; None: it is not installed, or does not run here."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        return None
    done = subprocess.run([found, "--version"], capture_output=True, check=False)
    return None if done.returncode else found


def test_pyright_knows_its_types(installed: Installed, tmp_path: Path) -> None:
    pyright = tool("pyright")
    if pyright is None:
        pytest.skip("pyright is not installed, or lacks node and its package")
    assert pyright_problems(pyright, installed.python, tmp_path) == []


def test_each_public_name_is_completed(installed: Installed) -> None:
    pytest.importorskip("jedi", reason="jedi is not installed")
    assert completion_problems(installed.python) == []


@pytest.mark.parametrize("name", ["uv", "pipx"])
def test_it_is_started_without_being_installed(
    installed: Installed, name: str, tmp_path: Path
) -> None:
    """`uvx procmem-live` and `pipx run procmem-live`, from a directory with all packages."""
    found = tool(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    if why := wheelhouse(installed.wheel, tmp_path):
        pytest.skip(f"what procmem needs can't be had here: {why[-200:]}")
    uv, pipx = (found, None) if name == "uv" else (None, found)
    assert started_by_others(uv, pipx, tmp_path) == []


def test_an_sdist_that_does_not_depend_on_who_makes_it() -> None:
    def made(when: int, names: tuple[str, ...], mode: int, uid: int) -> bytes:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w:gz") as packed:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.mode = 3, when, mode
                member.uid, member.uname = uid, f"user{uid}"
                packed.addfile(member, io.BytesIO(b"abc"))
        return raw.getvalue()

    one = made(1, ("a", "b"), 0o644, 0)
    other = made(2, ("b", "a"), 0o664, 1000)
    assert one != other
    assert normalised(one, 7) == normalised(other, 7)
    with tarfile.open(fileobj=io.BytesIO(normalised(other, 7))) as packed:
        assert [(m.name, m.mtime, m.uid, m.mode) for m in packed] == [
            ("a", 7, 0, 0o644), ("b", 7, 0, 0o644),
        ]  # fmt: skip
        file = packed.extractfile("a")
        assert file is not None
        assert file.read() == b"abc"
