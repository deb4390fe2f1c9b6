"""The tables of pmap(1), byte for byte as procps-ng 4.0.2 prints them in the C locale.

Views over tables of regions: they open nothing, and give out rows as they are
made. docs/pmap.md names what pmap does otherwise, and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from procmem.native import COUNTER_NAMES
from procmem.regions.counters import NOT_BYTES
from procmem.view.procps import PRINTABLE, for_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any

    from procmem.regions import MeasuredRegion, Region

    Rows = Iterator[bytes]

__all__ = [
    "DEFAULT_CONFIG",
    "Field",
    "Look",
    "device",
    "extended",
    "field_order",
    "fields",
    "read_config",
    "short",
]

HIDDEN = frozenset(
    {
        "AnonHugePages",
        "KernelPageSize",
        "MMUPageSize",
        "Private_Clean",
        "Private_Dirty",
        "Shared_Clean",
        "Shared_Dirty",
        "VmFlags",
    }
)
"""Fields of smaps that -X leaves to -XX."""

NAME_CUT = 127
"""Bytes of a name that pmap -X keeps, before it takes what follows the last slash."""

TOP = (1 << 64) - 1


class Look:
    """What of a table is shown, and what must be known beside it.

    Args:
        show_path: whole paths (-p) instead of what follows the last slash.
        quiet: no heading and no totals (-q).
        low, high: only regions that share a byte with [low, high], both ends
            included (-A).
        start_stack: where the process's stack starts (field 28 of
            /proc/PID/stat, 0 if it may not be seen): that region is "[ stack ]".
        shm_device: minor number of the device that holds System V shared
            memory; None: unknown, so that the name alone tells.
        terminal: whether a terminal shows the rows: no control byte goes out.
        utf8: whether that terminal shows UTF-8.
    """

    __slots__ = ("high", "low", "quiet", "shm_device", "show_path", "start_stack", "terminal", "utf8")

    def __init__(
        self,
        *,
        show_path: bool = False,
        quiet: bool = False,
        low: int = 0,
        high: int = TOP,
        start_stack: int = 0,
        shm_device: int | None = None,
        terminal: bool = False,
        utf8: bool = False,
    ) -> None:
        self.show_path = show_path
        self.quiet = quiet
        self.low = low
        self.high = high
        self.start_stack = start_stack
        self.shm_device = shm_device
        self.terminal = terminal
        self.utf8 = utf8

    def shown(self, table: Iterable[Region]) -> list[Any]:
        """The regions within the range."""
        if self.low == 0 and self.high == TOP:
            return list(table)
        low, high = self.low, self.high
        return [region for region in table if region.end > low and region.start <= high]


# ---- pmap, pmap -x, pmap -d ----------------------------------------------------


def modes() -> Callable[[int], str]:
    """Mode columns by the four letters of the kernel, as the records hold them."""
    known: dict[int, str] = {}

    def mode(region: Region) -> str:
        word = region._perms
        text = known.get(word)
        if text is None:
            perms = letters(word)
            text = known[word] = (perms[:3] + "-" if perms[3] == "p" else perms) + "-"
        return text

    return mode  # type: ignore[return-value]
