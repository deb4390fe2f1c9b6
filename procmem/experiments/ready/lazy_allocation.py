"""When does memory become resident? One page, and a thousand pages."""

from __future__ import annotations

from procmem.errors import BadArgument
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.specimen import Specimen

__all__ = ["lazy_allocation"]


@experiment(
    "lazy-allocation",
    "Lazy allocation",
    "mmap gave me memory. When do I really have it?",
)
def lazy_allocation(tell: Teller, *, pages: int = 1000, touched: int = 10) -> None:
    """Maps a page, reads it, writes it, unmaps it; then many pages, of which few are written to.

    Args:
        pages: the size of the large mapping.
        touched: how many of its pages are written to.
    """
    if not 0 < touched <= pages:
        raise BadArgument(f"touched={touched} must be 1 to pages={pages}")
    with Specimen() as s:
        page = tell.mapping(
            "map one page",
            s.mmap(pages=1),
            "The process has a range of addresses, and no memory yet.",
        )
        tell.step("read it: every byte is 0", s.read(page))
        tell.step(
            "write one byte into it",
            s.touch(page),
            "Only now does it have a page: memory is allocated by the first write, not by mmap.",
        )
        tell.step("write to it again", s.touch(page))
        tell.step("unmap it", s.munmap(page))
        area = tell.mapping(f"map {pages:,} pages", s.mmap(pages=pages))
        tell.step(
            f"write to {touched:,} of them",
            s.touch(area, pages=touched),
            f"VSZ counts the addresses, RSS the memory: {touched:,} of {pages:,} pages.",
        )
        tell.step("unmap all", s.munmap(area))
