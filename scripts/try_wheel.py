"""Tries a wheel or an sdist as its users have it: installed in an environment of its own."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import cached_property
from pathlib import Path

from scripts.build_dist import ROOT, check_sdist, check_wheel, machine_of

__all__ = [
    "Tools",
    "check",
    "clean_environment",
    "completion_problems",
    "mypy_problems",
    "pyright_problems",
    "started_by_others",
    "wheelhouse",
]


class Tools:
    """Environments, and tools that wheels are tried with, installed when first asked for.

    Args:
        place: a directory for them.
    """

    def __init__(self, place: Path) -> None:
        self.place = place

    @cached_property
    def path(self) -> str:
        """A PATH with pyright, uv and pipx, besides what is installed beside this Python."""
        made = self.environment(sys.executable, "pyright", "uv", "pipx", "pip")
        return os.pathsep.join([str(Path(sys.executable).parent), str(made), os.environ["PATH"]])

    @cached_property
    def pip(self) -> str:
        """A new pip: older ones take wheels of usual Pythons for free-threaded ones."""
        place = self.place / "pip"
        run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(place), "pip>=25"])
        return str(place / "pip")

    def environment(self, python: str, *packages: str) -> Path:
        """The directory of the programs of a new environment with these packages.

        pip runs in it and need not be installed there. The index is that of pip's settings; a
        Python without ssl gets packages from PIP_FIND_LINKS, with PIP_NO_INDEX=1.
        """
        home = Path(tempfile.mkdtemp(prefix="env-", dir=self.place))
        run([python, "-m", "venv", "--without-pip", str(home)])
        words = [self.pip, "--python", str(home / "bin" / "python"), "install", "--quiet"]
        run([sys.executable, *words, *packages])
        return home / "bin"

    def find(self, name: str) -> str:
        found = shutil.which(name, path=self.path)
        if found is None:
            sys.exit(f"release: {name} is missing: pip install {name}")
        return found


def run(words: list[str]) -> None:
    done = subprocess.run(
        words, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"release: {' '.join(words)}: {done.stdout.strip()}")


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of a user, without the settings of this Python."""
    return {key: value for key, value in os.environ.items() if key[:6] != "PYTHON"} | more


def check(path: Path, python: str, tools: Tools, root: Path | None) -> list[str]:
    """What is wrong with a file of the release.

    Args:
        path: the sdist or wheel.
        python: the Python that it was built with.
        tools: what wheels are tried with.
        root: a directory with Python, psutil and cffi for another processor.
    """
    usual = python == sys.executable
    if path.suffix != ".whl":
        return check_sdist(path) + installed(path, python, tools, around=False)
    problems = check_wheel(path, usual=usual) + audited(path, tools)
    if machine_of(path) != platform.machine():
        return problems + (foreign(path, root) if root else [])
    return problems + installed(path, python, tools, around=usual)


def audited(path: Path, tools: Tools) -> list[str]:
    """What auditwheel has to say: its tag must be ours."""
    words = [tools.find("auditwheel"), "show", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    text = " ".join(done.stdout.split())
    found = re.search(r'following platform tag: "(\w+)"', text)
    if found is None or found[1] not in path.name:
        return [f"{path.name}: auditwheel: {text or done.stderr.strip()}"]
    return []


# ---- installed -----------------------------------------------------------------------

COMMANDS = (
    ("procmem", "--version"),
    ("procmem-live", "--version"),
    ("procmem", "doctor"),
    ("procmem", "maps", "self"),
    ("procmem", "size", "/bin/ls"),
    ("python", "-m", "procmem", "maps", "self"),
)


def installed(path: Path, python: str, tools: Tools, *, around: bool) -> list[str]:
    """Installs a file in an empty environment, with what it needs, and uses it.

    Args:
        path: the wheel or sdist.
        python: the Python of the environment.
        tools: what it is tried with.
        around: also tries what users have around it: checkers of types, completion, uv and pipx.
    """
    problems = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        home = tools.environment(python, str(path))
        for words in COMMANDS:
            line = [str(home / words[0]), *words[1:]]
            done = said(line, place)
            if done.returncode or not done.stdout or "Traceback" in done.stderr:
                problems.append(f"{' '.join(words)}: {done.returncode}: {done.stderr.strip()}")
        problems += [
            f"share/{name} is not installed"
            for name in ("bash-completion/completions/procmem", "man/man1/procmem-maps.1")
            if not (home.parent / "share" / name).is_file()
        ]
        if around:
            there = home / "python"
            house = place / "house"
            problems += mypy_problems(there, place) + completion_problems(there)
            problems += pyright_problems(tools.find("pyright"), there, place)
            if not (why := wheelhouse(path, house)):
                problems += started_by_others(tools.find("uv"), tools.find("pipx"), house)
            else:
                problems.append(why)
    return [f"{path.name}: {problem}" for problem in problems]


def said(words: list[str], place: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=place, env=clean_environment(**environ), capture_output=True, text=True,
        check=False,
    )  # fmt: skip


# ---- types and names -----------------------------------------------------------------

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
WRONG_LINES = (4, 5, 6)


def mypy_problems(python: Path, place: Path) -> list[str]:
    """What mypy --strict says to a right script, and does not say to a wrong one.

    Args:
        python: of the environment with procmem.
        place: a directory for the scripts.
    """
    words = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python)]
    words += ["--cache-dir", str(place / "mypy")]
    return typed("mypy --strict", words, "", place)


def pyright_problems(pyright: str, python: Path, place: Path) -> list[str]:
    """The same of pyright in strict mode."""
    words = [pyright, "--pythonpath", str(python)]
    return typed("pyright", words, "# pyright: strict\n", place)


def typed(name: str, words: list[str], mode: str, place: Path) -> list[str]:
    (place / "script.py").write_text(mode + SCRIPT)
    (place / "wrong.py").write_text(WRONG)
    right, wrong = (said([*words, file], place) for file in ("script.py", "wrong.py"))
    problems = []
    if right.returncode:
        problems.append(f"{name}: {right.stdout.strip() or right.stderr.strip()}")
    found = {int(line) for line in re.findall(r"wrong\.py:(\d+)", wrong.stdout)}
    if found != {*WRONG_LINES}:
        problems.append(f"{name}: errors in lines {WRONG_LINES} are found in {sorted(found)}")
    return problems


NAMES = r"""
import importlib, jedi, sys
here = jedi.create_environment(sys.argv[1], safe=False)

def offered(line):
    return {one.name for one in jedi.Script(line, environment=here).complete()}

for line in sys.stdin:
    package, *names = line.split()
    print(*(set(names) - offered(f"import {package}\n{package}.")))
found = offered("import procmem\nprocmem.Process().smaps().")
print(*({"filter", "total", "by_kind", "to_polars"} - found))
"""

LISTED = """
import importlib
for package in ("procmem", "procmem.calls", "procmem.elf", "procmem.experiments", "procmem.grade"):
    module = importlib.import_module(package)
    assert {*module.__all__} <= {*dir(module)}, package
    print(package, *module.__all__)
"""


def completion_problems(python: Path) -> list[str]:
    """The public names that are not completed: by dir(), as shells of Python do, and by jedi."""
    listed = said([str(python), "-c", LISTED], python.parent)
    if listed.returncode:
        return [f"public names: {listed.stderr.strip()}"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NAMES, python],
        input=listed.stdout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return [f"jedi: {done.stderr.strip()}"]
    missing = done.stdout.split()
    return [f"jedi does not complete {', '.join(missing)}"] if missing else []


# ---- started by uv and pipx ----------------------------------------------------------


def wheelhouse(path: Path, house: Path) -> str:
    """Puts a wheel and all that it needs into a directory; why it can't, or ""."""
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    words += ["--only-binary", ":all:", "--dest", str(house), str(path), "pip"]
    done = said(words, path.parent)
    return f"no packages: {done.stderr.strip()}" if done.returncode else ""


def started_by_others(uv: str | None, pipx: str | None, house: Path) -> list[str]:
    """What goes wrong if uvx and pipx run `procmem-live` from a directory with all packages.

    Args:
        uv: its path; None: it is not tried.
        pipx: the same.
        house: see wheelhouse().
    """
    problems = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        alone = {"UV_OFFLINE": "1", "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(place / "uv"),
                 "UV_PYTHON_DOWNLOADS": "never", "UV_PYTHON": sys.executable,
                 "PIPX_HOME": str(place / "pipx"), "PIPX_DEFAULT_PYTHON": sys.executable,
                 # pipx runs uv where it finds it.
                 "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(house), "USE_EMOJI": "0",
                 "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(house)}  # fmt: skip
        lines = []
        if uv:
            lines.append([uv, "tool", "run", "--no-index", "--find-links", str(house)])
        if pipx:
            lines.append([pipx, "run", "--no-cache"])
        for line in lines:
            for words in (("--version",), ("maps", "--by", "kind", "self")):
                done = said([*line, "procmem-live", *words], place, **alone)
                first, _, rest = done.stdout.partition("\n")
                right = "procmem " in first if words[0] == "--version" else "stack" in rest
                if done.returncode or not right:
                    what = f"{Path(line[0]).name} {line[1]} ... procmem-live {' '.join(words)}"
                    why = (done.stderr or done.stdout).strip()
                    problems.append(f"{what}: {done.returncode}: {why}")
    return problems


# ---- another processor ---------------------------------------------------------------


FOREIGN = """
import pathlib, platform, sys, procmem
from procmem.cli import main
texts = sorted(pathlib.Path(sys.argv[1]).glob("linux-*.smaps"))
for text in texts:
    table = procmem.parse_smaps(text.read_bytes())
    assert table.total("rss") == sum(region.rss for region in table), text
    assert main(["maps", "--json", "--no-config", str(text)]) == 0
    maps = text.with_suffix(".maps").read_bytes()
    assert procmem.format_maps(procmem.parse_maps(maps)) == maps, text
assert procmem.size(sys.executable).text > 0
assert main(["--version"]) == main(["size", sys.executable]) == 0
sys.stderr.write(f"tried on {platform.machine()}: {len(texts)} texts of smaps\\n")
"""


def foreign(path: Path, root: Path) -> list[str]:
    """Runs what needs no kernel of that processor in qemu's emulation of programs.

    Args:
        path: the wheel.
        root: a directory with Python, psutil and cffi for that processor; made if it is missing.
    """
    machine = machine_of(path)
    emulator = shutil.which(f"qemu-{machine}-static") or shutil.which(f"qemu-{machine}")
    if emulator is None:
        return [f"{path.name}: qemu-{machine}-static is missing: apt-get install qemu-user-static"]
    texts = str(ROOT / "tests" / "fixtures")
    root = root.resolve()
    if not root.is_dir() and (why := foreign_root(root, machine)):
        return [f"{path.name}: {why}"]
    with tempfile.TemporaryDirectory() as place:
        with zipfile.ZipFile(path) as packed:
            packed.extractall(place)
        (python,) = list(root.glob("usr/bin/python3.?*[0-9]"))[:1]
        done = subprocess.run(
            [emulator, "-L", root.resolve(), python, "-c", FOREIGN, texts],
            cwd=place,
            env={**os.environ, "PYTHONPATH": f"{place}:{root}/usr/lib/python3/dist-packages",
                 "PYTHONHOME": f"{root}/usr", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        return [f"{path.name}: under {Path(emulator).name}: {done.stderr.strip()}"]
    print(f"{path.name}: {done.stderr.splitlines()[-1]}")
    return []


DEBIAN = {"aarch64": "arm64", "riscv64": "riscv64"}
"""Debian's names of processors."""


def foreign_root(root: Path, machine: str) -> str:
    """Unpacks Debian's Python for another processor into a directory; why it can't, or ""."""
    if shutil.which("debootstrap") is None:
        return "debootstrap is missing: apt-get install debootstrap"
    words = ["debootstrap", f"--arch={DEBIAN[machine]}", "--download-only", "--variant=minbase"]
    words += ["--include=python3,python3-psutil,python3-cffi-backend", "bookworm"]
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run([*words, place], capture_output=True, text=True, check=False)
        if done.returncode:
            return f"debootstrap: {(done.stdout + done.stderr).strip()[-400:]}"
        made = root.with_name(f"{root.name}.part")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for package in sorted(Path(place, "var/cache/apt/archives").glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, made], check=True)
    # Without them the emulator hands out those of this machine.
    for name in ("proc", "sys"):
        if (made / name).is_dir():
            (made / name).rmdir()
    made.rename(root)
    return ""
