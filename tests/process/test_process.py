"""Process against targets that know the truth, against the raw files and against psutil."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import procmem
from procmem import (
    GiB,
    KernelThread,
    KiB,
    MiB,
    NoSuchProcess,
    Process,
    ProcessError,
    ZombieProcess,
    doctor,
    format_maps,
)
from procmem.regions import read as live
from tests.support.still import at_rest
from tests.support.targets import PAGE, Advice, Mapping, Target, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from procmem import MeasuredRegion, Region, RegionTable

    Start = Callable[..., Target]

HUGE = 2 * MiB


def feature(name: str) -> bool:
    return next(each.found for each in doctor() if each.name == name)


def at(table: RegionTable[Any], mapping: Mapping) -> Any:
    """The region that has exactly the bounds of the mapping."""
    region = table.find(mapping.start)
    assert region is not None, mapping
    assert (region.start, region.end) == (mapping.start, mapping.end)
    return region


def whole(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return b"".join(iter(lambda: file.read(65536), b""))


@pytest.fixture
def process(target: Target) -> Process:
    return Process(target.pid)


# ---- what is mapped is shown ----


def test_maps_are_the_kernels_bytes(target: Target, process: Process) -> None:
    target.map(10)
    target.map_memfd("x\ny", 3)
    assert format_maps(process.maps()) == whole(f"/proc/{target.pid}/maps")
    assert format_maps(process.smaps()) == whole(f"/proc/{target.pid}/maps")
    assert format_maps(process.residency()) == whole(f"/proc/{target.pid}/maps")


def test_a_mapping_is_one_region_in_every_view(target: Target, process: Process) -> None:
    mapping = target.map(10)
    target.touch(mapping, 3)
    plain = at(process.maps(), mapping)
    measured = at(process.smaps(), mapping)
    resident = at(process.residency(), mapping)
    assert plain.perms == "rw-p"
    assert plain.pathname is None
    assert (measured.size, measured.rss, measured.private_dirty) == (10 * PAGE, 3 * PAGE, 3 * PAGE)
    assert measured.pss == measured.uss == measured.anonymous == 3 * PAGE
    assert (resident.rss, resident.swap) == (3 * PAGE, 0)
    assert not isinstance(plain, procmem.MeasuredRegion)
    for table in (process.maps(), process.smaps(), process.residency()):
        assert table.ordered
        assert table.consistent
        assert table.page_size == PAGE
        assert table.source.startswith(f"/proc/{target.pid}/")
        assert table.exe == os.readlink(f"/proc/{target.pid}/exe")
    target.unmap(mapping)
    assert process.maps().find(mapping.start) is None


def test_rollup_is_the_sum_of_smaps(target: Target, process: Process) -> None:
    target.touch(target.map(10))
    # Whoever starts another target meanwhile shares its pages with this one.
    for _ in range(200):
        smaps, rollup, after = process.smaps(), process.rollup(), process.smaps()
        if smaps == after:
            break
    assert rollup.rss == smaps.total("rss")
    assert rollup.private_dirty == smaps.total("private_dirty")
    assert rollup.uss == smaps.total("uss")
    assert rollup.pss is not None
    assert rollup.pss_anon is not None
    assert rollup.size is None
    sum_of_pss = smaps.total("pss")
    assert sum_of_pss is not None
    assert 0 <= rollup.pss - sum_of_pss < KiB * len(smaps)


def test_uss_and_pss_of_pages_that_a_child_shares(target: Target, process: Process) -> None:
    mapping = target.map(100)
    target.madvise(mapping, Advice.NOHUGEPAGE)
    target.touch(mapping)
    with target.fork() as child:
        child.touch(mapping, 30)
        for pid in (target.pid, child.pid):
            region = at(Process(pid).smaps(), mapping)
            assert region.rss == 100 * PAGE
            assert region.uss == region.private_dirty == 30 * PAGE
            assert region.shared_dirty == 70 * PAGE
            assert region.pss == 30 * PAGE + 35 * PAGE
            assert at(Process(pid).residency(), mapping).rss == 100 * PAGE
    assert at(process.smaps(), mapping).uss == 100 * PAGE


# ---- single regions ----


def outcomes(table: RegionTable[Region], process: Process) -> None:
    for region in table:
        for address in (region.start, region.end - 1, region.start + region.size // 2):
            found = process.region_at(address)
            assert found == region
            assert found is not None
            assert (found.pathname, found.deleted) == (region.pathname, region.deleted)
        if region.end < 1 << 64:
            assert process.region_at(region.end) == table.find(region.end)
    assert process.region_at(0) is None


def test_region_at_is_find_of_maps(
    target: Target, process: Process, tmp_path: Path, shm_name: Callable[[str], bytes]
) -> None:
    odd = tmp_path / "new\nline \\012 (deleted)"
    odd.write_bytes(b"x" * PAGE)
    target.map_file(odd, 1)
    gone = tmp_path / "gone (deleted)"
    gone.write_bytes(b"x" * PAGE)
    target.map_file(gone, 1)
    gone.unlink()
    target.map(3, "rw-s")
    target.map(3, "---p")
    target.map_shm(shm_name("x\ny"), 1)
    target.map_memfd("[heap]\n", 2)
    outcomes(process.maps(), process)


def test_region_at_without_the_ioctl_is_the_same(
    target: Target, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = target.map(3)
    monkeypatch.setattr(live.Queries, "ask", refuse)
    table = process.maps()
    outcomes(table, process)
    assert process.region_at(mapping.start) == at(table, mapping)


def refuse(*_: object) -> None:
    raise LookupError("no such ioctl")


@pytest.mark.parametrize("address", [-1, 2**63, 2**64 - 1, 2**64, -(2**80), 2**80])
def test_no_region_is_where_none_can_be(process: Process, address: int) -> None:
    assert process.region_at(address) is None


def test_region_at_finds_vsyscall_where_it_is(process: Process) -> None:
    table = process.maps()
    if table[-1].pathname != "[vsyscall]":
        pytest.skip("kernel feature missing: [vsyscall]")
    assert process.region_at(table[-1].start) == table[-1]


def test_region_at_follows_what_is_mapped(target: Target, process: Process) -> None:
    mapping = target.map(4)
    assert process.region_at(mapping.start) is not None
    target.unmap(mapping.page(1, 2))
    assert process.region_at(mapping.page(1).start) is None
    assert process.region_at(mapping.start) == procmem.Region(mapping.start, mapping.start + PAGE)


def test_region_at_after_exec_tells_of_the_new_program(target: Target, process: Process) -> None:
    mapping = target.map(4)
    assert process.region_at(mapping.start) is not None
    truths = target.exec()
    assert process.region_at(mapping.start) is None
    found = process.region_at(truths.main)
    assert found is not None
    assert found.perms.execute
    assert found.owner is procmem.Owner.EXECUTABLE


def test_region_at_of_a_path_longer_than_any_call_takes(
    target: Target, process: Process, tmp_path: Path
) -> None:
    with deep_file(tmp_path, target):
        mapping = target.map_file("file", 1)
        other = target.map(1)
        region = at(process.maps(), mapping)
        assert region.pathname is not None
        assert len(region.pathname) > 4096
        assert process.region_at(mapping.start) == region
        # One that is too long is no reason to give up asking.
        assert process.region_at(other.start) is not None
        if feature("PROCMAP_QUERY"):
            assert process._queries is not None
            assert process._queries.supported


@contextlib.contextmanager
def deep_file(place: Path, target: Target) -> Iterator[None]:
    """A file whose path has more than 4,096 bytes; the target stands beside it."""
    here = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    target.chdir(place)
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
    try:
        yield
    finally:
        os.close(here)


def test_threads_may_ask_at_once(target: Target, process: Process) -> None:
    mappings = [target.map(n + 1) for n in range(8)]
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def ask(mapping: Mapping) -> None:
        try:
            start.wait()
            for n in range(400):
                region = process.region_at(mapping.start + n % mapping.size)
                assert region is not None
                assert (region.start, region.end) == (mapping.start, mapping.end)
                if n % 100 == 0:
                    at(process.maps(), mapping)
                    process.close()
        except BaseException as error:  # noqa: BLE001 - it is shown in the main thread
            failures.append(error)

    workers = [threading.Thread(target=ask, args=(mapping,)) for mapping in mappings]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


# ---- many regions ----


@pytest.mark.parametrize("touched", [False, True])
def test_60000_regions(target: Target, process: Process, touched: bool) -> None:
    with machine.max_map_count(70_000) as setting:
        setting.or_skip()
        regions = target.regions(60_000, touched=touched)
        assert regions.error is None
        maps, resident, measured = at_rest(
            process, lambda: (process.maps(), process.residency(), process.smaps())
        )
        assert len(maps) == len(resident) == len(measured) >= 60_000
        for n in (0, 1, 2, 29_999, 59_999):
            mapping, perms = regions[n]
            assert at(maps, mapping).perms == perms
            rss = PAGE if touched and perms == "rw-p" else 0
            assert at(resident, mapping).rss == at(measured, mapping).rss == rss
            assert process.region_at(mapping.start) == at(maps, mapping)
        # Without PAGEMAP_SCAN the zero page counts as well.
        assert not feature("PAGEMAP_SCAN") or resident.total("rss") == measured.total("rss")
        assert format_maps(maps) == whole(f"/proc/{target.pid}/maps")
        target.close()


def test_a_reservation_of_a_tebibyte_costs_nothing(target: Target, process: Process) -> None:
    mapping = target.map(1024 * GiB // PAGE, "---p", at="any", flags=0x4000)
    region = process.residency().find(mapping.start)
    assert region is not None
    assert region.rss == 0
    assert (process.memory().vsz or 0) > 1024 * GiB


# ---- which process ----


def test_this_process_is_the_default() -> None:
    me = Process()
    assert me.pid == os.getpid()
    assert me == Process(os.getpid()) == Process(psutil.Process())
    found = me.maps().find(id(me))
    assert found is not None


def test_processes_are_equal_if_they_are_one(target: Target, start: Start) -> None:
    other = start()
    assert Process(target.pid) == Process(target.pid)
    assert hash(Process(target.pid)) == hash(Process(target.pid))
    assert Process(target.pid) != Process(other.pid)
    assert Process(target.pid) != target.pid
    assert len({Process(target.pid), Process(target.pid), Process(other.pid)}) == 2
    assert Process(target.pid) == Process(target.pid, root="/proc/")
    assert repr(Process(target.pid)) == f"procmem.Process({target.pid})"
    root = f"/proc/{os.getpid()}/root/proc"
    assert repr(Process(target.pid, root=root)).endswith(f"root={root!r})")


def test_the_start_time_is_that_of_stat(target: Target) -> None:
    fields = whole(f"/proc/{target.pid}/stat").rpartition(b")")[2].split()
    assert Process(target.pid).start_time == int(fields[19])


def test_a_psutil_process_stands_for_its_process(target: Target) -> None:
    theirs = psutil.Process(target.pid)
    assert Process(theirs).memory().vsz == theirs.memory_info().vms


def test_a_psutil_process_whose_pid_is_another_s_is_not_taken(target: Target) -> None:
    stale = psutil.Process(target.pid)
    # What psutil remembers of a process that had this PID before.
    stale._create_time = 1.0  # type: ignore[attr-defined]
    stale._ident = (target.pid, 1.0)  # type: ignore[attr-defined]
    assert not stale.is_running()
    with pytest.raises(NoSuchProcess):
        Process(stale)


def test_a_thread_s_id_shows_the_memory_of_its_process(target: Target, process: Process) -> None:
    (thread,) = target.threads(1).threads
    mine = Process(thread.tid)
    assert mine.maps() == process.maps()
    assert mine.memory().vsz == process.memory().vsz
    assert {t.tid for t in mine.threads()} == {target.pid, thread.tid}
    mapping = target.map(3)
    target.touch(mapping)
    assert at(mine.residency(), mapping).rss == 3 * PAGE
    assert mine.region_at(mapping.start) == at(process.maps(), mapping)
    assert at_rest(process, lambda: mine.rollup().rss == process.rollup().rss)


def test_a_context_manager_that_can_be_used_again(target: Target) -> None:
    with Process(target.pid) as process:
        first = process.maps()
        process.region_at(target.truths.main)
    assert process.maps() == first
    assert process.region_at(target.truths.main) == first.find(target.truths.main)


def test_processes_lists_them_all(target: Target) -> None:
    listed = [process.pid for process in procmem.processes()]
    assert listed == sorted(listed)
    assert {os.getpid(), target.pid} <= set(listed)
    assert all(isinstance(process, Process) for process in procmem.processes())


def test_root_is_another_proc(target: Target) -> None:
    root = f"/proc/{os.getpid()}/root/proc"
    process = Process(target.pid, root=root)
    assert process.root == root
    assert format_maps(process.maps()) == whole(f"/proc/{target.pid}/maps")
    assert Process(root=root).pid == os.getpid()
    assert target.pid in [each.pid for each in procmem.processes(root=root)]
    resident, measured = at_rest(process, lambda: (process.residency(), process.smaps()))
    assert resident.total("rss") == measured.total("rss")


def test_the_leader_has_exited(target: Target, process: Process) -> None:
    mapping = target.map(10)
    target.touch(mapping, 4)
    tid = target.exit_leader()
    assert whole(f"/proc/{target.pid}/maps") == b""
    for each in (process, Process(target.pid), Process(tid)):
        assert at(each.maps(), mapping).perms == "rw-p"
        assert at(each.smaps(), mapping).rss == 4 * PAGE
        assert at(each.residency(), mapping).rss == 4 * PAGE
        assert each.region_at(mapping.start) is not None
        assert each.memory().vsz == process.memory().vsz
        assert each.memory().vsz
        rollup, smaps = at_rest(process, lambda: (each.rollup(), process.smaps()))  # noqa: B023
        assert rollup.rss == smaps.total("rss")
        assert each.reconcile().explained
        assert each.faults().minor > 0
    assert process.maps().exe == os.readlink(f"/proc/{target.pid}/task/{tid}/exe")
    assert process.maps().find(target.truths.main).owner is procmem.Owner.EXECUTABLE  # type: ignore[union-attr]


# ---- against psutil, over every process of the machine (read only) ----


def everyone() -> Iterator[tuple[Process, psutil.Process]]:
    for process in procmem.processes():
        with contextlib.suppress(psutil.Error, ProcessError):
            yield process, psutil.Process(process.pid)


def test_memory_info_of_psutil_agrees() -> None:
    seen = 0
    for mine, theirs in everyone():
        told: list[tuple[object, object]] = []
        for _ in range(20):
            try:
                before, usage, after = theirs.memory_info(), mine.memory(), theirs.memory_info()
            except (psutil.Error, ProcessError):
                break
            # psutil says 0 of a process whose leading thread has exited.
            if before == after and before.vms:
                told.append(((usage.vsz, usage.rss), (before.vms, before.rss)))
                if told[-1][0] == told[-1][1]:
                    seen += 1
                    break
        else:
            # One that changes all the time is not twenty times the same before and after.
            assert len(told) < 20, told[-1]
    assert seen


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """Saves a process's files for both readers, since Pss and the like move by themselves.

    They change whenever anybody maps the same library, so only one reading can be compared.
    """
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    shutil.copyfile("/proc/stat", tmp_path / "stat")

    def save(pid: int) -> int:
        place = tmp_path / str(pid)
        place.mkdir()
        for name in ("stat", "status", "statm", "smaps", "smaps_rollup"):
            place.joinpath(name).write_bytes(whole(f"/proc/{pid}/{name}"))
        return pid

    return save


def readable() -> Iterator[int]:
    for process in procmem.processes():
        with contextlib.suppress(ProcessError):
            process.rollup()
            yield process.pid


def test_memory_full_info_of_psutil_agrees(
    target: Target, saved: Callable[[int], int], tmp_path: Path
) -> None:
    seen = set()
    for pid in readable():
        with contextlib.suppress(OSError, ProcessError, procmem.Unsupported, psutil.Error):
            saved(pid)
            theirs = psutil.Process(pid).memory_full_info()
            mine = Process(pid, root=tmp_path).rollup()
            assert (mine.uss, mine.pss, mine.swap) == (theirs.uss, theirs.pss, theirs.swap)
            seen.add(pid)
    assert target.pid in seen


def rows(table: RegionTable[MeasuredRegion]) -> list[tuple[Any, ...]]:
    return [
        (
            f"{r.start:08x}-{r.end:08x}",
            str(r.perms),
            *(r.counters[name] for name in ("Rss", "Size", "Pss", "Anonymous", "Swap")),
            *(r.counters[name] for name in ("Shared_Clean", "Shared_Dirty", "Private_Clean")),
            r.private_dirty,
            r.referenced,
        )
        for r in table
    ]


def their_rows(found: list[Any]) -> list[tuple[Any, ...]]:
    return [
        (
            m.addr,
            m.perms,
            *(m.rss, m.size, m.pss, m.anonymous, m.swap),
            *(m.shared_clean, m.shared_dirty, m.private_clean),
            m.private_dirty,
            m.referenced,
        )
        for m in found
    ]


def test_memory_maps_of_psutil_agree_in_every_field(
    target: Target, saved: Callable[[int], int], tmp_path: Path
) -> None:
    target.touch(target.map(10), 3)
    target.touch(target.map(10, "rw-s"), 3)
    seen = set()
    for pid in readable():
        with contextlib.suppress(OSError, ProcessError, procmem.Unsupported, psutil.Error):
            saved(pid)
            theirs = psutil.Process(pid).memory_maps(grouped=False)
            assert rows(Process(pid, root=tmp_path).smaps()) == their_rows(theirs)
            seen.add(pid)
    assert target.pid in seen


def test_every_process_can_be_read_or_says_why_not() -> None:
    seen = 0
    for process in procmem.processes():
        for read in (
            process.maps,
            process.smaps,
            process.residency,
            process.rollup,
            process.memory,
            process.faults,
            process.threads,
        ):
            try:
                read()
            except ProcessError as error:
                assert error.pid == process.pid
                assert str(error)
            else:
                seen += 1
    assert seen


# ---- no descriptor, no memory is lost ----


def descriptors() -> set[str]:
    # What earlier tests dropped in cycles is let go now, not in the middle.
    gc.collect()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/self/fd/{name}")
            found.add(f"{name} {link}")
    return {each for each in found if "/proc/" in each and not each.endswith("/fd")}


def test_a_thousand_processes_hold_few_descriptors(target: Target) -> None:
    before = len(descriptors())
    held = [Process(target.pid) for _ in range(1000)]
    assert len(descriptors()) - before <= 64
    # One whose directory was let go opens it again.
    assert held[0].maps() == held[999].maps()
    assert len(descriptors()) - before <= 64
    del held
    assert len(descriptors()) <= before


def test_errors_lose_no_descriptor(target: Target) -> None:
    zombie = target.zombie()
    gone = target.zombie()
    target.reap(gone)
    before = descriptors()
    for _ in range(100):
        with pytest.raises(ZombieProcess):
            Process(zombie).maps()
        with pytest.raises(ZombieProcess):
            Process(zombie).rollup()
        with pytest.raises(NoSuchProcess):
            Process(gone)
        with pytest.raises((KernelThread, NoSuchProcess, procmem.AccessDenied)):
            Process(2 if os.path.exists("/proc/2/stat") else gone).smaps()
        process = Process(target.pid)
        process.region_at(target.truths.main)
        process.region_at(2**63)
        process.residency()
        process.threads()
        process.reconcile()
        del process
    assert len(descriptors()) <= len(before)


def test_descriptors_are_closed_in_what_is_executed(target: Target) -> None:
    process = Process(target.pid)
    process.region_at(target.truths.main)
    code = """
import contextlib, os
for name in os.listdir("/proc/self/fd"):
    with contextlib.suppress(OSError):
        print(os.readlink(f"/proc/self/fd/{name}"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], close_fds=False, capture_output=True, text=True, check=True
    )
    assert f"/proc/{target.pid}" not in done.stdout


def test_a_fork_in_between_disturbs_nobody(target: Target) -> None:
    process = Process(target.pid)
    mapping = target.map(5)
    region = process.region_at(mapping.start)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            mine = Process()
            good = (
                process.region_at(mapping.start) == process.maps().find(mapping.start) == region
                and mine.pid == os.getpid()
                and len(mine.maps()) > 5
            )
            os.write(writer, b"good" if good else b"bad")
            process.close()
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as told:
        assert told.read() == b"good"
    assert os.waitpid(child, 0)[1] == 0
    assert process.region_at(mapping.start) == region
