"""predictions.toml and answers.toml, right and wrong."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem import units
from procmem.grade import (
    KiB,
    Predictions,
    SubmissionError,
)
from procmem.units import parse_size
from tests.support.labs_made import make_lab

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "written, size",
    [
        ("4096", 4096),
        ("4 KiB", 4096),
        ("4K", 4096),
        ("4k", 4096),
        ("4 kB", 4096),
        ("4,096 bytes", 4096),
        ("4_096", 4096),
        ("2 MiB", 2 << 20),
        ("1.5M", 3 << 19),
        ("1 G", 1 << 30),
        ("-4 KiB", -4096),
        ("−4 KiB", -4096),
        ("0", 0),
        ("1 byte", 1),
    ],
)
def test_sizes_as_people_write_them(written: str, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written", ["", "KiB", "4 pages", "4 4", "1.3 B", "0.3K", "four", "4 KiBs"]
)
def test_what_is_no_size(written: str) -> None:
    with pytest.raises(ValueError, match=r"size|unit|bytes"):
        parse_size(written)


@given(st.integers(-(1 << 60), 1 << 60))
def test_every_size_that_is_told_can_be_written(size: int) -> None:
    assert parse_size(units.comparable(size)) == size


@pytest.fixture
def predictions(tmp_path: Path) -> Predictions:
    path = tmp_path / "predictions.toml"
    path.write_text(
        'vsz = "4 KiB"\nrss = 4096\nfaults = 1_024\nlazy = true\nwhy = "first touch"\n'
        'part = "B"\nempty = "?"\nhalf = 0.5\n[heap]\nsize = "132K"\n'
    )
    return Predictions(path)


def test_entries_of_each_type(predictions: Predictions) -> None:
    assert predictions.size("vsz") == predictions.size("rss") == 4096
    assert predictions.integer("faults") == 1024
    assert predictions.number("half") == 0.5
    assert predictions.boolean("lazy") is True
    assert predictions.text("why") == "first touch"
    assert predictions.choice("part", ["a", "b"]) == "b"
    assert predictions.size("heap.size") == 132 * KiB


@pytest.mark.parametrize(
    "getter, name, words",
    [
        ("size", "vzs", "no entry vzs: write vzs = .*there is vsz"),
        ("size", "why", "why = 'first touch': write why = 12345 or \"12 KiB\""),
        ("size", "lazy", "lazy = True"),
        ("size", "empty", "empty is not filled in"),
        ("size", "heap", "heap = "),
        ("integer", "vsz", "write vsz = 7"),
        ("number", "why", "write why = 7.5"),
        ("boolean", "rss", "true or false"),
        ("text", "rss", "some words"),
        ("size", "rss.more", "no entry"),
    ],
)
def test_odd_entries_say_what_to_write(
    predictions: Predictions, getter: str, name: str, words: str
) -> None:
    with pytest.raises(SubmissionError, match=words):
        getattr(predictions, getter)(name)
    with pytest.raises(SubmissionError, match='"a" or "b"'):
        predictions.choice("why", ["a", "b"])


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "predictions.toml is missing"),
        (b"vsz = \n", "not TOML"),
        (b"vsz: 4096\n", "Write lines such as"),
        (b"\xff", "UTF-8"),
        (b"x = " + b"[" * 5000, "not TOML"),
        (b"#" * (1 << 20) + b"#", "longer"),
        (b"vsz = " + b"9" * 5000, "not TOML"),
        (b"vsz = 0x" + b"9" * 5000, "too large"),
        (b'vsz = "' + b"9" * 5000 + b'"', "write vsz = 12345"),
        (b"vsz" + b".a" * 900 + b" = 1", "not a single value"),
        (b"vsz = " + b"[" * 90 + b"]" * 90, "not a single value"),
    ],
    ids=[
        "missing",
        "cut",
        "yaml",
        "bytes",
        "deep",
        "long",
        "digits",
        "hex",
        "quoted digits",
        "dots",
        "lists",
    ],
)
def test_odd_files_say_so(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "predictions.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SubmissionError, match=words):
        Predictions(path).size("vsz")


@pytest.mark.parametrize("text", [f"n = 0x{'9' * 5000}", f"n = '{'9' * 5000}'", "n.n.n = 1"])
@pytest.mark.parametrize("getter", ["size", "integer", "number", "boolean", "text", "choice"])
def test_odd_values_are_never_the_graders_fault(tmp_path: Path, text: str, getter: str) -> None:
    path = tmp_path / "predictions.toml"
    path.write_text(text)
    known = Predictions(path)
    with contextlib.suppress(SubmissionError):
        assert isinstance(
            getattr(known, getter)("n", *([["a"]] if getter == "choice" else [])), str
        )


def test_a_choice_that_is_not_filled_in_names_all_and_no_answer(predictions: Predictions) -> None:
    with pytest.raises(SubmissionError, match=r'write empty = "heap", "stack" or "mapping"$'):
        predictions.choice("empty", ["heap", "stack", "mapping"])


def test_a_mark_of_the_byte_order_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "predictions.toml").write_bytes(b"\xef\xbb\xbfvsz = 1\r\n")
    assert Predictions(tmp_path / "predictions.toml").size("vsz") == 1


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "predictions.toml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.mkdir()
    with pytest.raises(SubmissionError, match="predictions"):
        Predictions(path).size("vsz")


def test_answers_are_choices_of_the_quiz(tmp_path: Path) -> None:
    quiz = (
        '[[question]]\nname = "one"\ntext = "Which?"\nchoices = { a = "this", b = "that" }\n'
        '[[question]]\nname = "two"\ntext = "How much?"\n'
    )
    lab = make_lab(tmp_path / "lab", "", files={"quiz.toml": quiz})
    assert [question.name for question in lab.quiz] == ["one", "two"]
    assert lab.quiz[0].choices == {"a": "this", "b": "that"}
    path = tmp_path / "answers.toml"
    path.write_text('one = "B"\ntwo = "4K"\n')
    answers = Predictions(path, lab.quiz)
    assert answers.choice("one") == "b"
    assert answers.size("two") == 4096
    path.write_text('one = "c"\n')
    with pytest.raises(SubmissionError, match='write one = "a" or "b"'):
        Predictions(path, lab.quiz).choice("one")
    with pytest.raises(KeyError):
        answers.choice("three")
