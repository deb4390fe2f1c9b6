"""Writes the reference of the documentation: the help of each command, and each public name.

docs/conf.py puts these texts into the pages of docs/reference while they are read, so that nothing
that is generated is kept in the repository:

    python3 scripts/reference.py commands
    python3 scripts/reference.py procmem.calls
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import inspect
import io
import os
import sys
from unittest.mock import patch

import procmem
from procmem import cli

WIDTH = 96
"""Columns of a help text: as wide as a page shows without scrolling."""

GROUPS = {
    "process": "Processes",
    "regions": "Regions",
    "snapshots": "Snapshots and diffs",
    "recording": "Recordings",
    "tracing": "Traces",
    "pages": "Pages and page tables",
    "heap": "The heap",
    "system": "The machine and containers",
    "cluster": "Many hosts",
    "elf": "ELF files",
    "calls": "Calls on this process's own memory",
    "errors": "Errors",
}
"""Rooms of procmem in the order of the page, with their headings."""

MORE = {
    "procmem.tracing.tracer": "Tracing",
    "procmem.tracing.events": "ProcessEnd Signal Breakpoints Refused",
    "procmem.snapshots": "Clock Identity Kernel Explanation Remainder HeapSummary HeapDiff",
    "procmem.snapshots.heaps": "ArenaSummary",
    "procmem.recording.recording": "Peak",
    "procmem.recording.growth": "Growth",
    "procmem.recording.suspects": "Suspect SuspectPlace",
    "procmem.recording.heaps": "HeapGrowth",
    "procmem.process.tables": "TableLevel",
    "procmem.pages.tables": "Split WalkStep TablesNeeded LevelNeed",
    "procmem.elf.loaded": "BridgeStep",
    "procmem.cluster.gathered": "GatheredUses HostLeftOut UnreadProcess",
    "procmem.grade.grading.many": "grade_all Summary",
    "procmem.grade.exports": "html markdown gradescope check50 classroom autolab junit",
}
"""What users get from public functions, or import, that no package of the reference exports."""

FIRST = (
    *("Process", "Region", "RegionTable", "Snapshot", "Diff", "Recording", "Trace", "PageMap"),
    *("Specimen", "Step", "points", "walk", "Program", "Run", "grade", "ProcmemError"),
)
"""Names that stand first in their groups: what most readers look for. The others are sorted."""


def subcommands(name: str) -> list[str]:
    """The words that make commands of their own behind `procmem NAME`."""
    if name == "lab":
        return ["list", "new", "check", "show"]
    if name == "experiment":
        from procmem.experiments.ready.story import EXPERIMENTS

        return list(EXPERIMENTS)
    return []


def help_of(*words: str) -> str:
    """What `procmem WORDS --help` prints."""
    said = io.StringIO()
    with patch.dict(os.environ, COLUMNS=str(WIDTH)), contextlib.redirect_stdout(said):
        try:
            status = cli.run([*words, "--help"])
        except SystemExit as ended:
            status = int(ended.code or 0)
    if status or not said.getvalue().strip():
        message = f"procmem {' '.join(words)} --help printed nothing, status {status}"
        raise RuntimeError(message)
    return said.getvalue().rstrip()


def commands() -> str:
    """A section of Markdown for each command and each of its subcommands."""
    sections = []
    for name in cli.COMMANDS:
        sections.append(f"## procmem {name}\n\n```text\n{help_of(name)}\n```\n")
        sections += [
            f"### procmem {name} {word}\n\n```text\n{help_of(name, word)}\n```\n"
            for word in subcommands(name)
        ]
    return "\n".join(sections)


def home(value: object) -> str:
    """The room of procmem in which a public name is defined: "regions" for Region."""
    parts = (getattr(value, "__module__", None) or "procmem").split(".")
    return parts[1] if len(parts) > 1 else ""


def public_names(package: str) -> list[str]:
    """The names of a package's `__all__`, and of procmem.experiments the experiments."""
    module = importlib.import_module(package)
    names = [name for name in module.__all__ if not name.startswith("_")]
    names.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    if package == "procmem.experiments":
        names += [word.replace("-", "_") for word in subcommands("experiment")]
    return names


def api(package: str) -> str:
    """Markdown with a directive of autodoc for each public name of a package.

    The names of procmem itself are grouped by the room that they come from.
    """
    module = importlib.import_module(package)
    groups: dict[str, list[str]] = {}
    constants, elsewhere = [], []
    for name in public_names(package):
        value = getattr(module, name)
        if package != "procmem" and getattr(procmem, name, None) is value and callable(value):
            role = "class" if inspect.isclass(value) else "func"
            elsewhere.append(f"{{py:{role}}}`procmem.{name}`")
        elif not inspect.isclass(value) and not callable(value):
            constants.append(f"| `{name}` | `{value!r}` |")
        else:
            groups.setdefault(home(value) if package == "procmem" else "", []).append(name)
    order = [*GROUPS, *(group for group in groups if group not in GROUPS)]
    text = [f"The same names as in procmem: {', '.join(elsewhere)}.\n"] if elsewhere else []
    for group in order:
        if names := groups.get(group):
            if group:
                text.append(f"## {GROUPS.get(group, group)}\n")
            text += [directive(package, name, getattr(module, name)) for name in names]
    if constants:
        text.append("## Constants\n\n| name | value |\n|---|---|")
        text += constants
    return "\n".join(text) + "\n"


def more() -> str:
    """Markdown with the entries of MORE, by module."""
    text = []
    for module, names in MORE.items():
        home = importlib.import_module(module)
        text.append(f"## {module}\n")
        text += [directive(module, name, getattr(home, name)) for name in names.split()]
    return "\n".join(text)


def directive(package: str, name: str, value: object) -> str:
    """The directive that makes the entry of one name."""
    if not inspect.isclass(value):
        return f"```{{eval-rst}}\n.. autofunction:: {package}.{name}\n```\n"
    kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
    foreign = {
        base.__name__ for base in value.__mro__ if base.__module__.split(".")[0] != "procmem"
    }
    # What a class has from others of procmem is its own to readers.
    options = f":members:\n   :inherited-members: {', '.join(sorted(foreign))}\n"
    if issubclass(value, enum.Enum):
        options += "   :undoc-members:\n"
    if value.__bases__ != (object,):
        options += "   :show-inheritance:\n"
    return f"```{{eval-rst}}\n.. {kind}:: {package}.{name}\n   {options}```\n"


def text_of(wanted: str) -> str:
    """The text for the mark `%% WANTED %%` on a page: commands, more, or a package."""
    return {"commands": commands, "more": more}.get(wanted, lambda: api(wanted))()


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        print(text_of(wanted))
