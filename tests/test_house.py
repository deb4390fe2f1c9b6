"""The rules of the code that neither ruff nor import-linter checks: names, circles, tests, errors.

Lists of exceptions may only shrink: a test fails, too, if one of theirs is no longer needed.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING

import grimp
import psutil
import pytest

import procmem
from tests.support.paths import ROOT, TESTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = ROOT / "procmem"


@cache
def trees() -> dict[str, ast.Module]:
    """The modules of procmem by their paths, such as "regions/table"; without the labs' files."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inner = path.relative_to(PACKAGE)
        if inner.parts[0] != "labs" or len(inner.parts) == 2:
            found[str(inner.with_suffix(""))] = ast.parse(path.read_text())
    return found


# ---- names ----

ELSEWHERE: dict[str, str] = {
    "__main__": "cli/test_cli.py",
    "regions/facts": "regions/test_classify.py",  # plain data
    # Parts of a sandbox are tested as a whole, in each of its kinds.
    **dict.fromkeys(
        [f"grade/sandbox/{name}" for name in "cgroups jail job limits untrusted".split()],
        "grade/sandbox/test_sandbox.py",
    ),
    "grade/grading/proving": "grade/sandbox/test_inherited.py",
    "grade/grading/walls": "grade/sandbox/test_inherited.py",
    # A job, its server and its client are tested by what grade() returns.
    **dict.fromkeys(
        [f"grade/grading/{name}" for name in "client graded_on job server".split()],
        "grade/grading/test_grade.py",
    ),
    "grade/checks/plugin": "grade/grading/test_grade.py",
    "grade/checks/fixtures": "grade/grading/test_grade.py",
    "grade/checks/wording": "grade/checks/test_explain.py",
    "grade/grading/by_hand": "test_pytest_plugin.py",
    "grade/grading/overview": "grade/grading/test_many.py",
    "grade/runs/program": "grade/runs/test_run.py",
    "grade/errors": "grade/runs/test_run.py",
    "grade/submissions/quiz": "grade/checks/test_answers.py",
    "labs/handout": "cli/test_grade.py",
}
"""Modules whose test is not found by their name, and where it is."""

TWINS = {
    "Area": "of a Specimen, and of a snapshot in a check",
    "Program": "what procmem.elf reads of one, and what a check runs",
    "Step": "of a Specimen, and of the bridge from a file's size to its segments",
}
"""Names of two classes, each public in a package of its own."""


def test_a_class_name_means_one_thing() -> None:
    homes = defaultdict(list)
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(module)
    assert {name for name, where in homes.items() if len(where) > 1} == TWINS.keys()


def test_types_are_imported_in_one_way() -> None:
    """CONTRIBUTING.md has the reason."""
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "typing":
                assert "TYPE_CHECKING" not in [alias.name for alias in node.names], module


# ---- imports ----


def test_no_modules_import_each_other() -> None:
    """The faces of packages included, which import-linter's contracts leave out."""
    graph = grimp.build_graph("procmem", exclude_type_checking_imports=False, cache_dir=None)
    above = {module: graph.find_upstream_modules(module) for module in graph.modules}
    circles = {
        module
        for module, imported in above.items()
        if any(module in above[other] for other in imported)
    }
    assert circles == set()


# ---- tests ----


def places_of(module: str) -> Iterator[Path]:
    """Where a module's test may be: a view's is that of its command, too."""
    folder, _, name = module.rpartition("/")
    name = name if name == "__init__" else name.lstrip("_")
    if name == "__init__":
        folder, _, name = folder.rpartition("/")
        name = name or "face"
        yield TESTS / folder / name / f"test_{name}.py"
    yield TESTS / folder / f"test_{name}.py"
    if folder == "view":
        yield TESTS / "cli" / f"test_{name}.py"


def test_each_module_has_its_test() -> None:
    for module, tree in trees().items():
        defines = any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(tree))
        if defines and module not in ELSEWHERE:
            assert any(path.exists() for path in places_of(module)), module


def test_exceptions_are_needed() -> None:
    for module, where in ELSEWHERE.items():
        assert module in trees()
        assert (TESTS / where).exists(), where
        assert not any(path.exists() for path in places_of(module)), module


def test_no_test_file_imports_a_test_file() -> None:
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                assert not re.match(r"tests\.(\w+\.)*test_", name), f"{path} imports {name}"


# ---- errors ----


@cache
def all_errors() -> dict[str, type[procmem.ProcmemError]]:
    found: dict[str, type[procmem.ProcmemError]] = {}

    def add(cls: type[procmem.ProcmemError]) -> None:
        found[cls.__name__] = cls
        for below in cls.__subclasses__():
            if below.__module__.startswith("procmem."):
                add(below)

    for module, tree in trees().items():
        if any(isinstance(node, ast.ClassDef) for node in ast.walk(tree)):
            importlib.import_module("procmem." + module.removesuffix("/__init__").replace("/", "."))
    add(procmem.ProcmemError)
    return found


def test_the_tree_of_errors_is_as_drawn() -> None:
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    page = (ROOT / "docs/architecture.md").read_text()
    tree = page[page.index("    ProcmemError") :].partition("\n\n")[0]
    for line in tree.splitlines():
        match = re.fullmatch(r"([ │├└─]*)(\w+)(?: +(.*))?", line)
        assert match, line
        depth, name, rest = len(match[1]), match[2], match[3] or ""
        above = [(d, each) for d, each in above if d < depth]
        drawn[name] = above[-1][1] if above else ""
        above.append((depth, name))
        for also in re.findall(r"(?:also|and) (?:psutil\.)?(\w+)", rest):
            other = getattr(psutil, also, None) or getattr(builtins, also)
            assert issubclass(all_errors()[name], other), (name, also)
    real = {
        name: next((base.__name__ for base in cls.__bases__ if base.__name__ in all_errors()), "")
        for name, cls in all_errors().items()
    }
    assert drawn == real


FACES = ("procmem", "procmem.calls", "procmem.elf", "procmem.experiments", "procmem.grade")


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT))
)
def test_an_error_that_docs_name_is_exported(page: Path) -> None:
    exported = {name for face in FACES for name in importlib.import_module(face).__all__}
    words = set(re.findall(r"\b[A-Z]\w+\b", page.read_text().partition("    ProcmemError")[0]))
    assert (words & set(all_errors())) <= exported
    for word in words:
        if re.search(r"[a-z]Error$", word):
            assert word in all_errors() or hasattr(builtins, word), word
