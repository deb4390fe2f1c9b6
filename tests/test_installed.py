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
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

SCRIPT = '''
"""What an engineer writes, with types."""

import procmem
from procmem import Diff, Process, RegionTable
from procmem.regions import MeasuredRegion


def largest(pid: int) -> MeasuredRegion:
    table: RegionTable[MeasuredRegion] = Process(pid).smaps()
    return max(table, key=lambda region: region.rss or 0)


def grown(process: Process) -> int | None:
    before = process.snapshot()
    change: Diff = process.snapshot() - before
    return change.rss


def typical(gathered: procmem.Gathered) -> list[str]:
    return [one.process.host for one in gathered.outliers()]


found: int | None = largest(1).rss
sizes: list[int] = [section.size for section in procmem.size("/bin/ls").sections]
'''

WRONG = """
import procmem

procmem.Process("1").smaps().nonsense
procmem.no_such_name
text: str = procmem.Process().memory().vsz
"""


class Installed:
    """An environment with the wheel; its dependencies are those of this environment.

    Attributes:
        place: the environment.
        wheel: the wheel.
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
        self.site = next(self.place.glob("lib/python*/site-packages"))
        # Only the directory is added: what .pth files in it name, such as this checkout, is not.
        (self.site / "more.pth").write_text(sysconfig.get_path("purelib") + "\n")
        with zipfile.ZipFile(self.wheel) as packed:
            packed.extractall(self.site)

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if key[:6] != "PYTHON"}
        return subprocess.run(
            [self.place / "bin" / "python", *words],
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
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "wrong.py").write_text(WRONG)
    words = [
        sys.executable, "-m", "mypy", "--strict", "--python-executable",
        str(installed.place / "bin" / "python"), "--cache-dir", str(tmp_path / "cache"),
    ]  # fmt: skip
    done = subprocess.run(
        [*words, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("Success: "), done.stdout
    done = subprocess.run(
        [*words, "wrong.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert {line.partition(": ")[0] for line in done.stdout.splitlines()[:-1]} == {
        "wrong.py:4", "wrong.py:5", "wrong.py:6",
    }  # fmt: skip


def pyright() -> list[str]:
    here = Path(sys.executable).parent
    found = shutil.which("pyright", path=f"{here}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("pyright is not installed")
    done = subprocess.run([found, "--version"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("pyright does not run here: it needs node and its package")
    return [found]


def test_pyright_knows_its_types(installed: Installed, tmp_path: Path) -> None:
    words = [*pyright(), "--pythonpath", str(installed.place / "bin" / "python")]
    (tmp_path / "script.py").write_text("# pyright: strict\n" + SCRIPT)
    (tmp_path / "wrong.py").write_text(WRONG)
    done = subprocess.run(
        [*words, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    done = subprocess.run(
        [*words, "wrong.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    for line in (4, 5, 6):
        assert f"wrong.py:{line}:" in done.stdout


NAMES = r"""
import importlib, jedi
here = jedi.InterpreterEnvironment()

def offered(line):
    return {one.name for one in jedi.Script(line, environment=here).complete()}

for package in ("procmem", "procmem.calls", "procmem.elf", "procmem.experiments", "procmem.grade"):
    module = importlib.import_module(package)
    names = set(module.__all__)
    print(*(names - set(dir(module))), *(names - offered(f"import {package}\n{package}.")))
found = offered("import procmem\nprocmem.Process().smaps().")
print(*({"filter", "total", "by_kind", "to_polars"} - found))
"""


def test_each_public_name_is_completed(installed: Installed) -> None:
    """By dir(), which shells of Python use, and by jedi, which reads the files."""
    pytest.importorskip("jedi", reason="jedi is not installed")
    done = installed.run("-c", NAMES)
    assert done.stderr == ""
    assert done.stdout.split() == []


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
