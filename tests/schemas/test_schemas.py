"""Each schema is a strict one of draft 2020-12, and says what each field is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.cli import COMMANDS
from procmem.errors import BadArgument
from procmem.schemas import LAYOUTS, NAMES, fields_of, flat_rows, rows_key, schema

if TYPE_CHECKING:
    from collections.abc import Iterator


def inner(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from inner(one)
    elif isinstance(value, list):
        for one in value:
            yield from inner(one)


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
            for field, about in one.get("properties", {}).items():
                if isinstance(about, dict) and "properties" not in one.get("properties", {}):
                    assert about.get("description"), field

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
