"""The heap as the kernel sees it: one address, the break, which brk(2) moves."""

from __future__ import annotations

from procmem.errors import BadArgument
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.specimen import Specimen

__all__ = ["brk"]


@experiment("brk", "brk", "What is the heap for the kernel, and how does it grow?")
def brk(tell: Teller, *, pages: int = 33) -> None:
    """Grows the heap, touches it, moves its end within a page, and shrinks it again.

    Args:
        pages: to grow by at first; 33 is what glibc takes with 4 KiB pages.
    """
    if pages < 4:
        raise BadArgument(f"{pages} pages are too few: this experiment needs 4")
    with Specimen() as s:
        unit = s.space.rules.page_size
        heap = tell.mapping(
            f"grow the heap by {pages} pages",
            s.sbrk(pages * unit),
            "The heap is one region; its end is called the break.",
        )
        tell.step("write to 3 of them", s.touch(heap, pages=3))
        tell.step(
            "grow by 100 bytes",
            s.sbrk(100),
            "The break may be any address, but a region consists of whole pages.",
        )
        tell.step("grow by 100 bytes again", s.sbrk(100))
        tell.step(
            "shrink by the 200 bytes",
            s.sbrk(-200),
            "The last page was never written, so RSS stays.",
        )
        tell.step("shrink to 2 pages", s.sbrk((2 - pages) * unit))
        tell.step("read beyond the break", s.read(heap.start + 2 * unit))
        tell.step("grow by a page again", s.sbrk(unit))
        tell.step(
            "read that page",
            s.read(heap.start + 2 * unit),
            "The old contents are gone: it reads as zeros, from the zero page.",
        )
        tell.step("shrink to nothing", s.sbrk(-3 * unit))
