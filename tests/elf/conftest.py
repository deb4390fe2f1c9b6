"""A program to add sections to, and names that lead to no regular file."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
#include <stdio.h>
#include <unistd.h>
int work(int x) { return x + 1; }
int main(void) { printf("%p\\n", (void *)work); fflush(stdout); for (;;) pause(); }
"""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.byteorder != "little" or struct.calcsize("P") != 8:
        pytest.skip("sections are added to a little-endian ELF64 file")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    place = tmp_path_factory.mktemp("hostile")
    (place / "v.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O0", "-no-pie", "v.c", "-o", "v"], cwd=place, check=True)
    return place / "v"


@pytest.fixture(params=["fifo", "directory", "socket", "device", "link to a fifo", "kcore"])
def irregular(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A name that leads to no regular file."""
    path = tmp_path / "irregular"
    with socket.socket(socket.AF_UNIX) as made:
        match request.param:
            case "fifo":
                os.mkfifo(path)
            case "directory":
                path.mkdir()
            case "socket":
                made.bind(os.fspath(path))
            case "device":
                path.symlink_to("/dev/zero")
            case "link to a fifo":
                os.mkfifo(tmp_path / "other")
                path.symlink_to("other")
            case "kcore":
                if not os.path.exists("/proc/kcore"):
                    pytest.skip("no /proc/kcore here")
                path.symlink_to("/proc/kcore")
        yield path
