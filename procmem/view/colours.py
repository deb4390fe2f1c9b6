"""Colours of a terminal in tables; none unless a command has switched them on.

Colour only repeats what a word, a letter or a sign says, so that nothing is lost without it.
"""

from __future__ import annotations

from functools import cache
from itertools import groupby

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from procmem.picture.palette import Tone

__all__ = [
    "TRUECOLOR",
    "by_kind",
    "by_letter",
    "by_use",
    "by_word",
    "faint",
    "has_colours",
    "painted",
    "show_colours",
    "without_colours",
]

TRUECOLOR = 1 << 24
"""Colours of a terminal with 24 bits for each."""

_number = 0


def show_colours(number: int) -> None:
    """Sets how many colours the output has: 0 (none), 256, or TRUECOLOR."""
    global _number  # noqa: PLW0603 - of the whole process, as its output is
    _number = number
    start_of.cache_clear()


def has_colours() -> bool:
    """Whether the output has colours; see show_colours()."""
    return _number > 0


def painted(text: str, one: Tone) -> str:
    """A text in a tone; as it is if the output has no colours."""
    if not _number or not text:
        return text
    from procmem.picture.palette import escape_sequence

    return f"{escape_sequence(one, truecolor=_number == TRUECOLOR)}{text}{RESET}"


RESET = "\x1b[0m"


def without_colours(text: str) -> str:
    r"""The text as it is without colours.

    >>> without_colours("a \x1b[38;5;31mword\x1b[0m")
    'a word'
    """
    if "\x1b" not in text:
        return text
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@cache
def start_of(name: str) -> str:
    """The escape sequence for a kind or a use; a table has few of them in thousands of rows."""
    from procmem.picture.palette import escape_sequence, tone

    return escape_sequence(tone(name), truecolor=_number == TRUECOLOR)


def by_kind(text: str, whole: str) -> str:
    """A cell with kinds or uses, in the tone of the first.

    Args:
        text: what is shown of the cell.
        whole: the cell before it was cut.
    """
    if not _number or not text:
        return text
    return f"{start_of(whole.partition(', ')[0])}{text}{RESET}"


SAME = {
    "anonymous": "anon",
    "anonymous memory": "anon",
    "page cache of files": "file",
    "page cache that no process maps": "file",
    "shared memory, tmpfs": "shared memory",
}
"""Words of tables for what has a kind."""


def by_use(text: str, whole: str) -> str:
    """A cell with a name of memory, in the tone of its kind or use; names of files have none.

    Args:
        text: what is shown of the cell.
        whole: the cell before it was cut.
    """
    from procmem.picture.palette import is_known

    name = SAME.get(whole, whole)
    return by_kind(text, name) if _number and is_known(name) else text


def by_word(tones: Mapping[str, str]) -> Callable[[str, str], str]:
    """What paints cells that consist of certain words.

    Args:
        tones: the name of a verdict's tone ("good", "bad" ...) for each word.
    """

    def paint(text: str, whole: str) -> str:
        from procmem.picture.palette import VERDICT_TONES

        name = tones.get(whole)
        return text if name is None else painted(text, VERDICT_TONES[name])

    return paint


def by_letter(tones: Mapping[str, Tone]) -> Callable[[str, str], str]:
    """What paints cells that are pictures made of letters, such as rows of pages.

    Args:
        tones: the tone of each letter; others stay as they are.
    """

    def paint(text: str, whole: str) -> str:
        del whole
        if not _number:
            return text
        runs = ((letter, "".join(run)) for letter, run in groupby(text))
        return "".join(
            painted(run, tones[letter]) if letter in tones else run for letter, run in runs
        )

    return paint


def faint(text: str) -> str:
    """A note that few need, in grey."""
    if not _number:
        return text
    from procmem.picture.palette import VERDICT_TONES

    return "\n".join(painted(line, VERDICT_TONES["faint"]) for line in text.split("\n"))
