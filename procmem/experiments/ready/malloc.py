"""malloc between a program and the kernel: brk or mmap, what is kept, what is given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.specimen import Specimen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from procmem.experiments.specimen.step import Step

__all__ = ["malloc"]

SMALL, LARGE, COUNT = 32 * 1024, 256 * 1024, 10


@experiment("malloc", "malloc", "When does malloc ask the kernel, and what does free give back?")
def malloc(tell: Teller, *, count: int = COUNT) -> None:
    """Allocates and frees on both sides of the threshold between brk and mmap.

    Args:
        count: how many blocks of 32 KiB and of 256 KiB.
    """
    with Specimen(libc=True) as s:
        page = s.space.rules.page_size
        tell.step(
            "malloc(100), the first",
            s.malloc(100),
            "malloc buys from the kernel wholesale, and sells in pieces.",
        )
        tell.step("malloc(100) again", s.malloc(100), "The heap has room: the kernel isn't asked.")
        small = many(tell, f"malloc({SMALL:,})", (s.malloc(SMALL) for _ in range(count)))
        asked = sum(one.delta.vsz > 0 for one in small)
        bought = sum(one.delta.vsz for one in small)
        tell.claim(
            f"of {count} mallocs of {SMALL:,} bytes, those that asked the kernel",
            sum(one.predicted.vsz > 0 for one in small),
            asked,
            "128 KiB more than needed are bought each time, for the next ones: few brk, many"
            " malloc.",
            rests_on=small,
        )
        tell.bytes(
            "which is in all", sum(one.predicted.vsz for one in small), bought, rests_on=small
        )
        tell.step(
            "write to all of the last",
            s.touch(address(small[-1]), pages=SMALL // page),
            "malloc gives addresses, as mmap does: pages come when they are written to.",
        )
        tell.step(
            "free the first",
            s.free(address(small[0])),
            "It lies in the middle of the heap, which has one end: nothing can be given back.",
        )
        for one in small[1:-1]:
            s.free(address(one))
        tell.step(
            "free the last, all between being free",
            s.free(address(small[-1])),
            "Now the end of the heap is free, and more than the trim threshold: brk goes down.",
        )
        tell.step("malloc_trim(0)", s.trim(), "It leaves no reserve at the end.")
    with Specimen(libc=True) as s:
        s.malloc(100)
        tell.step("in a new process: malloc(131,048)", s.malloc(131_048))
        over = tell.step(
            "malloc(131,049)",
            s.malloc(131_049),
            "With its eight bytes of size, rounded up, that is a chunk of 128 KiB, which is"
            " M_MMAP_THRESHOLD. From there on malloc calls mmap.",
        )
        tell.step(
            "free it",
            s.free(address(over)),
            "A mapping of its own can go back on its own, at once.",
        )
        again = tell.step(
            "malloc(131,049) again",
            s.malloc(131_049),
            "The threshold moves: what was freed once may come again, and brk is cheaper then.",
        )
        tell.claim(
            "it lies in the heap now",
            expected=True,
            seen=address(again) < address(over),
            rests_on=[over, again],
        )
    with Specimen(libc=True) as s:
        s.malloc(100)
        large = many(tell, f"malloc({LARGE:,})", (s.malloc(LARGE) for _ in range(count)))
        each = -(-(LARGE + 16) // page) * page
        tell.bytes(
            f"in a new process: {count} mallocs of {LARGE:,} bytes",
            count * each,
            sum(one.delta.vsz for one in large),
            "A mapping each: the size and a header, in whole pages.",
            rests_on=large,
        )
        tell.bytes(
            "of which is resident",
            count * page,
            sum(one.delta.rss or 0 for one in large),
            "The page with the header, since malloc wrote to it.",
            rests_on=large,
        )
        tell.step("free one", s.free(address(large[0])))


def address(step: Step) -> int:
    return step.address or 0


def many(tell: Teller, label: str, steps: Iterable[Step]) -> list[Step]:
    """All are done; told are those in which the kernel was asked first and not asked first."""
    done = list(steps)
    seen: set[bool] = set()
    for number, step in enumerate(done, start=1):
        if (asked := step.delta.vsz > 0) not in seen or not step.agrees:
            seen.add(asked)
            tell.step(f"{label}, number {number}", step)
    return done
