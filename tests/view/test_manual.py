"""Manual pages: their text, and what man(1) and mandoc(1) say about them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING

import pytest

from procmem.cli import COMMANDS
from procmem.cli.completion import shared_files
from procmem.cli.tables import all_pages
from procmem.view.completion import every_page
from procmem.view.manual import CommandPage, ManualOption, command_manual, roff_text

if TYPE_CHECKING:
    from pathlib import Path


@cache
def manuals() -> dict[str, str]:
    files = shared_files("2026-01-31")
    return {name: text for name, text in files.items() if name.startswith("man/")}


def rendered(path: Path) -> str:
    """A page as man(1) shows it on 100 columns; without a warning."""
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man or groff is not installed")
    done = subprocess.run(
        ["man", "--warnings", "-l", str(path)],
        env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return re.sub(r"\x1b\[[\d;]*m|.\x08", "", done.stdout)


def test_each_command_has_a_page() -> None:
    names = {"man/man1/procmem.1", *(f"man/man1/procmem-{name}.1" for name in COMMANDS)}
    assert manuals().keys() == names


def test_man_has_no_warning_and_shows_each_option(tmp_path: Path) -> None:
    for page in all_pages():
        path = tmp_path / "page.1"
        path.write_text(manuals()[f"man/man1/procmem-{page.name}.1"])
        shown = rendered(path)
        for one in every_page([page]):
            for option in one.options:
                for flag in option.flags:
                    assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", shown), flag
        for line, says in page.examples:
            assert line in shown
            assert says in " ".join(shown.split())


def test_the_overview_has_each_command(tmp_path: Path) -> None:
    path = tmp_path / "procmem.1"
    path.write_text(manuals()["man/man1/procmem.1"])
    shown = rendered(path)
    for name in COMMANDS:
        assert f"procmem-{name}(1)" in shown


def test_mandoc_has_no_warning(tmp_path: Path) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    for name, text in manuals().items():
        path = tmp_path / name.rpartition("/")[2]
        path.write_text(text)
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # A page that is named in SEE ALSO need not be installed.
    rows = [row for row in done.stdout.splitlines() if "referenced manual not found" not in row]
    assert rows == []


def test_what_troff_would_take_for_its_own(tmp_path: Path) -> None:
    odd = '.starts with a dot\n\'and a quote \\ back -dash "double" ^~` é'
    page = CommandPage(
        ("odd",), "odd", ("procmem odd",), odd, (ManualOption(("-o",), "X", odd),), notes=odd
    )
    path = tmp_path / "odd.1"
    path.write_text(command_manual(page, "1", "2026-01-31"))
    shown = " ".join(rendered(path).split())
    assert shown.count(" ".join(odd.split())) == 3
    assert roff_text("plain") == "plain"
