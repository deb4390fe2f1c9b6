"""Rows as text for people, as Markdown and as JSON."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from benchmarks.compare import Row, Skip

__all__ = ["as_json", "line", "machine", "markdown", "note", "summary"]

HEADINGS = ("benchmark", "regions", "what", "", "against", "", "ratio", "min–max", "target", "met")
WIDTHS = (10, 8, 43, 9, 34, 9, 8, 16, 7, 4)
RIGHT = (1, 3, 5, 6, 7, 8)


SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def amount(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value / 1e6:.1f} MB"
    scale, name = next((scale for scale in SCALES if value >= scale[0]), SCALES[-1])
    digits = 2 if value < 10 * scale else 1 if value < 100 * scale else 0
    return f"{value / scale:.{digits}f} {name}"


def figure(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def cells(row: Row) -> tuple[str, ...]:
    return (
        row.benchmark,
        "" if row.regions is None else f"{row.regions:,}",
        row.subject,
        amount(row.value, row.unit),
        row.baseline,
        amount(row.baseline_value, row.unit),
        figure(row.ratio),
        f"{figure(row.lowest)}–{figure(row.highest)}",
        "" if row.target is None else f"≤ {row.target:g}",
        {None: "", True: "yes", False: "NO"}[row.met],
    )


def line(row: Row | None) -> str:
    """One row in columns; None: the headings."""
    parts = [
        cell.rjust(width) if place in RIGHT else cell.ljust(width)
        for place, (cell, width) in enumerate(
            zip(HEADINGS if row is None else cells(row), WIDTHS, strict=True)
        )
    ]
    return "  ".join(parts).rstrip()


def note(skip: Skip) -> str:
    return f"{skip.benchmark}: {skip.what}: skipped: {skip.why}"


def summary(rows: list[Row]) -> str:
    judged = [row for row in rows if row.target is not None]
    missed = [row for row in judged if not row.met]
    text = f"{len(judged) - len(missed)} of {len(judged)} targets met"
    return text + "".join(
        f"\n  missed: {row.subject} at {row.regions or '-'}: "
        f"{figure(row.ratio)} instead of {row.target:g}"
        for row in missed
    )


def markdown(rows: list[Row], skips: list[Skip]) -> str:
    """The tables of docs/performance.md, one per benchmark."""
    found = [", ".join(f"{name} {value}" for name, value in machine().items()) + "."]
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        found += [
            "",
            f"**{benchmark}**",
            "",
            "| regions | what | | against | | ratio | min–max | target |",
            "|--:|---|--:|---|--:|--:|--:|--:|",
        ]
        for row in rows:
            if row.benchmark == benchmark:
                *columns, target, met = cells(row)[1:]
                if target:
                    columns[5] = f"**{columns[5]}**"
                    target += {"yes": "", "NO": " (missed)"}[met]
                found.append("| " + " | ".join([*columns, target]) + " |")
    if skips:
        found += ["", *(f"- {note(skip)}" for skip in skips)]
    return "\n".join(found) + "\n"


def as_json(rows: list[Row], skips: list[Skip], *, smoke: bool) -> dict[str, Any]:
    return {
        "machine": machine(),
        "smoke": smoke,
        "rows": [{**asdict(row), "met": row.met} for row in rows],
        "skipped": [asdict(skip) for skip in skips],
    }


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    found = {
        "Linux": os.uname().release.split("-")[0],
        platform.machine(): f"{os.cpu_count()} CPUs",
        "Python": platform.python_version(),
        "psutil": psutil.__version__,
    }
    if shutil.which("pmap"):
        version = subprocess.run(["pmap", "--version"], capture_output=True, check=False).stdout
        found["procps-ng"] = version.decode().split()[-1]
    if "procmaps" in sys.modules:
        from importlib.metadata import version as version_of

        found["procmaps"] = version_of("procmaps")
    return found
