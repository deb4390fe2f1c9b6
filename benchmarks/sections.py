"""sections() and symbol_at() against smaps(), and against region_at()."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.compare import Row, compare, timed
from procmem import Process
from procmem.elf import image
from procmem.process import symbols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["sections"]

OBJECTS = 25
"""The executable, its libraries, the loader and the vdso."""

LIBRARIES = """
import sys
for name in ("array _asyncio binascii _bisect _blake2 _bz2 cmath _contextvars _csv _ctypes "
             "_datetime _decimal _elementtree fcntl grp _hashlib _heapq _json _lsprof _lzma math "
             "mmap _multiprocessing _opcode _pickle _posixsubprocess pyexpat _queue _random "
             "resource select _socket _sqlite3 _ssl _statistics _struct termios unicodedata zlib"
             ).split():
    try:
        __import__(name)
    except ImportError:
        continue
    with open("/proc/self/maps") as maps:
        names = {line.split()[-1] for line in maps if " r-xp " in line}
    if len(names) >= int(sys.argv[1]):
        break
print("ready", flush=True)
sys.stdin.read()
"""


def sections(effort: Effort) -> Iterator[Row]:
    # [vsyscall] is counted as one more name there.
    words = [sys.executable, "-c", LIBRARIES, str(OBJECTS + 1)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        process = Process(child.pid)
        objects = process.objects()
        assert all(live.bridge()[-1].bytes == 0 for live in objects if live.image)
        size = len(process.maps())
        measured = compare(
            "sections",
            size,
            {
                "maps()": timed(process.maps, effort),
                "residency()": timed(process.residency, effort),
                "smaps()": timed(process.smaps, effort),
                f"sections() of {len(objects)} objects": timed(process.sections, effort),
                f"sections() of {len(objects)} objects, first": first(process),
            },
            effort,
        )
        for name in list(measured.values)[3:]:
            yield measured.row(name, "smaps()")
        text = [s for s in process.sections() if s.name == ".text"]
        addresses = [s.address + at for s in text for at in range(0, s.size, max(1, s.size // 20))]
        for address in addresses:
            process.symbol_at(address)
        measured = compare(
            "symbol_at",
            size,
            {
                "region_at()": each(process.region_at, addresses, effort),
                "symbol_at()": each(process.symbol_at, addresses, effort),
            },
            effort,
        )
        yield measured.row("symbol_at()", "region_at()")
        child.kill()


def first(process: Process) -> Callable[[], float]:
    """The time of a call with empty caches."""

    def sample() -> float:
        image._kept.clear()
        symbols._kept.clear()
        start = time.perf_counter()
        process.sections()
        return time.perf_counter() - start

    return sample


def each(ask: Callable[[int], object], addresses: list[int], effort: Effort) -> Callable[[], float]:
    """The time of one call, over all addresses in turn."""

    def run() -> None:
        for address in addresses:
            ask(address)

    sample = timed(run, effort)
    return lambda: sample() / len(addresses)
