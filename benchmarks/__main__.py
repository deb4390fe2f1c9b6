"""python -m benchmarks."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.compare import FULL, SMOKE, Row, Skip
from benchmarks.footprint import memory
from benchmarks.largeheap import large_heap
from benchmarks.machine import machines, stalls
from benchmarks.overhead import overhead
from benchmarks.pagemaps import pagemaps
from benchmarks.pipes import pipes
from benchmarks.queries import region_at
from benchmarks.readings import maps, residency, smaps
from benchmarks.recordings import recordings
from benchmarks.reports import reports
from benchmarks.screens import screens
from benchmarks.sections import sections
from benchmarks.sizes import sizes
from benchmarks.snapshots import snapshots
from benchmarks.specimens import specimens
from benchmarks.stacks import stacks
from benchmarks.starts import imports, maps_command, pmap, start
from benchmarks.targets import CantMeasure
from benchmarks.totals import prices, totals
from benchmarks.traces import traces

BENCHMARKS = {
    "smaps": smaps,
    "maps": maps,
    "residency": residency,
    "region_at": region_at,
    "memory": memory,
    "imports": imports,
    "starts": start,
    "pmap": pmap,
    "maps-command": maps_command,
    "totals": totals,
    "prices": prices,
    "sizes": sizes,
    "sections": sections,
    "specimens": specimens,
    "pagemap": pagemaps,
    "snapshots": snapshots,
    "trace": traces,
    "grade": overhead,
    "record": recordings,
    "reports": reports,
    "stacks": stacks,
    "machine": machines,
    "stalls": stalls,
    "screen": screens,
    "pipes": pipes,
    "heap": large_heap,
}


def names(text: str) -> list[str]:
    """The names of benchmarks, from "maps,smaps"."""
    found = text.split(",")
    for name in found:
        if name not in BENCHMARKS:
            raise argparse.ArgumentTypeError(f"no benchmark has the name {name!r}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="extend",
        type=names,
        metavar="NAMES",
        help=f"measure only these, separated by commas: {', '.join(BENCHMARKS)}",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="try each on small targets with 3 rounds: whether it works, not what it costs",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there")
    parser.add_argument(
        "--markdown", action="store_true", help="print the tables of docs/performance.md"
    )
    arguments = parser.parse_args()

    rows: list[Row] = []
    skips: list[Skip] = []
    progress = sys.stderr if arguments.markdown else sys.stdout
    print(report.line(None), file=progress)
    for name in arguments.only or BENCHMARKS:
        try:
            for found in BENCHMARKS[name](SMOKE if arguments.smoke else FULL):
                if isinstance(found, Skip):
                    skips.append(found)
                    print(report.note(found), file=progress)
                else:
                    rows.append(found)
                    print(report.line(found), file=progress, flush=True)
        except CantMeasure as reason:
            skips.append(Skip(name, "the rest", str(reason)))
            print(report.note(skips[-1]), file=progress)
    if arguments.smoke:
        print(f"{len(rows)} figures of a smoke run, too few rounds to rely on", file=progress)
    else:
        print(report.summary(rows), file=progress)
    if arguments.markdown:
        print(report.markdown(rows, skips), end="")
    if arguments.json is not None:
        figures = report.as_json(rows, skips, smoke=arguments.smoke)
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
