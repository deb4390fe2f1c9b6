"""Holds what commands print against their JSON schemas."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from procmem.schemas import schema

__all__ = ["complaints", "fits", "spoilt"]


@cache
def validator(command: str) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    made = schema(command)
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def complaints(command: str, value: object) -> list[str]:
    """What is wrong with a value, each as a path and a message."""
    found = validator(command).iter_errors(value)
    return [f"{error.json_path}: {error.message[-300:]}" for error in found]


def fits(command: str, value: object) -> bool:
    """Whether the schema of the command allows the value."""
    return bool(validator(command).is_valid(value))


def spoilt(value: Any) -> list[tuple[str, Any]]:
    """Copies of a value, each with one thing wrong in its first object, and in that one's lists."""
    made: list[tuple[str, Any]] = []
    if isinstance(value, list):
        made += [(f"0/{why}", [one, *value[1:]]) for why, one in spoilt(value[0])] if value else []
    elif isinstance(value, dict):
        made.append(("new key", {**value, "a key that is new": 1}))
        for key, inside in value.items():
            rest = {name: one for name, one in value.items() if name != key}
            made.append((f"{key} is missing", rest))
            made.append((f"{key} is a float object", {**value, key: {"x": [0.5]}}))
            if isinstance(inside, list):
                made += [(f"{key}/{why}", {**value, key: one}) for why, one in spoilt(inside)]
    return made
