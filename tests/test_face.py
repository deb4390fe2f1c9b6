"""The public names of procmem: documented, sorted, and cheap to import."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import procmem

ROOT = Path(procmem.__file__).parent


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- __all__ ----

FACE = (
    # Names that users, course material and checks rely on.
    "Process processes parse_maps parse_smaps format_maps Region MeasuredRegion ResidentRegion"
    " RegionTable RegionKind Perms VmFlags Counters MemoryUsage Faults Thread Reconciliation"
    " KiB MiB GiB ProcmemError ProcessError NoSuchProcess AccessDenied ZombieProcess KernelThread"
    " ProcessChanged ParseError ElfError Unsupported SyscallError MemoryFault MissingExtra"
).split()


def test_the_face_is_there() -> None:
    assert set(FACE) <= set(procmem.__all__)


def test_all_can_be_imported_and_is_sorted() -> None:
    assert procmem.__all__ == sorted(set(procmem.__all__))
    namespace: dict[str, Any] = {}
    exec("from procmem import *", namespace)
    assert set(procmem.__all__) <= set(namespace)
    assert set(procmem.__all__) <= set(dir(procmem))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        procmem.nothing_like_it  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        exec("from procmem import nothing_like_it")


def test_sizes() -> None:
    assert (procmem.KiB, procmem.MiB, procmem.GiB) == (1 << 10, 1 << 20, 1 << 30)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert procmem.__version__ == version("procmem-live")


def test_every_module_lists_what_it_offers() -> None:
    for info in pkgutil.walk_packages([str(ROOT)], "procmem."):
        if info.name.rpartition(".")[2].startswith("_") or info.name.endswith("build"):
            continue
        module = importlib.import_module(info.name)
        assert module.__doc__, info.name
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{info.name}.{name}"


# ---- what an import costs ----

HEAVY = "psutil typing dataclasses json re rich elftools hypothesis numpy pandas ctypes subprocess"


def loaded_by(statement: str) -> set[str]:
    # A bare interpreter: what the environment's .pth files import is nobody's fault here.
    code = f"""
import sys
before = set(sys.modules)
{statement}
print(*(set(sys.modules) - before))
"""
    return set(python(code).split())


def test_importing_procmem_imports_nothing_else() -> None:
    loaded = loaded_by("import procmem")
    assert loaded == {"procmem", "procmem._lazy"}


def test_parsing_does_without_psutil_and_the_like() -> None:
    loaded = loaded_by(
        "import procmem\nprocmem.parse_smaps(open('/proc/self/smaps', 'rb').read()).total('rss')"
    )
    assert not loaded & set(HEAVY.split()) - {"re", "typing"}
    assert "psutil" not in loaded


# ---- documentation ----


def public() -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name in procmem.__all__:
        value = getattr(procmem, name)
        if not (inspect.isclass(value) or callable(value)):
            continue
        found.append((name, value))
        if inspect.isclass(value):
            found += [
                (f"{name}.{member}", inspect.getattr_static(value, member))
                for member in vars(value)
                if not member.startswith("_")
            ]
    return found


@pytest.mark.parametrize("name", [name for name, _ in public()])
def test_every_public_name_is_documented(name: str) -> None:
    value = dict(public())[name]
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    owner = getattr(procmem, name.partition(".")[0])
    if inspect.isclass(value) or inspect.isfunction(value) or isinstance(value, property):
        text = inspect.getdoc(value) if not isinstance(value, property) else value.__doc__
        assert text
        assert text[0].isupper() or text[0] in '"`'
        assert text.split("\n")[0].rstrip().endswith((".", ":", "?")), text
    elif isinstance(owner, type) and issubclass(owner, tuple | procmem.Region):
        assert owner.__doc__


def test_every_public_function_says_what_it_raises() -> None:
    for name in ("parse_maps", "parse_smaps", "parse_rollup", "processes", "Process"):
        text = inspect.getdoc(getattr(procmem, name))
        assert text is not None
        assert "Raises:" in text or "errors are those of" in text, name


def test_types_are_shipped() -> None:
    assert (ROOT / "py.typed").exists()
    assert list((ROOT / "native").glob("*.pyi"))


@pytest.mark.parametrize(
    "name",
    [
        "elf.sizes",
        "calls.bracket",
        "experiments.Specimen",
        "experiments.lazy_allocation",
        "grade.points",
    ],
)
def test_rooms_of_the_face_need_no_import_of_their_own(name: str) -> None:
    code = f"import procmem; assert callable(procmem.{name})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# ---- types, dir() --------------------------------------------------------------------


def test_dir_names_what_there_is() -> None:
    assert {"size", "sizes", "demangle", "open_elf"} <= set(dir(procmem.elf))
    assert {"Specimen", "copy_on_write", "brk", "threads"} <= set(dir(procmem.experiments))
    assert set(procmem.__all__) <= set(dir(procmem))


@pytest.mark.slow
def test_type_checkers_know_the_names(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    file = tmp_path / "use.py"
    file.write_text(
        "import procmem\n"
        "procmem.nonsense\n"
        "procmem.elf.nonsense\n"
        "procmem.experiments.nonsense\n"
        "procmem.find('x')[0].maps()\n"
        "procmem.experiments.copy_on_write\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", file],
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == 3, done.stdout
    assert all("nonsense" in line for line in errors)
