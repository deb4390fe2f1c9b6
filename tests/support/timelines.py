"""Checks of timelines, by the rules that their readers document."""

from __future__ import annotations

import json
from typing import Any

import pytest

INTEGER = {"type": "integer", "minimum": 0}
FRAMES = {"type": "array", "items": {"type": "object", "required": ["name"],
          "properties": {"name": {"type": "string"}, "file": {"type": "string"}}}}  # fmt: skip
COMMON = {"name": {"type": "string"}, "startValue": {"type": "number"},
          "endValue": {"type": "number"}, "unit": {"enum": ["bytes", "microseconds",
          "milliseconds", "nanoseconds", "none", "seconds"]}}  # fmt: skip
EVENT = {"type": "object", "required": ["type", "frame", "at"], "properties": {
    "type": {"enum": ["O", "C"]}, "frame": INTEGER, "at": {"type": "number"}}}  # fmt: skip
FLAMES = {
    "type": "object",
    "required": ["$schema", "shared", "profiles"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "exporter": {"type": "string"}, "name": {"type": "string"},
        "activeProfileIndex": {"type": "number"},
        "shared": {"type": "object", "required": ["frames"], "properties": {"frames": FRAMES}},
        "profiles": {"type": "array", "items": {"oneOf": [
            {"type": "object",
             "required": ["type", "name", "unit", "startValue", "endValue", "events"],
             "properties": {**COMMON, "type": {"const": "evented"},
                            "events": {"type": "array", "items": EVENT}}},
            {"type": "object",
             "required": ["type", "name", "unit", "startValue", "endValue", "samples", "weights"],
             "properties": {**COMMON, "type": {"const": "sampled"},
                            "samples": {"type": "array",
                                        "items": {"type": "array", "items": INTEGER}},
                            "weights": {"type": "array", "items": {"type": "number"}}}},
        ]}},
    },
}  # fmt: skip
"""What speedscope's file-format-spec documents, in our own words."""

NUMBER = {"type": "number", "minimum": 0}
PHASES: dict[str, dict[str, Any]] = {
    "X": {"required": ["tid", "dur", "args"], "properties": {"dur": NUMBER}},
    "C": {"required": ["args"], "properties": {"args": {
        "type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}}}},
    "i": {"required": ["tid", "s"], "properties": {"s": {"enum": ["g", "p", "t"]}}},
    "M": {"required": ["args"], "properties": {
        "name": {"enum": ["process_name", "thread_name"]},
        "args": {"required": ["name"], "properties": {"name": {"type": "string"}}}}},
}  # fmt: skip
TIMELINE = {
    "type": "object",
    "required": ["traceEvents"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "traceEvents": {"type": "array", "items": {"oneOf": [
            {"type": "object", **rest,
             "required": ["ph", "name", "pid", "ts", *rest["required"]],
             "properties": {"name": {"type": "string", "minLength": 1}, "pid": INTEGER,
                            "tid": INTEGER, "ts": NUMBER, "ph": {"const": phase},
                            **rest["properties"]}}
            for phase, rest in PHASES.items()
        ]}},
    },
}  # fmt: skip
"""What the Trace Event Format documents of the events that are used."""


def valid(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    assert text.isascii()
    found: dict[str, Any] = json.loads(text)
    jsonschema.validate(found, schema)
    return found


def check_timeline(text: str) -> dict[str, Any]:
    """The events of a timeline, which must be valid; calls of a thread must not overlap in part.

    Chrome's viewer draws the values of a counter in the order of the file, and those names alone
    that its first event has.
    """
    found = valid(text, TIMELINE)
    counters: dict[Any, tuple[float, set[str]]] = {}
    for event in found["traceEvents"]:
        if event["ph"] == "C":
            key, names = (event["pid"], event["name"]), set(event["args"])
            when, first = counters.get(key, (0.0, names))
            assert when <= event["ts"]
            assert names <= first
            counters[key] = event["ts"], first
    threads: dict[Any, list[tuple[float, float]]] = {}
    for event in found["traceEvents"]:
        if event["ph"] == "X":
            begin = event["ts"]
            threads.setdefault(event["tid"], []).append((begin, begin + event["dur"]))
    for calls in threads.values():
        stack: list[float] = []
        for begin, end in sorted(calls, key=lambda call: (call[0], -call[1])):
            while stack and stack[-1] <= begin:
                stack.pop()
            # A float of a time since boot has about a nanosecond.
            assert not stack or end <= stack[-1] + 0.1
            stack.append(end)
    return found


def check_flames(text: str) -> dict[str, Any]:
    """A file for speedscope, which must be valid, its events in order and balanced."""
    found = valid(text, FLAMES)
    count = len(found["shared"]["frames"])
    for profile in found["profiles"]:
        assert profile["startValue"] <= profile["endValue"]
        if profile["type"] == "sampled":
            assert len(profile["samples"]) == len(profile["weights"])
            assert all(at < count for stack in profile["samples"] for at in stack)
            assert profile["endValue"] == sum(profile["weights"])
            continue
        stack, at = [], profile["startValue"]
        for event in profile["events"]:
            assert at <= event["at"] <= profile["endValue"]
            at = event["at"]
            assert event["frame"] < count
            if event["type"] == "O":
                stack.append(event["frame"])
            else:
                assert stack.pop() == event["frame"]
        assert stack == []
    return found
