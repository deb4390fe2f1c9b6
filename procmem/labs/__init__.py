"""The labs that ship: exercises about process memory, each a directory of data beside this file."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from procmem.grade import Lab, LabError

__all__ = ["Lab", "LabError", "find", "labs"]

HOME = Path(__file__).resolve().parent


def names() -> list[str]:
    """The names of the labs that ship, sorted."""
    return sorted(path.parent.name for path in HOME.glob(f"*/{Lab.FILE}"))


def labs() -> list[Lab]:
    """The labs that ship, by name.

    >>> from procmem.labs import labs
    >>> all(lab.title for lab in labs())
    True
    """
    return [Lab.load(HOME / name) for name in names()]


def find(name: str | os.PathLike[str]) -> Lab:
    """A lab by its name, or by the directory where it lies.

    Raises:
        LabError: there is none, or it is not as it should be.
    """
    known = names()
    given = os.fspath(name)
    if given in known:
        return Lab.load(HOME / given)
    if os.path.isdir(given):
        return Lab.load(given)
    near = difflib.get_close_matches(given, known, 1)
    way = f"did you mean {near[0]}?" if near else f"those that ship are {', '.join(known)}"
    raise LabError(given, f"no such lab, and no directory: {way}")
