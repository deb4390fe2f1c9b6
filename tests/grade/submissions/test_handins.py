"""Which hand-ins there are, and how their contents are compared."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from procmem.grade.submissions.handins import doubles, key
from tests.support.labs_made import make_submission

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_tells_each_change_of_a_submission(tmp_path: Path) -> None:
    made = make_submission(tmp_path / "a", {"x": "1", "y": "2"})
    keys = [key(made)]

    def changed() -> bool:
        keys.append(key(made))
        return keys[-1] not in keys[:-1]

    assert not changed()
    (made / "x").write_text("3")
    assert changed()
    (made / "x").rename(made / "z")
    assert changed()
    (made / "z").chmod(0o755)
    assert changed()
    (made / "sub").mkdir()
    assert changed()
    (made / "link").symlink_to("z")
    assert changed()
    (made / "link").unlink()
    (made / "link").symlink_to("/etc")
    assert changed()
    (made / "__pycache__").mkdir()
    assert not changed()
    os.mkfifo(made / "fifo")  # it is not waited for
    assert changed()
    (made / "huge").touch()
    os.truncate(made / "huge", 1 << 40)  # nor is a hole of a terabyte read
    assert changed()


def test_a_key_is_that_of_a_copy(tmp_path: Path) -> None:
    made = make_submission(tmp_path / "a", {"x": "1", "y": "2"})
    shutil.copytree(made, tmp_path / "b")
    assert key(made) == key(tmp_path / "b")


@pytest.mark.parametrize(
    "names, found",
    [
        (["alice", "alice.zip", "alice.tar.gz", "ALICE.c"], 1),
        (["Doe Jane_123_assignsubmission_file_", "Doe Jane_123_assignsubmission_onlinetext_"], 1),
        (["Doe Jane_123_assignsubmission_file_", "Doe Jane_124_assignsubmission_file_"], 0),
        (["doejane_1_22_page.c", "doejane_LATE_1_23_page-1.c", "doejane_2_24_page.c"], 1),
        (["a (1).zip", "a.zip", "b (1).zip"], 1),
        (["group-1", "group-2", "group 3", "x1.c", "x2.c", "1", "2"], 0),
    ],
)
def test_who_is_perhaps_one_student(names: list[str], found: int) -> None:
    assert len(doubles(names)) == found
