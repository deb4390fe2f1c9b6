"""What a section counts as, from a few flags: text, data, bss or nothing.

The flags are those that GNU's library (BFD) keeps of a section, as far as sizes depend on them.
"""

from __future__ import annotations

__all__ = ["BSS", "CODE", "DATA", "NONE", "berkeley", "gnu"]

NOT_RECOGNIZED = "file format not recognized"
"""What GNU's tools say of a file that they refuse."""

ALLOC, CONTENTS, READONLY, CODE_FLAG, OTHER = 1, 2, 4, 8, 16
"""SEC_ALLOC, SEC_HAS_CONTENTS, SEC_READONLY, SEC_CODE; any flag besides."""

NONE, CODE, DATA, BSS = range(4)
"""What a section counts as; CODE is "text"."""


def berkeley(flags: int) -> int:
    """What a section counts as in the Berkeley view."""
    if not flags & ALLOC:
        return NONE
    if flags & (CODE_FLAG | READONLY):
        return CODE
    return DATA if flags & CONTENTS else BSS


def gnu(flags: int) -> int:
    """What a section counts as in the GNU view."""
    if not flags & ALLOC:
        return NONE
    if flags & CODE_FLAG:
        return CODE
    return DATA if flags & CONTENTS else BSS
