"""The type of a program, its hardening, and where its size in memory comes from."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from procmem.elf import size
from procmem.elf.programs import program
from tests.support.elves import Section, Segment, elf

if TYPE_CHECKING:
    from pathlib import Path


SOURCE = """
#include <stdio.h>
__thread int each; __thread int filled = 4;
const int table[100] = {1}; int zeros[1000]; int ones[50] = {1};
__attribute__((section("odd_place"))) int odd = 3;
int main(void) { return printf("%d", each + filled + table[2] + zeros[1] + odd + ones[1]); }
"""


def compiled(folder: Path, *flags: str) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("no gcc here")
    source, made = folder / "program.c", folder / "made"
    source.write_text(SOURCE)
    done = subprocess.run(
        ["gcc", source, "-o", made, *flags], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this toolchain can't build with {' '.join(flags)}")
    return made


@pytest.mark.parametrize(
    "flags, kind, relro",
    [
        (("-pie", "-fPIE", "-Wl,-z,now"), "dynamic PIE", "full"),
        (("-no-pie", "-Wl,-z,lazy"), "dynamic executable", "partial"),
        (("-static", "-no-pie"), "static executable", None),
        (("-static-pie", "-fPIE"), "static PIE", None),
        (("-shared", "-fPIC", "-Wl,-z,lazy", "-Wl,-z,norelro"), "shared object", "none"),
        (("-c",), "object", "none"),
    ],
)
def test_the_programs_type(
    tmp_path: Path, flags: tuple[str, ...], kind: str, relro: str | None
) -> None:
    path = compiled(tmp_path, *flags, *(() if "-c" in flags else ("-Wl,--build-id",)))
    found = program(path)
    assert found.kind == kind
    assert relro is None or found.relro == relro
    assert (found.interpreter is not None) == kind.startswith("dynamic")
    if kind == "object":
        assert found.bridge is None
        return
    assert found.nx is True
    assert found.build_id is not None
    assert len(found.build_id) == 40
    assert found.bridge is not None
    assert found.bridge.remainder == 0
    assert found.bridge.start == size(path).total
    steps = {step.what.partition(":")[0]: step.size for step in found.bridge.steps}
    assert steps[".tbss"] <= -4


def test_a_stack_that_can_run_code(tmp_path: Path) -> None:
    assert program(compiled(tmp_path, "-z", "execstack")).nx is False


def test_debug_files(tmp_path: Path) -> None:
    path = compiled(tmp_path, "-g")
    if not shutil.which("objcopy"):
        pytest.skip("no objcopy here")
    debug = tmp_path / "made.debug"
    subprocess.run(["objcopy", "--only-keep-debug", path, debug], check=True)
    assert program(debug).kind == "debug file"
    assert program(debug).build_id == program(path).build_id
    # Sections without contents are told by their flags, as with the program itself.
    assert size(debug).text == size(path).text


def test_the_bridge_of_odd_segments(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(
        elf(
            [
                Section(".text", 1, 6, b"a" * 100, addr=0x1100),
                Section(".again", 1, 2, b"a" * 50, addr=0x1120),
                Section(".outside", 1, 2, b"a" * 10, addr=0x90000),
                Section(".tbss", 8, 0x403, b"a" * 30, addr=0x2000),
                Section(".bss", 8, 3, b"a" * 40, addr=0x1FF0),
            ],
            [Segment(1, 5, 0, 0x1000, 0x200, 0x200), Segment(1, 6, 0, 0x1FF0, 0, 0x40)],
            type=2,
        )
    )
    bridge = program(path, page_size=4096).bridge
    assert bridge is not None
    assert (bridge.start, bridge.occupied, bridge.remainder) == (230, 0x2000, 0)
