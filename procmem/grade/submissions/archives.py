"""Archives that nobody trusts: opened as tar and unzip would, within bounds, and nowhere else."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from typing import IO, Any, cast

from procmem.grade.errors import SubmissionError
from procmem.grade.sandbox.contents import packed
from procmem.grade.sandbox.untrusted import DEEPEST, MACHINES, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MOST_BYTES", "MOST_FILES", "Allowance", "kind_of", "unpack"]

MOST_BYTES = 64 << 20
"""Of an archive's files together."""
MOST_FILES = 2_000
MOST_LISTED = 4 << 20
"""Bytes of a zip file's central directory, which is read at once."""

OPENED: dict[str, Callable[[IO[bytes]], Any]] = {"gzip": gzip.open}
BROKEN = [tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError]
# Pythons are built without these where the libraries are missing.
with contextlib.suppress(ImportError):
    import bz2

    OPENED["bzip2"] = bz2.open
with contextlib.suppress(ImportError):
    import lzma

    OPENED["xz"] = lzma.open
    BROKEN.append(lzma.LZMAError)
SUFFIXES = {
    ".zip": "zip", ".tar": "tar", ".tgz": "gzip", ".gz": "gzip", ".tbz2": "bzip2", ".tbz": "bzip2",
    ".bz2": "bzip2", ".txz": "xz", ".xz": "xz", ".7z": "7z", ".rar": "rar", ".zst": "zstd",
    ".tzst": "zstd", ".lz": "lzip", ".lzma": "lzma", ".z": "compress", ".lz4": "lz4",
}  # fmt: skip
"""What a name says of a file whose content says nothing: an old tar, or a broken archive."""


class Allowance:
    """What may still be written, by all archives of one submission together.

    Attributes:
        bytes, files: that are left.
        notes: a sentence for each thing that was left out or changed.
    """

    def __init__(self) -> None:
        self.bytes = MOST_BYTES
        self.files = MOST_FILES
        self.notes: list[str] = []

    def count(self, number: int) -> None:
        """Takes bytes.

        Raises:
            SubmissionError: that is too much.
        """
        self.bytes -= number
        if self.bytes < 0:
            raise SubmissionError(f"the archive holds more than {MOST_BYTES >> 20} MiB")

    def tell(self, words: str) -> None:
        """Notes a sentence, once."""
        if words not in self.notes:
            self.notes.append(words)


def kind_of(path: str) -> str:
    """The kind of archive that a file is, by its content, else by its name; empty: none."""
    try:
        with open(path, "rb") as file:
            found = packed(file.read(300))
    except OSError:
        return ""
    return found or SUFFIXES.get(os.path.splitext(path)[1].lower(), "")


def unpack(path: str, place: str, allowance: Allowance) -> None:
    """Unpacks an archive into an empty directory.

    Of several members with one name the last counts, as with tar and unzip. Names are kept below
    the directory as these do it: a leading slash and ".." are dropped.

    Args:
        path: the archive.
        place: the directory.
        allowance: what may be written.

    Raises:
        SubmissionError: it can't be opened, is broken, or holds too much.
        OSError: this machine's fault.
    """
    kind = kind_of(path)
    members = Unpacked(place, allowance)
    if kind not in ("zip", "tar", *OPENED):
        raise SubmissionError(
            f"a file of the kind {kind or 'unknown'} can't be opened here: hand in a directory, a "
            "zip or a tar.gz"
        )
    try:
        if kind == "zip":
            unzip(path, members)
        else:
            untar(path, kind, members)
        members.link()
    except tuple(BROKEN) as error:
        raise SubmissionError(f"the archive is broken: {error}") from None
    except OSError as error:
        # gzip and bz2 raise OSError for broken data, without a number.
        if error.errno in MACHINES:
            raise
        why = error.strerror or str(error)
        raise SubmissionError(f"the archive can't be unpacked: {why}") from None
    except (ValueError, RuntimeError, OverflowError) as error:
        # zipfile, for encrypted files, unknown methods and headers that contradict each other.
        raise SubmissionError(f"the archive can't be unpacked: {error}") from None


class Unpacked:
    """The members of an archive, as they are written. Links are made last: nothing passes them."""

    def __init__(self, place: str, allowance: Allowance) -> None:
        self.place = place
        self.allowance = allowance
        self.links: dict[str, str] = {}

    def name(self, given: str) -> str:
        """Where a member goes; empty: nowhere.

        Raises:
            SubmissionError: there are too many.
        """
        self.allowance.files -= 1
        if self.allowance.files < 0:
            raise SubmissionError(f"the archive holds more than {MOST_FILES} files")
        parts = [part for part in given.replace("\\", "/").split("/") if part not in ("", ".")]
        kept = [part for part in parts if part != ".."]
        if kept and re.fullmatch("[A-Za-z]:", kept[0]):
            kept = kept[1:]
        if given.startswith("/") or kept != parts:
            inside = shown("/".join(kept))
            self.allowance.tell(f"{shown(given)} is outside of the archive: unpacked as {inside}")
        if "\0" in given or len(kept) > DEEPEST or any(len(os.fsencode(p)) > 255 for p in kept):
            self.allowance.tell(f"{shown(given[:80])} is not a usable name: left out")
            return ""
        return "/".join(kept)

    def directory(self, name: str) -> None:
        """A directory, with those above it; a file or link of that name makes way."""
        here = self.place
        done: list[str] = []
        for part in name.split("/") if name else ():
            done.append(part)
            here = f"{here}/{part}"
            self.links.pop("/".join(done), None)
            if os.path.lexists(here) and not os.path.isdir(here):
                os.unlink(here)
            if not os.path.isdir(here):
                os.mkdir(here, 0o755)

    def file(self, name: str, source: IO[bytes], *, runs: bool) -> None:
        """A file; an earlier one of that name makes way."""
        if not name:
            return
        aim = f"{self.place}/{name}"
        self.directory(os.path.dirname(name))
        self.links.pop(name, None)
        if os.path.isdir(aim):
            shutil.rmtree(aim)
        elif os.path.lexists(aim):
            os.unlink(aim)
        with open(aim, "xb") as file:
            while piece := source.read(1 << 16):
                self.allowance.count(len(piece))
                file.write(piece)
        os.chmod(aim, 0o755 if runs else 0o644)

    def same_as(self, name: str, other: str) -> None:
        """A hard link to a file that is there; tar makes one of a file that it is given twice."""
        if not name or name == other:
            return
        aim = f"{self.place}/{other}"
        if other in self.links:
            self.links[name] = os.path.relpath(other, os.path.dirname(name) or ".")
        elif os.path.isfile(aim):
            with open(aim, "rb") as source:
                self.file(name, source, runs=bool(os.stat(aim).st_mode & 0o111))
        else:
            self.allowance.tell(f"{shown(name)} is a link to a file that does not exist: left out")

    def symlink(self, name: str, target: str) -> None:
        """A symbolic link, made at the end."""
        if name:
            self.directory(os.path.dirname(name))
            self.links[name] = target

    def link(self) -> None:
        """Makes the links; who copies the tree looks where they lead."""
        for name, target in self.links.items():
            aim = f"{self.place}/{name}"
            leads = os.path.normpath(os.path.join(os.path.dirname(name), target))
            if os.path.isabs(target) or leads.startswith("..") or not target or "\0" in target:
                self.allowance.tell(
                    f"{shown(name)} is a link to outside of the submission: left out"
                )
                continue
            if os.path.isdir(aim) and not os.path.islink(aim):
                shutil.rmtree(aim)
            elif os.path.lexists(aim):
                os.unlink(aim)
            os.symlink(target, aim)


def unzip(path: str, members: Unpacked) -> None:
    with open(path, "rb") as file:
        # The end of central directory record (APPNOTE 4.3.16): its size is at 12.
        file.seek(max(0, os.fstat(file.fileno()).st_size - 65557))
        end = file.read()
    at = end.rfind(b"PK\x05\x06")
    if at >= 0 and int.from_bytes(end[at + 12 : at + 16], "little") > MOST_LISTED:
        raise SubmissionError(f"the archive holds more than {MOST_FILES} files")
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            mode = member.external_attr >> 16
            name = members.name(zip_name(member))
            if member.is_dir():
                members.directory(name)
            elif stat.S_ISLNK(mode):
                members.symlink(name, archive.read(member)[:4096].decode("utf-8", "surrogateescape")
                                if member.file_size <= 4096 else "")  # fmt: skip
            elif not stat.S_IFMT(mode) or stat.S_ISREG(mode):
                with archive.open(member) as source:
                    members.file(name, source, runs=bool(mode & 0o111))
            else:
                members.allowance.tell(f"{shown(name)} is not a regular file: left out")


def zip_name(member: zipfile.ZipInfo) -> str:
    """A member's name: many programs write UTF-8 and don't say so (general purpose bit 11)."""
    if member.flag_bits & 0x800:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def untar(path: str, kind: str, members: Unpacked) -> None:
    with open(path, "rb") as file:
        opened = OPENED[kind](file) if kind in OPENED else file
        stream = Bounded(opened)
        head = stream.read(512)
        stream.ahead = head
        if kind in OPENED and not is_tar(head):
            # One compressed file.
            name = os.path.basename(path)
            end = next((one for one in SUFFIXES if name.lower().endswith(one)), "")
            if end in (".tgz", ".tbz2", ".tbz", ".txz") or name.lower().endswith(f".tar{end}"):
                raise SubmissionError("the archive is broken: it does not contain a tar archive")
            members.file(members.name(name.removesuffix(name[-len(end):]) if end else name),
                         cast("IO[bytes]", stream), runs=False)  # fmt: skip
            return
        # As a stream: it never seeks, so that no header makes it read more than is allowed.
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as archive:
            for member in archive:
                add(archive, member, members)


def is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return not head.strip(b"\0") and len(head) == 512
    return True


def add(archive: tarfile.TarFile, member: tarfile.TarInfo, members: Unpacked) -> None:
    name = members.name(member.name)
    if member.isdir():
        members.directory(name)
    elif member.isreg():
        source: Any = archive.extractfile(member)
        if source is not None:
            members.file(name, source, runs=bool(member.mode & 0o111))
    elif member.islnk():
        members.same_as(name, members.name(member.linkname))
    elif member.issym():
        members.symlink(name, member.linkname)
    else:
        members.allowance.tell(f"{shown(name)} is not a regular file: left out")


class Bounded(io.RawIOBase):
    """A stream that ends in an error when it is longer than an archive may be."""

    def __init__(self, source: IO[bytes]) -> None:
        self.source = source
        self.left = MOST_BYTES + MOST_FILES * 2048
        self.ahead = b""

    def read(self, size: int = -1) -> bytes:
        if self.ahead:
            cut = len(self.ahead) if size < 0 else size
            got, self.ahead = self.ahead[:cut], self.ahead[cut:]
            return got
        got = self.source.read(self.left + 1 if size < 0 else min(size, self.left + 1))
        self.left -= len(got)
        if self.left < 0:
            raise SubmissionError(f"the archive holds more than {MOST_BYTES >> 20} MiB")
        return got
