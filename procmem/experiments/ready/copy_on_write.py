"""What fork(2) copies: no page, until one of the two processes writes to it."""

from __future__ import annotations

from procmem.errors import BadArgument
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.specimen import Area, Specimen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.regions import MeasuredRegion

__all__ = ["copy_on_write"]


@experiment(
    "copy-on-write",
    "Copy-on-write",
    "After fork, two processes have the same memory. Was it copied?",
)
def copy_on_write(tell: Teller, *, pages: int = 100, written: int = 30) -> None:
    """Forks a process that has written to some pages; then the child and the parent write to them.

    Args:
        pages: how many pages the parent writes before the fork.
        written: how many of them the child writes.
    """
    if not 0 < written <= pages or pages % 2:
        raise BadArgument(f"written={written} must be 1 to pages={pages}, and pages an even number")
    with Specimen() as parent:
        unit = parent.space.rules.page_size
        area = tell.mapping(f"map {pages} pages", parent.mmap(pages=pages))
        tell.step("write to all of them", parent.touch(area))
        forked = tell.step(
            "fork",
            parent.fork(),
            "These are the parent's figures: fork moves none of them.",
        )
        child = forked.child
        if child is None:
            raise BadArgument("the fork made no child")
        with child:
            both = (("parent", parent), ("child", child))
            for who, one in both:
                shares(
                    tell, who, region_of(one, area),
                    "Pss counts half of a page that two processes share.",
                    rss=pages * unit, pss=pages * unit // 2, shared=pages * unit, private=0,
                )  # fmt: skip
            before = pss_of_both(parent, child, area)
            tell.step(
                f"the child writes to {written} pages",
                child.touch(area, pages=written),
                "The child's figures: RSS stays, since it counted the shared pages before.",
            )
            shared = pages - written
            for who, one in both:
                shares(
                    tell, who, region_of(one, area), "",
                    rss=pages * unit, pss=written * unit + shared * unit // 2,
                    shared=shared * unit, private=written * unit,
                )  # fmt: skip
            tell.bytes(
                "the memory of both (Σ Pss) has grown by",
                written * unit,
                None if before is None else (pss_of_both(parent, child, area) or 0) - before,
                "Only the pages that were written to exist twice. Σ Rss counts every shared page"
                " twice, and did not change.",
            )
            tell.step(
                "the parent writes to the same pages",
                parent.touch(area, pages=written),
                "They are the parent's alone since the child got copies, but still write-protected:"
                " one fault each, and no copy.",
            )
            tell.step("the child reads all pages", child.read(area))
        shares(
            tell, "parent, the child has ended", region_of(parent, area), "",
            rss=pages * unit, pss=pages * unit, shared=0, private=pages * unit,
        )  # fmt: skip
        if shared:
            tell.step(
                "the parent writes to the others",
                parent.touch(area, start=written, pages=shared),
                "Still write-protected, but no longer shared: one fault each, no copy.",
            )
        tell.step("unmap all", parent.munmap(area))


def region_of(one: Specimen, area: Area) -> MeasuredRegion:
    region = one.process.smaps().find(area.start)
    if region is None:
        raise BadArgument(f"nothing is mapped at {area.start:#x}")
    return region


def pss_of_both(parent: Specimen, child: Specimen, area: Area) -> int | None:
    """Σ Pss of the area alone: other memory may be shared with further processes."""
    found = [region_of(one, area).pss for one in (parent, child)]
    return sum(found) if None not in found else None  # type: ignore[arg-type]


def shares(
    tell: Teller,
    who: str,
    region: MeasuredRegion,
    teaches: str,
    *,
    rss: int,
    pss: int,
    shared: int,
    private: int,
) -> None:
    tell.bytes(f"{who}: Rss", rss, region.rss)
    tell.bytes(f"{who}: Pss", pss, region.pss, teaches)
    tell.bytes(f"{who}: Shared_Dirty", shared, region.shared_dirty)
    tell.bytes(f"{who}: Private_Dirty", private, region.private_dirty)
