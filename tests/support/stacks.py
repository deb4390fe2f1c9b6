"""Programs to compile, and where their threads and stacks are."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from procmem import (
    RegionKind,
    RegionTable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from procmem import Region


K = RegionKind


def compiled(source: str, folder: Path, *flags: str, compiler: str = "cc") -> Path:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    program = folder / "program"
    (folder / "program.c").write_text(source)
    done = subprocess.run(
        [compiler, "-w", "-O0", "-o", program, folder / "program.c", "-pthread", *flags],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"{compiler} {' '.join(flags)} can't build here: {done.stderr[-200:]}")
    return program


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def pointer_of(pid: int, tid: int) -> int | None:
    fields = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()
    return int(fields[-2], 16) if len(fields) > 2 else None


def on_stack(pid: int, tid: int, start: int, size: int) -> bool:
    pointer = pointer_of(pid, tid)
    return pointer is not None and start <= pointer < start + size


def region_at(table: RegionTable[Any], address: int) -> Any:
    region = table.find(address)
    assert region is not None
    return region


def has_marked_guards(table: RegionTable[Any], stack: Region) -> bool:
    """Whether guards are marks in the page table, as from glibc 2.42 on (MADV_GUARD_INSTALL).

    Stacks that lie side by side are one region then.
    """
    below = table.find(stack.start - 1)
    return below is None or below.perms != "---p"


def stacks_in(table: RegionTable[Any]) -> tuple[int, int]:
    """Stacks of threads that live, and of ended ones, as the regions' names have them."""
    living = ended = 0
    for region in table:
        if region.kind is K.THREAD_STACK:
            several = re.match(r"stacks of (\d+) threads", region.name)
            living += int(several[1]) if several else 1
            and_ended = re.search(r"and (\d+) of ended threads", region.name)
            ended += int(and_ended[1]) if and_ended else 0
        elif region.use is not None and "ended thread" in region.use.name:
            assert region.kind is K.ANON
            assert not region.use.guess
            several = re.fullmatch(r"stacks of (\d+) ended threads", region.use.name)
            ended += int(several[1]) if several else 1
    return living, ended
