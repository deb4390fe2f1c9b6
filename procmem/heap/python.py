"""CPython's allocator for small objects in a process: its arenas, pools and size classes.

Objects/obmalloc.c: arenas of 1 MiB contain pools of 16 KiB, each with blocks of one size. Without
the radix tree (before 3.10, and 32-bit programs) arenas have 256 KiB, and pools 4 KiB.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from itertools import pairwise
from typing import NamedTuple

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from procmem.procfs.resident import ResidentMemory
    from procmem.regions.region import Region

__all__ = [
    "PythonArena",
    "PythonBlock",
    "PythonBucket",
    "PythonClass",
    "PythonHeap",
    "named_allocator",
    "pools_in",
    "read_python",
    "summed",
]

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
CLASSES = 32
"""NB_SMALL_SIZE_CLASSES of 64-bit programs: blocks of 16 to 512 bytes."""

HEADER = struct.Struct("=IIQQQIIII")
"""struct pool_header: blocks in use, padding, free list, next and previous pool, arena, size
class, offset of the next block that was never used, largest offset of a block."""

FEW = 4
"""The most blocks in use of an arena that are listed."""

SHARES = (0, 1, 10, 25, 50, 75, 101)
"""Bounds of the histogram of arenas, in percent."""

DEBUG = b"\xfd" * 7
"""PYMEM_FORBIDDENBYTE, which fills the bytes before an object with debug hooks, after the letter of
its domain."""

TESTED = 64
"""How many blocks are tested for debug hooks."""

SIZES = ((16 << 10, 1 << 20), (4 << 10, 256 << 10))
"""Bytes of a pool and of an arena."""


class PythonClass(NamedTuple):
    """The blocks of one size.

    Attributes:
        pools: the number of pools that have blocks in use.
        in_use: the number of blocks in use.
        free: the number of free blocks in those pools.
    """

    pools: int
    in_use: int
    free: int


class PythonBlock(NamedTuple):
    """A block in use: its address, and its size in bytes."""

    address: int
    size: int


class PythonArena(NamedTuple):
    """An arena of CPython, which is returned to the kernel only when all of its pools are empty.

    Attributes:
        address: the address of the first pool that was found in it.
        pools: the number of its pools that have blocks in use.
        in_use: bytes of blocks in use.
        size: bytes of the arena.
        blocks: the number of blocks in use.
        held: these blocks, if they are FEW or less: they alone keep the arena.
    """

    address: int
    pools: int
    in_use: int
    size: int
    blocks: int = 0
    held: tuple[PythonBlock, ...] = ()


class PythonBucket(NamedTuple):
    """Arenas that are used to a similar degree.

    Attributes:
        least, most: percent of the arena's bytes that are in use, most excluded.
        arenas: their number.
        free: bytes in them that are not in use.
    """

    least: int
    most: int
    arenas: int
    free: int


class PythonHeap(NamedTuple):
    """The memory of CPython's allocator for objects of up to 512 bytes.

    Attributes:
        arenas: its arenas, by address.
        pools: the number of pools that have blocks in use.
        in_use: bytes of blocks in use.
        free: bytes of free blocks in those pools.
        classes: pools and blocks of each size, by the size of a block in bytes.
        pool_size: bytes of a pool.
        allocator: what serves objects of up to 512 bytes: "pymalloc", "pymalloc with debug hooks",
            "malloc" (PYTHONMALLOC), "mimalloc" (free-threaded builds); None: not known, since no
            pool was found.
        evidence: what shows it.
        guess: whether that is no proof.

    Source: Objects/obmalloc.c of CPython.
    """

    arenas: tuple[PythonArena, ...]
    pools: int
    in_use: int
    free: int
    classes: dict[int, PythonClass]
    pool_size: int
    allocator: str | None = None
    evidence: str = ""
    guess: bool = False

    def by_use(self) -> list[PythonBucket]:
        """The arenas by the share of their bytes that is in use."""
        rows = []
        for least, most in pairwise(SHARES):
            members = [
                one for one in self.arenas if least * one.size <= 100 * one.in_use < most * one.size
            ]
            free = sum(one.size - one.in_use for one in members)
            rows.append(PythonBucket(least, most, len(members), free))
        return rows

    def pinned(self) -> list[PythonArena]:
        """The arenas that a few blocks keep, those with the fewest first."""
        return sorted((one for one in self.arenas if one.held), key=lambda one: one.blocks)


class Pool(NamedTuple):
    address: int
    arena: int
    size: int
    in_use: int
    capacity: int
    free: int
    unused: int


def pool_at(data: bytes, offset: int, address: int, size: int) -> Pool | None:
    """The pool whose header is at an offset in data; None: there is no valid header."""
    count, gap, free, following, before, arena, index, unused, largest = HEADER.unpack_from(
        data, offset
    )
    block = (index + 1) * 16
    if index >= CLASSES or largest != size - block or gap:
        return None
    capacity = (size - HEADER.size) // block
    if count > capacity or unused > largest + block or unused < HEADER.size + block:
        return None
    if (unused - HEADER.size) % block or (unused - HEADER.size) // block < count:
        return None
    inside = address + HEADER.size <= free < address + size
    if free and (not inside or (free - address - HEADER.size) % block):
        return None
    if count == capacity and free:
        return None
    if following % 8 or before % 8:
        return None
    return Pool(address, arena, block, count, capacity, free, unused)


def pools_in(memory: ResidentMemory, region: Region, size: int) -> Iterator[Pool]:
    """The pools of a region, including empty ones; only resident pages are read."""
    first = -(-region.start // size) * size
    pages = size // PAGE_SIZE
    step = 256 * size
    for start in range(first, region.end, step):
        end = min(start + step, region.end)
        entries = memory.entries(start, end)
        for address in range(start, end - size + 1, size):
            if entries[(address - start) // size * pages]:
                data = memory.read_present(address, HEADER.size)
                if len(data) == HEADER.size:
                    pool = pool_at(data, 0, address, size)
                    if pool is not None:
                        yield pool


def read_python(memory: ResidentMemory, regions: Sequence[Region]) -> PythonHeap:
    """Finds the arenas of CPython's object allocator in anonymous writable regions.

    Pools are accepted only if all pools with the same arena number are within an arena's length.
    """
    best = PythonHeap((), 0, 0, 0, {}, SIZES[0][0])
    for pool_size, arena_size in SIZES:
        arenas: dict[int, list[Pool]] = {}
        for region in regions:
            if region.inode or not region.perms.write or not region.perms.private:
                continue
            if region.size < arena_size:
                continue
            for pool in pools_in(memory, region, pool_size):
                arenas.setdefault(pool.arena, []).append(pool)
        kept = [
            pools
            for pools in arenas.values()
            if max(pools).address - min(pools).address < arena_size
        ]
        found = summed(kept, pool_size, arena_size)
        if found.pools > best.pools:
            best = with_blocks(found, kept, memory)
    return best


def blocks_in(pool: Pool, memory: ResidentMemory) -> list[PythonBlock]:
    """The blocks of a pool that are in use: those that were used and are not in its free list."""
    first = pool.address + HEADER.size
    idle: set[int] = set()
    at = pool.free
    while at and len(idle) <= pool.capacity:
        if at in idle or not first <= at < pool.address + pool.unused:
            break
        idle.add(at)
        at = int.from_bytes(memory.read(at, 8), sys.byteorder)
    used = range(first, pool.address + pool.unused, pool.size)
    return [PythonBlock(address, pool.size) for address in used if address not in idle]


def with_blocks(
    found: PythonHeap, arenas: Sequence[Sequence[Pool]], memory: ResidentMemory
) -> PythonHeap:
    """The same, with the blocks that alone keep an arena, and which allocator it is."""
    by_address = {min(pools).address: pools for pools in arenas}
    listed = []
    for arena in found.arenas:
        if arena.blocks <= FEW:
            pools = [pool for pool in by_address[arena.address] if pool.in_use]
            held = [block for pool in pools for block in blocks_in(pool, memory)]
            # Blocks that were returned meanwhile are no longer those that were counted.
            if len(held) == arena.blocks:
                arena = arena._replace(held=tuple(held))  # noqa: PLW2901
        listed.append(arena)
    tested = hooked = 0
    for pool in (pool for pools in arenas for pool in pools if pool.in_use):
        for block in blocks_in(pool, memory)[:4]:
            head = memory.read(block.address, 16)
            tested += 1
            hooked += head[8:9] in (b"r", b"m", b"o") and head[9:] == DEBUG
        if tested >= TESTED:
            break
    name, evidence = "pymalloc", "headers of its pools"
    if 2 * hooked > tested:
        name, evidence = "pymalloc with debug hooks", "the bytes 0xfd before its objects"
    return found._replace(arenas=tuple(listed), allocator=name, evidence=evidence)


def named_allocator(found: PythonHeap, paths: Iterable[str], environment: bytes) -> PythonHeap:
    """The same, with what probably serves small objects, if no pool was found.

    Args:
        found: what was read.
        paths: the files that the process maps.
        environment: its environment, as in /proc/PID/environ.
    """
    if found.pools:
        return found
    for word in environment.split(b"\0"):
        name, _, value = word.partition(b"=")
        if name == b"PYTHONMALLOC" and value in (b"malloc", b"malloc_debug", b"mimalloc"):
            said = value.decode()
            name_of = "mimalloc" if said == "mimalloc" else "malloc"
            return found._replace(
                allocator=name_of, evidence=f"PYTHONMALLOC={said} in its environment", guess=True
            )
    for path in paths:
        base = path.rpartition("/")[2]
        if re.fullmatch(r"(lib)?python3\.\d+t.*", base):
            return found._replace(
                allocator="mimalloc", evidence=f"{base}: a free-threaded build", guess=True
            )
    return found


def summed(arenas: Sequence[Sequence[Pool]], pool_size: int, arena_size: int) -> PythonHeap:
    """Adds up the figures of pools.

    Args:
        arenas: the pools of each arena.
        pool_size: bytes of a pool.
        arena_size: bytes of an arena.
    """
    classes: dict[int, list[int]] = {}
    listed = []
    for pools in arenas:
        used = [pool for pool in pools if pool.in_use]
        for pool in used:
            row = classes.setdefault(pool.size, [0, 0, 0])
            row[0] += 1
            row[1] += pool.in_use
            row[2] += pool.capacity - pool.in_use
        in_use = sum(pool.in_use * pool.size for pool in used)
        blocks = sum(pool.in_use for pool in used)
        listed.append(PythonArena(min(pools).address, len(used), in_use, arena_size, blocks))
    return PythonHeap(
        tuple(sorted(listed)),
        sum(row[0] for row in classes.values()),
        sum(size * row[1] for size, row in classes.items()),
        sum(size * row[2] for size, row in classes.items()),
        {size: PythonClass(*classes[size]) for size in sorted(classes)},
        pool_size,
    )
