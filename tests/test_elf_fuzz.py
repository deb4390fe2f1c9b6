"""The sums in C under sanitizers, over changed headers."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_size_command import FILES

NATIVE = Path(__file__).resolve().parent.parent / "procmem" / "native"


def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    if not shutil.which("gcc"):
        pytest.skip("no gcc here")
    program = tmp_path / "fuzz"
    built = subprocess.run(
        [
            *("gcc", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-DSTANDALONE_FUZZ"),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
            *(NATIVE / "fuzz_elfsize.c", "-o", program),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode and "-lasan" in built.stderr:
        pytest.skip("gcc has no sanitizers here")
    assert built.returncode == 0, built.stderr
    seeds = []
    for name, data in FILES.items():
        if data[:4] == b"\x7fELF":
            path = tmp_path / name
            path.write_bytes(data)
            seeds.append(path)
    # Older sanitizers need their shadow where a kernel with many random bits may put something.
    fixed = ["setarch", platform.machine(), "-R"] if shutil.which("setarch") else []
    done = subprocess.run(
        [*fixed, program, *seeds],
        capture_output=True,
        text=True,
        check=False,
        env={"ASAN_OPTIONS": "detect_leaks=0", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
