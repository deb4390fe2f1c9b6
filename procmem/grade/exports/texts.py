"""A grade for people to read: text for a terminal, Markdown, or an HTML page."""

from __future__ import annotations

import re
from html import escape
from textwrap import wrap

from procmem.grade.exports.pictures import (
    TITLE,
    pictures_html,
    pictures_markdown,
    pictures_style,
)
from procmem.grade.exports.shown import (
    amount,
    build_failed,
    clean,
    left_to_do,
    line,
    notes,
    rows,
    standing,
    verdict,
)
from procmem.grade.results import Status
from procmem.view.colours import by_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from procmem.grade.exports.shown import CheckRow
    from procmem.grade.results import Grade

__all__ = ["html", "is_report", "markdown", "text"]

SIGNS = {
    Status.PASSED: "ok",
    Status.FAILED: "NO",
    Status.PARTLY: "part",
    Status.MISSED: "-",
    Status.NOT_POSSIBLE: "n/a",
    Status.ERROR: "?",
}

judged = by_word({"ok": "good", "NO": "bad", "part": "warning", "n/a": "faint", "?": "warning"})
"""Colours a sign, on a terminal."""


def text(grade: Grade, width: int = 80) -> str:
    """The grade as a table of checks; below a check that did not pass, what was seen and why.

    Args:
        grade: the grade.
        width: the width of the text in columns; at least 50 and at most 120 are used.
    """
    width = max(50, min(width, 120))
    told = rows(grade)
    worth = max([len(row.worth) for row in told] + [len("Points")])
    room = width - 6 - 2 - worth
    lines = [f"{'':4}  {'Check':<{room}}  {'Points':>{worth}}".rstrip()]
    lines.append(f"{'-' * 4}  {'-' * room}  {'-' * worth}")
    for row in told:
        first, *more = wrap(row.title, room) or [row.name]
        sign = SIGNS[row.status]
        painted = judged(sign, sign) + " " * (4 - len(sign))
        lines.append(f"{painted}  {first:<{room}}  {row.worth:>{worth}}")
        lines += [f"{'':6}{part}" for part in more]
        for label, found in row.details:
            lines += labelled("" if found is row.message else label, found, width)
    said = [*build_lines(grade, width), *(lines if told else [])]
    if files := notes(grade):
        said.append("")
    for note in files:
        said += wrap(f"Files: {note}", width, subsequent_indent="       ")
    return "\n".join([*said, "", *wrap(verdict(grade), width), ""])


def labelled(label: str, found: str, width: int) -> Iterator[str]:
    head = f"{'':8}{label:<13} " if label else " " * 8
    for part in found.expandtabs().split("\n"):
        for piece in wrap(part, width - len(head), drop_whitespace=False) or [""]:
            yield f"{head}{piece.strip()}".rstrip()
            head = " " * len(head)


def build_lines(grade: Grade, width: int) -> Iterator[str]:
    if grade.build is None or not (heading := build_failed(grade)):
        return
    yield from wrap(heading, width)
    yield ""
    yield from (f"    {part}" for part in clean(grade.build.output).expandtabs().split("\n"))
    yield ""


# ---- Markdown -------------------------------------------------------------------

MARKS = {
    Status.PASSED: "✅",
    Status.FAILED: "❌",
    Status.PARTLY: "🟡",
    Status.MISSED: "⬜",
    Status.NOT_POSSIBLE: "⚪",
    Status.ERROR: "⚪",
}


def markdown(grade: Grade) -> str:
    """The grade as Markdown, as GitHub and GitLab render it."""
    told = rows(grade)
    lines = [f"# {inline(line(grade.lab))}", ""]
    lines += [f"Submission: {inline(line(grade.submission))}", "", f"**{verdict(grade)}**", ""]
    if said := notes(grade):
        lines += ["Files:", "", *(f"- {inline(note)}" for note in said), ""]
    if grade.build is not None and (heading := build_failed(grade)):
        lines += [f"## {inline(heading)}", ""]
        lines += [fenced(clean(grade.build.output)), ""]
    if told:
        lines += ["| | check | points |", "|---|---|--:|"]
        lines += [f"| {MARKS[row.status]} | {inline(row.title)} | {row.worth} |" for row in told]
        lines.append("")
    for row in told:
        if not row.details:
            continue
        lines += [f"## {MARKS[row.status]} {inline(row.title)}", ""]
        lines += [f"{standing(row).capitalize()}: {row.worth} points.", ""] if row.counted else []
        lines += [f"- **{label}**: {inline(found)}" for label, found in row.details]
        lines.append("")
    if grade.pictures:
        lines += [f"## {TITLE}", ""]
    for caption, table in pictures_markdown(grade.pictures):
        lines += [f"{inline(caption)}.", "", "| kind | before | after |", "|---|---|---|"]
        lines += [f"| {' | '.join(map(inline, cells))} |" for cells in table]
        lines.append("")
    return "\n".join(lines)


def inline(text: str) -> str:
    r"""Text for a line of Markdown, with all characters escaped that have a meaning there.

    >>> inline("a_b|<script>\n@all") == r"a\_b\|&lt;script&gt;<br>&#64;all"
    True
    """
    text = escape(re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", text), quote=False)
    return "<br>".join(part.strip() for part in text.replace("@", "&#64;").split("\n"))


def fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


# ---- HTML -----------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --dim: #5b6670; --paper: #f5f6f7;
  --card: #fff; --rule: #dfe3e6; --good: #1a7f4b; --bad: #c0362c; --part: #9a6700; --out: #5b6670 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --dim: #9aa5af; --paper: #14181c;
  --card: #1d2329; --rule: #333c44; --good: #4cc38a; --bad: #ff8a7f; --part: #e3b341;
  --out: #9aa5af } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 46rem; padding: 1.25rem 1rem 3rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.35rem; line-height: 1.25; margin: 0 }
.who { color: var(--dim); margin: .15rem 0 1rem }
.score { font-size: 2.6rem; font-weight: 700; line-height: 1.1; margin: 0 }
.score small { font-size: 1.1rem; font-weight: 400; color: var(--dim) }
.bar { height: .5rem; border-radius: .25rem; background: var(--rule); margin: .6rem 0;
  overflow: hidden }
.bar { display: flex }
.bar span { height: 100%; background: var(--good) }
.bar .unjudged { background: repeating-linear-gradient(
  45deg, var(--out) 0 4px, var(--card) 4px 8px) }
.verdict { margin: 0 0 1.5rem }
.check { background: var(--card); border: 1px solid var(--rule); border-left: .3rem solid var(--c);
  border-radius: .5rem; padding: .7rem .9rem; margin: 0 0 .6rem }
.passed { --c: var(--good) } .failed { --c: var(--bad) } .partly { --c: var(--part) }
.missed { --c: var(--out); border-style: dashed; border-left-style: solid }
.out { --c: var(--out) }
.head { display: flex; gap: .7rem; align-items: baseline; justify-content: space-between }
h2 { font-size: 1rem; margin: 0; font-weight: 600 }
.end { color: var(--c); font-weight: 600; white-space: nowrap; text-align: right }
dl { display: grid; grid-template-columns: 7.5rem 1fr; gap: .25rem .8rem; margin: .6rem 0 0 }
dt { color: var(--dim) }
dd { margin: 0; white-space: pre-wrap }
dd.figure { font-family: ui-monospace, monospace }
.said { margin: .5rem 0 0; white-space: pre-wrap }
.hint { background: color-mix(in srgb, var(--part) 12%, transparent); border-radius: .35rem;
  padding: .45rem .7rem; margin: .7rem 0 0; white-space: pre-wrap }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: .5rem; padding: .8rem;
  font: .85rem/1.45 ui-monospace, monospace; white-space: pre-wrap; max-height: 24rem;
  overflow: auto }
footer { color: var(--dim); font-size: .85rem; margin-top: 1.5rem }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .35rem } }
.picture { background: var(--card); border: 1px solid var(--rule); border-radius: .5rem;
  padding: .5rem .9rem; margin: 0 0 .6rem; overflow-x: auto }
.picture summary { cursor: pointer }
.picture svg { display: block; width: 100%; min-width: 34rem; height: auto; margin-top: .5rem }
@media print { .check, .picture { break-inside: avoid } }
"""


START = '<!doctype html>\n<html lang="en">\n<head>\n<meta name="generator" content="procmem grade">'
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html(grade: Grade) -> str:
    """The grade as a single HTML page, without scripts and without external resources."""
    lab, who = escape(line(grade.lab)), escape(line(grade.submission))
    body = [f"<h1>{lab}</h1>", f'<p class="who">{who}</p>', *score_html(grade)]
    if grade.build is not None and (heading := build_failed(grade)):
        said = escape(clean(grade.build.output)) or "(it printed nothing)"
        body.append(f"<h2>{escape(heading)}</h2><pre>{said}</pre>")
    body += [check_html(row) for row in rows(grade)]
    body += pictures_html(grade.pictures)
    if footer := machine_line(grade):
        body.append(f"<footer>{escape(footer)}</footer>")
    looks = STYLE + pictures_style(grade.pictures)
    return "\n".join(
        [
            f'{START}\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{lab}: {who}</title>\n<style>{looks}</style>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        ]
    )


def is_report(start: bytes) -> bool:
    """Whether a file that starts like this is a page of html(), and may be overwritten."""
    return start.startswith(START.encode())


def score_html(grade: Grade) -> Iterator[str]:
    said = verdict(grade)
    if grade.max_score and grade.error is None:
        most = amount(grade.all_points)
        if grade.uncounted:
            most += f" points, {amount(grade.uncounted)} not judged"
        else:
            most += " points"
        # Rounded down, so that the bar is full only if all points were given.
        share, out = (
            max(0.0, min(100.0, int(1000 * part / grade.all_points) / 10))
            for part in (grade.score, grade.uncounted)
        )
        yield f'<p class="score">{amount(grade.score)} <small>of {most}</small></p>'
        unjudged = f'<span class="unjudged" style="width:{out:.1f}%"></span>' if out else ""
        yield f'<div class="bar"><span style="width:{share:.1f}%"></span>{unjudged}</div>'
        said = left_to_do(grade)
    yield f'<p class="verdict">{escape(said)}</p>'
    if files := notes(grade):
        yield '<ul class="notes">'
        yield from (f"<li>{escape(note)}</li>" for note in files)
        yield "</ul>"


def check_html(row: CheckRow) -> str:
    kind = row.status.name.lower() if row.counted else "out"
    end = f"{row.worth}" if row.counted else escape(standing(row))
    sign = {"passed": "✓ ", "failed": "✗ ", "missed": "not checked ", "partly": "± "}.get(kind, "")
    found = [
        f'<section class="check {kind}">',
        f'<div class="head"><h2>{escape(row.title)}</h2>',
        f'<span class="end">{sign}{end}</span></div>',
    ]
    if row.message:
        found.append(f'<p class="said">{escape(row.message)}</p>')
    listed = [(label, said) for label, said in row.details if said not in (row.message, row.hint)]
    if listed:
        found.append("<dl>")
        for label, said in listed:
            figure = ' class="figure"' if label in ("measured", "expected", "seen") else ""
            found.append(f"<dt>{label.capitalize()}</dt><dd{figure}>{escape(said)}</dd>")
        found.append("</dl>")
    if row.hint:
        found.append(f'<p class="hint"><b>Hint</b> {escape(row.hint)}</p>')
    return "\n".join([*found, "</section>"])


def machine_line(grade: Grade) -> str:
    told = [f"{name} {value}" for name, value in grade.machine.items() if isinstance(value, str)]
    by = f"graded by procmem {grade.version}" if grade.version else ""
    return clean(", ".join(part for part in [by, *told] if part), 600)
