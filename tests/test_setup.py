"""scripts/needs.sh names what a machine lacks, in one line, before anything is built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

NEEDS = ROOT / "scripts" / "needs.sh"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH that holds what scripts/needs.sh runs, and no compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "uname", "id"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    script(folder / "apt-get", "exit 0")
    return folder


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def python_stub(path: Path, *, version: str = "3.11", venv: bool = True, include: str = "") -> Path:
    """A Python as far as scripts/needs.sh needs one."""
    return script(
        path,
        'case "$2" in\n'
        f"*version_info*) echo {version} ;;\n"
        f"*ensurepip*) exit {0 if venv else 1} ;;\n"
        "*CC*) echo gcc -pthread ;;\n"
        f"*get_path*) echo '{include}' ;;\n"
        "esac",
    )


def says(tools: Path, python: str | Path) -> str:
    done = subprocess.run(
        ["sh", NEEDS, python],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") <= 1
    return re.sub(r"\bsudo ", "", done.stdout.strip())


def test_nothing_is_missing_here() -> None:
    done = subprocess.run(
        ["sh", NEEDS, sys.executable], capture_output=True, text=True, check=False
    )
    if "venv" in done.stdout:
        pytest.skip("this Python was made without ensurepip")
    assert (done.stdout, done.stderr) == ("", "")


def test_all_is_missing(tools: Path) -> None:
    assert says(tools, "python3").endswith(
        "install with: apt-get install python3 gcc libc6-dev python3-dev python3-venv"
    )


def test_an_old_python(tools: Path) -> None:
    assert "3.10 or newer" in says(tools, python_stub(tools / "python3", version="3.9"))


def test_venv_and_headers_and_compiler(tools: Path) -> None:
    python = python_stub(tools / "python3", venv=False, include="/nowhere")
    assert says(tools, python) == (
        "procmem is missing the venv module, a C compiler (gcc -pthread), Python.h;"
        " install with: apt-get install python3-venv gcc libc6-dev python3-dev"
    )


def test_another_python_has_packages_of_its_own(tools: Path) -> None:
    script(tools / "gcc", "exit 0")
    python = python_stub(tools / "python3.12", include="/nowhere")
    assert says(tools, python) == (
        "procmem is missing Python.h; install with: apt-get install python3.12-dev"
    )


def test_a_compiler_without_the_headers_of_the_c_library(tools: Path, tmp_path: Path) -> None:
    script(tools / "gcc", "while read -r line; do case $line in *stdio*) exit 1 ;; esac; done")
    (tmp_path / "Python.h").touch()
    assert says(tools, python_stub(tools / "python3", include=str(tmp_path))) == (
        "procmem is missing the headers of the C library; install with: apt-get install libc6-dev"
    )


@pytest.mark.parametrize("target", ["demo", "test", "build", "fuzz"])
def test_make_stops_with_one_line(target: str, tmp_path: Path) -> None:
    make = shutil.which("make")
    if not make:
        pytest.skip("no make here")
    for folder in ("scripts", "procmem/native"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("Makefile", "scripts/needs.sh", "pyproject.toml", "setup.py"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "procmem/native/build.py").touch()
    done = subprocess.run(
        [make, target, "PYTHON=no-such-python"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "procmem is missing no-such-python" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_help_names_every_target() -> None:
    make = shutil.which("make")
    if not make:
        pytest.skip("no make here")
    done = subprocess.run(
        [make, "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    listed = [line.split()[1] for line in done.stdout.splitlines()]
    assert sorted(listed) == sorted(set(phony[1].split()) - {"again"})
