"""System calls on plain addresses, as C programs make them.

They act on any memory of this process, including Python's own. If the range belongs to a Mapping,
that is updated, so it never accesses memory that is no longer mapped.
"""

from __future__ import annotations

from procmem.calls import hints, syscall
from procmem.calls.constants import Mremap, Msync, advice_of, prot_of
from procmem.calls.mapping import PAGE, Mapping, live
from procmem.errors import BadArgument
from procmem.native import ffi

__all__ = ["madvise", "mincore", "mlock", "mprotect", "mremap", "msync", "munlock", "munmap"]


def owner(address: int, length: int) -> Mapping | None:
    """The Mapping that contains a range; None: there is none.

    Raises:
        BadArgument: the range is only partly in a Mapping.
    """
    end = syscall.word(address, "the address") + syscall.word(length, "the length")
    for mapping in list(live):
        if mapping.meets(address, end):
            if mapping.address <= address and end <= mapping.address + mapping.size:
                return mapping
            raise BadArgument(f"{address:#x}-{end:#x} is partly in {mapping!r}")
    return None


def munmap(address: int, length: int) -> None:
    """Unmaps memory.

    Raises:
        SyscallError

    Source: munmap(2).
    """
    if mapping := owner(address, length):
        mapping.unmap(address - mapping.address, length)
    else:
        syscall.call("munmap", address, length, hint=hints.of_room)


def mprotect(address: int, length: int, prot: int | str) -> None:
    """Changes the protection of memory; prot as for mmap().

    Raises:
        SyscallError

    Source: mprotect(2).
    """
    if mapping := owner(address, length):
        mapping.protect(prot, address - mapping.address, length)
    else:
        syscall.call("mprotect", address, length, prot_of(prot))


def madvise(address: int, length: int, advice: int | str) -> None:
    """Gives the kernel advice about memory, as Mapping.advise() does.

    Raises:
        SyscallError

    Source: madvise(2).
    """
    if mapping := owner(address, length):
        mapping.advise(advice, address - mapping.address, length)
    else:
        number = advice_of(advice)
        hint = hints.of_advice
        syscall.call("madvise", address, length, number, hint=lambda error: hint(error, number))


def mremap(
    address: int,
    old_length: int,
    new_length: int,
    flags: int = Mremap.MREMAP_MAYMOVE,
    new_address: int = 0,
) -> int:
    """Changes the length of a mapping, or moves it.

    Returns:
        Its new address.

    Raises:
        SyscallError
        BadArgument: the memory of a Mapping can only be resized as a whole.

    Source: mremap(2).
    """
    syscall.word(new_length, "the new length")
    syscall.word(new_address, "the new address")
    if flags & Mremap.MREMAP_FIXED and owner(new_address, new_length):
        raise BadArgument("the new address is in another Mapping")
    if mapping := owner(address, old_length):
        whole = (address, -(-old_length // PAGE) * PAGE) == (mapping.address, mapping.size)
        if not whole or flags & ~Mremap.MREMAP_MAYMOVE:
            raise BadArgument(f"{mapping!r} can only be resized as a whole")
        mapping.resize(new_length, may_move=bool(flags))
        return mapping.address
    return syscall.call(
        "mremap", address, old_length, new_length, int(flags), new_address, hint=hints.of_mremap
    )


def mlock(address: int, length: int) -> None:
    """Faults in pages and locks them in memory.

    Raises:
        SyscallError

    Source: mlock(2).
    """
    syscall.call("mlock", *checked(address, length), hint=hints.of_lock)


def munlock(address: int, length: int) -> None:
    """Unlocks memory locked by mlock().

    Raises:
        SyscallError

    Source: munlock(2).
    """
    syscall.call("munlock", *checked(address, length))


def msync(address: int, length: int, flags: int = Msync.MS_SYNC) -> None:
    """Writes changes back to the file.

    Raises:
        SyscallError

    Source: msync(2).
    """
    syscall.call("msync", *checked(address, length), int(flags))


def mincore(address: int, length: int) -> bytes:
    """One byte per page: 1 if the page is in memory; for files, in the page cache.

    Raises:
        SyscallError: ENOMEM: part of the range is not mapped.

    Source: mincore(2).
    """
    where = checked(address, length)
    if length > 1 << 47:
        raise BadArgument(f"longer than any address space: {length}")
    vector = ffi.new("unsigned char[]", -(-length // PAGE))
    syscall.call("mincore", *where, int(ffi.cast("uintptr_t", vector)))
    return bytes(page & 1 for page in vector)


def checked(address: int, length: int) -> tuple[int, int]:
    return syscall.word(address, "the address"), syscall.word(length, "the length")
