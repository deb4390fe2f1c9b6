"""The exceptions of procmem, one tree: docs/architecture.md draws it.

Some are psutil's, too, and psutil takes twice as long to import as Python to start. So it is
imported when one of those is raised or named, in an `except` clause for example.
"""

from __future__ import annotations

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem.errors.base import (
        BadArgument,
        ElfError,
        KernelThread,
        MappingInUse,
        MemoryFault,
        MissingExtra,
        NotAPid,
        ParseError,
        ProcessChanged,
        ProcessError,
        ProcmemError,
        SyscallError,
        Unsupported,
    )
    from procmem.errors.processes import AccessDenied, InvalidPid, NoSuchProcess, ZombieProcess

__all__ = [
    "AccessDenied",
    "BadArgument",
    "ElfError",
    "InvalidPid",
    "KernelThread",
    "MappingInUse",
    "MemoryFault",
    "MissingExtra",
    "NoSuchProcess",
    "NotAPid",
    "ParseError",
    "ProcessChanged",
    "ProcessError",
    "ProcmemError",
    "SyscallError",
    "Unsupported",
    "ZombieProcess",
]

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours
    from procmem._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "base": "BadArgument ElfError KernelThread MappingInUse MemoryFault MissingExtra "
            "NotAPid ParseError ProcessChanged ProcessError ProcmemError SyscallError Unsupported",
            "processes": "AccessDenied InvalidPid NoSuchProcess ZombieProcess",
        },
    )
