"""The native parts, and the files below share/; all else is in pyproject.toml."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

# Only here does setuptools have it.
from distutils.command.install_data import install_data  # isort: skip

LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")
"""Free-threaded Pythons have no stable ABI: they need libraries, and a wheel, of their own."""

ALONE = (
    "-nostdlib -static -ffreestanding -fno-stack-protector -fno-pie -no-pie"
    " -fno-asynchronous-unwind-tables -Wl,--build-id=none -Wl,-z,noexecstack -s"
).split()
"""Without libc: what the process maps and touches is then ours alone."""


class Program(Extension):
    """A helper program that is shipped beside the libraries; without it a forked child serves."""


class BuildAll(build_ext):
    """Builds programs, too."""

    def get_ext_filename(self, fullname: str) -> str:
        name = fullname.rpartition(".")[2]
        if any(isinstance(e, Program) and e.name.endswith(f".{name}") for e in self.extensions):
            return str(Path(*fullname.split(".")))
        found = str(super().get_ext_filename(fullname))  # type: ignore[no-untyped-call]
        # Python 3.15 adds the machine: _native.abi3-x86_64-linux-gnu.so, which older ones ignore.
        return re.sub(r"\.abi3-[-\w]+\.so$", ".abi3.so", found)

    def build_extension(self, ext: Extension) -> None:
        if not isinstance(ext, Program):
            super().build_extension(ext)
            return
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [
            *os.environ.get("CC", "cc").split(),
            "-O2",
            "-Wall",
            "-Wextra",
            *ext.extra_compile_args,
            "-o",
            str(target),
            *ext.sources,
        ]
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CompileError(str(error)) from error


class InstallShared(install_data):
    """Adds completion for shells and manual pages, which procmem makes of its own tables.

    PROCMEM_SHARE: a directory with these files, for a build for another processor, whose
    libraries this Python cannot load.
    """

    def run(self) -> None:
        if self.get_finalized_command("build_py").editable_mode:  # type: ignore[attr-defined]
            return
        made = Path(os.environ.get("PROCMEM_SHARE") or self.make())
        places: dict[str, list[str]] = {}
        for path in sorted(one for one in made.rglob("*") if one.is_file()):
            where = Path("share", path.relative_to(made)).parent
            places.setdefault(str(where), []).append(str(path))
        self.data_files = list(places.items())
        super().run()

    def make(self) -> Path:
        build = self.get_finalized_command("build")
        home = str(Path(build.build_lib).resolve())
        made = Path(build.build_base, "share").resolve()
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        words = ("completion", "all", "--no-config", "-o", str(made))
        done = subprocess.run(
            [sys.executable, "-m", "procmem", *words],
            cwd=home,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")]),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            check=False,
        )
        if done.returncode:
            self.warn("completion for shells and manual pages could not be made")
        return made


def program(name: str, *arguments: str, source: str = "specimen") -> Program:
    return Program(
        f"procmem.native.{name}",
        [f"procmem/native/{source}.c"],
        depends=[f"procmem/native/{source}.h"],
        extra_compile_args=list(arguments),
        optional=True,
    )


def extension(name: str, **more: Any) -> Extension:
    return Extension(
        f"procmem.native._{name}",
        [f"procmem/native/{name}.c"],
        define_macros=[("Py_LIMITED_API", "0x030A0000")] if LIMITED else [],
        extra_compile_args=["-O2", "-Wall", "-Wextra"],
        extra_link_args=["-Wl,--strip-debug"],
        py_limited_api=LIMITED,
        **more,
    )


programs = [program("specimen_libc", "-DPM_WITH_LIBC", "-pthread", "-Wl,-z,now")]
if sysconfig.get_platform().endswith(("x86_64", "aarch64")):
    programs.append(program("specimen", *ALONE))
programs.append(program("jail", source="jail"))

setup(
    cffi_modules=["procmem/native/build.py:ffi"],
    cmdclass={"build_ext": BuildAll, "install_data": InstallShared},
    # What they are is known when they have been made.
    data_files=[("share", [])],
    ext_modules=[
        extension(
            "records",
            include_dirs=["procmem/native"],
            depends=["procmem/native/scanner.h"],
        ),
        extension("memory"),
        extension("arrow"),
        *programs,
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if LIMITED else {},
)
