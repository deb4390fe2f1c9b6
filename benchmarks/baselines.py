"""What ours is held against: the bare reading, and parsers as people write them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

__all__ = ["plain_maps", "plain_smaps", "raw_read", "regex_smaps"]


def raw_read(pid: int, name: str) -> int:
    """The whole file, chunk by chunk, thrown away. Returns its length."""
    fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY)
    total = 0
    try:
        while chunk := os.read(fd, 65536):
            total += len(chunk)
    finally:
        os.close(fd)
    return total


def whole(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


@dataclass(slots=True)
class PlainRegion:
    """A region as a plain Python parser has it."""

    start: int
    end: int
    perms: str
    offset: int
    dev: str
    inode: int
    pathname: str
    counters: dict[str, int] = field(default_factory=dict)
    vm_flags: list[str] = field(default_factory=list)


def plain_region(line: str) -> PlainRegion:
    parts = line.split(None, 5)
    start, _, end = parts[0].partition("-")
    return PlainRegion(
        int(start, 16),
        int(end, 16),
        parts[1],
        int(parts[2], 16),
        parts[3],
        int(parts[4]),
        parts[5] if len(parts) > 5 else "",
    )


def plain_maps(pid: int) -> list[PlainRegion]:
    """Split lines into dataclasses."""
    return [plain_region(line) for line in whole(pid, "maps").decode().split("\n") if line]


def plain_smaps(pid: int) -> list[PlainRegion]:
    """Split lines into dataclasses, each with a dict of its counters."""
    regions: list[PlainRegion] = []
    for line in whole(pid, "smaps").decode().split("\n"):
        name, colon, value = line.partition(":")
        if not colon:
            continue
        if "-" in name:
            regions.append(plain_region(line))
        elif name == "VmFlags":
            regions[-1].vm_flags = value.split()
        else:
            number, _, unit = value.strip().partition(" ")
            regions[-1].counters[name] = int(number) * 1024 if unit else int(number)
    return regions


HEADER = rb"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) (\S+) (\d+) *(.*)\n"


def regex_smaps(pid: int) -> list[tuple[bytes | int, ...]]:
    """One regular expression over the whole text, its counters as this kernel prints them."""
    text = whole(pid, "smaps")
    names = [line.split(b":")[0] for line in text[: text.index(b"VmFlags")].split(b"\n")[1:-1]]
    counters = b"".join(re.escape(name) + rb":\s+(\d+)(?: kB)?\n" for name in names)
    pattern = re.compile(HEADER + counters + rb"VmFlags: (.*)\n")
    return [
        (
            int(found[0], 16),
            int(found[1], 16),
            found[2],
            int(found[3], 16),
            found[4],
            int(found[5]),
            found[6],
            *map(int, found[7:-1]),
            found[-1],
        )
        for found in pattern.findall(text)
    ]
