"""region_at() against the bare ioctl in C, and against maps()."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from benchmarks.compare import Row, Skip, compare, timed
from benchmarks.targets import Target, built
from procmem import Process
from procmem.procfs.probes import has_procmap_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["region_at"]

QUESTIONS = 500
"""Asked one after the other in a sample, spread over the address space."""


def region_at(effort: Effort) -> Iterator[Row | Skip]:
    if not has_procmap_query():
        yield Skip("region_at", "region_at()", "this kernel has no PROCMAP_QUERY (Linux 6.11)")
        return
    for size in effort.sizes:
        with Target(size) as target:
            process = Process(target.pid)
            anonymous = spread(target.addresses)
            found = process.region_at(anonymous[0])
            assert found is not None
            assert found == process.maps().find(anonymous[0])
            fd = os.open(f"/proc/{target.pid}/maps", os.O_RDONLY)
            try:
                questions = {"": anonymous, " of a file": spread(target.file_addresses)}
                samples = {"maps()": timed(process.maps, effort)}
                for kind, addresses in questions.items():
                    samples["PROCMAP_QUERY in C" + kind] = bare_query(fd, addresses, effort)
                    samples["region_at()" + kind] = query(process, addresses, effort)
                measured = compare("region_at", size, samples, effort)
            finally:
                os.close(fd)
        for kind in questions:
            yield measured.row("region_at()" + kind, "PROCMAP_QUERY in C" + kind, 5.0)
        yield measured.row("region_at()", "maps()", 0.001 if size >= 30_000 else None)


def spread(addresses: list[int]) -> list[int]:
    """QUESTIONS of them, in an order that goes to and fro as a profiler's samples do."""
    return [addresses[i * 7919 % len(addresses)] for i in range(QUESTIONS)]


def bare_query(fd: int, addresses: list[int], effort: Effort) -> Callable[[], float]:
    query_all = ctypes.CDLL(str(built("bare.c", "-shared", "-fPIC"))).query_all
    query_all.restype = ctypes.c_int64
    query_all.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64]
    asked = (ctypes.c_uint64 * len(addresses))(*addresses)

    def once() -> float:
        took = query_all(fd, asked, len(addresses))
        assert took > 0, os.strerror(-took)
        return float(took / 1e9)

    # As long as the other samples, so that what else runs here falls on all alike.
    repeats = range(max(1, int(effort.window / once())))
    return lambda: sum(once() for _ in repeats) / len(repeats) / len(addresses)


def query(process: Process, addresses: list[int], effort: Effort) -> Callable[[], float]:
    def run() -> None:
        for address in addresses:
            process.region_at(address)

    sample = timed(run, effort)
    return lambda: sample() / len(addresses)
