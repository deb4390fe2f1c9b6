"""Source lines: what linkers removed, what dwz(1) moved, what is compressed, and what it costs.

The truth is the source itself: each function stands on one line.
"""

from __future__ import annotations

import builtins
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.elf import limits
from procmem.elf.debug import open_alternate
from procmem.elf.dwarf import Cursor, Damaged
from procmem.elf.headers import open_elf
from procmem.elf.lines import Lines
from tests.support.elves import Section, elf

if TYPE_CHECKING:
    from pathlib import Path

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


# ---- dwz ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2", "3", "4", "5"])
@pytest.mark.parametrize("gone", [False, True], ids=["there", "gone"])
def test_names_that_dwz_moved(tmp_path: Path, version: str, gone: bool) -> None:
    binary = build(tmp_path, C, "gcc", f"-gdwarf-{version}", "-no-pie")
    shutil.copy(binary, tmp_path / "other")
    tool("dwz", "-m", tmp_path / "common", binary, tmp_path / "other")
    alpha = int(next(row for row in tool("nm", binary).splitlines() if "alpha" in row)[:16], 16)
    number = C["main.c"].index("int alpha(int x) { return x + sink + 1; }") + 1
    if gone:
        (tmp_path / "common").unlink()
    with open_elf(binary) as file:
        told = Lines(file, lambda: open_alternate(file, "/nonexistent", "")).at(alpha)
    whole = f"{tmp_path}/main.c:{number}"
    assert told in ((whole, f"main.c:{number}") if gone else (whole,))


def test_the_file_of_dwz_must_be_the_one_that_was_meant(tmp_path: Path) -> None:
    binary = build(tmp_path, C, "gcc", "-gdwarf-4")
    shutil.copy(binary, tmp_path / "other")
    tool("dwz", "-m", "common", "-r", binary, "other", cwd=tmp_path)
    with open_elf(binary) as file:
        found = open_alternate(file, "/nonexistent", "")
        assert found is not None
        found.close()
    # Below a directory of build-ids there are links, from which the name does not count.
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "program").symlink_to("../program")
    with open_elf(tmp_path / "links" / "program") as file:
        found = open_alternate(file, "/nonexistent", "")
        assert found is not None
        found.close()
    shutil.copy(binary, tmp_path / "common")
    with open_elf(binary) as file:
        assert open_alternate(file, "/nonexistent", "") is None
    (tmp_path / "common").unlink()
    os.mkfifo(tmp_path / "common")
    with open_elf(binary) as file:
        assert open_alternate(file, "/nonexistent", "") is None


# ---- compressed sections -----------------------------------------------------------------


def test_zstd_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = build(tmp_path, C, "gcc", "-g", "-Wl,--compress-debug-sections=zstd")
    start = tool("nm", binary)
    alpha = int(next(row for row in start.splitlines() if "alpha" in row)[:16], 16)
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in ("compression", "zstandard"):
            raise ImportError(name)
        return real(name, *rest)

    with monkeypatch.context() as patch, open_elf(binary) as file:
        patch.setattr(builtins, "__import__", without)
        with pytest.raises(procmem.ElfError) as failed:
            Lines(file).at(alpha)
    assert "zstd" in failed.value.reason
    assert "objcopy --decompress-debug-sections" in failed.value.reason
    # The way out is one.
    tool("objcopy", "--decompress-debug-sections", binary, tmp_path / "plain")
    check(tmp_path / "plain", C)
    if sys.version_info < (3, 14):
        pytest.importorskip("zstandard")
    check(binary, C)


def compressed(kind: int, data: bytes, size: int) -> Section:
    head = struct.pack("<IIQQ", kind, 0, size, 1)
    return Section(".debug_line", data=head + data, flags=0x800)


CODE = Section(".text", flags=6, data=bytes(64), addr=0x1000)


@pytest.mark.parametrize(
    "section, words",
    [
        (compressed(7, b"\0" * 40, 100), "compressed in an unknown way"),
        (compressed(1, b"\0" * 40, 100), "can't be unpacked"),
        (compressed(1, zlib.compress(bytes(200)), 100), "unpacks to another size"),
        (compressed(1, zlib.compress(bytes(50)), 100), "unpacks to another size"),
        (compressed(1, zlib.compress(bytes(50)), 1 << 40), "1,024 GiB, at most 512 MiB"),
        (Section(".debug_line", data=b"\1\0", flags=0x800), "is cut off"),
        (Section(".zdebug_line", data=b"ZLIX" + bytes(20)), "does not begin as"),
        (Section(".zdebug_line", data=b"ZLIB" + b"\xff" * 8 + b"x"), "at most 512 MiB"),
    ],
)
def test_sections_that_can_not_be_unpacked(tmp_path: Path, section: Section, words: str) -> None:
    path = tmp_path / "made"
    path.write_bytes(elf([CODE, section]))
    with open_elf(path) as file, pytest.raises(procmem.ElfError) as failed:
        Lines(file).at(0x1000)
    assert words in failed.value.reason


# ---- damage, in words --------------------------------------------------------------------


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


SET = b"\0\x09\x02" + struct.pack("<Q", 0x1000)
END = b"\x02\x10\0\x01\x01"


def made(tmp_path: Path, units: bytes, table: bytes, abbreviations: bytes = ABBREVIATION) -> Path:
    path = tmp_path / "made"
    path.write_bytes(
        elf([CODE, Section(".debug_info", data=units), Section(".debug_line", data=table),
             Section(".debug_abbrev", data=abbreviations)])
    )  # fmt: skip
    return path


def test_a_unit_that_does_not_tell_where_its_code_is(tmp_path: Path) -> None:
    path = made(tmp_path, info(b"\x01" + bytes(4)), line_table(SET + b"\x01" + END))
    with open_elf(path) as file:
        assert Lines(file).at(0x1008) == "a.c:1"
        assert Lines(file).at(0x1010) is None


@pytest.mark.parametrize(
    "units, table, abbreviations, words",
    [
        (info(b"\x01" + bytes(4), 6), line_table(), ABBREVIATION, "DWARF version 6"),
        (info(b"\x01" + bytes(4)), line_table(version=6), ABBREVIATION, "line table of version 6"),
        (info(b"\x02" + bytes(4)), line_table(), ABBREVIATION, "abbreviation 2 is missing"),
        (info(b"\x01"), line_table(), ABBREVIATION, "in the middle of a number"),
        (info(b"\x01" + bytes(4)), line_table(), b"\x01\x11\x00\x10\x7f\x00\x00\x00",
         "unknown form 0x7f"),
        (info(b"\x01" + bytes(4)), line_table(line_range=0), ABBREVIATION, "a zero where none"),
        (info(b"\x01\xff\xff\xff\x7f"), line_table(), ABBREVIATION, "refers to 0x7fffffff"),
        (b"\xf4\xff\xff\xff" + bytes(40), line_table(), ABBREVIATION, "no version of DWARF"),
        (b"\xff" * 12 + b"\4\0" + bytes(8) + b"\x08" + bytes(40), line_table(), ABBREVIATION,
         "beyond the end of .debug_info"),
        (info(b"\x01" + bytes(4)), line_table()[:-3], ABBREVIATION, "beyond the end"),
    ],
)  # fmt: skip
def test_damage_is_named(
    tmp_path: Path, units: bytes, table: bytes, abbreviations: bytes, words: str
) -> None:
    path = made(tmp_path, units, table, abbreviations)
    with open_elf(path) as file, pytest.raises(procmem.ElfError) as failed:
        Lines(file).at(0x1000)
    assert words in failed.value.reason
    assert "Error" not in failed.value.reason


def test_numbers_end_somewhere() -> None:
    assert Cursor(b"\xff" * 40 + b"\x7f", "<").uleb() < 1 << 64
    assert Cursor(b"\x7f", "<").sleb() == -1
    assert Cursor(b"\xc0\xbb\x78", "<").sleb() == -123456
    with pytest.raises(Damaged):
        Cursor(b"\xff" * 40, "<").uleb()


# ---- bounds and cost ---------------------------------------------------------------------


def test_a_line_table_with_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, info(b"\x01" + bytes(4)), line_table(SET + b"\x0d" * 100_000 + END))
    monkeypatch.setattr(limits, "LINE_ROWS", 50_000)
    with open_elf(path) as file, pytest.raises(procmem.ElfError, match="more than 50000 rows"):
        Lines(file).at(0x1000)
    monkeypatch.setattr(limits, "LINE_ROWS", 1 << 20)
    monkeypatch.setattr(limits, "LINE_TABLE", 4096)
    with open_elf(path) as file, pytest.raises(procmem.ElfError, match="at most 4 KiB"):
        Lines(file).at(0x1000)
    monkeypatch.setattr(limits, "LINE_TABLE", 1 << 20)
    monkeypatch.setattr(limits, "LINE_SECONDS", -1.0)
    with open_elf(path) as file, pytest.raises(procmem.ElfError, match="left out"):
        Lines(file).at(0x1000)


def test_too_many_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, info(b"\x01" + bytes(4)) * 3000, line_table(SET + b"\x01" + END))
    with open_elf(path) as file:
        assert Lines(file).at(0x1008) == "a.c:1"
    monkeypatch.setattr(limits, "UNITS", 1000)
    with open_elf(path) as file, pytest.raises(procmem.ElfError, match="more than 1000 units"):
        Lines(file).at(0x1008)


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


def test_chance_damage_is_an_elf_error(tmp_path: Path) -> None:
    whole = build(tmp_path, CXX, "g++", "-g").read_bytes()
    path = tmp_path / "damaged"
    path.write_bytes(whole)
    with open_elf(path) as file:
        parts = [(s.sh_offset, s.sh_size) for s in file.sections if s.name.startswith(".debug")]
        (code,) = [s for s in file.sections if s.name == ".text"]
    chance = random.Random(11)
    told = 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 5, 30))):
            start, size = chance.choice(parts)
            data[start + chance.randrange(size)] = chance.choice((0, 1, 127, 128, 255))
        path.write_bytes(data)
        with open_elf(path) as file:
            try:
                lines = Lines(file)
                for at in range(0, code.sh_size, 16):
                    lines.at(code.sh_addr + at)
                told += 1
            except procmem.ElfError as error:
                assert not re.search(r"\b\w*(Error|Exception)\b", error.reason), error.reason
    assert told
