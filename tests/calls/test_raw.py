"""Calls on plain addresses."""

from __future__ import annotations

import ctypes
import errno

import pytest

import procmem
from procmem import (
    SyscallError,
    calls,
)
from tests.support.calls import in_slot, regions, slots
from tests.support.targets import PAGE


def test_calls_on_addresses() -> None:
    memory = in_slot(8)
    at = memory.address
    calls.mprotect(at + PAGE, PAGE, "r")
    assert regions(memory)[1] == (1, 2, "r--p")
    calls.mprotect(at, 8 * PAGE, calls.Prot.PROT_READ | calls.Prot.PROT_WRITE)
    calls.madvise(at, PAGE, "willneed")
    calls.mlock(at, 2 * PAGE)
    assert calls.mincore(at, 3 * PAGE) == b"\1\1\0"
    calls.munlock(at, 2 * PAGE)
    calls.msync(at, PAGE)
    calls.munmap(at + 6 * PAGE, 2 * PAGE)
    assert memory.mapped == 6 * PAGE
    for partly in (calls.munmap, lambda a, n: calls.mprotect(a, n, "r")):
        with pytest.raises(ValueError, match="is partly in"):
            partly(at - PAGE, 2 * PAGE)
    with pytest.raises(ValueError, match="only be resized"):
        calls.mremap(at, PAGE, 2 * PAGE)
    calls.munmap(at, 6 * PAGE)
    assert memory.closed


def test_addresses_that_are_no_mapping_of_ours() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_size_t, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    # In a place of its own: where it was, the interpreter would map something else.
    flags = calls.Map.MAP_PRIVATE | calls.Map.MAP_ANONYMOUS | calls.Map.MAP_FIXED_NOREPLACE
    at = libc.mmap(next(slots), 4 * PAGE, 3, flags, -1, 0)
    calls.mprotect(at, PAGE, "r")
    region = procmem.Process().region_at(at)
    assert region is not None
    assert region.perms == "r--p"
    calls.mprotect(at, PAGE, "rw")
    calls.madvise(at, PAGE, "dontneed")
    at = calls.mremap(at, 4 * PAGE, 2 * PAGE)
    calls.munmap(at, 2 * PAGE)
    assert procmem.Process().region_at(at) is None
    with pytest.raises(SyscallError) as caught:
        calls.mincore(at, PAGE)
    assert (caught.value.syscall, caught.value.errno) == ("mincore", errno.ENOMEM)


def test_addresses_that_are_none() -> None:
    for call in (calls.munmap, calls.mlock, calls.mincore, lambda a, n: calls.mprotect(a, n, "")):
        for address, length in ((-1, PAGE), (1 << 64, PAGE), (PAGE, -1), (PAGE, 1 << 64)):
            with pytest.raises(ValueError, match="outside of every address space"):
                call(address, length)
    with pytest.raises(SyscallError) as caught:
        calls.munmap(5, PAGE)
    assert caught.value.errno == errno.EINVAL
