"""Constants of mmap(2) and its relatives, and their names."""

from __future__ import annotations

import mmap as python_mmap

import pytest

from procmem import (
    calls,
    mmap,
)
from procmem.calls.constants import prot_of, show_prot
from tests.support.targets import Advice


def test_constants_are_those_of_other_headers() -> None:
    for enum, prefix in ((calls.Prot, "PROT_"), (calls.Map, "MAP_"), (calls.Advice, "MADV_")):
        theirs = {n: v for n, v in vars(python_mmap).items() if n.startswith(prefix)}
        ours = {member.name: member.value for member in enum}
        common = theirs.keys() & ours.keys()
        assert len(common) >= 3
        assert {name: ours[name] for name in common} == {name: theirs[name] for name in common}
    for advice in Advice:
        assert calls.Advice[f"MADV_{advice.name}"].value == advice.value


@pytest.mark.parametrize("letters", ["---", "r--", "rw-", "r-x", "-w-", "rwx"])
def test_prot_of_letters(letters: str) -> None:
    assert show_prot(prot_of(letters)) == letters
    assert prot_of(letters.replace("-", "")) == prot_of(letters) == prot_of(int(prot_of(letters)))


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="'q'"):
        mmap(1, prot="q")
    with (
        mmap(1) as memory,
        pytest.raises(ValueError, match=r"unknown advice of madvise\(2\): 'nonsense'"),
    ):
        memory.advise("nonsense")
