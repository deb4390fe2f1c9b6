"""Beginning a lab: what a student gets, and which lab a directory belongs to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from procmem.errors import ProcmemError
from procmem.labs import HOME, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.grade import Lab

__all__ = ["NotBegun", "WouldOverwrite", "begin", "lab_of"]

MARK = ".procmem-lab"
"""A file with the name of the lab, or the path of one that doesn't ship."""


class WouldOverwrite(ProcmemError):
    """There is something where a lab should begin."""


class NotBegun(ProcmemError):
    """A directory doesn't say which lab it belongs to."""


def begin(lab: Lab, directory: str | os.PathLike[str]) -> list[str]:
    """Copies a lab's hand-out, starter and quiz to a new directory, which remembers the lab.

    Args:
        lab: it.
        directory: that doesn't exist, or is empty.

    Returns:
        The names of what lies there now.

    Raises:
        WouldOverwrite: it is not empty.
        OSError: it can't be written.
    """
    place = Path(directory)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise WouldOverwrite(
            f"{place}: there is something already; nothing was changed. Choose a new directory."
        )
    was_there = place.exists()
    place.mkdir(parents=True, exist_ok=True)
    try:
        copy_into(lab, place)
    except OSError as error:
        # What is half there would be in the way of the next try.
        remove_all_in(place)
        if not was_there:
            place.rmdir()
        raise OSError(error.errno, error.strerror, os.fspath(directory)) from error
    return sorted(name for name in os.listdir(place) if name != MARK)


def copy_into(lab: Lab, place: Path) -> None:
    for source in sorted(lab.starter.rglob("*")):
        name = source.relative_to(lab.starter)
        if "__pycache__" in name.parts or source.suffix == ".pyc":
            continue
        if source.is_dir():
            (place / name).mkdir(parents=True, exist_ok=True)
        else:
            shutil.copy2(source, place / name)
    for path in (lab.handout, lab.directory / lab.QUIZ):
        if path.is_file():
            shutil.copyfile(path, place / path.name)
    ships = lab.directory.parent == HOME
    mark = lab.name if ships else str(lab.directory)
    (place / MARK).write_text(f"{mark}\n", encoding="utf-8", errors="surrogateescape")


def remove_all_in(place: Path) -> None:
    for path in place.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def lab_of(directory: str | os.PathLike[str]) -> Lab:
    """The lab that a directory was begun as.

    Raises:
        NotBegun: it doesn't say.
        LabError: that lab is not there, or not as it should be.
    """
    mark = Path(directory) / MARK
    try:
        name = mark.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        name = ""
    if not name:
        raise NotBegun(
            f"{os.fspath(directory)}: it was not begun by `procmem lab new`, so which lab is it? "
            "Say so: --lab NAME"
        )
    return find(name)
