"""JSON of the commands: the same value, with one row per line."""

from __future__ import annotations

import json

from procmem.view.json import json_text


def test_rows_have_a_line_each_and_nothing_is_lost() -> None:
    regions = [{"start": number, "name": "a\nb"} for number in range(3)]
    value = [{"pid": 1, "regions": regions}, {"pid": 2, "regions": []}]
    text = json_text(value, "regions")
    assert json.loads(text) == value
    assert [line for line in text.splitlines() if line.startswith('{"start"')] == [
        json.dumps(region) + "," * (number < 2) for number, region in enumerate(regions)
    ]


def test_values_without_rows() -> None:
    for value in ({"a": [1, 2]}, [], [{"a": 1}], [{"a": None}, {"a": 2}]):
        assert json.loads(json_text(value)) == value
        assert json_text(value).endswith("\n")
