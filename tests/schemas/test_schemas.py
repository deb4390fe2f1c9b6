"""Each schema is a strict one of draft 2020-12, and says what each field is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.cli import COMMANDS
from procmem.errors import BadArgument
from procmem.regions.counters import ATTRIBUTES
from procmem.schemas import LAYOUTS, NAMES, fields_of, flat_rows, rows_key, schema
from tests.support.schemas import inner

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN_NUMBERS = frozenset(
    # How many there are.
    "above agreed attached blocks chunks denied depth errors failing free gone graded in_use kept "
    "looks made mapmax mapped max_regions minor major mmaps not_judged oom_kills pools processes "
    "regions snapshots tables threads times total passed failed partly missed error".split()
    # What has a number.
    + "at cgroup code creator dev errno fd flags frame id inode key last_full owner pfn pid ppid "
    "process protection_key result returncode signal thread thp_eligible tid version".split()
    # Shares, scores, figures whose unit another field says.
    + "confidence difference expected mad median score seen value".split()
    + ["not possible here"]
)
"""Numbers that have no unit."""

BELOW_ZERO = frozenset(
    # Changes.
    "vsz rss rss_anon rss_file rss_shmem swap copied unshared anon_huge_pages lazy_free ksm "
    "hugetlb locked page_tables regions minor major delta_vsz delta_rss size bytes in_use free "
    "system tcache resident_free trimmable mmapped python_in_use python_free live gained "
    "elsewhere elapsed difference remainder unexplained".split()
    # What a call returned, the number of a signal, and what an experiment counts.
    + "result returncode expected seen".split()
)
"""Whole numbers that may be below zero."""

ABSENT = {
    "maps": {"numa", "zeros"},
    "maps by": {"kind", "path", "use", "uss", "hugetlb"},
    "pages": {"regions", "tables", "translations", "frames", "sharers"},
    "sections": {"sections"},
    "query": {
        "object", "section", "offset_in_section", "symbol", "symbol_demangled",
        "offset_in_symbol", "symbol_guess", "source_line", "left_out",
    },
    "experiment": {"step", "claim", "impossible"},
}  # fmt: skip
"""Keys that some objects of a command lack, for an option or because they do not apply."""

OF_COUNTERS = frozenset({*ATTRIBUTES.values(), "uss", "vm_flags", "unknown", "line", "Size"})
"""Keys of a region that another kernel, or maps in place of smaps, does not have."""


def objects(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The objects of a schema that have named fields, with these."""
    for one in inner(schema(name)):
        fields = one.get("properties")
        if isinstance(fields, dict) and "object" in types_of(one):
            yield one, fields


def types_of(field: dict[str, Any]) -> set[str]:
    given = field.get("type", [])
    return {given} if isinstance(given, str) else {*given}


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_it_is_valid_and_has_an_id(self, name: str) -> None:
        jsonschema = pytest.importorskip("jsonschema")
        made = schema(name)
        jsonschema.Draft202012Validator.check_schema(made)
        assert made["$id"] == f"urn:procmem:schema:{name.replace(' ', ':')}:{LAYOUTS[name].version}"
        assert json.loads(json.dumps(made)) == made

    def test_objects_are_closed_and_their_fields_described(self, name: str) -> None:
        for one in inner(schema(name)):
            if one.get("type") in ("object", ["object", "null"]):
                assert "additionalProperties" in one
        for _, fields in objects(name):
            for field, about in fields.items():
                assert about.get("description") not in (None, "int", "str", "bytes:"), field

    def test_numbers_have_a_unit(self, name: str) -> None:
        for _, fields in objects(name):
            for field, about in fields.items():
                if types_of(about) & {"integer", "number"} and field not in PLAIN_NUMBERS:
                    assert about.get("x-unit"), field

    def test_numbers_below_zero_are_changes(self, name: str) -> None:
        for _, fields in objects(name):
            for field, about in fields.items():
                if "integer" in types_of(about) and "minimum" not in about:
                    assert field in BELOW_ZERO, field

    def test_what_null_means_is_said(self, name: str) -> None:
        for _, fields in objects(name):
            for field, about in fields.items():
                if "null" in types_of(about) or {"type": "null"} in about.get("anyOf", ()):
                    assert "null" in about["description"], field
                # These are words of Python.
                assert not {"None", "True", "False"} & {*about["description"].split()}, field

    def test_keys_that_may_be_absent(self, name: str) -> None:
        for one, fields in objects(name):
            absent = {*fields} - {*one["required"]} - ABSENT.get(name, set())
            assert absent <= (OF_COUNTERS if "size" in fields else set())

    def test_its_rows_are_there(self, name: str) -> None:
        if name != "watch":  # whose lines are of two kinds
            assert fields_of(name)
        assert rows_key(name) == LAYOUTS[name].rows

    def test_its_command_is_there(self, name: str) -> None:
        assert name.split(maxsplit=1)[0] in COMMANDS


def test_a_name_that_is_none() -> None:
    with pytest.raises(BadArgument, match="maps by"):
        procmem.schema("mapz")


def test_rows_have_the_values_of_their_process() -> None:
    value = [{"pid": 7, "regions": [{"start": 1}, {"start": 2}]}, {"pid": 8, "regions": []}]
    assert flat_rows("maps", value) == [{"pid": 7, "start": 1}, {"pid": 7, "start": 2}]


def test_objects_within_a_row_become_columns() -> None:
    fields = fields_of("experiment")
    assert [*fields][:4] == ["name", "label", "teaches", "agrees"]
    assert fields["step_delta_rss"]["x-unit"] == "bytes"
    row = {"label": "touch", "step": {"call": "touch", "delta": {"rss": 4096}, "fault": None}}
    assert flat_rows("experiment", [{"name": "lazy-allocation", "told": [row]}]) == [
        {
            "name": "lazy-allocation", "label": "touch", "step_call": "touch",
            "step_delta_rss": 4096, "step_fault": None,
        }
    ]  # fmt: skip
