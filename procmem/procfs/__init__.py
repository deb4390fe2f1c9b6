"""The only opener of /proc: bytes of one process's files, and whose they are."""

from __future__ import annotations

from procmem.procfs.files import (
    MemoryFile,
    ProcessFiles,
    boot_id,
    huge_page_size,
    pids,
    system_file,
)
from procmem.procfs.text import Stat, Statm, parse_stat, parse_statm, parse_status

__all__ = [
    "MemoryFile",
    "ProcessFiles",
    "Stat",
    "Statm",
    "boot_id",
    "huge_page_size",
    "parse_stat",
    "parse_statm",
    "parse_status",
    "pids",
    "system_file",
]
