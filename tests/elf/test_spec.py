"""Names of the ELF specification."""

from __future__ import annotations

import pytest

from procmem.elf import spec


@pytest.mark.parametrize("prefix", ["ET_", "SHT_", "SHF_", "PT_", "PF_"])
def test_each_value_has_one_name(prefix: str) -> None:
    known = {name: value for name, value in vars(spec).items() if name.startswith(prefix)}
    assert known
    for name, value in known.items():
        assert spec.name_of(prefix, value) == name


def test_a_value_without_a_name_has_none() -> None:
    assert spec.name_of("SHT_", 0x70000001) is None
    assert spec.name_of("PT_", 8) is None
