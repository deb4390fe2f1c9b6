"""Why the kernel may have refused, in words: errno alone says little."""

from __future__ import annotations

import errno
import resource

from procmem.units import kib

__all__ = ["of_advice", "of_lock", "of_mmap", "of_mremap", "of_room"]


def of_room(number: int) -> str:
    """ENOMEM of a call that asks for address space."""
    if number != errno.ENOMEM:
        return ""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        return f"RLIMIT_AS allows this process {limit} bytes of address space"
    return "no room: in the address space, by overcommit, or by max_map_count (proc_sys_vm(5))"


def of_mmap(number: int, length: int, address: int, offset: int, unit: int, huge: bool) -> str:
    """Of mmap(2)."""
    if number == errno.ENOMEM and huge:
        return (
            f"{-(-length // unit)} huge pages of {kib(unit)} are not free: "
            "see nr_hugepages in proc_sys_vm(5)"
        )
    if number == errno.EINVAL:
        if length == 0:
            return "the length is 0"
        if offset % unit:
            return f"offset {offset} is no multiple of the page size {unit}"
        if address % unit:
            return f"address {address:#x} is no multiple of the page size {unit}"
        if huge:
            return f"this kernel may have no huge pages of {kib(unit)}"
    return {
        errno.EEXIST: f"something is mapped in {address:#x}-{address + length:#x} already: "
        "procmem.Process().maps() shows what",
        errno.EACCES: "the file must be open for reading, and for writing too where the mapping "
        "is shared and writable",
        errno.ENODEV: "what kind of file is it? Directories and pipes can't be mapped",
        errno.EBADF: "the file is not open",
        errno.EPERM: "a sealed memfd, a file system that is mounted noexec, or a low address "
        "(mmap_min_addr)",
        errno.EAGAIN: "it would be locked, beyond RLIMIT_MEMLOCK",
    }.get(number) or of_room(number)


def of_mremap(number: int) -> str:
    """Of mremap(2)."""
    if number == errno.EFAULT:
        return "its parts are several regions (protection, advice): only one can be resized"
    return of_room(number)


def of_lock(number: int) -> str:
    """Of mlock(2)."""
    if number in {errno.ENOMEM, errno.EPERM, errno.EAGAIN}:
        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        if limit != resource.RLIM_INFINITY:
            return (
                f"RLIMIT_MEMLOCK allows this process {limit} bytes; "
                "what is PROT_NONE, unmapped or behind the end of a file can't be locked either"
            )
        return "what is PROT_NONE, unmapped or behind the end of a file can't be locked"
    return ""


def of_advice(number: int, advice: int) -> str:
    """Of madvise(2)."""
    if number == errno.EINVAL:
        return (
            f"advice {advice}: not known to this kernel, not for this kind of mapping, "
            "or the range does not start on a page"
        )
    if number == errno.EPERM:
        return f"advice {advice} takes privileges"
    return ""
