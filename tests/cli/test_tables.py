"""The tables of all commands: every option of --help, from one source."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from procmem.cli import COMMANDS, pmap, ps, size
from procmem.cli.tables import IMITATIONS, all_pages, page_of, parser_of, subcommands

if TYPE_CHECKING:
    from procmem.view.manual import CommandPage
    from tests.support.commands import Run


@cache
def pages() -> dict[str, CommandPage]:
    return {page.name: page for page in all_pages()}


def test_every_command_has_one() -> None:
    assert list(pages()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_it_has_the_options_that_help_prints(
    name: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for page in (pages()[name], *pages()[name].below):
        out = run(*page.words, "--help").out
        head = out.partition("\nexamples:")[0].partition("\nexperiments:")[0]
        shown = set()
        for line in re.findall(r"^  (-\S.*?)(?:  |$)", head, re.M):
            shown |= set(re.findall(r"(?:^|, )(--?[\w-]+)", line))
        assert {flag for option in page.options for flag in option.flags} == shown
        for option in page.options:
            assert " ".join(option.help.split()) in " ".join(out.split())


def test_what_imitations_parse_is_what_their_tables_have() -> None:
    for module, hidden, takes in (
        (pmap, {"-r"}, ()),
        (size, {"-H"}, ("format", "radix", "target")),
    ):
        flags = {flag: metavar for names, metavar, _ in module.TABLE for flag in names}
        letters = re.findall(r"(\w)(:?)", module.SHORT)
        parsed = {f"-{letter}": bool(colon) for letter, colon in letters}
        assert parsed.keys() - flags.keys() == hidden
        # Options reads --color itself, for all of them.
        assert {f"--{name}" for name in (*module.LONG, "color")} == {
            f for f in flags if f[:2] == "--"
        }
        for name, word in module.LONG.items():
            takes_one = word in takes or parsed.get(f"-{word}", False)
            assert bool(flags[f"--{name}"]) == takes_one
    for names, _, _ in ps.TABLE:
        for flag in names:
            if flag not in ("--help", "-V", "--version", "--top"):
                words = [flag, "1"] if flag in ("-p", "--pid", "-q", "--quick-pid") else [flag]
                words += ["pid"] if flag in ("-o", "--format") else []
                words += ["never"] if flag == "--color" else []
                words += ["-e"] if "1" not in words and flag not in ("-e", "-A") else []
                ps.understand(words)


def test_values_are_offered_by_kind() -> None:
    maps = {flag: option for option in pages()["maps"].options for flag in option.flags}
    assert "heap" in maps["--kind"].choices
    assert maps["--kind"].metavar == "KIND"
    assert maps["--root"].completes == "dir"
    assert maps["--json"].metavar == ""
    assert pages()["maps"].operands[0].completes == "pid"
    assert pages()["maps"].operands[0].repeats
    assert [one.completes for one in pages()["grade"].operands] == ["lab", "dir"]
    formats = {flag: option for option in pages()["size"].options for flag in option.flags}
    values = [option.choices for option in pages()["size"].options if "--format" in option.flags]
    assert values[0] == ("sysv", "berkeley", "gnu")
    assert formats["-A"].metavar == ""
    assert pages()["size"].operands[0].completes == "file"


def test_subcommands() -> None:
    assert subcommands("lab") == ["list", "new", "check", "show"]
    assert [page.name for page in pages()["lab"].below] == [f"lab {w}" for w in subcommands("lab")]
    assert subcommands("experiment")[0] == "all"
    lazy = next(page for page in pages()["experiment"].below if page.words[1] == "lazy-allocation")
    assert "--pages" in {flag for option in lazy.options for flag in option.flags}
    assert subcommands("maps") == []
    for name in IMITATIONS:
        assert subcommands(name) == []
        with pytest.raises(LookupError, match=name):
            parser_of(name)


def test_a_word_of_the_command_line_cannot_ask_for_it(run: Run) -> None:
    """The kernel ends an argument at its first zero byte; and it is compared by identity."""
    ran = run("maps", f"--{chr(0)}describe")
    assert ran.status != 0
    assert "Traceback" not in ran.err


def test_usage_lines_are_whole() -> None:
    assert page_of("query").usage[0].startswith("procmem query [-h]")
    assert page_of("query").usage[0].endswith("PID ADDRESS [ADDRESS ...]")
    assert len(page_of("trace").usage) == 2
    assert page_of("pmap").usage == ("procmem pmap [OPTION]... PID...",)
