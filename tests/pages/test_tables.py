"""The arithmetic of page tables against worked examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem import GiB, KiB, MiB, PagingScheme
from procmem.pages.tables import (
    AARCH64_4K,
    AARCH64_16K,
    AARCH64_64K,
    CLASSIC,
    SCHEMES,
    X86_64,
    X86_64_5,
)

schemes = st.one_of(
    st.sampled_from(list(SCHEMES.values())),
    st.builds(
        PagingScheme,
        st.lists(st.integers(1, 12), min_size=1, max_size=5),
        st.integers(0, 16).map(lambda bits: 1 << bits),
        st.integers(1, 16),
    ),
)


def split_plainly(scheme: PagingScheme, low: int) -> tuple[list[int], int]:
    rest, offset = divmod(low, scheme.page_size)
    indices: list[int] = []
    for bits in reversed(scheme.levels):
        rest, index = divmod(rest, 1 << bits)
        indices.insert(0, index)
    return indices, offset


small = PagingScheme((3, 4, 5), 16, 8)


spans = st.lists(
    st.tuples(st.integers(0, 2**16), st.integers(0, 3000)).map(
        lambda each: (each[0], min(each[0] + each[1], 2**16))
    ),
    max_size=12,
)


def test_how_many_pages_there_are() -> None:
    assert CLASSIC.address_bits == 32
    assert CLASSIC.pages == 2**20
    assert CLASSIC.single_level_size == 4 * MiB
    whole = PagingScheme((52,), 4096, 8)
    assert whole.address_bits == 64
    assert whole.pages == 2**52
    assert whole.single_level_size == 2**55 == whole.table_bytes[0]


def test_an_address_of_32_bits_in_its_parts() -> None:
    assert PagingScheme((24,), 256, 4).split(0b11110000111100001111000010101010) == (
        (0b111100001111000011110000,),
        170,
        0b111100001111000011110000,
    )
    split = CLASSIC.split(0b11110000111111110000000010101010)
    assert split.indices == (963, 1008)
    assert split.offset == 170


def test_two_levels_cost_twelve_kilobytes_for_a_small_process() -> None:
    scheme = PagingScheme((10, 10), 4096, (2, 4))
    assert scheme.table_bytes == (2 * KiB, 4 * KiB)
    assert scheme.covers == (4 * MiB, 4 * KiB)
    need = scheme.tables_needed([(0x1000, 0x9000), (0xFFFF_0000, 0x1_0000_0000)])
    assert [level.tables for level in need.levels] == [1, 2]
    assert [level.entries for level in need.levels] == [2, 8 + 16]
    assert need.size == 2 * KiB + 2 * 4 * KiB
    assert need.size_in_frames == 12 * KiB
    assert need.tables == 3


def test_accesses_and_time() -> None:
    one = PagingScheme((20,), 4096, 4)
    assert (one.accesses, CLASSIC.accesses, X86_64.accesses, X86_64_5.accesses) == (2, 3, 5, 6)
    assert one.effective_access_time(1) == 2
    assert CLASSIC.effective_access_time(1) == 3
    assert CLASSIC.effective_access_time(100, hit_ratio=1, tlb=1) == 101
    assert CLASSIC.effective_access_time(100, hit_ratio=0.98, tlb=1) == pytest.approx(105)
    with pytest.raises(ValueError, match="hit ratio"):
        CLASSIC.effective_access_time(1, hit_ratio=1.5)


def test_tlb_reach() -> None:
    assert X86_64.tlb_reach(1536) == 6 * MiB
    assert X86_64.tlb_reach(1536, level=-2) == 3 * GiB
    assert AARCH64_64K.tlb_reach(16) == MiB


@pytest.mark.parametrize(
    "scheme, bits, tables",
    [
        (CLASSIC, 32, (4096, 4096)),
        (X86_64, 48, (4096,) * 4),
        (X86_64_5, 57, (4096,) * 5),
        (AARCH64_4K, 48, (4096,) * 4),
        (AARCH64_16K, 48, (16, 16384, 16384, 16384)),
        (AARCH64_64K, 48, (512, 65536, 65536)),
    ],
    ids=lambda each: getattr(each, "name", None),
)
def test_presets(scheme: PagingScheme, bits: int, tables: tuple[int, ...]) -> None:
    assert scheme.address_bits == bits
    assert scheme.table_bytes == tables
    assert scheme in SCHEMES.values()
    assert str(scheme.page_size) in repr(scheme)


def test_a_walk_step_by_step() -> None:
    steps = X86_64.walk(0x7FFD_1234_5678)
    assert [step.name for step in steps] == ["PGD", "PUD", "PMD", "PTE"]
    assert tuple(step.entry for step in steps) == X86_64.split(0x7FFD_1234_5678).indices
    assert [step.entry_offset for step in steps] == [step.entry * 8 for step in steps]
    assert [step.covers for step in steps] == [512 * GiB, GiB, 2 * MiB, 4 * KiB]
    assert [(step.shift, step.bits) for step in steps] == [(39, 9), (30, 9), (21, 9), (12, 9)]
    for step in steps:
        assert step.table_start <= 0x7FFD_1234_5678 < step.table_end
        assert step.table_end - step.table_start == step.covers << step.bits
    assert X86_64.walk(0xFFFF_FFFF_FF60_0000)[-1].table_start == 0xFFFF_FFFF_FF60_0000


def test_schemes_and_addresses_that_can_not_be() -> None:
    for wrong in (
        lambda: PagingScheme(()),
        lambda: PagingScheme((9, 0)),
        lambda: PagingScheme((9,), page_size=3000),
        lambda: PagingScheme((9, 9), entry_size=(8,)),
        lambda: PagingScheme((9,), entry_size=0),
        lambda: PagingScheme((9, 9), names=("one",)),
        lambda: CLASSIC.split(1 << 32),
        lambda: CLASSIC.split(-1),
        lambda: X86_64.split(1 << 47),
        lambda: X86_64.split((1 << 64) - (1 << 48)),
        lambda: CLASSIC.join((1,)),
        lambda: CLASSIC.join((1024, 0)),
        lambda: CLASSIC.join((0, 0), 4096),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            wrong()


def test_schemes_compare_by_what_they_do() -> None:
    assert PagingScheme((10, 10), 4096, 4) == CLASSIC
    assert hash(PagingScheme((10, 10), 4096, 4)) == hash(CLASSIC)
    assert PagingScheme((10, 10), 4096, (2, 4)) != CLASSIC
    assert CLASSIC != "classic"


@given(schemes, st.integers(0, (1 << 64) - 1))
def test_split_and_join_are_each_others_inverse(scheme: PagingScheme, number: int) -> None:
    low = number & (1 << scheme.address_bits) - 1
    address = scheme.join(*split_plainly(scheme, low))
    split = scheme.split(address)
    assert scheme.join(split.indices, split.offset) == address
    assert split.page * scheme.page_size + split.offset == low
    assert all(0 <= i < 1 << bits for i, bits in zip(split.indices, scheme.levels, strict=True))


@given(spans)
def test_tables_needed_are_those_of_each_page(ranges: list[tuple[int, int]]) -> None:
    pages = {at >> 4 for start, end in ranges for at in range(start, end)}
    need = small.tables_needed(ranges)
    assert [level.entries for level in need.levels] == [
        len({page >> shift for page in pages}) for shift in (9, 5, 0)
    ]
    assert [level.tables for level in need.levels] == [
        1, len({page >> 9 for page in pages}), len({page >> 5 for page in pages}),
    ]  # fmt: skip
    assert need.size == sum(
        n.tables * size for n, size in zip(need.levels, small.table_bytes, strict=True)
    )
