"""What steps are given: areas, lengths, protections, orders; and how they are shown."""

from __future__ import annotations

import errno
import random
from functools import lru_cache
from math import gcd
from operator import index
from typing import NamedTuple

from procmem.calls.constants import Prot, prot_of
from procmem.errors import BadArgument
from procmem.experiments.model.faults import FORWARD, Order
from procmem.experiments.model.vmas import EXEC, READ, WRITE
from procmem.native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "WORD",
    "Area",
    "area_of",
    "byte_length",
    "hint_for",
    "integer",
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


def integer(what: str, value: object, least: int = 0, most: int = WORD) -> int:
    """A whole number that fits into a register: what doesn't would leave the model elsewhere."""
    try:
        number = index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        raise BadArgument(f"{what} is a whole number, not {value!r}") from None
    if not least <= number <= most:
        raise BadArgument(f"{what} lies between {least:#x} and {most:#x}: {number:#x} doesn't")
    return number


def area_of(area: object) -> Area:
    """What mmap gave, and nothing else."""
    if not isinstance(area, Area):
        raise BadArgument(f"give the .mapping of a step, or an Area; not {area!r}")
    return area


def byte_length(length: int | None, pages: int | None, unit: int) -> int:
    """The length that was given in bytes or in pages."""
    if length is not None and pages is None:
        total = integer("the length", length, -WORD)
    elif pages is not None and length is None:
        total = integer("the number of pages", pages, -WORD) * unit
    else:
        raise BadArgument("give a length in bytes, or a number of pages")
    if not 0 <= total <= WORD:
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
    size = area_of(area).page_size
    most = WORD // size
    start = integer("the first page", start, 0, most)
    count = area.pages - start if pages is None else integer("the number of pages", pages, 0, most)
    if area.start + start * size > WORD or count < 0:
        raise BadArgument(f"pages {start} to {start + count} of {area}")
    return area.start + start * size, count * size


@lru_cache(maxsize=64)
def protection(prot: str | int) -> int:
    """PROT_* as a number."""
    return int(prot_of(prot if isinstance(prot, str) else integer("prot", prot)))


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
