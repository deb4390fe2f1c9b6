"""Defaults of options from the user's configuration: TOML, a section for each command.

Read only if there is one; see config_path() in cli/arguments.py, and docs/configuration.md.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import sys
from typing import Any

from procmem.cli import COMMANDS
from procmem.view.columns import did_you_mean
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ConfigError", "load_config", "parse_with_config", "read_config"]

LARGEST = 1 << 20
"""Bytes. A longer file is none of ours."""

FOR_ALL = ("color", "units")
"""Names above the first section: defaults for each command that has the option."""

NEVER = ("help", "no-config", "force", "output", "root", "svg")
"""Options that say what one call does: no file may answer for them."""

TWOFOLD = argparse.BooleanOptionalAction
"""--malloc and --no-malloc: in the file, malloc = true or false."""

IMITATIONS = ("pmap", "ps", "size")


class ConfigError(Exception):
    """The configuration cannot be used; the message is one line that names the file."""


class Ignored(Exception):
    """The configuration is not this user's, and is not read; the message is the reason."""


class Preset:
    """Stands for the default of an option until the command line has been parsed.

    argparse copies a default before it appends to it: an option of the command line then starts
    from what the command itself has, not from what the configuration says.

    Attributes:
        plain: the command's own default.
        value: that of the configuration; or the same, if it says nothing.
    """

    def __init__(self, plain: Any, value: Any) -> None:
        self.plain = plain
        self.value = value

    def __copy__(self) -> list[Any]:
        return list(self.plain or [])


def parse_with_config(
    made: argparse.ArgumentParser,
    path: str,
    parse: Callable[[], tuple[argparse.Namespace, list[str]]],
    reworded: Callable[[str], str],
) -> tuple[argparse.Namespace, list[str], dict[str, str]]:
    """Parses a command line with the defaults of the configuration.

    Exits with status 2 if the configuration is wrong, unless the command line has --no-config.

    Args:
        made: the parser of the command.
        path: the configuration.
        parse: parses the command line; called once.
        reworded: rewords a message of argparse.

    Returns:
        What parse() returns, and the options whose defaults come from the configuration, each with
        its file and line.
    """
    problem = note = ""
    presets: list[tuple[argparse.Action, Preset, str]] = []
    try:
        data, text = read_config(path)
        for leaf in leaves(made):
            presets += presets_of(leaf, path, data, text, reworded)
    except ConfigError as error:
        problem = str(error)
    except Ignored as reason:
        note = str(reason)
    for action, preset, _ in presets:
        action.default = preset
    options, rest = parse()
    ignored = getattr(options, "no_config", False)
    if problem and not ignored:
        made.exit(2, f"{made.prog}: {problem} (--no-config ignores the file)\n")
    if note and not ignored:
        sys.stderr.write(f"{made.prog}: {note} (--no-config hides this)\n")
    given = [one for one, preset, _ in presets if getattr(options, one.dest, preset) is not preset]
    configured = {}
    for action, preset, where in presets:
        excluded = any(action in group and one in group for one in given for group in groups(made))
        use = not (ignored or excluded)
        action.default = preset.value if use else preset.plain
        if getattr(options, action.dest, None) is preset:
            setattr(options, action.dest, action.default)
            if use and where:
                name = max(action.option_strings, key=len).lstrip("-")
                configured[name] = where
    return options, rest, configured


def groups(made: argparse.ArgumentParser) -> list[list[argparse.Action]]:
    """The options that exclude each other."""
    found = made._mutually_exclusive_groups  # noqa: SLF001 - argparse offers no list of them
    listed = [group._group_actions for group in found]  # noqa: SLF001
    # --json is short for --format json: one on the command line replaces either of the file.
    both = [one for one in made._actions if one.dest in ("json", "format")]  # noqa: SLF001 - as below
    return [*listed, both]


def leaves(made: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parser, and those of its subcommands."""
    found = [made]
    for action in made._actions:  # noqa: SLF001 - argparse offers no list of what was added
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            found += action.choices.values()
    return found


# ---- the file ----------------------------------------------------------------------------


def load_config(path: str) -> bytes:
    """The bytes of the configuration.

    It must belong to the effective user or to root, and nobody else may be able to write to it:
    otherwise another user decides what a command does.

    Raises:
        ConfigError: it cannot be read.
        Ignored: it belongs to another user, or others can write to it.
    """
    chosen = "PROCMEM_CONFIG" in os.environ
    try:
        # Opening a FIFO would wait for its writer.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise ConfigError(f"{printable(path)}: {error.strerror}") from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{printable(path)}: not an ordinary file")
        reason = ""
        if found.st_uid not in (0, os.geteuid()):
            reason = f"belongs to another user (UID {found.st_uid})"
        elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            reason = "can be written by others (chmod go-w makes it yours alone)"
        elif os.geteuid() != os.getuid():
            reason = "is not read by a set-user-ID program"
        if reason:
            said = f"{printable(path)} {reason} and is not read"
            raise ConfigError(said) if chosen else Ignored(said)
        data = os.read(file, LARGEST + 1)
    finally:
        os.close(file)
    if len(data) > LARGEST:
        raise ConfigError(f"{printable(path)}: longer than {LARGEST >> 20} MiB")
    return data


def read_config(path: str) -> tuple[dict[str, Any], str]:
    """The configuration and its text, with the names of sections checked.

    Raises:
        ConfigError: it cannot be read, is not TOML, or has a section of no command.
        Ignored: see load_config().
    """
    raw = load_config(path)
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        text = raw.decode()
        data: dict[str, Any] = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{printable(path)}:{line}: not UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{printable(path)}: nested too deeply") from None
    except ValueError as error:
        found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        said = str(error)[: found.start()] if found else str(error)
        line_of_it = f":{found[1]}" if found else ""
        raise ConfigError(f"{printable(path)}{line_of_it}: {printable(said)}") from None
    readers = [name for name in COMMANDS if name not in IMITATIONS]
    for name, value in data.items():
        where = place(path, text, (), name)
        if isinstance(value, dict):
            if name in IMITATIONS:
                raise ConfigError(f"{where}: {name} reads no configuration, as the original tool")
            if name not in COMMANDS:
                raise ConfigError(
                    f"{where}: there is no command {name!a}{did_you_mean(name, readers)}"
                )
        elif name not in FOR_ALL:
            raise ConfigError(
                f"{where}: {name!a} stands above the first section, where only "
                f"{' and '.join(FOR_ALL)} may{did_you_mean(name, FOR_ALL)}; put it below "
                f"[COMMAND]"
            )
    return data, text


def place(path: str, text: str, section: tuple[str, ...], name: str) -> str:
    """The file, and the line that a name is in, if that is found."""
    inside: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split("#")[0].strip()
        if words.startswith("["):
            inside = [part.strip(" \"'") for part in words.strip("[] ").split(".")]
            if inside == [*section, name]:
                return f"{printable(path)}:{number}"
        elif inside == list(section):
            key = words.partition("=")[0].strip(" \"'")
            if "=" in words and name in (key, key.partition(".")[0]):
                return f"{printable(path)}:{number}"
    return printable(path)


# ---- values ------------------------------------------------------------------------------


def presets_of(
    made: argparse.ArgumentParser,
    path: str,
    data: Mapping[str, Any],
    text: str,
    reworded: Callable[[str], str],
) -> list[tuple[argparse.Action, Preset, str]]:
    """The options whose defaults the configuration sets, and those that exclude them.

    Raises:
        ConfigError: a name or a value is wrong.
    """
    section = tuple(made.prog.split()[1:])
    own: Any = data
    for word in section:
        own = own.get(word, {}) if isinstance(own, dict) else {}
    below = [leaf.prog.split()[-1] for leaf in leaves(made)[1:]]
    if section == ("experiment",):
        from procmem.experiments.ready.story import EXPERIMENTS

        below = ["all", *EXPERIMENTS]
    actions = {
        flag[2:]: action
        for action in made._actions  # noqa: SLF001 - as above
        for flag in action.option_strings
        if flag.startswith("--") and not (isinstance(action, TWOFOLD) and flag[:5] == "--no-")
    }
    names = [name for name in actions if name not in NEVER]
    chosen: dict[str, tuple[Any, str]] = {
        name: (data[name], place(path, text, (), name))
        for name in FOR_ALL
        if name in data and name in actions
    }
    for name, value in own.items():
        where = place(path, text, section, name)
        if isinstance(value, dict):
            if name not in below:
                what = f"{' '.join(section)} has no subcommand {name!a}"
                raise ConfigError(f"{where}: {what}{did_you_mean(name, below)}")
            continue
        if name in NEVER and name in actions:
            raise ConfigError(f"{where}: --{name} can only be given on the command line")
        if name not in names:
            raise ConfigError(
                f"{where}: {' '.join(section)} has no option {name!a}{did_you_mean(name, names)}"
            )
        chosen[name] = value, where
    found = {}
    for name, (value, where) in chosen.items():
        action = actions[name]
        try:
            converted = value_for(made, action, name, value)
        except argparse.ArgumentError as error:
            raise ConfigError(f"{where}: {reworded(str(error))}") from None
        found[id(action)] = (action, Preset(action.default, converted), where)
    for group in groups(made):
        for action in group:
            if any(id(one) in found for one in group) and id(action) not in found:
                found[id(action)] = (action, Preset(action.default, action.default), "")
    return list(found.values())


def value_for(made: argparse.ArgumentParser, action: argparse.Action, name: str, value: Any) -> Any:
    """A value as the option's parser would make it of a word.

    Raises:
        argparse.ArgumentError: it is not one.
    """

    def refuse(expected: str) -> argparse.ArgumentError:
        shown = str(value).lower() if isinstance(value, bool) else ascii(value)
        return argparse.ArgumentError(None, f"{name}: expected {expected}, not {shown}")

    if action.nargs == 0:
        if not isinstance(value, bool):
            raise refuse("true or false")
        return value
    several = isinstance(action, argparse._AppendAction)  # noqa: SLF001 - it has no other name
    words = value if several and isinstance(value, list) else [value]
    if not all(isinstance(word, (str, int, float)) for word in words) or any(
        isinstance(word, bool) for word in words
    ):
        raise refuse("text or a number" + (", or a list of them" if several else ""))
    made_of = []
    for word in words:
        one = made._get_value(action, str(word))  # noqa: SLF001 - what argparse does with words
        made._check_value(action, one)  # noqa: SLF001
        made_of.append(one)
    return made_of if several else made_of[0]
