"""Reports of memcheck."""

from __future__ import annotations

from procmem.grade.runs.leaks import parse_leaks


def test_reports_that_are_not_whole() -> None:
    whole = b"<valgrindoutput></valgrindoutput>\n"
    assert parse_leaks(whole) is not None
    assert parse_leaks(whole[:-5]) is None
    assert parse_leaks(whole * 2) is None
    assert parse_leaks(b"") is None


def test_what_is_lost_through_a_lost_block_is_counted_once() -> None:
    what = b"""<error><kind>%s</kind><xwhat><text>%s lost in loss record 1 of 2</text>
    <leakedbytes>%d</leakedbytes> <leakedblocks>%d</leakedblocks></xwhat></error>"""
    found = parse_leaks(
        what % (b"Leak_IndirectlyLost", b"1,624 bytes in 39 blocks are indirectly", 1624, 39)
        + what
        % (
            b"Leak_DefinitelyLost",
            b"1,640 (16 direct, 1,624 indirect) bytes in 1 blocks are definitely",
            1640,
            1,
        )
        + b"</valgrindoutput>"
    )
    assert found is not None
    assert (found.definitely, found.indirectly) == ((16, 1), (1624, 39))
