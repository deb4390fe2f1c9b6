"""Memory that two processes share, and memory that only looks alike."""

from __future__ import annotations

from procmem.errors import BadArgument, Unsupported
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.backing import memory_file
from procmem.experiments.specimen.specimen import Area, Specimen
from procmem.ipc.shared import segments
from procmem.procfs.mapped import read_memory

__all__ = ["sharing"]


@experiment(
    "sharing",
    "Memory that processes share",
    "One process writes to its memory. Does another one see that?",
)
def sharing(tell: Teller) -> None:
    """Writes to shared and to private mappings of a parent and its child, and of strangers."""
    related(tell)
    strangers(tell)


def related(tell: Teller) -> None:
    with Specimen() as parent:
        shared = tell.mapping("map a page, MAP_SHARED", parent.mmap(pages=1, shared=True))
        private = tell.mapping("map a page, MAP_PRIVATE", parent.mmap(pages=1))
        tell.step("write 1 to the shared page", parent.touch(shared, value=1))
        tell.step("write 1 to the private page", parent.touch(private, value=1))
        forked = tell.step("fork", parent.fork())
        child = forked.child
        if child is None:
            raise BadArgument("the fork made no child")
        with child:
            tell.step("the child writes 2 to the shared page", child.touch(shared, value=2))
            tell.claim(
                "the parent sees there", 2, byte(parent, shared),
                "Both map the same page. No call is needed, and none tells the parent that"
                " something has changed.",
            )  # fmt: skip
            tell.step("the child writes 2 to the private page", child.touch(private, value=2))
            tell.claim(
                "the parent's private page", 1, byte(parent, private),
                "The child's write made a copy of the page, which is the child's alone.",
            )  # fmt: skip
            tell.claim("the child's private page", 2, byte(child, private))
            parent.touch(shared, value=3)
            tell.claim("the parent writes 3 to the shared page: the child reads", 3,
                       byte(child, shared))  # fmt: skip
            tell.claim(
                "procmem.segments(): segments that both map", 1, common(parent, child),
                "The private page is in none.",
            )  # fmt: skip
        tell.claim(
            "the child has ended: the parent reads the shared page", 3, byte(parent, shared),
            "It lives as long as anybody maps it.",
        )  # fmt: skip


def strangers(tell: Teller) -> None:
    with Specimen() as one, Specimen() as other, memory_file(1, one.space.rules.page_size) as fd:
        first = tell.mapping("map a file, MAP_SHARED", one.mmap(pages=1, file=fd, shared=True))
        second = tell.mapping(
            "another process maps it, MAP_SHARED", other.mmap(pages=1, file=fd, shared=True),
            "Processes that are not related share memory by a file: shm_open(3) and"
            " memfd_create(2) make files in memory for that.",
        )  # fmt: skip
        copy = tell.mapping("and MAP_PRIVATE", other.mmap(pages=1, file=fd))
        tell.step("the first writes 10", one.touch(first, value=10))
        tell.step("the other reads its shared mapping", other.read(second))
        tell.claim("the other sees in its shared mapping", 10, byte(other, second))
        tell.step("and its private one", other.read(copy))
        tell.claim(
            "and in its private one", 10, byte(other, copy),
            "It maps the file's own page until it writes there. POSIX leaves that open.",
        )  # fmt: skip
        tell.step("it writes 20 to the private one", other.touch(copy, value=20))
        tell.claim("the first sees", 10, byte(one, first), "The write went to a copy.")
        tell.step("the first writes 30", one.touch(first, value=30))
        tell.claim("the other's shared mapping then", 30, byte(other, second))
        tell.claim(
            "the other's private mapping then",
            20,
            byte(other, copy),
            "It has a page of its own from now on.",
        )


def byte(one: Specimen, area: Area) -> int:
    """The first byte of a mapping that is present, read from outside."""
    data = read_memory(one.process.files, area.start, 1)
    if not data:
        raise Unsupported("/proc/PID/mem", "it can't be read here")
    return data[0]


def common(one: Specimen, other: Specimen) -> int:
    """How many segments two processes both map."""
    both = {one.process.pid, other.process.pid}
    return sum(both <= {mapper.pid for mapper in found.mappers} for found in segments())
