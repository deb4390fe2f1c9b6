"""Snapshots of files: our own, trees of /proc, texts of maps and smaps, ELF cores."""

from __future__ import annotations

import os
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from procmem import native
from procmem.procfs import ProcessFiles, pids
from procmem.regions.read import read_table
from procmem.regions.text import parse_maps, parse_smaps
from procmem.snapshots.saved import (
    MAGIC,
    MOST,
    TOO_LARGE,
    content_of,
    from_json,
    open_saved,
    read_frames,
)
from procmem.snapshots.snapshot import Snapshot, take

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.regions import RegionTable

__all__ = ["load", "load_all", "load_tree"]

COUNTER = re.compile(rb"^[A-Z]\w*:", re.M)
"""A line of smaps that maps lacks."""


def load(path: str | os.PathLike[str], number: int | None = None) -> Snapshot:
    """The one snapshot in a file or saved tree, or one of several.

    Taken are what Snapshot.save() wrote, compressed or as JSON; a text of /proc/PID/maps or
    smaps; an ELF core; a directory with saved files of one process (maps, smaps, status,
    stat ...), or a saved /proc with one process in it.

    Args:
        path: it.
        number: which one, as of a list: 0 is the first, -1 the last. None: the only one.

    Raises:
        ParseError: damaged (up to the one that is asked for), of another kind, or it has no
            snapshot of that number; without a number: it holds none, or several.
        Unsupported: a tree without maps and smaps.
        ElfError: a damaged core, or an ELF file that is none.
        OSError
    """
    from procmem.errors import ParseError

    if number is not None and number >= 0:
        # What lies behind it may be cut off: a recording that was killed.
        found = list(islice(each(path), number + 1))
    else:
        found = load_all(path)
    at = (0 if len(found) == 1 else len(found)) if number is None else number
    if -len(found) <= at < len(found):
        return found[at]
    name = os.fspath(path)
    holds = {0: "it holds no snapshot", 1: "it holds one snapshot, number 0"}.get(
        len(found),
        f"it holds {len(found)} snapshots, numbers 0 to {len(found) - 1} (or -1, the last)",
    )
    if number is None and found:
        holds += f": say which, as {os.path.basename(name)}:0 or load(path, 0)"
    elif number is not None:
        holds += f", and none of number {number}"
    raise ParseError(name, 0, b"", holds)


def load_all(path: str | os.PathLike[str]) -> list[Snapshot]:
    """All snapshots in a file or saved tree, in their order. See load()."""
    return list(each(path))


def each(path: str | os.PathLike[str]) -> Iterator[Snapshot]:
    """All snapshots in a file or saved tree, one after the other."""
    name = os.fspath(path)
    if os.path.isdir(name):
        yield from load_tree(name)
        return
    with open_saved(name) as file:
        start = file.read(len(MAGIC))
        if start == MAGIC:
            yield from read_frames(file, name)
            return
        if start[:4] == b"\x7fELF":
            from procmem.snapshots.cores import load_core

            yield load_core(name)
            return
        data = start + content_of(file, MOST - len(start))
        if len(data) == MOST and file.read(1):
            from procmem.errors import ParseError

            raise ParseError(name, 0, b"", TOO_LARGE)
    if data.lstrip()[:1] in (b"{", b"["):
        yield from_json(data, name)
        return
    table = table_of(data, name)
    missing = dict.fromkeys(
        ("memory", "faults", "threads", "cmdline"), "the file has regions alone"
    )
    yield Snapshot(table, unavailable=missing, source=name)


def table_of(data: bytes, name: str) -> RegionTable[Any]:
    """The regions of a text of maps or smaps."""
    from procmem.errors import ParseError

    try:
        parse = parse_smaps if COUNTER.search(data) else parse_maps
        table: RegionTable[Any] = parse(data, source=name)
    except ParseError as error:
        if error.lineno > 1:
            raise
        reason = "neither a snapshot, nor a text of maps or smaps, nor a core"
        raise ParseError(name, 1, error.line, reason) from error
    if not len(table):
        raise ParseError(name, 0, b"", "empty: no region, and no snapshot")
    return table


def load_tree(path: str) -> list[Snapshot]:
    """The processes of a saved tree: a directory of one process, or a /proc with some."""
    path = os.path.abspath(path)
    root, name = os.path.split(path)
    if any(os.path.exists(f"{path}/{one}") for one in ("maps", "smaps")) and name.isdecimal():
        return [snapshot_of(int(name), root)]
    if not any(entry.isdecimal() for entry in os.listdir(path)):
        from procmem.errors import Unsupported

        raise Unsupported(
            path,
            "a directory without saved processes: the files of each (maps or smaps, and what else "
            "there is) lie in a directory that has its PID as name",
        )
    return [snapshot_of(pid, path) for pid in pids(path)]


def snapshot_of(pid: int, root: str) -> Snapshot:
    files = ProcessFiles(pid, root)
    mode = native.SMAPS if os.path.exists(f"{files.path}/smaps") else native.MAPS
    return take(files, lambda: read_table(files, mode), None)
