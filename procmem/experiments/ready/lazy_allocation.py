"""When does memory become resident? The story of one mmap, and of a thousand pages."""

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
    """Maps a page, reads it, writes it, unmaps it; then many pages, of which few are touched.

    Args:
        pages: of the large mapping.
        touched: how many of them are written.
    """
    if not 0 < touched <= pages:
        raise BadArgument(f"{touched} of {pages} pages can't be touched")
    with Specimen() as s:
        page = tell.mapping(
            "map one page",
            s.mmap(pages=1),
            "The process got a range of addresses, and nothing else yet.",
        )
        tell.step("read it: every byte is 0", s.read(page))
        tell.step(
            "write one byte into it",
            s.touch(page),
            "Only now there is a page of its own: memory is allocated by the first write,"
            " not by mmap.",
        )
        tell.step("write to it again", s.touch(page))
        tell.step("unmap it", s.munmap(page))
        area = tell.mapping(f"map {pages:,} pages", s.mmap(pages=pages))
        tell.step(
            f"write to {touched:,} of them",
            s.touch(area, pages=touched),
            f"VSZ counts what was promised, RSS what is there: {touched:,} of {pages:,} pages.",
        )
        tell.step("unmap all", s.munmap(area))
