"""Programs with source lines, and DWARF that is made by hand."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from procmem.elf.debug import open_alternate
from procmem.elf.headers import open_elf
from procmem.elf.lines import Lines
from tests.support.elves import Section, elf

if TYPE_CHECKING:
    from pathlib import Path


__all__ = [
    "ABBREVIATION",
    "CODE",
    "CXX",
    "ONE_LINE",
    "C",
    "build",
    "check",
    "dead",
    "info",
    "line_table",
    "made",
    "tool",
]


ONE_LINE = re.compile(r"(\w+)\([^()]*\) \{.*\}$")


def tool(*words: str | Path, cwd: Path | None = None) -> str:
    if shutil.which(os.fspath(words[0])) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        pytest.skip(f"{' '.join(map(str, words))[:120]}: {done.stderr.strip()[-200:]}")
    return done.stdout


def dead(name: str) -> list[str]:
    """A function that nobody calls, with 3,000 lines of code."""
    return [f"void {name}(void) {{", *(f"sink = {i};" for i in range(3000)), "}"]


C = {
    "lib.c": [
        "extern volatile int sink;",
        *dead("dead_one"),
        "int used(int x) { return x * 7 + sink; }",
        *dead("dead_two"),
    ],
    "main.c": [
        "volatile int sink; int used(int);",
        "static int quiet(int x) { sink = x; return x * 3 + sink; }",
        *dead("dead_three"),
        "int alpha(int x) { return x + sink + 1; }",
        "int beta(int x) { return x + sink + 2; }",
        "int main(int c, char **v) { return alpha(c) + beta(c) + used(c) + quiet(c); }",
    ],
}
CXX = {
    "h.h": [
        "extern volatile int sink;",
        "inline __attribute__((noinline)) int shared(int x) { sink = x; return sink + 5; }",
        "template<class T> __attribute__((noinline)) T made(T x) { sink = x; return sink * x; }",
    ],
    "a.cc": [
        '#include "h.h"',
        "volatile int sink; int b_side(int);",
        "int a_side(int x) { return shared(x) + made(x); }",
        "int main(int c, char**) { return a_side(c) + b_side(c); }",
    ],
    "b.cc": [
        '#include "h.h"',
        "int b_side(int x) { return shared(x) + made(x) + made((long)x); }",
        "int b_dead(int x) { return shared(x) + made((short)x); }",
    ],
}


def build(place: Path, sources: dict[str, list[str]], *words: str) -> Path:
    for name, lines in sources.items():
        (place / name).write_text("\n".join(lines) + "\n")
    units = [place / name for name in sources if not name.endswith(".h")]
    # Compilers put .dwo files into the current directory.
    tool(*words, *units, "-o", place / "program", cwd=place)
    return place / "program"


def check(binary: Path, sources: dict[str, list[str]]) -> None:
    """Each address that is tried of each function leads to its line."""
    truth = {
        match[1]: f"{name}:{number}"
        for name, lines in sources.items()
        for number, line in enumerate(lines, 1)
        if (match := ONE_LINE.search(line))
    }
    with open_elf(binary) as file:
        lines = Lines(file, lambda: open_alternate(file, "/nonexistent", ""))
        seen = set()
        for row in tool("nm", "-SC", "--defined-only", binary).splitlines():
            fields = row.split(None, 3)
            name = re.split(r"[<(.]", fields[-1])[0].split()[-1]
            if len(fields) < 4 or fields[2] not in "tTW" or name not in truth:
                continue
            start, size = int(fields[0], 16), int(fields[1], 16)
            for offset in {0, size // 3, size // 2, size - 1}:
                told = lines.at(start + offset)
                assert told is not None, (name, offset)
                assert told.endswith("/" + truth[name]), (name, offset, told)
            seen.add(name)
        assert len(seen) >= 4
        # What no unit has, has no line: padding, PLTs, data, nothing at all.
        for section in file.sections:
            if section.name.startswith(".plt") or section.name in (".data", ".bss", ".rodata"):
                assert lines.at(section.sh_addr) is None
        assert lines.at(0) is None
        assert lines.at(1 << 70) is None


CODE = Section(".text", flags=6, data=bytes(64), addr=0x1000)


def info(body: bytes, version: int = 4) -> bytes:
    return struct.pack("<IHIB", len(body) + 7, version, 0, 8) + body


ABBREVIATION = b"\x01\x11\x00\x10\x17\x00\x00\x00"  # one unit, with DW_AT_stmt_list alone


def line_table(program: bytes = b"", *, version: int = 4, line_range: int = 14) -> bytes:
    names = b"\0" + b"a.c\0\0\0\0" + b"\0"
    head = struct.pack("<BBBbBB", 1, 1, 1, -5, line_range, 13) + bytes(
        (0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1)
    )
    body = struct.pack("<HI", version, len(head) + len(names)) + head + names + program
    return struct.pack("<I", len(body)) + body


def made(tmp_path: Path, units: bytes, table: bytes, abbreviations: bytes = ABBREVIATION) -> Path:
    path = tmp_path / "made"
    path.write_bytes(
        elf([CODE, Section(".debug_info", data=units), Section(".debug_line", data=table),
             Section(".debug_abbrev", data=abbreviations)])
    )  # fmt: skip
    return path
