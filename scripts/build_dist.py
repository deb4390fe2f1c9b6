"""Makes the sdist and the wheel in dist/, and checks what is in them.

The wheel is made from the sdist, so an sdist without its C sources fails here.
"""

from __future__ import annotations

import io
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
NATIVE = "procmem/native/"
LABS = "procmem/labs/"
COMMANDS = ROOT / "procmem" / "cli" / "__init__.py"
WHEEL_NAME = re.compile(
    r"procmem_live-[^-]+-(?:cp310-abi3|cp(\d+)-cp\1t)-(?:many|musl)?linux[^-]*\.whl"
)
"""Of free-threaded Pythons (cp313t), too, which lack the stable ABI."""


def main() -> int:
    for old in DIST.glob("procmem_live-*"):
        old.unlink()
    subprocess.run([sys.executable, "-m", "build", "--outdir", DIST, ROOT], check=True)
    wheels, sdists = list(DIST.glob("*.whl")), list(DIST.glob("*.tar.gz"))
    problems = [
        f"{len(files)} files of a kind where one is expected"
        for files in (wheels, sdists)
        if len(files) != 1
    ]
    if not problems:
        wheels = [with_platform(wheels[0])]
        problems = check_wheel(wheels[0]) + check_sdist(sdists[0])
    for problem in problems:
        print(f"build: {problem}", file=sys.stderr)
    if not problems:
        print(f"checked: {wheels[0].name}, {sdists[0].name}")
    return 1 if problems else 0


def with_platform(path: Path, musl: str = "") -> Path:
    """The wheel under the tag of the oldest glibc that all in it runs with (PEP 600).

    Package indexes take no wheel for any "linux". Where something is needed that is not part of
    glibc, the tag stays, and check_wheel says so.

    Args:
        path: the wheel.
        musl: the tag if it was built for musl (PEP 656).
    """
    needed = glibc_versions(path)
    if needed:
        tag = f"manylinux_{max(needed)[0]}_{max(needed)[1]}_{machine_of(path)}"
    elif musl:
        tag = musl
    else:
        return path
    done = subprocess.run(
        [sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", tag, path],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return path.parent / done.stdout.split()[-1]


def machine_of(path: Path) -> str:
    """The processor that a wheel is for, by its name."""
    found = re.search(r"linux_(?:\d+_\d+_)?(\w+)$", path.stem)
    return found[1] if found else ""


def programs_of(wheel: zipfile.ZipFile) -> Iterator[tuple[str, ELFFile]]:
    for name in wheel.namelist():
        data = wheel.read(name)
        if data.startswith(b"\x7fELF"):
            yield name, ELFFile(io.BytesIO(data))


def glibc_versions(path: Path) -> set[tuple[int, int]]:
    """The versions of glibc's symbols that its libraries and programs ask for."""
    found = set()
    with zipfile.ZipFile(path) as wheel:
        for _, elf in programs_of(wheel):
            for section in elf.iter_sections():
                if not isinstance(section, GNUVerNeedSection):
                    continue
                for _, versions in section.iter_versions():
                    for one in versions:
                        if match := re.fullmatch(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?", one.name):
                            found.add((int(match[1]), int(match[2])))
                        elif one.name == "GLIBC_ABI_DT_RELR":  # packed relocations: since 2.36
                            found.add((2, 36))
    return found


GLIBC = re.compile(r"lib(?:c|m|dl|rt|pthread)\.so\.\d+|ld[-\w]*\.so\.\d+")
MUSL = re.compile(r"libc\.so|libc\.musl-\w+\.so\.1")


def check_programs(path: Path) -> list[str]:
    """No debug information, and no library but the C library's."""
    problems = []
    own = MUSL if "-musllinux_" in path.name else GLIBC
    with zipfile.ZipFile(path) as wheel:
        for name, elf in programs_of(wheel):
            if elf.get_section_by_name(".debug_info"):
                problems.append(f"{path.name}: {name} holds debug information")
            dynamic: Any = elf.get_section_by_name(".dynamic")
            if dynamic is not None:
                problems += [
                    f"{path.name}: {name} needs {tag.needed}"
                    for tag in dynamic.iter_tags("DT_NEEDED")
                    if not own.fullmatch(tag.needed)
                ]
    return problems


def imported(path: Path) -> str:
    """Why the libraries of a wheel can't be imported; "" if they can."""
    with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as place:
        wheel.extractall(place)  # noqa: S202 made by us just now
        done = subprocess.run(
            [sys.executable, "-c", "import procmem.native as n; print(n.__file__)"],
            cwd=place,
            env={**os.environ, "PYTHONPATH": place, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return "" if done.stdout.startswith(place) else done.stderr.strip() or done.stdout


def library_suffix(path: Path) -> str:
    """What the names of a wheel's libraries end with."""
    found = re.search(r"-cp(\d+t)-", path.name)
    return f".cpython-{found[1]}-{machine_of(path)}-linux-gnu.so" if found else ".abi3.so"


def check_wheel(path: Path, *, usual: bool = True) -> list[str]:
    """What is wrong with a wheel.

    Args:
        path: the wheel.
        usual: this Python can import it, if it is for this processor.
    """
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
    machine = machine_of(path)
    problems = check_programs(path)
    problems += (
        []
        if WHEEL_NAME.fullmatch(path.name)
        else [f"{path.name}: not named like a wheel of procmem"]
    )
    if usual and machine == platform.machine() and (why := imported(path)):
        problems.append(f"{path.name}: procmem.native can't be imported: {why}")
    tops = {name.split("/")[0] for name in names}
    if strays := [
        top for top in tops if top != "procmem" and not top.endswith((".dist-info", ".data"))
    ]:
        problems.append(f"{path.name} holds {', '.join(sorted(strays))} beside procmem")
    outside = [name for name in names if not name.startswith(LABS)]
    if sources := [name for name in outside if name.endswith((".c", ".h"))]:
        problems.append(f"{path.name} holds sources: {', '.join(sources)}")
    wanted = ["procmem/py.typed"]
    suffix = library_suffix(path)
    wanted += [f"{NATIVE}{name}{suffix}" for name in ("_native", "_records", "_memory", "_arrow")]
    wanted += [f"{NATIVE}specimen_libc", f"{NATIVE}jail"]
    if machine in ("x86_64", "aarch64"):
        wanted.append(f"{NATIVE}specimen")
    wanted += [f"{NATIVE}{stub.name}" for stub in (ROOT / NATIVE).glob("*.pyi")]
    wanted += labs()
    wanted += shared(path)
    in_labs = [name for name in names if name.startswith(LABS) and name.count("/") > 2]
    strays = sorted(set(in_labs) - set(wanted))
    problems += [f"{path.name} holds {name}, which is no part of a lab" for name in strays]
    return problems + [f"{path.name} lacks {name}" for name in wanted if name not in names]


def shared(path: Path) -> list[str]:
    """The files below share/: completion for shells, and a manual page for each command."""
    commands = re.search(r"^COMMANDS = \{\n(.*?)^\}", COMMANDS.read_text(), re.M | re.S)
    names = re.findall(r'^    "(\w+)":', commands[1] if commands else "", re.M)
    home = "-".join(path.name.split("-")[:2]) + ".data/data/share/"
    return [
        f"{home}bash-completion/completions/procmem",
        f"{home}zsh/site-functions/_procmem",
        f"{home}fish/vendor_completions.d/procmem.fish",
        f"{home}man/man1/procmem.1",
        *(f"{home}man/man1/procmem-{name}.1" for name in names),
    ]


def labs() -> list[str]:
    """The files of the labs: what git knows, or where there is no git, all but caches."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", LABS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = (
        listed.stdout.split("\0")
        if not listed.returncode
        else [
            str(path.relative_to(ROOT))
            for path in (ROOT / LABS).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        ]
    )
    return [name for name in found if name.count("/") > 2]


def check_sdist(path: Path) -> list[str]:
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = ["LICENSE", "Makefile", "README.md", "setup.py"]
    wanted += [
        f"{NATIVE}{source.name}"
        for pattern in ("*.c", "*.h", "*.pyi", "build.py")
        for source in (ROOT / NATIVE).glob(pattern)
        if source.name != "_native.c"  # made by the build
    ]
    wanted += [str(test.relative_to(ROOT)) for test in (ROOT / "tests").rglob("*.py")]
    wanted += labs()
    problems = [f"{path.name} lacks {name}" for name in wanted if name not in names]
    programs = {f"{NATIVE}{name}" for name in ("specimen", "specimen_libc", "jail")}
    made = sorted(name for name in names if name.endswith((".so", ".pyc")) or name in programs)
    return problems + [f"{path.name} holds {name}, which is built" for name in made]


if __name__ == "__main__":
    sys.exit(main())
