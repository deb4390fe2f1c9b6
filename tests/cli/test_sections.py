"""procmem sections."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

from procmem.cli import main
from procmem.procfs import probes
from procmem.view.sections import section_tables
from tests.support.objects import named, objects_of, own
from tests.support.still import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.support.targets import Target

    Start = Callable[..., Target]
    Build = Callable[[str], Path]


def test_the_command(start: Start, variant: Build, capsys: pytest.CaptureFixture[str]) -> None:
    target = start(variant("big"))
    pid = str(target.pid)

    def ran(*words: str) -> str:
        assert main(["sections", pid, *words]) == 0
        return capsys.readouterr().out

    live, (text, chosen, listed) = undisturbed(
        lambda: own(target),
        lambda: [ran(), ran("--object", "target"), ran("--json", "--object", "t?rget")],
    )
    assert text.count("headers, padding") == len(objects_of(target))
    assert (
        f"{live.path}  (executable, build-id {live.build_id[:12] if live.build_id else ''}" in text
    )
    assert "Sections share pages" in text
    (row,) = [line.split() for line in chosen.splitlines() if line.startswith(".data ")]
    section = named(live, ".data")
    assert row == [
        ".data", f"{section.address:x}", str(section.size), str(section.resident),
        str(section.private), "0", "data", "data",
    ]  # fmt: skip
    assert "copied: .init_array" in chosen
    totals = ran("--totals", "--sort", "size").splitlines()
    assert totals[2].split()[-1] == "target"
    bridge = ran("--bridge", "--object", "target").splitlines()
    assert bridge[-1].split() == ["remainder", "0"]
    (told,) = json.loads(listed)
    assert told["pid"] == target.pid
    assert told["objects"][0] == live.to_record()
    assert main(["sections", pid, "--object", "nothing"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"no ELF file of process {pid} matches nothing; there are target, " in shown.err


def test_what_older_kernels_do_not_show(
    target: Target, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for has, times in ((True, 0), (False, 1)):
        monkeypatch.setattr(probes, "has_pagemap_scan", lambda has=has: has)
        assert main(["sections", str(target.pid)]) == 0
        assert capsys.readouterr().out.count("Pages that were only read") == times


def test_long_names_of_sections_are_cut(start: Start, variant: Build) -> None:
    live = own(start(variant("big")))
    assert live.image is not None
    live.image = copy.copy(live.image)
    name = "\x1b[2J" + "x" * 250
    live.image.sections = [section._replace(name=name) for section in live.image.sections]
    text = section_tables([live])
    assert "\x1b" not in text
    assert "\\x1b[2Jx" in text
    assert max(len(line) for line in text.splitlines() if "/" not in line) <= 110
    assert live.sections[0].name == name
