"""Moments from files: procmem's own, reports, trees of /proc, texts of maps and smaps, cores."""

from __future__ import annotations

import os
import re
from itertools import islice

from procmem import native
from procmem.picture.embedded import is_report
from procmem.procfs import ProcessFiles, pids
from procmem.regions.read import read_table
from procmem.regions.text import parse_maps, parse_smaps
from procmem.snapshots.moment import Moment
from procmem.snapshots.saved import (
    MAGIC,
    MOST,
    TOO_LARGE,
    content_of,
    from_json,
    kept_file,
    open_saved,
    read_frames,
)
from procmem.snapshots.taking import moment_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from procmem.regions import RegionTable

__all__ = ["each", "load_moment", "saved_processes"]

COUNTER = re.compile(rb"^[A-Z]\w*:", re.M)
"""A line of smaps that maps lacks."""


def load_moment(path: str | os.PathLike[str], number: int | None = None) -> Moment:
    """The moment in a file or saved tree, or one of several; see procmem.load()."""
    from procmem.errors import ParseError

    if number is not None and number >= 0:
        # What follows it may be cut off: a recorder that was killed leaves such a file.
        found = list(islice(each(path), number + 1))
    else:
        found = list(each(path))
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


def each(path: str | os.PathLike[str]) -> Iterator[Moment]:
    """All moments in a file or saved tree, one after the other."""
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
    if is_report(data):
        yield from read_frames(kept_file(data, name), name)
        return
    if data.lstrip()[:1] in (b"{", b"["):
        yield from_json(data, name)
        return
    table = table_of(data, name)
    missing = dict.fromkeys(("memory", "faults", "threads", "cmdline"), "the file has only regions")
    yield Moment(table, unavailable=missing, source=name)


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


def load_tree(path: str) -> list[Moment]:
    """The processes of a saved tree: a directory of one process, or a /proc with some."""
    root, found = saved_processes(path)
    return [saved_process(pid, root) for pid in found]


def saved_processes(path: str) -> tuple[str, list[int]]:
    """The /proc that a saved tree stands for, and the PIDs of the processes saved in it.

    Raises:
        Unsupported: no process is saved there.
    """
    path = os.path.abspath(path)
    root, name = os.path.split(path)
    if any(os.path.exists(f"{path}/{one}") for one in ("maps", "smaps")) and name.isdecimal():
        return root, [int(name)]
    if not any(entry.isdecimal() for entry in os.listdir(path)):
        from procmem.errors import Unsupported

        raise Unsupported(
            path,
            "a directory without saved processes: the files of each (maps or smaps, and what else "
            "there is) belong in a directory named after its PID",
        )
    return path, pids(path)


def saved_process(pid: int, root: str) -> Moment:
    files = ProcessFiles(pid, root)
    mode = native.SMAPS if os.path.exists(f"{files.path}/smaps") else native.MAPS
    return moment_of(files, lambda: read_table(files, mode), None)
