"""Separate debug files, alternate files of dwz, and compressed sections."""

from __future__ import annotations

import builtins
import os
import shutil
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.elf import limits
from procmem.elf.debug import open_alternate, open_debug_file
from procmem.elf.headers import open_elf
from procmem.elf.lines import Lines
from tests.support.dwarf import CODE, C, build, check, tool
from tests.support.elves import Section, elf
from tests.support.hostile_elf import (
    PROGBITS,
    Added,
    add,
    procmem_command,
    running,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_debug_link_to_terabytes(program: Path, tmp_path: Path) -> None:
    link: Added = (".gnu_debuglink", PROGBITS, 0, b"huge.dbg\0\0\0\0\1\2\3\4", 0, 0, 0, 0)
    add(program, tmp_path / "linked", [link])
    shutil.copy(program, tmp_path / "huge.dbg")
    try:
        os.truncate(tmp_path / "huge.dbg", 1 << 42)
    except OSError as error:
        pytest.skip(f"no sparse file of 4 TiB here: {error.strerror}")
    with running(tmp_path / "linked") as (pid, address):
        # Which would take hours to read.
        done = procmem_command("query", str(pid), address)
        assert "work" in done.stdout
        assert "4 TiB is left out" in done.stdout
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


@pytest.mark.parametrize(
    "section, words",
    [
        (compressed(7, b"\0" * 40, 100), "compressed in an unknown way"),
        (compressed(1, b"\0" * 40, 100), "can't be unpacked"),
        (compressed(1, zlib.compress(bytes(200)), 100), "unpacks to another size"),
        (compressed(1, zlib.compress(bytes(50)), 100), "unpacks to another size"),
        (compressed(1, zlib.compress(bytes(50)), 1 << 40), "1 TiB, at most 512 MiB"),
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
