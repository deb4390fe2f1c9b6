"""What steps are given: areas, lengths, protections, orders; and how they are shown."""

from __future__ import annotations

import errno
import random
from functools import lru_cache
from math import gcd
from typing import NamedTuple

from procmem.calls.constants import Prot, prot_of
from procmem.errors import BadArgument
from procmem.experiments.accesses import FORWARD, Order
from procmem.experiments.vmas import EXEC, READ, WRITE
from procmem.native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "WORD",
    "Area",
    "byte_length",
    "hint_for",
    "letters",
    "names",
    "order_of",
    "part",
    "protection",
]

WORD = (1 << 64) - 1


class Area(NamedTuple):
    """Memory that a specimen has mapped.

    Attributes:
        start: its address.
        length: in bytes, whole pages.
        page_size: in bytes; of huge pages theirs.
    """

    start: int
    length: int
    page_size: int

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.start + self.length

    @property
    def pages(self) -> int:
        """Its length in pages."""
        return self.length // self.page_size

    def __repr__(self) -> str:
        return f"<Area {self.start:x}-{self.end:x}>"


def byte_length(length: int | None, pages: int | None, unit: int) -> int:
    """The length that was given in bytes or in pages."""
    if (length is None) == (pages is None):
        raise BadArgument("give a length in bytes, or a number of pages")
    total = pages * unit if pages is not None else length
    if total is None or not 0 <= total <= WORD:
        raise BadArgument(f"a length of {total} bytes")
    return total


def hint_for(name: str, number: int) -> str:
    """What a refusal may be about, where errno alone says little."""
    if name == "mmap" and number == errno.ENOMEM:
        return "beyond the address space, a limit (RLIMIT_AS), or too few huge pages set aside"
    if name == "mmap" and number == errno.EEXIST:
        return "something is mapped there"
    if name in ("mlock", "mlock2") and number in (errno.ENOMEM, errno.EPERM):
        return "not all of it is mapped and accessible, or RLIMIT_MEMLOCK is too low"
    return ""


def part(area: Area, start: int, pages: int | None) -> tuple[int, int]:
    """Address and length of some pages of an area."""
    if start < 0 or (pages is not None and pages < 0):
        raise BadArgument(f"pages {start} to {start + (pages or 0)} of {area}")
    count = area.pages - start if pages is None else pages
    return area.start + start * area.page_size, count * area.page_size


@lru_cache(maxsize=64)
def protection(prot: str | int) -> int:
    """PROT_* as a number."""
    return int(prot_of(prot))


def letters(prot: int) -> int:
    """Prot as the model has it."""
    return (
        READ * bool(prot & lib.PROT_READ)
        | WRITE * bool(prot & lib.PROT_WRITE)
        | EXEC * bool(prot & lib.PROT_EXEC)
    )


def names(value: int, kind: Any) -> str:
    """Flags by their names, as C has them."""
    if not value:
        return "PROT_NONE" if kind is Prot else "0"
    return "|".join(one.name for one in kind if one.value and value & one.value == one.value)


def order_of(order: str, count: int, seed: int) -> Order:
    """An order of so many accesses by its name."""
    if order == "forward" or count == 1:
        return FORWARD
    if order == "backward":
        return Order(count - 1, count - 1)
    if order != "random":
        raise BadArgument(f'order is "forward", "backward" or "random", not {order!r}')
    chosen = random.Random(seed)  # noqa: S311 - repeatable on purpose
    while True:
        factor = chosen.randrange(1, count)
        if gcd(factor, count) == 1:
            return Order(factor, chosen.randrange(count))
