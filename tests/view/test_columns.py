"""Columns of tables: they are aligned by cells, and give way where there is no room."""

from __future__ import annotations

from itertools import pairwise

import pytest

from procmem.picture.palette import VERDICT_TONES
from procmem.regions import parse_smaps
from procmem.view.colours import painted, show_colours, without_colours
from procmem.view.columns import Column, did_you_mean, fitted, narrowed
from procmem.view.maps import counter_table, grouped_table, region_table
from procmem.view.names import cells
from tests.support.tables import smaps_of

WIDTHS = (40, 60, 80, 120, 200)


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


# ---- tables -----------------------------------------------------------------------

HOSTILE = [
    "/usr/lib/日本語のとても長い名前のライブラリ.so",
    "/tmp/esc\x1b[2Jape\nline",
    "/tmp/\udcff\udcfe not UTF-8",
    "/tmp/" + "x" * 250,
    "/tmp/combining e\u0301e\u0301e\u0301",
    "/tmp/\u202eright to left",
]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_row_of_hostile_names_is_wider_than_the_screen(width: int) -> None:
    table = parse_smaps(smaps_of(HOSTILE))
    for text in (
        region_table(table, width=width),
        region_table(table, width=width, full_paths=True),
        counter_table(table, width=width),
        grouped_table(table, "path", width=width),
        region_table(table, width=width, chosen=["end", "path", "pss", "start"]),
    ):
        for line in text.splitlines():
            assert cells(line) <= width, line
            assert line.isprintable()
        # Columns stand under their headings, whatever characters are before them.
        heading, rule, *_ = text.splitlines()
        assert cells(heading) <= cells(rule)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_colours_take_no_room(width: int) -> None:
    line = "1  map one page  +4 KiB  yes".ljust(79)
    try:
        show_colours(256)
        coloured = line.replace("yes", painted("yes", VERDICT_TONES["good"]))
        said = narrowed(coloured + "\n", width)
    finally:
        show_colours(0)
    assert without_colours(said) == narrowed(line + "\n", width)
    assert ("\x1b" in said) == (width == 80)
    assert "x1b" not in said.replace("\x1b", "")


def test_columns_are_aligned_by_cells() -> None:
    text = fitted([Column("a", "A"), Column("b", "B")], [["日本", "x"], ["e\u0301", "y"]])
    rows = text.splitlines()[2:]
    assert [cells(row[: row.index(letter)]) for row, letter in zip(rows, "xy", strict=True)] == [
        6,
        6,
    ]


def test_columns_give_way_in_a_fixed_order_and_it_is_said() -> None:
    table = parse_smaps(smaps_of(["/usr/lib/libplain.so.6"]))
    headings = [
        region_table(table, width=width).splitlines()[0].split() for width in (200, 80, 60, 40)
    ]
    assert headings[0] == "Start End Perm Size RSS PSS USS Swap Kind Owner Name".split()
    for wider, narrower in pairwise(headings):
        assert [name for name in wider if name in narrower] == narrower
    assert "Not in 60 columns: " in region_table(table, width=60).replace("\n", " ")
    assert "Not in" not in region_table(table, width=200)
    assert "Not in" not in region_table(table)


def test_huge_pages_have_a_column_of_their_own_where_there_are_some() -> None:
    plain = smaps_of(["/a"])
    huge = plain + (
        b"7fff00000000-7fff00400000 rw-p 00000000 00:0f 9 /anon_hugepage (deleted)\n"
        b"Size: 4096 kB\nRss: 0 kB\nPss: 0 kB\nPrivate_Clean: 0 kB\nPrivate_Dirty: 0 kB\n"
        b"Shared_Hugetlb: 0 kB\nPrivate_Hugetlb: 2048 kB\nSwap: 0 kB\nVmFlags: rd wr ht\n"
    )
    assert "Hugetlb" not in region_table(parse_smaps(plain))
    for text in (region_table(parse_smaps(huge)), grouped_table(parse_smaps(huge), "kind")):
        heading, _, *rows = text.splitlines()
        assert "Hugetlb" in heading
        names = heading.split()
        row = next(line.split() for line in rows if "hugetlb" in line)
        assert row[names.index("Hugetlb")] == "2048"
        assert [row[names.index(name)] for name in ("RSS", "PSS", "USS")] == ["0", "0", "0"]


def test_nothing_is_cut_where_there_is_room() -> None:
    name = "lib" + "n" * 60 + ".so"
    table = parse_smaps(smaps_of([f"/usr/lib/{name}"]))
    assert name in region_table(table, width=200)
    assert name in region_table(table)
    assert name in grouped_table(table, "path", width=120)


def test_the_name_that_was_meant() -> None:
    names = ["maps", "pmap", "ps", "trace"]
    found = {
        word: did_you_mean(word, names) for word in ("mapz", "MAPS", "pmapp", "strace", "x", "")
    }
    assert found == {
        "mapz": ", did you mean 'maps'?",
        "MAPS": ", did you mean 'maps'?",
        "pmapp": ", did you mean 'pmap'?",
        "strace": ", did you mean 'trace'?",
        "x": "",
        "": "",
    }
    assert did_you_mean("maps", []) == ""
