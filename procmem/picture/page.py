"""The report: plain data as one HTML file, which a browser opens without any access to the network.

The file contains all that it shows: the style, the script, the data as JSON and, as base64, the
snapshots in the format of Snapshot.save_all(), so that load() reads them back. A
Content-Security-Policy allows the scripts of
the file by their digests and nothing else: neither a connection nor a script that a name smuggled
in.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import zlib
from dataclasses import dataclass, field

from procmem.names import escaped
from procmem.picture.embedded import END, KEPT, START
from procmem.picture.palette import PAGE_TONES, tone
from procmem.units import kib, signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = ["ReportPage", "ReportTable", "page_html"]

HERE = os.path.dirname(os.path.abspath(__file__))

LEVEL = 6
"""zlib's level for the data: 9 takes four times as long and saves a hundredth."""


@dataclass
class ReportTable:
    """A table of the report.

    Attributes:
        title: its heading.
        columns: the format of each, a blank and its heading; formats are "text", "bytes",
            "signed" (a difference in bytes), "number", "id" (of a process or thread), "seconds" and
            "address".
        rows: the values; None: not known.
        note: a sentence below it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass
class ReportPage:
    """What a report shows; plain data.

    Attributes:
        title: the heading.
        subject: what process it is: name and value of each line.
        summary: the sentences to be read first.
        totals: name, bytes (None: not known) and a remark for each total.
        reconciled: how the totals reconcile.
        tables: more tables, such as the heap's arenas.
        moments: for each point in time whose regions are shown its label and the columns of its
            regions, see region_columns() of procmem.snapshots.reporting.
        pages: the runs of pages of each region of the last moment, by the region's number; None:
            not read.
        pages_missing: why pages were not read.
        series: figures over time; None: there is one point in time only.
        kept: a file of snapshots, see Snapshot.save_all().
        kept_note: what that file has, in a sentence.
    """

    title: str
    subject: Sequence[tuple[str, str]] = ()
    summary: Sequence[str] = ()
    totals: Sequence[tuple[str, int | None, str]] = ()
    reconciled: ReportTable | None = None
    tables: Sequence[ReportTable] = ()
    moments: Sequence[dict[str, Any]] = ()
    pages: dict[str, Any] | None = None
    pages_missing: str = ""
    series: dict[str, Any] | None = None
    kept: bytes = b""
    kept_note: str = ""
    scripts: Sequence[str] = field(default=(), repr=False)


def markup(text: object) -> str:
    """A text as HTML."""
    return html.escape(escaped(str(text)))


# ---- writing -----------------------------------------------------------------------


def page_html(page: ReportPage) -> bytes:
    """A report as the bytes of an HTML file."""
    data = json.dumps(
        {
            "title": escaped(page.title),
            "moments": page.moments,
            "pages": page.pages,
            "series": page.series,
            "tones": tones_of(page),
            "page_tones": {name: one[:3] + one[5:] for name, one in PAGE_TONES.items()},
        },
        separators=(",", ":"),
    ).encode("ascii")
    scripts = [*page.scripts, own_file("page.js")]
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'; script-src " + " ".join(map(digest, scripts))
    )
    parts = [
        START.decode(),
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        '<meta name="referrer" content="no-referrer">\n',
        f"<title>{markup(page.title)}</title>\n",
        f"<style>\n{own_file('page.css')}</style>\n</head>\n<body>\n",
        *body(page),
        f'<script type="application/octet-stream" id="data">{packed(data)}</script>\n',
        KEPT.decode(), base64.b64encode(page.kept).decode(), END.decode(), "\n",
        *(f"<script>{script}</script>\n" for script in scripts),
        "</body>\n</html>\n",
    ]  # fmt: skip
    return "".join(parts).encode()


def own_file(name: str) -> str:
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


def digest(script: str) -> str:
    """How a Content-Security-Policy names a script (CSP Level 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, LEVEL)).decode()


def tones_of(page: ReportPage) -> dict[str, Any]:
    """Light and dark colour, mark and hatching of each word that stands for a kind or a use."""
    words = {
        word for one in page.moments for name in ("kind", "use") for word in one[name]["words"]
    }
    words |= set((page.series or {}).get("kinds", ()))
    found = {word: tone(word) for word in sorted(words)}
    return {word: [t.name, t.light, t.dark, t.mark, t.hatch] for word, t in found.items()}


def body(page: ReportPage) -> Iterable[str]:
    """The parts of the page that need no script, and places for those that do."""
    yield f"<h1>{markup(page.title)}</h1>\n"
    yield '<noscript><p class="warn">The pictures and the table of regions need JavaScript, which '
    yield "is switched off. The file makes no connection.</p></noscript>\n"
    if page.summary:
        yield '<ul class="summary">\n'
        yield from (f"<li>{markup(one)}</li>\n" for one in page.summary)
        yield "</ul>\n"
    yield '<nav aria-label="Contents" id="contents"></nav>\n'
    yield '<div class="totals">\n'
    for name, value, remark in page.totals:
        said = "not known" if value is None else kib(value)
        yield f'<div data-total="{markup(name)}"><span>{markup(name)}</span><b>{said}</b>'
        yield f"<span>{markup(remark)}</span></div>\n" if remark else "</div>\n"
    yield '</div>\n<dl class="subject">\n'
    yield from (
        f"<dt>{markup(name)}</dt><dd>{markup(value)}</dd>\n" for name, value in page.subject
    )
    yield "</dl>\n"
    if page.series is not None:
        yield own_file("page_time.html")
    for one in page.tables:
        if one.title in EARLY:
            yield from table(one)
    if page.moments:
        yield own_file("page_regions.html").replace("PAGES_MISSING", markup(page.pages_missing))
    for one in page.tables:
        if one.title not in EARLY:
            yield from table(one)
    if page.reconciled is not None:
        yield from table(page.reconciled)
    yield "<section><h2>This file</h2>\n"
    yield f"<p>{markup(page.kept_note)}</p>\n" if page.kept_note else ""
    yield '<p class="tools"><button type="button" id="save" hidden>Save the data as JSON</button>'
    yield "</p></section>\n"
    yield '<div id="tip" role="status" hidden></div>\n'


EARLY = frozenset({"Causes", "What may be a leak", "Events"})
"""Titles of the tables that stand above the regions."""

NUMBERS = frozenset({"bytes", "signed", "number", "id", "seconds", "address"})

LONG = 60
"""Rows from which on a table scrolls by itself."""


def table(one: ReportTable) -> Iterable[str]:
    """A table under its heading; of one without rows only the note."""
    if not one.rows:
        yield f"<section><h2>{markup(one.title)}</h2>\n"
        yield f'<p class="note">{markup(one.note)}</p></section>\n'
        return
    long = " long" if len(one.rows) > LONG else ""
    yield f'<section><h2>{markup(one.title)}</h2>\n<div class="scroll{long}">'
    yield '<table class="sortable">\n<thead><tr>'
    columns = [column.split(" ", 1) for column in one.columns]
    for form, heading in columns:
        kind = ' class="n"' if form in NUMBERS else ""
        yield f'<th{kind} scope="col">{markup(heading)}</th>'
    yield "</tr></thead>\n<tbody>\n"
    for row in one.rows:
        yield "<tr>"
        for value, (form, _) in zip(row, columns, strict=True):
            yield cell(value, form)
        yield "</tr>\n"
    yield "</tbody></table></div>\n"
    yield f'<p class="note">{markup(one.note)}</p>\n' if one.note else ""
    yield "</section>\n"


def cell(value: Any, form: str) -> str:
    if form == "text":
        return f"<td>{'' if value is None else markup(value)}</td>"
    if value is None:
        return '<td class="n" title="not known">–</td>'
    shown = {
        "bytes": kib, "signed": signed, "number": "{:,}".format, "id": "{}".format,
        "seconds": "{:,.3f}".format,
        "address": "{:x}".format,
    }[form](value)  # fmt: skip
    # "v" is what the table is sorted by: an address above 2**53 is no exact number in JavaScript.
    return (
        f'<td class="n{" mono" if form == "address" else ""}" data-v="{value}">{markup(shown)}</td>'
    )
