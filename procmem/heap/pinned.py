"""Pages of malloc's arenas: how much of each is in use, and which chunks keep them in memory."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import NamedTuple

from procmem.native import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = ["SMALL", "HeapPage", "HeapPages", "PageBucket", "page_uses"]

SMALL = 512
"""The most bytes of a chunk that counts as small."""

BOUNDS = (64, 512, 2048)
"""Upper bounds of the bytes in use on a page, for a histogram."""

FIELDS = 5


class HeapPage(NamedTuple):
    """A resident page of which a part is in use.

    Attributes:
        address: of the page.
        in_use: bytes of chunks in use on it.
        chunks: the number of these chunks.
        chunk: the address of the first of them, which may begin on an earlier page.
        size: the size of that chunk in bytes.
    """

    address: int
    in_use: int
    chunks: int
    chunk: int
    size: int


class PageBucket(NamedTuple):
    """Resident pages with a similar number of bytes in use.

    Attributes:
        least, most: bytes in use on each of them.
        pages: their number.
        free: bytes on them that are not in use.
    """

    least: int
    most: int
    pages: int
    free: int


class HeapPages:
    """The resident pages of all arenas, by what is in use on them.

    Chunks in fast bins and in the caches of threads are not in use. Pages are counted that contain
    memory of the arenas' chunks, tops included.

    Attributes:
        page_size: bytes of a page.
        resident: the number of resident pages.
        whole: the number of those that are in use from the first byte to the last.
        returned: the number of those that malloc_trim(0) would return.
    """

    def __init__(
        self, uses: array[int], *, page_size: int, resident: int, whole: int, returned: int
    ) -> None:
        self._uses = uses
        self.page_size = page_size
        self.resident = resident
        self.whole = whole
        self.returned = returned

    def __repr__(self) -> str:
        return f"<HeapPages: {self.resident} resident, {self.partly} partly in use>"

    @property
    def partly(self) -> int:
        """The number of pages of which only a part is in use."""
        return len(self._uses) // FIELDS

    @property
    def free(self) -> int:
        """The number of resident pages on which nothing is in use."""
        return self.resident - self.whole - self.partly

    def __iter__(self) -> Iterator[HeapPage]:
        """The pages of which only a part is in use, by address within each arena."""
        uses = self._uses
        for at in range(0, len(uses), FIELDS):
            page, in_use, chunks, chunk, size = uses[at : at + FIELDS]
            yield HeapPage(page, in_use, chunks, chunk, size)

    def __len__(self) -> int:
        return self.partly

    def held(self, most: int = SMALL) -> Iterator[HeapPage]:
        """The pages that a single chunk of at most some bytes keeps in memory."""
        return (page for page in self if page.chunks == 1 and page.size <= most)

    def holders(self, most: int = SMALL) -> list[tuple[int, int]]:
        """Sizes of chunks, and how many pages one chunk of that size alone keeps in memory.

        The sizes that keep most pages come first.
        """
        return sorted(
            Counter(page.size for page in self.held(most)).items(), key=lambda one: -one[1]
        )

    def by_use(self) -> list[PageBucket]:
        """The pages by the bytes in use on them."""
        size = self.page_size
        rows = [[0, 0] for _ in (*BOUNDS, size)]
        uses = self._uses
        for in_use in uses[1::FIELDS]:
            place = sum(in_use > bound for bound in BOUNDS)
            rows[place][0] += 1
            rows[place][1] += size - in_use
        lower = [1, *(bound + 1 for bound in BOUNDS)]
        upper = [*BOUNDS, size - 1]
        return [
            PageBucket(0, 0, self.free, self.free * size),
            *(
                PageBucket(*each)
                for each in zip(lower, upper, *zip(*rows, strict=True), strict=True)
            ),
            PageBucket(size, size, self.whole, 0),
        ]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "page_size": self.page_size,
            "resident": self.resident,
            "whole": self.whole,
            "returned": self.returned,
            "free": self.free,
            "by_use": [bucket._asdict() for bucket in self.by_use()],
            "partly": [page._asdict() for page in self],
        }


def page_uses(walks: Sequence[Any]) -> array[int]:
    """The fields of the pages that native walks have found."""
    found = array("Q")
    for walk in walks:
        count = int(walk.use_count)
        if count:
            found.frombytes(ffi.buffer(walk.uses, count * FIELDS * 8))
    return found
