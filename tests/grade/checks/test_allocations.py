"""What a program asks malloc for and never frees, seen as it runs alone."""

from __future__ import annotations

import platform
import shutil
from typing import TYPE_CHECKING

import pytest

from procmem.grade import Pieces, Submission, pieces

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="malloc is traced on x86-64 alone"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here"),
]

ALLOCATES = r"""
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    char c, *kept = malloc(1000), *gone = calloc(3, 700), *grown = malloc(10);

    free(gone);
    grown = realloc(grown, 20000);
    if (read(0, &c, 1) < 0 || kept == NULL || grown == NULL)
        return 1;
    if (realloc(kept, (size_t)-1 / 2) != NULL)
        return 2;
    return 0;
}
"""


def found(directory: Path, *options: str) -> Pieces | None:
    (directory / "a.c").write_text(ALLOCATES)
    command = ["gcc", "-O0", "-fno-builtin", "-w", *options, "-o", "a", "a.c"]
    with Submission(directory, build=command, program=["./a"]) as submission:
        assert submission.build.ok, submission.build.output
        return pieces(submission.program(), answers=[""])


def test_what_was_asked_for_and_what_is_left(tmp_path: Path) -> None:
    assert found(tmp_path) == Pieces((1000, 2100, 10, 20000), (1000, 20000))


def test_a_program_that_has_no_malloc_to_be_seen(tmp_path: Path) -> None:
    assert found(tmp_path, "-static", "-s") is None


def test_a_program_that_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("#include <unistd.h>\nint main(void) { return !sbrk(4096); }\n")
    with Submission(tmp_path, build=["gcc", "-o", "a", "a.c"], program=["./a"]) as submission:
        assert submission.build.ok
        assert pieces(submission.program()) == Pieces((), ())


def test_a_program_that_crashes_is_no_witness(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("kill -SEGV $$\n")
    with Submission(tmp_path, program=["sh", "a.sh"]) as submission:
        assert pieces(submission.program()) is None
