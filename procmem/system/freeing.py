"""What ending processes would free: the pages that nobody else maps, from page frames."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from procmem.errors import ProcessError, Unsupported
from procmem.pages.cache import cache_of
from procmem.pages.sharing import FrameSharing
from procmem.process.pages import pagemap_of, without_hugetlb
from procmem.procfs import ProcessFiles, probes
from procmem.procfs.mapped import open_link, stat_link
from procmem.system.processes import PAGE_SIZE, Freed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from procmem.system.pace import Pace
    from procmem.system.processes import MachineProcess

__all__ = ["Freeing", "can_read_frames", "read_freeing"]

SHARED_ANONYMOUS = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ (\S+) (\d+) +/dev/zero \(deleted\)$", re.MULTILINE
)
"""The line in maps of memory that was mapped with MAP_SHARED | MAP_ANONYMOUS (mm/shmem.c)."""


class SharedObject(NamedTuple):
    """Shared anonymous memory: its bytes, and the numbers of the processes that map it."""

    size: int
    members: set[int]


class Freeing:
    """The pages of processes by who maps them, at one time.

    Attributes:
        numbers: the number of each process that was read, by PID.
        own: bytes of anonymous pages that only this process maps, by its number.
        complete: whether all processes could be read.
    """

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.own: list[int] = []
        self.complete = True
        self._sharing = FrameSharing()
        self._objects: dict[tuple[bytes, bytes], SharedObject] = {}
        self._incomplete: set[int] = set()

    def add(self, pid: int, root: str) -> None:
        """Reads the page map of a process.

        Raises:
            ProcessError: it has ended, or may not be read.
        """
        files = ProcessFiles(pid, root)
        maps = files.read(files.memory_name("maps"))
        pages = [pagemap_of(files, start, end) for start, end in without_hugetlb(files, maps)]
        number = len(self.own)
        self.own.append(self._sharing.add(pages) * PAGE_SIZE)
        self.numbers[pid] = number
        for start, end, dev, inode in SHARED_ANONYMOUS.findall(maps):
            known = self._objects.get((dev, inode))
            if known is None:
                size = size_of_object(files, start.decode(), end.decode())
                known = self._objects[dev, inode] = SharedObject(size, set())
            known.members.add(number)
        files.close()

    def settle(self, root: str) -> None:
        """Compares with the kernel's counts; nothing can be added afterwards.

        Raises:
            OSError: kpagecount can't be read.
        """
        fd = os.open(f"{root}/kpagecount", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._sharing.settle(fd)
        finally:
            os.close(fd)
        self._incomplete = self._sharing.incomplete()

    def of_groups(self, groups: Sequence[Iterable[MachineProcess]]) -> list[Freed | None]:
        """What ending each of some groups would free. A process is in at most one of them."""
        of_member: list[int | None] = [None] * len(self.own)
        anonymous = [0] * len(groups)
        shared = [0] * len(groups)
        exact = [probes.averages_map_counts() is not True] * len(groups)
        known = [False] * len(groups)
        for place, group in enumerate(groups):
            for process in group:
                number = self.numbers.get(process.pid)
                if number is None:
                    exact[place] = False
                    continue
                known[place] = True
                of_member[number] = place
                anonymous[place] += self.own[number]
                exact[place] &= number not in self._incomplete
        for place, pages in enumerate(self._sharing.of_groups(of_member, len(groups))):
            anonymous[place] += pages * PAGE_SIZE
        for size, members in self._objects.values():
            owners = {of_member[number] for number in members}
            (place_or_none, *others) = owners
            if not others and place_or_none is not None:
                shared[place_or_none] += size
                # Who could not be read may map it, too.
                exact[place_or_none] &= self.complete
        return [
            Freed(private, common, exact=is_exact) if is_known else None
            for is_known, private, common, is_exact in zip(
                known, anonymous, shared, exact, strict=True
            )
        ]


def size_of_object(files: ProcessFiles, start: str, end: str) -> int:
    """The bytes in memory of the shared memory that a region maps; 0: this user may not ask.

    Also pages that no process has in its page table at the time, but none that are in swap.
    """
    name = f"map_files/{start}-{end}"
    found = stat_link(files, name, follow=True)
    fd = None if found is None else open_link(files, name, found)
    if fd is None:
        return 0
    try:
        return cache_of(fd, PAGE_SIZE).cached
    except OSError:
        return 0
    finally:
        os.close(fd)


def can_read_frames(root: str) -> bool:
    """Whether this user may read who maps a page frame."""
    return probes.shows_page_frames() and not probes.can_read(f"{root}/kpagecount")


def read_freeing(processes: Iterable[MachineProcess], root: str, pace: Pace) -> Freeing:
    """Reads the page maps of all processes, one after the other.

    Raises:
        OSError: kpagecount can't be read.
    """
    found = Freeing()
    for process in processes:
        if process.unread:
            found.complete = False
            continue
        try:
            found.add(process.pid, root)
        except (ProcessError, Unsupported):
            continue  # it has ended meanwhile
        pace.rest()
    found.settle(root)
    return found
