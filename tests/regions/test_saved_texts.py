"""Texts of /proc that an editor or another system has saved; tables as records of data frames."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from procmem import (
    ParseError,
    Process,
    Region,
    RegionTable,
    format_maps,
    parse_maps,
    parse_rollup,
    parse_smaps,
)
from procmem.procfs.text import parse_stat, parse_statm, parse_status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES: dict[str, Callable[[bytes], Any]] = {
    "maps": parse_maps,
    "smaps": parse_smaps,
    "smaps_rollup": parse_rollup,
    "status": parse_status,
    "stat": lambda data: [getattr(parse_stat(data), name) for name in ("pid", "comm", "rss")],
    "statm": lambda data: [getattr(parse_statm(data), name) for name in ("size", "resident")],
}

SAVINGS: dict[str, Callable[[bytes], bytes]] = {
    "CR LF": lambda text: text.replace(b"\n", b"\r\n"),
    "CR LF, the last line cut": lambda text: text.replace(b"\n", b"\r\n")[:-2],
    "CR LF, the last LF cut": lambda text: text.replace(b"\n", b"\r\n")[:-1],
    "BOM": lambda text: b"\xef\xbb\xbf" + text,
    "BOM and CR LF": lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
    "no last newline": lambda text: text[:-1],
    "blank lines behind": lambda text: text + b"\n  \n\t\n",
    "blank lines behind, CR LF": lambda text: text.replace(b"\n", b"\r\n") + b"\r\n \r\n",
    "blanks behind, without a newline": lambda text: text + b" ",
    "blank lines before": lambda text: b"\n \t\r\n" + text,
    "every second line blank": lambda text: text.replace(b"\n", b"\n\v\f\n"),
    "every second line blank, CR LF": lambda text: text.replace(b"\n", b"\r\n \r\n"),
    "CR LF, blank lines without CR": lambda text: text.replace(b"\n", b"\r\n\n"),
}


def own(name: str) -> bytes:
    with open(f"/proc/self/{name}", "rb") as file:
        return file.read()


@pytest.mark.parametrize("saving", SAVINGS)
@pytest.mark.parametrize("name", FILES)
def test_every_parser_reads_a_text_however_it_was_saved(name: str, saving: str) -> None:
    text = own(name)
    assert FILES[name](SAVINGS[saving](text)) == FILES[name](text)


@pytest.mark.parametrize("given", FILES)
@pytest.mark.parametrize("name", FILES)
def test_a_parser_says_that_it_was_given_another_file(name: str, given: str) -> None:
    if name == given or (name, given) == ("smaps", "maps"):
        return
    with pytest.raises(ParseError, match=rf"this is a text of /proc/PID/{given}\b"):
        FILES[name](own(given))


@pytest.mark.parametrize("name", FILES)
def test_every_parser_names_utf_16(name: str) -> None:
    with pytest.raises(ParseError, match="UTF-16"):
        FILES[name](own(name).decode("utf-8", "replace").encode("utf-16"))


@pytest.mark.parametrize("name", ["maps", "smaps"])
def test_garbage_behind_is_refused_with_its_line(name: str) -> None:
    text = own(name)
    for saved in (text, text.replace(b"\n", b"\r\n")):
        with pytest.raises(ParseError) as caught:
            FILES[name](saved + b"garbage")
        assert caught.value.lineno == text.count(b"\n") + 1
        assert caught.value.line == b"garbage"


def test_one_path_that_ends_in_cr_stays() -> None:
    lines = [
        b"00400000-0040b000 r-xp 00000000 08:01 7                          /tmp/odd\r",
        b"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ",
    ]
    text = b"\n".join(lines) + b"\n"
    for read in (parse_maps, parse_smaps):
        assert [region.pathname for region in read(text)] == ["/tmp/odd\r", None]
    assert format_maps(parse_maps(text)) == text
    # Alone it may be either; nothing is taken from a name.
    alone = lines[0] + b"\n"
    assert parse_maps(alone)[0].pathname == "/tmp/odd\r"
    # In a text of CR LF it has one of its own before that of the line's end.
    (odd, anonymous) = parse_maps(b"\r\n".join(lines) + b"\r\n")
    assert (odd.pathname, anonymous.pathname) == ("/tmp/odd\r", None)


def test_lines_without_a_colon_are_passed_over() -> None:
    for name, at in (("status", 1), ("status", 5), ("smaps_rollup", 3)):
        lines = own(name).split(b"\n")
        text = b"\n".join([*lines[:at], b"SomeVendorLine", *lines[at:]])
        told = {key: value for key, value in FILES[name](text).items() if key != "Rss"}
        assert told.keys() == {key for key in FILES[name](own(name)) if key != "Rss"}
    for name in ("stat", "statm"):
        assert FILES[name](own(name) + b"SomeVendorLine\n")


def test_errors_name_the_true_line() -> None:
    with pytest.raises(ParseError) as caught:
        parse_status(b"\n\nno status\n")
    assert (caught.value.lineno, caught.value.line) == (3, b"no status")
    lines = own("smaps_rollup").split(b"\n")
    lines[4] = b"Pss_Dirty: many kB"
    with pytest.raises(ParseError) as caught:
        parse_rollup(b"\n".join(lines))
    assert (caught.value.lineno, caught.value.line) == (5, b"Pss_Dirty: many kB")
    with pytest.raises(ParseError) as caught:
        parse_rollup(own("smaps_rollup") + own("smaps"))
    assert caught.value.lineno == own("smaps_rollup").count(b"\n") + 1


def test_a_saved_tree_is_read_as_its_texts_are(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    for name in ("maps", "smaps", "smaps_rollup", "status", "stat", "statm"):
        text = own(name)
        if name == "status":
            lines = text.split(b"\n")
            text = b"\n".join([*lines[:24], b"SomeVendorLine", *lines[24:]])
        (tmp_path / "7" / name).write_bytes(text.replace(b"\n", b"\r\n"))
    saved = Process(7, root=tmp_path)
    plain = parse_maps((tmp_path / "7/maps").read_bytes())
    assert [(one.pathname, one.start) for one in saved.maps()] == [
        (one.pathname, one.start) for one in plain
    ]
    assert saved.smaps().filter(kind="stack")
    assert saved.memory().rss
    assert saved.rollup().rss
    assert saved.snapshot().memory is not None
    shutil.rmtree(tmp_path / "7")


# ---- records -----------------------------------------------------------------


def long_table() -> RegionTable[Region]:
    """More than 100 regions, those that are unlike the others last."""
    lines = [b"%08x-%08x rw-p 00000000 00:00 0 " % (n << 12, (n + 1) << 12) for n in range(1, 201)]
    lines += [
        b"7f0000000000-7f0000001000 r-xp 00000000 08:01 7 /bin/late",
        b"7f0000001000-7f0000002000 r-xp 00000000 08:01 7 /bin/later",
        b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]",
    ]
    return parse_maps(b"\n".join(lines) + b"\n")


def test_the_first_100_records_have_what_tells_the_type_of_each_column() -> None:
    table = long_table()
    rows = table.to_records()
    assert sorted(row["start"] for row in rows) == [region.start for region in table]
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    for key in rows[0]:
        if any(row[key] is not None for row in rows):
            assert any(row[key] is not None for row in rows[:100]), key
    assert max(row["start"] for row in rows[:100]) == 0xFFFFFFFFFF600000
    # The others keep their order, and a table that is read as a whole keeps all of it.
    rest = [row["start"] for row in rows if row["pathname"] is None]
    assert rest == sorted(rest)
    short = table[-50:].to_records()
    assert [row["start"] for row in short] == [region.start for region in table[-50:]]


@pytest.mark.parametrize("place", [0, 97, 98, 99, 100, 101, 199])
def test_rows_that_come_first_push_none_out_that_a_column_depends_on(place: int) -> None:
    lines = [b"%08x-%08x rw-p 00000000 00:00 0 " % (n << 12, (n + 1) << 12) for n in range(1, 201)]
    lines[place] += b"[anon:jemalloc]"
    lines.append(b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]")
    table = parse_maps(b"\n".join(lines) + b"\n")
    rows = table.to_records()
    assert sorted(row["start"] for row in rows) == [region.start for region in table]
    for key in rows[0]:
        if any(row[key] is not None for row in rows):
            assert any(row[key] is not None for row in rows[:100]), key


def test_columns_are_in_the_tables_order() -> None:
    table = long_table()
    columns = table.to_columns()
    assert columns["start"] == [region.start for region in table]
    assert columns["pathname"] == [region.pathname for region in table]


@pytest.mark.parametrize("kind", ["maps", "smaps", "residency", "long"])
def test_polars_takes_records(kind: str) -> None:
    polars = pytest.importorskip("polars")
    table = long_table() if kind == "long" else getattr(Process(), kind)()
    rows = table.to_records()
    frame = polars.DataFrame(rows)
    assert frame.height == len(table)
    assert set(frame.columns) == set(rows[0])
    assert sorted(frame["start"].to_list()) == [region.start for region in table]
    frame = polars.DataFrame(table.to_columns())
    assert frame["start"].to_list() == [region.start for region in table]
    assert frame["start"].dtype in (polars.UInt64, polars.Int64)


@pytest.mark.parametrize("kind", ["maps", "smaps", "residency", "long"])
def test_pandas_takes_records(kind: str) -> None:
    pandas = pytest.importorskip("pandas")
    table = long_table() if kind == "long" else getattr(Process(), kind)()
    frame = pandas.DataFrame(table.to_records())
    assert sorted(frame["start"]) == [region.start for region in table]
    assert sorted(frame["end"]) == [region.end for region in table]
