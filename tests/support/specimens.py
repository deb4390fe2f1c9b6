"""Steps of specimens, for tests."""

from __future__ import annotations

import os
import platform
import re
import resource
import struct
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem.experiments.specimen.backing import keep_in_memory
from procmem.native import lib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.experiments import Area, Specimen, Step

__all__ = ["KINDS", "PAGE", "area", "in_memory", "is_gone", "moved", "refuse", "shared", "untrue"]

PAGE = resource.getpagesize()
KINDS = ["program", "libc", "fork"]


def moved(step: Step) -> dict[str, int]:
    """What changed, after measurement and prediction were found equal."""
    assert step.exact, step.reason
    assert step.agrees, (step, step.differences, step.delta, step.predicted)
    return {name: value for name, value in step.delta._asdict().items() if value}


def untrue(step: Step) -> str:
    """Which of a step's words its measured figures contradict; "" if none."""
    why, delta = " ".join(step.why.split()), step.delta

    def said(pattern: str) -> int:
        found = re.search(r"([\d,]+) " + pattern, why)
        return int(found[1].replace(",", "")) if found else 0

    fresh, filled = said("pages? touched for"), said("pages? only read until")
    zeros, found, around = said("pages? only read:"), said("pages? already"), said("neighbouring")
    copies, noted = said("pages? of a private"), said("pages? of a shared")
    unshared = said("pages? shared since")
    tables = said("page tables? more") - said("(?:emptied )?page tables? freed")
    faults, rss = delta.minor + delta.major, (delta.rss or 0) // PAGE
    came = fresh + filled + found + around
    untrue = {
        "nothing is said": not why,
        "page tables": tables * PAGE != delta.page_tables,
        "faults": not found and not around
        and faults != fresh + filled + zeros + copies + noted + unshared,
        "faults without a reason": bool(faults and not came + zeros + copies + noted + unshared),
        "pages": step.operation in ("read", "write") and not came <= rss <= came + copies,
        "RSS stays": ("RSS stays" in why or "RSS +0" in why) and rss != 0,
        "nothing moves": "nothing moves" in why and any(delta),
        "no page moves": "o page moves" in why and bool(rss or faults),
        "protection": "stay as they are" in why and bool(rss or faults),
        "VSZ": ("VSZ" in why) != bool(delta.vsz),
    }  # fmt: skip
    return ", ".join(name for name, wrong in untrue.items() if wrong)


def area(step: Step) -> Area:
    assert step.mapping is not None
    return step.mapping


@contextmanager
def in_memory(file: Path | int) -> Iterator[None]:
    """All of a file is in the page cache: the kernel may drop pages from there at any time."""
    fd = file if isinstance(file, int) else os.open(file, os.O_RDONLY)
    try:
        with keep_in_memory(fd, os.fstat(fd).st_size) as kept:
            if not kept:
                pytest.skip("mlock(2) is refused: RLIMIT_MEMLOCK (ulimit -l) is too low")
            yield
    finally:
        if fd is not file:
            os.close(fd)


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def refuse(s: Specimen, name: str, number: int, *, but_length: int | None = None) -> None:
    """From now on the kernel answers one system call of the specimen so (seccomp(2)).

    Args:
        s: it.
        name: of the call.
        number: the errno.
        but_length: a second argument with which the call is allowed.
    """
    prctl = lib.PM_OP_CALL + {"x86_64": 157, "aarch64": 167, "riscv64": 167}.get(
        platform.machine(), -1
    )
    if prctl < lib.PM_OP_CALL:
        pytest.skip(f"the number of prctl(2) on {platform.machine()} is needed")
    load, equal, answer = 0x20, 0x15, 6
    steps = [(load, 0, 0, 0), (equal, 0, 3, getattr(lib, f"SYS_{name}"))]
    steps += [(load, 0, 0, 24 if sys.byteorder == "little" else 28)]
    steps += [(equal, 1, 0, 0xFFFFFFFF if but_length is None else but_length)]
    steps += [(answer, 0, 0, 0x50000 | number), (answer, 0, 0, 0x7FFF0000)]
    filters = b"".join(struct.pack("=HBBI", *step) for step in steps)
    helper = s._stepper.helper
    helper.store(filters.ljust(64, b"\0") + struct.pack("@HP", len(steps), helper.scratch))
    # PR_SET_NO_NEW_PRIVS, and PR_SET_SECCOMP with SECCOMP_MODE_FILTER
    if helper.quiet(prctl, 38, 1, 0, 0, 0) or helper.quiet(prctl, 22, 2, helper.scratch + 64):
        pytest.skip("kernel feature missing: seccomp filters")


def shared(step: Step) -> int | None:
    """Bytes of shared memory that came: by smaps_rollup, without RssShmem, all not anonymous."""
    moved(step)
    delta = step.delta
    if delta.rss_shmem is None:
        return (delta.rss or 0) - (delta.rss_anon or 0)
    return delta.rss_shmem
