"""The snapshots inside of a report are found, and nothing that a damaged file holds does harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem.picture.embedded import END, KEPT, START, is_report, kept_in
from procmem.picture.page import ReportPage, page_html


def test_what_was_put_in_comes_out() -> None:
    kept = bytes(range(256)) * 3
    data = page_html(ReportPage("</script>" + KEPT.decode(), kept=kept))
    assert is_report(data[: len(START)])
    assert kept_in(data) == kept


@pytest.mark.parametrize(
    "data, reason",
    [
        (START, "cut off before"),
        (START + KEPT + b"AAAA", "cut off in"),
        (START + KEPT + b"A" + END, "damaged"),
        (START + KEPT + b"AA<A" + END, "damaged"),
    ],
)
def test_damage_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        kept_in(data)


@given(st.binary(), st.integers(0, 200))
def test_any_bytes_are_read_or_refused(noise: bytes, at: int) -> None:
    whole = START + KEPT + b"QUJD" * 20 + END
    for data in (noise, START + KEPT + noise + END, whole[:at] + noise + whole[at:], whole[:at]):
        try:
            kept_in(data)
        except ValueError as error:
            assert "report" in str(error)
