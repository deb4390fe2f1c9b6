"""What a command takes, as plain data; its manual page.

The same data make the completion of shells (view/completion.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["CommandPage", "ManualOption", "Operand", "command_manual", "overview_manual"]


@dataclass(frozen=True)
class Operand:
    """An argument without a dash.

    Attributes:
        metavar: what stands for it in usage lines, such as "PID".
        help: what it is.
        choices: all words that may stand there; empty if others may.
        completes: what a shell offers: "pid" (PIDs, names of processes, files), "file", "dir",
            "lab" (names of labs and directories), "command" (a program), "group", "user", "name"
            (of processes), or "" for nothing.
        repeats: whether several may follow.
    """

    metavar: str
    help: str
    choices: tuple[str, ...] = ()
    completes: str = ""
    repeats: bool = False


@dataclass(frozen=True)
class ManualOption:
    """An option of a command.

    Attributes:
        flags: its names with their dashes, such as ("-p", "--show-path").
        metavar: what stands for its value; "" if it takes none.
        help, choices, completes: as of Operand; of the value.
    """

    flags: tuple[str, ...]
    metavar: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()
    completes: str = ""


@dataclass(frozen=True)
class CommandPage:
    """A command, or one of its subcommands such as "lab check".

    Attributes:
        words: its words behind `procmem`.
        summary: one line.
        usage: the lines of its usage, without "usage:".
        description: a paragraph or several.
        options, operands: what it takes, in the order of --help.
        notes: what --help says below the options.
        examples: command lines, each with what it does.
        below: subcommands.
    """

    words: tuple[str, ...]
    summary: str
    usage: tuple[str, ...]
    description: str
    options: tuple[ManualOption, ...] = ()
    operands: tuple[Operand, ...] = ()
    notes: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    below: tuple[CommandPage, ...] = field(default=())

    @property
    def name(self) -> str:
        """Its words, joined: "lab check"."""
        return " ".join(self.words)


# ---- manual pages: man(7) ----------------------------------------------------------


def command_manual(page: CommandPage, version: str, date: str) -> str:
    """The manual page of a command, in the macros of man(7).

    Args:
        page: the command.
        version: of procmem.
        date: YYYY-MM-DD.
    """
    name = f"procmem-{page.name.replace(' ', '-')}"
    lines = [*heading(name, page.summary, version, date)]
    lines += [".SH SYNOPSIS", ".nh"]
    usages = [" ".join(line.split()) for one in (page, *page.below) for line in one.usage]
    for number, line in enumerate(dict.fromkeys(usages)):
        lines += [*([".br"] if number else []), roff_text(line)]
    lines += [".hy", ".SH DESCRIPTION", *roff_paragraphs(page.description)]
    lines += taken(page, ".SH")
    for one in page.below:
        lines += [f'.SH "{roff_text(one.name.upper())}"', *roff_paragraphs(one.description)]
        lines += taken(one, ".SS")
    if page.notes:
        lines += [".SH NOTES", *roff_paragraphs(page.notes)]
    lines += examples(page.examples)
    lines += files()
    lines += [".SH SEE ALSO", ".BR procmem (1)"]
    return "\n".join(lines) + "\n"


def overview_manual(
    commands: Mapping[str, str],
    statuses: Sequence[tuple[str, str]],
    version: str,
    date: str,
) -> str:
    """The page procmem(1).

    Args:
        commands: each with one line.
        statuses: exit statuses, and what they mean.
        version: of procmem.
        date: YYYY-MM-DD.
    """
    what = "show, measure and explain the memory of live Linux processes"
    lines = [*heading("procmem", what, version, date), ".SH SYNOPSIS", ".nf"]
    usage = ("procmem COMMAND [ARGUMENTS]", "procmem COMMAND --help", "procmem --version")
    lines += [*map(roff_text, usage), ".fi", ".SH DESCRIPTION"]
    lines += roff_paragraphs(
        "Every number comes from the kernel. What could not be read is an error or is left out, "
        "never 0. Each command has a page of its own, such as procmem-maps(1)."
    )
    lines += [".SH COMMANDS"]
    for name, says in commands.items():
        lines += [".TP", f".BR procmem\\-{roff_text(name)} (1)", roff_text(says)]
    lines += [".SH EXIT STATUS"]
    for status, says in statuses:
        lines += [".TP", f".B {roff_text(status)}", roff_text(says)]
    lines += [*files(), ".SH SEE ALSO", ".BR pmap (1),", ".BR size (1),", ".BR proc (5)"]
    return "\n".join(lines) + "\n"


def heading(name: str, summary: str, version: str, date: str) -> list[str]:
    return [
        f'.TH "{roff_text(name.upper())}" 1 "{date}" "procmem {version}" "procmem"',
        ".SH NAME",
        rf"{roff_text(name)} \- {roff_text(summary)}",
    ]


def taken(page: CommandPage, macro: str) -> list[str]:
    """The operands and options of a page."""
    lines = []
    if page.operands:
        lines.append(f"{macro} {'ARGUMENTS' if macro == '.SH' else 'Arguments'}")
        for one in page.operands:
            lines += [".TP", rf"\fI{roff_text(one.metavar)}\fR", *roff_paragraphs(one.help)]
    if page.options:
        lines.append(f"{macro} {'OPTIONS' if macro == '.SH' else 'Options'}")
        for option in page.options:
            flags = ", ".join(rf"\fB{roff_text(flag)}\fR" for flag in option.flags)
            value = rf" \fI{roff_text(option.metavar)}\fR" if option.metavar else ""
            lines += [".TP", flags + value, *roff_paragraphs(option.help)]
    return lines


def examples(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [".SH EXAMPLES"]
    for command, says in rows:
        lines += [".TP", rf"\fB{roff_text(command)}\fR", *roff_paragraphs(says)]
    return lines if len(lines) > 1 else []


def files() -> list[str]:
    return [
        ".SH FILES",
        ".TP",
        r"\fI$XDG_CONFIG_HOME/procmem/config.toml\fR, \fI~/.config/procmem/config.toml\fR",
        *roff_paragraphs(
            "Defaults of options. PROCMEM_CONFIG names another file, --no-config ignores it. pmap, "
            "ps and size do not read it."
        ),
    ]


def roff_paragraphs(text: str) -> list[str]:
    """Paragraphs; lines that start with a blank stay as they are."""
    lines: list[str] = []
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        if not part.strip():
            continue
        if lines:
            lines.append(".sp")
        rows = part.split("\n")
        if any(row.startswith(" ") for row in rows):
            lines += [".nf", *(roff_text(row) or r"\&" for row in rows), ".fi"]
        else:
            lines += [roff_text(row.strip()) for row in rows]
    return lines


def roff_text(text: str) -> str:
    """Text with what troff would take for its own escaped, in ASCII."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    text = text.replace('"', r"\(dq").replace("^", r"\(ha").replace("~", r"\(ti")
    text = text.replace("`", r"\(ga")
    text = "".join(c if ord(c) < 128 else rf"\[u{ord(c):04X}]" for c in text)
    return rf"\&{text}" if text.startswith((".", r"\(aq")) else text
