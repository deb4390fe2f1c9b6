"""malloc: when it calls brk or mmap, what it keeps, and what it gives back to the kernel."""

from __future__ import annotations

from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.specimen import Specimen

TYPE_CHECKING = False
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
            "malloc gets memory from the kernel in large pieces, and divides them up.",
        )
        tell.step("malloc(100) again", s.malloc(100), "The heap has room: no system call.")
        small = many(tell, f"malloc({SMALL:,})", (s.malloc(SMALL) for _ in range(count)))
        asked = sum(one.delta.vsz > 0 for one in small)
        bought = sum(one.delta.vsz for one in small)
        tell.claim(
            f"of {count} mallocs of {SMALL:,} bytes, those that asked the kernel",
            sum(one.predicted.vsz > 0 for one in small),
            asked,
            "Each brk gets 128 KiB more than needed, for later requests: so few calls of brk serve"
            " many of malloc.",
            rests_on=small,
        )
        tell.bytes(
            "by which the heap grew in all",
            sum(one.predicted.vsz for one in small),
            bought,
            rests_on=small,
        )
        tell.step(
            "write to all of the last",
            s.touch(address(small[-1]), pages=SMALL // page),
            "malloc gives addresses, as mmap does: pages are allocated when they are written to.",
        )
        tell.step(
            "free the first",
            s.free(address(small[0])),
            "It is in the middle of the heap, and brk only moves the end: nothing is given back.",
        )
        for one in small[1:-1]:
            s.free(address(one))
        tell.step(
            "free the last; all others are free",
            s.free(address(small[-1])),
            "Now more than the trim threshold is free at the end of the heap: brk gives it back.",
        )
        tell.step("malloc_trim(0)", s.trim(), "It gives back all that is free at the end.")
    with Specimen(libc=True) as s:
        s.malloc(100)
        tell.step("in a new process: malloc(131,048)", s.malloc(131_048))
        over = tell.step(
            "malloc(131,049)",
            s.malloc(131_049),
            "With 8 bytes for the size field, rounded up, the chunk has 128 KiB, which is"
            " M_MMAP_THRESHOLD: from there on malloc calls mmap.",
        )
        tell.step(
            "free it",
            s.free(address(over)),
            "A mapping of its own can be unmapped at once.",
        )
        again = tell.step(
            "malloc(131,049) again",
            s.malloc(131_049),
            "The free has raised the threshold: a size that was freed once may be needed again, and"
            " the heap is cheaper then.",
        )
        tell.claim(
            "it is in the heap now",
            expected=True,
            seen=is_in_heap(s, address(again)),
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
            "A mapping each: the size and a header, rounded up to whole pages.",
            rests_on=large,
        )
        tell.bytes(
            "of which are resident",
            count * page,
            sum(one.delta.rss or 0 for one in large),
            "Only the first page of each, since malloc wrote the header to it.",
            rests_on=large,
        )
        tell.step("free one", s.free(address(large[0])))


def address(step: Step) -> int:
    return step.address or 0


def is_in_heap(s: Specimen, place: int) -> bool:
    """Whether maps calls it [heap]: without a limit of the stack, mappings may lie below it."""
    region = s.process.region_at(place)
    return region is not None and region.pathname == "[heap]"


def many(tell: Teller, label: str, steps: Iterable[Step]) -> list[Step]:
    """Does all steps; shows the first with a system call, the first without, and differences."""
    done = list(steps)
    seen: set[bool] = set()
    for number, step in enumerate(done, start=1):
        if (asked := step.delta.vsz > 0) not in seen or not step.agrees:
            seen.add(asked)
            tell.step(f"{label}, number {number}", step)
    return done
