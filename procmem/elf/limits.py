"""Bounds on what is read of one ELF file, whatever it claims about its own size.

Each bound is far above what compilers and linkers make, and is named in the error, or in
`left_out`, where it binds. docs/sections.md has them as a table.
"""

from __future__ import annotations

from time import thread_time

from procmem.elf.source import fail
from procmem.units import GiB, MiB

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

__all__ = ["Deadline"]


# ---- symbols -------------------------------------------------------------------

SYMBOLS = 1 << 21
"""Symbols of one object, over all its tables and its debug file; each takes some 300 bytes."""

SYMBOL_TABLES = 16
"""Tables of symbols of one file that are read: linkers make one of each kind."""

SYMBOL_NAMES = 256 * MiB
"""Bytes of the string tables of one object."""

KEPT_BYTES = 512 * MiB
"""What symbols of objects may take that are kept for the next question."""

# ---- debug files ---------------------------------------------------------------

LINKED_FILE = 4 * GiB
"""Size of a file that .gnu_debuglink names: all of it is read for its CRC-32."""

LINKED_SECONDS = 5.0
"""Seconds that this may take."""

# ---- DWARF ---------------------------------------------------------------------

INFLATED = 512 * MiB
"""Bytes of compressed debug sections of one file when they are unpacked."""

UNITS = 1 << 20
UNIT_RANGES = 1 << 21
"""Units of one file, and ranges of addresses that they have."""

LINE_TABLE = 64 * MiB
LINE_ROWS = 1 << 23
"""Bytes of one unit's line table, and rows; as many rows are kept for the next question."""

LINE_SECONDS = 10.0
"""Seconds of CPU for the line of one address."""

# ---- processes -----------------------------------------------------------------

PROCESS_SECTIONS = 1 << 20
"""Sections of all files of one process; as many are kept for the next question."""


class Deadline:
    """A time limit, in seconds of CPU time of this thread.

    Args:
        path: of the file, for the error.
        what: what is being read, in words.
        seconds: from now on.
    """

    __slots__ = ("_end", "_path", "_seconds", "_what")

    def __init__(self, path: str | bytes | os.PathLike[str], what: str, seconds: float) -> None:
        self._path = path
        self._what = what
        self._seconds = seconds
        self._end = thread_time() + seconds

    def check(self) -> None:
        """Raises ElfError once the time is up."""
        if thread_time() > self._end:
            fail(self._path, f"{self._what} takes more than {self._seconds:g} s: left out")
