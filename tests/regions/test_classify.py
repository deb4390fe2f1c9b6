"""What each region is, whose it is and what it is called: from texts, and live with known truth."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from procmem import (
    KiB,
    MeasuredRegion,
    MiB,
    Owner,
    Process,
    Region,
    RegionKind,
    RegionTable,
    parse_maps,
    parse_smaps,
)
from procmem.regions.kinds import kind_word, name_word
from tests.support.paths import FIXTURES
from tests.support.targets import PAGE, VARIANTS, Mapping, Target, Variant, build, machine, needs
from tests.support.texts import kernel_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Target]
    Build = Callable[[str], Path]

K = RegionKind
EXECUTABLE, LIBRARY, LOADER = Owner.EXECUTABLE, Owner.LIBRARY, Owner.LOADER


# ---- names ----

NAMED = [
    # perms, name, kind, name for people
    ("rw-p", b"[heap]", K.HEAP, "heap"),
    ("rw-p", b"[stack]", K.STACK, "stack"),
    ("rw-p", b"[stack:123]", K.THREAD_STACK, "stack of thread 123"),
    ("r-xp", b"[vdso]", K.VDSO, "vdso"),
    ("r-xp", b"[sigpage]", K.VDSO, "sigpage"),
    ("r--p", b"[vvar]", K.VVAR, "vvar"),
    ("r--p", b"[vvar_vclock]", K.VVAR, "vvar_vclock"),
    ("--xp", b"[vsyscall]", K.VSYSCALL, "vsyscall"),
    ("r-xp", b"[vectors]", K.VSYSCALL, "vectors"),
    ("--xp", b"[uprobes]", K.UPROBES, "uprobes"),
    ("r-xp", b"[uprobes-trampoline]", K.UPROBES, "uprobes-trampoline"),
    ("rw-s", b"[gic]", K.DEVICE, "gic"),
    ("---p", b"[page size compat]", K.OTHER, "page size compat"),
    ("rw-p", b"[something new]", K.OTHER, "something new"),
    ("rw-p", b"[anon:my buffer]", K.ANON, "my buffer"),
    ("rw-p", b"[anon:libc_malloc]", K.HEAP, "libc_malloc"),
    ("rw-p", b"[anon:scudo:primary]", K.HEAP, "scudo:primary"),
    ("rw-p", b"[anon:.bss]", K.BSS, ".bss"),
    ("rw-p", b"[anon:stack_and_tls:123]", K.THREAD_STACK, "stack_and_tls:123"),
    ("rw-p", b"[anon: glibc: pthread stack: 5]", K.THREAD_STACK, "glibc: pthread stack: 5"),
    ("rw-p", b"[anon: glibc: malloc arena]", K.ARENA, "glibc: malloc arena"),
    ("rw-p", b"[anon: glibc: malloc]", K.HEAP, "glibc: malloc"),
    ("---p", b"[anon:a guard]", K.GUARD, "a guard"),
    ("rw-s", b"[anon_shmem:shared]", K.SHARED_MEMORY, "shared"),
    ("rw-s", b"/dev/zero (deleted)", K.SHARED_MEMORY, "shared anonymous memory"),
    ("rw-s", b"/SYSV0000beef (deleted)", K.SHARED_MEMORY, "System V shared memory, id 9"),
    ("rw-s", b"/memfd:x (deleted)", K.SHARED_MEMORY, "memfd:x"),
    ("rw-p", b"/memfd:x (deleted)", K.SHARED_MEMORY, "memfd:x"),
    ("rw-s", b"/memfd:a/b\\012c (deleted)", K.SHARED_MEMORY, "memfd:a/b\nc"),
    ("rw-s", b"/dev/shm/x", K.SHARED_MEMORY, "x"),
    ("rw-s", b"/dev/shm/dir/x (deleted)", K.SHARED_MEMORY, "x"),
    ("rw-p", b"/dev/zero", K.ANON, "anonymous"),
    ("rw-s", b"/anon_hugepage (deleted)", K.HUGETLB, "anon_hugepage"),
    ("rw-s", b"/dev/hugepages/x", K.HUGETLB, "x"),
    ("rw-s", b"/secretmem (deleted)", K.OTHER, "secretmem"),
    ("rw-s", b"/[aio] (deleted)", K.DEVICE, "/[aio]"),
    ("rw-s", b"anon_inode:[io_uring]", K.DEVICE, "anon_inode:[io_uring]"),
    ("rw-s", b"anon_inode:[perf_event]", K.DEVICE, "anon_inode:[perf_event]"),
    ("rw-s", b"socket:[1234]", K.DEVICE, "socket:[1234]"),
    ("rw-s", b"/dev/dri/card0", K.DEVICE, "/dev/dri/card0"),
    ("rw-s", b"/dev/nvidia0", K.DEVICE, "/dev/nvidia0"),
    ("r--p", b"/usr/share/locale/x.mo", K.FILE, "x.mo"),
    ("r--s", b"/home/me/hugepages/slides", K.FILE, "slides"),
    ("rw-s", b"/srv/data (deleted)", K.FILE, "data"),
    ("rw-p", b"", K.ANON, "anonymous"),
]


@pytest.mark.parametrize("perms, name, kind, called", NAMED, ids=lambda x: str(x)[:40])
def test_the_kernels_names(perms: str, name: bytes, kind: RegionKind, called: str) -> None:
    inode = 9 if name.startswith(b"/") else 0
    line = kernel_line(1 << 40, (1 << 40) + 8192, perms, 0, (0, 1), inode, name).text + b"\n"
    for table in (parse_maps(line), parse_smaps(line)):
        region = table[0]
        assert (region.kind, region.name, region.owner) == (kind, called, None)
        assert region.kind_evidence == ("position" if name == b"" and kind != K.ANON else "name")


def test_a_named_reserve_is_only_like_a_guard() -> None:
    texts = [
        kernel_line(1 << 40, (1 << 40) + 8192, "---p", 0, (0, 0), 0, name).text
        for name in (b"[anon:my reserve]", b"[anon:stack guard]")
    ]
    regions = [parse_maps(text + b"\n")[0] for text in texts]
    assert [kind_word(one) for one in regions] == ["guard?", "guard"]
    assert [name_word(one) for one in regions] == ["my reserve", "stack guard"]


def test_every_region_has_a_kind_a_name_and_evidence() -> None:
    for path in FIXTURES.glob("*maps"):
        table: RegionTable[Any] = (parse_maps if path.suffix == ".maps" else parse_smaps)(
            path.read_bytes()
        )
        for region in table:
            assert region.kind is not K.OTHER or region.kind_evidence in ("name", "none")
            assert region.name
            assert region.kind_evidence in ("name", "flags", "perms", "position", "none")
            assert (region.owner is None) == (region.kind not in OWNED) or region.kind in MAY_OWN


OWNED = (K.TEXT, K.RODATA, K.RELRO, K.DATA)
MAY_OWN = (K.BSS, K.GUARD, K.FILE)


def test_flags_tell_more_than_names() -> None:
    def flagged(name: bytes, flags: str, perms: str = "rw-p") -> MeasuredRegion:
        line = kernel_line(1 << 40, (1 << 40) + 8192, perms, 0, (0, 1), 9, name).text
        return parse_smaps(line + b"\nVmFlags: " + flags.encode() + b"\n")[0]

    assert flagged(b"/memfd:x (deleted)", "rd wr sh ht", "rw-s").kind is K.HUGETLB
    assert flagged(b"/memfd:x (deleted)", "rd wr sh ht", "rw-s").kind_evidence == "flags"
    assert flagged(b"/srv/x", "rd wr sh io pf", "rw-s").kind is K.DEVICE
    assert flagged(b"/srv/x", "rd wr sh", "rw-s").kind is K.FILE


PROGRAM = b"".join(
    b"%-72b %b\n" % tuple(line.split(b"|")) if b"|" in line else line + b" \n"
    for line in b"""\
555555554000-555555556000 r--p 00000000 08:01 10|/usr/bin/prog
555555556000-55555555a000 r-xp 00002000 08:01 10|/usr/bin/prog
55555555a000-55555555c000 r--p 00006000 08:01 10|/usr/bin/prog
55555555c000-55555555d000 r--p 00007000 08:01 10|/usr/bin/prog
55555555d000-55555555e000 rw-p 00008000 08:01 10|/usr/bin/prog
55555555e000-555555560000 rw-p 00000000 00:00 0
555555560000-555555581000 rw-p 00000000 00:00 0|[heap]
7ffff7c00000-7ffff7c26000 r--p 00000000 08:01 20|/usr/lib/libc.so.6
7ffff7c26000-7ffff7d7b000 r-xp 00026000 08:01 20|/usr/lib/libc.so.6
7ffff7d7b000-7ffff7dce000 r--p 0017b000 08:01 20|/usr/lib/libc.so.6
7ffff7dce000-7ffff7dd2000 r--p 001ce000 08:01 20|/usr/lib/libc.so.6
7ffff7dd2000-7ffff7dd4000 rw-p 001d2000 08:01 20|/usr/lib/libc.so.6
7ffff7dd4000-7ffff7de1000 rw-p 00000000 00:00 0
7ffff7fc7000-7ffff7fc8000 r--p 00000000 08:01 30|/usr/lib/ld-linux-x86-64.so.2
7ffff7fc8000-7ffff7ff0000 r-xp 00001000 08:01 30|/usr/lib/ld-linux-x86-64.so.2
7ffff7ff0000-7ffff7ffb000 r--p 00029000 08:01 30|/usr/lib/ld-linux-x86-64.so.2
7ffff7ffb000-7ffff7ffd000 r--p 00034000 08:01 30|/usr/lib/ld-linux-x86-64.so.2
7ffff7ffd000-7ffff7fff000 rw-p 00036000 08:01 30|/usr/lib/ld-linux-x86-64.so.2
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0|[stack]
""".splitlines()
)


@pytest.mark.parametrize("exe", [None, "/usr/bin/prog"])
def test_a_program_from_its_maps_alone(exe: str | None) -> None:
    table = parse_maps(PROGRAM, exe=exe)
    segments = [K.RODATA, K.TEXT, K.RODATA, K.RELRO, K.DATA]
    assert [region.kind for region in table] == [
        *segments,
        K.BSS,
        K.HEAP,
        *segments,
        K.BSS,
        *segments,
        K.STACK,
    ]
    assert [region.owner for region in table] == [
        *[EXECUTABLE] * 6,
        None,
        *[LIBRARY] * 6,
        *[LOADER] * 5,
        None,
    ]
    assert [region.name for region in table][5:13:7] == ["prog", "libc.so.6"]
    assert table[3].kind_evidence == table[5].kind_evidence == "position"


def test_the_executable_is_the_one_that_is_named() -> None:
    table = parse_maps(PROGRAM, exe="/usr/lib/libc.so.6")
    assert table.filter(path="prog")[0].owner is LIBRARY
    assert table.filter(path="libc.so.6")[0].owner is EXECUTABLE


@pytest.mark.parametrize(
    "name",
    [
        "ld-linux-x86-64.so.2",
        "ld-linux.so.2",
        "ld-linux-aarch64.so.1",
        "ld-musl-x86_64.so.1",
        "ld64.so.2",
        "ld64.so.1",
        "ld-2.31.so",
        "ld.so.1",
        "linker64",
        "linker",
        "ld-linux-x86-64.so.2 (deleted)",
    ],
)
def test_loaders_by_name(name: str) -> None:
    text = PROGRAM.replace(b"ld-linux-x86-64.so.2", name.encode())
    table = parse_maps(text)
    assert table[-2].owner is LOADER
    assert table[0].owner is EXECUTABLE


@pytest.mark.parametrize("name", ["ld", "old.so", "ldap.so", "libld-2.so.1", "gold", "ld-x"])
def test_names_that_are_no_loaders(name: str) -> None:
    table = parse_maps(PROGRAM.replace(b"ld-linux-x86-64.so.2", name.encode()))
    assert table[-2].owner is LIBRARY


def test_a_file_without_code_is_a_file() -> None:
    line = kernel_line(1 << 40, (1 << 40) + 8192, "r--p", 0, (8, 1), 9, b"/usr/lib/locale-archive")
    assert parse_maps(line.text)[0].kind is K.FILE
    shared = kernel_line(1 << 40, (1 << 40) + 8192, "r-xs", 0, (8, 1), 9, b"/srv/jit").text
    assert parse_maps(shared)[0].kind is K.FILE


def stack(guard: int, size: int, at: int = 0x7F0000000000) -> bytes:
    return (
        kernel_line(at, at + guard, "---p", 0, (0, 0), 0, b"").text
        + b"\n"
        + kernel_line(at + guard, at + guard + size, "rw-p", 0, (0, 0), 0, b"").text
        + b"\n"
    )


def test_a_guard_and_a_stack_behind_it() -> None:
    guard, behind = parse_maps(stack(4096, 8 * MiB))
    assert (guard.kind, guard.name) == (K.GUARD, "stack guard")
    assert (behind.kind, behind.name) == (K.THREAD_STACK, "thread stack")
    assert guard.kind_evidence == behind.kind_evidence == "position"


@pytest.mark.parametrize(
    "guard, size, kinds",
    [
        (2 * MiB, 8 * MiB, [K.ANON, K.ANON]),
        (4096, 8192, [K.GUARD, K.ANON]),
        (64 * KiB, 64 * KiB, [K.GUARD, K.THREAD_STACK]),
    ],
)
def test_what_is_no_guard_and_what_is_no_stack(
    guard: int, size: int, kinds: list[RegionKind]
) -> None:
    assert [region.kind for region in parse_maps(stack(guard, size))] == kinds


def test_a_guard_with_nothing_behind_it() -> None:
    (guard,) = parse_maps(kernel_line(1 << 40, (1 << 40) + 4096, "---p", 0, (0, 0), 0, b"").text)
    assert (guard.kind, guard.name) == (K.GUARD, "guard")


def test_an_arena_and_its_reserve() -> None:
    at = 0x7F0004000000
    text = (
        kernel_line(at, at + 132 * KiB, "rw-p", 0, (0, 0), 0, b"").text
        + b"\n"
        + kernel_line(at + 132 * KiB, at + 64 * MiB, "---p", 0, (0, 0), 0, b"").text
        + b"\n"
    )
    used, reserve = parse_maps(text)
    assert used.kind is reserve.kind is K.ARENA
    assert (used.name, reserve.name) == ("malloc arena", "malloc arena, reserved")


@pytest.mark.parametrize(
    "at, used, length, kinds",
    [
        # glibc aligns an arena to its length.
        (0x7F0004001000, 132 * KiB, 64 * MiB, [K.ANON, K.ANON]),
        (0x7F0004000000, 132 * KiB, 32 * MiB, [K.ANON, K.ANON]),
        (0x7F0004000000, 132 * KiB, 60 * MiB, [K.ANON, K.ANON]),
        # Behind a full one the next has merged with it.
        (0x7F0004000000, 65 * MiB, 128 * MiB, [K.ARENA, K.ARENA]),
        (0xF0000000, 132 * KiB, 1 * MiB, [K.ARENA, K.ARENA]),
    ],
)
def test_what_is_an_arena_shows_in_its_place(
    at: int, used: int, length: int, kinds: list[RegionKind]
) -> None:
    text = (
        kernel_line(at, at + used, "rw-p", 0, (0, 0), 0, b"").text
        + b"\n"
        + kernel_line(at + used, at + length, "---p", 0, (0, 0), 0, b"").text
        + b"\n"
    )
    assert [region.kind for region in parse_maps(text)] == kinds


# ---- live: the parts of programs ----


def kind_at(table: RegionTable[Any], address: int) -> tuple[RegionKind, Owner | None]:
    region = table.find(address)
    assert region is not None, hex(address)
    return region.kind, region.owner


LINKED = [name for name, v in VARIANTS.items() if not v.library]
STATIC = ("static", "static-pie")
FIXED = ("no-pie", "old-style")


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("view", ["maps", "smaps", "residency"])
def test_the_parts_of_an_executable(start: Start, variant: Build, name: str, view: str) -> None:
    target = start(variant(name))
    truths = target.truths
    table: RegionTable[Any] = getattr(Process(target.pid), view)()
    assert kind_at(table, truths.main) == (K.TEXT, EXECUTABLE)
    assert kind_at(table, truths.data + truths.data_bytes // 2) == (K.DATA, EXECUTABLE)
    middle = truths.bss + truths.bss_bytes // 2
    if truths.bss_bytes > 4 * PAGE:
        assert kind_at(table, middle) == (K.BSS, EXECUTABLE)
    rodata = table.find(truths.rodata + truths.rodata_bytes // 2)
    assert rodata is not None
    # Without separate code the linker puts it into the segment of the code.
    kinds = {K.RODATA, K.TEXT} if rodata.perms.execute else {K.RODATA}
    assert rodata.kind in kinds
    assert rodata.owner is EXECUTABLE
    relro = table.find(truths.relro)
    assert relro is not None
    if name in FIXED:
        # Addresses that are known when linking need no relocation.
        assert relro.kind is rodata.kind
    else:
        assert relro.kind is (K.DATA if name == "norelro" else K.RELRO)
    protected = [r for r in table if (r.kind, r.owner) == (K.RELRO, EXECUTABLE)]
    assert len(protected) == (name != "norelro")
    assert relro.owner is EXECUTABLE
    for region in table:
        if region.owner is EXECUTABLE:
            assert region.name == "target"
    if name not in STATIC:
        assert kind_at(table, truths.libc_text) == (K.TEXT, LIBRARY)
        libc_data = table.find(truths.libc_data)
        assert libc_data is not None
        assert libc_data.kind in (K.DATA, K.BSS)
        loader = table.find(truths.loader)
        assert loader is not None
        assert loader.owner is LOADER
        text = [r for r in table if r.owner is LOADER and r.perms.execute]
        assert [r.kind for r in text] == [K.TEXT]


@pytest.mark.parametrize("view", ["maps", "smaps"])
def test_the_parts_of_a_library(start: Start, target_binary: Path, view: str) -> None:
    small = Variant("small-library", data=200_000, bss=100_000, rodata=60_000, library=True)
    target = start(build(small))
    truths = target.truths
    table: RegionTable[Any] = getattr(Process(target.pid), view)()
    assert kind_at(table, truths.library_text) == (K.TEXT, LIBRARY)
    assert kind_at(table, truths.library_data + 100_000) == (K.DATA, LIBRARY)
    assert kind_at(table, truths.library_bss + 60_000) == (K.BSS, LIBRARY)
    assert kind_at(table, truths.library_rodata + 30_000) == (K.RODATA, LIBRARY)
    assert kind_at(table, truths.library_relro) == (K.RELRO, LIBRARY)
    region = table.find(truths.library_text)
    assert region is not None
    assert region.name == "libtarget.so"


def test_the_kernels_own_regions(target: Target) -> None:
    table = Process(target.pid).maps()
    assert kind_at(table, target.truths.stack) == (K.STACK, None)
    assert kind_at(table, target.truths.argv) == (K.STACK, None)
    assert kind_at(table, target.truths.vdso) == (K.VDSO, None)
    kinds = table.by_kind()
    assert all((r.pathname or "").startswith("[vvar") for r in kinds.get(K.VVAR, ()))
    if table[-1].pathname == "[vsyscall]":
        assert table[-1].kind is K.VSYSCALL
    assert K.HEAP not in kinds


def test_the_heap(target: Target) -> None:
    before, after = target.brk(10 * PAGE)
    region = Process(target.pid).maps().find(before)
    assert region is not None
    assert (region.kind, region.name, region.end) == (K.HEAP, "heap", after)
    chunk = target.malloc(1000)
    found = Process(target.pid).maps().find(chunk)
    assert found is not None
    assert found.kind is K.HEAP


# ---- live: threads and arenas ----


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("size", [64 * KiB, 0, 3 * MiB])
def test_the_stacks_of_threads_and_their_guards(target: Target, count: int, size: int) -> None:
    threads = target.threads(count, stack=size)
    table = Process(target.pid).maps()
    inside: Counter[Region] = Counter()
    for thread in threads.threads:
        stack = table.find(thread.local)
        assert stack is not None
        inside[stack] += 1
    assert [*table.by_kind()[K.THREAD_STACK]] == sorted(inside, key=lambda region: region.start)
    for region, several in inside.items():
        assert (region.kind, region.owner) == (K.THREAD_STACK, None)
        below = table.find(region.start - 1)
        if below is not None and below.perms == "---p":
            assert several == 1
            assert (below.kind, below.size) == (K.GUARD, threads.guard)
        else:
            # Marks in the page table (glibc 2.42), so that stacks side by side are one region.
            assert region.use is not None
            guards = several * threads.guard // KiB
            assert region.use.name == f"thread stack with {guards} KiB of guard pages"


def test_the_arenas_of_threads(target: Target) -> None:
    threads = target.threads(3, stack=128 * KiB, malloc=20_000)
    table = Process(target.pid).maps()
    heap = target.malloc(10)
    arenas = 0
    for thread in threads.threads:
        region = table.find(thread.chunk)
        assert region is not None
        if region.pathname == "[heap]":
            continue
        arenas += 1
        assert region.kind is K.ARENA
        reserve = table.find(region.end)
        assert reserve is not None
        assert (reserve.kind, reserve.perms) == (K.ARENA, "---p")
        assert kind_at(table, thread.local) == (K.THREAD_STACK, None)
    assert arenas
    assert kind_at(Process(target.pid).maps(), heap) == (K.HEAP, None)


# ---- live: memory that wears a name ----


def test_shared_memory_in_its_disguises(
    target: Target, shm_name: Callable[[str], bytes], tmp_path: Path
) -> None:
    mapped: dict[str, Mapping] = {
        "shared anonymous memory": target.map(3, "rw-s"),
        "memfd:a name": target.map_memfd("a name", 3),
        "memfd:private": target.map_memfd("private", 3, "rw-p"),
    }
    name = shm_name("x")
    mapped[os.fsdecode(name)] = target.map_shm(name, 3, keep=True)
    gone = shm_name("gone")
    mapped[os.fsdecode(gone)] = target.map_shm(gone, 3)
    dev_zero = target.map_file("/dev/zero", 3, "rw-s")
    for view in ("maps", "smaps", "residency"):
        table = getattr(Process(target.pid), view)()
        for called, mapping in mapped.items():
            region = table.find(mapping.start)
            assert (region.kind, region.name) == (K.SHARED_MEMORY, called)
            assert region.owner is None
        assert table.find(dev_zero.start).kind is K.SHARED_MEMORY
        assert not table.find(mapped[os.fsdecode(name)].start).deleted
        assert table.find(mapped[os.fsdecode(gone)].start).deleted


def test_system_v_shared_memory(target: Target) -> None:
    with needs("System V IPC"):
        key = 0x5E000000 | os.getpid()
        mapping = target.map_sysv(3, key=key)
    region = Process(target.pid).maps().find(mapping.start)
    assert region is not None
    assert region.kind is K.SHARED_MEMORY
    assert region.name == f"System V shared memory, id {region.inode}"
    assert (region.pathname, region.deleted) == (f"/SYSV{key:08x}", True)


def test_named_shared_memory(target: Target) -> None:
    private, shared = target.map(2), target.map(2, "rw-s")
    with needs("CONFIG_ANON_VMA_NAME"):
        target.name(private, "a name")
        target.name(shared, "another")
    table = Process(target.pid).maps()
    one, two = table.find(private.start), table.find(shared.start)
    assert one is not None
    assert two is not None
    assert (one.kind, one.name) == (K.ANON, "a name")
    assert (two.kind, two.name) == (K.SHARED_MEMORY, "another")


def test_files(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"x" * 8 * PAGE)
    private, shared = target.map_file(path, 4), target.map_file(path, 4, "rw-s")
    path_too = tmp_path / "gone"
    path_too.write_bytes(b"x" * 8 * PAGE)
    gone = target.map_file(path_too, 4, "rw-p")
    path_too.unlink()
    table = Process(target.pid).maps()
    for mapping, name, deleted in (
        (private, "data", False),
        (shared, "data", False),
        (gone, "gone", True),
    ):
        region = table.find(mapping.start)
        assert region is not None
        assert (region.kind, region.name, region.deleted) == (K.FILE, name, deleted)


def test_dev_zero_is_anonymous_memory_by_another_name(target: Target) -> None:
    mapping = target.map_file("/dev/zero", 3, "rw-p")
    region = Process(target.pid).maps().find(mapping.start)
    assert region is not None
    assert region.kind is K.ANON


def rings(target: Target) -> list[tuple[str, Callable[[], Mapping], RegionKind]]:
    return [
        ("io_uring", target.map_uring, K.DEVICE),
        ("perf_event_open", target.map_perf, K.DEVICE),
        ("io_setup", target.map_aio, K.DEVICE),
        ("packet sockets for this user", target.map_packet, K.DEVICE),
        ("mapping of TCP sockets", target.map_tcp, K.DEVICE),
        ("memfd_secret", lambda: target.map_secret(2), K.OTHER),
    ]


@pytest.mark.parametrize("which", range(6))
def test_rings_and_secrets(target: Target, which: int) -> None:
    feature, make, kind = rings(target)[which]
    with needs(feature):
        mapping = make()
    for view in ("maps", "smaps", "residency"):
        region = getattr(Process(target.pid), view)().find(mapping.start)
        assert region.kind is kind, (region, region.name)


def test_hugetlb(target: Target) -> None:
    with machine.hugepages(3) as setting:
        setting.or_skip()
        huge = 2 * MiB
        anonymous = target.map_huge(huge)
        memfd = target.map_memfd("huge", huge // PAGE, flags=4)
        sysv = target.map_sysv(huge // PAGE, huge=True)
        table = Process(target.pid).smaps()
        for mapping in (anonymous, memfd, sysv):
            assert kind_at(table, mapping.start) == (K.HUGETLB, None)
        maps = Process(target.pid).maps()
        assert kind_at(maps, anonymous.start) == (K.HUGETLB, None)
        target.close()


def test_a_file_of_hugetlbfs(target: Target) -> None:
    with machine.hugetlbfs(2) as setting:
        setting.or_skip()
        path = setting.path / "file"
        with open(path, "wb") as file:
            os.truncate(file.fileno(), 2 * MiB)
        mapping = target.map_file(path, 2 * MiB // PAGE, "rw-s")
        region = Process(target.pid).smaps().find(mapping.start)
        assert region is not None
        assert (region.kind, region.kind_evidence, region.name) == (K.HUGETLB, "flags", "file")
        target.close()


def test_reserved_address_space_is_no_guard(target: Target) -> None:
    large, small = target.map(1024, "---p"), target.map(1, "---p")
    table = Process(target.pid).maps()
    assert kind_at(table, large.start) == (K.ANON, None)
    assert kind_at(table, small.start) == (K.GUARD, None)


def test_a_region_alone_is_what_it_is_among_the_others(target: Target) -> None:
    process = Process(target.pid)
    target.map(3, "rw-s")
    target.brk(PAGE)
    for region in process.maps():
        alone = process.region_at(region.start)
        assert isinstance(alone, Region)
        if region.kind_evidence == "name":
            assert (alone.kind, alone.name) == (region.kind, region.name)


def test_kinds_of_a_thousand_regions_of_one_file(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"x" * PAGE)
    regions = target.regions(1000, path=path)
    table = Process(target.pid).maps()
    assert {kind_at(table, regions[n][0].start)[0] for n in range(0, 1000, 99)} == {K.FILE}
