"""python -m benchmarks."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.compare import FULL, SMOKE, Row, Skip
from benchmarks.footprint import memory
from benchmarks.moments import moments
from benchmarks.overhead import overhead
from benchmarks.pagemaps import pagemaps
from benchmarks.queries import region_at
from benchmarks.readings import maps, residency, smaps
from benchmarks.recordings import recordings
from benchmarks.sections import sections
from benchmarks.sizes import sizes
from benchmarks.specimens import specimens
from benchmarks.starts import imports, pmap, start
from benchmarks.targets import CantMeasure
from benchmarks.totals import prices, totals
from benchmarks.traces import traces

BENCHMARKS = {
    "smaps": smaps,
    "maps": maps,
    "residency": residency,
    "region_at": region_at,
    "memory": memory,
    "import": imports,
    "start": start,
    "pmap": pmap,
    "totals": totals,
    "prices": prices,
    "sizes": sizes,
    "sections": sections,
    "specimens": specimens,
    "pagemap": pagemaps,
    "moments": moments,
    "trace": traces,
    "grade": overhead,
    "record": recordings,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=BENCHMARKS,
        metavar="NAME",
        help=f"measure this one alone (may be given again): {', '.join(BENCHMARKS)}",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="try each on small targets with 3 rounds: shows that it works, measures little",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there")
    parser.add_argument(
        "--markdown", action="store_true", help="print the tables of docs/performance.md"
    )
    asked = parser.parse_args()

    rows: list[Row] = []
    skips: list[Skip] = []
    progress = sys.stderr if asked.markdown else sys.stdout
    print(report.line(None), file=progress)
    for name in asked.only or BENCHMARKS:
        try:
            for found in BENCHMARKS[name](SMOKE if asked.smoke else FULL):
                if isinstance(found, Skip):
                    skips.append(found)
                    print(report.note(found), file=progress)
                else:
                    rows.append(found)
                    print(report.line(found), file=progress, flush=True)
        except CantMeasure as reason:
            skips.append(Skip(name, "the rest", str(reason)))
            print(report.note(skips[-1]), file=progress)
    if asked.smoke:
        print(f"{len(rows)} figures of a smoke run: they say little", file=progress)
    else:
        print(report.summary(rows), file=progress)
    if asked.markdown:
        print(report.markdown(rows, skips), end="")
    if asked.json is not None:
        told = report.as_json(rows, skips, smoke=asked.smoke)
        asked.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
