"""Submissions of the labs that ship: their solutions, changed in right and wrong ways.

tests/labs/NAME/expected.toml lists the variants of a lab's solution:

    [wrong.forgets-to-wait]
    loses = ["test_waits"]                     # exactly these checks
    says = { test_waits = "one wait" }         # optional: what their messages contain
    edits = [{ file = "a.c", old = "...", new = "..." }]   # or a directory wrong/forgets-to-wait/

    [right.calloc]
    edits = [...]                              # or right/calloc/

Files of the directory are laid over the solution first; then each edit's `old`, which must occur
exactly once, gives way to `new`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from procmem.labs import labs
from tests.support.paths import TESTS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["LABS", "VARIANTS", "submission", "variants"]

VARIANTS = TESTS / "labs"

LABS = {Path(lab.directory).name: lab for lab in labs()}


def variants(name: str, side: str) -> dict[str, dict[str, Any]]:
    path = VARIANTS / name / "expected.toml"
    listed = tomllib.loads(path.read_text()) if path.is_file() else {}
    found: dict[str, dict[str, Any]] = listed.get(side, {})
    return found


def submission(tmp_path: Path, name: str, side: str, variant: str) -> Path:
    """The solution of a lab, changed as a variant says."""
    made = tmp_path / "submission"
    shutil.copytree(Path(LABS[name].directory, "solution"), made)
    overlay = VARIANTS / name / side / variant
    edits = variants(name, side)[variant].get("edits", ())
    assert edits or overlay.is_dir(), "a variant is a directory, or edits, or both"
    if overlay.is_dir():
        shutil.copytree(overlay, made, dirs_exist_ok=True)
    for edit in edits:
        file = made / edit["file"]
        text = file.read_text()
        assert text.count(edit["old"]) == 1, f"{edit['old']!r} in {edit['file']}"
        file.write_text(text.replace(edit["old"], edit["new"]))
    return made
