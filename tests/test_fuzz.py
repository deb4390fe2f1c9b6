"""A few seconds of fuzzing with each engine; `make fuzz` takes longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 5
NO_COMPILER = 77


def fuzz(work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", ROOT / "scripts" / "fuzz.py", "--work", work, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("engine", ["standalone", "libfuzzer"])
def test_finds_nothing(engine: str, tmp_path: Path) -> None:
    done = fuzz(tmp_path, "--engine", engine, "--seconds", f"{SECONDS}")
    if done.returncode == NO_COMPILER:
        needs = "clang with libFuzzer" if engine == "libfuzzer" else "gcc with sanitizers"
        pytest.skip(f"no {needs} here")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_planted_bug_is_found_kept_and_shown_again(tmp_path: Path) -> None:
    native, scripts = tmp_path / "procmem" / "native", tmp_path / "scripts"
    native.mkdir(parents=True)
    scripts.mkdir()
    for name in ("fuzz.py", "fuzz.dict"):
        (scripts / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    for source in (ROOT / "procmem" / "native").glob("*.[ch]"):
        text = source.read_text()
        if source.name == "scanner.c":
            plain = "if (end - at < 5 || at[4] != ' ')"
            assert plain in text
            text = text.replace(plain, "if (at[4] != ' ')")
        (native / source.name).write_text(text)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-B", scripts / "fuzz.py", "--engine", "standalone", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("--seconds", "30", "--work", str(tmp_path / "work"))
    if done.returncode == NO_COMPILER:
        pytest.skip("no gcc with sanitizers here")
    assert done.returncode == 1, done.stdout + done.stderr
    (found,) = (tmp_path / "work").iterdir()
    again = run("--work", str(tmp_path / "again"), str(found))
    assert again.returncode == 1, again.stdout + again.stderr
