"""Gathered: 200 processes of known memory, of which one differs, to the page and the region."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.cluster.gathered import Gathered, GatheredProcess, Outlier
from procmem.experiments import Specimen
from procmem.regions import parse_smaps
from procmem.snapshots import Snapshot
from tests.support.specimens import PAGE
from tests.support.still import undisturbed

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS, PAGES, TOUCHED, ODD = 200, 64, 20, 123


class Service:
    """Processes with the same mapping each; one has touched more pages of it.

    Attributes:
        specimens: the processes.
        areas: their mappings.
    """

    def __init__(self, stack: ExitStack, workers: int) -> None:
        self.specimens = [stack.enter_context(Specimen()) for _ in range(workers)]
        self.areas: list[Any] = []
        for one in self.specimens:
            area = one.mmap(pages=PAGES).mapping
            assert area is not None
            one.touch(area, pages=TOUCHED)
            self.areas.append(area)

    @property
    def pids(self) -> list[int]:
        return [one.pid for one in self.specimens]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with ExitStack() as stack:
        yield Service(stack, WORKERS)


def anonymous(gathered: Gathered, least: int) -> list[Outlier]:
    """Of the memory that is the processes' own: that of files depends on who else maps it."""
    return [
        one for one in gathered.outliers(least)
        if one.kind == "anon" and one.counter in ("size", "rss", "uss", "swap")
    ]  # fmt: skip


def test_the_odd_one_of_200_to_the_page(service: Service) -> None:
    """First none differs; then one by one page; then by as many as exceed the default bound."""
    before = procmem.gather(pids=service.pids)
    assert [one.pid for one in before] == sorted(service.pids)
    assert anonymous(before, least=0) == []

    odd = service.specimens[ODD]
    for more, least in ((1, 0), (20, procmem.KiB * 64)):
        odd.touch(service.areas[ODD], pages=TOUCHED + more)
        found = anonymous(procmem.gather(pids=service.pids), least)
        assert {one.counter for one in found} == {"rss", "uss"}
        for one in found:
            assert one.process.pid == odd.pid
            assert one.difference == more * PAGE
            assert (one.value, one.median) == ((TOUCHED + more) * PAGE, TOUCHED * PAGE)
            assert (one.mad, one.processes) == (0, WORKERS)


def test_the_region_is_the_one_that_was_touched(service: Service) -> None:
    odd, area = service.specimens[ODD], service.areas[ODD]
    odd.touch(area, pages=TOUCHED + 30)
    gathered = procmem.gather(pids=service.pids)
    (rss,) = [one for one in anonymous(gathered, 0) if one.counter == "rss"]
    (region,) = gathered.unlike(rss)
    assert region.start <= area.start < region.end
    assert region.rss == (TOUCHED + 30) * PAGE
    assert gathered.typical(rss).pid != odd.pid


def test_figures_are_the_kernels(service: Service) -> None:
    pid = service.pids[0]

    def truth() -> tuple[int | None, int | None, int]:
        table = procmem.Process(pid).smaps()
        return table.total("pss"), table.total("rss"), len(table)

    # Others that map the same files change its PSS.
    expected, (one,) = undisturbed(truth, lambda: procmem.gather(pids=[pid]))
    assert expected == (
        one.total("pss"),
        sum(sums["rss"] or 0 for sums in one.uses().values()),
        one.figures()["", "", "regions"],
    )
    assert one.figures()["", "", "threads"] == 1


def test_without_counters_only_sizes_are_compared(service: Service) -> None:
    gathered = procmem.gather(pids=service.pids[:4], detail="maps")
    assert gathered[0].total("pss") is None
    names = {name[2]: value for name, value in gathered[0].figures().items() if name[0]}
    assert names["size"]
    assert names["rss"] is None
    assert [one for one in gathered.outliers(0) if one.counter == "rss" and one.kind] == []


def made(host: str, pid: int, text: bytes) -> GatheredProcess:
    return GatheredProcess(host, pid, "w", "u", Snapshot(parse_smaps(text)))


REGION = b"10000-14000 rw-p 00000000 00:00 0 %s\nSize: 16 kB\nRss: %d kB\nPss: %d kB\n"


def test_what_others_do_not_have_counts_as_none_of_it() -> None:
    rows = [made("h", pid, REGION % (b"[heap]", 8, 8)) for pid in range(5)]
    more = REGION % (b"[heap]", 8, 8) + REGION.replace(b"10000-14000", b"20000-24000") % (
        b"/lib/x.so", 4, 4,
    )  # fmt: skip
    gathered = Gathered([*rows, made("h", 9, more)], ("h",))
    found = {(one.kind, one.counter): one for one in gathered.outliers(0) if one.kind}
    assert {one.process.pid for one in found.values()} == {9}
    kinds = {kind for kind, _ in found}
    assert len(kinds) == 1
    (kind,) = kinds
    assert found[kind, "size"].difference == 16 * 1024
    assert found[kind, "size"].median == 0
    # Swap is in none of these texts.
    assert (kind, "swap") not in found


def test_tables_for_data_frames() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    rows = [made("a", 1, REGION % (b"[heap]", 8, 4)), made("b", 1, REGION % (b"[heap]", 12, 12))]
    gathered = Gathered(rows, ("a", "b"))
    frame = polars.DataFrame(gathered)
    assert frame["host"].to_list() == ["a", "b"]
    assert frame["rss"].to_list() == [8192, 12288]
    assert frame["pss"].to_list() == [4096, 12288]
    assert frame["threads"].to_list() == [None, None]
    uses = polars.DataFrame(gathered.uses)
    assert uses["kind"].to_list() == ["heap", "heap"]
    assert uses["rss"].to_list() == [8192, 12288]
    assert uses["uss"].to_list() == [None, None]
    assert polars.DataFrame(gathered[0].regions)["rss"].to_list() == [8192]


def test_all_of_it_as_plain_values() -> None:
    rows = [made("a", pid, REGION % (b"[heap]", 8, 4)) for pid in range(3)]
    plain = Gathered(rows, ("a",)).to_dict()
    assert plain["rule"] == {"score": 3.5, "least": 65536}
    assert plain["outliers"] == []
    assert plain["processes"][0]["uses"][0]["kind"] == "heap"
    assert plain["processes"][0]["rss"] == 8192
    assert "3 processes on 1 hosts" in repr(Gathered(rows, ("a",)))
