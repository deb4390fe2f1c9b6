"""Marks that limit what a test does to memory: limit_rss, limit_vsz, no_growth and others."""

from __future__ import annotations

import gc
import mmap
from contextlib import nullcontext
from typing import NamedTuple

import pytest

from procmem.procfs import probes
from procmem.procfs.descriptors import own_descriptors
from procmem.testing.watching import Watching
from procmem.units import about, count, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from typing import Any

__all__ = ["MemoryMarks"]

ALLOCATORS = {
    "heap": "heap", "arena": "malloc's arenas", "thread stack": "stacks of threads",
}  # fmt: skip
"""Regions that allocators keep for later, by kind: no leaks of the test that made them grow."""

ARENA = 1 << 20
"""Bytes that CPython's allocator maps at a time (Objects/obmalloc.c, ARENA_SIZE, from 3.10 on)."""


class MarkLimits(NamedTuple):
    """What the marks of one test ask for.

    Attributes:
        rss, vsz: bytes; None: no limit.
        pages: by how many pages memory may grow; None: no limit.
        warmup: how often the test runs before it is measured.
        runs: how often it runs while it is measured.
        maps, fds: whether nothing may stay mapped, or open.
    """

    rss: int | None = None
    vsz: int | None = None
    pages: int | None = None
    warmup: int = 0
    runs: int = 1
    maps: bool = False
    fds: bool = False


def limits_of(item: pytest.Item, marks: Mapping[str, str]) -> MarkLimits:
    """What the marks of a test ask for; the closest of each name counts.

    Args:
        item: the test.
        marks: the marks by name, each with how it is used.

    Raises:
        pytest.UsageError: a mark has wrong arguments.
    """
    limits = MarkLimits()
    for name in marks:
        mark = item.get_closest_marker(name)
        if mark is None:
            continue
        try:
            given = READERS[name](*mark.args, **mark.kwargs)
            warmup = max(limits.warmup, given.get("warmup", 0))
            limits = limits._replace(**{**given, "warmup": warmup})
        except (TypeError, ValueError) as error:
            what = str(error).replace(f"read_{name}()", name)
            raise pytest.UsageError(f"{item.nodeid}: {what}. Usage: {marks[name]}") from error
    return limits


def read_size(size: int | str) -> int:
    if isinstance(size, str):
        return parse_size(size)
    return natural(size, "a size")


def natural(value: int, what: str, least: int = 0) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{what} is a whole number from {least} on, not {value!r}")
    return value


def read_limit_rss(size: int | str) -> dict[str, Any]:
    return {"rss": read_size(size)}


def read_limit_vsz(size: int | str) -> dict[str, Any]:
    return {"vsz": read_size(size)}


def read_no_growth(pages: int = 0, warmup: int = 3, runs: int = 10) -> dict[str, Any]:
    return {
        "pages": natural(pages, "pages"),
        "warmup": natural(warmup, "warmup"),
        "runs": natural(runs, "runs", 1),
    }


def read_no_leaked_maps(warmup: int = 0) -> dict[str, Any]:
    return {"maps": True, "warmup": natural(warmup, "warmup")}


def read_no_leaked_fds(warmup: int = 0) -> dict[str, Any]:
    return {"fds": True, "warmup": natural(warmup, "warmup")}


READERS: dict[str, Callable[..., dict[str, Any]]] = {
    "limit_rss": read_limit_rss,
    "limit_vsz": read_limit_vsz,
    "no_growth": read_no_growth,
    "no_leaked_maps": read_no_leaked_maps,
    "no_leaked_fds": read_no_leaked_fds,
}


class MemoryMarks:
    """The part of the plugin that is registered if a test has one of the marks.

    Args:
        items: the tests that have one.
        marks: the marks by name, each with how it is used.

    Raises:
        pytest.UsageError: a mark has wrong arguments.
    """

    def __init__(self, items: Sequence[pytest.Item], marks: Mapping[str, str]) -> None:
        self.watching = Watching()
        self.limits = {item.nodeid: limits_of(item, marks) for item in items}

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Runs the test as often as its marks ask for, and measures it.

        Fixtures are made once, before all runs, and ended after them.
        """
        limits = self.limits.get(item.nodeid)
        if limits is None:
            return (yield)
        again = Again(item)
        # Made before the warm-up, so that the runs that count find the same objects in memory.
        measured = Measured(self.watching, limits) if limits != MarkLimits(fds=limits.fds) else None
        result = None
        # pytest's own run leaves a few hundred bytes behind (setenv(3) with the test's name): it
        # is the first one to warm up, if there is one.
        if limits.warmup:
            result = yield
            again.restore()
            again.run(limits.warmup - 1)
        open_before = own_descriptors() if limits.fds else {}
        with measured or nullcontext():
            if not limits.warmup:
                result = yield
                again.restore()
                again.run(limits.runs - 1)
            else:
                again.run(limits.runs)
        if measured is not None and measured.grew():
            # The interpreter takes a page for itself now and then; what a test keeps comes again.
            with measured:
                again.run(limits.runs)
        problems = [] if measured is None else measured.problems()
        if limits.fds:
            problems += leaked_descriptors(open_before, own_descriptors())
        if problems:
            pytest.fail("\n\n".join(problems), pytrace=False)
        return result

    def pytest_unconfigure(self) -> None:
        """Ends the process that measures."""
        self.watching.end()


class Again:
    """Runs a test once more.

    pytest-asyncio wraps the test's function each time that it runs it, so it is put back.
    """

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.function = getattr(item, "obj", None)

    def run(self, times: int) -> None:
        """Runs the test.

        Garbage of earlier runs would need more pages the more runs there were.
        """
        for _ in range(times):
            gc.collect()
            self.item.runtest()
            self.restore()

    def restore(self) -> None:
        """Puts the test's function back."""
        if self.function is not None:
            self.item.obj = self.function  # type: ignore[attr-defined]


class Measured:
    """The memory of this process inside `with`; of the last time, if it is used again.

    Args:
        watching: asks the process that measures.
        limits: what the marks ask for.
    """

    def __init__(self, watching: Watching, limits: MarkLimits) -> None:
        self.watching = watching
        self.limits = limits
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}
        self.ballast: mmap.mmap | None = None
        watching.ask("begin")

    def __enter__(self) -> None:
        # The answer is not kept: it would be growth.
        gc.collect()
        if self.limits.vsz is not None:
            self.fill_up_to_the_peak(self.watching.ask("begin"))
        self.watching.ask("begin")

    def fill_up_to_the_peak(self, now: dict[str, Any]) -> None:
        """Reserves addresses until VSZ is as large as it has ever been.

        VmPeak can't be set back, so it shows the peak of the test only if it starts from there.
        """
        missing = (now["peak_vsz"] or 0) - now["vsz"]
        if missing >= mmap.PAGESIZE:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
            try:
                self.ballast = mmap.mmap(-1, missing, flags=flags, prot=0)
            except OSError:
                return  # RLIMIT_AS: what stays mapped at the end is measured all the same

    def __exit__(self, *_: object) -> None:
        gc.collect()
        self.after = self.watching.ask("end")
        self.before = self.after["before"]
        if self.ballast is not None:
            self.ballast.close()
            self.ballast = None

    def problems(self) -> list[str]:
        """What the marks do not allow, with what changed and why."""
        found = [*self.too_high_rss(), *self.too_high_vsz(), *self.growth(), *self.leaks()]
        return [f"{one}\n\n{self.after['explained']}" if at == 0 else one
                for at, one in enumerate(found)]  # fmt: skip

    def too_high_rss(self) -> Iterable[str]:
        limit, before, after = self.limits.rss, self.before, self.after
        if limit is None:
            return
        at_end = after["rss"] or 0
        slack = probes.rss_bound(1)
        peak = None
        if before["peak_was_reset"] and after["peak_rss"] is not None:
            peak = max(after["peak_rss"] - before["rss"], at_end)
        if at_end > limit:
            yield f"RSS is {about(at_end)} larger than before the test: limit_rss is {about(limit)}"
        elif peak is not None and peak - slack > limit:
            yield (
                f"RSS was {about(peak)} larger than before the test at its peak (VmHWM, which may "
                f"be {about(slack)} off): limit_rss is {about(limit)}"
            )

    def too_high_vsz(self) -> Iterable[str]:
        limit = self.limits.vsz
        if limit is None:
            return
        peak = (self.after["peak_vsz"] or 0) - self.before["vsz"]
        grown = max(self.after["vsz"], peak if self.from_the_peak else 0)
        if grown > limit:
            yield (
                f"VSZ was {about(grown)} larger than before the test: limit_vsz is {about(limit)}. "
                "The interpreter maps memory by arenas of 1 MiB"
            )

    @property
    def from_the_peak(self) -> bool:
        missing = (self.before["peak_vsz"] or 0) - self.before["vsz"]
        return bool(missing < mmap.PAGESIZE)

    def grown_by(self) -> int:
        """By how many pages memory grew."""
        return -(-(self.after["own"] or 0) // int(self.after["page_size"]))

    def grew(self) -> bool:
        """Whether memory grew by more than no_growth allows."""
        return self.limits.pages is not None and self.grown_by() > self.limits.pages

    def growth(self) -> Iterable[str]:
        if self.grew():
            pages, page = self.grown_by(), self.after["page_size"]
            yield (
                f"memory grew by {count(pages, 'page')} ({about(pages * page)}) in "
                f"{count(self.limits.runs, 'run')}, after {self.limits.warmup} to warm up: "
                f"no_growth allows {self.limits.pages}. {self.slack()}"
            )

    def slack(self) -> str:
        """What the same measurement shows of a test that does nothing."""
        gc.collect()
        self.watching.ask("begin")
        for _ in range(self.limits.runs):
            nothing()
        gc.collect()
        after = self.watching.ask("end")
        pages = (after["own"] or 0) // after["page_size"]
        return f"A test that does nothing grew by {count(pages, 'page')} here"

    def leaks(self) -> Iterable[str]:
        if not self.limits.maps:
            return
        leaked: list[str] = []
        kept: dict[str, int] = {}
        for region in self.after["gained"]:
            reason, size = kept_for_later(region)
            if size:
                kept[reason] = kept.get(reason, 0) + size
            if size < region["gained"]:
                leaked.append(
                    f"  {region['start']:x}-{region['end']:x} {region['perms']} "
                    f"{about(region['gained'] - size)}  {region['name']}"
                )
        if leaked:
            rest = "".join(f"\nnot counted: {about(size)} of {name}" for name, size in kept.items())
            yield "the test left memory mapped (no_leaked_maps):\n" + "\n".join(leaked) + rest


NORESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000)


def nothing() -> None:
    pass


def kept_for_later(region: dict[str, Any]) -> tuple[str, int]:
    """Which allocator or loader keeps a region by design, and how much of what it gained."""
    gained: int = region["gained"]
    if region["use"] == "CPython objects":
        # The kernel joins arenas with mappings beside them: these are no multiple of an arena.
        return "CPython's arenas", gained - gained % ARENA
    if region["beside_arena"]:
        return "arenas, perhaps CPython's, beside malloc's", gained - gained % ARENA
    if region["kind"] in ALLOCATORS:
        return ALLOCATORS[region["kind"]], gained
    return ("libraries", gained) if region["owner"] else ("", 0)


def leaked_descriptors(before: dict[int, str], after: dict[int, str]) -> list[str]:
    leaked = [f"  {fd}: {what}" for fd, what in sorted(after.items()) if before.get(fd) != what]
    if not leaked:
        return []
    return ["the test left files open (no_leaked_fds):\n" + "\n".join(leaked)]
