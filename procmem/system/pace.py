"""Keeps a reading of many processes at a share of one CPU; what a reading will take."""

from __future__ import annotations

import os
import re
import time

__all__ = ["ENTRY", "Pace", "pages_and_more"]

PAGE_SIZE = os.sysconf("SC_PAGESIZE")

ENTRY = 25e-9
"""Seconds for an entry of a page table that maps the page of zeros, which is in no RSS."""

ENTRY_SIZE = 8
"""Bytes of an entry on 64-bit machines."""

USUAL_ENTRIES = 4
"""Entries of page tables for each resident page that most processes have: few of them are used."""

SIZES = re.compile(rb"^Vm(RSS|PTE):\s*(\d+) kB", re.MULTILINE)

SHORTEST = 0.002
"""Seconds: shorter rests are saved up, since a sleep takes at least as long as waking up."""


class Pace:
    """Rests between pieces of work, so that all work takes a share of one CPU.

    Args:
        share: above 0; 1 or more: no rests.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._began = time.monotonic()
        self._used = time.thread_time()

    def rest(self) -> None:
        """Sleeps until the work done so far is no more than the share."""
        if self.share >= 1:
            return
        spent = time.thread_time() - self._used
        ahead = spent / self.share - (time.monotonic() - self._began)
        if ahead >= SHORTEST:
            time.sleep(ahead)


def pages_and_more(status: bytes) -> tuple[int, float]:
    r"""Resident pages, and the seconds that the kernel takes to walk other page table entries.

    Args:
        status: the text of /proc/PID/status.

    >>> pages_and_more(b"VmRSS:\t  40 kB\nVmPTE:\t   80000 kB\n")
    (10, 0.255999)

    Source: proc_pid_status(5).
    """
    sizes = {name: int(size) << 10 for name, size in SIZES.findall(status)}
    pages = sizes.get(b"RSS", 0) // PAGE_SIZE
    entries = sizes.get(b"PTE", 0) // ENTRY_SIZE
    return pages, max(0, entries - USUAL_ENTRIES * pages) * ENTRY
