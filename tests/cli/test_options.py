"""Command lines as getopt_long(3) reads them."""

from __future__ import annotations

import ctypes
import getopt
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmem.cli.options import Options, UsageError, strtoul
from procmem.cli.pmap import LONG, SHORT

WORDS = st.sampled_from(
    [
        "-x",
        "-xq",
        "-A",
        "-A1",
        "-xA",
        "-C",
        "-",
        "--",
        "---",
        "-Z",
        "-x-",
        "--range",
        "--range=1",
        "--range=",
        "--ra",
        "--r",
        "--read-rc",
        "--read-rc-",
        "--extended",
        "--extended=1",
        "--e",
        "--nonsense",
        "--=",
        "7",
        "",
        " ",
        "é",
        "-é",
    ]
)


def parsed(argv: list[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    options = Options(argv, SHORT, LONG)
    return list(options), options.operands


@given(st.lists(WORDS | st.text(max_size=4)))
def test_they_are_those_of_the_standard_library(argv: list[str]) -> None:
    """The getopt module has the same rules, other words, and no view on ambiguity."""
    takes = {letter for letter, colon in zip(SHORT, SHORT[1:] + " ", strict=True) if colon == ":"}
    long = [name + ("=" if letter in takes else "") for name, letter in LONG.items()]
    try:
        expected = getopt.gnu_getopt(argv, SHORT, long)
    except getopt.GetoptError:
        with pytest.raises(UsageError):
            parsed(argv)
        return
    found, operands = parsed(argv)
    assert operands == expected[1]
    names = {f"--{name}": letter for name, letter in LONG.items()}
    assert found == [
        (
            names.get(name, name[1:]),
            value if (name[1:] in takes or names.get(name) in takes) else None,
        )
        for name, value in expected[0]
    ]


@pytest.mark.parametrize(
    "argv, message",
    [
        (["-Z"], "invalid option -- 'Z'"),
        (["-xZ"], "invalid option -- 'Z'"),
        (["-A"], "option requires an argument -- 'A'"),
        (["--range"], "option '--range' requires an argument"),
        (["--ran"], "option '--range' requires an argument"),
        (["--quiet=yes"], "option '--quiet' doesn't allow an argument"),
        (["--nonsense"], "unrecognized option '--nonsense'"),
        (["--nonsense=1"], "unrecognized option '--nonsense'"),
        (["--re"], "option '--re' is ambiguous; possibilities: '--read-rc' '--read-rc-from'"),
    ],
)
def test_errors_are_in_the_words_of_the_c_library(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(argv)
    assert str(caught.value) == message


def test_names_of_one_option_are_not_ambiguous() -> None:
    options = Options(["--colo"], "", {"color": "c", "colour": "c"})
    assert list(options) == [("c", None)]


def test_long_options_may_be_words() -> None:
    options = Options(["--root", "/x", "--json"], "", {"root": "root", "json": "json"}, ("root",))
    assert list(options) == [("root", "/x"), ("json", None)]


def test_what_comes_before_an_error_is_given_out() -> None:
    seen: list[str] = []
    with pytest.raises(UsageError):
        seen.extend(name for name, _ in chain(Options(["-x", "-h", "-Z"], SHORT, LONG)))
    options = iter(Options(["-x", "-h", "-Z"], SHORT, LONG))
    assert [next(options), next(options)] == [("x", None), ("h", None)]


def test_posix_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    options = Options(["-x", "7", "-q"], SHORT, LONG)
    assert (list(options), options.operands) == ([("x", None)], ["7", "-q"])


NUMBERS = st.from_regex(r"[ \t]*[-+]?(0[xX]?)?[0-9a-fA-F]{0,20}[g,x ]?", fullmatch=True)


@given(NUMBERS | st.text("0123456789abcdefxX+- ,", max_size=25), st.sampled_from([0, 16]))
def test_numbers_are_read_as_c_reads_them(text: str, base: int) -> None:
    library = ctypes.CDLL(None)
    library.strtoul.restype = ctypes.c_ulong
    buffer = ctypes.create_string_buffer(text.encode())
    end = ctypes.c_char_p()
    value = library.strtoul(buffer, ctypes.byref(end), base)
    rest = end.value
    assert rest is not None
    assert strtoul(text, base) == (value, rest.decode())
