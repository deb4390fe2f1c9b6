"""procmem size --json and --explain."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import procmem

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run


def test_json_has_the_sums_and_the_sections(run: Run) -> None:
    ran = run("size", "--json", sys.executable)
    (one,) = json.loads(ran.out)
    truth = procmem.size(sys.executable)
    assert ran.status == 0
    assert (one["text"], one["data"], one["bss"]) == (truth.text, truth.data, truth.bss)
    assert [each["name"] for each in one["sections"]] == [each.name for each in truth.sections]


def test_explanations_name_each_section(run: Run) -> None:
    ran = run("size", "--explain", sys.executable)
    truth = procmem.size(sys.executable)
    assert ran.status == 0
    for section in truth.sections:
        if section.size:
            assert section.name in ran.out
    assert f"text + data + bss  {truth.total}" in " ".join(ran.out.split()).replace(
        "text + data + bss ", "text + data + bss  "
    )


def test_files_that_cannot_be_read_are_reported(run: Run, tmp_path: Path) -> None:
    for form in ("--json", "--explain"):
        ran = run("size", form, tmp_path / "gone", sys.executable)
        assert ran.status == 1
        assert "gone" in ran.err
        assert ran.out
