"""A process that allocates at random, and what its malloc says of itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.paths import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    import procmem

__all__ = [
    "Allocating",
    "ArenaInfo",
    "MallocInfo",
    "Shape",
    "Shaped",
    "anonymous",
    "built",
    "compiled",
]


class ArenaInfo(NamedTuple):
    """An arena as malloc_info(3) has it: bytes from the kernel, in fast bins, free otherwise."""

    system: int
    fast: int
    rest: int


class MallocInfo(NamedTuple):
    """The arenas of malloc_info(3), mallinfo2(3), and the program's own count.

    Attributes:
        hblkhd: bytes of allocations that are mappings of their own. glibc 2.43 adds 16 bytes too
            many with each realloc(3) of one (mremap_chunk in malloc/malloc.c).
        mapped: the same, by the headers of the pieces that the program has.
    """

    arenas: tuple[ArenaInfo, ...]
    uordblks: int
    fordblks: int
    fsmblks: int
    hblks: int
    hblkhd: int
    keepcost: int
    mapped: int


def built(directory: str, *flags: str) -> Path:
    """The program, compiled into a directory."""
    return compiled("allocating", directory, *flags)


@cache
def compiled(name: str, directory: str, *flags: str) -> Path:
    """A target, compiled into a directory; the test is skipped where that can't be done."""
    out = Path(directory) / (name + "".join(flags).replace("-", "_"))
    source = TARGETS / f"{name}.c"
    compiler = "cc"
    if not source.exists():
        source, compiler = source.with_suffix(".cc"), "c++"
    command = [compiler, "-O1", "-pthread", *flags, "-o", str(out), str(source)]
    try:
        made = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no C or C++ compiler here")
    if made.returncode:
        if "mallinfo2" in made.stderr:
            pytest.skip("a C library without mallinfo2")
        pytest.skip(f"can't be built with {flags}: {made.stderr[:200]}")
    return out


def anonymous(process: procmem.Process) -> int:
    """Its RSS without that of files: malloc_trim(3) may bring in a page of its own code."""
    return sum(r.rss or 0 for r in process.smaps() if not r.inode)


class Allocating:
    """The running program; it ends with its `with` block."""

    def __init__(self, program: Path, threads: int = 0, **environment: str) -> None:
        self.process = subprocess.Popen(
            [program, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment or None,
            text=True,
            bufsize=1,
        )
        self.pid = self.process.pid

    def ask(self, command: str) -> list[str]:
        """The lines that answer a command."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line == "done\n":
                return lines
            lines.append(line)
        raise AssertionError("it ended")

    def go(self, seed: int, steps: int, largest: int = 200_000, shift: int = 0) -> None:
        """Has every thread take so many steps, with the pieces of the thread so many numbers on."""
        self.ask(f"go {seed} {steps} {largest} {shift}")

    def trim(self, process: procmem.Process) -> int:
        """Has it call malloc_trim(0), and says how many bytes of its anonymous memory went."""
        before = anonymous(process)
        self.ask("trim")
        return before - anonymous(process)

    def info(self) -> MallocInfo:
        """What malloc says."""
        text = "".join(self.ask("info"))
        arenas: list[ArenaInfo] = []
        for part in re.findall(r"<heap nr=.*?</heap>", text, re.DOTALL):
            fast = re.search(r'<total type="fast" count="\d+" size="(\d+)"', part)
            rest = re.search(r'<total type="rest" count="(\d+)" size="(\d+)"', part)
            system = re.search(r'<system type="current" size="(\d+)"', part)
            assert rest
            assert system
            # malloc_info(3) adds a bit of each size in a bin: PREV_INUSE. The top is in the count.
            bits = int(rest[1]) - 1
            # There are no fast bins from glibc 2.43 on.
            of_fast = int(fast[1]) if fast else 0
            arenas.append(ArenaInfo(int(system[1]), of_fast, int(rest[2]) - bits))
        (last,) = re.findall(r"^mallinfo (.*)$", text, re.MULTILINE)
        figures = [int(word) for word in last.split()]
        return MallocInfo(tuple(arenas), *figures)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Shape(NamedTuple):
    """What a program of a known shape says: mallinfo2(3), and a number of its own."""

    uordblks: int
    fordblks: int
    arena: int
    hblks: int
    hblkhd: int
    number: int


def contained(program: Path, root: Path) -> list[str]:
    """The command that runs a program as in a container: with namespaces and files of its own."""
    command = ["unshare", "--pid", "--mount", "--fork", "--kill-child"]
    try:
        tried = subprocess.run([*command, "true"], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("unshare is not here")
    if tried.returncode:
        pytest.skip(f"no namespaces here: {tried.stderr.strip()}")
    listed = subprocess.run(["ldd", program], check=False, capture_output=True, text=True)
    for name in re.findall(r"(/\S+) \(0x", listed.stdout):
        place = root / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, place)
    root.mkdir(exist_ok=True)
    shutil.copy(program, root / "program")
    return [*command, "chroot", str(root), "/program"]


class Shaped:
    """A program whose heap has a known shape, running. It ends with its `with` block.

    Args:
        directory: it is compiled into it.
        shape: what the heap is like; see the program.
        flags: of the compiler.
        options: parameters of mallopt(3) and their values.
        tunables: GLIBC_TUNABLES in its environment.
        program: its name in targets.
        root: it runs in PID and mount namespaces of its own, with this as its root directory,
            which gets copies of it and of its libraries. Needs root.
    """

    def __init__(
        self,
        directory: Path,
        shape: str,
        *flags: str,
        options: Mapping[int, int] | None = None,
        tunables: str = "",
        program: str = "heaps",
        root: Path | None = None,
    ) -> None:
        built_program = compiled(program, str(directory), *flags)
        settings = [str(number) for pair in (options or {}).items() for number in pair]
        command = [str(built_program)] if root is None else contained(built_program, root)
        self.process = subprocess.Popen(
            [*command, shape, *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "GLIBC_TUNABLES": tunables} if tunables else None,
            text=True,
            bufsize=1,
        )
        self.pid = self.process.pid
        try:
            self.said = self._line()
            if root is not None:
                children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
                self.pid = int(children)
        except BaseException:
            self.__exit__()
            raise

    def _line(self) -> Shape:
        assert self.process.stdout is not None
        return Shape(*map(int, self.process.stdout.readline().split()))

    def trim(self) -> Shape:
        """Has it call malloc_trim(0)."""
        assert self.process.stdin is not None
        self.process.stdin.write("trim\n")
        self.process.stdin.flush()
        return self._line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
