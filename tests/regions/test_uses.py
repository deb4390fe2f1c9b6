"""What memory is used for, and which words are guesses: from captured programs, and live."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import procmem
from procmem import (
    KiB,
    MiB,
    Process,
    RegionKind,
    RegionTable,
    Use,
    parse_maps,
    parse_smaps,
)
from procmem.regions.kinds import kind_word, name_word
from procmem.view.maps import grouped_table, region_table
from tests.support.paths import FIXTURES
from tests.support.stacks import (
    compiled,
    has_marked_guards,
    pointer_of,
    region_at,
    stacks_in,
    wait_for,
)
from tests.support.texts import kernel_line

K = RegionKind
PAGE = os.sysconf("SC_PAGESIZE")
PROGRAMS = FIXTURES / "programs"
NAMES = sorted(path.stem for path in PROGRAMS.glob("*.smaps"))


def captured(name: str) -> tuple[RegionTable[Any], list[int]]:
    table = parse_smaps((PROGRAMS / f"{name}.smaps").read_bytes())
    pointers = (PROGRAMS / f"{name}.stacks").read_text().split()
    return table, [int(pointer, 16) for pointer in pointers]


def only_maps(name: str) -> RegionTable[Any]:
    text = (PROGRAMS / f"{name}.smaps").read_bytes()
    lines = [line for line in text.split(b"\n") if re.match(rb"[0-9a-f]+-", line)]
    return parse_maps(b"\n".join(lines) + b"\n")


def uses_of(table: RegionTable[Any]) -> set[str]:
    return {region.use.name for region in table if region.use is not None}


# ---- texts of real programs ----


@pytest.mark.parametrize("name", [name for name in NAMES if name != "odd"])
@pytest.mark.parametrize("view", ["smaps", "maps"])
def test_a_thread_stack_is_one_where_a_thread_is(name: str, view: str) -> None:
    table, pointers = captured(name)
    homes = {region.start for p in pointers if (region := table.find(p)) is not None}
    # glibc keeps the stacks of threads that have ended. The flag is what MAP_STACK leaves.
    kept = {region.start for region in table if "nh" in region.vm_flags} - homes
    if view == "maps":
        table = only_maps(name)
    stacks = [region for region in table if region.kind is K.THREAD_STACK]
    assert {region.start for region in stacks} <= homes | kept
    if name not in ("go", "asan", "glibc-2.43"):
        assert len(stacks) >= len(pointers) - 1  # the main thread is in [stack]
    for region in stacks:
        assert (region.kind_guess, kind_word(region)) == (True, "thread stack?")
        assert not region.perms.execute


@pytest.mark.parametrize("name", NAMES)
def test_an_arena_needs_a_malloc_that_makes_some(name: str) -> None:
    table, _ = captured(name)
    arenas = [region for region in table if region.kind is K.ARENA]
    # gcc's AddressSanitizer, jemalloc and musl have none of glibc's; Go has no malloc.
    assert bool(arenas) == (name in ("java", "node", "python", "odd", "glibc-2.43"))
    assert all(region.kind_guess for region in arenas)


@pytest.mark.parametrize("name", NAMES)
def test_guesses_are_marked_in_tables_and_json(name: str) -> None:
    table, _ = captured(name)
    text = region_table(table)
    for region in table:
        row = region.to_record()
        assert row["kind_guess"] is region.kind_guess
        assert region.kind_guess == (region.kind_evidence in ("position", "none"))
        if region.use is not None:
            told = (row["use"], row["use_evidence"], row["use_guess"])
            assert told == (region.use.name, region.use.evidence, region.use.guess)
            assert str(region.use).endswith("?") == region.use.guess
    rows = {line.split()[0].lstrip("0"): line for line in text.splitlines() if line.strip()}
    for region in table:
        words = re.split(r"  +", rows[f"{region.start:x}"].strip())
        assert kind_word(region) in words
        assert name_word(region) in words[-1] or region.pathname
    again = RegionTable.from_json(table.to_json())
    assert [r.use for r in again] == [r.use for r in table]
    assert [r.kind_guess for r in again] == [r.kind_guess for r in table]


EXPECTED = {
    "asan": {"AddressSanitizer shadow", "AddressSanitizer shadow gap", "AddressSanitizer heap"},
    "chromium-renderer": {"PartitionAlloc", "V8 cage", "V8 snapshot", "Chromium resources"},
    "go": {"Go heap", "Go runtime metadata"},
    "java": {"JVM heap", "JVM class space", "JVM code cache", "JVM class data archive"},
    "jemalloc": {"jemalloc"},
    "node": {"V8 heap", "V8 code", "malloc arena"},
    "python": {"malloc arena"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_uses_of_captured_programs(name: str) -> None:
    table, _ = captured(name)
    assert uses_of(table) >= EXPECTED[name]
    others = {use for one, uses in EXPECTED.items() if one != name for use in uses}
    allowed = EXPECTED[name] | {"malloc arena", "V8 heap", "V8 code", "CPython objects"}
    assert uses_of(table) & others <= allowed


def test_one_allocators_reservation_is_one_thing() -> None:
    table, _ = captured("chromium-renderer")
    runs: dict[int, set[str | None]] = {}
    start = end = -1
    for region in table:
        if region.inode or region.pathname or region.kind is K.BSS:
            end = -1
            continue
        if region.start != end:
            start = region.start
        end = region.end
        if start < 0x7000_0000_0000:
            runs.setdefault(start, set()).add(None if region.use is None else region.use.name)
            assert region.kind in (K.ANON, K.GUARD)
    assert [uses for uses in runs.values() if len(uses) > 1] == []


def test_executable_memory_is_code_and_no_stack() -> None:
    at = 0x7F0000000000
    guard = kernel_line(at, at + PAGE, "---p", 0, (0, 0), 0, b"").text
    body = kernel_line(at + PAGE, at + MiB, "rwxp", 0, (0, 0), 0, b"").text
    table = parse_maps(guard + b"\n" + body + b"\n")
    assert [(r.kind, r.use and r.use.name) for r in table][1] == (K.ANON, "JIT code")
    # Where the first stack is executable, all are.
    stack = kernel_line(0x7FFF00000000, 0x7FFF00021000, "rwxp", 0, (0, 0), 0, b"[stack]").text
    table = parse_maps(guard + b"\n" + body + b"\n" + stack + b"\n")
    assert [kind_word(r) for r in table] == ["guard?", "thread stack?", "stack"]


def stack_text(*lines: tuple[int, int, str], libc: bytes = b"/usr/lib/libc.so.6") -> bytes:
    at = 0x7F0000000000
    text = [kernel_line(at, at + PAGE, "r-xp", 0, (8, 1), 7, libc).text]
    at += 64 * MiB
    for skip, size, perms in lines:
        at += skip
        text.append(kernel_line(at, at + size, perms, 0, (0, 0), 0, b"").text)
        at += size
    return b"\n".join(text) + b"\n"


@pytest.mark.parametrize(
    "lines, libc, expected",
    [
        ([(0, PAGE, "---p"), (0, 8 * MiB, "rw-p")], b"/usr/lib/libc.so.6", True),
        ([(0, PAGE, "---p"), (0, 8 * MiB, "rw-p")], b"/lib/ld-musl-x86_64.so.1", True),
        ([(0, PAGE, "---p"), (0, 8 * MiB, "rw-p")], b"/system/lib64/libc.so", True),
        ([(0, PAGE, "---p"), (0, 8 * MiB, "rw-p")], b"/srv/agent", False),
        ([(0, PAGE, "---p"), (0, 8 * MiB, "rw-p"), (0, MiB, "---p")], b"/lib/libc.so.6", False),
        ([(0, 512 * KiB, "---p"), (0, MiB, "rw-p")], b"/lib/libc.so.6", False),
        ([(0, PAGE, "---p"), (0, MiB, "rw-s")], b"/lib/libc.so.6", False),
        ([(0, PAGE, "---p"), (PAGE, MiB, "rw-p")], b"/lib/libc.so.6", False),
    ],
)
def test_what_contradicts_a_stack_removes_the_guess(
    lines: list[tuple[int, int, str]], libc: bytes, expected: bool
) -> None:
    table = parse_maps(stack_text(*lines, libc=libc))
    assert any(r.kind is K.THREAD_STACK for r in table) == expected


def test_stacks_in_a_row_are_all_stacks() -> None:
    pairs = [(0, PAGE, "---p"), (0, 8 * MiB, "rw-p")] * 9
    kinds = [r.kind for r in parse_maps(stack_text(*pairs))]
    assert kinds.count(K.THREAD_STACK) == 9


def test_a_flag_of_stacks_that_others_lack_decides() -> None:
    at = 0x7F0000000000
    text = [
        kernel_line(at, at + PAGE, "r-xp", 0, (8, 1), 7, b"/lib/libc.so.6").text,
        b"VmFlags: rd ex",
    ]
    for number, flags in enumerate((b"rd wr ac nh", b"rd wr ac", b"rd wr nr")):
        start = at + (number + 1) * 64 * MiB
        text += [
            kernel_line(start, start + PAGE, "---p", 0, (0, 0), 0, b"").text,
            b"VmFlags: mr",
            kernel_line(start + PAGE, start + MiB, "rw-p", 0, (0, 0), 0, b"").text,
            b"VmFlags: " + flags,
        ]
    table = parse_smaps(b"\n".join(text) + b"\n")
    assert [r.kind is K.THREAD_STACK for r in table if r.perms == "rw-p"] == [True, False, False]


def test_guards_without_a_region_show_in_a_flag() -> None:
    at = 0x7F0000000000
    text = [
        kernel_line(at, at + PAGE, "r-xp", 0, (8, 1), 7, b"/lib/libc.so.6").text,
        b"VmFlags: rd ex",
    ]
    for number, flags in enumerate((b"rd wr ac nh gu", b"rd wr ac gu", b"rd wr ac nh")):
        start = at + (number + 1) * 64 * MiB
        text += [
            kernel_line(start, start + MiB, "rw-p", 0, (0, 0), 0, b"").text,
            b"VmFlags: " + flags,
        ]
    table = parse_smaps(b"\n".join(text) + b"\n")
    assert [kind_word(r) for r in table if r.perms == "rw-p"] == ["thread stack?", "anon", "anon"]


MARKS = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
static void *waits(void *x) { for (;;) pause(); return x; }
int main(void) {
    /* As glibc 2.42 does: one region for each stack, and its guard a mark in the page table. */
    size_t size = 1 << 20;
    char *at = mmap(0, 4 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_t thread; pthread_attr_t attr;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < 4; i++) {
        if (madvise(at + i * size, 4096, 102)) { puts("no guards"); return 0; }
        pthread_attr_init(&attr); pthread_attr_setstack(&attr, at + i * size, size);
        pthread_create(&thread, &attr, waits, 0);
    }
    sleep(1); printf("%lx\n", (unsigned long)at); fflush(stdout);
    for (;;) pause();
}
"""


def test_stacks_that_are_one_region(tmp_path: Path) -> None:
    program = compiled("#include <signal.h>\n" + MARKS, tmp_path)
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline().strip()
            if said == "no guards":
                pytest.skip("kernel feature missing: MADV_GUARD_INSTALL (Linux 6.13)")
            all_wait(process.pid)
            region = region_at(Process(process.pid).maps(), int(said, 16))
            assert (kind_word(region), region.kind_evidence) == ("thread stack", "stack pointer")
            assert region.name.startswith("stacks of 4 threads")
        finally:
            process.kill()


PLAIN_ARENA = (
    b"7f0000000000-7f0000021000 rw-p 00000000 00:00 0 \n"
    b"7f0000021000-7f0004000000 ---p 00000000 00:00 0 \n"
)


def test_named_arenas_have_their_reserve_behind_them() -> None:
    named = PLAIN_ARENA.replace(b"00:00 0 \n", b"00:00 0    [anon: glibc: malloc arena]\n", 1)
    assert [r.kind for r in parse_maps(named)] == [K.ARENA, K.ARENA]
    assert parse_maps(named)[1].name == "malloc arena, reserved"
    assert [kind_word(r) for r in parse_maps(named)] == ["arena", "arena?"]


def test_the_stack_is_the_main_threads_alone() -> None:
    text = (
        b"7f0008000000-7f0008001000 rw-p 00000000 00:00 0    [anon:thread signal stack]\n"
        b"7ffd1c0d1000-7ffd1c0f2000 rw-p 00000000 00:00 0    [stack]\n"
    )
    table = parse_maps(text)
    assert [r.name for r in table.filter(kind="stack")] == ["stack"]
    assert (table[0].kind, table[0].name) == (K.ANON, "thread signal stack")


def test_a_named_stack_has_a_guard_of_its_name() -> None:
    text = (
        b"7f0000000000-7f0000001000 ---p 00000000 00:00 0    [anon:stack_and_tls:12]\n"
        b"7f0000001000-7f0000100000 rw-p 00000000 00:00 0    [anon:stack_and_tls:12]\n"
    )
    assert [kind_word(r) for r in parse_maps(text)] == ["guard", "thread stack"]


def test_files_of_emulators_that_print_no_inodes_are_files() -> None:
    text = (
        b"00010000-0001b000 r-xp 00000000 00:00 0 /bin/true\n"
        b"0001b000-0001c000 r--p 0000b000 00:00 0 /bin/true\n"
        b"00020000-00021000 r--p 00000000 00:00 0 /srv/data\n"
    )
    kinds = [(r.kind, r.use) for r in parse_maps(text)]
    assert kinds == [(K.TEXT, None), (K.RODATA, None), (K.FILE, None)]


def test_go_names_its_memory() -> None:
    line = b"c000000000-c000400000 rw-p 00000000 00:00 0      [anon: Go: heap]\n"
    (region,) = parse_maps(line)
    assert (region.kind, region.name, region.use) == (K.ANON, "Go: heap", Use("Go heap", "name"))


@pytest.mark.parametrize(
    "raw, use",
    [
        (b"/memfd:doublemapper (deleted)", ".NET code and its writable view"),
        (b"/memfd:pulseaudio (deleted)", "sound buffers"),
        (b"/memfd:wayland-shm (deleted)", "Wayland buffers"),
        (b"/memfd:JITCode:QtQml (deleted)", "JIT code"),
        (b"/memfd:mozilla-ipc (deleted)", "Firefox shared memory"),
        (b"/memfd:x (deleted)", None),
        (b"/dev/shm/.org.chromium.Chromium.Ab12 (deleted)", "Chromium shared memory"),
        (b"/dev/shm/PostgreSQL.123", "PostgreSQL dynamic shared memory"),
        (b"/dev/shm/sem.lock", "POSIX semaphore"),
        (b"/dev/dri/renderD128", "DRM (graphics) memory"),
        (b"anon_inode:i915.gem", "DRM (graphics) memory"),
        (b"/dev/nvidia0", "NVIDIA driver memory"),
        (b"/dev/nvidiactl", "NVIDIA driver memory"),
        (b"/dev/nvidia-uvm", "NVIDIA driver memory"),
        (b"anon_inode:kvm-vcpu:0", "KVM virtual CPU"),
        (b"anon_inode:[perf_event]", "perf ring buffer"),
        (b"/[aio] (deleted)", "asynchronous I/O ring"),
        (b"[anon:dalvik-main space]", "Android runtime: dalvik-main space"),
        (b"[anon:scudo:primary]", "scudo malloc"),
        (b"[anon:cpython:pymalloc]", "CPython: cpython:pymalloc"),
        (b"[anon:my buffer]", None),
        (b"/tmp/hsperfdata_me/77", "JVM performance counters"),
        (b"/srv/data", None),
    ],
)  # fmt: skip
def test_uses_by_name(raw: bytes, use: str | None) -> None:
    inode = 9 if raw.startswith(b"/") else 0
    line = kernel_line(1 << 40, (1 << 40) + 8192, "rw-s", 0, (0, 1), inode, raw).text + b"\n"
    region = parse_maps(line)[0]
    assert (region.use and region.use.name) == use
    assert region.use is None or not region.use.guess


@pytest.mark.parametrize(
    "raw, use",
    [
        (b"/memfd:jitter-buffer (deleted)", "None"),
        (b"/memfd:digits (deleted)", "None"),
        (b"/memfd:data.0 (deleted)", "None"),
        (b"/memfd:v8motor (deleted)", "None"),
        (b"/memfd:my-jit (deleted)", "JIT code?"),
        (b"/memfd:vmem (deleted)", "Erlang JIT code?"),
        (b"/memfd:java_heap (deleted)", "JVM heap?"),
        (b"/memfd:shared_memory_7 (deleted)", "Chromium shared memory?"),
        (b"/memfd:systemd-like (deleted)", "systemd?"),
        (b"/dev/shm/ShmBuffers", "None"),
        (b"/dev/shm/torch_light", "PyTorch shared memory?"),
        (b"/dev/shm/psm_x", "Python multiprocessing shared memory?"),
        (b"/dev/shm/psm_0a1b2c3d", "Python multiprocessing shared memory"),
        (b"/srv/quake/levels.pak", "Chromium resources?"),
        (b"/srv/x.jsa", "JVM class data archive?"),
        (b"/srv/lib/modules", "JVM modules?"),
        (b"/srv/LC_ALL/x", "locale data?"),
        (b"/usr/lib/locale/C.utf8/LC_CTYPE", "locale data"),
        (b"[anon:v8engine cylinders]", "None"),
        (b"[anon:mi-cache]", "None"),
        (b"[anon:js-cache]", "None"),
        (b"[anon:jemalloc statistics]", "None"),
        (b"[anon:low shadow]", "AddressSanitizer shadow?"),
    ],
)
def test_names_that_any_program_may_give_are_guesses(raw: bytes, use: str) -> None:
    inode = 9 if raw.startswith(b"/") else 0
    line = kernel_line(1 << 40, (1 << 40) + 8192, "rw-p", 0, (0, 1), inode, raw).text + b"\n"
    assert str(parse_maps(line)[0].use) == use


@pytest.mark.parametrize(
    "raw, library, use",
    [
        (b"/srv/x.jsa", b"libjvm.so", "JVM class data archive"),
        (b"/srv/lib/modules", b"libjvm.so", "JVM modules"),
        (b"/srv/de.pak", b"chrome_100_percent.pak", "Chromium resources"),
        (b"[anon:low shadow]", b"libasan.so.8", "AddressSanitizer shadow"),
    ],
)
def test_the_runtime_that_gives_a_name_makes_it_a_fact(
    raw: bytes, library: bytes, use: str
) -> None:
    inode = 9 if raw.startswith(b"/") else 0
    text = kernel_line(1 << 40, (1 << 40) + 8192, "r--p", 0, (0, 1), inode, raw).text + b"\n"
    text += kernel_line(1 << 41, (1 << 41) + 8192, "r--p", 0, (0, 1), 8, b"/opt/" + library).text
    assert str(parse_maps(text + b"\n")[0].use) == use


@pytest.mark.parametrize(
    "offset, use",
    [
        (0, "io_uring submission queue"),
        (0x8000000, "io_uring completion queue"),
        (0x10000000, "io_uring submission entries"),
        (0x80000000, "io_uring buffer ring"),
        (0x80010000, "io_uring buffer ring"),
        (0x1000, "io_uring"),
    ],
)
def test_the_rings_of_io_uring(offset: int, use: str) -> None:
    line = kernel_line(
        1 << 40, (1 << 40) + 8192, "rw-s", offset, (0, 1), 9, b"anon_inode:[io_uring]"
    ).text
    region = parse_maps(line + b"\n")[0]
    assert (region.kind, region.use) == (K.DEVICE, Use(use, "name"))


# ---- facts of live processes ----


def test_musl(tmp_path: Path) -> None:
    program = compiled(THREADS, tmp_path, compiler="musl-gcc")
    check_threads(program, 3)


THREADS = r"""
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
static void *waits(void *x) {
    x = malloc(200000); memset(x, 1, 200000); for (;;) pause(); return x;
}
int main(void) {
    pthread_t thread;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    memset(malloc(4 << 20), 1, 4 << 20);
    for (int i = 0; i < 3; i++) pthread_create(&thread, 0, waits, 0);
    sleep(1); puts("ready"); fflush(stdout); for (;;) pause();
}
"""


def all_wait(pid: int) -> None:
    """Waits until every thread does: one that is still running shows no stack pointer."""
    tasks = Path(f"/proc/{pid}/task")
    wait_for(lambda: None not in [pointer_of(pid, int(tid)) for tid in os.listdir(tasks)])


def check_threads(program: Path, threads: int) -> RegionTable[Any]:
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            all_wait(process.pid)
            table: RegionTable[Any] = Process(process.pid).smaps()
            stacks = [region for region in table if region.kind is K.THREAD_STACK]
            assert stacks_in(table)[0] == threads
            assert len(stacks) == threads or has_marked_guards(table, stacks[0])
            assert not any(region.kind_guess for region in stacks)
            pointers = {pointer_of(process.pid, int(tid))
                        for tid in os.listdir(f"/proc/{process.pid}/task")}  # fmt: skip
            for stack in stacks:
                assert any(pointer in stack for pointer in pointers if pointer is not None)
            return table
        finally:
            process.kill()


def sanitized(folder: Path, name: str, compiler: str) -> RegionTable[Any]:
    return check_threads(compiled(THREADS, folder, f"-fsanitize={name}", compiler=compiler), 3)


def test_the_shadow_of_address_sanitizer(tmp_path: Path) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("addresses of x86-64")
    table = sanitized(tmp_path, "address", "gcc")
    for address in (0x7FFF8000, 0x2008FFF8000):
        region = region_at(table, address)
        assert region.use is not None
        assert (str(region.use), region.kind) == ("AddressSanitizer shadow", K.ANON)
    assert "AddressSanitizer heap" in uses_of(table)
    assert K.ARENA not in table.by_kind()


@pytest.mark.parametrize("size, is_heap", [(4 << 40, True), (3 << 40, False)])
def test_the_heap_of_newer_address_sanitizers(size: int, is_heap: bool) -> None:
    """As of gcc 16: it is reserved anywhere, and a neighbour is no part of it."""
    heap = 0x7AFC207DE000
    places = [
        (0x7FFF7000, 0x8FFF7000, "rw-p"),
        (0x8FFF7000, 0x2008FFF7000, "---p"),
        (0x2008FFF7000, 0x10007FFF8000, "rw-p"),
        (heap, heap + size // 2, "---p"),
        (heap + size // 2, heap + size // 2 + 256 * KiB, "rw-p"),
        (heap + size // 2 + 256 * KiB, heap + size, "---p"),
        (heap + size, heap + size + 8 * KiB, "rw-p"),
    ]
    text = b"\n".join(kernel_line(a, b, perms, 0, (0, 0), 0, b"").text for a, b, perms in places)
    uses = [str(r.use) for r in parse_maps(text + b"\n")]
    assert uses[3:] == ["AddressSanitizer heap" if is_heap else "None"] * 3 + ["None"]


def test_the_heap_of_leak_sanitizer(tmp_path: Path) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("addresses of x86-64")
    table = sanitized(tmp_path, "leak", "gcc")
    assert {"LeakSanitizer heap"} == {one for one in uses_of(table) if "Sanitizer" in one}
    assert K.ARENA not in table.by_kind()


@pytest.mark.parametrize("library", ["jemalloc", "tcmalloc", "mimalloc"])
def test_allocators_that_replace_malloc(library: str, tmp_path: Path) -> None:
    table = check_threads(compiled(THREADS, tmp_path, f"-l{library}"), 3)
    (use,) = {str(r.use) for r in table if r.use is not None and library in r.use.name}
    assert use == f"{library}?"
    assert K.ARENA not in table.by_kind()


def test_pools_of_cpython() -> None:
    keep = [[number] for number in range(60_000)]
    table = Process().maps()
    region = table.find(id(keep[30_000]))
    assert region is not None
    if region.pathname == "[heap]":
        pytest.skip("obmalloc is not used here (PYTHONMALLOC, or a free-threaded Python)")
    assert region.use is not None
    assert (region.use.name, region.use.guess) == ("CPython objects", False)
    assert "obmalloc" in region.use.evidence


def test_large_mappings_of_cpython_are_no_pools() -> None:
    with mmap.mmap(-1, 4 * MiB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for at in range(0, 4 * MiB, 16 * KiB):
            memory[at : at + 16] = struct.pack("=QQ", 3, 12345)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        region = Process().maps().find(address)
        assert region is not None
        name = None if region.use is None else region.use.name
        if region.start == address and region.size == 4 * MiB:
            assert name is None


# ---- programs that may be installed ----


def live(argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options
    )


def no_stack_without_a_thread(pid: int) -> RegionTable[Any]:
    """The table of a process that is quiet; the truth is read before and after."""

    def pointers() -> dict[str, int | None]:
        return {tid: pointer_of(pid, int(tid)) for tid in os.listdir(f"/proc/{pid}/task")}

    for _ in range(500):
        before, table, after = pointers(), Process(pid).smaps(), pointers()
        kinds = [region.kind for region in table]
        if before.keys() == after.keys() and pointers().keys() == before.keys():
            break
    seen = [p for p in (*before.values(), *after.values()) if p is not None]
    running = None in before.values() or None in after.values()
    for region, kind in zip(table, kinds, strict=True):
        if kind is K.THREAD_STACK:
            assert not region.kind_guess
            assert running or any(pointer in region for pointer in seen)
        if kind is K.ARENA and not region.kind_guess:
            assert is_glibcs(pid, region.start)
    return table


def is_glibcs(pid: int, address: int) -> bool:
    """Whether a heap of malloc is there: its first word is the address of its arena, which is
    behind the header of the arena's first heap (struct heap_info in malloc/arena.c)."""
    size = 64 * MiB
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        (arena,) = struct.unpack("@P", os.pread(memory.fileno(), 8, address // size * size))
        first = arena // size * size
        (own,) = struct.unpack("@P", os.pread(memory.fileno(), 8, first))
    return bool(own == arena and 0x20 <= arena - first <= 0x40)


def test_a_live_go_program(tmp_path: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    (tmp_path / "main.go").write_text(
        'package main\nimport ("fmt"; "os")\nvar keep [][]byte\nfunc main() {\n'
        "for i := 0; i < 80; i++ { x := make([]byte, 1<<20); x[0] = 1; keep = append(keep, x) }\n"
        'fmt.Println("ready"); var b [1]byte; os.Stdin.Read(b[:]) }\n'
    )
    environment = {**os.environ, "GO111MODULE": "off", "GOCACHE": str(tmp_path / "cache"),
                   "CGO_ENABLED": "0"}  # fmt: skip
    subprocess.run(
        ["go", "build", "-o", "main", "main.go"], cwd=tmp_path, env=environment, check=True
    )
    with live([str(tmp_path / "main")]) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            table = no_stack_without_a_thread(process.pid)
            kinds = table.by_kind()
            assert K.ARENA not in kinds
            assert K.THREAD_STACK not in kinds
            heap = region_at(table, 0xC000000000)
            assert (str(heap.use), heap.name) == ("Go heap", "Go heap")
            assert "Go runtime metadata" in {str(r.use) for r in table}
        finally:
            process.kill()


def test_a_live_node() -> None:
    with live(["node", "-e", "console.log('ready'); setInterval(() => {}, 1000)"]) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            table = no_stack_without_a_thread(process.pid)
            assert "V8 heap" in uses_of(table)
        finally:
            process.kill()


def test_a_live_jvm(tmp_path: Path) -> None:
    (tmp_path / "Main.java").write_text(
        "public class Main { public static void main(String[] a) throws Exception {"
        ' System.out.println("ready"); System.in.read(); } }'
    )
    with live(["java", "-Xmx64m", str(tmp_path / "Main.java")]) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            table = no_stack_without_a_thread(process.pid)
            assert uses_of(table) >= {"JVM heap", "JVM code cache", "JVM class space"}
        finally:
            process.kill()


@pytest.mark.slow
def test_a_live_chromium(tmp_path: Path) -> None:
    argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", f"--user-data-dir={tmp_path}",
            "--remote-debugging-port=0", "about:blank"]  # fmt: skip
    # Killed, it leaves its socket in TMPDIR; the path of a socket is short.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place,
        live(argv, start_new_session=True, env={**os.environ, "TMPDIR": place}) as process,
    ):
        renderers: list[int] = []

        def has_renderer() -> bool:
            renderers[:] = [
                int(entry.name)
                for entry in Path("/proc").iterdir()
                if entry.name.isdecimal()
                and (line := command_line(entry))
                and b"--type=renderer" in line
                and os.fsencode(tmp_path) in line
            ]
            return bool(renderers)

        try:
            wait_for(has_renderer)
            wait_for(lambda: "PartitionAlloc" in uses_of(Process(renderers[0]).smaps()))
            time.sleep(2)  # its threads start
            for pid in (process.pid, renderers[0]):
                table = no_stack_without_a_thread(pid)
                assert K.ARENA not in table.by_kind()
                assert "PartitionAlloc" in uses_of(table)
                assert {str(r.use) for r in table} >= {"PartitionAlloc"}
        finally:
            os.killpg(process.pid, 9)


@pytest.mark.slow
def test_a_live_postgresql() -> None:
    """The server and one of its processes: one thread each, and no arena."""
    places = ["", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    path = os.pathsep.join((os.environ["PATH"], *places[1:]))
    if shutil.which("initdb", path=path) is None:
        pytest.skip("postgresql (initdb, postgres) is not installed")
    # It refuses to run as root.
    user: dict[str, Any] = (
        {} if os.getuid() else {"user": 65534, "group": 65534, "extra_groups": []}
    )
    with tempfile.TemporaryDirectory() as place:
        if user:
            os.chown(place, 65534, 65534)
        options = {**user, "cwd": place, "env": {"PATH": path, "LC_ALL": "C"}}
        made = subprocess.run(
            ["initdb", "-D", "data", "--no-sync", "-A", "trust", "-U", "tester"],
            capture_output=True, text=True, check=False, **options,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"initdb fails here: {made.stderr[-200:]}")
        server = subprocess.Popen(
            ["postgres", "-D", "data", "-k", place, "-c", "listen_addresses=",
             "-c", "autovacuum=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options,
        )  # fmt: skip
        try:
            wait_for(lambda: Path(place, ".s.PGSQL.5432").exists())
            client = ["psql", "-h", place, "-U", "tester", "-d", "postgres", "-Atc"]
            query = "select pg_backend_pid(); select sum(i) from generate_series(1, 99999) i"
            asked = subprocess.run(
                [*client, query], capture_output=True, text=True, check=True, **options
            )
            backend, total = asked.stdout.split()
            assert total == str(99999 * 50000)
            # The process that served the client ends on its own, after psql has.
            wait_for(lambda: not Path("/proc", backend).exists())
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            assert len(children) >= 3
            for pid in (server.pid, *map(int, children)):
                kinds = no_stack_without_a_thread(pid).by_kind()
                assert K.THREAD_STACK not in kinds
                assert K.ARENA not in kinds
        finally:
            server.send_signal(signal.SIGINT)  # "fast": it ends its processes
            server.wait(60)


def command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def test_this_python() -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        done = subprocess.run(
            [sys.executable, "-c", OUTSIDE, str(os.getpid())],
            capture_output=True, text=True, check=True, timeout=300,
        )  # fmt: skip
        tids = {thread.native_id for thread in threads}
        assert {int(tid) for tid in done.stdout.split()} >= tids, done.stdout
    finally:
        stop.set()
        for thread in threads:
            thread.join()


OUTSIDE = """
import sys, re, procmem
process = procmem.Process(int(sys.argv[1]))
tids = [thread.tid for thread in process.threads()]
for region in process.maps():
    if region.kind is procmem.RegionKind.THREAD_STACK and not region.kind_guess:
        several = r"\\D+(?:\\d+ threads, )?(\\d+)(?: to (\\d+))?"
        first, last = re.match(several, region.name).groups()
        print(*(tid for tid in tids if int(first) <= tid <= int(last or first)))
"""


# ---- marks ----


def test_kinds_take_linear_time() -> None:
    def seconds(count: int) -> float:
        pairs = [(0, PAGE, "---p"), (0, 16 * PAGE, "rw-p")] * count
        table = parse_maps(stack_text(*pairs))
        # A collection of all that other tests have left would take longer than this.
        gc.disable()
        try:
            begun = time.process_time()
            table[0].kind  # noqa: B018
            return time.process_time() - begun
        finally:
            gc.enable()

    # By turns, so that what else the machine does concerns both.
    rounds = [(seconds(1500), seconds(15000)) for _ in range(5)]
    assert min(large for _, large in rounds) < 40 * min(small for small, _ in rounds)


def test_the_face_has_them() -> None:
    assert procmem.Use is Use


def test_totals_of_uses_are_marked_where_some_are_guesses() -> None:
    table, _ = captured("java")
    text = grouped_table(table, "use")
    assert "JVM heap?" in text
    assert "JVM modules?" not in text
    assert "thread stack?" in grouped_table(table, "kind")
    assert sum(len(group) for group in table.by_use().values()) == len(table)
