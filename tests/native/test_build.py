"""All C of the library compiles without a warning, under each compiler that is here."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import NATIVE

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = sorted(source.name for source in NATIVE.glob("*.c") if source.name != "_native.c")
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes", "-Wvla"]


@pytest.fixture(params=["gcc", "clang"])
def compiler(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if not shutil.which(name):
        pytest.skip(f"no {name} here")
    return name


def compiled(compiler: str, source: Path, *flags: str) -> str:
    """What the compiler has to say."""
    done = subprocess.run(
        [
            compiler,
            "-O2",
            f"-I{NATIVE}",
            f"-I{sysconfig.get_path('include')}",
            *flags,
            *("-c", source, "-o", "/dev/null"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr if done.stderr or not done.returncode else f"status {done.returncode}"


@pytest.mark.parametrize("name", SOURCES)
def test_no_warnings(name: str, compiler: str) -> None:
    limited = ["-DPy_LIMITED_API=0x030A0000"] if name in {"records.c", "memory.c"} else []
    assert compiled(compiler, NATIVE / name, *WARNINGS, *limited) == ""


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("fuzz_")])
def test_no_warnings_in_the_driver_of_the_fuzzer(name: str, compiler: str) -> None:
    assert compiled(compiler, NATIVE / name, *WARNINGS, "-DSTANDALONE_FUZZ") == ""


def test_no_warnings_in_what_cffi_writes(compiler: str, tmp_path: Path) -> None:
    written = tmp_path / "_native.c"
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import runpy, sys; runpy.run_path(sys.argv[1])['ffi'].emit_c_code(sys.argv[2])",
            NATIVE / "build.py",
            written,
        ],
        check=True,
    )
    ours = ["-Wall", "-Wextra", "-Werror"]
    assert compiled(compiler, written, *ours, "-DPy_LIMITED_API=0x030A0000") == ""


def test_every_source_is_built() -> None:
    built = (NATIVE / "build.py").read_text() + (NATIVE.parents[1] / "setup.py").read_text()
    fuzzing = {name for name in SOURCES if name.startswith("fuzz_")}
    # By its file name, or in a list of stems.
    missing = [n for n in SOURCES if n not in built and f'"{n.removesuffix(".c")}"' not in built]
    assert set(missing) <= fuzzing
