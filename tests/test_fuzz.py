"""A few seconds of fuzzing with each engine; `make fuzz` takes longer."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import FIXTURES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 12
NO_COMPILER = 77


def fuzz(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-B", root / "scripts" / "fuzz.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == NO_COMPILER:
        needs = "clang with libFuzzer" if "libfuzzer" in arguments else "gcc with sanitizers"
        pytest.skip(f"no {needs} here")
    return done


@pytest.mark.parametrize("engine", ["standalone", "libfuzzer"])
def test_finds_nothing(engine: str, tmp_path: Path) -> None:
    done = fuzz(ROOT, "--work", tmp_path, "--engine", engine, "--seconds", f"{SECONDS}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fuzzing scanner" in done.stdout
    assert "fuzzing elfsize" in done.stdout
    assert "fuzzing compare" in done.stdout
    assert "fuzzing breakpoints" in done.stdout
    assert "fuzzing pagemap" in done.stdout
    assert "fuzzing sharing" in done.stdout
    assert "fuzzing columns" in done.stdout
    assert "fuzzing heap" in done.stdout
    assert "fuzzing dwarf" in done.stdout
    assert "fuzzing saved" in done.stdout


@pytest.mark.parametrize(
    "target, plain, planted",
    [
        ("scanner", "if (end - at < 5 || at[4] != ' ')", "if (at[4] != ' ')"),
        ("elfsize", "head->e_shstrndx < head->e_shnum && ", ""),
        # A read that comes up short, which lost the pages behind it.
        (
            "pagemap",
            "count += (size_t)got / 8;\n    }",
            "count += (size_t)got / 8;\n        break;\n    }",
        ),
        # A frame that two processes map in turns, which got a set for each change.
        ("sharing", "if (!with || slot->set != rest) {", "if (!with) {"),
        # A sum above 2^64, whose upper word stayed 0.
        ("columns", "high[i] += low[i] < value;", ""),
        # A list that leads back into itself.
        ("heap", "if (at == seen->kept)", "if (at == 1)"),
    ],
)
def test_a_planted_bug_is_found_kept_and_shown_again(
    target: str, plain: str, planted: str, tmp_path: Path
) -> None:
    native, scripts = tmp_path / "procmem" / "native", tmp_path / "scripts"
    native.mkdir(parents=True)
    scripts.mkdir()
    for name in ("fuzz.py", "fuzz.dict"):
        (scripts / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    for source in (ROOT / "procmem" / "native").glob("*.[ch]"):
        text = source.read_text()
        if source.name == f"{target}.c":
            assert plain in text
            text = text.replace(plain, planted)
        (native / source.name).write_text(text)

    engine = ("--target", target, "--engine", "standalone")
    # It ends at the first find, within seconds; on a busy machine it takes longer.
    done = fuzz(tmp_path, *engine, "--seconds", "300", "--work", tmp_path / "work")
    assert done.returncode == 1, done.stdout + done.stderr
    (found,) = (tmp_path / "work" / target).iterdir()
    again = fuzz(tmp_path, *engine, "--work", tmp_path / "again", found)
    assert again.returncode == 1, again.stdout + again.stderr


FINDS = sorted((FIXTURES / "fuzz").iterdir())


@pytest.mark.parametrize("find", FINDS, ids=[find.name for find in FINDS])
def test_what_was_found_stays_mended(find: Path, tmp_path: Path) -> None:
    """Inputs that broke a target once; each name starts with the target's."""
    target = find.name.split("-")[0]
    done = fuzz(ROOT, "--target", target, "--engine", "standalone", "--work", tmp_path, find)
    assert done.returncode == 0, done.stdout + done.stderr
