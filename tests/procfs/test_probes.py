"""What this kernel can do, found out by trying."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from procmem.procfs import probes

PAGE = os.sysconf("SC_PAGESIZE")


def test_what_can_not_be_read_says_why(tmp_path: Path) -> None:
    assert not probes.can_read("/proc/self/maps")
    assert probes.can_read(str(tmp_path / "missing")) == os.strerror(2)


def test_the_setting_of_yama() -> None:
    setting = Path("/proc/sys/kernel/yama/ptrace_scope")
    assert probes.ptrace_scope() == (setting.read_text().strip() if setting.exists() else None)


def test_vm_rss_is_exact_or_off_by_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "counters_lag", lambda: False)
    assert probes.rss_error(1) == probes.rss_error(1000) == 0
    monkeypatch.setattr(probes, "counters_lag", lambda: True)
    errors = [probes.rss_error(threads) for threads in (1, 10, 1000)]
    assert errors == sorted(errors) == [probes.rss_bound(threads) for threads in (1, 10, 1000)]
    # A thread holds back 64 faults of one page at least.
    assert all(error >= 64 * PAGE * n for error, n in zip(errors, (1, 10, 1000), strict=True))


@pytest.mark.skipif(not probes.shows_page_frames(), reason="page frames need CAP_SYS_ADMIN")
def test_all_untouched_memory_that_is_read_has_the_zero_frame() -> None:
    frame = probes.zero_frame()
    assert frame
    assert probes.entry_of_a_page(probes.looked_at) & probes.FRAME == frame
    assert probes.entry_of_a_page(probes.written) & probes.FRAME != frame


def test_guard_pages_show_only_where_the_kernel_knows_them() -> None:
    entry = probes.entry_of_a_page(probes.guarded)
    assert bool(entry >> 58 & 1) == probes.shows_guard_pages()
    # A written page never has the bit.
    assert not probes.entry_of_a_page(probes.written) >> 58 & 1


def test_the_kernels_configuration_says_how_mappings_are_counted() -> None:
    assert probes.has_averages(b"CONFIG_A=y\nCONFIG_NO_PAGE_MAPCOUNT=y\n")
    assert not probes.has_averages(b"# CONFIG_NO_PAGE_MAPCOUNT is not set\n")
    assert not probes.has_averages(b"")
    known = os.path.exists("/proc/config.gz") or os.path.exists(
        f"/boot/config-{os.uname().release}"
    )
    assert known or probes.averages_map_counts() is None
