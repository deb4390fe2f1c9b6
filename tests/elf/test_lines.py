"""Source lines: what linkers removed, what dwz(1) moved, what is compressed, and what it costs.

The truth is the source itself: each function stands on one line.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf.headers import open_elf
from procmem.elf.lines import Lines
from tests.support.dwarf import (
    CODE,
    CXX,
    C,
    build,
    check,
    info,
    line_table,
    made,
    tool,
)
from tests.support.elves import Section, elf

if TYPE_CHECKING:
    from pathlib import Path


GC = ("-ffunction-sections", "-Wl,--gc-sections")


@pytest.mark.parametrize(
    "words",
    [
        ("gcc", "-gdwarf-2", "-fuse-ld=bfd", *GC),
        ("gcc", "-gdwarf-3", "-fuse-ld=gold", *GC),
        ("gcc", "-gdwarf-4", "-fuse-ld=bfd", *GC),
        ("gcc", "-gdwarf-5", "-fuse-ld=bfd", *GC),
        ("gcc", "-gdwarf-5", "-fuse-ld=gold", *GC),
        ("gcc", "-gdwarf-5", "-fuse-ld=bfd", "-no-pie", *GC),
        ("gcc", "-gdwarf-5", "-fuse-ld=bfd", "-Wl,--gc-sections"),
        ("gcc", "-gdwarf-4", "-gsplit-dwarf", "-fuse-ld=bfd", *GC),
        ("gcc", "-gdwarf-5", "-gsplit-dwarf", "-fuse-ld=bfd", *GC),
        ("gcc", "-gdwarf-5", "-gz", "-fuse-ld=bfd", *GC),
        ("gcc", "-gdwarf-4", "-gz=zlib-gnu", "-fuse-ld=bfd", *GC),
        ("gcc", "-g", "-flto", *GC),
        ("gcc", "-g1", *GC),
        ("clang", "-gdwarf-4", "-fuse-ld=bfd", *GC),
        ("clang", "-gdwarf-5", "-fuse-ld=bfd", *GC),
        ("clang", "-gdwarf-5", "-fuse-ld=gold", *GC),
        ("clang", "-gdwarf-4", "-fuse-ld=lld", *GC),
        ("clang", "-gdwarf-5", "-fuse-ld=lld", *GC),
        ("clang", "-gdwarf-5", "-gsplit-dwarf", "-fuse-ld=lld", *GC),
        ("clang", "-gdwarf-4", "-gdwarf64", "-fuse-ld=lld", *GC),
        ("clang", "-gline-tables-only", "-fuse-ld=lld", *GC),
        ("clang", "-g", "-fuse-ld=lld", "-m32", *GC),
        ("clang", "-g", "-fuse-ld=lld", "-Wl,-z,dead-reloc-in-nonalloc=.debug_*=1", *GC),
        ("clang", "-g", "-fuse-ld=lld", "-Wl,-z,dead-reloc-in-nonalloc=.debug_*=4096", *GC),
    ],
    ids=lambda words: " ".join(words).replace(" ".join(GC), "gc"),
)
def test_removed_functions_have_no_lines(tmp_path: Path, words: tuple[str, ...]) -> None:
    binary = build(tmp_path, C, *words)
    check(binary, C)
    # Without .debug_aranges the units tell, or the line tables themselves.
    tool("objcopy", "--remove-section=.debug_aranges", binary, tmp_path / "bare")
    check(tmp_path / "bare", C)


@pytest.mark.parametrize(
    "words",
    [
        ("g++", "-gdwarf-4", "-fuse-ld=bfd"),
        ("g++", "-gdwarf-5", "-fuse-ld=gold"),
        ("clang++", "-gdwarf-5", "-fuse-ld=bfd"),
        ("clang++", "-gdwarf-5", "-fuse-ld=lld"),
    ],
    ids=" ".join,
)
def test_a_function_that_several_units_define(tmp_path: Path, words: tuple[str, ...]) -> None:
    check(build(tmp_path, CXX, *words, *GC), CXX)


def test_folded_functions_lead_to_one_of_them(tmp_path: Path) -> None:
    sources = {
        "main.c": [
            "volatile int sink;",
            "int one(int x) { return x * 9 + sink; }",
            "int two(int x) { return x * 9 + sink; }",
            "int main(int c, char **v) { return one(c) + two(c); }",
        ]
    }
    binary = build(tmp_path, sources, "clang", "-g", "-fuse-ld=lld", "-Wl,--icf=all", *GC)
    values = {row.split()[-1]: int(row.split()[0], 16) for row in tool("nm", binary).splitlines()
              if len(row.split()) == 3}  # fmt: skip
    assert values["one"] == values["two"]
    with open_elf(binary) as file:
        told = Lines(file).at(values["one"])
    assert told in (f"{tmp_path}/main.c:2", f"{tmp_path}/main.c:3")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("linker", ["bfd", "gold", "lld"])
def test_code_at_the_addresses_of_removed_code(tmp_path: Path, compiler: str, linker: str) -> None:
    """A library whose code begins at 0: a removed function that could be there has no line."""
    short = "void dead_short(void) { sink = 1; }"
    sources = {"lib.c": [*C["lib.c"], short], "main.c": C["main.c"]}
    words = ("-fPIC", "-shared", "-nostdlib", "-fvisibility=hidden", "-Wl,-e,main", "-Wl,-Ttext=0")
    binary = build(tmp_path, sources, compiler, "-g", f"-fuse-ld={linker}", *words, *GC)
    with open_elf(binary) as file:
        (text,) = [section for section in file.sections if section.name == ".text"]
        lines = Lines(file)
        told: dict[str, set[str | None]] = {}
        for row in tool("nm", "-S", binary).splitlines():
            fields = row.split()
            if len(fields) == 4 and fields[3] in ("used", "alpha", "beta", "quiet"):
                start, size = int(fields[0], 16), int(fields[1], 16)
                for at in (start, start + size // 2, start + size - 1):
                    told.setdefault(fields[3], set()).add(lines.at(at))
    assert len(told) == 4
    for name, found in told.items():
        (place,) = [
            f"{tmp_path}/{file}:{number}"
            for file, source in sources.items()
            for number, line in enumerate(source, 1)
            if f" {name}(int x) {{" in line
        ]
        # Whether it is the function or the short one that was removed can't be known at 0.
        doubtful = {None} if name == "used" and not text.sh_addr else set()
        assert found - doubtful <= {place}


def test_addr2line_and_procmem_agree_on_libraries_without_ranges(tmp_path: Path) -> None:
    """Assembly has lines, too; its units are old-fashioned, and may lack a compiler's parts."""
    source = tmp_path / "s.S"
    source.write_text(
        ".text\n.globl first\n.type first, @function\nfirst:\n nop\n nop\n ret\n"
        '.section .text.other,"ax"\n.globl second\nsecond:\n nop\n ret\n'
    )
    library = tmp_path / "lib.so"
    tool("gcc", "-g", "-shared", "-nostdlib", source, "-o", library)
    symbols = {r.split()[-1]: int(r.split()[0], 16) for r in tool("nm", library).splitlines()}
    with open_elf(library) as file:
        lines = Lines(file)
        for name, number in (("first", 5), ("second", 11)):
            assert lines.at(symbols[name]) == f"{source}:{number}"
            wanted = tool("addr2line", "-e", library, f"{symbols[name]:#x}").strip()
            assert lines.at(symbols[name]) == wanted


SET = b"\0\x09\x02" + struct.pack("<Q", 0x1000)
END = b"\x02\x10\0\x01\x01"


def test_an_entry_of_a_plt_costs_nothing(tmp_path: Path) -> None:
    """No unit is read for it, damaged as they may be."""
    plt = Section(".plt.sec", flags=6, data=bytes(64), addr=0x2000)
    path = tmp_path / "made"
    path.write_bytes(
        elf([CODE, plt, Section(".debug_info", data=b"\xff" * 64),
             Section(".debug_line", data=line_table())])
    )  # fmt: skip
    with open_elf(path) as file:
        assert Lines(file).at(0x2000) is None
        assert Lines(file).at(0x5000) is None
        with pytest.raises(procmem.ElfError):
            Lines(file).at(0x1000)


def test_many_units_are_read_quickly(tmp_path: Path) -> None:
    path = made(tmp_path, info(b"\x01" + bytes(4)) * 20_000, line_table(SET + b"\x01" + END))
    with open_elf(path) as file:
        started = time.process_time()
        Lines(file).at(0x1008)
        assert time.process_time() - started < 8
