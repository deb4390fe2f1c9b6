"""An interpreter that doubles a string: where malloc gets the memory from."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from operator import sub

from procmem.errors import BadArgument, Unsupported
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.kernel import page_size
from procmem.process import Process
from procmem.units import kib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["grow"]

PROGRAM = """\
text = "x" * 1024
while True:
    print(id(text), len(text), flush=True)
    if not input():
        break
    text = text + text
"""

THRESHOLD = 128 * 1024
"""M_MMAP_THRESHOLD of glibc: from this size on malloc asks for a mapping. mallopt(3)."""


@experiment("grow", "A growing string", "A program's data grows. Where does its memory come from?")
def grow(tell: Teller, *, doublings: int = 14) -> None:
    """Starts a Python interpreter and lets it double a string, from 1 KiB on.

    Args:
        doublings: how often; 14 times end at 16 MiB.
    """
    if not 0 < doublings <= 20:
        raise BadArgument(f"doublings must be 1 to 20, not {doublings}")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise Unsupported("Python on malloc", "a free-threaded Python has an allocator of its own")
    if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or "" if has_confstr() else ""):
        raise Unsupported(
            "glibc", "the expectations are those of glibc's malloc; this is another libc"
        )
    rows: list[tuple[str | int | None, ...]] = []
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it gets Ctrl-C, too
        env=clean_environment(),
    ) as child:
        try:
            observe(tell, child, doublings, rows)
        finally:
            child.kill()
    tell.table(
        "The whole interpreter, in KiB:",
        ("string", "is in", "VSZ", "change", "RSS", "change"),
        rows,
        f"The old string is freed after the new one was made. Below {kib(THRESHOLD)} malloc takes"
        " both from the heap, which it keeps. A larger string that does not fit into the free part"
        " of the heap gets a mapping of its own, and the old one is unmapped at once: VSZ grows by"
        " the difference.",
    )


def observe(
    tell: Teller,
    child: subprocess.Popen[bytes],
    doublings: int,
    rows: list[tuple[str | int | None, ...]],
) -> None:
    unit = page_size()
    with Process(child.pid) as process:
        before: tuple[int, int, int] | None = None
        mapped = False
        for address, length in strings(child, doublings):
            region = process.region_at(address)
            memory = process.memory()
            place = PLACES.get(str(region.kind) if region else "", "elsewhere")
            label = f"{kib(length)} string is in the"
            if length < THRESHOLD:
                tell.claim(label, "heap", place)
            elif not mapped:
                # malloc uses free chunks of the heap first, and what the interpreter freed while
                # it started may have raised the threshold.
                tell.claim(label, "heap or mapping", place, holds=place in PLACES.values())
                mapped = place == "mapping"
            else:
                tell.claim(label, "mapping", place)
                if before is not None:
                    tell.bytes(
                        f"{kib(length)} string: VSZ changes by",
                        chunk(length, unit) - chunk(before[0], unit),
                        (memory.vsz or 0) - before[1],
                    )
            now = memory.vsz or 0, memory.rss or 0
            moved = [None, None] if before is None else list(map(sub, now, before[1:]))
            figures = (now[0], moved[0], now[1], moved[1])
            in_kib = [None if value is None else value >> 10 for value in figures]
            rows.append((kib(length), place, *in_kib))
            before = length, *now


PLACES = {"heap": "heap", "anon": "mapping"}

OVERHEAD = sys.getsizeof("")
"""Python's header of a string, and the null byte after it."""


def chunk(length: int, unit: int) -> int:
    """What malloc maps for a string: with its own header of two words, in whole pages."""
    return -(-(length + OVERHEAD + 16) // unit) * unit


def strings(child: subprocess.Popen[bytes], doublings: int) -> Iterator[tuple[int, int]]:
    """Address and length of the string after each doubling, while the child waits."""
    if child.stdin is None or child.stdout is None:
        raise BadArgument("the child has no pipes")
    for _ in range(doublings + 1):
        words = child.stdout.readline().split()
        if len(words) != 2:
            raise Unsupported("an interpreter", f"{sys.executable} exited too early")
        yield int(words[0]), int(words[1])
        child.stdin.write(b"more\n")
        child.stdin.flush()


def has_confstr() -> bool:
    return "CS_GNU_LIBC_VERSION" in os.confstr_names


def clean_environment() -> dict[str, str]:
    """The environment without what changes malloc or replaces it."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "LD_PRELOAD", "GLIBC_TUNABLES", "PYTHON"))
    }
