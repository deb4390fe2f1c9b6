"""Which files count, and where they are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procmem.grade import SubmissionError
from procmem.grade.submissions.placing import Asked
from tests.support.handed_in import BOTH, GOOD, HOLLOW, LAB, MAKEFILE, placed, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    "at",
    ["", "a/", "a/b/", "a b/c d/é/", "page/", "build/", "Doe Jane_123_assignsubmission_file_/"],
)
def test_folders_in_folders(tmp_path: Path, at: str) -> None:
    found, done = placed(tmp_path, {f"{at}{name}": text for name, text in BOTH.items()})
    assert found == BOTH
    assert (done.notes, done.missing) == ([], [])


def test_files_in_several_folders(tmp_path: Path) -> None:
    found, done = placed(tmp_path, {"src/page.c": GOOD, "src/x.h": "", "mk/Makefile": MAKEFILE})
    assert found["page.c"] == GOOD
    assert found["Makefile"] == MAKEFILE
    assert "x.h" in found  # beside page.c, which includes it
    assert len(done.notes) == 1 or "Makefile: found as mk/Makefile" in done.notes


def test_the_students_own_folders_stay(tmp_path: Path) -> None:
    files = {"Makefile": "page: src/page.c\n", "src/page.c": GOOD, "src/x.h": "", "inc/y.h": ""}
    found, done = placed(tmp_path, files)
    assert files.items() <= found.items()
    assert found["page.c"] == GOOD
    assert done.notes == ["page.c: found as src/page.c"]


@pytest.mark.parametrize(
    "name", ["PAGE.C", "Page.c", "page (1).c", "page-1.c", "page - Copy.c", "page(2).c", "page2.c",
             "page.c.txt", "doejane_12345_67890_page.c", "doejane_LATE_12345_67890_page-1.c",
             "my own work.c"]
)  # fmt: skip
def test_names_that_systems_change(tmp_path: Path, name: str) -> None:
    found, done = placed(tmp_path, {name: GOOD, "Makefile": MAKEFILE})
    assert found == BOTH
    assert done.notes == [f"page.c: found as {name}"]


def test_a_lab_may_ask_for_a_directory(tmp_path: Path) -> None:
    asked = Asked(("Makefile", "src"), ("./page",), ("make",))
    found, done = placed(tmp_path, {"a/Makefile": MAKEFILE, "a/src/page.c": GOOD}, asked)
    assert found == {"Makefile": MAKEFILE, "src/page.c": GOOD}
    assert (done.notes, done.missing) == ([], [])


def test_decomposed_letters(tmp_path: Path) -> None:
    asked = Asked(("ü.c",), ("./ü",), ("make",))
    found, _ = placed(tmp_path, {"u\u0308.c": GOOD}, asked)
    assert found == {"ü.c": GOOD}


def test_a_file_that_the_students_makefile_names_keeps_its_name(tmp_path: Path) -> None:
    files = {"main.c": GOOD, "Makefile": "page: main.c\n\tgcc -o page main.c\n"}
    found, done = placed(tmp_path, files)
    assert found == files
    assert done.missing == ["page.c"]
    assert done.notes == ["not handed in: page.c"]


def test_which_one_counts_is_said(tmp_path: Path) -> None:
    found, done = placed(tmp_path, {**BOTH, "old/page.c": HOLLOW, "older/page.c": GOOD})
    assert found["page.c"] == GOOD
    assert done.notes == ["page.c: page.c counts, not old/page.c"]


def test_two_that_may_be_meant_are_refused_and_named(tmp_path: Path) -> None:
    for number, files in enumerate((
        {"v1/page.c": GOOD, "v2/page.c": HOLLOW},
        {"page-1.c": GOOD, "page-2.c": HOLLOW},
        {"v1/page.c": GOOD, "v1/Makefile": "", "v2/page.c": HOLLOW, "v2/Makefile": ""},
    )):  # fmt: skip
        with pytest.raises(SubmissionError, match=r"more than one page\.c: .*1.*2.*; hand in one"):
            placed(tmp_path / str(number), files)


def test_two_that_are_alike_are_one(tmp_path: Path) -> None:
    found, done = placed(tmp_path, {"v1/page.c": GOOD, "v2/page.c": GOOD})
    assert found["page.c"] == GOOD
    assert "which" not in " ".join(done.notes)


def test_the_starter_stands_in(tmp_path: Path) -> None:
    starter = tree(tmp_path / "starter", {**BOTH, "page.c": HOLLOW, "predictions.toml": "a = 1",
                                          "help.h": "", "old.o": b"\x7fELF"})  # fmt: skip
    asked = Asked((*LAB.files, "predictions.toml"), LAB.program, LAB.build, str(starter))
    found, done = placed(tmp_path, {"x/page.c": GOOD}, asked)
    assert found == {**BOTH, "predictions.toml": "a = 1", "help.h": ""}
    assert done.notes == ["not handed in, the starter's is used: Makefile, predictions.toml"]
    assert done.missing == ["Makefile", "predictions.toml"]


@pytest.mark.parametrize("files", [{}, {"notes.txt": "x"}, {"other.py": "x"}])
def test_who_hands_in_nothing_gets_no_starter(tmp_path: Path, files: dict[str, str]) -> None:
    starter = tree(tmp_path / "starter", BOTH)
    asked = Asked(LAB.files, LAB.program, LAB.build, str(starter))
    found, done = placed(tmp_path, files, asked)
    assert found == files
    assert done.notes == ["not handed in: Makefile, page.c"]


def test_one_of_two_sources(tmp_path: Path) -> None:
    starter = tree(tmp_path / "starter", {"a.c": "1", "b.c": "2", "Makefile": "x"})
    asked = Asked(("a.c", "b.c", "Makefile"), ("./a",), ("make",), str(starter))
    found, _ = placed(tmp_path, {"b.c": "mine"}, asked)
    assert found == {"a.c": "1", "b.c": "mine", "Makefile": "x"}


def test_what_systems_leave_is_no_part_of_it(tmp_path: Path) -> None:
    files = {
        "lab/page.c": GOOD, "lab/Makefile": MAKEFILE, "lab/._page.c": "x", "lab/.DS_Store": "x",
        "__MACOSX/lab/page.c": HOLLOW, "__MACOSX/lab/._page.c": "x", "lab/.git/config": "x",
        "lab/.vscode/tasks.json": "x", "Thumbs.db": "x",
    }  # fmt: skip
    found, done = placed(tmp_path, files)
    assert found == BOTH
    assert done.notes == []


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    files = {**BOTH, ".gdbinit": "", ".cache/x": "", ".ccache/ccache.conf": "", ".valgrindrc": ""}
    found, done = placed(tmp_path, files)
    assert found == BOTH
    assert done.notes == [
        (
            "left out, because hidden files can change how tools work: .cache, .ccache, .gdbinit, "
            ".valgrindrc"
        )
    ]


@pytest.mark.parametrize("text", [GOOD.encode("utf-16"), GOOD.encode() + b"\0", b"\0"])
def test_a_source_is_text(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(SubmissionError, match=r"page\.c is not text, as a source file has to be"):
        placed(tmp_path, {"page.c": text, "Makefile": MAKEFILE})


def test_programs_for_other_machines_are_no_cheat(tmp_path: Path) -> None:
    """They can't be run; whoever copies one shall read what it is."""
    macho = b"\xcf\xfa\xed\xfe\x07\0\0\1"
    found, _ = placed(tmp_path, {**BOTH, "page.bin": macho, "page": macho})
    assert sorted(found) == ["Makefile", "page.bin", "page.c"]


def test_a_lab_may_ask_for_a_program(tmp_path: Path, compiled: Callable[..., bytes]) -> None:
    asked = Asked(("crackme", "notes.txt"), ("./crackme",))
    found, done = placed(tmp_path, {"crackme": compiled(GOOD), "notes.txt": "x"}, asked)
    assert sorted(found) == ["crackme", "notes.txt"]
    assert done.notes == []


def test_without_a_build_and_a_list_all_is_kept(tmp_path: Path) -> None:
    files = {".hidden": "x", "a.o": "x", "sub/x": "y"}
    found, done = placed(tmp_path, files, Asked())
    assert found == files
    assert done.notes == []
