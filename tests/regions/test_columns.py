"""The columns of region tables: every field of every region, value by value."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

import pytest

import procmem
from procmem.errors import BadArgument
from tests.support.saved_tables import SMAPS, saved_table

PAGE = mmap.PAGESIZE
pyarrow: Any = pytest.importorskip("pyarrow")


def test_values_of_a_text() -> None:
    table = pyarrow.table(saved_table())
    rows = table.to_pylist()
    assert [row["start"] for row in rows] == [
        0x400000, 0x7F0000000000, 0x7F0000004000, 0xFFFFFFFFFF600000
    ]  # fmt: skip
    assert [row["size"] for row in rows] == [0xB000, 0x2000, 0x1000, 0x1000]
    assert [row["perms"] for row in rows] == ["r-xp", "rw-p", "r--s", "--xp"]
    assert [row["offset"] for row in rows] == [0x1000, 0, 0, 0]
    assert [row["dev"] for row in rows] == ["08:01", "00:00", "103:abcde", "00:00"]
    assert [row["inode"] for row in rows] == [7, 0, 9, 0]
    assert [row["pathname"] for row in rows] == [
        "/bin/caf\\xe9", None, "/tmp/gone", "[vsyscall]"
    ]  # fmt: skip
    assert [row["deleted"] for row in rows] == [False, False, True, False]
    assert [row["rss"] for row in rows] == [40960, 4096, None, None]
    assert [row["uss"] for row in rows] == [12288, None, None, None]
    assert [row["Novel"] for row in rows] == [3072, None, None, None]
    assert [row["vm_flags"] for row in rows] == ["rd ex", None, None, None]
    assert rows[3]["kind"] == "vsyscall"
    assert table.column("swap").null_count == 4


@pytest.mark.parametrize("read", ["maps", "smaps", "residency"])
def test_all_fields_of_a_live_process(read: str) -> None:
    table = getattr(procmem.Process(), read)()
    rows = pyarrow.table(table).to_pylist()
    assert len(rows) == len(table) > 20
    for region, row in zip(table, rows, strict=True):
        record = region.to_record()
        record.pop("unknown", None)
        assert {name: row[name] for name in record} == record
        more = {name for name in row if name not in record and row[name] is not None}
        assert more <= {"hugetlb"}
        assert row.get("hugetlb") == getattr(region, "hugetlb", None)


def test_a_part_of_a_table() -> None:
    table = procmem.Process().smaps()
    part = table.filter(perms="r-xp")
    assert 0 < len(part) < len(table)
    rows = pyarrow.table(part).to_pylist()
    assert [row["start"] for row in rows] == [region.start for region in part]
    assert [row["rss"] for row in rows] == [region.rss for region in part]
    assert [row["pathname"] for row in rows] == [region.pathname for region in part]
    assert [row["name"] for row in rows] == [region.name for region in part]


def test_a_file_whose_name_ends_in_deleted(tmp_path: Any) -> None:
    """The kernel prints the same for it as for one that was unlinked: its inode decides."""
    path = tmp_path / "not (deleted)"
    path.write_bytes(bytes(PAGE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), PAGE):
        table = procmem.Process().maps()
        rows = pyarrow.table(table.select("pathname", "deleted")).to_pylist()
    assert {"pathname": str(path), "deleted": False} in rows


def test_an_empty_table() -> None:
    empty = saved_table().filter(path="nothing")
    assert pyarrow.table(empty).num_rows == 0
    assert pyarrow.table(empty).column_names[-1] == "Novel"


def test_units_and_sources() -> None:
    schema = pyarrow.schema(saved_table())
    assert schema.field("rss").metadata == {b"unit": b"bytes", b"source": b"smaps: Rss"}
    assert schema.field("start").metadata[b"unit"] == b"address"
    assert b"unit" not in schema.field("protection_key").metadata
    assert schema.metadata[b"page_size"] == str(PAGE).encode()
    assert not schema.field("start").nullable
    assert schema.field("rss").nullable


def test_the_columns_of_two_processes_are_the_same() -> None:
    """Frames of two tables can be put below each other, whatever the kernel printed."""
    mine = pyarrow.schema(procmem.Process().smaps())
    theirs = pyarrow.schema(
        procmem.parse_smaps(SMAPS.replace(b"Novel:                 3 kB\n", b""))
    )
    assert mine.names == theirs.names
    assert mine.types == theirs.types


def test_only_some_columns() -> None:
    table = saved_table()
    chosen = pyarrow.table(table.select("rss", "start"))
    assert chosen.column_names == ["rss", "start"]
    assert table.reading.kinds is None, "kinds were determined for nothing"
    with pytest.raises(BadArgument, match=r"no column 'rrs', but start, end, size"):
        table.select("rrs")


def test_it_is_still_a_sequence() -> None:
    table = saved_table()
    first = table[0]
    assert first in table
    assert "nothing" not in table
    assert table.index(table[2]) == 2
    assert table.index(table[2], 1, -1) == 2
    assert table.count(first) == 1
    assert list(reversed(table)) == list(table)[::-1]
    with pytest.raises(ValueError, match="is not there"):
        table.index(first, 1)
    assert not isinstance(table, Sequence), "polars would take its regions for Python objects"
