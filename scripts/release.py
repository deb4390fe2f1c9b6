"""Makes what a release consists of in dist/, twice, and tries it: `make release`. Uploads nothing.

The sdist, a wheel for this processor, with --cross aarch64 one for another by Debian's cross
compiler, and with --python PATH one for a free-threaded Python. Everything is built twice and must
be the same byte for byte. docs/releasing.md has the steps around it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from scripts.build_dist import (
    DIST,
    ROOT,
    check_sdist,
    check_wheel,
    machine_of,
    with_platform,
)

FLAGS = "-ffile-prefix-map={place}=."
"""The directory of a build is in no file of it."""


def main(argv: list[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--output", type=Path, default=DIST)
    made.add_argument("--cross", action="append", default=[], metavar="MACHINE")
    made.add_argument("--python", action="append", default=[], metavar="PATH")
    made.add_argument("--once", action="store_true", help="do not build a second time")
    made.add_argument("--qemu", type=Path, metavar="ROOT", help="a root with Python of MACHINE")
    options = made.parse_args(argv)
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch())
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        first = everything(Path(place, "first"), options)
        if not options.once:
            second = everything(Path(place, "second"), options)
            problems += differences(first, second)
        for path in first:
            problems += check(path, options.qemu)
        if not problems:
            publish(first, options.output)
    for problem in problems:
        print(f"release: {problem}", file=sys.stderr)
    return 1 if problems else 0


def epoch() -> int:
    """The time that files of the release bear: that of the commit, unless it is given."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout)


# ---- building ------------------------------------------------------------------------


def everything(place: Path, options: argparse.Namespace) -> list[Path]:
    """The sdist and all wheels, in a directory of their own."""
    place.mkdir()
    sdist = make_sdist(place)
    found = [sdist, make_wheel(sdist, place, {})]
    share = place / "share"
    for machine in options.cross:
        if not share.is_dir():
            unpack_share(found[1], share)
        found.append(make_wheel(sdist, place, cross(machine, share)))
    found += [make_wheel(sdist, place, {}, python) for python in options.python]
    return found


def make_sdist(place: Path) -> Path:
    """Of what is committed, whatever changes in the checkout meanwhile."""
    sources = place / "sources"
    words = ["git", "archive", "--format=tar", "HEAD"]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as packed:
        packed.extractall(sources, filter="data")
    build("--sdist", str(sources), place, {}, sys.executable)
    (path,) = place.glob("*.tar.gz")
    path.write_bytes(normalised(path.read_bytes(), epoch()))
    return path


def normalised(data: bytes, when: int) -> bytes:
    """An sdist whose times, owners and order do not depend on who makes it, and when."""
    raw = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=when) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            member.mtime = when
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    return raw.getvalue()


def make_wheel(sdist: Path, place: Path, env: dict[str, str], python: str = sys.executable) -> Path:
    """A wheel of the sdist, with the tag of the oldest glibc that it runs with."""
    out = Path(tempfile.mkdtemp(dir=place))
    with tarfile.open(sdist) as packed:
        packed.extractall(out, filter="data")
    (source,) = out.iterdir()
    build("--wheel", str(source), out, env, python)
    (path,) = out.glob("*.whl")
    tagged = with_platform(path)
    return Path(shutil.move(tagged, place / tagged.name))


def build(what: str, source: str, out: Path, env: dict[str, str], python: str) -> None:
    given = {**os.environ, **env}
    given["CFLAGS"] = f"{given.get('CFLAGS', '')} {FLAGS.format(place=source)}".strip()
    # pip would fetch the requirements of a build for the other processor.
    alone = ["--no-isolation", "--skip-dependency-check"] if "PROCMEM_SHARE" in env else []
    subprocess.run(
        [python, "-m", "build", what, *alone, "--outdir", out, source],
        env=given, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def cross(machine: str, share: Path) -> dict[str, str]:
    """What makes setuptools build for another processor.

    The stable ABI's headers are the same on all 64-bit processors of Linux.
    """
    compiler = f"{machine}-linux-gnu-gcc"
    if shutil.which(compiler) is None:
        package = f"gcc-{machine.replace('_', '-')}-linux-gnu"
        sys.exit(f"release: {compiler} is missing: apt-get install {package}")
    return {
        "CC": compiler,
        "LDSHARED": f"{compiler} -shared",
        "LDFLAGS": "",
        "_PYTHON_HOST_PLATFORM": f"linux-{machine}",
        "PROCMEM_SHARE": str(share),
    }


def unpack_share(wheel: Path, share: Path) -> None:
    """The files that a build for another processor can't make: they are the same everywhere."""
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            _, found, tail = name.partition(".data/data/share/")
            if found:
                path = share / tail
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(packed.read(name))


def differences(first: list[Path], second: list[Path]) -> list[str]:
    return [
        f"{one.name}: a second build is another: {inside(one, other)}"
        for one, other in zip(first, second, strict=True)
        if one.name != other.name or one.read_bytes() != other.read_bytes()
    ]


def inside(one: Path, other: Path) -> str:
    """The members of two wheels that differ."""
    if one.suffix != ".whl":
        return "the archive"
    with zipfile.ZipFile(one) as a, zipfile.ZipFile(other) as b:
        names = sorted({*a.namelist(), *b.namelist()})
        both = {*a.namelist()} & {*b.namelist()}
        odd = [name for name in names if name not in both or a.read(name) != b.read(name)]
    return ", ".join(odd[:5]) or "times or order"


# ---- trying --------------------------------------------------------------------------


def check(path: Path, root: Path | None) -> list[str]:
    if path.suffix != ".whl":
        return check_sdist(path)
    problems = check_wheel(path) + audited(path)
    if machine_of(path) != platform.machine():
        return problems + (foreign(path, root) if root else [])
    return problems + (installed(path) if "abi3" in path.name else [])


def audited(path: Path) -> list[str]:
    """What auditwheel has to say: its tag must be ours."""
    tool = shutil.which("auditwheel", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if tool is None:
        return [f"{path.name}: auditwheel is missing: pip install auditwheel"]
    done = subprocess.run([tool, "show", path], capture_output=True, text=True, check=False)
    text = " ".join(done.stdout.split())
    found = re.search(r'following platform tag: "(\w+)"', text)
    if found is None or found[1] not in path.name:
        return [f"{path.name}: auditwheel: {text or done.stderr.strip()}"]
    return []


COMMANDS = (
    ("procmem", "--version"),
    ("procmem-live", "--version"),
    ("procmem", "doctor"),
    ("procmem", "maps", "self"),
    ("procmem", "size", "/bin/ls"),
)


def installed(path: Path) -> list[str]:
    """Installs a wheel in an empty environment, with what it needs, and runs commands."""
    problems = []
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        home = Path(place, "bin")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        subprocess.run(
            [home / "python", "-m", "pip", "install", "--quiet", path], check=True, env=clean
        )
        for words in (*COMMANDS, ("python", "-m", "procmem", "maps", "self")):
            line = [home / words[0], *words[1:]]
            done = subprocess.run(line, cwd=place, env=clean, capture_output=True, check=False)
            if done.returncode or not done.stdout or b"Traceback" in done.stderr:
                said = done.stderr.decode(errors="replace").strip()
                problems.append(f"{path.name}: {' '.join(words)}: {done.returncode}: {said}")
        problems += [
            f"{path.name} does not install share/{name}"
            for name in ("bash-completion/completions/procmem", "man/man1/procmem-maps.1")
            if not Path(place, "share", name).is_file()
        ]
    return problems


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
        root: a directory with Python, psutil and cffi for that processor.
    """
    machine = machine_of(path)
    emulator = shutil.which(f"qemu-{machine}-static") or shutil.which(f"qemu-{machine}")
    if emulator is None:
        return [f"{path.name}: qemu-{machine}-static is missing: apt-get install qemu-user-static"]
    texts = str(ROOT / "tests" / "fixtures")
    root = root.resolve()
    with tempfile.TemporaryDirectory() as place:
        with zipfile.ZipFile(path) as packed:
            packed.extractall(place)  # noqa: S202 made by us just now
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


# ---- the result ----------------------------------------------------------------------


def publish(paths: list[Path], out: Path) -> None:
    """Puts the files and their checksums into a directory."""
    out.mkdir(exist_ok=True)
    for old in out.glob("procmem_live-*"):
        old.unlink()
    sums = []
    for path in paths:
        shutil.copy2(path, out)
        sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    (out / "SHA256SUMS").write_text("".join(sorted(sums, key=lambda one: one.split()[1])))
    print("".join(sums), end="")


if __name__ == "__main__":
    sys.exit(main())
