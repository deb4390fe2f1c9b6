"""Sizing 1,000 ELF files in one process, against GNU size on the same list."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from benchmarks.compare import Row, Skip, children_time, compare, timed
from benchmarks.interpreters import environment, python, script
from benchmarks.targets import workshop
from procmem.elf import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["sizes"]

FILES = 1_000
SMOKE_FILES = 50
GNU = "size"


def sizes(effort: Effort) -> Iterator[Row | Skip]:
    if not shutil.which("size"):
        yield Skip("sizes", "all", "size is not installed (package binutils)")
        return
    files = elf_files(FILES if effort.window else SMOKE_FILES)
    out = subprocess.run(["size", *files], check=True, capture_output=True).stdout
    expected = [tuple(map(int, line.split(b"\t")[:3])) for line in out.splitlines()[1:]]
    assert expected == [(one.text, one.data, one.bss) for one in map(size, files)]

    samples = {GNU: run(["size", *files], effort), "size() of each": each(files, effort)}
    commands = {"python -m procmem size": [python(), "-m", "procmem", "size"]}
    installed = script()
    if installed is not None:
        commands["procmem size"] = [python(), installed, "size"]
    for name, words in commands.items():
        samples[name] = run([*words, *files], effort)
    if shutil.which("llvm-size"):
        samples["llvm-size"] = run(["llvm-size", *files], effort)
    else:
        yield Skip("sizes", "llvm-size", "it is not installed (package llvm)")
    found = compare("sizes", len(files), samples, effort)
    yield found.row("size() of each", GNU, 0.6)
    for name in commands:
        # Of fewer files, most of the time is Python's start.
        yield found.row(name, GNU, 1.4 if len(files) >= FILES else None)
    if "llvm-size" in samples:
        yield found.row("llvm-size", GNU)
    yield from pyelftools(files[: len(files) // 10], effort)


def pyelftools(files: list[str], effort: Effort) -> Iterator[Row | Skip]:
    """Fewer files: it takes thirty times as long."""
    try:
        from elftools.elf.elffile import ELFFile
    except ImportError:
        yield Skip("sizes", "pyelftools", "it is not installed")
        return

    def sections() -> None:
        for path in files:
            with open(path, "rb") as file:
                sum(section["sh_size"] for section in ELFFile(file).iter_sections())

    samples = {GNU: run([GNU, *files], effort), "iter_sections()": timed(sections, effort)}
    yield compare("sizes", len(files), samples, effort).row("iter_sections()", GNU)


def each(files: list[str], effort: Effort) -> Callable[[], float]:
    def all_of_them() -> None:
        for path in files:
            size(path)

    return timed(all_of_them, effort)


def run(words: list[str], effort: Effort) -> Callable[[], float]:
    return timed(
        lambda: subprocess.run(
            words, check=True, stdout=subprocess.DEVNULL, env=environment(), cwd=workshop()
        ),
        effort,
        children_time,
    )


def elf_files(most: int) -> list[str]:
    """ELF files under /usr, every nth of them."""
    found = []
    for folder, folders, names in os.walk("/usr"):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                if not os.path.islink(path) and os.path.isfile(path):
                    with open(path, "rb") as file:
                        if file.read(4) == b"\x7fELF":
                            found.append(path)
            except OSError:
                continue
    return found[:: max(1, len(found) // most)][:most]
