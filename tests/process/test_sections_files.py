"""The sections of files that are not what they were: gone, replaced, cut, or out of reach."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.cli import main
from procmem.elf import open_elf
from procmem.elf.notes import build_id
from tests.support.elves import Section, Segment, elf
from tests.support.objects import named, objects_of, own
from tests.support.specimens import in_memory
from tests.support.targets import PAGE, VARIANTS, Target, start_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from procmem.elf.loaded import LiveObject

    Build = Callable[[str], Path]

HOLDER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char byte;
    if (!dlopen(argv[1], RTLD_NOW) ||
        (argc == 3 && !dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW)))
        return puts(dlerror()), 1;
    if (argc == 4 && (chroot(argv[3]) || chdir("/")))
        return puts("chroot"), 1;
    puts("ready");
    fflush(stdout);
    return read(0, &byte, 1) < 0;
}
"""


@pytest.fixture(scope="session")
def holder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler")
    place = tmp_path_factory.mktemp("holder")
    (place / "holder.c").write_text(HOLDER)
    subprocess.run(
        ["gcc", place / "holder.c", "-o", place / "holder", "-ldl"], check=True, capture_output=True
    )
    return place / "holder"


@contextlib.contextmanager
def held(holder: Path, library: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has loaded a library."""
    with subprocess.Popen(
        [holder, library, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


@pytest.fixture
def library(tmp_path: Path, variant: Build) -> Path:
    """A copy of the library with known parts."""
    made = tmp_path / "libcopy.so"
    shutil.copy(variant("library").parent / "libtarget.so", made)
    return made


def of_path(objects: list[LiveObject], path: Path) -> LiveObject:
    (found,) = [live for live in objects if live.path == os.fspath(path)]
    return found


@pytest.mark.parametrize("then", ["delete", "replace"])
def test_an_executable_that_is_gone(tmp_path: Path, variant: Build, then: str) -> None:
    # A user reaches his own through /proc/PID/exe.
    with start_copy(tmp_path / "program", variant("big"), then=then) as target:  # type: ignore[arg-type]
        live = own(target)
        assert live.path == os.fspath(tmp_path / "program")
        assert live.state == {"delete": "deleted", "replace": "replaced"}[then]
        assert live.owner is procmem.Owner.EXECUTABLE
        assert named(live, ".data").size >= VARIANTS["big"].data
        if then == "replace":
            assert live.file_build_id == live.build_id
        else:
            assert live.file_build_id is None


def test_a_library_that_is_deleted(
    holder: Path, library: Path, is_root: bool, tmp_path: Path
) -> None:
    with held(holder, library) as process:
        before = of_path(objects_of(process), library)
        assert before.state == "same"
        library.unlink()
        live = of_path(objects_of(process), library)
        assert (live.state, live.file_build_id) == ("deleted", None)
        if live.build_id is not None:
            assert live.build_id == before.build_id
        if is_root:
            assert [s[2:7] for s in live.sections] == [s[2:7] for s in before.sections] != []
        else:
            assert live.sections == []
            assert "root" in live.reason
            assert live.resident == before.resident - bss_of(before)


def bss_of(live: LiveObject) -> int:
    """Resident bytes outside of the file's own regions."""
    return (
        sum(
            section.resident
            for section in live.sections
            if section.region is not None and section.region.pathname is None
        )
        // PAGE
        * PAGE
    )


def test_a_library_that_is_replaced_by_another(
    holder: Path, library: Path, variant: Build, is_root: bool
) -> None:
    other = variant("big")
    with held(holder, library) as process:
        before = of_path(objects_of(process), library)
        new = library.with_name("new")
        shutil.copy(other, new)
        new.rename(library)
        live = of_path(objects_of(process), library)
        assert live.state == "replaced"
        assert live.build_id in (before.build_id, None)
        assert live.file_build_id == id_of(other)
        assert live.file_build_id != before.build_id
        assert [s.name for s in live.sections] == ([s.name for s in before.sections] * is_root)


def id_of(path: Path) -> str:
    with open_elf(path) as elf:
        return build_id(elf).hex()


@pytest.mark.parametrize("left", [0, 1, 40, 100, 4096, 8192, 100_000])
def test_a_library_that_is_cut_short(holder: Path, library: Path, left: int) -> None:
    with held(holder, library) as process:
        os.truncate(library, left)
        live = of_path(objects_of(process), library)
        assert (live.state, live.sections) == ("unreadable", [])
        assert live.reason
        assert live.bridge() == []
        json.dumps(live.to_record())


@pytest.mark.parametrize("offset", [0, 4, 5, 16, 32, 40, 54, 56, 58, 60, 62, 64, 80, 96, 104])
def test_a_library_whose_headers_are_damaged(holder: Path, library: Path, offset: int) -> None:
    with held(holder, library) as process:
        with open(library, "r+b") as file:
            file.seek(offset)
            file.write(b"\xff" * 8)
        for live in objects_of(process):
            json.dumps(live.to_record())
            assert live.state in ("same", "unreadable", "kernel")


def test_a_library_that_is_loaded_twice(holder: Path, library: Path) -> None:
    with held(holder, library, "twice") as process:
        both = [live for live in objects_of(process) if live.path == os.fspath(library)]
        assert len(both) == 2
        assert both[0].bias != both[1].bias
        assert both[0].size == both[1].size
        assert [live.bridge()[-1].bytes for live in both] == [0, 0]


@pytest.mark.parametrize("name", ["libcopy.so", "lib (deleted)"])
@pytest.mark.parametrize("jail", [".", "jail"])
def test_a_process_that_has_changed_its_root(
    holder: Path, library: Path, jail: str, name: str, is_root: bool
) -> None:
    if not is_root:
        pytest.skip("only root may chroot(2)")
    # maps shows paths from the reader's root, wherever the process's own is.
    library = library.rename(library.with_name(name))
    place = library.parent / jail
    place.mkdir(exist_ok=True)
    with held(holder, library, "chroot", os.fspath(place)) as process:
        live = of_path(objects_of(process), library)
        assert (live.state, live.reason, live.file_build_id) == ("same", "", live.build_id)
        library.unlink()
        assert of_path(objects_of(process), library).state == "deleted"


def small32() -> bytes:
    """A program for i386 that waits: pause(2), for ever."""
    code, data = b"\xb8\x1d\x00\x00\x00\xcd\x80\xeb\xf7", b"d" * 100
    start = 52 + 2 * 32
    text_at, data_at = 0x8048000 + start, 0x8049000 + start + len(code)
    return elf(
        [
            Section(".text", 1, 6, code, addr=text_at),
            Section(".data", 1, 3, data, addr=data_at),
            Section(".bss", 8, 3, addr=data_at + len(data), fields={"size": 10_000}),
        ],
        [
            Segment(1, 5, 0, 0x8048000, start + len(code), start + len(code), PAGE),
            Segment(1, 6, start + len(code), data_at, len(data), len(data) + 10_000, PAGE),
        ],
        bits=32, machine=3, type=2, entry=text_at,
    )  # fmt: skip


def test_a_process_of_32_bits(tmp_path: Path) -> None:
    path = tmp_path / "small32"
    path.write_bytes(small32())
    path.chmod(0o755)
    try:
        process = subprocess.Popen([path])
    except OSError as error:
        pytest.skip(f"the kernel runs no programs of i386: {error.strerror}")
    with process:
        try:
            # Popen() knows that execve(2) has begun; asleep, the program has its segments.
            while ") S " not in Path(f"/proc/{process.pid}/stat").read_text():
                time.sleep(0.01)
            with in_memory(path):
                live = of_path(objects_of(process), path)
            assert live.state == "same"
            assert [(s.name, s.counts_as, s.size) for s in live.sections] == [
                (".text", "text", 9), (".data", "data", 100), (".bss", "bss", 10_000),
            ]  # fmt: skip
            assert named(live, ".text").resident == 9
            assert named(live, ".bss").region is not None
            assert live.bridge()[-1].bytes == 0
            place = procmem.Process(process.pid).symbol_at(named(live, ".text").address)
            assert place is None
            assert sum(r.size for r in live.regions) == live.size == 4 * PAGE
        finally:
            process.kill()


def test_a_fifo_under_the_path_is_not_waited_for(holder: Path, library: Path) -> None:
    with held(holder, library) as process:
        library.unlink()
        os.mkfifo(library)
        live = of_path(objects_of(process), library)
        assert (live.state, live.file_build_id) == ("replaced", None)


def test_a_file_that_is_no_elf_file_but_runs(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_bytes(b"\xcc" * PAGE)
    target.map_file(path, 1, "r-xp")
    live = of_path(objects_of(target), path)
    assert (live.state, live.reason) == ("unreadable", "not an ELF file")


def test_the_command_says_what_it_could_not_read(
    holder: Path, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(holder, library) as process:
        os.truncate(library, 10)
        for option in ("--totals", "--bridge", "--json"):
            assert main(["sections", str(process.pid), option]) == 0
            capsys.readouterr()
        assert main(["sections", str(process.pid)]) == 0
        out = capsys.readouterr().out
    assert "libcopy.so  (library, " in out
    assert "no sections: " in out
    assert main(["sections", str(2**22 + 1)]) == 1
    with pytest.raises(SystemExit):
        main(["sections", "self", "--sort", "size"])
