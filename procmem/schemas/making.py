"""What JSON schemas are made of: types from annotations, descriptions from docstrings.

Source: JSON Schema draft 2020-12 (json-schema.org/draft/2020-12).
"""

from __future__ import annotations

import re
from functools import cache
from inspect import cleandoc
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    Schema: TypeAlias = dict[str, Any]

__all__ = [
    "attributes",
    "constant",
    "listed",
    "mapping",
    "nullable",
    "one_of",
    "record",
    "tuple_of",
    "typed",
]

TYPES: Mapping[str, Schema] = {
    "int": {"type": "integer", "minimum": 0},
    "signed": {"type": "integer"},
    "bytes": {"type": "integer", "minimum": 0, "x-unit": "bytes"},
    "change": {"type": "integer", "x-unit": "bytes"},
    "address": {"type": "integer", "minimum": 0, "maximum": (1 << 64), "x-unit": "address"},
    "seconds": {"type": "number", "minimum": 0, "x-unit": "seconds"},
    "ns": {"type": "integer", "minimum": 0, "x-unit": "nanoseconds"},
    "span": {"type": "integer", "x-unit": "nanoseconds"},
    "ticks": {"type": "integer", "minimum": 0, "x-unit": "clock ticks"},
    "pages": {"type": "integer", "minimum": 0, "x-unit": "pages"},
    "points": {"type": "number", "minimum": 0, "x-unit": "points"},
    "rate": {"type": "number", "x-unit": "bytes per second"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "null": {"type": "null"},
}
"""What a type's name stands for."""

GLOSSARY = {
    "pid": "process ID",
    "ppid": "process ID of the parent",
    "tid": "thread ID",
    "fd": "number of the descriptor",
    "format": "format and version of what follows",
    "start": "lowest address",
    "end": "address after the last byte",
    "address": "address",
    "size": "size",
    "path": "path",
    "name": "name",
    "guess": "whether it is a guess",
    "evidence": "what it was concluded from",
    "why": "the reason, in words",
    "user": "name of the user",
    "total": "sum",
    "page_size": "page size",
    "rss": "VmRSS or Rss: resident memory",
    "pss": "Pss: resident memory, each page divided by the number of processes that map it",
    "uss": "resident memory that no other process maps",
    "swap": "memory in swap",
    "vsz": "VmSize: address space",
    "unread": "what could not be read",
    "regions": "regions",
    "resident": "memory that is resident",
    "private": "resident memory that is this process's alone",
    "swapped": "memory in swap",
}
"""Descriptions of fields that mean the same everywhere."""


def record(
    source: type | None,
    fields: str,
    /,
    *,
    says: str = "",
    more: Mapping[str, str] | None = None,
    **given: Schema,
) -> Schema:
    """The schema of an object with these keys and no others.

    Args:
        source: the class whose fields these are; None: of none.
        fields: names, each with a type after a colon, unless the class has annotations: a name of
            TYPES. "?" after it: may be null. "*" after it: the key may be absent.
        says: a description of the object.
        more: descriptions of fields that neither the class nor the glossary describes.
        given: the schemas of fields that are no plain values, by name.
    """
    properties: Schema = {}
    required = []
    for word in fields.split():
        name, _, kind = word.partition(":")
        absent = kind.endswith("*") or (not kind and name.endswith("*"))
        name, kind = name.rstrip("*?"), kind.rstrip("*")
        if name in given:
            found = dict(given[name])
        elif kind:
            found = typed(kind)
        else:
            found = typed(annotated(source, name))
        text = (more or {}).get(name) or described(source, name) or found.get("description")
        if text is None:
            raise ValueError(f"{source} {name} has no description")
        properties[name] = {
            "description": in_json(text, found),
            **{k: v for k, v in found.items() if k != "description"},
        }
        if not absent:
            required.append(name)
    made: Schema = {"type": "object", "properties": properties, "required": required,
                    "additionalProperties": False}  # fmt: skip
    return {"description": says, **made} if says else made


def in_json(text: str, found: Mapping[str, Any]) -> str:
    """A description in the words of JSON, which says what null means.

    >>> in_json("bytes; None: not seen", typed("bytes?")), in_json("in swap", typed("bytes?"))
    ('bytes; null: not seen', 'in swap; null: not known')
    """
    text = re.sub(r"\b(None|True|False)\b", lambda word: WORDS[word[0]], text)
    can_be_null = "null" in found.get("type", ()) or {"type": "null"} in found.get("anyOf", ())
    if not can_be_null or "null" in text:
        return text
    # A figure is there, whether it is known or not; of names and the like there may be none.
    return f"{text}; null: not known" + ("" if "x-unit" in found else ", or there is none")


WORDS = {"None": "null", "True": "true", "False": "false"}


def typed(kind: str) -> Schema:
    """The schema of a type's name; "?" after it: or null."""
    return nullable(TYPES[kind[:-1]]) if kind.endswith("?") else dict(TYPES[kind])


def annotated(source: type | None, name: str) -> str:
    """The type of a field by its annotation, as a name of TYPES."""
    annotation = str(getattr(source, "__annotations__", {}).get(name, ""))
    found = re.search(r"\b(int|str|bool|float)\b( \| None)?", annotation)
    if found is None:
        raise ValueError(f"{source} {name}: {annotation!r} is no plain type")
    kind = found[1]
    if kind in ("int", "float"):
        kind = unit_of(name, kind)
    return kind + ("?" if found[2] else "")


BYTES = frozenset(
    "rss pss uss swap swap_pss pss_anon size resident private swapped in_use free touched limit "
    "guard reserved vsz rss_anon rss_file rss_shmem page_tables locked pinned peak_vsz peak_rss "
    "data stack text libraries hugetlb capacity waiting cached dirty writeback evicted "
    "recently_evicted usage high peak swap_limit anon shmem file swapcached kernel sock "
    "file_mapped file_dirty file_writeback inactive_file active_file unevictable slab_reclaimable "
    "mapped anon_unmapped file_rest shmem_rest shared copied own frees bss total relro_size "
    "page_size left_value right_value covers system tcache fast top resident_free trimmable "
    "above_bytes committed lazy_free mmapped python_system python_in_use python_free "
    "mapping_size vm_pte predicted largest_free last_size rss_error trimmable_now others bias "
    "offset".split()
)
ADDRESSES = frozenset("start end address virtual physical at last_in_use".split())
SIGNED = frozenset("difference remainder".split())
OF_FLOATS = {"rate": "rate", "slope": "rate", "seconds": "seconds", "since": "seconds",
             "until": "seconds", "longest": "seconds", "held": "seconds"}  # fmt: skip


def unit_of(name: str, kind: str) -> str:
    """The type of a number by its name: that with its unit, if it has one."""
    if kind == "float":
        return OF_FLOATS.get(name, kind)
    if name in ADDRESSES:
        return "address"
    return "bytes" if name in BYTES else "signed" if name in SIGNED else kind


def described(source: type | None, name: str) -> str | None:
    """What a class says about a field: its docstring, or that of a property."""
    if source is not None:
        found = attributes(source).get(name)
        if found:
            return found
        own = getattr(source, name, None)
        if isinstance(own, property) and own.__doc__:
            return cleandoc(own.__doc__).split("\n\n")[0].replace("\n", " ").rstrip(".")
    return GLOSSARY.get(name)


ENTRY = re.compile(r"^ {4}(\w[\w, ]*): ((?:.*\n?)(?: {8}.*\n?)*)", re.MULTILINE)
"""Names of fields in a docstring, and what it says about them."""


@cache
def attributes(source: type) -> Mapping[str, str]:
    """The fields that the docstrings of a class and its bases describe: attributes, arguments."""
    found: dict[str, str] = {}
    for cls in reversed(source.__mro__):
        text = cleandoc(cls.__dict__.get("__doc__") or "")
        for heading in ("Args", "Attributes"):
            for part in re.findall(rf"^{heading}:\n((?:(?: .*)?\n?)*)", text, re.MULTILINE):
                for names, says in ENTRY.findall(part):
                    said = " ".join(says.split()).rstrip(".")
                    if said != "int":  # for which the annotations are used
                        found |= dict.fromkeys(names.split(", "), said)
    return found


def nullable(schema: Mapping[str, Any]) -> Schema:
    """The schema, or null."""
    if "type" in schema and isinstance(schema["type"], str):
        made = {**schema, "type": [schema["type"], "null"]}
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
        return made
    described = {"description": schema["description"]} if "description" in schema else {}
    return {**described, "anyOf": [dict(schema), {"type": "null"}]}


def listed(items: Mapping[str, Any] | str, says: str = "") -> Schema:
    """The schema of an array."""
    of = typed(items) if isinstance(items, str) else dict(items)
    return {**({"description": says} if says else {}), "type": "array", "items": of}


def mapping(values: Mapping[str, Any] | str, says: str = "", keys: str = "") -> Schema:
    """The schema of an object whose keys are data.

    Args:
        values: the schema of each value, or a type's name.
        says: a description.
        keys: a regular expression that each key matches.
    """
    of = typed(values) if isinstance(values, str) else dict(values)
    return {
        **({"description": says} if says else {}),
        "type": "object",
        **({"propertyNames": {"pattern": keys}} if keys else {}),
        "additionalProperties": of,
    }


def one_of(words: Sequence[str], says: str = "") -> Schema:
    """The schema of a string that is one of these."""
    return {**({"description": says} if says else {}), "type": "string", "enum": [*words]}


def constant(word: str) -> Schema:
    """The schema of a string that is always the same."""
    return {"type": "string", "const": word}


def tuple_of(*items: Schema | str) -> Schema:
    """The schema of an array of so many values."""
    kinds = [typed(one) if isinstance(one, str) else one for one in items]
    return {"type": "array", "prefixItems": kinds, "items": False, "minItems": len(kinds)}
