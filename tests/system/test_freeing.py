"""What ending processes would free: compared with what their control group shows afterwards."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.procfs import probes
from procmem.regions.read import Queries
from procmem.system import machine as module
from procmem.system.freeing import Freeing
from procmem.system.processes import read_process
from tests.support.blocking import until
from tests.support.targets import PAGE, Advice, Child, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from procmem.system.processes import Freed, MachineProcess
    from tests.support.targets import Mapping, Target

needs_frames = pytest.mark.skipif(
    not probes.shows_page_frames(), reason="page frame numbers take CAP_SYS_ADMIN"
)


ATTEMPTS = 10
"""Readings until one is exact: the kernel may move pages meanwhile (compaction), and then shows
them as swapped."""


def read(*pids: int) -> list[MachineProcess]:
    found = [read_process(pid, "/proc") for pid in pids]
    return [process for process in found if process is not None]


def freed_by(groups: list[list[int]]) -> list[Freed]:
    """What ending each of some groups would free; their PIDs are all that are read."""
    for _ in range(ATTEMPTS):
        freeing = Freeing()
        for group in groups:
            for pid in group:
                freeing.add(pid, "/proc")
        freeing.settle("/proc")
        found = [freed for freed in freeing.of_groups([read(*g) for g in groups]) if freed]
        if all(freed.exact for freed in found):
            break
    return found


def frees(*pids: int, beside: int) -> Freed:
    """What ending some processes would free, where another one was read, too."""
    return freed_by([list(pids), [beside]])[0]


@contextlib.contextmanager
def forks(target: Target, mapping: Mapping, count: int) -> Iterator[list[Child]]:
    """Children that have written what they need to answer: their stack, and the last page."""
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(target.fork()) for _ in range(count)]
        for process in (target, *children):
            process.touch(mapping.page(mapping.pages - 1))
        yield children


@needs_frames
def test_pages_of_its_own_and_pages_of_a_group(target: Target) -> None:
    mapping = target.map(1000)
    target.touch(mapping)
    with forks(target, mapping, 20) as children:
        pids = [child.pid for child in children]
        first = pids[0]
        alone, together = frees(first, beside=target.pid), frees(*pids, beside=target.pid)
        children[0].touch(mapping.page(0, 70))
        after = frees(first, beside=target.pid)
        assert after.anonymous - alone.anonymous == 70 * PAGE
        now = frees(*pids, beside=target.pid)
        assert now.exact
        assert now.anonymous - together.anonymous == 70 * PAGE
        # The parent copies 200 pages: what they were is the children's alone now, each page once,
        # but for the 50 pages that the first has copied and the others share.
        target.touch(mapping.page(20, 200))
        last = frees(*pids, beside=target.pid)
        assert last.anonymous - now.anonymous == 200 * PAGE
        assert frees(first, beside=target.pid).anonymous == after.anonymous
        (all_of_it,) = freed_by([[target.pid, *pids]])
        assert all_of_it.exact
        assert all_of_it.anonymous >= (1000 + 70 + 200) * PAGE


@needs_frames
def test_shared_memory_without_a_name_ends_with_its_last_process(
    target: Target, tmp_path: Path
) -> None:
    shared = target.map(300, "rw-s")
    target.touch(shared, 120)
    file = tmp_path / "file"
    file.write_bytes(bytes(50 * PAGE))
    target.read(target.map_file(file, 50, "rw-s"))
    target.touch(target.map_memfd("kept", 40, "rw-s"))
    with target.fork() as child:
        child.touch(shared.page(120, 30))
        one, both = freed_by([[target.pid], [child.pid]]), freed_by([[target.pid, child.pid]])
        assert [freed.shared for freed in one] == [0, 0]
        assert both[0].shared == 150 * PAGE
    # The child is gone, and the pages that it alone had touched are still there.
    # Whoever reads its maps at that time keeps its address space a little longer.
    until(lambda: freed_by([[target.pid]])[0].shared == 150 * PAGE)


@needs_frames
def test_shared_memory_in_swap_is_not_in_memory(start: Callable[..., Target]) -> None:
    with machine.swap() as setting:
        setting.or_skip()
        target = start()
        shared = target.map(100, "rw-s")
        target.touch(shared)
        process = procmem.Process(target.pid)
        for _ in range(50):
            target.madvise(shared, Advice.PAGEOUT)
            if process.smaps().total("swap"):
                break
        else:
            pytest.skip("the kernel swapped nothing out")
        region = process.smaps().find(shared.start)
        assert region is not None
        assert region.swap is not None
        (freed,) = freed_by([[target.pid]])
        assert freed.shared <= 100 * PAGE - region.swap
        target.touch(shared)
        (back,) = freed_by([[target.pid]])
        assert back.shared == 100 * PAGE


def stat_of(group: Path, field: str) -> int:
    for line in (group / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == field:
            return int(value)
    raise AssertionError(f"memory.stat has no {field}")


@needs_frames
def test_ending_them_frees_what_was_said(target: Target) -> None:
    with machine.memory_cgroup(1 << 30) as setting:
        group = setting.or_skip().path
        field = "rss" if (group / "memory.usage_in_bytes").exists() else "anon"
        (group / "cgroup.procs").write_text(f"{target.pid}\n")
        target.exec()  # what it had before is charged to another group
        mapping = target.map(2000)
        target.touch(mapping)
        shared = target.map(500, "rw-s")
        target.touch(shared)
        with forks(target, mapping, 200) as children:
            for number, child in enumerate(children):
                child.touch(mapping.page(number, 5))
            target.touch(mapping.page(1000, 300))
            pids = [child.pid for child in children]
            promised = frees(*pids, beside=target.pid)
            # Each child copied 5 pages and shares the others; 300 were left to all of them.
            assert promised.exact
            assert promised.anonymous >= (200 * 5 + 300) * PAGE
            assert promised.shared == 0
            (everything,) = freed_by([[target.pid, *pids]])
            assert everything.shared == 500 * PAGE
            assert shown(group, field, everything.anonymous)
            assert shown(group, "shmem", everything.shared)
        rest = everything.anonymous - promised.anonymous
        until(lambda: freed_by([[target.pid]])[0].anonymous == rest)
        assert shown(group, field, rest)
        target.close()
        assert shown(group, field, 0)
        assert shown(group, "shmem", 0)


def shown(group: Path, field: str, value: int) -> bool:
    """Whether memory.stat comes to show a value.

    The kernel adds up what each CPU keeps to itself every two seconds (FLUSH_TIME in
    mm/memcontrol.c).
    """
    deadline = time.monotonic() + 300
    while stat_of(group, field) != value and time.monotonic() < deadline:
        time.sleep(0.05)
    return stat_of(group, field) == value


@needs_frames
@pytest.mark.parametrize("asks", [True, False])
def test_huge_pages_of_hugetlbfs_go_back_to_their_pool(
    target: Target, monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    """Whether the kernel can be asked for the size of pages (PROCMAP_QUERY), or smaps has it."""
    if not asks:
        monkeypatch.setattr(Queries, "page_size", lambda *_: None)
    with machine.hugepages(2) as setting:
        setting.or_skip()
        (before,) = freed_by([[target.pid]])
        huge = target.map_huge(machine.hugepage_size())
        target.touch(huge, 1)
        own = target.map(10)
        target.touch(own)
        (after,) = freed_by([[target.pid]])
        assert after.anonymous - before.anonymous == 10 * PAGE


def test_without_frames_it_is_a_lower_bound(target: Target) -> None:
    mapping = target.map(500)
    target.touch(mapping)
    with target.fork():
        found = procmem.machine(frames=False)
        (process,) = [each for each in found.processes if each.pid == target.pid]
        freed = process.freed
        assert freed is not None
        assert not freed.exact
        assert process.uss is not None
        assert freed.size <= process.uss
        anonymous = procmem.Process(target.pid).pagemap(0, 1 << 47).counts().anonymous
        assert freed.size <= anonymous * PAGE
        # 500 pages are shared with the child: they are not the target's alone.
        assert freed.size < 500 * PAGE
        target.touch(mapping, 300)
        (after,) = [p for p in procmem.machine(frames=False).processes if p.pid == target.pid]
        assert after.frees is not None
        assert after.counters is not None
        assert after.counters.pss_file is not None
        # Of pages of files it is known only how large its share is, not which are its alone.
        assert after.frees >= 300 * PAGE - after.counters.pss_file
        group = found.freed([process])
        assert group == freed


@needs_frames
def test_the_machine_reads_frames_if_it_may(target: Target) -> None:
    mapping = target.map(400)
    target.touch(mapping)
    found = procmem.machine()
    (process,) = [each for each in found.processes if each.pid == target.pid]
    assert process.freed is not None
    assert process.freed.anonymous >= 400 * PAGE
    assert found.freed([process]) == process.freed
    (mine,) = [each for each in found.groups("tree") if process in each.processes]
    assert mine.freed is not None
    assert mine.freed.size >= process.freed.size


@needs_frames
def test_where_the_kernel_has_only_averages_nothing_is_exact(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.touch(target.map(10))
    freeing = Freeing()
    freeing.add(target.pid, "/proc")
    freeing.settle("/proc")
    for averages in (True, False, None):
        monkeypatch.setattr(probes, "averages_map_counts", lambda averages=averages: averages)
        (freed,) = freeing.of_groups([read(target.pid)])
        assert freed is not None
        assert freed.anonymous >= 10 * PAGE
        if averages:
            assert not freed.exact


def test_an_ordinary_user_gets_a_lower_bound_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "can_read_frames", lambda root: False)
    (mine,) = [each for each in procmem.machine().processes if each.pid == os.getpid()]
    assert mine.freed is not None
    assert not mine.freed.exact
    with pytest.raises(procmem.AccessDenied, match="CAP_SYS_ADMIN"):
        procmem.machine(frames=True)
