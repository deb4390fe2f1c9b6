"""Names of packages that are imported when they are first used."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from procmem.experiments.ready.story import EXPERIMENTS

PACKAGES = "procmem calls elf errors experiments grade grade.exports"


def packages() -> list[str]:
    return [name if name == "procmem" else f"procmem.{name}" for name in PACKAGES.split()]


def source(package: str) -> ast.Module:
    file = inspect.getsourcefile(importlib.import_module(package))
    assert file is not None
    return ast.parse(Path(file).read_text())


def for_type_checkers(package: str) -> dict[str, str]:
    """The modules of the names that a type checker sees."""
    found: dict[str, str] = {}
    for node in ast.walk(source(package)):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module != "procmem._lazy":
            found |= {one.asname or one.name: str(node.module) for one in node.names}
    found.pop("annotations")
    return found


def on_demand(package: str) -> dict[str, str]:
    """The modules of the names that the package was given to import when they are used."""
    call = next(
        node
        for node in ast.walk(source(package))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lazy"
    )
    homes: dict[str, str] = ast.literal_eval(call.args[1])
    return {name: f"{package}.{home}" for home, names in homes.items() for name in names.split()}


@pytest.mark.parametrize("package", packages())
def test_type_checkers_see_the_names_that_are_imported_on_demand(package: str) -> None:
    names = on_demand(package)
    assert for_type_checkers(package) == names
    listed = set(importlib.import_module(package).__all__)
    ready = {name.replace("-", "_") for name in EXPERIMENTS}
    assert listed == set(names) - (ready if package == "procmem.experiments" else set())


def test_each_ready_experiment_is_a_name_of_the_package() -> None:
    ready = {name.replace("-", "_") for name in EXPERIMENTS}
    assert ready <= set(on_demand("procmem.experiments"))


@pytest.mark.parametrize("package", packages())
def test_each_name_is_that_of_its_module(package: str) -> None:
    face = importlib.import_module(package)
    for name, home in on_demand(package).items():
        assert getattr(face, name) is getattr(importlib.import_module(home), name), name
        assert name in dir(face)


@pytest.mark.parametrize("package", packages())
def test_a_name_that_no_package_has_is_an_attribute_error(package: str) -> None:
    face = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'nothing_like_it'"):
        _ = face.nothing_like_it
    assert not hasattr(face, "__wrapped__")


def test_a_used_name_is_imported_once_and_no_other_is() -> None:
    code = """
import sys, procmem
assert "parse_maps" not in vars(procmem) and "procmem.regions" not in sys.modules
procmem.parse_maps(b"")
assert "parse_maps" in vars(procmem) and "procmem.process" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
