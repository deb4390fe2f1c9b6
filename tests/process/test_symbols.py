"""symbol_at(): against nm and addr2line, over whole, stripped and damaged files."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf.headers import open_elf
from procmem.elf.lines import Lines
from procmem.elf.notes import build_id
from procmem.elf.symbols import SymbolTable
from procmem.process.symbols import SymbolFinder
from procmem.regions.read import Queries
from tests.support.elves import Section, elf
from tests.support.paths import TARGETS
from tests.support.targets import NOBODY, PAGE, VARIANTS, Target, machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Target]
    Build = Callable[[str], Path]


def tool(*words: str | Path) -> str:
    if shutil.which(os.fspath(words[0])) is None:
        pytest.skip(f"{words[0]} is not installed")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def symbols_of(binary: Path, *options: str) -> dict[int, list[tuple[str, int]]]:
    """Name and size of the defined functions and variables by value, as nm has them."""
    found: dict[int, list[tuple[str, int]]] = {}
    for line in tool("nm", "-S", "--defined-only", *options, binary).splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "TtDdBbRrWwVvi":
            name = fields[3].partition("@")[0]
            found.setdefault(int(fields[0], 16), []).append((name, int(fields[1], 16)))
    return found


def bias_of(target: Target) -> int:
    process = procmem.Process(target.pid)
    (found,) = [
        live
        for live in process.objects()
        if any(start <= target.truths.main < end for start, end in live.pieces)
    ]
    return found.bias


# ---- names ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["plain", "big", "static", "static-pie", "no-pie", "noseparate-code", "gold"]
)
def test_nm_says_the_same(start: Start, variant: Build, name: str) -> None:
    binary = variant(name)
    wanted = symbols_of(binary)
    with open_elf(binary) as file:
        first = min(section.sh_addr for section in file.sections if section.sh_addr)
    # Those of thread-local variables are no addresses.
    wanted = {value: names for value, names in wanted.items() if value >= first}
    target = start(binary)
    process = procmem.Process(target.pid)
    bias = bias_of(target)
    checked = 0
    for value in random.Random(7).sample(sorted(wanted), min(400, len(wanted))):
        names = {each for each, _ in wanted[value]}
        largest = max(size for _, size in wanted[value])
        for offset in {0, largest // 2, largest - 1} if largest else {0}:
            symbol = process.symbol_at(bias + value + offset)
            if symbol is None or symbol.name.partition("@")[0] not in names:
                # In a symbol that lies within: the nearest one counts.
                assert symbol is not None
                assert bias + value < symbol.address <= bias + value + offset
                continue
            assert (symbol.offset, symbol.address) == (offset, bias + value)
            assert symbol.object == os.fspath(binary)
            checked += 1
    assert checked > 20


@pytest.mark.parametrize(
    "flags",
    [
        ("-no-pie",),
        ("-no-pie", "-fcf-protection=full", "-Wl,-z,ibtplt"),
        ("-pie", "-fPIE", "-Wl,-z,now"),
        ("-fuse-ld=gold", "-no-pie"),
    ],
    ids=" ".join,
)
def test_entries_of_plts_are_named_as_objdump_names_them(
    flags: tuple[str, ...], tmp_path: Path
) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("entries of PLTs are told apart on x86-64 only")
    source, binary = tmp_path / "plt.c", tmp_path / "plt"
    source.write_text(
        "#include <stdlib.h>\n#include <stdio.h>\nvoid *(*taken)(size_t) = malloc;\n"
        'int main(void) { puts(""); free(taken(1)); return abs(getchar()); }\n'
    )
    if not shutil.which("gcc"):
        pytest.skip("no gcc here")
    words: list[str | Path] = ["gcc", "-O1", *flags, source, "-o", binary]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"gcc does not take {flags}: {done.stderr[-200:]}")
    with open_elf(binary) as file:
        table = SymbolTable([file])
        plts = {s.name for s in file.sections if s.name.startswith(".plt")}
    listing = tool("objdump", "-d", *(f"--section={name}" for name in plts), binary)
    wanted = re.findall(r"^([0-9a-f]+) <(.*@plt)>:", listing, re.MULTILINE)
    assert {"puts@plt", "free@plt"} <= {name for _, name in wanted}
    for address, name in wanted:
        told = table.find(int(address, 16) + 7)
        assert told is not None
        assert (told[0], told[1]) == (name, int(address, 16))


def test_known_variables(start: Start, variant: Build) -> None:
    target = start(variant("big"))
    process = procmem.Process(target.pid)
    truths = target.truths

    def told(address: int) -> tuple[str, int, str | None]:
        symbol = process.symbol_at(address)
        assert symbol is not None
        return symbol.name, symbol.offset, symbol.section

    assert told(truths.data + 12345) == ("target_data", 12345, ".data")
    assert told(truths.bss + 5_000_000) == ("target_bss", 5_000_000, ".bss")
    assert told(truths.rodata + 7) == ("target_rodata", 7, ".rodata")
    assert told(truths.relro + 8) == ("target_relro", 8, ".data.rel.ro")
    assert process.symbol_at(truths.stack) is None
    assert process.symbol_at(0) is None
    assert process.symbol_at(-1) is None
    assert process.symbol_at(1 << 64) is None
    assert process.symbol_at(target.map(4).start) is None


def test_a_library(start: Start, variant: Build) -> None:
    target = start(variant("library"))
    process = procmem.Process(target.pid)
    truths = target.truths
    for address, name in (
        (truths.library_text, "target_library"),
        (truths.library_data + 3, "library_data"),
        (truths.library_bss + 4_000_000, "library_bss"),
        (truths.library_rodata + 3, "library_rodata"),
        (truths.library_relro, "library_relro"),
    ):
        symbol = process.symbol_at(address)
        assert symbol is not None
        assert symbol.name == name
        assert symbol.object.endswith("libtarget.so")
    assert str(process.symbol_at(truths.library_data + 3)) == "library_data+0x3"


def test_libc(target: Target) -> None:
    process = procmem.Process(target.pid)
    (libc,) = [
        live
        for live in process.objects()
        if any(start <= target.truths.libc_text < end for start, end in live.pieces)
    ]
    names = symbols_of(libc.path, "-D")  # type: ignore[arg-type]
    for wanted in ("malloc", "printf", "stdout", "environ"):
        (value,) = [v for v, each in names.items() if wanted in {name for name, _ in each}]
        symbol = process.symbol_at(libc.bias + value)
        assert symbol is not None
        assert symbol.offset == 0
        # Without a debug file the names are those of nm -D; with one there are more.
        assert symbol.name in {name for name, _ in names[value]} or symbol.name.startswith("_")


def test_the_vdso(target: Target) -> None:
    if not target.truths.vdso:
        pytest.skip("no vdso")
    process = procmem.Process(target.pid)
    region = process.region_at(target.truths.vdso)
    assert region is not None
    found = {
        str(symbol.name)
        for address in range(region.start, region.end, 16)
        if (symbol := process.symbol_at(address))
    }
    assert any("clock_gettime" in name for name in found)


def test_memory_that_became_anothers(target: Target, variant: Build) -> None:
    target.exec(variant("big"))
    process = procmem.Process(target.pid)
    address = target.truths.bss + 4_000_000
    before = process.symbol_at(address)
    assert before is not None
    assert before.name == "target_bss"
    target.exec(variant("no-pie"))
    after = process.symbol_at(address)
    assert after is None or after.address != before.address


def test_without_procmap_query(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = procmem.Process(target.pid).symbol_at(target.truths.main)

    def refused(*_: object) -> bool:
        raise LookupError

    monkeypatch.setattr(Queries, "ask", refused)
    assert procmem.Process(target.pid).symbol_at(target.truths.main) == wanted


def test_a_process_of_another_user(start: Start, variant: Build, is_root: bool) -> None:
    if not is_root:
        with pytest.raises(procmem.AccessDenied):
            procmem.Process(1).symbol_at(4096)
        return
    target = start(variant("big"), user=NOBODY)
    code = "import sys, procmem; print(procmem.Process(int(sys.argv[1])).symbol_at({}))"
    done = machine.as_nobody(code.format(target.truths.data + 5), target.pid)
    assert done.stdout == "target_data+0x5\n", done.stderr


def test_an_executable_that_is_deleted(tmp_path: Path, variant: Build) -> None:
    binary = tmp_path / "program"
    shutil.copy(variant("big"), binary)
    with Target(binary) as target:
        binary.unlink()
        symbol = procmem.Process(target.pid).symbol_at(target.truths.main)
        assert symbol is not None
        assert (symbol.name, symbol.offset) == ("hello", 0)
        assert symbol.source_line


# ---- lines -----------------------------------------------------------------------


def by_addr2line(binary: Path, values: list[int]) -> list[str | None]:
    lines = tool("addr2line", "-e", binary, *(f"{value:#x}" for value in values)).splitlines()
    assert len(lines) == len(values)
    return [
        None if line.startswith("??") or line.endswith(":?") else line.partition(" (disc")[0]
        for line in lines
    ]


def normal(line: str | None) -> str | None:
    return None if line is None else os.path.normpath(line)


def check_lines(target: Target, binary: Path, count: int = 300) -> None:
    process = procmem.Process(target.pid)
    bias = bias_of(target)
    with open_elf(binary) as file:
        (text,) = [section for section in file.sections if section.name == ".text"]
    values = random.Random(3).sample(
        range(text.sh_addr, text.sh_addr + text.sh_size), min(count, text.sh_size)
    )
    wanted = by_addr2line(binary, values)
    told = []
    finder = SymbolFinder(process.files)
    for value in values:
        place = finder.place(bias + value, "/nonexistent")
        assert place is not None
        told.append(place.source_line)
    assert list(map(normal, told)) == list(map(normal, wanted))
    assert sum(line is not None for line in told) > count // 3


@pytest.mark.parametrize("name", ["plain", "no-pie", "noseparate-code"])
def test_addr2line_says_the_same(start: Start, variant: Build, name: str) -> None:
    binary = variant(name)
    check_lines(start(binary), binary)


@pytest.mark.parametrize(
    "flags",
    [
        ["-gdwarf-2"],
        ["-gdwarf-3"],
        ["-gdwarf-4"],
        ["-gdwarf-5"],
        ["-g", "-gz"],
        ["-g", "-ffunction-sections"],
        ["-O3", "-g"],
    ],
    ids=" ".join,
)
def test_every_dwarf(tmp_path: Path, target_binary: Path, flags: list[str]) -> None:
    binary = build_target(tmp_path, *flags)
    with Target(binary) as target:
        check_lines(target, binary)


def build_target(place: Path, *flags: str) -> Path:
    binary = place / "program"
    sizes = [f"-D{name}_BYTES=65536" for name in ("DATA", "BSS", "RODATA")]
    tool("gcc", "-std=gnu11", "-O1", *flags, "-pthread", *sizes, TARGETS / "target.c", "-o", binary)
    return binary


def test_units_are_found_without_aranges(tmp_path: Path, variant: Build) -> None:
    binary = tmp_path / "program"
    tool("objcopy", "--remove-section", ".debug_aranges", variant("plain"), binary)
    with Target(binary) as target:
        check_lines(target, binary)


def test_no_debug_information(start: Start, variant: Build) -> None:
    target = start(variant("stripped"))
    process = procmem.Process(target.pid)
    place = SymbolFinder(process.files).place(target.truths.main, "/nonexistent")
    assert place is not None
    assert (place.section, place.symbol, place.source_line) == (".text", None, None)


# ---- separate debug files ----------------------------------------------------------


def split(whole: Path, place: Path, *, link: str = "program.debug") -> tuple[Path, Path]:
    """A stripped copy and its debug file."""
    binary, debug = place / "program", place / link
    tool("objcopy", "--only-keep-debug", whole, debug)
    tool("objcopy", "--strip-all", f"--add-gnu-debuglink={debug}", whole, binary)
    return binary, debug


@pytest.mark.parametrize("where", ["beside", ".debug", "root"])
def test_a_debug_link(tmp_path: Path, variant: Build, where: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    binary, debug = split(variant("big"), folder)
    root = tmp_path / "debug"
    place = {
        "beside": folder,
        ".debug": folder / ".debug",
        "root": root / folder.relative_to("/"),
    }[where]
    place.mkdir(parents=True, exist_ok=True)
    debug.rename(place / debug.name)
    with Target(binary) as target:
        told = procmem.Process(target.pid).symbol_at(target.truths.main + 4, debug_root=str(root))
        assert told is not None
        assert str(told) == "hello+0x4"
        assert told.source_line
        assert "target.c:" in told.source_line


def test_a_debug_link_with_another_checksum(tmp_path: Path, variant: Build) -> None:
    binary, debug = split(variant("big"), tmp_path)
    with open(debug, "ab") as file:
        file.write(b"\0")
    with Target(binary) as target:
        assert procmem.Process(target.pid).symbol_at(target.truths.main) is None


def test_a_build_id_directory(tmp_path: Path, variant: Build) -> None:
    binary, debug = split(variant("big"), tmp_path)
    with open_elf(binary) as file:
        name = build_id(file).hex()
    place = tmp_path / "debug" / ".build-id" / name[:2]
    place.mkdir(parents=True)
    debug.rename(place / f"{name[2:]}.debug")
    with Target(binary) as target:
        process = procmem.Process(target.pid)
        assert process.symbol_at(target.truths.main) is None
        told = process.symbol_at(target.truths.main, debug_root=str(tmp_path / "debug"))
        assert told is not None
        assert told.name == "hello"
        assert told.source_line
        # Another file of that name does not count.
        shutil.copy(variant("plain"), place / f"{name[2:]}.debug")
        procmem.process.symbols._kept.clear()
        process.close()
        assert process.symbol_at(target.truths.main, debug_root=str(tmp_path / "debug")) is None


# ---- damage --------------------------------------------------------------------------


def test_damaged_debug_information_is_an_elf_error(tmp_path: Path, variant: Build) -> None:
    whole = variant("plain").read_bytes()
    with open_elf(variant("plain")) as file:
        parts = [
            (section.sh_offset, section.sh_size)
            for section in file.sections
            if section.name.startswith(".debug") or section.name in (".symtab", ".strtab")
        ]
        (main_at,) = [value for value, names in symbols_of(variant("plain")).items()
                      if ("main" in {name for name, _ in names})]  # fmt: skip
    chance = random.Random(5)
    told = failed = 0
    path = tmp_path / "damaged"
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 20))):
            start, size = chance.choice(parts)
            data[start + chance.randrange(size)] = chance.randrange(256)
        if chance.random() < 0.2:
            start, size = chance.choice(parts)
            data[start : start + 64] = b"\xff" * 64
        path.write_bytes(data)
        try:
            with open_elf(path) as file:
                SymbolTable([file]).find(main_at)
                Lines(file).at(main_at)
            told += 1
        except procmem.ElfError as error:
            assert error.path == str(path)
            failed += 1
    assert told
    assert told + failed == 60


def test_symbol_tables_made_by_hand(tmp_path: Path) -> None:
    import struct

    strings = b"\0outer\0inner\0label\0_alias\0alias\0absent\0"
    at = {name: strings.index(b"\0" + name + b"\0") + 1 for name in strings.split(b"\0") if name}

    def symbol(name: bytes, value: int, size: int, info: int = 0x12, index: int = 1) -> bytes:
        return struct.pack("<IBBHQQ", at[name], info, 0, index, value, size)

    table = bytes(24) + b"".join(
        [
            symbol(b"outer", 0x1000, 0x100),
            symbol(b"inner", 0x1020, 0x10, 0x02),
            symbol(b"label", 0x1180, 0, 0x00),
            symbol(b"_alias", 0x1200, 8),
            symbol(b"alias", 0x1200, 8),
            symbol(b"absent", 0x1300, 8, 0x12, 0),
            struct.pack("<IBBHQQ", 1 << 30, 0x12, 0, 1, 0x1400, 8),
        ]
    )
    path = tmp_path / "made"
    text = Section(".text", flags=6, data=bytes(0x500), addr=0x1000)
    path.write_bytes(
        elf([text, Section(".symtab", 2, data=table, link=3, entsize=24),
             Section(".strtab", 3, data=strings)])
    )  # fmt: skip
    with open_elf(path) as file:
        known = SymbolTable([file])
    assert known.find(0x0FFF) is None
    assert known.find(0x1000) == ("outer", 0x1000, 0x100)
    assert known.find(0x1025) == ("inner", 0x1020, 0x10)
    assert known.find(0x1030) == ("outer", 0x1000, 0x100)
    assert known.find(0x1100) is None
    assert known.find(0x1190) == ("label", 0x1180, 0)
    assert known.find(0x1204) == ("alias", 0x1200, 8)
    assert known.find(0x1304) is None
    assert known.find(0x1404) is None
    assert known.section_at(0x1500) is None
    assert known.section_at(0x14FF) == (0x1000, 0x1500, ".text")


@pytest.mark.parametrize("tables", [True, False], ids=["unwind tables", "none"])
def test_what_follows_a_symbol_without_a_size(tmp_path: Path, tables: bool) -> None:
    """A stripped library: .dynsym has an assembly function, the static ones behind it are gone."""
    (tmp_path / "s.S").write_text(
        ".text\n.globl entry\n.type entry, @function\nentry:\n nop\n nop\n nop\n nop\n"
        '.section .note.GNU-stack,"",%progbits\n'
    )
    (tmp_path / "l.c").write_text(
        "static __attribute__((noinline, used)) int one(int x) { return x * 3; }\n"
        "static __attribute__((noinline, used)) int two(int x) { return x * 5; }\n"
        "int shown(int x) { return one(x) + two(x); }\n"
    )
    flag = "" if tables else "no-"
    library = tmp_path / "lib.so"
    tool("gcc", "-shared", "-fPIC", "-O1", f"-f{flag}asynchronous-unwind-tables",
         f"-f{flag}unwind-tables", "-nostdlib", tmp_path / "s.S", tmp_path / "l.c",
         "-o", library)  # fmt: skip
    values = {row.split()[-1]: int(row.split()[0], 16) for row in tool("nm", library).splitlines()}
    tool("strip", library)
    with open_elf(library) as file:
        table = SymbolTable([file])
    entry = values["entry"]
    assert table.find(entry) == ("entry", entry, 0)
    assert table.find(entry + 2) == ("entry", entry, 0)
    for name in ("one", "two"):
        found = table.find(values[name])
        assert found == (None if tables else ("entry", entry, 0))
    shown = table.find(values["shown"] + 1)
    assert shown is not None
    assert shown[0] == "shown"


def test_a_guess_is_marked(tmp_path: Path) -> None:
    source, binary = tmp_path / "made.c", tmp_path / "made"
    source.write_text(
        "#include <stdio.h>\n#include <unistd.h>\nextern char entry[];\n"
        '__asm__(".text\\n.globl entry\\nentry: .fill 16, 1, 0\\n");\n'
        'int main(void) { printf("%p\\n", (void *)entry); fflush(stdout); for (;;) pause(); }\n'
    )
    tool("gcc", source, "-o", binary)
    with subprocess.Popen([binary], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            entry = int(child.stdout.readline(), 16)
            process = procmem.Process(child.pid)
            exact, guess = process.symbol_at(entry), process.symbol_at(entry + 4)
            assert exact is not None
            assert (str(exact), exact.guess) == ("entry", False)
            assert guess is not None
            assert (str(guess), guess.guess, guess.size) == ("entry+0x4?", True, 0)
            done = subprocess.run(
                [sys.executable, "-m", "procmem", "query", f"{child.pid}", f"{entry + 4:x}"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert re.search(r"^symbol +entry\+0x4\?$", done.stdout, re.MULTILINE)
            done = subprocess.run(
                [sys.executable, "-m", "procmem", "query", f"{child.pid}", f"{entry + 4:x}",
                 "--json"],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            (told,) = json.loads(done.stdout)
            assert (told["symbol"], told["symbol_guess"], told["left_out"]) == ("entry", True, [])
        finally:
            child.kill()


# ---- the command ------------------------------------------------------------------------


def test_a_guess_is_corrected_by_headers(start: Start, variant: Build) -> None:
    assert VARIANTS["big"].bss > PAGE
    target = start(variant("big"))
    process = procmem.Process(target.pid)
    kinds = {section.region.kind_evidence for section in process.sections() if section.region}
    assert kinds <= {"elf", "name"}
