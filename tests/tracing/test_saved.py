"""Traces are read back from the JSON of procmem trace."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from procmem.errors import ParseError
from procmem.tracing.saved import load_trace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def saved(program: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "calls.json"
    words = [
        sys.executable,
        "-m",
        "procmem",
        "trace",
        "--json",
        "-o",
        str(path),
        "--",
        program,
        "forks",
    ]
    subprocess.run(words, capture_output=True, check=False, timeout=300)
    return path


def test_every_call_is_read_back(saved: Path) -> None:
    whole = json.loads(saved.read_bytes())
    found = load_trace(saved)
    assert len(found.calls) == len(whole["calls"]) > 3
    assert found.boot_id
    for one, raw in zip(found.calls, whole["calls"], strict=True):
        for name in (
            "name", "pid", "tid", "args", "result", "errno", "began", "ns", "delta_vsz",
            "delta_rss", "within", "reason", "exact",
        ):  # fmt: skip
            assert getattr(one, name) == raw[name], name
        assert one.is_function == (raw["made"] is not None)
        if raw["region"]:
            assert one.region_row == tuple(
                raw["region"][name] for name in ("start", "end", "perms", "name")
            )


def test_a_trace_that_was_cut_off(saved: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.json"
    for size in (30, 500, -3):
        cut.write_bytes(saved.read_bytes()[:size])
        with pytest.raises(ParseError, match="cut off, or is damaged"):
            load_trace(cut)


@pytest.mark.parametrize(
    "change",
    [
        {"began": "now"}, {"began": True}, {"pid": None}, {"region": 7}, {"args": 7}, {"args": [7]},
        {"delta_vsz": 1.5}, {"region": {"start": 1}},
    ],
)  # fmt: skip
def test_damaged_calls(saved: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    whole = json.loads(saved.read_bytes())
    whole["calls"][-1] |= change
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(ParseError, match=r"damaged\.json"):
        load_trace(path)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"7", b"\xff", b"[" * 100_000, b'{"calls": 7, "boot_id": null}']
)
def test_other_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(data)
    with pytest.raises(ParseError, match="not a trace: procmem trace --json -o FILE saves one"):
        load_trace(path)
