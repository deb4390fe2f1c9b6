"""Breakpoints at malloc, however a program is linked."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from procmem import (
    MemoryCall,
    trace,
)
from procmem.native import ffi, lib
from procmem.tracing.events import Breakpoints
from procmem.tracing.tracer import Tracing
from procmem.view.mallocs import size_of
from procmem.view.trace import TraceTable
from tests.support.targets import PAGE
from tests.support.traced import (
    LEAKS,
    build,
    command,
    counted,
    functions,
    given,
    named,
    seen,
    shell,
)

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced programs count in pages of 4 KiB")


MALLOCS = """#include <stdlib.h>
#include <string.h>
int main(void) {
    void *volatile all[30];
    for (int i = 0; i < 10; i++) all[i] = malloc(32768);
    for (int i = 10; i < 20; i++) all[i] = malloc(256 * 1024);
    void *volatile kept = realloc(all[0], 100000);
    void *volatile aligned = aligned_alloc(4096, 8192);
    void *volatile table = calloc(7, 77);
    for (int i = 1; i < 20; i++) free(all[i]);
    free(aligned);
    free(table);
    return !kept;
}
"""


def strip(path: Path) -> None:
    if shutil.which("strip") is None:
        pytest.skip("strip is not installed")
    subprocess.run(["strip", path], check=True)


@pytest.mark.parametrize(
    "words",
    [
        ("-static",),
        ("-static-pie",),
        ("-static", "-fuse-ld=gold"),
        ("-static", "-fuse-ld=lld"),
        ("-Wl,-z,now",),
        ("musl-gcc",),
        ("musl-gcc", "-static"),
    ],
    ids=" ".join,
)
def test_malloc_is_seen_however_a_program_is_linked(place: Path, words: tuple[str, ...]) -> None:
    if words[0] == "musl-gcc":
        made = build(place, MALLOCS, *words[1:], compiler="musl-gcc", name="mallocs")
    else:
        made = build(place, MALLOCS, *words, name="mallocs")
    traced = trace([made], malloc=True)
    assert traced.returncode == 0
    if not any(one.names for one in traced.breakpoints):
        pytest.skip(f"malloc can't be seen here: {[one.reason for one in traced.breakpoints]}")
    sizes = [size_of(c) for c in traced if c.name == "malloc"]
    assert sizes.count(32768) == sizes.count(256 * 1024) == 10
    others = [size_of(c) for c in traced if c.name in ("aligned_alloc", "calloc")]
    assert others.count(539) == others.count(8192) == 1
    mallocs = counted(traced)
    assert mallocs.unseen() == []
    assert list(given(traced).values()).count(100000) == 1
    assert 32768 not in given(traced).values()


def test_a_stripped_program_with_a_debug_file(place: Path, tmp_path: Path) -> None:
    if not shutil.which("objcopy"):
        pytest.skip("no objcopy here")
    made = build(place, MALLOCS, "-static", "-g", name="debugged")
    debug = Path(f"{made}.debug")
    subprocess.run(["objcopy", "--only-keep-debug", made, debug], check=True)
    strip(made)
    assert "Calls of malloc are not traced" in command("--", made).stderr
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", made], check=True)
    traced = trace([made], malloc=True)
    if not traced.breakpoints:
        pytest.skip("breakpoints are only possible on x86-64")
    assert [size_of(c) for c in traced if c.name == "malloc"].count(32768) == 10


HIDDEN = """#include <stdlib.h>
#include <dlfcn.h>
/* A malloc that can be seen, and a second way to get memory, which can't. */
static char pool[1 << 16];
static size_t used;
static void *hidden(size_t size) { void *at = pool + used; used += (size + 15) & ~15ul; return at; }
void *malloc(size_t size) { return hidden(size); }
void *calloc(size_t count, size_t size) { return hidden(count * size); }
void *realloc(void *at, size_t size) { return hidden(size); }
void free(void *at) { }
int main(void) {
    void *volatile at = WHAT ? hidden(100) : 0;
    for (int i = 0; i < WHAT; i++) { free(at); at = hidden(10); }
    used = 0;
    at = malloc(50);
    used = 0;
    at = malloc(60);
    _Exit(0);
}
"""


@pytest.mark.parametrize("what", [0, 3])
def test_an_allocator_that_is_half_seen_is_said_to_be(place: Path, what: int) -> None:
    """Memory from nowhere, and memory given twice: part of the calls is missing."""
    made = build(place, HIDDEN, f"-DWHAT={what}", "-fno-builtin", "-O0", name="hidden")
    seen(str(made))
    ran = command("--malloc", "--json", "--", made)
    told = json.loads(ran.stderr)
    [first, *rest] = told["not_seen"]
    expected = "no call seen had given" if what else "that no call seen had freed"
    assert any(expected in line for line in (first, *rest))
    text = command("--malloc", "--", made).stderr
    assert "Never freed" not in text
    assert "for later mallocs" not in text
    assert "Some malloc functions are not traced" in text


def test_names_of_an_allocator_that_have_no_breakpoint_are_said() -> None:
    table = TraceTable(malloc=True)
    table.add(Breakpoints(1, "/lib/a.so", ("malloc",), "no room", missing=("free", "realloc")))
    text = table.end()
    assert "Some malloc functions are not traced: free, realloc of a.so: no room." in text


@pytest.mark.parametrize(
    "words, expected",
    [
        ((sys.executable, "-c", "pass"), "CPython allocates objects of up to 512 bytes"),
        (("go", "version"), "Go's runtime has an allocator of its own"),
    ],
    ids=["python", "go"],
)
def test_runtimes_with_allocators_of_their_own(words: tuple[str, ...], expected: str) -> None:
    if not shutil.which(words[0]):
        pytest.skip(f"no {words[0]} here")
    traced = trace(words, malloc=100)
    assert traced.returncode == 0
    if not traced.breakpoints:
        pytest.skip("breakpoints are only possible on x86-64")
    assert any(one.runtime.startswith(expected) for one in traced.breakpoints)
    assert any(expected in line for line in counted(traced).notes())


CHOSEN = """#include <stddef.h>
static char pool[1 << 16];
static size_t used;
static void *give(size_t size) { void *at = pool + used; used += (size + 15) & ~15ul; return at; }
static void *(*choose(void))(size_t) { return give; }
void *malloc(size_t size) __attribute__((ifunc("choose")));
static void take(void *at) { }
static void (*choose_free(void))(void *) { return take; }
void free(void *at) __attribute__((ifunc("choose_free")));
"""


def test_functions_that_are_chosen_at_the_start(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STT_GNU_IFUNC: the address in the symbol table is not the one that is called."""
    made = build(place, CHOSEN, "-shared", "-fPIC", name="chosen.so")
    user = build(place, LEAKS, "-pthread", name="user")
    monkeypatch.chdir(made.parent)  # no path in LD_PRELOAD may hold spaces
    traced = trace([user], env={**os.environ, "LD_PRELOAD": f"./{made.name}"}, malloc=True)
    assert traced.returncode == 0
    if not traced.breakpoints:
        pytest.skip("breakpoints are only possible on x86-64")
    sizes = [c.args["size"] for c in named(traced, "malloc")]
    assert sizes.count(5000) == sizes.count(100) == 1
    assert len(named(traced, "free")) == 1


def test_ten_mallocs_and_their_system_calls(program: str) -> None:
    seen(program)
    traced = trace([program, "mallocs"], malloc=True)
    assert traced.returncode == 0
    small = [call for call in functions(traced, "malloc") if call.args["size"] == 32 * 1024]
    large = [call for call in functions(traced, "malloc") if call.args["size"] == 256 * 1024]
    freed = [
        call
        for call in functions(traced, "free")
        if call.args["ptr"] in {each.address for each in small + large}
    ]
    assert (len(small), len(large), len(freed)) == (10, 10, 20)
    assert len({call.result for call in small + large}) == 20
    assert all(call.is_function and call.within is None for call in small + large + freed)
    # What a function did to VSZ is what its system calls did, each told before it.
    for call in small + large + freed:
        inner = [
            each
            for each in traced
            if each.within == call.name and call.began <= each.began <= call.began + (call.ns or 0)
        ]
        assert len(inner) == call.made
        assert call.delta_vsz == sum(each.delta_vsz or 0 for each in inner)
    assert all(call.region and call.region.start <= (call.address or 0) for call in small + large)
    told = large[0].to_dict()
    assert (told["name"], told["made"], told["args"]) == ("malloc", large[0].made, {"size": 2**18})
    assert json.loads(json.dumps(told)) == told
    if "libc.so.6" in traced.breakpoints[0].path and "MALLOC_" not in str(os.environ):
        assert [call.made for call in large] == [1] * 10
        assert [call.delta_vsz for call in large] == [260 * 1024] * 10
        assert [call.made for call in freed] == [1] * 10 + [0] * 10
        assert 0 < sum(call.made > 0 for call in small) < 5


def test_without_being_asked_malloc_is_not_seen(program: str) -> None:
    traced = trace([program, "mallocs"])
    assert not traced.breakpoints
    assert not any(call.is_function or call.within for call in traced)
    told = trace([program, "mallocs"], malloc=7)
    assert sum(call.is_function for call in told) in {0, 7}
    assert told.returncode == 0
    if any(call.is_function for call in told):
        assert told.breakpoints[-1].limited


def test_the_same_system_calls_with_malloc_seen(program: str) -> None:
    plainly = [c.name for c in trace([program, "mallocs"])]
    assert [
        c.name for c in trace([program, "mallocs"], malloc=True) if not c.is_function
    ] == plainly


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("seccomp", [False, True])
def test_malloc_in_threads_and_children(program: str, follow: bool, seccomp: bool) -> None:
    seen(program)
    traced = trace(
        [program, "malloc-threads", "100", "5"], malloc=True, follow=follow, seccomp=seccomp
    )
    assert traced.returncode == 0
    assert sorted(traced.ended.values()) == ([0, 3, 3, 3, 3, 3] if follow else [0])
    rounds = 400 + 25 * follow
    kin = [c for c in traced if c.is_function]
    assert sum(c.name == "posix_memalign" and c.args["size"] == 100 for c in kin) == rounds
    assert sum(c.name == "realloc" and c.args["size"] >= 50 for c in kin) >= rounds
    assert sum(c.name == "calloc" and c.args["nmemb"] == 3 for c in kin) == rounds
    aligned = [c.address for c in kin if c.name == "posix_memalign"]
    assert all(address and address % 64 == 0 for address in aligned)


def test_a_child_of_vfork_may_call_malloc(program: str) -> None:
    for seccomp in (True, False):
        for follow in (True, False):
            traced = trace([program, "malloc-vfork"], malloc=True, follow=follow, seccomp=seccomp)
            assert traced.returncode == 4
    assert trace([program, "posix-spawn"], malloc=True).returncode == 0
    assert trace([program, "vfork"], malloc=True, follow=True).returncode == 0


@pytest.mark.parametrize("follow", [False, True])
def test_children_let_go_before_they_are_announced_are_not_waited_for(
    program: str, follow: bool
) -> None:
    words = ["--no-seccomp", "--malloc", "-o", os.devnull, *["-f"][:follow], "--", program]
    assert shell(*words, "vfork-threads").returncode == 0


def test_a_static_program(program: str, tmp_path: Path) -> None:
    seen(program)
    source = tmp_path / "static.c"
    source.write_text(
        "#include <stdlib.h>\nint main(void) { void *volatile at = malloc(12345); free(at); }\n"
    )
    built = subprocess.run(["cc", "-static", "-O0", source, "-o", tmp_path / "static"],
                           check=False, capture_output=True)  # fmt: skip
    if built.returncode:
        pytest.skip("static programs can't be made here")
    traced = trace([tmp_path / "static"], malloc=True)
    [asked] = [c for c in functions(traced, "malloc") if c.args["size"] == 12345]
    assert asked.address in {c.args["ptr"] for c in functions(traced, "free")}
    strip(tmp_path / "static")
    ran = shell("--", str(tmp_path / "static"))
    assert ran.returncode == 0
    assert "Calls of malloc are not traced: no file that the program maps has" in ran.stderr


def code_of(pid: int, path: str) -> bytes:
    """The executable part of a mapped file, as it lies in memory."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if line.endswith(path) and " r-xp " in line:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(start)
                return memory.read(end - start)
    raise AssertionError(path)


@pytest.mark.parametrize("drop", [False, True])
def test_attaching_to_malloc_leaves_nothing(program: str, drop: bool) -> None:
    seen(program)
    with subprocess.Popen(
        [program, "malloc-forever"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        assert started.stdout
        assert started.stdin
        assert started.stdout.read(1) == b"r"
        for _ in range(3):
            with Tracing(pid=started.pid, malloc=True) as tracing:
                path, count = "", 0
                for one in tracing:
                    if isinstance(one, Breakpoints):
                        path = path or one.path
                    if count == 200:
                        started.stdin.write(b"xx")
                        started.stdin.flush()
                    if isinstance(one, MemoryCall) and one.is_function:
                        count += 1
                    if count == 1000:
                        if drop:
                            break
                        tracing.detach()
            assert path
            assert "TracerPid:\t0" in Path(f"/proc/{started.pid}/status").read_text()
            with contextlib.suppress(PermissionError):
                during = code_of(started.pid, path)
                start = Path(path).read_bytes().find(during[:4096])
                assert start >= 0
                assert during == Path(path).read_bytes()[start:][: len(during)]
        started.stdin.write(b"xxx")
        started.stdin.close()
        assert started.wait(300) == 0


INSTRUCTIONS = [
    # What it is, and what a copy of it is, 4 KiB further on; None: it can't be moved.
    ("f30f1efa", "f30f1efa"),  # endbr64
    ("4154", "4154"),  # push %r12
    ("55", "55"),
    ("4885ff", "4885ff"),  # test %rdi,%rdi
    ("4883ec08", "4883ec08"),  # sub $8,%rsp
    ("4881ec00010000", "4881ec00010000"),
    ("488b4608", "488b4608"),  # mov 8(%rsi),%rax
    ("488b442408", "488b442408"),  # mov 8(%rsp),%rax
    ("488b0425f8ffffff", "488b0425f8ffffff"),  # mov 0xfffffffffffffff8,%rax
    ("48c7c001000000", "48c7c001000000"),
    ("48b80102030405060708", "48b80102030405060708"),  # movabs
    ("66b80102", "66b80102"),
    ("b801020304", "b801020304"),
    ("f6c701", "f6c701"),  # test $1,%bh
    ("f7c701000000", "f7c701000000"),
    ("48f7d8", "48f7d8"),  # neg %rax
    ("660fefc0", "660fefc0"),
    # Relative to rip: what is reached stays the same.
    ("803d7102140000", "803d71f2130000"),
    ("488b05e1641300", "488b05e1541300"),
    ("488d0df9ffffff", "488d0df9efffff"),
    # Jumps: wide ones to the same place.
    ("7405", "0f8401f0ffff"),
    ("0f8400000000", "0f8400f0ffff"),
    ("eb10", "e90df0ffff"),
    ("e910000000", "e910f0ffff"),
    ("e810000000", None),  # call
    ("c3", None),
    ("c4e27900c1", None),  # AVX
    ("0f05", None),  # syscall
]


@pytest.mark.parametrize("code, expected", INSTRUCTIONS)
def test_instructions_run_the_same_elsewhere(code: str, expected: str | None) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("breakpoints are only possible on x86-64")
    raw = bytes.fromhex(code).ljust(16, b"\xcc")
    out, length, moved = (ffi.new(f"uint8_t[{size}]") for size in (32, 1, 1))
    size = lib.pm_displace(raw, 16, 0x10000, 0x11000, out, length, moved)
    if expected is None:
        assert size == 0
        return
    back = (0x10000 + len(code) // 2) - (0x11000 + moved[0] + 5)
    assert length[0] == len(code) // 2
    assert (
        ffi.buffer(out, size)[:].hex()
        == expected + "e9" + back.to_bytes(4, "little", signed=True).hex()
    )
    assert lib.pm_displace(raw, 16, 0x10000, 1 << 40, out, length, moved) == 0
