"""What was handed in: directories, single files, archives; found, told apart by content, opened."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, cast

from procmem.errors import ProcmemError
from procmem.grade.errors import SubmissionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procmem.grade.lab import Lab

__all__ = ["Handin", "NoSubmissions", "find", "key"]

MOST_BYTES = 64 << 20
"""Of an archive's files together; and of a file that is read to tell it from another."""
MOST_FILES = 2_000
PACKED: dict[str, Callable[[str], Any]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".tar": lambda path: open(path, "rb"),  # noqa: SIM115 - closed by who asked
}
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
LEFT_OUT = ("__pycache__", "__MACOSX", ".DS_Store")


class NoSubmissions(ProcmemError):
    """There is no directory of submissions, or nothing in it."""


@dataclass(frozen=True)
class Handin:
    """One submission as it lies there.

    Attributes:
        name: of its directory or file; unique.
        path: absolute.
    """

    name: str
    path: str

    @contextmanager
    def opened(self, lab: Lab) -> Iterator[str]:
        """A directory with the submission's files.

        A directory is itself; an archive is unpacked; a single file is laid over the lab's
        starter, in place of the one file of the lab with the same suffix. What is made for that
        is removed at the end.

        Raises:
            SubmissionError: it can't be graded: a broken or huge archive, a file that the lab
                doesn't ask for.
        """
        if os.path.isdir(self.path):
            yield self.path
            return
        if not os.path.isfile(self.path):
            raise SubmissionError("it is neither a directory nor a file")
        made = tempfile.mkdtemp(prefix="procmem-handin-")
        try:
            place = os.path.join(made, "submission")
            if self.path.lower().endswith(ARCHIVES):
                os.mkdir(place)
                yield unpacked(self.path, place)
            else:
                laid_over(self.path, lab, place)
                yield place
        finally:
            shutil.rmtree(made, ignore_errors=True)


def find(directory: str | os.PathLike[str], *, but: str = "") -> list[Handin]:
    """The submissions in a directory, by name; hidden files and leftovers of systems left out.

    Args:
        directory: of submissions.
        but: a path that is none of them: that of the results.

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
    return found


# ---- telling by content ---------------------------------------------------------


def key(*paths: str | os.PathLike[str]) -> str:
    """A digest of files and all that lies below directories: names, kinds, modes and content.

    Nothing is followed or waited for. A file larger than MOST_BYTES is told by its size and time.
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


# ---- single files and archives --------------------------------------------------


def laid_over(path: str, lab: Lab, place: str) -> None:
    """The lab's starter with one file in it replaced."""
    suffix = os.path.splitext(path)[1]
    asked = [name for name in lab.files if os.path.splitext(name)[1] == suffix]
    exact = [name for name in asked if os.path.basename(name) == os.path.basename(path)]
    if len(exact or asked) != 1:
        listed = ", ".join(lab.files) or "a directory"
        raise SubmissionError(f"this single file can't be placed: the lab asks for {listed}")
    if lab.starter.is_dir():
        shutil.copytree(lab.starter, place)
    aim = os.path.join(place, (exact or asked)[0])
    os.makedirs(os.path.dirname(aim), exist_ok=True)
    shutil.copyfile(path, aim)


MACHINES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE,
            errno.ENOMEM)  # fmt: skip
"""Errors that are no fault of an archive."""


def unpacked(path: str, place: str) -> str:
    """Where the files of an archive lie: below `place`, without a directory around them all."""
    try:
        if path.lower().endswith(".zip"):
            unzip(path, place)
        else:
            untar(path, place)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        # gzip and bz2 raise OSError for broken data, zipfile the rest for what it can't read.
        if isinstance(error, OSError) and error.errno in MACHINES:
            raise
        raise SubmissionError(f"the archive can't be unpacked: {error}") from None
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib_error()) as error:
        raise SubmissionError(f"the archive is broken: {error}") from None
    inside = [name for name in os.listdir(place) if name not in LEFT_OUT]
    if len(inside) == 1 and os.path.isdir(os.path.join(place, inside[0])):
        return os.path.join(place, inside[0])
    return place


def zlib_error() -> type[Exception]:
    import zlib

    return zlib.error


class Room:
    """What an archive may still write."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.bytes = MOST_BYTES
        self.files = MOST_FILES

    def write(self, name: str, source: IO[bytes], *, runs: bool) -> None:
        aim = self.below(name)
        os.makedirs(os.path.dirname(aim), exist_ok=True)
        with open(aim, "xb") as file:
            while piece := source.read(1 << 16):
                self.bytes -= len(piece)
                if self.bytes < 0:
                    raise SubmissionError(f"the archive holds more than {MOST_BYTES >> 20} MiB")
                file.write(piece)
        os.chmod(aim, 0o755 if runs else 0o644)

    def below(self, name: str) -> str:
        """The path of a member; every one counts."""
        self.files -= 1
        if self.files < 0:
            raise SubmissionError(f"the archive holds more than {MOST_FILES} files")
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if parts[:1] == ("/",) or ".." in parts or "\0" in name:
            raise SubmissionError(f"the archive holds a path that leads out of it: {name!a}")
        return str(Path(self.place, *parts))


def unzip(path: str, place: str) -> None:
    room = Room(place)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            mode = member.external_attr >> 16
            if member.is_dir():
                os.makedirs(room.below(member.filename), exist_ok=True)
            elif not stat.S_IFMT(mode) or stat.S_ISREG(mode):
                with archive.open(member) as source:
                    room.write(member.filename, source, runs=bool(mode & 0o111))


def untar(path: str, place: str) -> None:
    room = Room(place)
    unpack = next(way for end, way in PACKED.items() if path.lower().endswith(end))
    with (
        unpack(path) as raw,
        # As a stream: it never seeks, so that no header makes it read more than is allowed.
        tarfile.open(fileobj=cast("IO[bytes]", Bounded(raw)), mode="r|") as archive,
    ):
        for member in archive:
            if member.isdir():
                os.makedirs(room.below(member.name), exist_ok=True)
            elif member.isreg() and (source := archive.extractfile(member)) is not None:
                room.write(member.name, source, runs=bool(member.mode & 0o111))


class Bounded(io.RawIOBase):
    """A stream that ends in an error when it is longer than an archive may be."""

    def __init__(self, source: IO[bytes]) -> None:
        self.source = source
        self.left = MOST_BYTES + MOST_FILES * 2048

    def read(self, size: int = -1) -> bytes:
        got = self.source.read(self.left + 1 if size < 0 else min(size, self.left + 1))
        self.left -= len(got)
        if self.left < 0:
            raise SubmissionError(f"the archive holds more than {MOST_BYTES >> 20} MiB")
        return got
