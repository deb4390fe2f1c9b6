"""Traces of programs as people build them: they run as alone, and no allocator is half seen."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import (
    AccessDenied,
    MemoryCall,
    NoSuchProcess,
    Process,
    RegionKind,
    Trace,
    ZombieProcess,
    trace,
)
from procmem.errors import BadArgument, KernelThread
from procmem.tracing.allocators import FUNCTIONS, NUMBER, Role
from procmem.tracing.arguments import Clone
from procmem.tracing.events import Breakpoints, ProcessEnd
from procmem.tracing.tracer import Tracing
from procmem.view.mallocs import Mallocs, size_of
from procmem.view.places import Places
from procmem.view.trace import TraceTable
from tests.support import targets
from tests.support.paths import TARGETS
from tests.support.targets import NOBODY, PAGE
from tests.support.traced import may_trace, named, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem import Region, RegionTable

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced programs count in pages of 4 KiB")

NO_LEAKS_LOOKED_FOR = {
    **os.environ,
    "ASAN_OPTIONS": "detect_leaks=0",
    "LSAN_OPTIONS": "detect_leaks=0",
}


@pytest.fixture(scope="session")
def place(target_binary: Path) -> Path:
    """A directory for programs, where ptrace(2) is allowed."""
    if not may_trace():
        pytest.skip("ptrace(2) is forbidden here")
    return targets.directory()


def build(place: Path, source: str, *words: str, compiler: str = "gcc", name: str = "") -> Path:
    """A program of C (or C++) text; skips where it can't be built."""
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    suffix = ".cc" if "++" in compiler else ".c"
    text = place / f"{name or 'program'}-{os.getpid()}{suffix}"
    text.write_text(source)
    made = text.with_suffix("")
    done = subprocess.run(
        [compiler, "-O1", "-w", "-o", made, text, *words], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"{compiler} {' '.join(words)} does not work here: {done.stderr[-300:]!r}")
    return made


def command(*words: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "procmem", "trace", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def counted(traced: Trace) -> Mallocs:
    """A trace's calls of malloc and its kin, added up."""
    made = Mallocs()
    for found in traced.breakpoints:
        made.place(found)
    for call in traced:
        made.watch(call)
    return made


def given(traced: Trace) -> dict[int, int]:
    """Sizes of pieces by their address, of those that were never freed."""
    return {key[1]: piece.size or 0 for key, piece in counted(traced).live.items()}


# ---- children that are not to be traced ----


@pytest.mark.parametrize("seccomp", [True, False])
@pytest.mark.parametrize("malloc", [True, False])
def test_children_made_with_clone_untraced_run_as_alone(
    place: Path, seccomp: bool, malloc: bool
) -> None:
    source = (TARGETS / "untraced.c").read_text()
    untraced = build(place, source, name="untraced")
    for how in ("x", "m", "v", "3", "b"):
        assert subprocess.run([untraced, how], check=False).returncode == 3
        for follow in (False, True):
            traced = trace([untraced, how], seccomp=seccomp, malloc=malloc, follow=follow)
            assert traced.returncode == 3, how
            # The flags are told as the program gave them.
            made = [c for c in traced if c.name in ("clone", "clone3")][-1]
            assert made.args["flags"] & Clone.CLONE_UNTRACED
            if follow and seccomp:
                [mapped] = [c for c in traced if c.pid != traced.pid and c.name == "mmap"][:1]
                assert mapped.delta_vsz == PAGE
    for how in ("p", "bp"):
        traced = trace(["sh", "-c", f"{untraced} {how}"], seccomp=seccomp, malloc=malloc)
        assert traced.returncode == 3


LEAKS = """#include <stdlib.h>
#include <pthread.h>
#include <unistd.h>
static void *work(void *unused) { void *volatile own = malloc(50); pause(); return own; }
int main(int count, char **words) {
    void *volatile kept = malloc(100);
    pthread_t thread;
    free(kept);
    kept = malloc(5000);
    for (int i = 0; count > 2 && i < 3; i++) pthread_create(&thread, 0, work, 0);
    if (count > 1) kept = 0;
    return 0;
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("words", [("-fsanitize=address",), ("-fsanitize=leak",)])
def test_programs_with_sanitizers_run_as_alone(
    place: Path, compiler: str, words: tuple[str, ...]
) -> None:
    checked = build(place, LEAKS, *words, "-pthread", compiler=compiler, name=f"{compiler}-checked")
    for arguments in ([], ["leak"], ["leak", "in", "threads"]):
        alone = subprocess.run([checked, *arguments], capture_output=True, text=True, check=False)
        if "LeakSanitizer has encountered" in alone.stderr:
            pytest.skip("LeakSanitizer does not work here")
        for options in (["--no-malloc"], ["--malloc"], ["-f", "--no-malloc"]):
            ran = command(*options, "-o", os.devnull, "--", checked, *arguments)
            assert (ran.returncode, ran.stdout) == (alone.returncode, "")
            told = [re.findall(r"SUMMARY.*|leaked in.*", each.stderr) for each in (alone, ran)]
            assert told[0] == told[1]
    # Without the filter it is refused, as under strace, and ends at once.
    command("--no-seccomp", "-o", os.devnull, "--", checked, "leak", timeout=60)
    done = subprocess.run(
        [sys.executable, "-m", "procmem", "trace", "-o", os.devnull, "--", checked, "leak"],
        env=NO_LEAKS_LOOKED_FOR, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_tracer_inside_is_refused_and_said(place: Path, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    ran = command(
        "--json", "--force", "-o", tmp_path / "out", "--", "strace", "-o", os.devnull, "true"
    )
    theirs = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "strace", "-o", os.devnull, "true"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == theirs.returncode
    told = json.loads((tmp_path / "out").read_text())["refused"]
    assert told
    assert told[0]["request"] in ("PTRACE_TRACEME", "PTRACE_SEIZE", "PTRACE_ATTACH")


# ---- malloc, by whatever name ----

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
    subprocess.run(["strip", made], check=True)
    assert "Calls of malloc are not told" in command("--", made).stderr
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", made], check=True)
    traced = trace([made], malloc=True)
    if not traced.breakpoints:
        pytest.skip("breakpoints are only possible on x86-64")
    assert [size_of(c) for c in traced if c.name == "malloc"].count(32768) == 10


NEWS = """#include <cstdlib>
#include <new>
struct alignas(64) Wide { char bytes[192]; };
int main() {
    void *volatile at;
    at = new char[400000]; delete[] (char *)at;
    at = ::operator new(5001); ::operator delete(at, 5001);
    at = ::operator new(5002, std::nothrow); ::operator delete(at, std::nothrow);
    at = ::operator new[](5003, std::nothrow); ::operator delete[](at, std::nothrow);
    at = ::operator new(5056, std::align_val_t(64)); ::operator delete(at, std::align_val_t(64));
    at = ::operator new[](5120, std::align_val_t(64));
    ::operator delete[](at, 5120, std::align_val_t(64));
    at = ::operator new(5184, std::align_val_t(64), std::nothrow);
    ::operator delete(at, std::align_val_t(64), std::nothrow);
    at = new Wide; delete (Wide *)at;
    at = new Wide[3]; delete[] (Wide *)at;
    at = malloc(6001); free(at);
    at = new int(5);
    std::_Exit(0);
}
"""

SIZES = [400000, 5001, 5002, 5003, 5056, 5120, 5184, 192, 576, 6001]


def library(*names: str) -> str:
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"):
        for name in names:
            if os.path.exists(f"{folder}/{name}"):
                return f"{folder}/{name}"
    pytest.skip(f"no {names[0]} here")


ALLOCATORS = {
    "glibc": (),
    "jemalloc": ("libjemalloc.so.2",),
    "tcmalloc": ("libtcmalloc_minimal.so.4",),
    "mimalloc": ("libmimalloc.so.2.0", "libmimalloc.so.2"),
}


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_every_form_of_operator_new(place: Path, allocator: str, static: bool) -> None:
    names = ALLOCATORS[allocator]
    words = ["-std=c++17", *(["-static"] if static else [])]
    if static and allocator != "glibc":
        words += [f"-l{allocator if allocator != 'tcmalloc' else 'tcmalloc_minimal'}", "-lpthread"]
    made = build(place, NEWS, *words, compiler="g++", name="news")
    environment = {**os.environ, "LD_PRELOAD": library(*names)} if names and not static else None
    if subprocess.run([made], env=environment, check=False).returncode:
        pytest.skip(f"the program does not run with {allocator}")
    traced = trace([made], env=environment, malloc=True)
    assert traced.returncode == 0
    if not any(one.names for one in traced.breakpoints):
        pytest.skip(f"malloc can't be seen here: {[one.reason for one in traced.breakpoints]}")
    sizes = [size_of(c) for c in traced if c.is_function and c.address]
    for size in SIZES:
        assert sizes.count(size) == 1, size
    mallocs = counted(traced)
    assert mallocs.unseen() == []
    # One thing leaks, and it is 4 bytes; the libraries keep what they like.
    left = list(given(traced).values())
    assert 4 in left
    assert not set(SIZES) & set(left)


EXTENDED = """#include <jemalloc/jemalloc.h>
#include <stdlib.h>
int main(void) {
    void *volatile a = mallocx(7001, 0), *volatile b = mallocx(7002, MALLOCX_ALIGN(64));
    a = rallocx(a, 70010, 0);
    xallocx(b, 7003, 0, 0);
    sdallocx(a, 70010, 0);
    dallocx(b, 0);
    a = mallocx(7004, 0);
    _Exit(0);
}
"""
TCMALLOC = """#include <gperftools/tcmalloc.h>
#include <stdlib.h>
int main(void) {
    void *volatile a = tc_malloc(7001), *volatile b = tc_memalign(64, 7002);
    a = tc_realloc(a, 70010);
    tc_free_sized(a, 70010);
    tc_free(b);
    b = tc_calloc(7, 1000);
    tc_cfree(b);
    a = tc_malloc(7004);
    _Exit(0);
}
"""
MIMALLOC = """#include <mimalloc.h>
#include <stdlib.h>
int main(void) {
    void *volatile a = mi_malloc(7001), *volatile b = mi_malloc_aligned(7002, 64);
    a = mi_realloc(a, 70010);
    mi_free_size(a, 70010);
    b = mi_reallocf(b, 9000);
    mi_free(b);
    b = mi_calloc(7, 1000);
    b = mi_reallocn(b, 8, 1000);
    mi_free(b);
    b = mi_zalloc(50); mi_free(b);
    b = mi_strdup("a text"); mi_free(b);
    a = mi_malloc(7004);
    _Exit(0);
}
"""


@pytest.mark.parametrize(
    "source, link, expected",
    [
        (EXTENDED, "-ljemalloc", {"mallocx": 3, "rallocx": 1, "xallocx": 1, "dallocx": 1}),
        (TCMALLOC, "-ltcmalloc_minimal", {}),
        (MIMALLOC, "-lmimalloc", {"mi_reallocn": 1}),
    ],
    ids=["jemalloc", "tcmalloc", "mimalloc"],
)
def test_functions_of_an_allocators_own(
    place: Path, source: str, link: str, expected: dict[str, int]
) -> None:
    made = build(place, source, link, name="own")
    traced = trace([made], malloc=True)
    assert traced.returncode == 0
    if not any(one.names for one in traced.breakpoints):
        pytest.skip(f"malloc can't be seen here: {[one.reason for one in traced.breakpoints]}")
    sizes = [size_of(c) for c in traced if c.is_function and c.address]
    assert [sizes.count(size) for size in (7001, 7002, 70010, 7004)] == [1] * 4
    for name, count in expected.items():
        assert len(named(traced, name)) == count
    mallocs = counted(traced)
    assert mallocs.unseen() == []
    left = list(given(traced).values())
    assert 7004 in left
    assert not {7001, 7002, 7003, 70010, 7000, 8000, 9000} & set(left)


REFUSED = """#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {
    char *volatile kept = malloc(1000), *volatile none;
    if (count > 1) none = realloc(kept, SIZE_MAX / 2); else none = reallocarray(kept, SIZE_MAX, 2);
    none = malloc(2000);
    none = count > 1 ? realloc(none, 3000) : reallocarray(none, 3, 1000);
    _exit(0);
}
"""


def test_reallocarray_is_as_realloc(place: Path) -> None:
    made = build(place, REFUSED, name="refused")
    seen(str(made))
    said = []
    for words in ([], ["x"]):
        text = command("--malloc", "--", made, *words).stderr
        assert "Never freed: 2 pieces, 4,000 bytes." in text
        assert re.search(r" realloc(array)? +1,000 bytes to \d[\d,]+ bytes: refused", text)
        assert re.search(r" realloc(array)? +2,000 bytes to 3,000 bytes: ", text)
        said.append(re.findall(r"Small pieces .*", text))
    assert said[0] == said[1]


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
    assert "Part of malloc's kin is not told" in text


def test_names_of_an_allocator_that_have_no_breakpoint_are_said() -> None:
    table = TraceTable(malloc=True)
    table.add(Breakpoints(1, "/lib/a.so", ("malloc",), "no room", missing=("free", "realloc")))
    text = table.end()
    assert "Part of malloc's kin is not told: free, realloc of a.so: no room." in text


@pytest.mark.parametrize(
    "words, expected",
    [
        ((sys.executable, "-c", "pass"), "CPython takes objects of up to 512 bytes"),
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


def test_functions_that_are_chosen_at_the_start(place: Path) -> None:
    """STT_GNU_IFUNC: the address in the symbol table is not the one that is called."""
    made = build(place, CHOSEN, "-shared", "-fPIC", name="chosen.so")
    user = build(place, LEAKS, "-pthread", name="user")
    traced = trace([user], env={**os.environ, "LD_PRELOAD": str(made)}, malloc=True)
    assert traced.returncode == 0
    if not traced.breakpoints:
        pytest.skip("breakpoints are only possible on x86-64")
    sizes = [c.args["size"] for c in named(traced, "malloc")]
    assert sizes.count(5000) == sizes.count(100) == 1
    assert len(named(traced, "free")) == 1


def test_the_table_of_functions_is_sound() -> None:
    assert len({one.symbol for one in FUNCTIONS}) == len(FUNCTIONS) < 1 << 15
    for one in FUNCTIONS:
        assert len(one.arguments) <= 6
        unsized = one.role in (Role.FREES, Role.TRIMS, Role.OTHER) or "string" in one.arguments
        assert "size" in one.arguments or unsized
        if one.role in (Role.RESIZES, Role.RESIZES_OR_FREES, Role.EXPANDS, Role.FREES):
            assert "ptr" in one.arguments
    demangler = shutil.which("c++filt")
    if demangler:
        for one in FUNCTIONS:
            if one.is_operator and "hot_cold" not in one.symbol:
                told = subprocess.run([demangler, one.symbol], capture_output=True, text=True,
                                      check=True).stdout  # fmt: skip
                assert told.startswith(one.name + "("), one
    assert NUMBER["malloc"] == 0


# ---- system calls ----

CALLS = """#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define PAGE 4096ul
int main(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    char *at = mmap((void *)0x10000000000, 8 * PAGE, 3, flags, -1, 0);
    int fd = memfd_create("file", 0);
    ftruncate(fd, 16 * PAGE);                  /* nobody has mapped it: not told */
    char *file = mmap((void *)0x20000000000, 16 * PAGE, 3, MAP_SHARED | MAP_FIXED, fd, 0);
    for (int i = 0; i < 16; i++) file[i * PAGE] = 1;
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * PAGE);
    ftruncate(fd, 8 * PAGE);
    prctl(PR_SET_NAME, "other");               /* no memory: not told */
    prctl(0x53564d41, 0, at, 8 * PAGE, "name");
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    syscall(SYS_mbind, at, 4 * PAGE, 1, NULL, 0, 0);
    syscall(SYS_remap_file_pages, file, PAGE, 0, 1, 0);
    syscall(462, at, PAGE, 0);
    munmap(at, PAGE);
    return 0;
}
"""


@pytest.mark.parametrize("seccomp", [True, False])
def test_every_call_that_changes_memory(place: Path, seccomp: bool) -> None:
    made = build(place, CALLS, name="calls")
    traced = trace([made], seccomp=seccomp)
    assert traced.returncode == 0
    start = next(i for i, c in enumerate(traced) if c.words[0] == 0x10000000000)
    told = [(c.name, c.delta_rss) for c in traced[start:]]
    assert told == [
        ("mmap", 0),
        ("mmap", 0),
        ("fallocate", -2 * PAGE),
        ("ftruncate", -8 * PAGE),
        ("prctl", 0),
        ("prctl", 0),
        ("mbind", 0),
        ("remap_file_pages", told[7][1]),
        ("mseal", 0),
        ("munmap", 0 if traced[start + 8].errno is None else told[9][1]),
        ("exit_group", None),
    ]
    sealed, unmapped = traced[start + 8 : start + 10]
    if sealed.errno is None:
        assert unmapped.errno == 1
    assert sealed.args == {"addr": 0x10000000000, "length": PAGE, "flags": 0}
    text = "".join(command("--no-malloc", "--", made).stderr)
    assert "punch a hole of 8 KiB in the file" in text
    assert "seal 4 KiB" in text


def test_the_new_calls_are_strace_s(place: Path, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    made = build(place, CALLS, name="calls")
    watched = "mbind,remap_file_pages,fallocate,ftruncate,prctl"
    subprocess.run(
        ["strace", "-X", "abbrev", "-e", f"trace={watched}", "-o", tmp_path / "out", made],
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    theirs = (tmp_path / "out").read_text().splitlines()
    if not theirs:
        pytest.skip("strace can't run here")
    ours = command("--strace", made).stderr.splitlines()
    for name in ("fallocate", "ftruncate"):
        [mine] = [line for line in ours if line.startswith(f"{name}(")]
        assert re.sub(" +", " ", mine) in [re.sub(" +", " ", line) for line in theirs]


@pytest.mark.parametrize("status", [300, 256, -1, 7])
def test_an_exit_status_is_told_once_and_the_same(place: Path, status: int) -> None:
    source = f"#include <unistd.h>\nint main(void) {{ _exit({status}); }}\n"
    made = build(place, source, name="exits")
    ran = command("--no-malloc", "--", made)
    cut = "" if 0 <= status < 256 else f" ({status} & 0377)"
    assert ran.returncode == status & 0o377
    assert f"the process ends with {status & 0o377}{cut}\n" in ran.stderr
    assert f"process exited with {status & 0o377}\n" in ran.stderr


def test_of_a_program_of_32_bits_one_reason_is_given(place: Path) -> None:
    made = build(place, "int main(void) { return 0; }", "-m32", name="narrow")
    if subprocess.run([made], check=False).returncode:
        pytest.skip("this kernel runs no programs of 32 bits")
    text = command("--", made).stderr
    assert "of another architecture" in text
    assert "symbols" not in text
    told = json.loads(command("--json", "--malloc", "--", made).stderr)
    assert told["foreign"] == [told["pid"]]
    assert told["not_seen"] == []


# ---- programs that do as they like ----

DAEMON = """#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {
    if (fork()) return 3;
    setsid();
    if (fork()) return 0;
    free(malloc(1234));
    FILE *done = fopen(words[1], "w"); fprintf(done, "done"); fclose(done);
    return 0;
}
"""


@pytest.mark.parametrize("malloc", [True, False])
def test_a_daemon_that_forks_twice(place: Path, tmp_path: Path, malloc: bool) -> None:
    made = build(place, DAEMON, name="daemon")
    traced = trace([made, tmp_path / "told"], malloc=malloc, follow=True)
    assert traced.returncode == 3
    assert sorted(traced.ended.values()) == [0, 0, 3]
    assert (tmp_path / "told").read_text() == "done"


OWN_FILTER = """#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mlock, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 95),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, 1, SECCOMP_FILTER_FLAG_TSYNC, &program)) return 1;
    void *at = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mlock(at, 4096) != -1) return 2;
    free(malloc(100));
    return munmap(at, 4096);
}
"""


def test_a_program_with_a_filter_of_its_own(place: Path) -> None:
    made = build(place, OWN_FILTER, name="filter")
    for seccomp in (True, False):
        traced = trace([made], malloc=True, seccomp=seccomp)
        assert traced.returncode == 0
        assert not [c for c in named(traced, "mlock") if c.result is not None]


# ---- why a process can't be attached to ----


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as started:
        yield started
        started.kill()


def until_state(pid: int, letters: str) -> None:
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in letters:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_zombie_has_ended(place: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        until_state(ended.pid, "Z")
        with pytest.raises(ZombieProcess, match="zombie"):
            trace(pid=ended.pid)
        assert "a zombie: it has ended" in command("-p", str(ended.pid)).stderr


LEADERLESS = """#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
static void *work(void *unused) {
    char byte;
    while (read(0, &byte, 1) == 1) {
        void *at = mmap(0, 3 * 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(at, 3 * 4096);
        write(1, "d", 1);
    }
    _exit(0);
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, 0, work, 0);
    pthread_exit(0);
}
"""


@pytest.mark.parametrize("malloc", [True, False])
def test_a_process_whose_leading_thread_has_ended_is_traced(place: Path, malloc: bool) -> None:
    made = build(place, LEADERLESS, "-pthread", name="leaderless")
    with subprocess.Popen([made], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdin
        assert started.stdout
        until_state(started.pid, "Z")
        calls: list[MemoryCall] = []
        with Tracing(pid=started.pid, malloc=malloc) as tracing:
            started.stdin.write(b"x")
            started.stdin.flush()
            for one in tracing:
                if isinstance(one, MemoryCall) and not one.is_function:
                    calls.append(one)
                if len(calls) == 2:
                    tracing.detach()
            assert tracing.pid == started.pid
        assert [(c.name, c.delta_vsz) for c in calls] == [
            ("mmap", 3 * PAGE), ("munmap", -3 * PAGE),
        ]  # fmt: skip
        assert calls[0].region is not None
        # The other way in: by the ID of the thread that lives.
        thread = next(int(t) for t in os.listdir(f"/proc/{started.pid}/task")
                      if int(t) != started.pid)  # fmt: skip
        with Tracing(pid=thread, malloc=malloc) as tracing:
            assert tracing.pid == started.pid
        started.stdin.close()
        assert started.wait(60) == 0


def test_what_forbids_it_is_named(
    place: Path, is_root: bool, sleeper: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(NoSuchProcess):
        trace(pid=2**22 + 1)
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        with pytest.raises(BadArgument, match="own threads"):
            trace(pid=other.native_id)
    finally:
        over.set()
        other.join()
    with (
        Tracing(pid=sleeper.pid),
        pytest.raises(AccessDenied, match=rf"process {os.getpid()} \(.*\) already traces it"),
    ):
        trace(pid=sleeper.pid)
    if Path("/proc/2/comm").exists() and Path("/proc/2/comm").read_text() == "kthreadd\n":
        with pytest.raises(KernelThread):
            trace(pid=2)
    if not is_root:
        with pytest.raises(AccessDenied, match="it runs as root"):
            trace(pid=1)


DENIALS = """
import ctypes, os, sys
from procmem import trace
from procmem.errors import ProcmemError
prctl = ctypes.CDLL(None).prctl
nobody, ours, hidden = map(int, sys.argv[1:])
os.setgroups([]); os.setgid(nobody); os.setuid(nobody)
for pid in (ours, hidden):
    try:
        trace(pid=pid)
    except ProcmemError as error:
        print(error)
"""


def test_an_ordinary_user_is_told_why(
    place: Path, is_root: bool, sleeper: subprocess.Popen[bytes]
) -> None:
    if not is_root:
        pytest.skip("needs root, to become another user")
    code = (
        "import ctypes, os, time\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "ctypes.CDLL(None).prctl(4, 0)\n"
        "print(1, flush=True); time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as hidden:
        try:
            assert hidden.stdout
            hidden.stdout.readline()
            done = subprocess.run(
                [sys.executable, "-c", DENIALS, str(NOBODY), str(sleeper.pid), str(hidden.pid)],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
        finally:
            hidden.kill()
    if "No module" in done.stderr or "Permission" in done.stderr:
        pytest.skip("an ordinary user can't read this installation")
    first, second = done.stdout.splitlines()
    assert "it runs as root, and you are nobody: root may" in first
    assert "it is not dumpable" in second


def test_whoever_traces_this_process_is_not_traced_in_return(place: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    code = (
        "import re\nfrom procmem import trace\n"
        "own = int(re.search(r'TracerPid:\\s(\\d+)', open('/proc/self/status').read())[1])\n"
        "try: trace(pid=own)\nexcept Exception as error: print(error)\n"
    )
    done = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "-e", "trace=none", sys.executable, "-c", code],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "traces this process: each would wait for the other" in done.stdout


def test_nothing_is_left_of_a_command_that_is_killed(place: Path) -> None:
    source = (TARGETS / "untraced.c").read_text()
    untraced = build(place, source, name="untraced")
    with subprocess.Popen(
        [sys.executable, "-m", "procmem", "trace", "-f", "-o", os.devnull, "--",
         "sh", "-c", f"while {untraced} x; [ $? = 3 ]; do :; done"],
        start_new_session=True, stdout=subprocess.PIPE,
    ) as started:  # fmt: skip
        time.sleep(1)
        started.send_signal(signal.SIGKILL)
        assert started.stdout
        # All of its children hold the other end of this pipe.
        assert started.stdout.read() == b""


def test_ends_are_told_of_all(place: Path) -> None:
    made = build(place, "int main(void) { return 0; }", name="nothing")
    with Tracing([str(made)]) as tracing:
        ends = [one for one in tracing if isinstance(one, ProcessEnd)]
    assert [one.returncode for one in ends] == [0]


THREADED = """#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static pthread_barrier_t all;
static void *work(void *last) {
    char *made = malloc(1000);
    *made = 1;
    pthread_barrier_wait(&all);
    if (last) return made;
    for (;;) pause();
}
int main(void) {
    pthread_t thread[3];
    pthread_barrier_init(&all, 0, 4);
    for (long i = 0; i < 3; i++) pthread_create(thread + i, 0, work, (void *)(i == 2));
    pthread_barrier_wait(&all);
    pthread_join(thread[2], 0);
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
"""


@pytest.mark.parametrize("compiler, malloc", [("gcc", True), ("gcc", False), ("musl-gcc", False)])
def test_memory_without_a_name_is_called_as_maps_calls_it(
    place: Path, compiler: str, malloc: bool
) -> None:
    made = build(place, THREADED, "-pthread", compiler=compiler, name=f"threaded-{compiler}")
    table, places = TraceTable(malloc=malloc), Places()
    calls: list[tuple[MemoryCall, str]] = []
    maps: RegionTable[Region] | None = None
    lines = ""
    read, write = os.pipe()
    os.set_blocking(read, False)
    with Tracing([str(made)], stdout=write, malloc=malloc) as tracing:
        for group in tracing.groups():
            for one in group:
                lines += table.add(one)
                if isinstance(one, MemoryCall) and not one.is_function:
                    places.watch(one)
                    known = places.known(one)
                    calls.append((one, known.word if known else ""))
            with contextlib.suppress(BlockingIOError):
                if not group and maps is None and os.read(read, 100):
                    maps = Process(tracing.pid).maps()
                    maps.by_kind()  # while it lives
                    tracing.send_signal(signal.SIGKILL)
    os.close(read)
    os.close(write)
    lines += table.end()
    assert maps is not None
    names = {(one.start, one.end, str(one.perms)): one for one in maps}
    shown = {}
    for call, at_that_time in calls:
        told, known = call.region_row, places.known(call)
        region = names.get(told[:3]) if told and call.name in ("mmap", "mprotect") else None
        if region is None:
            continue
        assert told
        word = known.word if known else told[3]
        shown[region] = word
        # At that time it was said, or guessed, or said to be no more than it is.
        assert at_that_time in (word, word + "?", "", "thread stack?"), (region, at_that_time)
    if compiler == "gcc":  # with musl the kernel maps the C library, which is the loader as well
        assert {one.kind for one in shown} >= {RegionKind.TEXT, RegionKind.BSS}
    for region, word in shown.items():
        if region.kind is RegionKind.ARENA and not malloc:
            assert word == region.name + "?"
        elif region.kind is not RegionKind.OTHER and not (region.use and not region.kind_guess):
            assert word == region.name, (region, region.kind_evidence)
    stacks = [one for one in maps if one.kind is RegionKind.THREAD_STACK]
    assert stacks
    for stack in stacks:
        assert stack.name in lines
    if any(one.kind is RegionKind.ARENA for one in maps):
        arena = "malloc arena" if malloc else "malloc arena?"
        assert f"{arena}\n" in lines
    assert "stack guard?" not in lines


def test_names_in_json_are_those_of_maps(place: Path) -> None:
    made = build(place, THREADED.replace("for (;;) pause();", "return 0;"), "-pthread", name="ends")
    told = json.loads(command("--json", "--", made).stderr)
    regions = [(call, call["region"]) for call in told["calls"] if call["region"]]
    kinds = {region["kind"] for _, region in regions}
    assert {"text", "rodata", "data"} <= kinds
    asked = [(call, r) for call, r in regions if r["kind_evidence"] == "MAP_STACK"]
    for _, region in asked:
        assert (region["name"], region["kind_guess"]) in (
            ("thread stack", True),
            ("stack guard", True),
        )
    assert len(told["stacks"]) == 3
    for stack in told["stacks"]:
        assert stack["pid"] == told["pid"] != stack["tid"]
        assert stack["end"] - stack["start"] >= 4 * PAGE
    arenas = [r for _, r in regions if r["kind"] == "arena"]
    for region in arenas:
        assert region["start"] % (64 << 20) == 0 or region["name"] == "malloc arena, reserved"
        assert region["use"] == "malloc arena"
        assert region["kind_guess"] is region["use_guess"] is True


REUSED = """#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    pid_t first = getpid();
    if (fork()) return 3;
    while (!kill(first, 0)) usleep(1000);
    uint64_t words[11] = {0};
    words[4] = SIGCHLD;
    words[8] = (uintptr_t)&first;
    words[9] = 1;
    long child = syscall(435, words, sizeof words);
    if (!child) return getpid() != first;
    if (child < 0) return 100;
    waitpid(child, 0, 0);
    return 5;
}
"""


@pytest.mark.parametrize("follow", [True, False])
def test_a_descendant_with_the_pid_of_the_program(place: Path, follow: bool) -> None:
    """A daemon that lives on may be given the number of the program that started it."""
    made = build(place, REUSED, name="reused")
    if os.geteuid():
        pytest.skip("clone3(2) with set_tid takes root (CAP_CHECKPOINT_RESTORE)")
    alone = trace([made], follow=True)
    if 100 in alone.ended.values():
        pytest.skip("clone3(2) with set_tid is not allowed here")
    traced = trace([made], follow=follow)
    assert traced.returncode == 3
    ends = [call.args["status"] for call in traced if call.name == "exit_group"]
    assert sorted(ends) == ([0, 3, 5] if follow else [3])
