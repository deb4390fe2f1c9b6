"""The exceptions of procmem, and their other base classes."""

from __future__ import annotations

import psutil
import pytest

import procmem
from procmem import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_a_procmem_error(name: str) -> None:
    cls = getattr(errors, name)
    assert issubclass(cls, errors.ProcmemError)
    assert getattr(procmem, name) is cls


def test_errors_that_are_psutils_too() -> None:
    for name in ("NoSuchProcess", "AccessDenied", "ZombieProcess"):
        assert issubclass(getattr(procmem, name), getattr(psutil, name))
        assert issubclass(getattr(procmem, name), procmem.ProcessError)
    assert not issubclass(procmem.ProcessChanged, psutil.Error)
    error = procmem.SyscallError("mmap", 12)
    assert isinstance(error, OSError)
    assert (error.errno, error.syscall) == (12, "mmap")
    assert error.strerror
    assert str(error) == f"mmap: {error.strerror}"
    assert issubclass(procmem.MissingExtra, ImportError)
    assert issubclass(procmem.ParseError, ValueError)
    assert issubclass(procmem.ElfError, ValueError)
