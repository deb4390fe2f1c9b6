"""Types from annotations, descriptions from docstrings."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from procmem.schemas.making import (
    attributes,
    constant,
    listed,
    mapping,
    nullable,
    one_of,
    record,
    tuple_of,
    typed,
)


class Sample(NamedTuple):
    """A sample.

    Attributes:
        size: bytes of it,
            all of them.
        start, end: addresses.
        note: a word; None: there is none.
    """

    size: int
    start: int
    end: int
    note: str | None

    @property
    def twice(self) -> int:
        """The double."""
        return 2 * self.size


def test_descriptions_come_from_the_docstring() -> None:
    assert attributes(Sample) == {
        "size": "bytes of it, all of them",
        "start": "addresses",
        "end": "addresses",
        "note": "a word; None: there is none",
    }


def test_types_come_from_annotations() -> None:
    made = record(Sample, "size start note twice:bytes more:str*", more={"more": "more"})
    assert made["properties"]["size"] == {
        "type": "integer", "minimum": 0, "x-unit": "bytes",
        "description": "bytes of it, all of them",
    }  # fmt: skip
    assert made["properties"]["start"]["x-unit"] == "address"
    assert made["properties"]["note"]["type"] == ["string", "null"]
    assert made["properties"]["twice"]["description"] == "The double"
    assert made["required"] == ["size", "start", "note", "twice"]
    assert made["additionalProperties"] is False


def test_a_field_without_a_description_is_an_error() -> None:
    with pytest.raises(ValueError, match="no description"):
        record(Sample, "unheard_of:int")
    with pytest.raises(ValueError, match="no plain type"):
        record(Sample, "twice")


def test_the_rest() -> None:
    assert nullable(one_of(["a"])) == {"type": ["string", "null"], "enum": ["a", None]}
    assert nullable({"anyOf": [typed("int")]})["anyOf"][1] == {"type": "null"}
    assert listed("int", "numbers")["items"] == typed("int")
    assert mapping("str", keys="^a")["propertyNames"] == {"pattern": "^a"}
    assert constant("x") == {"type": "string", "const": "x"}
    assert tuple_of("int", "str")["minItems"] == 2
