"""Small labs that tests make: their program is cat, which waits for input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procmem.grade import Lab

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["LAZY", "make_lab", "make_submission"]

LAZY = r"""
#include <stdio.h>
#include <sys/mman.h>

int main(void)
{
    char *page;

    getchar();
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    getchar();
    page[0] = 1;
    getchar();
    return 0;
}
"""
"""Its first getchar() makes the heap, too: for tests of answers to the wrong phases."""


def make_lab(
    directory: Path, checks: str, toml: str = "", files: Mapping[str, str] | None = None
) -> Lab:
    """A lab in a directory of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = 'title = "a lab"\n' + (toml or 'program = ["cat"]\n')
    (directory / "lab.toml").write_text(settings)
    (directory / "checks.py").write_text(checks)
    for name, text in (files or {}).items():
        (directory / name).write_text(text)
    return Lab.load(directory)


def make_submission(directory: Path, files: Mapping[str, str] | None = None) -> Path:
    """A submission in a directory of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        (directory / name).write_text(text)
    return directory
