"""Names of processes: what a person calls them, by command name and command line."""

from __future__ import annotations

import re

from procmem.errors import ProcmemError
from procmem.procfs import ProcessFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

__all__ = ["INTERPRETERS", "base", "called", "name_of", "names_of", "script_of", "text"]

INTERPRETERS = re.compile(
    r"(python|pypy|perl|ruby|php|lua|node|nodejs|deno|bun|java|mono|bash|dash|sh|zsh|ksh|fish|"
    r"tclsh|wish|guile|Rscript|julia|busybox)[\d.]*t?"
)
"""Programs whose first operand is the script that users call the program."""

TAKES_VALUE = {
    "python": ("-W", "-X", "--check-hash-based-pycs"),
    "pypy": ("-W", "-X"),
    "node": ("-r", "--require", "--import", "--loader"),
    "java": ("-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules"),
    "perl": ("-I", "-M"),
    "ruby": ("-I", "-r", "-C"),
    "bash": ("-o", "-O", "--rcfile", "--init-file"),
    "sh": ("-o",),
}
"""For each interpreter, the options whose value is the next word."""

RUNS_TEXT = {"perl": "eE", "ruby": "e", "node": "ep", "lua": "e", "php": "rBE", "julia": "eE"}
"""For each interpreter, the options (letters) that take code to run in place of a script; for all
others it is c."""


def name_of(comm: str, words: list[str]) -> str:
    """The name that a person would call a process: comm, or an interpreter's script."""
    interpreter = INTERPRETERS.fullmatch(comm) or INTERPRETERS.fullmatch(base(words[0]))
    if interpreter and base(words[0]).removeprefix("-").startswith(comm[:4]):
        for script in script_of(interpreter[1], words[1:]):
            # Neither a descriptor's number nor "-" is a name ("bash /dev/fd/3").
            unnamed = script == "-" or script.startswith(("/dev/fd/", "/proc/"))
            return comm if unnamed else base(script) or comm
    return comm


def script_of(interpreter: str, words: list[str]) -> Iterator[str]:
    """The script or module that an interpreter was started with; nothing if there is none."""
    takes = TAKES_VALUE.get(interpreter, ())
    letters = RUNS_TEXT.get(interpreter, "c")
    rest = iter(words)
    for word in rest:
        if word in ("-m", "-jar", "--module"):
            yield next(rest, "")
            return
        if word in takes:
            next(rest, None)
        elif interpreter != "java" and re.fullmatch(rf"-[a-zA-Z]*[{letters}]|--eval|--print", word):
            return
        elif word == "--":
            yield next(rest, "")
            return
        elif not word.startswith("-") or word == "-":
            yield word
            return


def base(path: str) -> str:
    """The last part of a path."""
    return path.rsplit("/", 1)[-1]


def text(raw: bytes) -> str:
    """A name of the kernel's as text; bytes that are no UTF-8 are kept (PEP 383)."""
    return raw.decode("utf-8", "surrogateescape")


def called(files: ProcessFiles) -> str:
    """The name of a live process, as name_of() makes it; "?" if it can't be read."""
    try:
        comm = text(files.read("comm").removesuffix(b"\n"))
        cmdline = files.read("cmdline")
    except (ProcmemError, OSError):
        return "?"
    return name_of(comm, [text(word) for word in cmdline.rstrip(b"\0").split(b"\0")]) or "?"


def names_of(pids: Iterable[int], root: str | os.PathLike[str] = "/proc") -> dict[int, str]:
    """The names of live processes, as called() makes them; without those that can't be read."""
    found = {}
    for pid in set(pids):
        try:
            files = ProcessFiles(pid, root)
        except ProcmemError:
            continue
        name = called(files)
        files.close()
        if name != "?":
            found[pid] = name
    return found
