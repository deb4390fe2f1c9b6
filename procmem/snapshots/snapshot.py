"""Snapshot: the memory of a process at one time; Diff: what changed from one to another."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from procmem.snapshots import loading, saved
from procmem.snapshots.diffs import MomentDiff
from procmem.snapshots.moment import Moment
from procmem.snapshots.output import replacing
from procmem.snapshots.taking import moment_of

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from matplotlib.axes import Axes

    from procmem.procfs import ProcessFiles
    from procmem.regions import RegionTable
    from procmem.regions.threads import Thread

__all__ = ["Diff", "Snapshot", "diff", "load", "snapshot_of", "take"]


@dataclass(frozen=True, repr=False)
class Snapshot(Moment):
    """The memory of a process at one time. Immutable. `after - before` is a Diff.

    Attributes:
        regions: the regions, at the chosen detail.
        memory: the kernel's totals in bytes; None: not known (a file of maps alone, a core).
        faults: page faults since the process started; None likewise.
        threads: the threads with their stacks; None likewise.
        clock: when it was taken; None for files that other tools saved.
        identity: the process.
        kernel: the kernel; None for files that other tools saved.
        moved: whether the process mapped, freed or touched memory while it was read: the figures
            may then belong to slightly different times.
        unavailable: what could not be read, each with the reason.
        source: where it was read from.
        heap: what malloc and Python held; None: it was not asked for, or could not be read.
    """

    def __sub__(self, before: Snapshot) -> Diff:
        """What changed from `before` to this one; see Diff."""
        if not isinstance(before, Snapshot):
            return NotImplemented
        return diff(before, self)

    def __getstate__(self) -> dict[str, Any]:
        return self.to_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(vars(saved.from_dict(state)))

    def _repr_html_(self) -> str:
        """What a notebook shows: totals, bars by kind, and the largest regions."""
        from procmem.snapshots.html import snapshot_html

        return snapshot_html(self)

    def svg(self, title: str = "") -> str:
        """The snapshot as an SVG picture: totals, bars by kind and by use, the address space.

        Args:
            title: the picture's title; empty: it names the process.
        """
        from procmem.snapshots.pictures import snapshot_svg

        return snapshot_svg(self, title)

    def plot(self, ax: Axes | None = None, *, by: str = "kind", figure: str | None = None) -> Axes:
        """A bar for each kind or use of its regions, with matplotlib; see RegionTable.plot().

        Raises:
            MissingExtra, BadArgument: as there.
        """
        return self.regions.plot(ax, by=by, figure=figure)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return saved.to_dict(self)

    def to_json(self, indent: int | None = None) -> str:
        """All of it as JSON; from_json() reads it back without loss."""
        return json.dumps(self.to_dict(), indent=indent)

    @staticmethod
    def from_json(text: str | bytes) -> Snapshot:
        """The snapshot that to_json() wrote.

        Raises:
            ParseError: the text is no such snapshot.
        """
        return snapshot_of(saved.from_json(text))

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes it to a file: as JSON if the file's name ends in .json, else compressed.

        The file is replaced only when all has been written; if writing fails, it stays as it was.

        Args:
            path: the file. One that holds snapshots or a recording is overwritten.
            force: overwrite any other file, too; follow a symbolic link, and write to what is
                no regular file.

        Raises:
            FileExistsError: another file, a link, a FIFO or a device has that name.
            OSError
        """
        if os.fspath(path).endswith(".json"):
            with replacing(path, force=force) as file:
                file.write((self.to_json() + "\n").encode("utf-8"))
        else:
            saved.save_all([self], path, force=force)

    def report(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> str:
        """Writes a report as one HTML file, which a browser opens without any network.

        It shows where the memory is, by kind and use, the address space as a map, the regions, and
        how the totals reconcile. load() reads the snapshot back from it.

        Args:
            path: the file; None: a name such as "procmem-1234-snapshot.html" in the current
                directory. An existing report is overwritten.
            force: overwrite any other file, too.

        Returns:
            The path of the file.

        Raises:
            FileExistsError: another program's file has that name.
            OSError: it can't be written.
        """
        from procmem.snapshots.reporting import default_name, moment_page, write_report

        name = default_name(self, "snapshot")
        return write_report(moment_page(self), path, name, force=force)

    @staticmethod
    def load(path: str | os.PathLike[str], number: int | None = None) -> Snapshot:
        """The snapshot in a file or saved tree, or one of several; see procmem.load()."""
        return load(path, number)

    @staticmethod
    def save_all(
        snapshots: Iterable[Snapshot], path: str | os.PathLike[str], *, force: bool = False
    ) -> None:
        """Writes several to one compressed file, in their order.

        Args:
            snapshots: the snapshots.
            path: as for save().
            force: likewise.

        Raises:
            FileExistsError, OSError: as for save().
        """
        saved.save_all(snapshots, path, force=force)

    @staticmethod
    def load_all(path: str | os.PathLike[str]) -> list[Snapshot]:
        """All snapshots of a file or saved tree, in their order; see procmem.load().

        Raises:
            ParseError: it is damaged, or holds something else.
            OSError
        """
        return [snapshot_of(moment) for moment in loading.each(path)]


class Diff(MomentDiff):
    """What changed from one snapshot to another.

    Attributes:
        before, after: the snapshots.
        vsz: change of the size of the address space, in bytes.
        rss: change of the bytes in memory; None: not known.
        swap, page_tables: likewise.
        minor, major: page faults in between; None: not known, or of two processes.
        same_process: whether both are of one process; None: not known.
        remainder: what the changes of regions do not account for in the totals.
        heap: what changed inside malloc and Python's allocator; None: a snapshot has no heap.

    It is False if nothing changed that a snapshot holds.

    >>> from procmem import Process, diff
    >>> now = Process().snapshot("maps")
    >>> diff(now, now).changes, bool(now - now)
    ((), False)
    """

    __slots__ = ()

    before: Snapshot
    after: Snapshot

    def report(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> str:
        """Writes a report as one HTML file, which a browser opens without any network.

        It shows what changed, why, and where, with the memory before and after. load() reads both
        snapshots back from it: number 0 and 1.

        Args:
            path: the file; None: a name such as "procmem-1234-diff.html" in the current directory.
                An existing report is overwritten.
            force: overwrite any other file, too.

        Returns:
            The path of the file.

        Raises:
            FileExistsError: another program's file has that name.
            OSError: it can't be written.
        """
        from procmem.snapshots.reporting import default_name, diff_page, write_report

        return write_report(diff_page(self), path, default_name(self.after, "diff"), force=force)


def diff(before: Snapshot, after: Snapshot) -> Diff:
    """What changed from `before` to `after`.

    Two regions are matched by the addresses they cover, provided both map the same file and
    offset, or both are anonymous. A region that disappeared and one that appeared are reported as
    one moved region if they have the same file, offset, size and permissions (anonymous memory:
    size, permissions and resident bytes) and no other region has the same.

    Args:
        before: a snapshot.
        after: another snapshot, of the same process or of another.
    """
    return Diff(before, after)


def snapshot_of(moment: Moment) -> Snapshot:
    """A moment as a Snapshot."""
    return Snapshot(**vars(moment))


def take(
    files: ProcessFiles,
    read: Callable[[], RegionTable[Any]],
    threads: Callable[[RegionTable[Any]], list[Thread]] | None,
) -> Snapshot:
    """A snapshot of a process; see moment_of()."""
    return snapshot_of(moment_of(files, read, threads))


def load(path: str | os.PathLike[str], number: int | None = None) -> Snapshot:
    """The snapshot in a file or saved tree, or one of several.

    It reads what Snapshot.save() wrote, compressed or as JSON; a report, which has the snapshots
    that it shows; a saved /proc/PID/maps or smaps; an ELF core; a directory with saved files of one
    process (maps, smaps, status, stat ...); and a saved /proc with one process in it.

    Args:
        path: the file or directory.
        number: which snapshot, counted as in a list: 0 is the first, -1 the last. None: the only
            one.

    Raises:
        ParseError: the file is damaged (before the snapshot that is asked for), holds something
            else, or has no snapshot of that number; without a number: it holds none, or several.
        Unsupported: a directory without maps and smaps.
        ElfError: a damaged core, or an ELF file that is no core.
        OSError
    """
    return snapshot_of(loading.load_moment(path, number))
