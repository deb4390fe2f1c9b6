"""mmap(): maps memory and returns a Mapping."""

from __future__ import annotations

import os
import stat

from procmem.calls import hints, syscall
from procmem.calls.constants import Map, Prot, prot_of
from procmem.calls.mapping import PAGE, Mapping, munmap_quietly
from procmem.errors import BadArgument, SyscallError, Unsupported
from procmem.native import lib

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from typing import Protocol

    class HasFileno(Protocol):
        """An open file."""

        def fileno(self) -> int:
            """Its descriptor."""


__all__ = ["mmap"]

TYPES = 0x0F
"""MAP_TYPE: the bits of the flags for shared or private."""


def mmap(
    length: int | None = None,
    *,
    pages: int | None = None,
    prot: int | str = "rw",
    shared: bool = False,
    file: int | str | bytes | os.PathLike[str] | HasFileno | None = None,
    offset: int = 0,
    address: int | None = None,
    fixed_noreplace: bool = False,
    populate: bool = False,
    noreserve: bool = False,
    hugetlb: bool | int = False,
    flags: int = 0,
) -> Mapping:
    """Maps memory into this process: anonymous memory or a file.

    >>> with mmap(pages=10) as memory:
    ...     memory.touch(3).minor, memory.residency().resident // memory.page_size
    (3, 3)

    Args:
        length: bytes; the kernel rounds up to pages. None with a file: all from offset to its end.
        pages: instead of length.
        prot: Prot.PROT_*, or letters as in maps: "rw", "r-x", "" for PROT_NONE.
        shared: MAP_SHARED; otherwise MAP_PRIVATE.
        file: what to map: a descriptor, an open file, or a path, which is opened for
            writing if the mapping is shared and writable. None: anonymous memory. Pages after the
            end of the file can be mapped, but not accessed.
        offset: in the file, in bytes; a multiple of the page size.
        address: where to map; a hint for the kernel.
        fixed_noreplace: exactly at address, or not at all (MAP_FIXED_NOREPLACE).
        populate: MAP_POPULATE: fault in all pages now.
        noreserve: MAP_NORESERVE: do not reserve swap space.
        hugetlb: MAP_HUGETLB: huge pages of the default size, or of this many bytes.
        flags: further Map.MAP_* flags. MAP_FIXED is refused: it silently replaces existing
            mappings, which may be Python's own.

    Raises:
        SyscallError: also an OSError, with errno and a hint; for a path also from open(2).
        BadArgument: also a ValueError: the arguments are invalid or contradict each other.
        Unsupported: the kernel lacks MAP_FIXED_NOREPLACE or huge pages.

    Source: mmap(2).
    """
    flags = combined(flags, shared, populate, noreserve, hugetlb, file is not None)
    wanted = prot_of(prot)
    if flags & Map.MAP_FIXED:
        raise BadArgument(
            "MAP_FIXED replaces existing mappings, even Python's own memory: use "
            "fixed_noreplace=True"
        )
    if fixed_noreplace:
        if address is None:
            raise BadArgument("fixed_noreplace needs an address")
        flags |= Map.MAP_FIXED_NOREPLACE
    if (length is None) is (pages is None) and not (length is None and file is not None):
        raise BadArgument("give length, in bytes, or pages" + (", not both" if pages else ""))
    is_shared = flags & TYPES in {Map.MAP_SHARED, Map.MAP_SHARED_VALIDATE}
    fd, opened = descriptor(file, is_shared and bool(wanted & Prot.PROT_WRITE))
    try:
        unit = page_size_of(flags, fd)
        if pages is not None:
            length = pages * unit
        elif length is None:
            length = rest_of_file(fd, offset)
        if length < 0:
            raise BadArgument(f"a length can't be negative: {length}")
        size = -(-syscall.word(length, "the length") // unit) * unit
        huge = unit != PAGE
        at = syscall.word(address or 0, "the address")
        start = syscall.call(
            "mmap",
            at,
            length,
            wanted,
            flags,
            fd & syscall.WORD - 1,
            syscall.word(offset, "the offset"),
            hint=lambda number: hints.of_mmap(number, length, at, offset, unit, huge),
        )
        if fixed_noreplace and start != address:
            munmap_quietly(start, size)
            raise Unsupported(
                "MAP_FIXED_NOREPLACE", "this kernel takes the address as a hint (Linux before 4.17)"
            )
        try:
            kept = kept_descriptor(fd, opened)
        except OSError as error:
            munmap_quietly(start, size)
            raise SyscallError("dup", error.errno or 0) from error
        if kept == opened:
            opened = -1
        return Mapping(start, length, size, unit, wanted, is_shared, kept, offset)
    finally:
        if opened >= 0:
            os.close(opened)


def combined(
    flags: int, shared: bool, populate: bool, noreserve: bool, hugetlb: bool | int, is_file: bool
) -> int:
    """The flags of mmap(2)."""
    flags = int(flags)
    if not flags & TYPES:
        flags |= Map.MAP_SHARED if shared else Map.MAP_PRIVATE
    elif shared and flags & TYPES not in {Map.MAP_SHARED, Map.MAP_SHARED_VALIDATE}:
        raise BadArgument("the flags contradict shared=True")
    if is_file and flags & Map.MAP_ANONYMOUS:
        raise BadArgument("MAP_ANONYMOUS and a file contradict each other")
    flags |= 0 if is_file else Map.MAP_ANONYMOUS
    flags |= Map.MAP_POPULATE if populate else 0
    flags |= Map.MAP_NORESERVE if noreserve else 0
    if hugetlb:
        flags |= Map.MAP_HUGETLB
        if hugetlb is not True:
            if hugetlb < PAGE or hugetlb & (hugetlb - 1):
                raise BadArgument(f"the size of a huge page is a power of two, not {hugetlb}")
            flags |= (hugetlb.bit_length() - 1) << lib.MAP_HUGE_SHIFT
    return flags


def descriptor(
    file: int | str | bytes | os.PathLike[str] | HasFileno | None, writing: bool
) -> tuple[int, int]:
    """The descriptor to map, or -1; and the same again if it was opened here, else -1."""
    if file is None:
        return -1, -1
    if isinstance(file, int):
        return file, -1
    if isinstance(file, (str, bytes, os.PathLike)):
        # O_NONBLOCK: opening a FIFO would wait for its other end.
        how = os.O_RDWR if writing else os.O_RDONLY
        try:
            opened = os.open(file, how | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise SyscallError("open", error.errno or 0, os.fsdecode(file)) from error
        return opened, opened
    return file.fileno(), -1


def kept_descriptor(fd: int, opened: int) -> int:
    """A descriptor to ask for the file's size with; -1: the size cannot change."""
    if fd < 0 or not stat.S_ISREG(os.fstat(fd).st_mode):
        return -1
    return opened if opened >= 0 else os.dup(fd)


def page_size_of(flags: int, fd: int) -> int:
    if flags & Map.MAP_HUGETLB and fd < 0:
        from procmem.procfs import huge_page_size

        log = flags >> lib.MAP_HUGE_SHIFT & 0x3F
        return 1 << log if log else huge_page_size()
    if fd >= 0:
        huge = int(lib.pm_hugetlb_page_size(fd))
        if huge > 0:
            return huge
    return PAGE


def rest_of_file(fd: int, offset: int) -> int:
    try:
        size = os.fstat(fd).st_size
    except OSError as error:
        raise SyscallError("fstat", error.errno or 0) from error
    if size <= offset:
        raise BadArgument(f"the file has {size} bytes, none after offset {offset}: give a length")
    return size - offset
