"""Tables in data frames: what polars, pyarrow, DuckDB and pandas read, value by value."""

from __future__ import annotations

import errno
import gc
import importlib.util
import mmap
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

import procmem
from procmem.arrow import Columnar
from procmem.errors import BadArgument, MissingExtra
from procmem.ipc.ends import Pipe, Pipes
from procmem.ipc.shared import Segments
from tests.support.saved_tables import saved_table

PAGE = mmap.PAGESIZE


def polars() -> Any:
    return pytest.importorskip("polars")


def arrow() -> Any:
    return pytest.importorskip("pyarrow")


class TestLibraries:
    def test_polars(self) -> None:
        pl = polars()
        frame = pl.DataFrame(procmem.Process().smaps())
        assert frame.schema["start"] == pl.UInt64
        assert frame.schema["kind"] in (pl.Categorical, pl.Categorical())
        assert saved_table().to_polars()["rss"].to_list() == [40960, 4096, None, None]

    def test_duckdb(self) -> None:
        duckdb = pytest.importorskip("duckdb")
        table = procmem.Process().smaps()
        [[total]] = duckdb.sql('select sum(rss)::bigint from "table"').fetchall()
        assert total == table.total("rss")

    def test_pandas(self) -> None:
        pandas = pytest.importorskip("pandas")
        arrow()
        frame = saved_table().to_pandas()
        assert frame["start"].iloc[3] == 0xFFFFFFFFFF600000
        assert frame["rss"].iloc[1] == 4096
        assert frame["rss"].iloc[2] is pandas.NA
        assert str(frame["kind"].dtype) == "category"

    def test_parquet(self, tmp_path: Any) -> None:
        path = tmp_path / "regions.parquet"
        saved_table().to_parquet(path)
        read = polars().read_parquet(path)
        assert read["rss"].to_list() == [40960, 4096, None, None]

    def test_without_libraries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("polars", "pandas", "pyarrow"):
            monkeypatch.setitem(sys.modules, name, None)
        for way in ("to_polars", "to_pandas"):
            with pytest.raises(MissingExtra, match=r"procmem-live\[frames\]"):
                getattr(saved_table(), way)()
        with pytest.raises(MissingExtra, match="Parquet"):
            saved_table().to_parquet("/nowhere/file")

    def test_nothing_is_imported_before_it_is_used(self) -> None:
        code = (
            "import sys, procmem; procmem.Process().maps();"
            "print(*[m for m in ('polars', 'pandas', 'pyarrow', 'procmem.columns',"
            " 'procmem.native._arrow') if m in sys.modules])"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert ran.stdout.split() == []


class TestCapsules:
    """Who may release what, and when, by the rules of the C stream interface."""

    def test_one_that_nobody_reads(self) -> None:
        for _ in range(100):
            capsule = saved_table().__arrow_c_stream__()
            del capsule
            schema = saved_table().__arrow_c_schema__()
            del schema

    def test_a_stream_is_read_once(self) -> None:
        reader = arrow().RecordBatchReader.from_stream(saved_table())
        assert sum(batch.num_rows for batch in reader) == 4
        assert list(reader) == []

    def test_columns_outlive_the_table(self) -> None:
        table = saved_table()
        column = arrow().table(table)["start"]
        del table
        gc.collect()
        assert column.to_pylist()[0] == 0x400000

    def test_released_in_another_thread(self) -> None:
        held = [arrow().table(saved_table())]
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()

    def test_memory_is_given_back(self) -> None:
        table = procmem.Process().smaps()
        columns = table.select("start", "end", "rss", "pss", "pathname")

        def make(times: int) -> int:
            for _ in range(times):
                columns.__arrow_c_stream__()
                columns.__arrow_c_schema__()
            return procmem.Process().memory().rss or 0

        before = make(20)
        assert make(1000) - before < 1000 * len(table) * 40 / 8, "an eighth of what streams hold"

    def test_bad_columns_are_refused(self) -> None:
        from procmem.native import _arrow

        wrong: tuple[Any, ...] = (None, (), (b"name",), (b"a", b"L", 3, True, 0, 0, (), None, ()),
                    (b"a", b"L", None, True, 0, 0, ("text",), None, ()),
                    (b"a", b"+s", None, True, 0, 0, (), None, ((),)),
                    (b"a", b"i", None, True, 0, 0, (), (), ()))  # fmt: skip
        for bad in wrong:
            with pytest.raises(TypeError):
                _arrow.stream(bad)


class TestOthers:
    def test_a_page_map(self) -> None:
        me = procmem.Process()
        with mmap.mmap(-1, 8 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
            area[2 * PAGE] = 1
            area[5 * PAGE] = 1
            address = me.maps().find(id(area))
            assert address is not None
            import ctypes

            start = ctypes.addressof(ctypes.c_char.from_buffer(area))
            pages = me.pagemap(start, start + 8 * PAGE)
            rows = arrow().table(pages).to_pylist()
            assert [row["address"] for row in rows] == [start + at * PAGE for at in range(8)]
            assert [row["present"] for row in rows] == [at in (2, 5) for at in range(8)]
            for page, row in zip(pages, rows, strict=True):
                assert row.pop("state") == page.state.name.lower().replace("_", " ")
                assert row == page._asdict()
            del pages
            import gc

            gc.collect()

    def test_a_page_map_that_is_too_large(self) -> None:
        everything = procmem.PageMap.from_bytes(b"").within(0, 0)
        assert arrow().table(everything).num_rows == 0
        whole = procmem.Process().pagemap(0, 1 << 46)
        with pytest.raises(BadArgument, match="take a part"):
            arrow().table(whole)

    def test_a_trace(self) -> None:
        trace = procmem.trace(["/bin/ls", "/"], malloc=True, stdout=subprocess.DEVNULL)
        table = arrow().table(trace)
        table = table.set_column(
            table.column_names.index("began"), "began", table["began"].cast(arrow().int64())
        )
        rows = table.drop_columns(["ns"]).to_pylist()
        assert len(rows) == len(trace) > 5
        for call, row in zip(trace, rows, strict=True):
            assert row["name"] == call.name
            assert (row["pid"], row["tid"]) == (call.pid, call.tid)
            assert (row["result"], row["errno"]) == (call.result, call.errno)
            assert row["within"] == call.within
            assert row["address"] == call.address
            assert (row["delta_vsz"], row["delta_rss"]) == (call.delta_vsz, call.delta_rss)
            assert row["vsz_after"] == (call.after and call.after.vsz)
            assert row["exact"] == call.exact
            assert tuple(row[f"arg{number}"] for number in range(6)) == call.words
            bounds = call.region_bounds
            assert (row["region_start"], row["region_end"]) == (bounds or (None, None))
            assert row["began"] == call.began
        assert {row["within"] for row in rows} >= {None, "malloc"}
        assert any(row["address"] for row in rows)

    def test_a_call_that_fails(self) -> None:
        code = "import ctypes; ctypes.CDLL(None).munmap(1, 1)"
        trace = procmem.trace([sys.executable, "-c", code])
        rows = arrow().table(trace.select("name", "result", "errno")).to_pylist()
        assert {"name": "munmap", "result": None, "errno": errno.EINVAL} in rows

    def test_a_recording_and_a_diff(self) -> None:
        me = procmem.Process()
        before = me.snapshot()
        with mmap.mmap(-1, 64 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
            area[: 64 * PAGE] = bytes(64 * PAGE)
            after = me.snapshot()
        recording = procmem.Recording([before, after])
        rows = arrow().table(recording).to_pylist()
        assert [row["number"] for row in rows] == [0, 1]
        assert [row["vsz"] for row in rows] == [before.vsz, after.vsz]
        assert [row["rss"] for row in rows] == [before.rss, after.rss]
        assert [row["seconds"] for row in rows] == recording.times
        assert before.clock is not None
        column = arrow().table(recording)["time"].cast(arrow().int64())
        assert column[0].as_py() == before.clock.realtime
        changed = after - before
        found = arrow().table(changed).to_pylist()
        assert [row["start"] for row in found] == [
            change.region.start for change in changed.changes
        ]
        assert sum(row["vsz"] for row in found) == sum(change.vsz for change in changed.changes)
        assert [row["cause"] for row in found] == [str(change.cause) for change in changed.changes]
        assert polars().DataFrame(changed).height == len(changed.changes)

    def test_pipes(self) -> None:
        read, write = os.pipe()
        try:
            os.write(write, bytes(5000))
            found = procmem.Process().pipes()
            rows = {row["inode"]: row for row in arrow().table(found).to_pylist()}
            assert len(rows) == len(found)
            mine = rows[os.fstat(read).st_ino]
            assert (mine["waiting"], mine["slots"], mine["full"]) == (5000, 65536 // PAGE, False)
            assert (mine["readers"], mine["writers"], mine["blocked"]) == (1, 1, 0)
            assert (mine["capacity"], mine["path"]) == (65536, None)
            assert polars().DataFrame(found).height == len(found)
        finally:
            os.close(read)
            os.close(write)
        hidden = Pipe(7, 8 << 32 | 1, "/a", None, None, None, None, (), (), None, False, ())
        (row,) = arrow().table(Pipes([hidden], 1, [], 0)).to_pylist()
        assert (row["dev"], row["path"], row["waiting"], row["full"]) == ("08:01", "/a", None, None)
        assert (row["has_readers"], row["has_writers"]) == (None, False)

    def test_segments(self) -> None:
        fd = os.memfd_create("procmem arrow", 0)
        try:
            os.write(fd, bytes(10_000))
            with mmap.mmap(fd, 2 * PAGE):
                found = procmem.segments().of(os.getpid())
        finally:
            os.close(fd)
        (mine,) = [
            row for row in arrow().table(found).to_pylist() if row["name"] == "procmem arrow"
        ]
        assert (mine["kind"], mine["size"]) == ("memfd", 10_000)
        assert mine["resident"] == -(-10_000 // PAGE) * PAGE
        # mmap.mmap() keeps a copy of the descriptor.
        assert (mine["mappers"], mine["descriptors"], mine["leaked"]) == (1, 2, False)
        # Whose file it is: as the descriptor says.
        assert (mine["key"], mine["creator_ended"], mine["owner"]) == (None, None, os.geteuid())
        assert polars().DataFrame(found).height == len(found)

    def test_a_machine(self) -> None:
        found = procmem.machine(frames=False)
        rows = arrow().table(found).to_pylist()
        assert [row["pid"] for row in rows] == [process.pid for process in found.processes]
        for process, row in zip(found.processes, rows, strict=True):
            exact = row.pop("frees_exact")
            assert exact is (None if process.freed is None else process.freed.exact)
            assert row["unread"] == (process.unread or None)
            for name in row.keys() - {"unread", "user", "name", "command"}:
                assert row[name] == getattr(process, name)
        (me,) = [row for row in rows if row["pid"] == os.getpid()]
        assert me["rss"] >= me["pss"] >= me["uss"] > me["frees"] > 0
        assert polars().DataFrame(found.select("pid", "pss")).columns == ["pid", "pss"]


@pytest.mark.parametrize("made", [Pipes, Segments])
def test_a_table_without_rows_and_one_that_is_a_sequence(made: Any) -> None:
    assert arrow().table(made([], 0, [], 0)).num_rows == 0
    listed = made([1, 2, 3], 0, [], 0)
    assert (len(listed), listed[1], listed[-2:], list(listed)) == (3, 2, [2, 3], [1, 2, 3])
    assert (2 in listed, 4 in listed, listed.index(3), listed.count(1)) == (True, False, 2, 1)
    assert list(reversed(listed)) == [3, 2, 1]


UNITS = {
    **dict.fromkeys(("address", "start", "end", "region_start", "region_end"), b"address"),
    **dict.fromkeys(("minor", "major"), b"page faults"),
    "slots": b"pages",
    "seconds": b"seconds",
}
"""Units of columns, besides bytes."""

NO_UNITS = frozenset(
    "inode number pid ppid uid tid result errno arg0 arg1 arg2 arg3 arg4 arg5 pfn readers writers "
    "blocked key id mappers descriptors attached creator owner thp_eligible protection_key".split()
)
"""Numbers of things, and how many there are."""


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    """One of each class."""
    me = procmem.Process()
    before, fds = me.snapshot(), os.pipe()
    with mmap.mmap(-1, 4 * PAGE) as area:
        area[0] = 1
        after, segments, pipes = me.snapshot(), procmem.segments(), me.pipes()
    for fd in fds:
        os.close(fd)
    stack = next(one for one in me.maps() if one.pathname == "[stack]")
    return {
        "maps": me.maps(),
        "smaps": me.smaps(),
        "residency": me.residency(),
        "recording": procmem.Recording([before, after]),
        "trace": procmem.trace(["true"]),
        "diff": after - before,
        "page map": me.pagemap(stack.end - 4 * PAGE, stack.end),
        "machine": procmem.machine(frames=False),
        "segments": segments,
        "pipes": pipes,
    }


@pytest.mark.parametrize(
    "name",
    ["maps", "smaps", "residency", "recording", "trace", "diff", "page map", "machine", "segments",
     "pipes"],
)  # fmt: skip
class TestEachTable:
    def test_its_schema_is_that_of_its_stream(self, tables: dict[str, Any], name: str) -> None:
        pa = arrow()
        assert pa.schema(tables[name]) == pa.table(tables[name]).schema
        assert len(pa.table(tables[name]))

    def test_fields_name_their_unit_and_source(self, tables: dict[str, Any], name: str) -> None:
        pa = arrow()
        for field in pa.schema(tables[name]):
            metadata = field.metadata or {}
            assert metadata.get(b"source"), field.name
            plain = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
            if plain and field.name not in NO_UNITS:
                assert metadata.get(b"unit") == UNITS.get(field.name, b"bytes"), field.name

    def test_types(self, tables: dict[str, Any], name: str) -> None:
        pa = arrow()
        for field in pa.schema(tables[name]):
            if (field.metadata or {}).get(b"unit") == b"address":
                assert field.type == pa.uint64(), field.name
            if field.name in ("kind", "use", "region_kind", "cause", "state", "detail"):
                assert pa.types.is_dictionary(field.type), field.name
            if field.name in ("time", "began", "ns"):
                assert field.type.unit == "ns"

    def test_each_library_reads_it(self, tables: dict[str, Any], name: str, tmp_path: Any) -> None:
        pytest.importorskip("pandas")
        rows = len(arrow().table(tables[name]))
        tables[name].to_parquet(tmp_path / "x.parquet")
        read = polars().read_parquet(tmp_path / "x.parquet")
        assert len(tables[name].to_polars()) == len(tables[name].to_pandas()) == len(read) == rows
        assert read.columns == tables[name].to_polars().columns == [*tables[name].to_pandas()]


def test_every_public_table_has_columns() -> None:
    tables = [procmem.RegionTable, procmem.Recording, procmem.Trace, procmem.Diff, procmem.PageMap,
              procmem.Machine, procmem.Pipes, procmem.Segments]  # fmt: skip
    assert all(issubclass(table, Columnar) for table in tables)


@pytest.mark.skipif(importlib.util.find_spec("polars") is None, reason="polars is not installed")
def test_a_closed_standard_error_and_an_odd_locale_change_nothing() -> None:
    code = "import procmem, polars; print(polars.DataFrame(procmem.Process().maps()).height > 5)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"},
    )  # fmt: skip
    assert ran.stdout.strip() == "True"
