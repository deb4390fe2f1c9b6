"""The resident memory of a process: pages that are not in memory are never brought in."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

    from procmem.procfs.files import MemoryFile, ProcessFiles

__all__ = ["PRESENT", "ResidentMemory"]

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
PRESENT = 1 << 63
SWAPPED = 1 << 62
"""Bits of an entry of pagemap (Documentation/admin-guide/mm/pagemap.rst)."""


class ResidentMemory:
    """Reads /proc/PID/mem where /proc/PID/pagemap has a page.

    Where the memory may not be read it is false, and nothing is found in it.

    Args:
        files: the process.
        required: raise where it can't be read, and be able to say whether the process lived on.

    Raises:
        AccessDenied: the reader lacks the rights of ptrace(2) over the process.
        NoSuchProcess, ZombieProcess, KernelThread
    """

    def __init__(self, files: ProcessFiles, *, required: bool = False) -> None:
        self.files = files
        self._fds: list[int] = []
        self._file: MemoryFile | None = None
        if required:
            self._file = files.memory("pagemap", beside_maps=True)
        directory = files.directory()
        flags = os.O_RDONLY | os.O_CLOEXEC
        for name in (files.memory_name("mem"), files.memory_name("pagemap")):
            try:
                self._fds.append(os.open(name, flags, dir_fd=directory.fd))
            except OSError as error:
                self.close()
                if required:
                    files.fail(error, f"{files.path}/{name}")
                return

    def __bool__(self) -> bool:
        return bool(self._fds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files."""
        while self._fds:
            os.close(self._fds.pop())
        self._file = None

    def check(self) -> None:
        """Raises unless the address space lived through the reading.

        Raises:
            NoSuchProcess, ZombieProcess, ProcessChanged
        """
        if self._file is not None:
            self._file.check()

    @property
    def pagemap(self) -> int:
        """The descriptor of /proc/PID/pagemap."""
        return self._fds[1] if self._fds else -1

    @property
    def mem(self) -> int:
        """The descriptor of /proc/PID/mem."""
        return self._fds[0] if self._fds else -1

    def entry(self, address: int) -> int:
        """The entry of a page in pagemap; 0: nothing there, or it can't be read."""
        if not self._fds or not 0 <= address < 1 << 63:
            return 0
        try:
            raw = os.pread(self.pagemap, 8, address // PAGE_SIZE * 8)
        except OSError:
            return 0
        return int.from_bytes(raw, sys.byteorder)

    def read(self, address: int, size: int) -> bytes:
        """Bytes from an address on, up to the first page that is not present."""
        if size <= 0 or not self._fds or not 0 <= address < 1 << 63:
            return b""
        first, last = address // PAGE_SIZE, (address + size - 1) // PAGE_SIZE
        try:
            raw = os.pread(self.pagemap, (last - first + 1) * 8, first * 8)
        except OSError:
            return b""
        entries = memoryview(raw[: len(raw) // 8 * 8]).cast("Q")
        count = 0
        while count < len(entries) and entries[count] & PRESENT:
            count += 1
        size = min(address + size, (first + count) * PAGE_SIZE) - address
        if size <= 0:
            return b""
        try:
            return os.pread(self._fds[0], size, address)
        except (OSError, OverflowError, IndexError):
            return b""

    def entries(self, start: int, end: int) -> list[bool]:
        """Whether each page of a range is present."""
        first, last = start // PAGE_SIZE, -(-end // PAGE_SIZE)
        try:
            raw = os.pread(self.pagemap, (last - first) * 8, first * 8)
        except OSError:
            raw = b""
        words = memoryview(raw[: len(raw) // 8 * 8]).cast("Q").tolist()
        found = [bool(word & PRESENT) for word in words]
        return found + [False] * (last - first - len(found))

    def read_present(self, address: int, size: int) -> bytes:
        """Bytes of a page that was found present just now."""
        try:
            return os.pread(self._fds[0], size, address)
        except (OSError, OverflowError, IndexError):
            return b""
