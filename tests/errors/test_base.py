"""The exceptions of procmem, and their other base classes."""

from __future__ import annotations

import errno
import pickle
import re

import pytest

import procmem
from procmem import (
    AccessDenied,
    KernelThread,
    NoSuchProcess,
    ProcessChanged,
    Unsupported,
    ZombieProcess,
    errors,
)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_a_procmem_error(name: str) -> None:
    cls = getattr(errors, name)
    assert issubclass(cls, errors.ProcmemError)
    assert getattr(procmem, name) is cls


def test_errors_that_are_built_in_ones_too() -> None:
    error = procmem.SyscallError("mmap", 12)
    assert isinstance(error, OSError)
    assert (error.errno, error.syscall) == (12, "mmap")
    assert error.strerror
    assert str(error) == f"mmap: {error.strerror}"
    assert issubclass(procmem.MissingExtra, ImportError)
    assert issubclass(procmem.ParseError, ValueError)
    assert issubclass(procmem.ElfError, ValueError)


def test_all_errors_survive_a_trip_between_processes() -> None:
    for error in (
        NoSuchProcess(5),
        NoSuchProcess(5, "why"),
        AccessDenied(5, "why"),
        ZombieProcess(5),
        KernelThread(5),
        ProcessChanged(5, "exec"),
        ProcessChanged(5, "pid reused"),
        Unsupported("a", "b"),
        procmem.ElfError("/x", "b"),
        procmem.SyscallError("mmap", errno.ENOMEM),
        procmem.MemoryFault(4096, 11, 1),
        procmem.MissingExtra("plots", "plotting"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert repr(again)
        assert {k: v for k, v in vars(again).items() if k[0] != "_"} == {
            k: v for k, v in vars(error).items() if k[0] != "_"
        }
    assert re.search(r"pip install .*plots", str(procmem.MissingExtra("plots", "plotting")))
