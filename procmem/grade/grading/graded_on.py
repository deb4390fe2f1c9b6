"""The properties of the machine on which the expectations of checks depend."""

from __future__ import annotations

import functools
import os
import subprocess
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["compiler", "machine"]


@functools.lru_cache(maxsize=1)
def machine() -> Mapping[str, Any]:
    """The kernel, page size, libc and compiler, on which the expectations of checks depend."""
    from procmem.regions.region import PAGE_SIZE

    uname = os.uname()
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):
        libc = None
    return {
        "kernel": uname.release,
        "machine": uname.machine,
        "page_size": PAGE_SIZE,
        "libc": libc,
        "compiler": compiler(),
    }


def compiler() -> str | None:
    """The first line of `cc --version`; None: there is no C compiler."""
    try:
        done = subprocess.run(
            ["cc", "--version"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.partition("\n")[0] or None
