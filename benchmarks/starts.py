"""What it costs to start: imports, and the command from its first instruction to its last."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from benchmarks.compare import Row, Skip, children_time, compare, timed
from benchmarks.interpreters import environment, python, run, script
from benchmarks.targets import Target, workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["imports", "maps_command", "pmap", "start"]

SMALL = 50
"""Regions of a small process."""

LARGE = 60_000
"""And of a large one, from which on pmap's target holds."""

MODULE = "python -m procmem pmap"
SCRIPT = "procmem pmap"


def imports(effort: Effort) -> Iterator[Row | Skip]:
    """The import statement alone, in fresh interpreters."""
    statements = ["import psutil", "import procmem", "from procmem import Process"]
    found = compare("imports", None, {s: import_time(s) for s in statements}, effort)
    for statement in statements[1:]:
        yield found.row(statement, "import psutil", 1.5)


def import_time(statement: str) -> Callable[[], float]:
    clock = "time.process_time()"
    timing = f"import time; start = {clock}\n{statement}\nprint({clock} - start)"
    return lambda: float(run("-c", timing))


def start(effort: Effort) -> Iterator[Row | Skip]:
    """`procmem pmap` of a small process against a Python that does nothing."""
    bare = "python -c pass"
    with Target(SMALL) as target:
        commands = {bare: [python(), "-c", "pass"]}
        commands |= {name: [*words, str(target.pid)] for name, words in pmap_commands().items()}
        if SCRIPT not in commands:
            yield Skip("starts", SCRIPT, "the command is not installed beside this Python")
        if shutil.which("pmap"):
            commands["pmap"] = ["pmap", str(target.pid)]
        found = compare("starts", SMALL, started(commands, effort), effort)
    for name in list(commands)[1:]:
        yield found.row(name, bare, None if name == "pmap" else 3.0)


def pmap(effort: Effort) -> Iterator[Row | Skip]:
    """`procmem pmap` of a very large process against pmap itself."""
    if not shutil.which("pmap"):
        yield Skip("pmap", "procmem pmap -X", "pmap is not installed (package procps)")
        return
    with Target(effort.largest) as target:
        for option, goal in (("-X", 1.0), ("-x", None), ("", None)):
            rest = [option, str(target.pid)] if option else [str(target.pid)]
            commands = {f"pmap {option}".strip(): ["pmap", *rest]}
            for name, words in pmap_commands().items():
                commands[f"{name} {option}".strip()] = [*words, *rest]
            found = compare("pmap", effort.largest, started(commands, effort), effort)
            baseline, *ours = commands
            for name in ours:
                yield found.row(name, baseline, goal if effort.largest >= LARGE else None)


def maps_command(effort: Effort) -> Iterator[Row | Skip]:
    """`procmem maps` without what a bare Python takes to start, against `pmap -x`."""
    if not shutil.which("pmap"):
        yield Skip("maps command", "procmem maps", "pmap is not installed (package procps)")
        return
    bare, ours, theirs = "python -c pass", "python -m procmem maps", "pmap -x"
    less = f"{ours}, less {bare}"
    for size in effort.sizes:
        with Target(size) as target:
            commands = {
                bare: [python(), "-c", "pass"],
                ours: [python(), "-m", "procmem", "maps", str(target.pid)],
                theirs: ["pmap", "-x", str(target.pid)],
            }
            found = compare("maps command", size, started(commands, effort), effort)
        pairs = zip(found.values[ours], found.values[bare], strict=True)
        found.values[less] = [whole - start for whole, start in pairs]
        yield found.row(less, theirs, 1.0)
        yield found.row(ours, theirs)


def pmap_commands() -> dict[str, list[str]]:
    found = {MODULE: [python(), "-m", "procmem", "pmap"]}
    installed = script()
    if installed is not None:
        found[SCRIPT] = [python(), installed, "pmap"]
    return found


def started(commands: dict[str, list[str]], effort: Effort) -> dict[str, Callable[[], float]]:
    def sample(words: list[str]) -> Callable[[], float]:
        return timed(
            lambda: subprocess.run(
                words, check=True, stdout=subprocess.DEVNULL, env=environment(), cwd=workshop()
            ),
            effort,
            children_time,
        )

    return {name: sample(words) for name, words in commands.items()}
