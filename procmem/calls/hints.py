"""Hints why the kernel may have refused a call, which errno alone does not say."""

from __future__ import annotations

import errno
import resource

from procmem.units import kib

__all__ = ["of_advice", "of_lock", "of_mmap", "of_mremap", "of_room"]


def of_room(number: int) -> str:
    """A hint for a call that asks for address space."""
    if number != errno.ENOMEM:
        return ""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        return f"RLIMIT_AS allows this process {limit} bytes of address space"
    return "the address space, the overcommit limit or max_map_count is exhausted (proc_sys_vm(5))"


def of_mmap(number: int, length: int, address: int, offset: int, unit: int, huge: bool) -> str:
    """A hint for mmap(2)."""
    if number == errno.ENOMEM and huge:
        return (
            f"{-(-length // unit)} huge pages of {kib(unit)} are not free: "
            "see nr_hugepages in proc_sys_vm(5)"
        )
    if number == errno.EINVAL:
        if length == 0:
            return "the length is 0"
        if offset % unit:
            return f"offset {offset} is not a multiple of the page size {unit}"
        if address % unit:
            return f"address {address:#x} is not a multiple of the page size {unit}"
        if huge:
            return f"this kernel may not support huge pages of {kib(unit)}"
    return {
        errno.EEXIST: f"{address:#x}-{address + length:#x} is partly mapped already: see "
        f"procmem.Process().maps()",
        errno.EACCES: "the file must be open for reading, and also for writing if the mapping is "
        "shared and writable",
        errno.ENODEV: "this kind of file cannot be mapped: directories and pipes, for example",
        errno.EBADF: "the file is not open",
        errno.EPERM: "the memfd is sealed, the file system is mounted noexec, or the address is "
        "below mmap_min_addr",
        errno.EAGAIN: "it would be locked and exceed RLIMIT_MEMLOCK",
    }.get(number) or of_room(number)


def of_mremap(number: int) -> str:
    """A hint for mremap(2)."""
    if number == errno.EFAULT:
        return (
            "the mapping consists of several regions (protection, advice), and only a single one "
            "can be resized"
        )
    return of_room(number)


def of_lock(number: int) -> str:
    """A hint for mlock(2)."""
    if number in {errno.ENOMEM, errno.EPERM, errno.EAGAIN}:
        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        if limit != resource.RLIM_INFINITY:
            return (
                f"RLIMIT_MEMLOCK allows this process {limit} bytes; "
                "PROT_NONE, unmapped pages and pages after the end of a file cannot be locked "
                "either"
            )
        return "PROT_NONE, unmapped pages and pages after the end of a file cannot be locked"
    return ""


def of_advice(number: int, advice: int) -> str:
    """A hint for madvise(2)."""
    if number == errno.EINVAL:
        return (
            f"advice {advice}: not known to this kernel, not for this kind of mapping, "
            "or the range does not start on a page"
        )
    if number == errno.EPERM:
        return f"advice {advice} needs privileges"
    return ""
