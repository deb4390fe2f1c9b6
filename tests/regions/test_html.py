"""Regions in a notebook: figures equal the objects', guesses are marked, names are escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.picture.markup import MOST_ROWS, UNKNOWN
from tests.support.html import number, page_of, rows_below
from tests.support.paths import TESTS
from tests.support.saved_tables import saved_table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.targets import Target

PAGE = 4096


def region_line(at: int, name: str = "", perms: str = "rw-p") -> bytes:
    start = 0x10000 + at * 0x10000
    line = f"{start:08x}-{start + 0x4000:08x} {perms} 00000000 00:00 {int(bool(name))} {name}\n"
    return line.encode("utf-8", "surrogateescape")


def test_a_live_process(target: Target) -> None:
    mapping = target.map(1000)
    target.touch(mapping, 10)
    with procmem.Process(target.pid) as process:
        table = process.smaps()
    page = page_of(table)
    *rows, footer = rows_below(page, "Kind")
    kinds = {kind.value: group for kind, group in table.by_kind().items()}
    assert {row[0].rstrip("?") for row in rows} == kinds.keys()
    for row in rows:
        group = kinds[row[0].rstrip("?")]
        assert row[0].endswith("?") == any(region.kind_guess for region in group)
        assert int(row[1]) == len(group)
        for cell, field in zip(row[2:], ("size", "rss", "pss", "uss", "swap"), strict=True):
            assert number(cell) == group.total(field)
    sums = [table.total(field) for field in ("size", "rss", "pss", "uss", "swap")]
    assert [number(cell) for cell in footer[2:]] == sums
    *regions, total = rows_below(page, "Start")
    assert [number(cell) for cell in total[3:8]] == sums
    assert len(regions) == len(table)
    (mine,) = [row for row in regions if row[0] == f"{mapping.start:x}"]
    assert [number(cell) for cell in mine[3:5]] == [1000 * PAGE, 10 * PAGE]
    # Three pictures, and each says in words what it shows.
    labels = page.labels()
    assert [label.split()[0] for label in labels[:3]] == ["Size", "RSS", "PSS"]
    assert all("anon" in label for label in labels[:3])


def test_a_live_region(target: Target) -> None:
    mapping = target.map(8)
    target.touch(mapping, 3)
    with procmem.Process(target.pid) as process:
        region = process.smaps().find(mapping.start)
        plain = process.maps().find(mapping.start)
    assert region is not None
    rows = dict(page_of(region).rows)
    assert rows["addresses"] == f"{mapping.start:#x} to {mapping.end:#x}"
    assert region.rss is not None
    assert rows["RSS"] == f"{region.rss // 1024} KiB"
    assert rows["permissions"] == "rw-p"
    assert plain is not None
    assert "RSS" not in dict(page_of(plain).rows)


def test_30000_regions_are_summed_up() -> None:
    table = procmem.parse_maps(b"".join(region_line(at) for at in range(30_000)))
    page = page_of(table)
    *shown, others, total = rows_below(page, "Start")
    assert len(shown) == MOST_ROWS
    assert others[0] == f"{30_000 - MOST_ROWS:,} others"
    assert sum(number(row[3]) for row in [*shown, others]) == table.total("size")
    assert number(total[3]) == table.total("size") == 30_000 * 0x4000
    assert f"The {MOST_ROWS} largest of 30,000 regions" in page.text


HOSTILE = ("/tmp/</script><img src=x onerror=alert(1)>", '/"><svg onload=x>', "/\udcff\x1b[2J",
           "/" + "d" * 4000, "/\u202egnp", "/&lt;")  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_shown_as_text(name: str) -> None:
    table = procmem.parse_maps(region_line(1, name, "r--p"))
    page_of(table)
    page_of(table[0])
    assert "onerror" not in table._repr_html_().replace("&lt;img src=x onerror=alert(1)&gt;", "")


def test_guesses_are_marked() -> None:
    table = procmem.parse_maps(region_line(1, "", "---p"))
    assert table[0].kind_guess
    assert rows_below(page_of(table), "Kind")[0][0] == "guard?"
    assert dict(page_of(table[0]).rows)["kind"].startswith("guard?")


def test_what_is_not_known_is_no_zero() -> None:
    """A region of the text has no Rss, so no sum over all of them is known."""
    table = saved_table()
    assert table.total("rss") is None
    page = page_of(table)
    *_, footer = rows_below(page, "Kind")
    assert footer[3] == UNKNOWN
    missing = next(region for region in table if region.rss is None)
    assert dict(page_of(missing).rows)["RSS"] == UNKNOWN


def test_an_empty_table() -> None:
    page = page_of(procmem.parse_maps(b""))
    assert "0 regions" in page.text
    assert page.labels() == []


@pytest.mark.parametrize(
    "path", sorted((TESTS / "fixtures/programs").glob("*.smaps")), ids=lambda path: path.stem
)
def test_real_programs(path: Path) -> None:
    table = procmem.parse_smaps(path.read_bytes())
    page = page_of(table)
    *rows, footer = rows_below(page, "Kind")
    assert sum(number(row[2]) for row in rows) == number(footer[2]) == table.total("size")
    assert sum(number(row[3]) for row in rows) == number(footer[3]) == table.total("rss")
