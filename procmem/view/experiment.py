"""Experiments as text."""

from __future__ import annotations

from itertools import groupby
from textwrap import wrap

from procmem.units import comparable
from procmem.view.colours import by_word
from procmem.view.columns import Column, columns, fitted, pairs
from procmem.view.names import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from procmem.experiments.ready.story import Story, StoryTable, Told
    from procmem.experiments.specimen.step import Delta

__all__ = ["experiment_list", "story_text", "verdict_text"]

FIGURES = {
    "vsz": "VSZ",
    "rss": "RSS",
    "swap": "Swap",
    "hugetlb": "Hugetlb",
    "locked": "Locked",
    "page_tables": "Tables",
    "minor": "Minor",
    "major": "Major",
    "regions": "Regions",
}
COUNTS = ("minor", "major", "regions")
JUDGED = {True: "yes", False: "NO", None: "not judged"}
verdict = by_word({"yes": "good", "NO": "bad", "not judged": "warning"})
"""Colours the last column."""

NARROWEST = 18
"""The least width of a label."""

SIGNALS = {4: "SIGILL", 5: "SIGTRAP", 7: "SIGBUS", 8: "SIGFPE", 11: "SIGSEGV"}
CODES = {
    (11, 1): "SEGV_MAPERR",
    (11, 2): "SEGV_ACCERR",
    (11, 128): "SI_KERNEL",
    (7, 2): "BUS_ADRERR",
}


def story_text(story: Story, width: int = 80) -> str:
    """The steps of an experiment: what was done, what changed, and why.

    Args:
        story: the experiment's story.
        width: cells per line.
    """
    width = max(50, min(width, 120))
    text = "\n".join(wrap(f"{story.name}: {story.question}", width)) + "\n"
    if story.skipped:
        return text + "\n" + folded(f"not possible here: {story.skipped}", width, 2)
    numbered = list(enumerate(story.told, start=1))
    for form, group in groupby(numbered, key=lambda pair: form_of(pair[1])):
        text += "\n" + form(list(group), width)
    for table in story.tables:
        text += "\n" + table_text(table, width)
    text += "\n" + verdict_text([story])
    if story.disturbed:
        text += folded(
            f"Repeated, because of a disturbance at first: {'; '.join(story.disturbed)}.", width, 0
        )
    return text


def form_of(told: Told) -> Callable[[Sequence[tuple[int, Told]], int], str]:
    if told.impossible:
        return impossible_text
    return steps_text if told.step else claims_text


def impossible_text(told: Sequence[tuple[int, Told]], width: int) -> str:
    return "".join(
        folded(f"{number}  {one.label}: not possible here: {printable(one.impossible)}", width, 0)
        for number, one in told
    )


def steps_text(told: Sequence[tuple[int, Told]], width: int) -> str:
    deltas = [one.step.delta for _, one in told if one.step]
    shown = [name for name in FIGURES if any(getattr(delta, name) for delta in deltas)]
    shown = shown or ["vsz", "rss"]
    heading = ["", "Step", *(FIGURES[name] for name in shown), "Agrees"]
    rows = [
        [
            str(number),
            one.label,
            *(change(one.step.delta, name) for name in shown if one.step),
            JUDGED[one.agrees],
        ]
        for number, one in told
    ]
    others = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    if sum(others) - others[1] + 2 * len(others[1:]) + NARROWEST > width and len(told) > 1:
        # Fewer figures move in each half.
        half = len(told) // 2
        return steps_text(told[:half], width) + "\n" + steps_text(told[half:], width)
    return with_notes(heading, rows, told, "><" + ">" * len(shown) + "<", width)


def claims_text(told: Sequence[tuple[int, Told]], width: int) -> str:
    rows = [
        [
            str(number),
            one.label,
            value_text(one.claim.expected, one.claim.unit) if one.claim else "-",
            value_text(one.claim.seen, one.claim.unit) if one.claim else "-",
            JUDGED[one.agrees],
        ]
        for number, one in told
    ]
    return with_notes(["", "Claim", "Expected", "Seen", "Holds"], rows, told, "><>><", width)


def with_notes(
    heading: Sequence[str],
    rows: Sequence[Sequence[str]],
    told: Sequence[tuple[int, Told]],
    align: str,
    width: int,
) -> str:
    """A table with an explanation below each row; long labels are wrapped."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    others = sum(widths) - widths[1] + 2 * (len(widths) - 1)
    room = max(NARROWEST, width - others)
    labels = [wrap(row[1], room) or [""] for row in rows]
    short = [[row[0], said[-1], *row[2:]] for row, said in zip(rows, labels, strict=True)]
    made = [Column("", title, way) for title, way in zip(heading, align, strict=True)]
    made[-1] = made[-1]._replace(paint=verdict)
    head, rule, *lines = fitted(made, short).splitlines()
    indent = rule.index(" ") + 2
    text = f"{head}\n{rule}\n"
    for (_, one), said, line in zip(told, labels, lines, strict=True):
        first = [*said[:-1], line[indent:]]
        text += line[:indent] + ("\n" + " " * indent).join(first) + "\n"
        for note in notes(one):
            text += folded(note, width, indent + 2)
    return text


def notes(told: Told) -> Iterable[str]:
    """The notes below a line."""
    step = told.step
    if step is None:
        if told.claim is not None and told.claim.reason:
            yield told.claim.reason
        if told.teaches:
            yield told.teaches
        return
    if step.fault is not None:
        yield fault_text(step.fault.signal, step.fault.code, step.fault.address)
    if step.reason is not None:
        yield step.reason
    if step.exact and not step.agrees:
        yield "; ".join(f"{name}: {difference(step, name)}" for name in step.differences)
    if said := " ".join(part for part in (step.why, told.teaches) if part):
        yield said


def difference(step: object, name: str) -> str:
    if name == "fault":
        seen = getattr(step, "fault", None)
        meant = getattr(step, "predicted_fault", None)
        return (
            f"predicted {fault_text(*meant) if meant else 'none'}, seen "
            f"{fault_text(seen.signal, seen.code, seen.address) if seen else 'none'}"
        )
    predicted, measured = (change(getattr(step, which), name) for which in ("predicted", "delta"))
    return f"predicted {predicted}, measured {measured}"


def fault_text(signal: int, code: int, address: int) -> str:
    """A signal as sigaction(2) names it.

    >>> fault_text(11, 1, 0)
    'SIGSEGV (SEGV_MAPERR) at 0x0'
    """
    name = SIGNALS.get(signal, f"signal {signal}")
    return f"{name} ({CODES.get((signal, code), f'code {code}')}) at {address:#x}"


def change(delta: Delta, name: str) -> str:
    value = getattr(delta, name)
    if value is None:
        return "-"
    if not value:
        return "0"
    return f"{value:+,}" if name in COUNTS else f"{'+' if value > 0 else ''}{comparable(value)}"


def value_text(value: object, unit: str = "") -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return comparable(value) if unit == "bytes" else f"{value:,}"
    return printable(str(value))


def table_text(table: StoryTable, width: int) -> str:
    rows = [[value_text(value) for value in row] for row in table.rows]
    numeric = [
        all(not isinstance(row[column], str) for row in table.rows)
        for column in range(len(table.heading))
    ]
    text = folded(table.title, width, 0) + columns(
        table.heading, rows, "".join("<>"[is_number] for is_number in numeric)
    )
    return text + "".join(folded(note, width, 0) for note in table.notes)


def folded(text: str, width: int, indent: int) -> str:
    return "".join(f"{' ' * indent}{line}\n" for line in wrap(text, width - indent))


def verdict_text(stories: Sequence[Story]) -> str:
    """How many figures agreed, in a line or two."""
    agreed, total = sum(s.agreed for s in stories), sum(s.total for s in stories)
    text = f"{agreed} of {total} as predicted.\n"
    if not_judged := sum(s.not_judged for s in stories):
        text += f"Not judged, because it cannot be exact here: {not_judged} (see above).\n"
    left_out = sum(bool(one.impossible) for s in stories for one in s.told)
    skipped = [s.name for s in stories if s.skipped]
    if left_out:
        text += f"Not possible here: {left_out} (see above).\n"
    if skipped:
        text += f"Not possible here at all: {', '.join(skipped)}.\n"
    return text


def experiment_list(experiments: Mapping[str, str], screen: int | None = None) -> str:
    """The names of the experiments, with a description of each.

    Args:
        experiments: descriptions by name.
        screen: cells per line; None: as many as needed.
    """
    return pairs(((f"  {name}", line) for name, line in experiments.items()), screen)
