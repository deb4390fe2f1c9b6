"""Which pages were written to since: userfaultfd with WP_ASYNC, and PAGEMAP_SCAN."""

from __future__ import annotations

import errno
import os
from struct import Struct

from procmem.errors import SyscallError, Unsupported
from procmem.pages.scan import take_written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

    from procmem.experiments.specimen.arguments import Area
    from procmem.experiments.specimen.stepper import Stepper

__all__ = ["WriteWatch"]

UFFDIO_API = 3 << 30 | 24 << 16 | 0xAA << 8 | 0x3F
UFFDIO_REGISTER = 3 << 30 | 32 << 16 | 0xAA << 8
UFFD_API = 0xAA
WP_UNPOPULATED, WP_ASYNC = 1 << 13, 1 << 15
MODE_WP = 1 << 1
USER_MODE_ONLY = 1
"""Numbers of linux/userfaultfd.h: the headers of a stable distribution are older."""

API = Struct("=3Q")
REGISTER = Struct("=4Q")

TRACKED = "write tracking takes page tables and faults of its own"


class WriteWatch:
    """Finds the pages of an area that were written to since it was last asked.

    It is exact to the page and needs no privileges. The specimen itself creates the userfaultfd,
    since a process can do that only for its own memory. Steps of the specimen are not exact from
    then on.

    >>> from procmem.experiments import Specimen
    >>> with Specimen() as s:
    ...     area = s.mmap(pages=100).mapping
    ...     with s.watch_writes(area) as watch:
    ...         _ = s.touch(area, start=7, pages=3), s.read(area, start=50)
    ...         print([(start - area.start, end - area.start) for start, end in watch.written()])
    ...         print(watch.written())
    [(28672, 40960)]
    []

    Raises:
        Unsupported: no userfaultfd here, or none with WP_ASYNC (Linux 6.7).
    """

    def __init__(self, stepper: Stepper, area: Area) -> None:
        self.area = area
        self._helper = helper = stepper.helper
        self._open = False
        try:
            self._fd = helper.syscall("userfaultfd", os.O_CLOEXEC | USER_MODE_ONLY)
        except SyscallError as error:
            raise Unsupported("userfaultfd", f"the kernel refuses it: {error}") from error
        self._open = True
        self._pagemap = helper.files.open("pagemap")
        try:
            self._ask(UFFDIO_API, API.pack(UFFD_API, WP_ASYNC | WP_UNPOPULATED, 0))
            self._ask(UFFDIO_REGISTER, REGISTER.pack(area.start, area.length, MODE_WP, 0))
            stepper.reason = TRACKED
            self.written()
        except BaseException:
            self.close()
            raise

    def _ask(self, request: int, argument: bytes) -> None:
        helper = self._helper
        helper.store(argument)
        try:
            helper.syscall("ioctl", self._fd, request, helper.scratch)
        except SyscallError as error:
            raise Unsupported(
                "userfaultfd with WP_ASYNC", f"Linux 6.7 and newer have it ({error})"
            ) from error

    def written(self) -> list[tuple[int, int]]:
        """Start and end of the ranges written since the last call, or since the start.

        Raises:
            NoSuchProcess: the specimen has ended.
            Unsupported: it has unmapped some of the area.
        """
        with self._helper.lock:
            try:
                return take_written(self._pagemap, self.area.start, self.area.end)
            except OSError as error:
                if error.errno == errno.ESRCH or not self._helper.is_alive:
                    self._helper.check(-errno.ESRCH)
                raise Unsupported(
                    "PAGEMAP_SCAN of what was written", f"{error.strerror} in {self.area}"
                ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops recording. Page tables that it made stay."""
        if not self._open:
            return
        self._open = False
        os.close(self._pagemap)
        if self._helper.is_alive:
            self._helper.syscall("close", self._fd)
