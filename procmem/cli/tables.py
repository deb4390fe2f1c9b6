"""The option tables of all commands as plain data, for completion and manual pages.

They are those that the commands parse with: a command that is called with DESCRIBE as its last
argument hands over its parser. pmap, ps and size, which parse as the tools that they imitate, have
tables of lines.
"""

from __future__ import annotations

import argparse
import re
from typing import Any

from procmem.cli import COMMANDS, command
from procmem.cli.arguments import DESCRIBE, Described, Parser
from procmem.cli.examples import EXAMPLES
from procmem.view.manual import CommandPage, ManualOption, Operand

__all__ = ["all_pages", "page_of", "parser_of", "subcommands"]

IMITATIONS = ("pmap", "ps", "size")
"""Commands that parse as another tool, and have its options."""

KINDS = {
    "PID": "pid",
    "PATH|PID": "pid",
    "PID|FILE": "pid",
    "FILE": "file",
    "PATH": "file",
    "DIR": "dir",
    "SUBMISSIONS": "dir",
    "RESULTS": "dir",
    "LAB": "lab",
    "USER": "user",
    "GROUP": "group",
    "COMMAND": "command",
}
"""What a shell offers for a value, by its metavar."""

OWN_KINDS = {
    ("lab new", "NAME"): "lab",
    ("lab check", "DIR"): "dir",
    ("lab show", "NAME"): "lab",
    ("exporter", "NAME"): "name",
    ("gather", "NAME"): "name",
}
"""The same, for one command."""


def subcommands(name: str) -> list[str]:
    """The words that make commands of their own behind `procmem NAME`."""
    if name == "experiment":
        from procmem.experiments.ready.story import EXPERIMENTS

        return ["all", *EXPERIMENTS]
    if name in IMITATIONS:
        return []
    return list(choices_of(parser_of(name)))


def choices_of(made: Parser) -> dict[str, Parser]:
    """The parsers of the subcommands of a parser."""
    for action in actions_of(made):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no other name for it
            return dict(action.choices)
    return {}


def actions_of(made: argparse.ArgumentParser) -> list[Any]:
    return made._actions  # noqa: SLF001 - argparse offers no list of what was added


def parser_of(*words: str) -> Parser:
    """The parser of a command that has one: not of pmap, ps and size.

    Args:
        words: the command, and its subcommand.

    Raises:
        LookupError: the command parses as another tool does.
    """
    if words[0] in IMITATIONS:
        raise LookupError(words[0])
    try:
        command(words[0])([*words[1:], DESCRIBE] if words[0] == "experiment" else [DESCRIBE])
    except Described as described:
        made = described.parser
    return choices_of(made)[words[1]] if len(words) > 1 and choices_of(made) else made


def all_pages() -> list[CommandPage]:
    """All commands."""
    return [page_of(name) for name in COMMANDS]


def page_of(name: str) -> CommandPage:
    """What a command takes, with its subcommands."""
    if name in IMITATIONS:
        return imitation_page(name)
    below = tuple(page_from((name, word), parser_of(name, word)) for word in subcommands(name))
    return page_from((name,), parser_of(name), below)


def page_from(
    words: tuple[str, ...], made: Parser, below: tuple[CommandPage, ...] = ()
) -> CommandPage:
    """What an argparse parser takes."""
    page = " ".join(words)
    options, operands = [], []
    for action in actions_of(made):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            says = "what to do"
            operands.append(Operand("COMMAND", says, tuple(action.choices)))
        elif action.help is argparse.SUPPRESS and action.option_strings:
            continue
        elif action.option_strings:
            options.append(option_from(page, action))
        else:
            says = "" if action.help in (None, argparse.SUPPRESS) else plain(action)
            metavar = action.metavar or action.dest.upper()
            operands.append(
                Operand(
                    metavar,
                    says,
                    tuple(map(str, action.choices or ())),
                    kind_of(page, metavar),
                    action.nargs in ("+", "*", argparse.REMAINDER),
                )
            )
    if page == "experiment":
        operands.append(Operand("NAME", "an experiment", tuple(subcommands("experiment"))))
    usage = re.sub(r"\s+", " ", made.format_usage().removeprefix("usage: ").replace("\n", "\x00"))
    lines = tuple(
        f"procmem {part.strip()}"
        for part in re.split(r"(?:^|\s)procmem (?=\S)", usage.replace("\x00", " "))
        if part.strip()
    )
    return CommandPage(
        words,
        COMMANDS[page] if page in COMMANDS else first_line(made.description or ""),
        lines,
        made.description or "",
        tuple(options),
        tuple(operands),
        made.epilog or "",
        EXAMPLES.get(page, ()),
        below,
    )


def first_line(text: str) -> str:
    return re.split(r"\.(?:\s|$)|\n\n", text.strip())[0].replace("\n", " ")


def plain(action: Any) -> str:
    """The help of an action as --help prints it."""
    return argparse.HelpFormatter("")._expand_help(action)  # noqa: SLF001 - as --help does


def option_from(page: str, action: Any) -> ManualOption:
    takes = action.nargs != 0
    metavar = action.metavar or (action.dest.upper().replace("_", "-") if takes else "")
    if takes and action.choices and not action.metavar:
        metavar = "|".join(map(str, action.choices))
    if not takes:
        metavar = ""
    return ManualOption(
        tuple(action.option_strings),
        metavar,
        plain(action) if action.help else "",
        tuple(map(str, action.choices or ())) if takes else (),
        kind_of(page, metavar) if metavar else "",
    )


def kind_of(page: str, metavar: str) -> str:
    return OWN_KINDS.get((page, metavar), KINDS.get(metavar, ""))


def imitation_page(name: str) -> CommandPage:
    """What pmap, ps or size takes."""
    from importlib import import_module

    module = import_module(f"procmem.cli.{name}")
    usage, description, _ = module.HEAD.split("\n\n")
    what = "FILE" if name == "size" else "PID"
    options = [
        ManualOption(
            names,
            metavar,
            says,
            tuple(metavar.split("|")) if "|" in metavar else (),
            {"FILE": "file", "PIDS": "pid"}.get(metavar, ""),
        )
        for names, metavar, says in module.TABLE
    ]
    return CommandPage(
        (name,),
        COMMANDS[name],
        (usage.removeprefix("usage: "),),
        description.replace("\n", " "),
        tuple(options),
        (Operand(what, IMITATED[what], (), KINDS[what], repeats=True),),
        module.notes() if name == "ps" else module.NOTES,
        EXAMPLES.get(name, ()),
    )


IMITATED = {
    "PID": "a process ID",
    "FILE": "an ELF file or an archive; @FILE: read arguments from FILE",
}
