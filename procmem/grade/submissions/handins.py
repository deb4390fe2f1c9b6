"""What was handed in: directories, single files, archives; how they are found and compared."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass

from procmem.errors import ProcmemError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Handin", "NoSubmissions", "doubles", "find", "key"]

MOST_BYTES = 64 << 20
"""Of a file that is read to tell it from another."""
LEFT_OUT = ("__pycache__", "__MACOSX", ".DS_Store")


class NoSubmissions(ProcmemError):
    """There is no directory of submissions, or it is empty."""


@dataclass(frozen=True)
class Handin:
    """One submission in the directory of submissions.

    Attributes:
        name: the name of its directory or file; unique.
        path: its absolute path.
        more: its further files: Canvas exports each file of a student separately.
    """

    name: str
    path: str
    more: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All its files or directories."""
        return self.path, *self.more


def find(directory: str | os.PathLike[str], *, but: str = "") -> list[Handin]:
    """The submissions in a directory, by name, without hidden files and files of operating systems.

    Args:
        directory: the directory of submissions.
        but: a path that is not a submission: that of the results.

    Raises:
        NoSubmissions: there are none.
    """
    place = os.path.abspath(os.fspath(directory))
    try:
        names = sorted(os.listdir(place), key=os.fsencode)
    except OSError as error:
        raise NoSubmissions(f"{place}: {error.strerror}") from None
    found = [
        Handin(name, os.path.join(place, name))
        for name in names
        if not name.startswith(".") and name not in LEFT_OUT
    ]
    if but:
        found = [one for one in found if os.path.realpath(one.path) != os.path.realpath(but)]
    if not found:
        raise NoSubmissions(f"{place}: no submissions: each is a directory, an archive or a file")
    return joined(found)


def joined(found: list[Handin]) -> list[Handin]:
    """Hand-ins, with the separate files that Canvas made of one student's joined.

    They are joined only if their names differ; otherwise one was perhaps handed in again.
    """
    groups: dict[str, list[Handin]] = {}
    for one in found:
        if (match := CANVAS.fullmatch(one.name)) and os.path.isfile(one.path):
            groups.setdefault(f"{match['who']}_{match['number']}", []).append(one)
    taken: dict[str, Handin] = {}
    names = {one.name for one in found}
    for who, group in groups.items():
        files = {again_as(CANVAS.fullmatch(one.name)) for one in group}
        if len(group) > 1 and len(files) == len(group) and who not in names:
            whole = Handin(who, group[0].path, tuple(one.path for one in group[1:]))
            taken.update((one.name, whole) for one in group)
    return list(dict.fromkeys(taken.get(one.name, one) for one in found))


def again_as(match: re.Match[str] | None) -> str:
    """The name of a file without the number that Canvas adds when it is handed in again."""
    name = match["file"] if match else ""
    return re.sub(r"-\d+(?=\.[^.]*$|$)", "", name).casefold()


# ---- two of one student ----------------------------------------------------------

MOODLE = re.compile(r"(?P<who>.+?)_(?P<number>\d+)_assignsubmission_\w+?_?")
CANVAS = re.compile(r"(?P<who>[^_]+)(_LATE)?_(?P<number>\d+)_\d+_(?P<file>.+)")
AGAIN = re.compile(r"(?P<who>.+?) ?(\(\d+\)|- Copy|copy)")
SUFFIXES = re.compile(r"\.(tar\.\w+|\w{1,4})$")


def doubles(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Names that may be of one student: a guess, from names alone.

    >>> doubles(["alice", "alice.zip", "bob", "Bob.tar.gz", "carol (1).zip", "carol.zip", "dave"])
    [('alice', 'alice.zip'), ('bob', 'Bob.tar.gz'), ('carol (1).zip', 'carol.zip')]
    >>> doubles(["group-1", "group-2", "lab.c1", "x_1.c", "x_2.c"])
    []
    """
    found: dict[str, list[str]] = {}
    stems = {SUFFIXES.sub("", name).casefold() for name in names}
    for name in names:
        stem = SUFFIXES.sub("", name)
        learning = MOODLE.fullmatch(name) or CANVAS.fullmatch(name)
        again = AGAIN.fullmatch(stem)
        if learning:
            who = f"{learning['who']} {learning['number']}"
        elif again and again["who"].casefold() in stems:
            who = again["who"]
        else:
            who = stem
        found.setdefault(who.casefold(), []).append(name)
    return [tuple(same) for same in found.values() if len(same) > 1]


# ---- telling by content ---------------------------------------------------------


def key(*paths: str | os.PathLike[str]) -> str:
    """A digest of files and directory trees: names, types, modes and contents.

    No link is followed. Of a file larger than MOST_BYTES, size and time are used.
    """
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        raw = b"\0".join(os.fsencode(str(part)) for part in parts)
        digest.update(len(raw).to_bytes(8, "big") + raw)

    def walk(path: str, name: str) -> None:
        try:
            about = os.lstat(path)
            mode = about.st_mode
            add(name, stat.S_IFMT(mode), mode & 0o111)
            if stat.S_ISLNK(mode):
                add(os.readlink(path))
            elif stat.S_ISDIR(mode):
                for inner in sorted(os.listdir(path), key=os.fsencode):
                    if inner not in LEFT_OUT:
                        walk(f"{path}/{inner}", f"{name}/{inner}")
            elif stat.S_ISREG(mode) and about.st_size > MOST_BYTES:
                add(about.st_size, about.st_mtime_ns)
            elif stat.S_ISREG(mode):
                add(about.st_size)
                with open(path, "rb") as file:
                    while piece := file.read(1 << 20):
                        digest.update(piece)
        except (OSError, RecursionError) as error:
            add("unreadable", type(error).__name__)

    for path in paths:
        walk(os.path.realpath(path), "")
    return digest.hexdigest()
