"""procmem query: what it says of code."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from procmem.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.support.targets import Target

    Start = Callable[..., Target]
    Build = Callable[[str], Path]


def test_query_names_what_lies_there(
    start: Start, variant: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    target = start(variant("big"))
    truths = target.truths
    assert main(["query", str(target.pid), f"{truths.main + 4:x}"]) == 0
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    rows = {name: value.strip() for name, value in rows.items()}
    assert rows["object"] == os.fspath(variant("big"))
    assert rows["section"].startswith(".text+0x")
    assert rows["symbol"] == "hello+0x4"
    assert "target.c:" in rows["source line"]
    assert rows["told by"] == "the ELF headers of its file"
    assert main(["query", str(target.pid), f"{truths.bss + 4_000_000:x}", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["symbol"], told["offset_in_symbol"]) == ("target_bss", 4_000_000)
    assert (told["section"], told["source_line"]) == (".bss", None)
    assert told["region"]["kind"] == "bss"
    # Elsewhere there are no such lines.
    assert main(["query", str(target.pid), f"{truths.stack:x}"]) == 0
    assert "symbol" not in capsys.readouterr().out
