"""Texts to tables and back: nothing is lost, and what is no text is a ParseError."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from procmem import (
    MeasuredRegion,
    ParseError,
    ProcmemError,
    Region,
    format_maps,
    native,
    parse_maps,
    parse_rollup,
    parse_smaps,
)
from procmem.native import lib
from procmem.procfs.text import BLANKS, saved_text
from procmem.regions.counters import ATTRIBUTES, NOT_BYTES
from procmem.regions.reading import scan_chunks
from procmem.regions.table import table_from_scan
from tests.support.paths import FIXTURES
from tests.support.texts import (
    NAMES,
    U64,
    Counted,
    Text,
    cut,
    kernel_line,
    kernel_texts,
    lines,
    maps_texts,
    smaps_data,
    smaps_texts,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from procmem import RegionTable


def said(region: Region) -> tuple[object, ...]:
    """What a region says, in the words of ``texts.Line.says``."""
    raw = region.raw_pathname or b""
    dev = (region.dev.major, region.dev.minor)
    return region.start, region.end, str(region.perms), region.offset, dev, region.inode, raw


# ---- maps ----


@given(maps_texts)
def test_a_text_of_maps_comes_back_as_it_was(text: Text) -> None:
    table = parse_maps(text.data)
    assert format_maps(table) == text.data
    assert [said(region) for region in table] == [line.says() for line in text.lines]


@given(kernel_texts)
def test_what_a_kernel_prints_needs_no_copy_of_the_line(text: Text) -> None:
    table = parse_maps(text.data)
    assert format_maps(table) == text.data
    assert not any(region._raw for region in table)


@given(st.data())
def test_chunks_cut_anywhere_are_the_whole(data: st.DataObject) -> None:
    text = data.draw(maps_texts).data
    assume(saved_text(text) == text)  # names of CR alone look like lines that end in CR LF
    chunks = data.draw(cut(text))
    scan = scan_chunks(chunks, native.MAPS, "<maps>")
    table: RegionTable[Region] = table_from_scan(scan, native.MAPS)
    assert table == parse_maps(text)
    assert format_maps(table) == text


@given(st.data())
def test_chunks_of_smaps_cut_anywhere_are_the_whole(data: st.DataObject) -> None:
    text = smaps_data(data.draw(smaps_texts))
    chunks = data.draw(cut(text))
    scan = scan_chunks(chunks, native.SMAPS, "<smaps>")
    assert table_from_scan(scan, native.SMAPS) == parse_smaps(text)


def test_every_cut_of_a_real_smaps_text_is_the_whole() -> None:
    text = (FIXTURES / "linux-4.19-x86_64.smaps").read_bytes()[:3000]
    text = text[: text.rindex(b"\n") + 1]
    whole = parse_smaps(text)
    for place in range(len(text)):
        scan = scan_chunks((text[:place], text[place:]), native.SMAPS, "<smaps>")
        assert table_from_scan(scan, native.SMAPS) == whole, place


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_small_chunks_are_the_whole(size: int) -> None:
    text = (FIXTURES / "future.smaps").read_bytes()
    chunks = (text[n : n + size] for n in range(0, len(text), size))
    scan = scan_chunks(chunks, native.SMAPS, "<smaps>")
    assert table_from_scan(scan, native.SMAPS) == parse_smaps(text)


@pytest.mark.parametrize("column", [73, 49])
@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:40]))
def test_every_name_is_kept(name: bytes, column: int) -> None:
    line = kernel_line(0xB6F00000, 0xB6F01000, "r-xp", 0x1000, (0xB3, 2), 77, name, column=column)
    text = line.text + b"\n"
    (region,) = table = parse_maps(text)
    assert region.raw_pathname == name
    assert format_maps(table) == text
    expected = name.removesuffix(b" (deleted)") if name[:1] != b"[" else name
    assert region.pathname is not None
    told = region.pathname.encode("utf-8", "surrogateescape")
    assert told == expected.replace(b"\\012", b"\n")
    assert region.deleted is (expected != name)


def test_an_anonymous_line_has_no_name() -> None:
    for ending in (b" ", b"", b"   "):
        text = b"7f0000000000-7f0000001000 rw-p 00000000 00:00 0" + ending + b"\n"
        (region,) = table = parse_maps(text)
        assert region.pathname is None
        assert region.raw_pathname is None
        assert not region.deleted
        assert format_maps(table) == text


def test_only_the_newline_ends_a_line() -> None:
    name = b"/tmp/a\rb\x0bc\x0cd\x1ce\x85f\xe2\x80\xa8g"
    text = kernel_line(0, 4096, "rw-p", 0, (0, 0), 1, name).text
    assert len(parse_maps(text + b"\n" + text + b"\n")) == 2


def test_a_text_without_a_final_newline_stays_one() -> None:
    text = b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat"
    assert format_maps(parse_maps(text)) == text
    both = text + b"\n" + text
    table = parse_maps(both)
    assert format_maps(table) == both
    assert format_maps(table[:1]) == text + b"\n"
    assert format_maps(table[1:]) == text
    assert format_maps(table[::-1]) == both + b"\n"


def test_nothing_is_an_empty_table() -> None:
    assert len(parse_maps(b"")) == len(parse_smaps(b"")) == 0
    assert format_maps(parse_maps(b"")) == b""
    assert len(parse_maps(b"\n \t\n\r\n")) == len(parse_smaps(b" ")) == 0


def test_bytes_in_other_clothes_are_taken() -> None:
    text = b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat\n"
    others: list[Any] = [bytearray(text), memoryview(text)]
    for other in others:
        assert parse_maps(other) == parse_maps(text)
    with pytest.raises(TypeError, match="binary"):
        parse_maps(text.decode())  # type: ignore[arg-type]


def test_a_name_of_a_mebibyte() -> None:
    name = b"/" + b"long\\012" * 150_000
    text = kernel_line(4096, 8192, "r--p", 0, (8, 1), 5, name).text + b"\n"
    for parse in (parse_maps, parse_smaps):
        (region,) = table = parse(text * 1)
        assert region.raw_pathname == name
        assert format_maps(table) == text


def test_64000_regions() -> None:
    expected = [
        kernel_line(n << 13, (n << 13) + 4096, "rw-p", n, (8, n), n, b"/srv/file %d" % n)
        for n in range(1, 64_001)
    ]
    text = b"".join(line.text + b"\n" for line in expected)
    table = parse_maps(text)
    assert len(table) == 64_000
    assert format_maps(table) == text
    assert table.total("size") == 64_000 * 4096
    for n in (0, 1, 31_999, 63_999):
        assert said(table[n]) == expected[n].says()
        assert table.find(expected[n].start + 17) == table[n]


@pytest.mark.parametrize("value", [0, 1, 2**32, 2**53 + 1, 2**63, U64 - 1, U64])
def test_numbers_up_to_the_edge_of_64_bits(value: int) -> None:
    line = kernel_line(value, U64, "r--p", value, (2**32 - 1, 2**32 - 1), value, b"/x")
    (region,) = parse_maps(line.text)
    assert said(region) == line.says()


@pytest.mark.parametrize(
    "text",
    [
        b"10000000000000000-10000000000000001 r--p 00000000 00:00 0 ",
        b"00000000-10000000000000000 r--p 00000000 00:00 0 ",
        b"00000000-00001000 r--p 10000000000000000 00:00 0 ",
        b"00000000-00001000 r--p 00000000 00:00 18446744073709551616 ",
        b"00000000-00001000 r--p 00000000 00:00 99999999999999999999 ",
        b"00000000-00001000 r--p 00000000 100000000:00 0 ",
        b"00000000-00001000 r--p 00000000 00:100000000 0 ",
        b"00001000-00000fff r--p 00000000 00:00 0 ",
        b"00000000-00001000 r--  00000000 00:00 0 ",
        b"00000000-00001000 r--pp 00000000 00:00 0 ",
        b"00000000-00001000 r-\xff\xffp 00000000 00:00 0 ",
        b"00000000-00001000 r--p 00000000 00:00 0x1 ",
        b"00000000-00001000 r--p 00000000 00:00 1\t/x",
        b"00000000-00001000 r--p 00000000 00:00 ",
        b"00000000-00001000 r--p 00000000 00 0 ",
        b"00000000-00001000 r--p 00000000",
        b"00000000-00001000 r--p",
        b"00000000-00001000",
        b"00000000-",
        b"-00001000 r--p 00000000 00:00 0 ",
        b" 00000000-00001000 r--p 00000000 00:00 0 ",
        b"00000000 -00001000 r--p 00000000 00:00 0 ",
        b"+0000000-00001000 r--p 00000000 00:00 0 ",
        b"0x000000-00001000 r--p 00000000 00:00 0 ",
        b"0000_000-00001000 r--p 00000000 00:00 0 ",
        b"\x00",
        b" \x00 ",
        b"\x85",
        b"\xc2\xa0",
        b"\xef\xbb\xbf00000000-00001000 r--p 00000000 00:00 0 ",
    ],
)
def test_a_line_that_is_no_region_is_told_with_its_number(text: bytes) -> None:
    good = b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat\n"
    for parse in (parse_maps, parse_smaps):
        with pytest.raises(ParseError) as caught:
            parse(good * 3 + text + b"\n" + good, source="here")
        error = caught.value
        assert (error.source, error.lineno, error.line) == ("here", 4, text)
        assert isinstance(error, ValueError)
        assert isinstance(error, ProcmemError)
        assert str(error).startswith("here, line 4: ")
        again = pickle.loads(pickle.dumps(error))
        assert (again.source, again.lineno, again.line, again.reason) == error.args


def test_the_message_shows_a_long_line_in_part_and_nothing_raw() -> None:
    with pytest.raises(ParseError) as caught:
        parse_maps(b"\x1b[31m" + b"x" * 100_000)
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)
    assert len(caught.value.line) == 100_005


# ---- arbitrary bytes ----


def broken_at(parse: Callable[[bytes], RegionTable[Region]], data: bytes) -> ParseError | None:
    """The ParseError that the data makes, if any; every other exception passes through."""
    try:
        parse(data)
    except ParseError as error:
        return error
    return None


nearly = st.builds(
    lambda text, place, junk: text[:place] + junk + text[place:],
    st.one_of(maps_texts.map(lambda text: text.data), smaps_texts.map(smaps_data)),
    st.integers(0, 2000),
    st.binary(max_size=12),
)


@given(st.one_of(st.binary(max_size=200), nearly))
@example(b"0-0 r--p 0 0:0 0\nRss:\n")
@example(b"0-0 r--p 0 0:0 0\nVmFlags:")
@example(b":")
@example(b"Rss: 4 kB\n")
@example(b"\n")
@example(b"0-0 !!!! 0 0:0 0\n ")
@example(b"\xef\xbb\xbf0-0 !!!! 0 0:0 0\r\n")
@example(b" \n0-0 !!!! 0 0:0 0\r\n\n\t\v\f\r")
def test_arbitrary_bytes_parse_or_raise_a_parse_error(data: bytes) -> None:
    for parse in (parse_maps, parse_smaps):
        error = broken_at(parse, data)
        if error is not None:
            assert error.line == data.split(b"\n")[error.lineno - 1]
            assert error.reason
        elif parse is parse_maps:
            assert format_maps(parse(data)) == without_blank_lines(saved_text(data))


def without_blank_lines(data: bytes) -> bytes:
    return b"".join(line for line in re.findall(rb"[^\n]*\n|[^\n]+\Z", data) if line.strip(BLANKS))


@given(st.data())
def test_blank_lines_are_passed_over_however_the_bytes_are_cut(data: st.DataObject) -> None:
    blanks = st.text(st.sampled_from(BLANKS.decode().replace("\n", "")), max_size=3)
    for parse, texts, mode in (
        (parse_maps, maps_texts.map(lambda text: text.data), native.MAPS),
        (parse_smaps, smaps_texts.map(smaps_data), native.SMAPS),
    ):
        text = data.draw(texts)
        # Where any line ends in CR it may belong to a path: these are another test's.
        assume(b"\r" not in text)
        lines = text.split(b"\n")
        padded = [data.draw(blanks).encode() for _ in range(data.draw(st.integers(0, 3)))]
        for line in lines[:-1]:
            padded += [line, *([data.draw(blanks).encode()] if data.draw(st.booleans()) else [])]
        spaced = b"\n".join([*padded, lines[-1] or data.draw(blanks).encode()])
        whole = parse(text)
        assert parse(spaced) == whole
        assert format_maps(parse(spaced)) == format_maps(whole)
        scan = scan_chunks(data.draw(cut(spaced)), mode, "<text>")
        assert table_from_scan(scan, mode) == whole
        assert scan.unterminated == bool(lines[-1])


def test_the_scanner_and_python_take_the_same_bytes_for_blank() -> None:
    for number in range(256):
        byte = bytes([number])
        scan = native.Scan(native.MAPS, "<text>")
        try:
            scan.feed(byte + b"\n")
            scan.finish()
            passed_over = True
        except ParseError:
            passed_over = False
        assert passed_over == (byte in BLANKS), byte


@given(st.data())
def test_the_same_error_however_the_bytes_are_cut(data: st.DataObject) -> None:
    text = data.draw(nearly)
    whole = broken_at(parse_smaps, text)
    try:
        scan_chunks(data.draw(cut(text)), native.SMAPS, "<smaps>")
    except ParseError as error:
        assert whole is not None
        assert error.args == whole.args
    else:
        assert whole is None


def test_a_scan_that_failed_stays_failed() -> None:
    scan = native.Scan(native.MAPS, "<maps>")
    with pytest.raises(ParseError):
        scan.feed(b"no line\n")
    with pytest.raises(ParseError):
        scan.feed(b"00400000-0040b000 r-xp 00000000 08:01 7 /bin/cat\n")
    with pytest.raises(ParseError) as caught:
        scan.finish()
    assert caught.value.lineno == 1


# ---- smaps ----


@given(smaps_texts)
def test_every_counter_of_smaps_is_kept(regions: list[Counted]) -> None:
    table = parse_smaps(smaps_data(regions))
    assert [said(region) for region in table] == [each.line.says() for each in regions]
    for region, expected in zip(table, regions, strict=True):
        assert dict(region.counters) == expected.counters
        for name, attribute in ATTRIBUTES.items():
            assert getattr(region.counters, attribute) == expected.counters.get(name)
            if attribute != "size" and hasattr(region, attribute):
                assert getattr(region, attribute) == expected.counters.get(name)
        if expected.flags is None:
            assert region.vm_flags is None
        else:
            assert region.vm_flags is not None
            assert list(region.vm_flags) == expected.flags.split()


@given(smaps_texts)
def test_a_region_of_smaps_prints_its_line_of_maps(regions: list[Counted]) -> None:
    text = b"".join(each.line.text + b"\n" for each in regions)
    assert format_maps(parse_smaps(smaps_data(regions))) == text
    assert parse_smaps(text) == parse_smaps(text)


HEADER = b"00400000-0040b000 r-xp 00000000 08:01 7                                  /bin/cat\n"


def one(body: bytes) -> MeasuredRegion:
    (region,) = parse_smaps(HEADER + body)
    return region


def test_a_missing_counter_is_none_and_not_zero() -> None:
    region = one(b"Rss:                   0 kB\n")
    assert region.rss == 0
    assert region.counters.rss == 0
    assert region.pss is None
    assert region.counters.pss is None
    assert "Pss" not in region.counters
    assert region.counters.get("Pss") is None
    assert region.uss is None
    assert region.swap is None
    assert region.vm_flags is None


def test_a_text_of_maps_measures_nothing() -> None:
    region = one(b"")
    assert dict(region.counters) == {}
    assert region.rss is None
    assert region.uss is None


def test_unknown_counters_are_kept_under_their_names() -> None:
    region = one(
        b"NewCounter:            8 kB\nCount:                 3\nWord:           DMA32 Normal\n"
        b"Empty:          \nHuge:           99999999999999999999999 kB\nMB:  3 MB\n"
    )
    assert dict(region.counters) == {
        "NewCounter": 8192,
        "Count": 3,
        "Word": "DMA32 Normal",
        "Empty": "",
        "Huge": "99999999999999999999999 kB",
        "MB": "3 MB",
    }
    with pytest.raises(AttributeError, match="new_counter"):
        _ = region.counters.new_counter


def test_values_without_a_unit_are_no_kilobytes() -> None:
    region = one(b"THPeligible:    1\nProtectionKey:         3\n")
    assert (region.thp_eligible, region.protection_key) == (1, 3)


def test_tabs_before_thp_eligible_as_linux_5_4_has_them() -> None:
    assert one(b"THPeligible:\t\t1\n").thp_eligible == 1


@pytest.mark.parametrize("flags", [b"", b" ", b"rd mr mw me ", b"rd", b"?? zz q9 rd "])
def test_vm_flags_of_any_kind(flags: bytes) -> None:
    for region in (one(b"VmFlags: " + flags), one(b"VmFlags:" + flags + b"\n")):
        assert region.vm_flags is not None
        assert list(region.vm_flags) == flags.decode().split()
        assert region.vm_flags.unknown == tuple(f for f in flags.decode().split() if f in "zz q9")


def test_a_vm_flags_line_without_flags_is_not_a_missing_one() -> None:
    empty, missing = one(b"VmFlags: \n"), one(b"")
    assert empty.vm_flags is not None
    assert len(empty.vm_flags) == 0
    assert missing.vm_flags is None
    assert empty != missing


@pytest.mark.parametrize(
    "lines",
    [
        b"Rss: 4 kB\nRss: 4 kB\n",
        b"Rss:                   4 kB\nRss:                   4 kB\n",
        b"Rss:                   0 kB\nPss:   0 kB\nRss:                   0 kB\n",
        b"Foo: 1\nFoo: 1\n",
        b"Foo: 1\nBar: 2\nFoo: x\n",
        b"VmFlags: rd\nVmFlags: rd\n",
        b"VmFlags:\nVmFlags: rd\n",
    ],
)
def test_a_counter_that_appears_twice_is_an_error(lines: bytes) -> None:
    with pytest.raises(ParseError, match="twice") as caught:
        one(lines)
    assert caught.value.lineno == 1 + lines.count(b"\n")


def test_the_same_counter_in_the_next_region_is_none() -> None:
    table = parse_smaps((HEADER + b"Foo: 1\nRss: 4 kB\nVmFlags: rd\n") * 2)
    assert [region.counters["Foo"] for region in table] == [1, 1]


@pytest.mark.parametrize("name", [name for name in ATTRIBUTES if name not in NOT_BYTES])
def test_values_up_to_the_edge_of_64_bits(name: str) -> None:
    most = (2**54 - 1) * 1024
    region = one(f"{name}: {most >> 10} kB\n".encode())
    assert region.counters[name] == most
    assert one(f"{name}:        99999999 kB\n".encode()).counters[name] == 99999999 * 1024
    for text in (f"{name}: {2**54} kB", f"{name}: {2**64 - 1}", f"{name}: {2**64}"):
        with pytest.raises(ParseError, match="64 bits"):
            one(text.encode())
    assert one(f"{name}: {2**64 - 2}\n".encode()).counters[name] == 2**64 - 2


@pytest.mark.parametrize(
    "line",
    [
        b"Rss: x",
        b"Rss:",
        b"Rss: -4 kB",
        b"Rss: 4 MB",
        b"Rss: 4kB",
        b"Rss: 4  kB",
        b"Rss: 4 kB ",
        b"Rss:         4   4 kB",
        b"Rss:                0x40 kB",
        b"Rss:                     kB",
    ],
)
def test_a_known_counter_without_a_number_is_an_error(line: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        one(b"Pss: 4 kB\n" + line + b"\n")
    assert (caught.value.lineno, caught.value.line) == (3, line)


def test_a_counter_before_the_first_region_is_an_error() -> None:
    with pytest.raises(ParseError, match="before the first region"):
        parse_smaps(b"Rss: 4 kB\n" + HEADER)


def test_counters_are_no_lines_of_maps() -> None:
    with pytest.raises(ParseError) as caught:
        parse_maps(HEADER + b"Rss: 4 kB\n")
    assert caught.value.lineno == 2


def test_a_counter_of_the_usual_width_among_unusual_ones() -> None:
    # The fast path takes lines of the kernel's width alone; the general reader takes the rest.
    region = one(
        b"Size:                 44 kB\nKernelPageSize:        4 kB\nMMUPageSize:           4\n"
        b"Rss: 44 kB\nPss:           123456789 kB\nPss_Dirty:      12345678 kB\n"
        b"Shared_Clean:          4 kB"
    )
    assert dict(region.counters) == {
        "Size": 44 << 10,
        "KernelPageSize": 4 << 10,
        "MMUPageSize": 4,
        "Rss": 44 << 10,
        "Pss": 123456789 << 10,
        "Pss_Dirty": 12345678 << 10,
        "Shared_Clean": 4 << 10,
    }


def test_more_unknown_counters_than_any_kernel_prints_are_an_error() -> None:
    body = b"".join(b"N%d: %d\n" % (n, n) for n in range(1024))
    assert len(one(body).counters) == 1024
    with pytest.raises(ParseError, match="too many"):
        one(body + b"More: 1\n")


def test_a_counter_line_of_a_mebibyte() -> None:
    value = "word " * 200_000 + "end"
    assert one(f"Long: {value}\n".encode()).counters["Long"] == value


def test_the_names_in_c_are_those_in_python() -> None:
    assert tuple(ATTRIBUTES) == native.COUNTER_NAMES
    assert lib.pm_counter_count == len(ATTRIBUTES)


# ---- rollup ----


ROLLUP = b"00400000-7ffd000 ---p 00000000 00:00 0                                  [rollup]\n"


def test_rollup_is_its_counters() -> None:
    counters = parse_rollup(ROLLUP + b"Rss:                   8 kB\nPss_Anon:              4 kB\n")
    assert dict(counters) == {"Rss": 8192, "Pss_Anon": 4096}
    assert counters.pss_anon == 4096
    assert counters.pss is None


@pytest.mark.parametrize("data", [b"", ROLLUP * 2, b"Rss: 4 kB\n", b"x"])
def test_what_is_no_rollup_is_a_parse_error(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_rollup(data)


# ---- the dumps of other machines ----


def fixtures(ending: str) -> list[Path]:
    return sorted(FIXTURES.glob(f"**/*{ending}")) + sorted(FIXTURES.glob(f"**/{ending[1:]}"))


@pytest.mark.parametrize("path", fixtures(".maps"), ids=lambda path: path.name)
def test_every_dump_of_maps_comes_back_as_it_was(path: Path) -> None:
    data = path.read_bytes()
    table = parse_maps(data)
    assert format_maps(table) == data
    assert len(table) == data.count(b"\n")
    assert all(region.kind for region in table)


@pytest.mark.parametrize("path", fixtures(".smaps"), ids=lambda path: path.name)
def test_every_dump_of_smaps_keeps_every_line(path: Path) -> None:
    data = path.read_bytes()
    table = parse_smaps(data)
    texts = re.split(rb"^(?=[0-9a-f]+-[0-9a-f]+ )", data, flags=re.M)[1:]
    assert len(table) == len(texts) > 0
    for region, text in zip(table, texts, strict=True):
        header, *rest = text.rstrip(b"\n").split(b"\n")
        assert region.line() == header
        values = dict(region.counters)
        for line in rest:
            name, value = line.decode().split(":", 1)
            if name == "VmFlags":
                assert region.vm_flags is not None
                assert list(region.vm_flags) == value.split()
            elif value.split()[0].isdigit():
                unit = 1024 if value.endswith(" kB") else 1
                assert values.pop(name) == int(value.split()[0]) * unit
            else:
                assert values.pop(name) == value.strip()
        assert not values


def smaps_of(name: str) -> RegionTable[MeasuredRegion]:
    return parse_smaps((FIXTURES / f"{name}.smaps").read_bytes())


def test_old_kernels_lack_counters_and_do_not_say_zero() -> None:
    for region in smaps_of("linux-2.6.18-i386"):
        assert region.rss is not None
        assert region.pss is None
        assert region.swap is None
        assert region.vm_flags is None
    assert smaps_of("linux-2.6.18-i386").total("pss") is None


def test_nonlinear_of_linux_3_10_is_kept() -> None:
    # It has a place nowhere: later kernels dropped remap_file_pages(2).
    found = [r for r in smaps_of("linux-3.10-x86_64") if "Nonlinear" in r.counters]
    assert found
    assert all(r.vm_flags is not None and "nl" in r.vm_flags for r in found)


def test_wsl1_tells_pss_alone() -> None:
    for region in smaps_of("wsl1"):
        assert set(region.counters) == {"Pss"}
        assert region.rss is None
        assert region.uss is None


def test_device_numbers_of_btrfs_are_wide() -> None:
    table = smaps_of("linux-6.1-btrfs-x86_64")
    assert max(region.dev.minor for region in table) > 0xFF
    assert all(parse_maps(region.line())[0].dev == region.dev for region in table)


def test_pages_of_other_machines() -> None:
    data = (FIXTURES / "linux-5.4-ppc64le.smaps").read_bytes()
    table = parse_smaps(data, page_size=65536)
    assert table.page_size == 65536
    assert all(region.kernel_page_size == 65536 for region in table)
    assert all(region.start % 65536 == 0 for region in table)


def test_qemu_prints_empty_vm_flags() -> None:
    flags = [region.vm_flags for region in smaps_of("qemu-user-arm")]
    assert None not in flags
    assert any(not each for each in flags)


def test_the_future_has_counters_that_nobody_knows() -> None:
    table = smaps_of("future")
    assert table[0].counters["Pss_Kernel"] == 4096
    assert table[0].counters["Colour"] == "#ff8800"
    assert table[0].vm_flags is not None
    assert table[0].vm_flags.unknown == ("zz", "q9")
    assert table[1].rss == 12345678901 * 1024
    assert table[2].end == U64
    assert all(getattr(table[0].counters, a) is not None for a in ATTRIBUTES.values())


@given(lines())
def test_a_parsed_line_is_the_region_made_by_hand(line: object) -> None:
    from tests.support.texts import Line

    assert isinstance(line, Line)
    (parsed,) = parse_maps(line.text)
    made = Region(
        parsed.start,
        parsed.end,
        str(parsed.perms),
        parsed.offset,
        parsed.dev,
        parsed.inode,
        parsed.pathname,
        parsed.deleted,
    )
    assert made == parsed
    assert hash(made) == hash(parsed)
