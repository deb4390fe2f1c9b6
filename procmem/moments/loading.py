"""Snapshots of files: our own, trees of /proc, texts of maps and smaps, ELF cores."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from procmem import native
from procmem.moments.saved import MAGIC, from_json, read_frames
from procmem.moments.snapshot import Snapshot, take
from procmem.procfs import ProcessFiles, pids
from procmem.regions.live import read_table
from procmem.regions.text import parse_maps, parse_smaps

if TYPE_CHECKING:
    from procmem.regions import RegionTable

__all__ = ["load", "load_all", "load_tree"]

COUNTER = re.compile(rb"^[A-Z]\w*:", re.M)
"""A line of smaps that maps lacks."""


def load(path: str | os.PathLike[str]) -> Snapshot:
    """The one snapshot in a file or saved tree.

    Taken are what Snapshot.save() wrote, compressed or as JSON; a text of /proc/PID/maps or
    smaps; an ELF core; a directory with saved files of one process (maps, smaps, status,
    stat ...), or a saved /proc with one process in it.

    Raises:
        ParseError: damaged, of another kind, or it holds none, or several: load_all()
            gives all of them.
        Unsupported: a tree without maps and smaps.
        ElfError: a damaged core, or an ELF file that is none.
        OSError
    """
    found = load_all(path)
    if len(found) != 1:
        from procmem.errors import ParseError

        raise ParseError(
            os.fspath(path),
            1,
            b"",
            f"it holds {len(found)} snapshots: Snapshot.load_all() gives them all",
        )
    return found[0]


def load_all(path: str | os.PathLike[str]) -> list[Snapshot]:
    """All snapshots in a file or saved tree, in their order. See load()."""
    name = os.fspath(path)
    if os.path.isdir(name):
        return load_tree(name)
    with open(name, "rb") as file:
        start = file.read(len(MAGIC))
        if start == MAGIC:
            return list(read_frames(file, name))
        if start[:4] == b"\x7fELF":
            from procmem.moments.cores import load_core

            return [load_core(name)]
        data = start + file.read()
    if data.lstrip()[:1] in (b"{", b"["):
        return [from_json(data, name)]
    table: RegionTable[Any]
    if COUNTER.search(data):
        table = parse_smaps(data, source=name)
    else:
        table = parse_maps(data, source=name)
    if not len(table):
        from procmem.errors import ParseError

        raise ParseError(name, 1, data[:40], "empty: no region, and no snapshot")
    missing = dict.fromkeys(
        ("memory", "faults", "threads", "cmdline"), "the file has regions alone"
    )
    return [Snapshot(table, unavailable=missing, source=name)]


def load_tree(path: str) -> list[Snapshot]:
    """The processes of a saved tree: a directory of one process, or a /proc with some."""
    path = os.path.abspath(path)
    root, name = os.path.split(path)
    if any(os.path.exists(f"{path}/{one}") for one in ("maps", "smaps")) and name.isdecimal():
        return [snapshot_of(int(name), root)]
    return [snapshot_of(pid, path) for pid in pids(path)]


def snapshot_of(pid: int, root: str) -> Snapshot:
    files = ProcessFiles(pid, root)
    mode = native.SMAPS if os.path.exists(f"{files.path}/smaps") else native.MAPS
    return take(files, lambda: read_table(files, mode), None)
