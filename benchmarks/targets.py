"""Processes that the benchmarks start themselves, and their C helpers."""

from __future__ import annotations

import atexit
import os
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CantMeasure", "Target", "built", "workshop"]

HERE = Path(__file__).parent


class CantMeasure(Exception):
    """This machine lacks what a benchmark needs."""


@cache
def workshop() -> Path:
    """A temporary directory for what is built."""
    directory = tempfile.TemporaryDirectory(prefix="procmem-benchmarks-")
    atexit.register(directory.cleanup)
    return Path(directory.name)


@cache
def built(source: str, *options: str) -> Path:
    """A C file of this package, compiled.

    Raises:
        CantMeasure: there is no C compiler.
    """
    made = workshop() / Path(source).stem
    compiler = shlex.split(os.environ.get("CC", "cc"))
    words = [*compiler, "-O2", "-Wall", "-Wextra", *options, "-o", str(made), str(HERE / source)]
    try:
        subprocess.run(words, check=True)
    except FileNotFoundError:
        raise CantMeasure(f"there is no C compiler ({compiler[0]})") from None
    return made


class Target:
    """A child process with a known number of regions, which does nothing, or next to nothing.

    It ends with the `with` block, or with this process.

    Args:
        regions: how many to have, more than about 25.
        mebibytes: size of a further region, wholly resident; 0: none.
        changing: milliseconds after which it maps, or unmaps, one region more; 0: it never does.

    Attributes:
        pid: its ID.
        regions: how many it has.
        addresses: one within each of the regions that it made.
        file_addresses: one within each region of a file: its program and libraries.

    Raises:
        CantMeasure: no C compiler, or vm.max_map_count is too low.
    """

    def __init__(self, regions: int, mebibytes: int = 0, changing: int = 0) -> None:
        self.regions = regions
        self._child = subprocess.Popen(
            [built("target.c"), str(regions), str(mebibytes), *([str(changing)] * bool(changing))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._child.pid
        assert self._child.stdout is not None
        said = self._child.stdout.readline().split()
        if said == [b"max_map_count"]:
            self.close()
            raise CantMeasure(f"vm.max_map_count allows no process of {regions:,} regions")
        place, count = int(said[0], 16), int(said[1])
        page = os.sysconf("SC_PAGESIZE")
        self.addresses = [place + i * page + page // 2 for i in range(count)]
        with open(f"/proc/{self.pid}/maps", "rb") as maps:
            lines = list(maps)
        assert len(lines) - regions in ((0, 1) if changing else (0,))
        self.file_addresses = [int(line.split(b"-")[0], 16) for line in lines if b" /" in line]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._child.kill()
        self._child.communicate()
