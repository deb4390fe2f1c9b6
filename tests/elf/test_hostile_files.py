"""Files that claim terabytes, tables that claim gigabytes, names that lead to no regular file.

Each command runs in a process of its own, with 2 GiB of address space and little time.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf import limits
from procmem.elf.debug import open_debug_file
from procmem.elf.headers import open_elf
from procmem.elf.source import open_source
from procmem.elf.symbols import SymbolTable
from procmem.recording.recording import Recording
from procmem.snapshots import load
from procmem.snapshots.saved import FRAME, MAGIC
from tests.support.elves import Section, elf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB, GIB = 1 << 20, 1 << 30
MEMORY = 2 * GIB
SECONDS = 60
"""Far more than any of them takes; a machine may be busy."""

SHDR = struct.Struct("<IIQQQQIIQQ")
SYMTAB, STRTAB, PROGBITS, COMPRESSED = 2, 3, 1, 0x800

SOURCE = """
#include <stdio.h>
#include <unistd.h>
int work(int x) { return x + 1; }
int main(void) { printf("%p\\n", (void *)work); fflush(stdout); for (;;) pause(); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.byteorder != "little" or struct.calcsize("P") != 8:
        pytest.skip("sections are added to a little-endian ELF64 file")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    place = tmp_path_factory.mktemp("hostile")
    (place / "v.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O0", "-no-pie", "v.c", "-o", "v"], cwd=place, check=True)
    return place / "v"


Added = tuple[str, int, int, "bytes | None", int, int, "int | str", int]
"""Name, type, flags, contents or None, offset and size if None, link, entry size."""


def add(source: Path, to: Path, sections: list[Added], size: int = 0) -> None:
    """Adds sections to an ELF file, whatever they claim."""
    data = bytearray(source.read_bytes())
    (offset,) = struct.unpack_from("<Q", data, 40)
    count, names_at = struct.unpack_from("<HH", data, 60)
    table: list[list[int | str]] = [
        list(SHDR.unpack_from(data, offset + 64 * i)) for i in range(count)
    ]
    strings = bytearray(data[table[names_at][4] : table[names_at][4] + table[names_at][5]])
    numbers: dict[str, int] = {}
    for name, kind, flags, contents, at, claimed, link, entsize in sections:
        start, length = at, claimed
        if contents is not None:
            data += bytes(-len(data) % 16)
            start, length = len(data), len(contents)
            data += contents
        numbers[name] = len(table)
        table.append([len(strings), kind, flags, 0, start, length, link, 0, 8, entsize])
        strings += name.encode() + b"\0"
    for row in table:
        row[6] = numbers[row[6]] if isinstance(row[6], str) else row[6]
    table[names_at][4:6] = [len(data), len(strings)]
    data += strings + bytes(-len(strings) % 16)
    struct.pack_into("<Q", data, 40, len(data))
    struct.pack_into("<H", data, 60, len(table))
    for row in table:
        data += SHDR.pack(*row)
    to.write_bytes(data)
    to.chmod(0o755)
    if size:
        try:
            os.truncate(to, size)
        except OSError as error:
            pytest.skip(f"no sparse file of {size} bytes here: {error.strerror}")


@contextmanager
def running(binary: Path) -> Iterator[tuple[int, str]]:
    """A process of a program, and the address that it prints."""
    with subprocess.Popen([binary], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child.pid, child.stdout.readline().strip()
        finally:
            child.kill()


def procmem_command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command under its limits; it must end by itself and without a traceback."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    done = subprocess.run(
        [sys.executable, "-m", "procmem", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        preexec_fn=limit,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1, 2, 3), done.stderr
    return done


def bomb(claimed: int, real: int = 64 * MIB) -> bytes:
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(MIB)) for _ in range(real >> 20)) + packer.flush()
    return struct.pack("<IIQQ", 1, 0, claimed, 1) + packed


EMPTY = bytes(48)


def tables(count: int) -> list[Added]:
    return [(f".symtab{i}", SYMTAB, 0, EMPTY, 0, 0, ".strings", 24) for i in range(count)]


def sparse(name: str, size: int, kind: int = PROGBITS) -> Added:
    return (name, kind, 0, None, 32 * MIB, size, 0, 0)


def packed(name: str, contents: bytes) -> Added:
    return (name, PROGBITS, COMPRESSED, contents, 0, 0, 0, 0)


DEBUG = (".debug_info", ".debug_abbrev", ".debug_line")

HOSTILE: dict[str, tuple[list[Added], int, str]] = {
    "symbols": (
        [(".symtab", SYMTAB, 0, None, 64 * MIB, 1500 * MIB // 24 * 24, ".strings", 24),
         sparse(".strings", 1024, STRTAB)],
        4 * GIB, "65,536,000 symbols",
    ),
    "names": (
        [(".symtab", SYMTAB, 0, struct.pack("<IBBHQQ", 1, 18, 0, 1, 4096, 9) * 4, 0, 0,
          ".strings", 24),
         sparse(".strings", 3 * GIB, STRTAB)],
        4 * GIB, "3 GiB of names",
    ),
    "tables": ([*tables(300), sparse(".strings", 200 * MIB, STRTAB)], GIB, "302 tables of symbols"),
    "bomb": ([packed(name, bomb(4 * GIB)) for name in DEBUG], 0, "at most 512 MiB are"),
    "liar": ([packed(name, bomb(MIB)) for name in DEBUG], 0, "unpacks to another size"),
    "debug": ([sparse(name, 3 * GIB) for name in DEBUG], 4 * GIB, ""),
    "strings": (
        [(".debug_line", PROGBITS, 0, bytes(16), 0, 0, 0, 0),
         (".debug_info", PROGBITS, 0, struct.pack("<IHIB", 1 << 31, 4, 0, 8) + b"\1", 0, 0, 0, 0),
         sparse(".debug_abbrev", 3 * GIB)],
        4 * GIB, "can't be read",
    ),
    "relocations": (
        [(".rela.x", 4, 0, None, 32 * MIB, 2 * GIB, ".dynsym2", 24),
         (".dynsym2", 11, 0, None, 32 * MIB, 2 * GIB // 24 * 24, ".strings", 24),
         sparse(".strings", 1024, STRTAB),
         (".plt.x", PROGBITS, 6, None, 32 * MIB, 2 * GIB, 0, 16)],
        4 * GIB, "symbols, 2,097",
    ),
    "altlink": (
        [(".gnu_debugaltlink", PROGBITS, 0, b"huge.dbg\0" + bytes(20), 0, 0, 0, 0),
         (".debug_sup", PROGBITS, 0, b"\5\0\0" + b"x" * 8000, 0, 0, 0, 0)],
        0, "",
    ),
    "frames": ([sparse(".eh_frame_hdr", 3 * GIB)], 4 * GIB, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_file_claims_is_bounded(program: Path, tmp_path: Path, name: str) -> None:
    sections, size, words = HOSTILE[name]
    binary = tmp_path / "hostile"
    add(program, binary, sections, size)
    with running(binary) as (pid, address):
        done = procmem_command("query", str(pid), address)
        # What could be read is there, what was left out is said.
        assert "work" in done.stdout or words in done.stdout + done.stderr
        assert words in done.stdout + done.stderr
        for command in (
            ("sections", str(pid), "--totals"), ("maps", str(pid)), ("snapshot", str(pid)),
            ("size", binary),
        ):  # fmt: skip
            assert procmem_command(*command).returncode == 0


def test_a_debug_link_to_terabytes(program: Path, tmp_path: Path) -> None:
    link: Added = (".gnu_debuglink", PROGBITS, 0, b"huge.dbg\0\0\0\0\1\2\3\4", 0, 0, 0, 0)
    add(program, tmp_path / "linked", [link])
    shutil.copy(program, tmp_path / "huge.dbg")
    try:
        os.truncate(tmp_path / "huge.dbg", 1 << 42)
    except OSError as error:
        pytest.skip(f"no sparse file of 4 TiB here: {error.strerror}")
    with running(tmp_path / "linked") as (pid, address):
        started = time.monotonic()
        done = procmem_command("query", str(pid), address)
        assert time.monotonic() - started < 30
        assert "work" in done.stdout
        assert "4,096 GiB is left out" in done.stdout
        found = procmem.Process(pid).symbol_at(int(address, 16))
        assert found is not None
        assert found.name == "work"


def test_a_checksum_that_takes_too_long(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link: Added = (".gnu_debuglink", PROGBITS, 0, b"huge.dbg\0\0\0\0\1\2\3\4", 0, 0, 0, 0)
    add(program, tmp_path / "linked", [link])
    shutil.copy(program, tmp_path / "huge.dbg")
    monkeypatch.setattr(limits, "LINKED_SECONDS", -1.0)
    left_out: list[str] = []
    with open_elf(tmp_path / "linked") as file:
        path = os.fsencode(tmp_path / "linked")
        assert open_debug_file(file, path, "/nonexistent", "", left_out) is None
    assert len(left_out) == 1
    assert "huge.dbg" in left_out[0]


def test_nothing_found_in_half_a_table_is_an_error(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SYMBOLS", 10)
    binary = tmp_path / "copy"
    shutil.copy(program, binary)
    with running(binary) as (pid, address):
        with pytest.raises(procmem.ElfError) as failed:
            procmem.Process(pid).symbol_at(int(address, 16))
        assert "at most 10 of one object are" in failed.value.reason
    procmem.process.symbols._kept.clear()


def many_sections(source: Path, to: Path, kind: int, flags: int) -> None:
    """A program with 250,000 sections more, by extended numbering; their names overlap."""
    data = bytearray(source.read_bytes())
    (offset,) = struct.unpack_from("<Q", data, 40)
    (count,) = struct.unpack_from("<H", data, 60)
    rows = [SHDR.unpack_from(data, offset + 64 * i) for i in range(count)]
    extra, strings = 250_000, b"a" * MIB
    start = len(data)
    data += strings
    named = ((i * 3 % MIB, kind, flags, 0x401000, 0x1000, 16) for i in range(extra))
    rows += [(*row, count + extra, 0, 1, 24) for row in named]
    rows.append((0, STRTAB, 0, 0, start, len(strings), 0, 0, 1, 0))
    rows[0] = (0, 0, 0, 0, 0, len(rows), len(rows) - 1, 0, 0, 0)
    struct.pack_into("<Q", data, 40, len(data))
    struct.pack_into("<HH", data, 60, 0, 0xFFFF)
    to.write_bytes(bytes(data) + b"".join(SHDR.pack(*row) for row in rows))
    to.chmod(0o755)


@pytest.mark.slow
@pytest.mark.parametrize("kind, flags", [(PROGBITS, 0), (PROGBITS, 6), (SYMTAB, 0), (4, 0)])
def test_a_quarter_of_a_million_sections(
    program: Path, tmp_path: Path, kind: int, flags: int
) -> None:
    binary = tmp_path / "many"
    many_sections(program, binary, kind, flags)
    with running(binary) as (pid, address):
        for words in (
            ("query", str(pid), address), ("sections", str(pid), "--totals"), ("maps", str(pid)),
            ("size", binary),
        ):  # fmt: skip
            procmem_command(*words)


def test_tables_that_share_names_read_them_once() -> None:
    strings = b"\0" + b"name\0"
    symbol = struct.pack("<IBBHQQ", 1, 18, 0, 1, 0x1000, 8)
    count = limits.SYMBOL_TABLES
    one = Section(".symtab", 2, data=symbol, link=1 + count, entsize=24)
    from procmem.elf.headers import ElfFile
    from procmem.elf.image import MemorySource

    data = elf([*[one] * count, Section(".strtab", 3, data=strings)])
    source = MemorySource(lambda at, size: data[at : at + size], 0, len(data), "made")
    table = SymbolTable([ElfFile(source)])
    assert len(table) == count
    assert table.memory < 300 * count + 2 * len(strings)
    assert not table.left_out


def test_a_thin_archive_of_one_large_file(program: Path, tmp_path: Path) -> None:
    """Each member costs as much as the file, and there may be 262,144 of them."""
    shutil.copy(program, tmp_path / "one")
    member = b"one/".ljust(16) + b"0".ljust(32) + b"16".ljust(10) + b"`\n"
    archive = tmp_path / "thin.a"
    archive.write_bytes(b"!<thin>\n" + member * 64)
    assert len(procmem.elf.sizes(archive)) == 64
    archive.write_bytes(b"!<thin>\n" + member * 200_000)
    with pytest.raises(procmem.ElfError, match="more than 64 times"):
        procmem.elf.sizes(archive)
    assert procmem_command("size", archive).returncode in (1, 2, 3)


# ---- no regular files --------------------------------------------------------------------


@pytest.fixture(params=["fifo", "directory", "socket", "device", "link to a fifo", "kcore"])
def irregular(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A name that leads to no regular file."""
    path = tmp_path / "irregular"
    with socket.socket(socket.AF_UNIX) as made:
        match request.param:
            case "fifo":
                os.mkfifo(path)
            case "directory":
                path.mkdir()
            case "socket":
                made.bind(os.fspath(path))
            case "device":
                path.symlink_to("/dev/zero")
            case "link to a fifo":
                os.mkfifo(tmp_path / "other")
                path.symlink_to("other")
            case "kcore":
                if not os.path.exists("/proc/kcore"):
                    pytest.skip("no /proc/kcore here")
                path.symlink_to("/proc/kcore")
        yield path


def test_no_command_waits_for_what_is_no_file(irregular: Path) -> None:
    for words in (
        ("size", irregular), ("diff", irregular, irregular), ("size", "-A", irregular),
    ):  # fmt: skip
        started = time.monotonic()
        done = procmem_command(*words)
        assert done.returncode == 1
        assert time.monotonic() - started < 30
    for call in (procmem.size, procmem.elf.sizes, procmem.elf.program, open_source):
        with pytest.raises((procmem.ElfError, PermissionError)):
            call(irregular)
    with pytest.raises((procmem.ProcmemError, PermissionError)):
        load(irregular)
    if not irregular.is_dir():
        with pytest.raises((procmem.ParseError, PermissionError)):
            Recording.load(irregular)


def test_files_that_the_kernel_makes_are_none() -> None:
    for path in ("/proc/self/status", "/proc/self/maps", "/proc/kallsyms"):
        if os.path.exists(path):
            with pytest.raises(procmem.ElfError, match="one that the kernel makes"):
                open_source(path)
    # What a link in /proc leads to is another matter.
    assert procmem.size("/proc/self/exe").total > 0


def test_nothing_is_opened_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a FIFO only by the time that it is opened."""
    path = tmp_path / "name"
    os.mkfifo(path)
    real = os.open
    opened = []

    def watched(name: object, flags: int, *rest: object, **named: object) -> int:
        opened.append((name, flags))
        return real(name, flags, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", watched)
    with pytest.raises(procmem.ElfError):
        open_source(path)
    with pytest.raises(procmem.ParseError):
        load(path)
    assert opened
    assert all(flags & os.O_PATH for _, flags in opened)


@pytest.mark.parametrize("where", ["debuglink", "build-id"])
def test_debug_files_that_are_none(
    program: Path, tmp_path: Path, irregular: Path, where: str
) -> None:
    binary, root = tmp_path / "linked", tmp_path / "root"
    link: Added = (".gnu_debuglink", PROGBITS, 0, b"irregular\0\0\0\1\2\3\4", 0, 0, 0, 0)
    add(program, binary, [link] if where == "debuglink" else [])
    with open_elf(binary) as file:
        name = procmem.elf.program(binary).build_id
        if where == "build-id":
            if name is None:
                pytest.skip("the linker makes no build-id")
            place = root / ".build-id" / name[:2] / f"{name[2:]}.debug"
            place.parent.mkdir(parents=True)
            place.symlink_to(irregular)
        left_out: list[str] = []
        assert open_debug_file(file, os.fsencode(binary), str(root), "", left_out) is None
    with running(binary) as (pid, address):
        done = procmem_command("query", str(pid), address, "--debug-root", root)
        assert "work" in done.stdout


# ---- saved snapshots -----------------------------------------------------------------------


def frame_of(head: bytes, planes: bytes = b"") -> bytes:
    content = zlib.compress(len(head).to_bytes(4, "little") + head + planes)
    return MAGIC + FRAME.pack(len(content), zlib.crc32(content)) + content


def test_saved_files_that_claim_gigabytes(tmp_path: Path, target_maps: bytes) -> None:
    path = tmp_path / "saved"
    path.write_bytes(MAGIC + FRAME.pack(0xFFFFFFFF, 0))
    os.truncate(path, 1 << 42)
    for call in (load, Recording.load):
        with pytest.raises(procmem.ParseError, match="more than the 512 MiB"):
            call(path)
    path.write_bytes(target_maps)
    os.truncate(path, 1 << 42)
    with pytest.raises(procmem.ParseError, match="more than the 512 MiB"):
        load(path)
    tree = tmp_path / "17"
    tree.mkdir()
    path.rename(tree / "maps")
    with pytest.raises(procmem.ParseError, match="too large"):
        load(tree)
    (tree / "maps").unlink()
    (tree / "maps").symlink_to("/dev/zero")
    with pytest.raises(procmem.ParseError, match="no ordinary file"):
        load(tree)


@pytest.fixture
def target_maps() -> bytes:
    return procmem.format_maps(procmem.Process().maps())


def test_saved_heads_of_another_shape(tmp_path: Path) -> None:
    import json

    whole = json.loads(procmem.Process().snapshot("maps").to_json())
    path = tmp_path / "saved"
    for place, odd in (
        (("faults", "minor"), "12"), (("faults", "major"), [1]), (("memory", "vsz"), 1.5),
        (("clock", "monotonic"), None), (("identity", "pid"), "1"), (("identity", "comm"), 7),
        (("identity", "cmdline"), [1]), (("kernel", "page_size"), 1 << 70),
        (("kernel", "features"), "abc"), (("moved",), 1), (("source",), None),
        (("unavailable",), {"x": 1}), (("threads",), [["a", "b", None]]),
        (("threads",), [[1, "b", "c"]]),
    ):  # fmt: skip
        damaged = json.loads(json.dumps(whole))
        inner = damaged
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = odd
        path.write_text(json.dumps(damaged))
        with pytest.raises(procmem.ParseError):
            load(path)
    path.write_text(json.dumps({**whole, "identity": None}))
    assert load(path).identity.pid is None
    path.write_text(json.dumps(whole))
    assert load(path).to_json() == json.dumps(whole)


def test_saved_columns_of_another_length(tmp_path: Path) -> None:
    import json

    from procmem.snapshots.saved import frame, unpacker

    snapshot = procmem.Process().snapshot("maps")
    start = len(MAGIC) + FRAME.size
    content = (MAGIC + frame(snapshot, quick=True))[start:]
    raw = unpacker(content)(content, 1 << 26)
    end = 4 + int.from_bytes(raw[:4], "little")
    path = tmp_path / "saved"
    for name, odd in (
        ("count", 1 << 40), ("count", -1), ("count", 3), ("stride", 1 << 40), ("stride", 0),
        ("strings", []), ("page_size", "x"), ("kinds", [[1]]), ("names", [[1 << 40, "x", False]]),
        ("constant", [[0]]), ("count", True),
    ):  # fmt: skip
        head = json.loads(raw[4:end])
        head["table"][name] = odd
        path.write_bytes(frame_of(json.dumps(head).encode(), raw[end:]))
        with pytest.raises(procmem.ParseError):
            load(path)
        with pytest.raises(procmem.ParseError):
            Recording.load(path)[0]
    path.write_bytes(frame_of(raw[4:end], raw[end:]))
    assert load(path).regions == snapshot.regions
