"""The test targets against the raw text of /proc: each command does what it says."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import targets
from tests.support.paths import ROOT
from tests.support.targets import (
    NOBODY,
    PAGE,
    Advice,
    Mapping,
    Target,
    TargetDied,
    TargetError,
    hostile_names,
    machine,
    needs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., Target]
    Build = Callable[[str], Path]

PAGE_KB = PAGE // 1024
X86 = os.uname().machine == "x86_64"


@dataclass
class Line:
    """One region as /proc prints it; ``kb`` holds the counters of smaps."""

    start: int
    end: int
    perms: str
    offset: int
    dev: str
    inode: int
    name: bytes
    kb: dict[str, int] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)


def header(text: bytes) -> Line:
    fields = text.split(b" ", 5)
    start, end = (int(each, 16) for each in fields[0].split(b"-"))
    perms, offset, dev, inode = (each.decode() for each in fields[1:5])
    # Names are padded to column 73: a space at a name's start can't be distinguished from padding.
    name = fields[5].lstrip(b" ") if len(fields) > 5 else b""
    return Line(start, end, perms, int(offset, 16), dev, int(inode), name)


def read_whole(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(descriptor, 65536), b""))
    finally:
        os.close(descriptor)


def maps(pid: int | str) -> list[Line]:
    return [header(text) for text in read_whole(f"/proc/{pid}/maps").split(b"\n")[:-1]]


def smaps(pid: int) -> list[Line]:
    lines: list[Line] = []
    for text in read_whole(f"/proc/{pid}/smaps").split(b"\n")[:-1]:
        first, _, rest = text.partition(b" ")
        if not first.endswith(b":"):
            lines.append(header(text))
        elif first == b"VmFlags:":
            lines[-1].flags = set(rest.decode().split())
        elif rest.endswith(b" kB"):
            lines[-1].kb[first[:-1].decode()] = int(rest[:-3])
    return lines


def exact(lines: list[Line], mapping: Mapping) -> Line:
    """The region that has exactly the bounds of the mapping."""
    (found,) = [line for line in lines if (line.start, line.end) == (mapping.start, mapping.end)]
    return found


def holding(lines: list[Line], address: int) -> Line:
    (found,) = [line for line in lines if line.start <= address < line.end]
    return found


def within(lines: list[Line], mapping: Mapping) -> list[tuple[int, int, str]]:
    """First page, page count and permissions of the regions in the mapping."""
    return [
        ((line.start - mapping.start) // PAGE, (line.end - line.start) // PAGE, line.perms)
        for line in lines
        if mapping.start <= line.start < mapping.end
    ]


def pagemap(pid: int, mapping: Mapping) -> list[int]:
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        file.seek(mapping.start // PAGE * 8)
        data = file.read(mapping.pages * 8)
    return [int.from_bytes(data[n : n + 8], sys.byteorder) for n in range(0, len(data), 8)]


def bit(entries: list[int], number: int) -> list[int]:
    return [n for n, entry in enumerate(entries) if entry >> number & 1]


PRESENT, SWAPPED, GUARD = 63, 62, 58


def status(pid: int | str) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text(errors="surrogateescape")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def state(pid: int | str) -> str:
    text = Path(f"/proc/{pid}/stat").read_text(errors="surrogateescape")
    return text[text.rindex(")") + 2]


def has_ended(pid: int) -> bool:
    """Whether it is a zombie, or gone, which may happen at any time."""
    try:
        return state(pid) in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never {what}"
        os.sched_yield()


def escaped(name: bytes) -> bytes:
    """As the kernel prints it: of all bytes only the newline is escaped."""
    return name.replace(b"\n", rb"\012")


# ---- anonymous memory ----


@pytest.mark.parametrize("perms", ["rw-p", "r--p", "---p", "r-xp", "rwxp", "-w-p", "--xp"])
def test_an_anonymous_mapping_is_one_region_of_its_own(target: Target, perms: str) -> None:
    first, second = target.map(10, perms), target.map(1, perms)
    lines = maps(target.pid)
    for mapping in (first, second):
        line = exact(lines, mapping)
        assert (line.perms, line.dev, line.inode, line.name) == (perms, "00:00", 0, b"")


def test_a_mapping_may_be_placed_anywhere(target: Target) -> None:
    slot = target.map(3)
    target.unmap(slot)
    again = target.map(3, at=slot.start)
    assert again == slot
    exact(maps(target.pid), again)
    with pytest.raises(TargetError) as caught:
        target.map(1, at=slot.start)
    assert (caught.value.call, caught.value.errno) == ("mmap", errno.EEXIST)
    chosen = target.map(5, at="any")
    assert holding(maps(target.pid), chosen.start).end >= chosen.end


def test_writing_makes_pages_resident(target: Target) -> None:
    mapping = target.map(10)
    assert exact(smaps(target.pid), mapping).kb["Rss"] == 0
    target.touch(mapping, 3)
    line = exact(smaps(target.pid), mapping)
    assert line.kb["Rss"] == line.kb["Anonymous"] == line.kb["Private_Dirty"] == 3 * PAGE_KB
    assert bit(pagemap(target.pid, mapping), PRESENT) == [0, 1, 2]


def test_reading_shows_the_zero_page(target: Target) -> None:
    mapping = target.map(8)
    target.read(mapping, 4)
    assert exact(smaps(target.pid), mapping).kb["Rss"] == 0
    assert bit(pagemap(target.pid, mapping), PRESENT) == [0, 1, 2, 3]


def test_touching_moves_nothing_else(target: Target) -> None:
    mapping = target.map(1000)
    target.touch(mapping, 1)

    def anonymous_elsewhere() -> int:
        # Pages of files come and go with the page cache.
        lines = [line for line in smaps(target.pid) if line.start != mapping.start]
        return sum(line.kb["Anonymous"] for line in lines)

    before = anonymous_elsewhere()
    target.touch(mapping)
    assert anonymous_elsewhere() == before


def test_no_command_of_mapping_makes_a_heap(target: Target) -> None:
    target.touch(target.map(10))
    target.map_memfd("x", 1)
    assert not [line for line in maps(target.pid) if line.name == b"[heap]"]


def test_unmapping_a_part_leaves_two_regions(target: Target) -> None:
    mapping = target.map(10)
    target.unmap(mapping.page(4, 2))
    assert within(maps(target.pid), mapping) == [(0, 4, "rw-p"), (6, 4, "rw-p")]


def test_protecting_a_part_splits_the_region_and_back_merges_it(target: Target) -> None:
    mapping = target.map(10)
    target.protect(mapping.page(4, 2), "r--p")
    assert within(maps(target.pid), mapping) == [(0, 4, "rw-p"), (4, 2, "r--p"), (6, 4, "rw-p")]
    target.protect(mapping.page(4, 2), "rw-p")
    assert within(maps(target.pid), mapping) == [(0, 10, "rw-p")]


def test_remapping_grows_in_place_or_moves(target: Target) -> None:
    mapping = target.map(4)
    grown = target.remap(mapping, 8 * PAGE)
    assert (grown.start, grown.pages) == (mapping.start, 8)
    exact(maps(target.pid), grown)


def test_shared_anonymous_memory_wears_a_path(target: Target) -> None:
    mapping = target.map(4, "rw-s")
    target.touch(mapping)
    line = exact(smaps(target.pid), mapping)
    assert (line.perms, line.name) == ("rw-s", b"/dev/zero (deleted)")
    assert line.kb["Rss"] == 4 * PAGE_KB
    assert line.kb["Anonymous"] == 0


def test_poking_writes_bytes(target: Target) -> None:
    mapping = target.map(1)
    target.poke(mapping.start + 5, b"hello\n\x00\xff")
    with open(f"/proc/{target.pid}/mem", "rb", buffering=0) as file:
        file.seek(mapping.start + 5)
        assert file.read(8) == b"hello\n\x00\xff"


def test_named_anonymous_memory(target: Target) -> None:
    private, shared = target.map(2), target.map(2, "rw-s")
    with needs("CONFIG_ANON_VMA_NAME"):
        target.name(private, "a name")
    assert exact(maps(target.pid), private).name == b"[anon:a name]"
    with needs("names of shared anonymous memory"):
        target.name(shared, "another")
    assert exact(maps(target.pid), shared).name == b"[anon_shmem:another]"


# ---- files ----


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"x" * 16 * PAGE)
    return path


def test_a_file_is_mapped_at_its_offset(target: Target, data_file: Path) -> None:
    mapping = target.map_file(data_file, 4, offset=8 * PAGE)
    line = exact(maps(target.pid), mapping)
    name = os.fsencode(data_file)
    assert (line.perms, line.offset, line.name) == ("r--p", 8 * PAGE, name)
    assert line.inode == data_file.stat().st_ino


def test_writing_to_a_private_file_mapping_makes_private_pages(
    target: Target, data_file: Path
) -> None:
    mapping = target.map_file(data_file, 8, "rw-p")
    target.touch(mapping, 3)
    line = exact(smaps(target.pid), mapping)
    assert line.kb["Anonymous"] == 3 * PAGE_KB
    assert data_file.read_bytes() == b"x" * 16 * PAGE


def test_writing_to_a_shared_file_mapping_writes_the_file(target: Target, data_file: Path) -> None:
    mapping = target.map_file(data_file, 8, "rw-s")
    target.touch(mapping, 1)
    line = exact(smaps(target.pid), mapping)
    assert line.perms == "rw-s"
    assert line.kb["Anonymous"] == 0
    assert data_file.read_bytes()[:2] == b"\x01x"


def test_an_unlinked_file_is_shown_as_deleted(target: Target, data_file: Path) -> None:
    mapping = target.map_file(data_file, 1)
    data_file.unlink()
    assert exact(maps(target.pid), mapping).name == os.fsencode(data_file) + b" (deleted)"


def test_dev_zero_private_wears_a_path(target: Target) -> None:
    mapping = target.map_file("/dev/zero", 3, "rw-p")
    target.touch(mapping, 2)
    line = exact(smaps(target.pid), mapping)
    assert line.name == b"/dev/zero"
    assert line.kb["Anonymous"] == 2 * PAGE_KB


@pytest.mark.parametrize("name", hostile_names().values(), ids=hostile_names())
def test_a_file_may_have_any_name(target: Target, tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    Path(os.fsdecode(path)).write_bytes(b"x" * PAGE)
    mapping = target.map_file(path, 1)
    assert exact(maps(target.pid), mapping).name == escaped(path)
    os.unlink(path)
    assert exact(maps(target.pid), mapping).name == escaped(path) + b" (deleted)"


def test_a_path_may_be_longer_than_any_system_call_takes(target: Target, tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    target.chdir(tmp_path)
    part = "d" * 250
    for _ in range(20):
        os.mkdir(part, dir_fd=here)
        below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
        os.close(here)
        here = below
        target.chdir(part)
    descriptor = os.open("file", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, dir_fd=here)
    os.write(descriptor, b"x" * PAGE)
    os.close(descriptor)
    os.close(here)
    mapping = target.map_file("file", 1)
    expected = os.fsencode(tmp_path) + b"/" + (part.encode() + b"/") * 20 + b"file"
    assert len(expected) > 4096
    assert exact(maps(target.pid), mapping).name == expected


# ---- shared memory and what else wears a name ----


@pytest.mark.parametrize(
    "name", [n[:240] for n in hostile_names().values() if b"/" not in n], ids=list(hostile_names())
)
def test_a_memfd_may_have_any_name(target: Target, name: bytes) -> None:
    mapping = target.map_memfd(name, 2)
    line = exact(maps(target.pid), mapping)
    assert (line.perms, line.name) == ("rw-s", b"/memfd:" + escaped(name) + b" (deleted)")


def test_posix_shared_memory_unlinked(target: Target, shm_name: Callable[[], bytes]) -> None:
    name = shm_name()
    mapping = target.map_shm(name, 3)
    target.touch(mapping, 2)
    line = exact(smaps(target.pid), mapping)
    assert line.name == b"/dev/shm/" + name + b" (deleted)"
    assert line.kb["Rss"] == 2 * PAGE_KB
    assert not os.path.exists(b"/dev/shm/" + name)


def test_posix_shared_memory_kept_until_the_end(
    start: Start, shm_name: Callable[[], bytes]
) -> None:
    target, name = start(), shm_name()
    mapping = target.map_shm(name, 3, keep=True)
    assert exact(maps(target.pid), mapping).name == b"/dev/shm/" + name
    assert os.path.exists(b"/dev/shm/" + name)
    target.close()
    assert not os.path.exists(b"/dev/shm/" + name)


def sysv_ids() -> set[int]:
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {int(line.split()[1]) for line in lines}


# Keys are the whole machine's, so they are made from the PID lest two test runs meet.
@pytest.mark.parametrize(
    "key",
    [0, os.getpid(), 0x78000000 + os.getpid()],
    ids=["private", "leading zeros", "eight digits"],
)
def test_system_v_shared_memory(start: Start, key: int) -> None:
    target = start()
    with needs("System V IPC"):
        mapping = target.map_sysv(3, key=key)
    target.touch(mapping, 1)
    line = exact(smaps(target.pid), mapping)
    assert (line.perms, line.name) == ("rw-s", b"/SYSV%08x (deleted)" % key)
    assert line.kb["Rss"] == PAGE_KB
    # Its inode number is the segment's ID; removed, it lives as long as it is attached.
    assert line.inode in sysv_ids()
    target.close()
    assert line.inode not in sysv_ids()


def test_secret_memory(target: Target) -> None:
    with needs("memfd_secret"):
        mapping = target.map_secret(2)
    target.touch(mapping)
    line = exact(smaps(target.pid), mapping)
    assert line.name == b"/secretmem (deleted)"
    assert "lo" in line.flags


def test_io_uring_ring(target: Target) -> None:
    with needs("io_uring"):
        mapping = target.map_uring()
    assert exact(maps(target.pid), mapping).name == b"anon_inode:[io_uring]"


def test_perf_ring(target: Target) -> None:
    with needs("perf_event_open"):
        mapping = target.map_perf(2)
    assert mapping.pages == 3
    assert exact(maps(target.pid), mapping).name == b"anon_inode:[perf_event]"


def test_aio_ring(target: Target) -> None:
    with needs("io_setup"):
        mapping = target.map_aio()
    line = holding(maps(target.pid), mapping.start)
    assert (line.start, line.name) == (mapping.start, b"/[aio] (deleted)")


def test_packet_ring(target: Target) -> None:
    with needs("packet sockets for this user"):
        mapping = target.map_packet()
    line = exact(maps(target.pid), mapping)
    assert line.name == b"socket:[%d]" % line.inode


def test_tcp_window(target: Target) -> None:
    with needs("mmap of TCP sockets"):
        mapping = target.map_tcp(3)
    line = exact(maps(target.pid), mapping)
    assert (line.perms, line.name) == ("r--s", b"socket:[%d]" % line.inode)


# ---- what can be done to a mapping ----


def test_guard_pages_inside_a_region(target: Target) -> None:
    mapping = target.map(8)
    with needs("MADV_GUARD_INSTALL"):
        target.madvise(mapping.page(2, 3), Advice.GUARD_INSTALL)
    target.touch(mapping.page(0, 2))
    exact(maps(target.pid), mapping)
    entries = pagemap(target.pid, mapping)
    assert bit(entries, PRESENT) == [0, 1]
    # Since Linux 6.15 pagemap shows them.
    assert bit(entries, GUARD) in ([2, 3, 4], [])


def test_populating_for_reading_shows_the_zero_page(target: Target) -> None:
    mapping = target.map(16)
    with needs("MADV_POPULATE_READ"):
        target.madvise(mapping, Advice.POPULATE_READ)
    assert exact(smaps(target.pid), mapping).kb["Rss"] == 0
    assert len(bit(pagemap(target.pid, mapping), PRESENT)) == 16


def test_populating_for_writing(target: Target) -> None:
    mapping = target.map(16)
    with needs("MADV_POPULATE_WRITE"):
        target.madvise(mapping, Advice.POPULATE_WRITE)
    assert exact(smaps(target.pid), mapping).kb["Rss"] == 16 * PAGE_KB


def test_a_transparent_huge_page(target: Target) -> None:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.exists() or "[never]" in setting.read_text():
        pytest.skip("kernel feature missing: transparent huge pages")
    size = int((setting.parent / "hpage_pmd_size").read_text())
    # Slots are at multiples of 2 MiB.
    mapping = target.map(2 * size // PAGE)
    target.madvise(mapping, Advice.HUGEPAGE)
    target.touch(mapping, 1)
    line = exact(smaps(target.pid), mapping)
    assert "hg" in line.flags
    if line.kb["Rss"] == PAGE_KB:
        pytest.skip("no huge page could be had: memory is in pieces")
    assert line.kb["AnonHugePages"] == line.kb["Rss"] == size // 1024


def test_paging_out(target: Target) -> None:
    mapping = target.map(64)
    target.touch(mapping)
    with machine.swap() as setting:
        setting.or_skip()
        target.madvise(mapping, Advice.PAGEOUT)
        line = exact(smaps(target.pid), mapping)
        assert line.kb["Swap"] > 0
        assert line.kb["Swap"] + line.kb["Rss"] == 64 * PAGE_KB
        swapped = bit(pagemap(target.pid, mapping), SWAPPED)
        assert len(swapped) == line.kb["Swap"] // PAGE_KB
        target.touch(mapping)
        assert exact(smaps(target.pid), mapping).kb["Rss"] == 64 * PAGE_KB
        # Swapping off must find nothing of the target there.
        target.unmap(mapping)


def test_locked_memory(target: Target) -> None:
    mapping, lazily = target.map(8), target.map(8)
    target.lock(mapping)
    target.lock(lazily, on_fault=True)
    lines = smaps(target.pid)
    line, lazy = exact(lines, mapping), exact(lines, lazily)
    assert line.kb["Locked"] == line.kb["Rss"] == 8 * PAGE_KB
    assert "lo" in line.flags
    assert lazy.kb["Rss"] == 0
    assert {"lo", "lf"} <= lazy.flags
    target.unlock(mapping)
    assert exact(smaps(target.pid), mapping).kb["Locked"] == 0


def test_sealed_memory(target: Target) -> None:
    mapping = target.map(3)
    with needs("mseal"):
        target.seal(mapping)
    with pytest.raises(TargetError) as caught:
        target.unmap(mapping)
    assert caught.value.errno == errno.EPERM
    assert "sl" in exact(smaps(target.pid), mapping).flags


def test_freed_lazily(target: Target) -> None:
    mapping = target.map(64)
    target.touch(mapping)
    target.madvise(mapping, Advice.FREE)
    line = exact(smaps(target.pid), mapping)
    # Pages still in a CPU's batch are not counted yet.
    assert 0 < line.kb["LazyFree"] <= line.kb["Rss"] == 64 * PAGE_KB


def test_a_protection_key(target: Target) -> None:
    mapping = target.map(2)
    with needs("memory protection keys"):
        key = target.protect_with_key(mapping)
    assert key > 0
    text = read_whole(f"/proc/{target.pid}/smaps")
    assert b"ProtectionKey: %8d\n" % key in text


# ---- huge pages ----


@pytest.fixture
def huge() -> Iterator[int]:
    """The size of a huge page, four of them free."""
    with machine.hugepages(4) as setting:
        setting.or_skip()
        yield machine.hugepage_size()


@pytest.mark.parametrize("perms", ["rw-p", "rw-s"])
def test_anonymous_huge_pages(start: Start, huge: int, perms: str) -> None:
    target = start()
    mapping = target.map_huge(2 * huge, perms)
    target.touch(mapping, 1)
    line = exact(smaps(target.pid), mapping)
    assert (line.perms, line.name) == (perms, b"/anon_hugepage (deleted)")
    assert "ht" in line.flags
    assert line.kb["Rss"] == 0
    assert line.kb["Private_Hugetlb"] + line.kb["Shared_Hugetlb"] == huge // 1024
    assert line.kb["KernelPageSize"] == huge // 1024
    target.close()


def test_huge_pages_in_other_disguises(start: Start, huge: int) -> None:
    target = start()
    sysv = target.map_sysv(huge // PAGE, huge=True)
    memfd = target.map_memfd("huge", huge // PAGE, flags=4)
    lines = smaps(target.pid)
    assert exact(lines, sysv).name == b"/SYSV00000000 (deleted)"
    assert exact(lines, memfd).name == b"/memfd:huge (deleted)"
    assert all("ht" in exact(lines, each).flags for each in (sysv, memfd))
    target.close()


def test_huge_pages_in_a_file(start: Start) -> None:
    with machine.hugetlbfs(2) as setting:
        path = setting.or_skip().path / "file"
        size = machine.hugepage_size()
        with path.open("wb") as file:
            file.truncate(size)
        target = start()
        mapping = target.map_file(path, size // PAGE, "rw-s")
        target.touch(mapping, 1)
        line = exact(smaps(target.pid), mapping)
        assert line.name == os.fsencode(path)
        assert "ht" in line.flags
        target.close()
        path.unlink()


# ---- many regions ----


@pytest.mark.parametrize("count", [1, 100, 2_000, 30_000, 60_000])
def test_many_regions(target: Target, count: int) -> None:
    with machine.max_map_count(count + 1000) as setting:
        setting.or_skip()
        regions = target.regions(count)
        assert (regions.made, regions.error) == (count, None)
        found = within(maps(target.pid), regions.span)
    assert found == [(n, 1, ("rw-p", "r--p")[n % 2]) for n in range(count)]
    last, perms = regions[count - 1]
    assert (last.end, perms) == (regions.span.end, found[-1][2])


def test_many_regions_of_a_file(target: Target, data_file: Path) -> None:
    regions = target.regions(500, path=data_file)
    assert within(maps(target.pid), regions.span) == [(n, 1, "r--p") for n in range(500)]
    assert {line.name for line in maps(target.pid) if line.start in range_of(regions.span)} == {
        os.fsencode(data_file)
    }


def range_of(mapping: Mapping) -> range:
    return range(mapping.start, mapping.end)


def test_many_regions_touched(target: Target) -> None:
    regions = target.regions(100, touched=True)
    lines = smaps(target.pid)
    assert [exact(lines, regions[n][0]).kb["Rss"] for n in range(100)] == [PAGE_KB, 0] * 50


def test_the_limit_on_regions_is_told_and_can_be_raised(start: Start) -> None:
    file = Path("/proc/sys/vm/max_map_count")
    # Another test run may have raised it for a while.
    with machine.alone("max_map_count"):
        limit = int(file.read_text())
        if limit > 100_000:
            pytest.skip("vm.max_map_count is so high that a test can't reach it")
        target = start()
        regions = target.regions(limit + 100)
        assert regions.error is not None
        assert regions.error.errno == errno.ENOMEM
        lines = maps(target.pid)
        assert len(lines) >= limit
        found = within(lines, regions.span)
        assert found[: regions.made] == [(n, 1, regions.perms[n % 2]) for n in range(regions.made)]
        target.close()
        with machine.max_map_count(limit + 1000) as setting:
            setting.or_skip()
            regions = start().regions(limit + 100)
            assert (regions.made, regions.error) == (limit + 100, None)
        assert int(file.read_text()) == limit


# ---- heap and stack ----


def test_malloc_makes_a_heap(target: Target) -> None:
    before = target.truths.brk
    address = target.malloc(1000)
    (heap,) = [line for line in maps(target.pid) if line.name == b"[heap]"]
    assert heap.start == before
    assert heap.start <= address < heap.end == target.ask_truths().brk
    target.free(address)


def test_a_large_malloc_is_a_mapping(target: Target) -> None:
    address = target.malloc(1 << 20)
    line = holding(maps(target.pid), address)
    assert line.name == b""
    assert line.end - line.start > 1 << 20


def test_brk_grows_and_shrinks_the_heap(target: Target) -> None:
    before, after = target.brk(10 * PAGE)
    heap = Mapping(before, after - before)
    assert heap.pages == 10
    line = exact(maps(target.pid), heap)
    assert (line.perms, line.name) == ("rw-p", b"[heap]")
    target.touch(heap, 4)
    assert exact(smaps(target.pid), heap).kb["Rss"] == 4 * PAGE_KB
    assert target.brk(-7 * PAGE) == (after, after - 7 * PAGE)
    exact(maps(target.pid), heap.page(0, 3))


def test_the_stack_grows(target: Target) -> None:
    (before,) = [line for line in smaps(target.pid) if line.name == b"[stack]"]
    grown = target.grow_stack(200)
    (after,) = [line for line in smaps(target.pid) if line.name == b"[stack]"]
    assert after.start <= grown.bottom < before.start
    assert after.end == before.end > grown.top
    bottom = grown.bottom // PAGE * PAGE
    touched = Mapping(bottom, 200 * PAGE)
    assert bit(pagemap(target.pid, touched), PRESENT) == list(range(200))


# ---- threads ----


def test_sleeping_threads(target: Target) -> None:
    made = target.threads(3, name="sl\nee\xffp")
    lines = maps(target.pid)
    tasks = set(os.listdir(f"/proc/{target.pid}/task"))
    assert tasks == {str(target.pid), *(str(thread.tid) for thread in made.threads)}
    for thread in made.threads:
        stack = holding(lines, thread.local)
        assert (stack.perms, stack.name) == ("rw-p", b"")
        # The newest stack is the lowest, so nothing but its own guard is below it.
        assert stack.end - stack.start >= made.stack - made.guard
        comm = Path(f"/proc/{target.pid}/task/{thread.tid}/comm").read_bytes()
        assert comm == "sl\nee\xffp\n".encode()
    target.join_threads()
    until(lambda: os.listdir(f"/proc/{target.pid}/task") == [str(target.pid)], "joined")


def test_stacks_and_guards_of_chosen_size(target: Target) -> None:
    made = target.threads(2, stack=64 * PAGE, guard=4 * PAGE)
    assert (made.stack, made.guard) == (64 * PAGE, 4 * PAGE)
    lines = maps(target.pid)
    for thread in made.threads:
        stack = holding(lines, thread.local)
        below = [line for line in lines if line.end == stack.start]
        if not below or below[0].perms != "---p":
            pytest.skip("this C library's stack guards are no regions of their own")
        assert below[0].end - below[0].start == 4 * PAGE


def test_threads_that_allocate_have_arenas(target: Target) -> None:
    made = target.threads(2, malloc=100)
    lines = maps(target.pid)
    (heap,) = [line for line in lines if line.name == b"[heap]"]
    for thread in made.threads:
        arena = holding(lines, thread.chunk)
        assert (arena.perms, arena.name) == ("rw-p", b"")
        assert thread.chunk not in range(heap.start, heap.end)


def test_a_busy_thread(target: Target) -> None:
    worker = target.spin()
    assert str(worker.tid) in os.listdir(f"/proc/{target.pid}/task")
    before = target.rounds(worker)
    until(lambda: target.rounds(worker) > before, "spinning")
    assert target.stop(worker) > before
    with pytest.raises(TargetError):
        target.rounds(worker)


def test_a_churning_thread(target: Target) -> None:
    mapping = target.map(256)
    worker = target.churn(mapping)
    seen: set[int] = set()

    def moved() -> bool:
        seen.add(exact(smaps(target.pid), mapping).kb["Rss"])
        return len(seen) > 2

    until(moved, "churning")
    assert target.stop(worker) > 0
    assert exact(smaps(target.pid), mapping).kb["Rss"] == 0


def test_the_leader_may_exit(target: Target) -> None:
    mapping = target.map(5)
    serving = target.exit_leader()
    assert serving != target.pid
    assert state(target.pid) == "Z"
    assert read_whole(f"/proc/{target.pid}/maps") == b""
    exact(maps(f"{target.pid}/task/{serving}"), mapping)
    more = target.map(2)
    exact(maps(f"{target.pid}/task/{serving}"), more)
    with pytest.raises(TargetError):
        target.exit_leader()


# ---- processes ----


def test_a_zombie(target: Target) -> None:
    pid = target.zombie()
    assert state(pid) == "Z"
    assert status(pid)["PPid"] == str(target.pid)
    assert read_whole(f"/proc/{pid}/maps") == b""
    target.reap(pid)
    assert not os.path.exists(f"/proc/{pid}")


def test_a_forked_child_shares_pages_until_it_writes(target: Target) -> None:
    mapping = target.map(100)
    target.touch(mapping)
    with target.fork() as child:
        assert status(child.pid)["PPid"] == str(target.pid)
        for pid in (target.pid, child.pid):
            line = exact(smaps(pid), mapping)
            assert line.kb["Shared_Dirty"] == line.kb["Rss"] == 100 * PAGE_KB
        child.touch(mapping, 30)
        for pid in (target.pid, child.pid):
            line = exact(smaps(pid), mapping)
            assert line.kb["Private_Dirty"] == 30 * PAGE_KB
            assert line.kb["Shared_Dirty"] == 70 * PAGE_KB
        own = child.map(2)
        exact(maps(child.pid), own)
    assert not os.path.exists(f"/proc/{child.pid}")
    target.ping()


def test_a_pid_used_again(target: Target) -> None:
    with target.fork() as first:
        pid = first.pid
    with needs("choosing PIDs (CAP_CHECKPOINT_RESTORE)"):
        second = target.fork(pid)
    assert second.pid == pid
    mapping = second.map(3)
    exact(maps(pid), mapping)
    with pytest.raises(TargetError) as caught:
        target.fork(pid)
    assert caught.value.errno == errno.EEXIST
    second.close()


def test_a_child_of_a_child(target: Target) -> None:
    with target.fork() as child, child.fork() as grandchild:
        assert status(grandchild.pid)["PPid"] == str(child.pid)
        mapping = grandchild.map(3)
        exact(maps(grandchild.pid), mapping)
        assert state(child.zombie()) == "Z"


def test_children_that_come_and_go(target: Target) -> None:
    worker = target.forks()
    until(lambda: target.rounds(worker) > 10, "forking")
    assert target.stop(worker) > 10
    children = Path(f"/proc/{target.pid}/task/{target.pid}/children")
    assert not children.exists() or not children.read_text()


def test_exec_makes_it_anew(target: Target) -> None:
    mapping, before = target.map(3), target.truths
    after = target.exec()
    assert (after.pid, after.execs) == (before.pid, 0)
    assert not within(maps(target.pid), mapping)
    assert after.image in {line.start for line in maps(target.pid)}


def test_exec_of_another_program(target: Target, variant: Build) -> None:
    other = variant("no-pie")
    target.exec(other)
    assert os.readlink(f"/proc/{target.pid}/exe") == str(other)


def test_exec_of_nothing(target: Target) -> None:
    with pytest.raises(TargetError) as caught:
        target.exec("/nonexistent")
    assert (caught.value.call, caught.value.errno) == ("execve", errno.ENOENT)
    target.ping()


def test_execs_without_end(target: Target) -> None:
    target.start_execs(regions=200)

    def count() -> int:
        words = read_whole(f"/proc/{target.pid}/cmdline").split(b"\0")
        return int(words[2]) if len(words) > 3 else 0

    until(lambda: count() > 5, "exec'ed")
    assert target.stop_execs() > 5
    target.touch(target.map(3))


def covered(lines: list[Line], mapping: Mapping) -> bool:
    at = mapping.start
    for line in sorted(lines, key=lambda line: line.start):
        if line.start <= at < line.end:
            at = line.end
    return at >= mapping.end


@pytest.mark.parametrize("threads", [1, 2])
def test_a_storm_leaves_what_it_says_alone(target: Target, threads: int) -> None:
    storm = target.storm(16, threads)
    assert len(storm.workers) == threads
    before = [target.rounds(worker) for worker in storm.workers]
    for _ in range(200):
        lines = maps(target.pid)
        bounds = {(line.start, line.end) for line in lines if line.perms == "r--p"}
        assert {(each.start, each.end) for each in storm.stable} <= bounds
        if not all(covered(lines, each) for each in storm.kept):
            # maps is read in parts. Once in millions of walks, on a busy machine (Linux 6.18),
            # one left out what another walk shows: memory that is unmapped stays so.
            lines = maps(target.pid)
            assert all(covered(lines, each) for each in storm.kept)
        assert not any(
            line.start < hole.end and hole.start < line.end
            for line in lines
            for hole in storm.holes
        )
    for worker, rounds in zip(storm.workers, before, strict=True):
        until(lambda worker=worker, rounds=rounds: target.rounds(worker) > rounds, "storming")  # type: ignore[misc]
    target.stop(storm)
    lines = maps(target.pid)
    assert within(lines, Mapping(storm.span.start, 24 * PAGE)) == [
        (0, 4, "rw-p"),
        (8, 8, "rw-p"),
        (16, 4, "r--p"),
    ]


# ---- who it is ----


@pytest.mark.parametrize("name", hostile_names(long=False).values(), ids=hostile_names(long=False))
def test_argv_and_comm_may_be_hostile(start: Start, name: bytes) -> None:
    target = start(args=[name, b"second\nargument\xff"])
    cmdline = read_whole(f"/proc/{target.pid}/cmdline")
    assert cmdline == name + b"\0second\nargument\xff\0"
    target.comm(name)
    assert read_whole(f"/proc/{target.pid}/comm") == name[:15] + b"\n"


@pytest.mark.parametrize("name", hostile_names().values(), ids=hostile_names())
@pytest.mark.parametrize("then", ["", "delete", "replace"])
def test_an_executable_may_have_any_name(tmp_path: Path, name: bytes, then: str) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    with targets.start_copy(path, then=then) as target:  # type: ignore[arg-type]
        line = holding(maps(target.pid), target.truths.main)
        assert line.name == escaped(path) + (b" (deleted)" if then else b"")
        assert os.path.exists(path) == (then != "delete")
        if then == "replace":
            assert os.stat(path).st_ino != line.inode


def test_under_another_user(start: Start, is_root: bool) -> None:
    if not is_root:
        pytest.skip("starting a process under another user takes root")
    target = start(user=NOBODY)
    fields = status(target.pid)
    assert fields["Uid"].split() == fields["Gid"].split() == [str(NOBODY)] * 4
    assert fields["Groups"].strip() == ""
    assert os.stat(f"/proc/{target.pid}").st_uid == NOBODY


def test_one_that_is_not_dumpable_hides_from_its_own_user(start: Start, is_root: bool) -> None:
    target = start(user=NOBODY) if is_root else start()
    target.dumpable(False)
    assert os.stat(f"/proc/{target.pid}/maps").st_uid == 0
    if is_root:
        done = machine.as_nobody(
            "import sys; open(f'/proc/{sys.argv[1]}/maps')", target.pid, modules=()
        )
        assert "PermissionError" in done.stderr
    else:
        with pytest.raises(PermissionError):
            maps(target.pid)


def test_memory_at_address_zero(target: Target, is_root: bool) -> None:
    low = int(Path("/proc/sys/vm/mmap_min_addr").read_text())
    if low and not is_root:
        pytest.skip("mapping below vm.mmap_min_addr takes root")
    target.personality(0x0100000)  # MMAP_PAGE_ZERO
    target.exec()
    line = maps(target.pid)[0]
    assert (line.start, line.end) == (0, PAGE)


def test_fixed_addresses(start: Start) -> None:
    one, other = start(), start()
    for target in (one, other):
        target.personality(0x0040000)  # ADDR_NO_RANDOMIZE
        target.exec()
    before, after = (
        [(line.start, line.end) for line in maps(target.pid)] for target in (one, other)
    )
    assert before == after


def test_a_limited_address_space(target: Target) -> None:
    target.limit(resource.RLIMIT_AS, 64 << 20)
    with pytest.raises(TargetError) as caught:
        target.map((128 << 20) // PAGE)
    assert (caught.value.call, caught.value.errno) == ("mmap", errno.ENOMEM)


# ---- the truths, in every variant ----


@pytest.mark.parametrize("name", targets.VARIANTS)
def test_the_truths_of_a_variant(start: Start, variant: Build, name: str) -> None:
    built = targets.VARIANTS[name]
    binary = variant(name)
    target = start(binary)
    truths, lines = target.truths, maps(target.pid)
    own = os.fsencode(binary)

    def at(address: int) -> Line:
        return holding(lines, address)

    assert (truths.pid, truths.tid, truths.page_size) == (target.pid, target.pid, PAGE)
    assert (truths.data_bytes, truths.bss_bytes) == (built.data, built.bss)
    assert truths.rodata_bytes == built.rodata
    assert (at(truths.main).perms[2], at(truths.main).name) == ("x", own)
    assert (at(truths.data).perms[:2], at(truths.data).name) == ("rw", own)
    assert at(truths.bss + built.bss - 1).perms[:2] == "rw"
    assert (at(truths.rodata).perms[:2], at(truths.rodata).name) == ("r-", own)
    assert at(truths.stack).name == at(truths.environ).name == b"[stack]"
    assert at(truths.argv).name == at(truths.argv0).name == at(truths.execfn).name == b"[stack]"
    assert at(truths.stack).perms[2] == ("x" if name == "execstack" else "-")
    if truths.vdso:
        assert at(truths.vdso).name == b"[vdso]"
    assert truths.etext > truths.main
    assert truths.bss_start <= truths.bss < truths.end
    assert at(truths.image).start == truths.image
    static = name.startswith("static")
    assert bool(truths.loader) == (not static)
    assert (at(truths.libc_text).name == own) == static
    if not static:
        assert b"ld" in at(truths.loader).name
        assert at(truths.libc_data).perms[:2] == "rw"
    relro = "rw" if name == "norelro" else "r-"
    assert at(truths.relro).perms[:2] == relro
    if X86 and name in {"no-pie", "old-style", "static"}:
        assert truths.image == 0x400000
    if built.library:
        library = own.replace(b"/target", b"/libtarget.so")
        assert (at(truths.library_text).perms, at(truths.library_text).name) == ("r-xp", library)
        assert (at(truths.library_data).perms, at(truths.library_data).name) == ("rw-p", library)
        assert (at(truths.library_rodata).perms[:2]) == "r-"
        assert (at(truths.library_relro).perms, at(truths.library_relro).name) == ("r--p", library)
        assert at(truths.library_bss + built.bss - 1).perms == "rw-p"


# ---- its end ----


def test_it_ends_with_its_block() -> None:
    with Target() as target:
        pid = target.pid
    assert not os.path.exists(f"/proc/{pid}")
    target.close()


def test_it_ends_when_stopped_in_its_sleep(start: Start) -> None:
    target = start()
    target.signal(signal.SIGSTOP)
    until(lambda: state(target.pid) == "T", "stopped")
    target.close()
    assert target.returncode == 0


def test_it_ends_with_all_its_threads_and_children(start: Start) -> None:
    target = start()
    child, zombie = target.fork(), target.zombie()
    target.storm(8, 2)
    target.threads(10)
    target.exit_leader()
    target.close()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in (target.pid, child.pid, zombie))


def test_a_killed_target_says_so(start: Start) -> None:
    target = start()
    target.kill()
    with pytest.raises(TargetDied):
        target.ping()


def test_it_exits_when_told(start: Start) -> None:
    assert start().exit(7) == 7


PARENT = """
import os, signal, sys
from tests.support.targets import Target
target = Target()
if sys.argv[1] == "leader":
    target.exit_leader()
print(target.pid, flush=True)
inherited = os.dup(target._process.stdin.fileno())
os.set_inheritable(inherited, True)
if os.fork() == 0:
    # Holds the pipe open, so that no end of file ends the target.
    sys.stdin.read()
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["plain", "leader"])
def test_it_does_not_outlive_a_killed_parent(target_binary: Path, kind: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        # As a zombie it waits for whoever inherits it.
        until(lambda: has_ended(pid), "dead")
        parent.wait()


INTERRUPTED = """
import os, signal
from tests.support.targets import Target
# A shell lets its background jobs ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
with Target() as target:
    target.signal(signal.SIGSTOP)
    print(target.pid, flush=True)
    target.ping()
"""


def test_it_is_reaped_after_an_interrupt(target_binary: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in parent.stderr.read()
        parent.wait()
        assert not os.path.exists(f"/proc/{pid}")


def test_a_target_may_be_started_and_outlive_the_thread_that_did_it() -> None:
    made: list[Target] = []
    thread = threading.Thread(target=lambda: made.append(Target()))
    thread.start()
    thread.join()
    with made[0] as target:
        target.ping()


def test_a_kernel_thread_has_no_memory() -> None:
    pid = targets.kernel_thread()
    if pid is None:
        pytest.skip("no kernel threads in this PID namespace")
    assert "VmSize" not in status(pid)


# ---- settings of the machine ----


@pytest.mark.parametrize("level", [1, 2])
def test_a_proc_that_hides_processes(level: int, target: Target) -> None:
    with machine.hidepid(level) as setting:
        root = setting.or_skip().path
        code = "import sys; open(sys.argv[1]).read()"
        done = machine.as_nobody(code, root / str(target.pid) / "statm", modules=())
        error = {1: "PermissionError: [Errno 1]", 2: "FileNotFoundError"}[level]
        assert error in done.stderr
        assert maps(target.pid)
    assert not root.exists()


def test_settings_are_taken_back() -> None:
    def readings() -> list[str]:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        own = f"{machine.MARK}{os.getpid()}-"
        return [
            Path("/proc/swaps").read_text(),
            Path("/proc/sys/vm/max_map_count").read_text(),
            # Other test runs may mount theirs meanwhile.
            "\n".join(line for line in mounts if own in line),
        ]

    with machine.alone("swap"), machine.alone("max_map_count"):
        before = readings()
        with (
            machine.swap(16) as swap,
            machine.max_map_count(200_000) as count,
            machine.hidepid(2) as proc,
        ):
            if not (swap and count and proc):
                pytest.skip(swap.reason or count.reason or proc.reason)
            assert all(now != then for now, then in zip(readings(), before, strict=True))
            assert machine.active
        assert readings() == before


def test_a_snippet_under_another_user() -> None:
    done = machine.as_nobody(
        "import os, sys; print(os.getuid(), os.getgroups(), sys.argv[1:])", "a", 2, modules=()
    )
    assert done.stdout == f"{NOBODY} [] ['a', '2']\n"
