"""procmem query: what lies at an address."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from procmem.cli.arguments import address, for_each_process, name_stacks, parser
from procmem.view.answers import address_answer
from procmem.view.json import json_text
from procmem.view.names import printable

if TYPE_CHECKING:
    from procmem.process import Process
    from procmem.regions import MeasuredRegion, Region, RegionTable

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem query --help`."""
    made = parser("query", "What lies at an address of a process.", pids="1")
    made.add_argument(
        "addresses",
        metavar="ADDRESS",
        type=address,
        nargs="+",
        help="hexadecimal, with or without 0x",
    )
    options = made.parse_args(argv)
    missing = False

    def show(process: Process) -> None:
        nonlocal missing
        table = process.smaps()
        name_stacks(process, table)
        answers = []
        for number in options.addresses:
            region = table.find(number)
            if region is None:
                missing = True
                sys.stderr.write(
                    f"procmem query: process {process.pid}: {nothing(table, number)}\n"
                )
            elif options.json:
                inside = {"address": number, "offset_in_region": number - region.start}
                answers.append(inside | {"region": region.to_record()})
            else:
                sys.stdout.write(("\n" if answers else "") + address_answer(number, region, region))
                answers.append({})
        if options.json:
            sys.stdout.write(json_text(answers))

    return for_each_process("query", [options.pid], options.root, show) or int(missing)


def nothing(table: RegionTable[MeasuredRegion], number: int) -> str:
    """That no region covers an address, and between which ones it lies."""
    below = [region for region in table if region.end <= number]
    above = [region for region in table if region.start > number]

    def side(region: Region, far: int) -> str:
        return f"{far:#x} bytes {'above' if region.end <= number else 'below'} {region.name}"

    near = [side(below[-1], number - below[-1].end)] if below else []
    near += [side(above[0], above[0].start - number)] if above else []
    return f"no region covers {number:#x} ({printable(', '.join(near))})"
