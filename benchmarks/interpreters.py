"""A Python to start, as a user's is."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from functools import cache
from pathlib import Path

import procmem
from benchmarks.targets import workshop

__all__ = ["environment", "python", "run", "script"]


@cache
def python() -> str:
    """A Python with the packages of this one, as a plain installation has them.

    An editable installation hooks itself into every start of its Python, which
    doubles the time of a bare start. So the packages are found by their paths.
    """
    home = workshop() / "venv"
    venv.EnvBuilder(symlinks=True).create(home)
    base = {"base": str(home), "platbase": str(home)}
    paths = [
        str(Path(procmem.__file__).parent.parent),
        *{sysconfig.get_path("purelib"): None, sysconfig.get_path("platlib"): None},
    ]
    link = Path(sysconfig.get_path("purelib", vars=base)) / "packages.pth"
    link.write_text("\n".join(paths) + "\n", encoding="utf-8")
    return str(home / "bin" / "python")


@cache
def environment() -> dict[str, str]:
    """The environment to start it in: with bytecode, as pip leaves it behind, and no detours."""
    found = dict(os.environ)
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH"):
        found.pop(name, None)
    found["PYTHONPYCACHEPREFIX"] = str(workshop() / "bytecode")
    return found


def script() -> str | None:
    """The installed command `procmem`, if there is one."""
    path = os.path.join(sysconfig.get_path("scripts"), "procmem")
    return path if os.path.exists(path) else None


def run(*words: str) -> str:
    """What that Python prints, started with these arguments."""
    return subprocess.run(
        [python(), *words],
        check=True,
        capture_output=True,
        text=True,
        env=environment(),
        cwd=workshop(),
    ).stdout
