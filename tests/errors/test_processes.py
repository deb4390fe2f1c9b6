"""Errors that are psutil's, too, and psutil is imported for them alone."""

from __future__ import annotations

import subprocess
import sys

import psutil

import procmem


def test_errors_that_are_psutils_too() -> None:
    for name in ("NoSuchProcess", "AccessDenied", "ZombieProcess"):
        assert issubclass(getattr(procmem, name), getattr(psutil, name))
        assert issubclass(getattr(procmem, name), procmem.ProcessError)
    assert not issubclass(procmem.ProcessChanged, psutil.Error)


def test_psutil_is_imported_when_one_of_them_is_named() -> None:
    code = """
import sys
from procmem.errors import ProcessError, ProcmemError
from procmem import Process
Process().maps()[0].kind
assert "psutil" not in sys.modules, "imported too early"
try:
    Process(-1)
except ProcessError as error:
    assert type(error).__name__ == "InvalidPid"
assert "psutil" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
