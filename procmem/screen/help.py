"""The help of the screen."""

from __future__ import annotations

from procmem.screen.tables import TextPiece, TextRows
from procmem.view.columns import wrapped

__all__ = ["help_rows"]

KEYS = (
    ("Processes", ()),
    ("Enter, click twice", "open the selected process or group"),
    ("s, S, click a title", "sort by the next or previous column, or by that column"),
    ("/", "show only what has a text in its PID, user, name or command line"),
    ("g, G", "group by command, user, cgroup, service, tree; the next or previous of them"),
    ("m", "what the machine's memory is used for, and which processes were not read"),
    ("A process", ()),
    ("1 to 5, Tab", "uses of its memory, map of its addresses, changes, threads, heap"),
    ("Enter", "on a use: its regions in the map"),
    ("/", "show only regions with a text, or the region at an address (hexadecimal)"),
    ("R", "read the heap in full now"),
    ("Time", ()),
    ("Space", "pause, and go on; a replay is played"),
    ("left, right", "what was kept before, or after"),
    ("[, ]", "the first that is kept; the last, live"),
    ("+, -", "a replay faster or slower"),
    ("Everywhere", ()),
    ("arrows, page keys, Home, End, wheel, j, k", "move"),
    ("u", "the next unit: KiB, MiB, GiB, human"),
    ("Esc, Backspace", "back"),
    ("?, h, F1", "this help"),
    ("Ctrl-Z", "suspend"),
    ("q, Ctrl-C", "quit"),
)

FIGURES = """\
RSS: what is in memory; pages that several processes map count in each. PSS: the same, each page \
divided by the number of its mappings. USS: what only this process maps. Frees: what ending it \
would free at least (+).
Change: of RSS since the first reading of Trend. Trend: RSS in the last 12 readings, from the \
least to the largest of them. Age: how old a reading is, if the CPU share delays it.
Reading and drawing stay within the CPU share (--share). The first reading is made at once, and \
later ones wait for it. Up to 64 MiB of readings are kept, and as much of an open process; then \
the oldest are dropped.
?: a guess. -: not read, or not shown to this user.
"""


def help_rows(width: int) -> TextRows:
    """The keys, and what the figures mean."""
    lines: list[str | TextPiece] = []
    for key, what in KEYS:
        if not what:
            lines += ["", TextPiece(key, "bold")] if lines else [TextPiece(key, "bold")]
            continue
        room = max(width - 24, 16)
        first, *rest = wrapped(str(what), room)
        if len(key) > 20:
            lines += [f"  {key}", " " * 24 + first]
        else:
            lines.append(f"  {key:<20}  {first}")
        lines += [" " * 24 + line for line in rest]
    lines += ["", TextPiece("Figures", "bold")]
    for text in FIGURES.splitlines():
        lines += [f"  {line}" for line in wrapped(text, max(width - 2, 16))]
    return TextRows(lines)
