"""The pages of each region by NUMA node: numa_maps as records. Bytes in, nothing opened."""

from __future__ import annotations

from typing import NamedTuple

from procmem.errors import ParseError

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["NumaRegion", "parse_numa_maps"]


class NumaRegion(NamedTuple):
    """The pages of one region by NUMA node. Sizes are bytes.

    Attributes:
        start: address of the region.
        policy: the memory policy of the region, such as "default" or "bind:0-1" (numa(7)).
        nodes: what is in memory on each node; nodes without any are left out. Pages that were
            mapped by several processes count in each of them.
        anon: anonymous pages.
        dirty: pages that were changed.
        mapped: pages of files and shared memory that are mapped; None: the kernel leaves it out
            where it is the same as `dirty`.
        writeback: pages that are being written.
        swapcache: pages that are in memory and in swap.
        active: pages on the active list; None: all of them are.
        mapmax: how often the page is mapped that is mapped most.
        page_size: of the region, in bytes. Huge pages of hugetlbfs have their own.

    Source: numa_maps in proc(5), Documentation/admin-guide/numa_memory_policy.rst,
    show_numa_map() in fs/proc/task_mmu.c.
    """

    start: int
    policy: str
    nodes: dict[int, int]
    anon: int
    dirty: int
    mapped: int | None
    writeback: int
    swapcache: int
    active: int | None
    mapmax: int
    page_size: int

    def to_record(self) -> dict[str, Any]:
        """Its fields as plain values, with a field for each node: "node0", "node1", ..."""
        found = self._asdict()
        nodes = found.pop("nodes")
        return {**found, **{f"node{node}": size for node, size in nodes.items()}}


def parse_numa_maps(
    text: bytes, page_size: int = 4096, source: str = "<numa_maps>"
) -> list[NumaRegion]:
    r"""The regions of a text of /proc/PID/numa_maps, in its order.

    Args:
        text: the text. Words that this version does not know are ignored.
        page_size: of regions of which the text shows none: those that have no pages.
        source: named in errors.

    Raises:
        ParseError: a line is none of numa_maps.

    >>> line = b"7f00 default anon=3 dirty=3 active=1 N0=2 N1=1 kernelpagesize_kB=4\n"
    >>> region = parse_numa_maps(line)[0]
    >>> region.nodes, region.anon, region.policy
    ({0: 8192, 1: 4096}, 12288, 'default')
    """
    found = []
    for number, line in enumerate(text.split(b"\n"), 1):
        words = line.split()
        if not words:
            continue
        try:
            start, policy = int(words[0], 16), words[1].decode("ascii")
            pairs = dict(word.split(b"=", 1) for word in words[2:] if b"=" in word)
            # A file's name has its blanks escaped, so that it is one word.
            pairs.pop(b"file", None)
            size = int(pairs.get(b"kernelpagesize_kB", b"0")) * 1024 or page_size
            nodes = {
                int(name[1:]): int(value) * size
                for name, value in pairs.items()
                if name[:1] == b"N" and name[1:].isdigit()
            }
            values = {name: int(pairs[name]) for name in COUNTS if name in pairs}
        except (ValueError, IndexError):
            raise ParseError(source, number, line, "not a line of numa_maps") from None

        def pages(name: bytes, values: dict[bytes, int] = values, size: int = size) -> int:
            return values.get(name, 0) * size

        found.append(
            NumaRegion(
                start=start,
                policy=policy,
                nodes=nodes,
                anon=pages(b"anon"),
                dirty=pages(b"dirty"),
                mapped=pages(b"mapped") if b"mapped" in values or not nodes else None,
                writeback=pages(b"writeback"),
                swapcache=pages(b"swapcache"),
                active=pages(b"active") if b"active" in values or not nodes else None,
                mapmax=values.get(b"mapmax", 1 if nodes else 0),
                page_size=size,
            )
        )
    return found


COUNTS = (b"anon", b"dirty", b"mapped", b"writeback", b"swapcache", b"active", b"mapmax")
