"""What the commands must know of the place their text goes to."""

from __future__ import annotations

import os

TYPE_CHECKING = False

__all__ = ["is_utf8"]

COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
"""What Python sets LC_CTYPE to where the locale is C (PEP 538)."""


def is_utf8() -> bool:
    """Whether the user's locale is a UTF-8 one, as another program would find it."""
    import _locale

    if _locale.nl_langinfo(_locale.CODESET).upper() not in ("UTF-8", "UTF8"):
        return False
    if os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") not in COERCED:
        return True
    # The variable may be Python's own work: the environment that the process
    # was started with tells.
    from procmem.procfs import ProcessFiles

    own = ProcessFiles(os.getpid()).read("environ").split(b"\0")
    return any(entry.startswith(b"LC_CTYPE=") for entry in own)
