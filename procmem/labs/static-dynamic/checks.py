"""Checks of static-dynamic. Quiz answers are found with programs that this machine builds."""

import os
import subprocess
from typing import NamedTuple

import pytest

import procmem
from procmem.grade import PAGE, bss, libraries, not_possible, points, regions, verify, walk

WAITS = """
#include <stdio.h>
int main(void) { getchar(); return 0; }
"""


def waiting(submission, name):
    with submission.program([f"./{name}"]).run() as run:
        return run.pause(f"{name}, waiting")


@pytest.fixture(scope="module")
def dynamic(submission):
    return waiting(submission, "hello-dynamic")


@pytest.fixture(scope="module")
def static(submission):
    return waiting(submission, "hello-static")


@pytest.fixture(scope="module")
def late(submission):
    return walk(
        submission.program(["./late"]),
        "late, before dlopen",
        "late, the library loaded",
        "late, the library unloaded",
    )


def code_address(snapshot):
    return next(
        one.start for one in regions(snapshot, kind="text") if str(one.owner) == "executable"
    )


@points(
    1,
    "hello-dynamic maps the C library and the loader",
    hint="Link it without -static. `ldd hello-dynamic` names what it needs.",
)
def test_dynamic(dynamic):
    assert len(libraries(dynamic)) >= 2, "shared libraries, the loader among them"


@points(
    2,
    "hello-static maps no library at all",
    hint="Which option makes the linker copy the library's code into the program?",
)
def test_static(static):
    assert list(libraries(static)) == [], "shared libraries"


@points(
    1,
    "the code of the C library is in hello-static",
    hint="Compare `size hello-static hello-dynamic`.",
)
def test_static_text(submission):
    ours, theirs = (
        submission.program([f"./{name}"]).size.text for name in ("hello-static", "hello-dynamic")
    )
    assert ours > 20 * theirs, "text of hello-static, against 20 times that of hello-dynamic"


@points(
    1,
    "hello-static is at the same address each time",
    hint="A program that may be at any address is a PIE. Is -no-pie among your options?",
)
def test_static_is_fixed(submission, static):
    assert code_address(waiting(submission, "hello-static")) == code_address(static), (
        "the address of the code in another run"
    )


@points(
    1,
    "hello-dynamic is at a different address each time",
    hint="Link it as a PIE: -pie -fPIE. Then the kernel chooses its address.",
)
def test_dynamic_moves(submission, dynamic):
    with open("/proc/sys/kernel/randomize_va_space", encoding="ascii") as file:
        if file.read().strip() == "0":
            not_possible("this machine does not randomise addresses (randomize_va_space is 0)")
    # Two runs may get the same address by chance, three hardly.
    others = {code_address(waiting(submission, "hello-dynamic")) for _ in range(2)}
    assert others != {code_address(dynamic)}, "the address of the code in other runs"


@points(
    1,
    "late waits three times, then ends with status 0",
    hint="Is libgreet.so built? Run ./late in its own directory: it prints dlopen's error.",
)
def test_late_waits(late):
    late.require_end()


@points(
    2,
    "late maps libgreet.so only after dlopen",
    hint="A program that is linked with -lgreet has the library from its start.",
)
def test_loaded(late):
    assert len(regions(late[1], path="libgreet.so")) == 0, "areas of libgreet.so at the start"
    mine = regions(late[2], path="libgreet.so")
    assert len(mine) > 0, "areas of libgreet.so after dlopen"
    code = [one for one in mine if one.perms.execute]
    assert len(code) > 0, "areas of libgreet.so that hold code"


@points(
    2,
    "dlclose unmaps all areas of libgreet.so",
    hint="Each dlopen needs a dlclose: the library is unmapped when its last user closes it.",
    needs="test_loaded",
)
def test_unloaded(late):
    loaded, gone = late[2], late[3]
    assert len(regions(gone, path="libgreet.so")) == 0, "areas of libgreet.so after dlclose"
    mine = sum(one.size for one in regions(loaded, path="libgreet.so"))
    assert gone.vsz <= loaded.vsz - mine + PAGE, "VSZ after dlclose"


# ---- quiz ---------------------------------------------------------------------------


class Built(NamedTuple):
    size: procmem.ObjectSize
    snapshot: procmem.Snapshot


def build(directory, name, *options):
    source = directory / "waits.c"
    source.write_text(WAITS)
    path = directory / name
    command = ["cc", "-O1", *options, "-o", path, source]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        not_possible("no C compiler (cc) is installed for the checks")
    if done.returncode:
        not_possible(f"cc {' '.join(options)}: {done.stderr.strip()}")
    return path


def watched(path):
    """Sizes of a program, and its memory while it waits on a terminal."""
    import pty
    import time

    ours, theirs = pty.openpty()
    with subprocess.Popen([path], stdin=theirs, stdout=theirs, stderr=theirs) as started:
        os.close(theirs)
        try:
            # read(2) of descriptor 0: see /proc/PID/syscall in proc(5).
            while started.poll() is None:
                with open(f"/proc/{started.pid}/syscall", encoding="ascii") as file:
                    if file.read().split()[1:2] == ["0x0"]:
                        return Built(procmem.size(path), procmem.Process(started.pid).snapshot())
                time.sleep(0.001)
            return not_possible(f"a program for comparison ended with {started.returncode}")
        finally:
            started.kill()
            os.close(ours)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The program that waits, static and dynamic, as this machine builds it."""
    directory = tmp_path_factory.mktemp("built")
    return (
        watched(build(directory, "static", "-static", "-no-pie")),
        watched(build(directory, "dynamic")),
    )


@points(1, "quiz: text", hint="size hello-static hello-dynamic")
def test_quiz_text(submission, both):
    static, dynamic = (one.size.text for one in both)
    right = "a" if static > 100 * dynamic else "b" if dynamic > static else "c"
    verify(submission, "text", right)


@points(1, "quiz: address spaces", hint="ps -o vsz,comm -C hello-static,hello-dynamic")
def test_quiz_vsz(submission, both):
    static, dynamic = (one.snapshot.vsz for one in both)
    right = "a" if static > dynamic else "b" if dynamic > static else "c"
    verify(submission, "vsz", right)


@points(1, "quiz: constants", hint="grep hello-static /proc/$(pidof hello-static)/maps")
def test_quiz_constants(submission, both):
    static, _ = both
    name = next(section for section in static.size.sections if section.name == ".rodata")
    area = static.snapshot.regions.find(name.address)
    assert area is not None
    right = "b" if area.perms.execute else "a"
    verify(submission, "constants", right)


@points(1, "quiz: areas of a library", hint="grep -c libgreet /proc/$(pidof late)/maps")
def test_quiz_library(submission, both):
    _, dynamic = both
    libc = next(path for path in libraries(dynamic.snapshot) if "libc" in path)
    number = len(regions(dynamic.snapshot, path=libc))
    right = "a" if number == 1 else "b" if number == 2 else "c"
    verify(submission, "library", right)


@points(1, "quiz: a small bss", hint="nm hello-dynamic shows where it is; compare with its map.")
def test_quiz_small(submission, both):
    _, dynamic = both
    if not 0 < dynamic.size.bss < PAGE:
        not_possible("a program for comparison has no small bss here")
    has_area = bool(bss(dynamic.snapshot))
    verify(submission, "small", "a" if has_area else "b")


@points(
    1,
    "quiz: 0x08048000",
    hint="ld -m elf_i386 --verbose | grep 08048000; ld -m elf_x86_64 --verbose | grep text-segment",
)
def test_quiz_base(submission):
    bases = {
        emulation: "0x08048000" in script(emulation) for emulation in ("elf_i386", "elf_x86_64")
    }
    right = {(True, False): "b", (True, True): "a", (False, True): "c"}.get(tuple(bases.values()))
    if right is None:
        not_possible("neither of the linker's scripts has the address 0x08048000 here")
    verify(submission, "base32", right)


def script(emulation):
    """The linker's default script, which says where programs begin."""
    command = ["ld", "-m", emulation, "--verbose"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        not_possible(f"ld: {error.strerror}")
    if done.returncode:
        not_possible(f"ld -m {emulation}: {done.stderr.strip()}")
    return done.stdout
