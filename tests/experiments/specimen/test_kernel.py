"""What depends on the kernel's settings: huge pages, swap, limits."""

from __future__ import annotations

import os
import resource
import signal

import pytest

from procmem import MiB
from procmem.errors import NoSuchProcess, SyscallError, Unsupported
from procmem.experiments import Specimen
from procmem.experiments.specimen.kernel import huge_pages
from procmem.procfs import probes
from tests.support.specimens import PAGE, area, is_gone, moved
from tests.support.targets import machine

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestMachine:
    def test_huge_pages_of_hugetlbfs(self, specimen: Specimen) -> None:
        with machine.hugepages(2) as setting:
            setting.or_skip()
            mapped = specimen.mmap(pages=2, hugetlb=True)
            size = area(mapped).page_size
            assert moved(mapped) == {"vsz": 2 * size, "regions": 1}
            step = specimen.touch(area(mapped))
            assert (step.delta.hugetlb, step.delta.rss, step.delta.minor) == (2 * size, 0, 2)
            moved(step)
            assert moved(specimen.munmap(area(mapped)))["hugetlb"] == -2 * size

    def test_no_huge_pages(self, specimen: Specimen) -> None:
        try:
            with pytest.raises(SyscallError) as raised:
                specimen.mmap(pages=1 << 20, hugetlb=True)
        except Unsupported as error:
            pytest.skip(str(error))
        assert "huge pages" in str(raised.value)

    def test_transparent_huge_pages(self) -> None:
        if huge_pages() == "never":
            pytest.skip("kernel feature missing: transparent huge pages are off")
        with Specimen(thp=True) as specimen:
            mapped = area(specimen.mmap(4 * MiB))
            specimen.madvise(mapped, "hugepage")
            step = specimen.touch(mapped, pages=1)
            assert not step.exact
            if step.delta.rss == PAGE:
                pytest.skip("no huge page was free")
            assert (step.delta.rss, step.delta.minor) == (2 * MiB, 1)
            assert step.agrees

    def test_they_are_off_otherwise(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(4 * MiB))
        specimen.madvise(mapped, "hugepage")
        assert specimen.touch(mapped, pages=1).delta.rss == PAGE

    def test_swap(self) -> None:
        cpu = min(os.sched_getaffinity(0))
        with machine.swap() as setting, Specimen(cpu=cpu) as specimen:
            setting.or_skip()
            mapped = area(specimen.mmap(pages=64))
            specimen.touch(mapped)
            out = specimen.madvise(mapped, "pageout")
            # VmSwap is a counter as VmRSS is.
            known = not probes.counters_lag()
            swapped = {"swap": 64 * PAGE} if known else {}
            assert moved(out) == {"rss": -64 * PAGE, "rss_anon": -64 * PAGE, **swapped}
            back = specimen.touch(mapped)
            assert back.delta.swap == (-64 * PAGE if known else None)
            assert back.delta.major == 64
            moved(back)

    def test_swap_unpinned(self, specimen: Specimen) -> None:
        if len(os.sched_getaffinity(0)) == 1:
            pytest.skip("there is one CPU")
        mapped = area(specimen.mmap(pages=64))
        assert not specimen.madvise(mapped, "pageout").exact

    def test_a_limit_on_the_address_space(self, specimen: Specimen) -> None:
        resource.prlimit(specimen.pid, resource.RLIMIT_AS, (MiB, MiB))
        with pytest.raises(SyscallError, match="mmap: Cannot allocate memory"):
            specimen.mmap(2 * MiB)
        assert moved(specimen.mmap(PAGE))["vsz"] == PAGE

    def test_a_control_group_that_is_full(self) -> None:
        with machine.memory_cgroup(4 * MiB) as setting:
            setting.or_skip()
            assert setting.path is not None
            with Specimen() as specimen:
                (setting.path / "cgroup.procs").write_text(f"{specimen.pid}\n")
                mapped = area(specimen.mmap(64 * MiB))
                assert moved(specimen.touch(mapped, pages=100))["rss"] == 100 * PAGE
                with pytest.raises(NoSuchProcess, match="SIGKILL"):
                    specimen.touch(mapped)
            assert is_gone(specimen.pid)

    def test_a_file_system_that_is_full(self, specimen: Specimen) -> None:
        with machine.mounted("tmpfs", "-o", "size=64k") as setting:
            setting.or_skip()
            assert setting.path is not None
            file = setting.path / "sparse"
            with file.open("wb") as opened:
                opened.truncate(64 * PAGE)
            mapped = area(specimen.mmap(pages=64, file=file, shared=True))
            step = specimen.touch(mapped)
            assert step.fault is not None
            assert step.fault.signal == signal.SIGBUS
            assert step.result == 16
            assert not step.exact
            specimen.munmap(mapped)
