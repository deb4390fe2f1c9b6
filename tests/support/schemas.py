"""Holds what commands print against their JSON schemas, and spoils it in every way."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from procmem.schemas import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["accepted", "complaints", "fits", "inner", "sample", "spoilt"]


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


def inner(value: Any) -> Iterator[dict[str, Any]]:
    """All objects within a schema, and itself."""
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from inner(one)
    elif isinstance(value, list):
        for one in value:
            yield from inner(one)


# ---- each place of a value, with its schema ----


def below(about: dict[str, Any], value: Any) -> Iterator[tuple[str | int, str, dict[str, Any]]]:
    """What a value contains: the key or place, a name for all like it, and its schema."""
    if isinstance(value, dict):
        known = about.get("properties", {})
        others = about.get("additionalProperties")
        for key in value:
            if key in known:
                yield key, key, known[key]
            elif "patternProperties" in about:
                (pattern, one), *_ = about["patternProperties"].items()
                yield key, pattern, one
            elif isinstance(others, dict):
                yield key, "*", others
    elif isinstance(value, list):
        first = about.get("prefixItems", ())
        for place in range(len(value)):
            if place < len(first):
                yield place, str(place), first[place]
            elif isinstance(about.get("items"), dict):
                yield place, "*", about["items"]


def branch(about: dict[str, Any], value: Any) -> dict[str, Any]:
    """The alternative of a schema that a value follows."""
    for one in about.get("anyOf", ()):
        if "null" in types_of(one):
            if value is None:
                return dict(one)
        elif isinstance(value, dict) != ("object" in types_of(one)):
            continue
        elif not isinstance(value, dict) or {*one.get("required", ())} <= {*value}:
            return branch(one, value)
    return about


def types_of(about: dict[str, Any]) -> set[str]:
    given = about.get("type", [])
    return {given} if isinstance(given, str) else {*given}


def places(
    about: dict[str, Any], value: Any, path: tuple[str | int, ...] = (), name: str = "$"
) -> Iterator[tuple[tuple[str | int, ...], str, dict[str, Any], Any]]:
    """Each place of a value: the way there, a name for all like it, its schema, what is there."""
    own = branch(about, value)
    yield path, name, about, value
    for key, like, one in below(own, value):
        yield from places(one, value[key], (*path, key), f"{name}.{like}")


# ---- spoiling ----

OF_TYPE = {"string": "text", "number": 0.5, "null": None, "object": {"x": [0.5]}}
"""A value of some types."""


def spoilt(command: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Copies of a value, each with one thing wrong: what, and the copy.

    In each kind of object each key that must be there is missing, and there is one more; in each
    kind of place there is a value of a type that it may not have, a negative number where none can
    be, and a word that is none of the listed ones.
    """
    for what, path, _, wrong in wrong_places(command, value):
        yield what, replaced(value, path, wrong)


def accepted(command: str, value: Any) -> list[str]:
    """What could be wrong in a value without its schema's refusing it.

    Each part is held against its own part of the schema: those of large values take seconds.
    """
    jsonschema = pytest.importorskip("jsonschema")
    return [
        what
        for what, _, about, wrong in wrong_places(command, value)
        if jsonschema.Draft202012Validator(about).is_valid(wrong)
    ]


def wrong_places(
    command: str, value: Any
) -> Iterator[tuple[str, tuple[str | int, ...], dict[str, Any], Any]]:
    """What can be wrong: in words, where, the schema of that place, and what is put there."""
    done: set[tuple[str, str]] = set()
    for path, name, about, one in places(schema(command), value):
        for what, wrong in wrongs(about, one):
            if (name, what) not in done:
                done.add((name, what))
                yield f"{name}: {what}", path, about, wrong


def wrongs(about: dict[str, Any], value: Any) -> Iterator[tuple[str, Any]]:
    own = branch(about, value)
    if isinstance(value, dict) and own.get("additionalProperties") is False:
        yield "a key that is new", {**value, "a key that is new": 1}
        for key in own["required"]:
            yield f"{key} is missing", {k: v for k, v in value.items() if k != key}
    if isinstance(value, list) and "prefixItems" in own:
        yield "an item less", value[:-1]
        yield "an item more", [*value, 0]
    allowed = set().union(*(types_of(each) for each in (about, *about.get("anyOf", ()))))
    if not allowed:
        return
    for kind, wrong in OF_TYPE.items():
        if kind not in allowed:
            yield f"a value of type {kind}", wrong
    if "minimum" in own and isinstance(value, int):
        yield "a negative number", -1
    if "maximum" in own and isinstance(value, int):
        yield "a number that is too large", own["maximum"] + 1
    if "enum" in own or "const" in own:
        yield "a word that is none of them", "a word that is none of them"


def replaced(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    made = copy.deepcopy(value)
    inside = made
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = new
    return made


def sample(about: dict[str, Any]) -> Iterator[Any]:
    """Values that a schema allows, with every key that there is: one for each alternative."""
    if "anyOf" in about:
        for one in about["anyOf"]:
            yield from sample(one)
    elif "const" in about:
        yield about["const"]
    elif "enum" in about:
        yield about["enum"][0]
    elif "properties" in about:
        made = {key: next(sample(one)) for key, one in about["properties"].items()}
        yield made | {"node0": 0} if "patternProperties" in about else made
    elif "prefixItems" in about:
        yield [next(sample(one)) for one in about["prefixItems"]]
    elif "array" in types_of(about):
        yield list(sample(about["items"])) if "items" in about else []
    elif "object" in types_of(about):
        yield {"key": next(sample(about["additionalProperties"]))}
    else:
        known = {**OF_TYPE, "integer": 1, "boolean": True}
        yield next((one for kind, one in known.items() if kind in types_of(about)), "anything")
