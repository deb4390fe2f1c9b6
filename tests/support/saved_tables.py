"""A text of smaps with one region of each form that data frames have to get right."""

from __future__ import annotations

from typing import Any

from procmem.regions import RegionTable, parse_smaps

SMAPS = b"""\
00400000-0040b000 r-xp 00001000 08:01 7 /bin/caf\xe9
Size:                 44 kB
Rss:                  40 kB
Pss:                  20 kB
Private_Clean:         4 kB
Private_Dirty:         8 kB
Novel:                 3 kB
VmFlags: rd ex
7f0000000000-7f0000002000 rw-p 00000000 00:00 0
Size:                  8 kB
Rss:                   4 kB
7f0000004000-7f0000005000 r--s 00000000 103:abcde 9 /tmp/gone (deleted)
Size:                  4 kB
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
Size:                  4 kB
"""


def saved_table() -> RegionTable[Any]:
    """The table of the text."""
    return parse_smaps(SMAPS)
