"""Arguments of steps: areas, lengths, protections, orders; checked, and as they are shown."""

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

TYPE_CHECKING: bool = False
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
    """A mapping of a specimen.

    Attributes:
        start: its address.
        length: in bytes, a multiple of the page size.
        page_size: in bytes; the size of huge pages, if it consists of those.
    """

    start: int
    length: int
    page_size: int

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.start + self.length

    @property
    def pages(self) -> int:
        """Its length in pages."""
        return self.length // self.page_size

    def __repr__(self) -> str:
        return f"<Area {self.start:x}-{self.end:x}>"


def integer(what: str, value: object, least: int = 0, most: int = WORD) -> int:
    """Checks a whole number that must fit into a register.

    Raises:
        BadArgument: it is no such number.
    """
    try:
        number = index(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        raise BadArgument(f"{what} must be a whole number, not {value!r}") from None
    if not least <= number <= most:
        raise BadArgument(f"{what} must be {least:#x} to {most:#x}, not {number:#x}")
    return number


def area_of(area: object) -> Area:
    """Checks that it is an Area."""
    if not isinstance(area, Area):
        raise BadArgument(f"pass the .mapping of a step, or an Area, not {area!r}")
    return area


def byte_length(length: int | None, pages: int | None, unit: int) -> int:
    """The length that was given in bytes or in pages."""
    if length is not None and pages is None:
        total = integer("the length", length, -WORD)
    elif pages is not None and length is None:
        total = integer("the number of pages", pages, -WORD) * unit
    else:
        raise BadArgument("pass either a length in bytes or a number of pages")
    if not 0 <= total <= WORD:
        raise BadArgument(f"a length of {total} bytes is not possible")
    return total


def hint_for(name: str, number: int) -> str:
    """Possible reasons of a failed call, where errno alone says little."""
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
        raise BadArgument(f"pages {start} to {start + count} of {area} are not possible")
    return area.start + start * size, count * size


@lru_cache(maxsize=64)
def protection(prot: str | int) -> int:
    """PROT_* as a number."""
    return int(prot_of(prot if isinstance(prot, str) else integer("prot", prot)))


def letters(prot: int) -> int:
    """PROT_* as the model has them."""
    return (
        READ * bool(prot & lib.PROT_READ)
        | WRITE * bool(prot & lib.PROT_WRITE)
        | EXEC * bool(prot & lib.PROT_EXEC)
    )


def names(value: int, kind: Any) -> str:
    """Flags by their names in C."""
    if not value:
        return "PROT_NONE" if kind is Prot else "0"
    return "|".join(one.name for one in kind if one.value and value & one.value == one.value)


def order_of(order: str, count: int, seed: int) -> Order:
    """An order of `count` accesses by its name."""
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
