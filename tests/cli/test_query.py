"""procmem query: the region, the object, the symbol and the line of an address."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import procmem
from procmem.cli import main
from tests.support.sleepers import sleepers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.commands import Run
    from tests.support.targets import Target

    Start = Callable[..., Target]
    Build = Callable[[str], Path]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Callable[..., int]]:
    yield from sleepers(tmp_path)


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


def test_query_tells_the_region_and_the_place_in_it(run: Run, target: Target) -> None:
    ran = run("query", target.pid, f"{target.truths.main:#x}", f"{target.truths.bss:x}")
    assert ran.status == 0
    code, bss = ran.out.split("\n\n")
    assert "text of the executable" in code
    region = procmem.Process(target.pid).region_at(target.truths.main)
    assert region is not None
    inside = target.truths.main - region.start
    assert f"{inside:#x} of {region.size:#x}" in code
    assert f"offset in file    {region.offset + inside:#x}" in code
    assert f"address           {target.truths.bss:#x}" in bss


def test_query_of_nothing_names_the_neighbours(run: Run, target: Target) -> None:
    ran = run("query", target.pid, "0")
    assert (ran.status, ran.out) == (1, "")
    assert "no region covers 0x0" in ran.err
    assert "below" in ran.err


def test_query_json(run: Run, target: Target) -> None:
    (answer,) = json.loads(run("query", "--json", target.pid, f"{target.truths.main:x}").out)
    region = answer["region"]
    assert region["start"] + answer["offset_in_region"] == target.truths.main == answer["address"]
    assert region["kind"] == "text"


def test_query_shows_the_name_and_json_has_both(
    printed: Any, tmp_path: Path, sleeper: Callable[..., int]
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("cc is missing")
    source = tmp_path / "x.c"
    source.write_text(
        "#include <unistd.h>\n"
        'int f(void) __asm__("_RNvC7mycrate3foo"); int f(void) { return 7; }\n'
        "int main(void) { f(); sleep(600); return 0; }\n"
    )
    subprocess.run([compiler, "-g", "-o", tmp_path / "x", source], check=True)
    pid = sleeper(str(tmp_path / "x"))
    nm = procmem.Process(pid)
    sections = {s.name: s for s in nm.sections() if s.path == str(tmp_path / "x")}
    text = sections[".text"]
    found = next(
        at
        for at in range(text.address, text.address + text.size)
        if (symbol := nm.symbol_at(at)) is not None and symbol.name == "_RNvC7mycrate3foo"
    )
    assert "mycrate::foo" in printed("query", pid, f"{found:x}")[1]
    plain = printed("query", "--no-demangle", pid, f"{found:x}")[1]
    assert "_RNvC7mycrate3foo" in plain
    assert "mycrate::foo" not in plain
    (told,) = json.loads(printed("query", "--json", pid, f"{found:x}")[1])
    assert (told["symbol"], told["symbol_demangled"]) == ("_RNvC7mycrate3foo", "mycrate::foo")
