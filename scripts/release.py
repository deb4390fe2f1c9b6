"""Makes what a release consists of in dist/, twice, and tries it: `make release`. Uploads nothing.

The sdist, a wheel for this processor, with --cross aarch64 one for another by Debian's cross
compiler, and with --python PATH one by another Python: free-threaded, or of musl. Everything is
built twice and must be the same byte for byte. docs/releasing.md has the steps around it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from scripts.build_dist import DIST, ROOT, with_platform
from scripts.try_wheel import Tools, check

FLAGS = "-ffile-prefix-map={place}=."
"""The directory of a build is in no file of it."""


def main(argv: list[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--output", type=Path, default=DIST)
    made.add_argument("--cross", action="append", default=[], metavar="MACHINE")
    made.add_argument("--python", action="append", default=[], metavar="PATH")
    made.add_argument("--once", action="store_true", help="do not build a second time")
    made.add_argument(
        "--qemu", type=Path, metavar="ROOT",
        help="try wheels of MACHINE in qemu, with the Python in this directory, made if missing",
    )  # fmt: skip
    options = made.parse_args(argv)
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch())
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        tools = Tools(place)
        say("making environments to build in")
        builders = {python: builder(python, tools) for python in [sys.executable, *options.python]}
        first = everything(place / "first", options.cross, builders)
        if not options.once:
            second = everything(place / "second", options.cross, builders)
            problems += differences(paths(first), paths(second))
        for built in first:
            say(f"trying {built.path.name}")
            problems += check(built.path, built.python, tools, options.qemu)
        if not problems:
            publish(paths(first), options.output)
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


class Built(NamedTuple):
    """A file of the release.

    Attributes:
        path: the sdist or wheel.
        python: the Python that it was built with.
    """

    path: Path
    python: str


def paths(built: list[Built]) -> list[Path]:
    return [one.path for one in built]


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def builder(python: str, tools: Tools) -> str:
    """The Python of an environment with all that a build needs, and nothing else."""
    needed = [*requirements(), "build>=1.2", "packaging>=24"]
    return str(tools.environment(python, *needed) / "python")


def requirements() -> list[str]:
    """What pyproject.toml asks for in builds."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    with (ROOT / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["build-system"]["requires"])


def everything(place: Path, machines: list[str], builders: dict[str, str]) -> list[Built]:
    """The sdist and all wheels, in a directory of their own."""
    place.mkdir()
    (usual, own), *others = builders.items()
    say(f"building in {place.name}")
    sdist = make_sdist(place, own)
    wheel = make_wheel(sdist, place, {}, own)
    found = [Built(sdist, usual), Built(wheel, usual)]
    share = place / "share"
    if machines:
        unpack_share(wheel, share)
    found += [
        Built(make_wheel(sdist, place, cross(machine, share), own), usual) for machine in machines
    ]
    return found + [Built(make_wheel(sdist, place, {}, its), python) for python, its in others]


@cache
def commit() -> str:
    """The commit that is released: both builds are of the same."""
    words = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def make_sdist(place: Path, python: str) -> Path:
    """Of what is committed, whatever changes in the checkout meanwhile."""
    sources = place / "sources"
    words = ["git", "archive", "--format=tar", commit()]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as packed:
        packed.extractall(sources, filter="data")
    build("--sdist", str(sources), place, {}, python)
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


def make_wheel(sdist: Path, place: Path, env: dict[str, str], python: str) -> Path:
    """A wheel of the sdist, with the tag of the oldest C library that it runs with."""
    out = Path(tempfile.mkdtemp(dir=place))
    with tarfile.open(sdist) as packed:
        packed.extractall(out, filter="data")
    (source,) = out.iterdir()
    build("--wheel", str(source), out, env, python)
    (path,) = out.glob("*.whl")
    tagged = with_platform(path, musl_tag(python))
    return Path(shutil.move(tagged, place / tagged.name))


def musl_tag(python: str) -> str:
    """The tag of wheels for the musl that a Python runs with; "" if it runs with another."""
    code = "from packaging import tags; print(*tags.platform_tags())"
    done = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return next((tag for tag in done.stdout.split() if tag.startswith("musllinux_")), "")


def build(what: str, source: str, out: Path, env: dict[str, str], python: str) -> None:
    given = {**os.environ, **env}
    given["CFLAGS"] = f"{given.get('CFLAGS', '')} {FLAGS.format(place=source)}".strip()
    done = subprocess.run(
        [python, "-m", "build", what, "--no-isolation", "--outdir", out, source],
        env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"release: the build of {what[2:]} failed:\n{done.stdout}")


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
