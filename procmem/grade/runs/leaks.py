"""What a program has not freed at its end, as valgrind's memcheck reports it."""

from __future__ import annotations

import html
import os
import re
import shutil
import socket
import threading
from dataclasses import replace
from typing import NamedTuple

from procmem.grade.errors import NotPossibleHere, RunFailed, SubmissionError
from procmem.grade.runs.run import Run
from procmem.grade.sandbox.kinds import PATH

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.grade.sandbox.job import Job
    from procmem.grade.sandbox.limits import Limits

__all__ = ["Leak", "Leaked", "Leaks", "Misuse", "leaks", "parse_leaks"]

SLOWER = 10
"""The factor by which the time limits are extended: under memcheck, programs run about twenty times
slower."""

MOST = 64 << 20
"""Bytes of report that are read."""

KINDS = {
    b"Leak_DefinitelyLost": "definitely",
    b"Leak_IndirectlyLost": "indirectly",
    b"Leak_PossiblyLost": "possibly",
    b"Leak_StillReachable": "reachable",
}
ERROR = re.compile(rb"<error>(.*?)</error>", re.S)
KIND = re.compile(rb"<kind>(\w+)</kind>")
LEAKED = re.compile(rb"<leakedbytes>(\d+)</leakedbytes>\s*<leakedblocks>(\d+)</leakedblocks>")
DIRECT = re.compile(rb"\(([\d,]+) direct, [\d,]+ indirect\)")
"""leakedbytes of a block counts what is lost through it, too, which has errors of its own."""
FRAME = re.compile(rb"<frame>(.*?)</frame>", re.S)
END = b"</valgrindoutput>"


class Leaked(NamedTuple):
    """The total of one kind of leak.

    Attributes:
        bytes: in all blocks together.
        blocks: the number of blocks.
    """

    bytes: int
    blocks: int


class Leak(NamedTuple):
    """The blocks that one line of the program allocated.

    Attributes:
        kind: "definitely", "indirectly", "possibly" or "reachable".
        bytes: in all blocks together.
        blocks: the number of blocks.
        place: where they were allocated, as far as it is known: "main (list.c:12)".
    """

    kind: str
    bytes: int
    blocks: int
    place: str


class Misuse(NamedTuple):
    """An invalid read, write or free, or another error that memcheck reports.

    Attributes:
        kind: memcheck's name, such as "InvalidRead".
        what: in valgrind's words: "Invalid read of size 8".
        place: where it happened, as far as it is known: "free_friends (list.c:81)".
    """

    kind: str
    what: str
    place: str


class Leaks(NamedTuple):
    """The blocks that were not freed at the end of a program, and other errors of memory.

    Attributes:
        definitely: there is no pointer to the block any more.
        indirectly: the only pointers to it are in lost blocks.
        possibly: the only pointers are into the block, not to its start.
        reachable: there still is a pointer to it.
        places: each line that allocated such blocks, the largest sum first.
        errors: how often memcheck reported each other error, such as "InvalidWrite".
        misuses: each of these errors.
    """

    definitely: Leaked
    indirectly: Leaked
    possibly: Leaked
    reachable: Leaked
    places: tuple[Leak, ...]
    errors: dict[str, int]
    misuses: tuple[Misuse, ...] = ()


def leaks(
    job: Job,
    argv: Sequence[str],
    answers: Sequence[str] = (),
    *,
    limits: Limits | None = None,
    runs: list[Run] | None = None,
) -> Leaks:
    """What a program has not freed at its end: see Program.leaks().

    Args:
        job: whose program it is.
        argv: its name and arguments.
        answers: a line for each time that it waits for input; afterwards, the end of input.
        limits: what it may use without valgrind; None: the limits of the job.
        runs: where the Run is added.
    """
    if shutil.which("valgrind", path=PATH) is None:
        raise NotPossibleHere("valgrind is not installed (on Debian: apt-get install valgrind)")
    for directory in (job.directory, job.room):
        # valgrind(1) takes options from it: ones that hide leaks, too.
        if os.path.lexists(os.path.join(directory, ".valgrindrc")):
            raise SubmissionError(".valgrindrc would change what valgrind reports: remove it")
    ours, theirs = socket.socketpair()
    report = bytearray()

    def read() -> None:
        while len(report) < MOST and (data := ours.recv(65536)):
            report.extend(data)

    usual = limits or job.limits
    limits = replace(usual, cpu=usual.cpu * SLOWER, wall=usual.wall * SLOWER)
    command = [
        "valgrind", "--quiet", "--xml=yes", f"--xml-fd={theirs.fileno()}", "--leak-check=full",
        "--show-leak-kinds=all", "--num-callers=20", "--child-silent-after-fork=yes",
        "--vgdb=no", "--", *argv,
    ]  # fmt: skip
    # A socket: unlike a pipe it can't be opened again by way of /proc/self/fd, so that the
    # program has no way to write into the report.
    run = Run(job, command, keep=theirs.fileno(), limits=limits)
    if runs is not None:
        runs.append(run)
    reader = threading.Thread(target=read, name="procmem-leaks")
    try:
        with run:
            theirs.close()
            reader.start()
            ended = run.finish(answers)
    finally:
        theirs.close()
        if reader.ident is not None:
            reader.join()
        ours.close()
    found = parse_leaks(bytes(report))
    if found is None:
        raise RunFailed(
            f"valgrind reported no leaks summary: {run.output[-500:] or ended}",
            phase=run.phase,
            output=run.output,
        )
    return found


def parse_leaks(report: bytes) -> Leaks | None:
    """The leaks of a report in memcheck's XML (protocol 4); None if the report is incomplete."""
    if not report.rstrip().endswith(END) or report.count(END) != 1:
        return None
    sums = {kind: [0, 0] for kind in KINDS.values()}
    places = []
    errors: dict[str, int] = {}
    misuses = []
    for match in ERROR.finditer(report):
        kind, leaked = KIND.search(match[1]), LEAKED.search(match[1])
        if kind is None:
            continue
        name = KINDS.get(kind[1])
        if name is None or leaked is None:
            named = kind[1].decode()
            errors[named] = errors.get(named, 0) + 1
            misuses.append(Misuse(named, text(match[1], b"what") or named, place(match[1])))
            continue
        size, blocks = int(leaked[1]), int(leaked[2])
        if direct := DIRECT.search(match[1]):
            size = int(direct[1].replace(b",", b""))
        sums[name][0] += size
        sums[name][1] += blocks
        places.append(Leak(name, size, blocks, place(match[1])))
    places.sort(key=lambda leak: -leak.bytes)
    totals = {kind: Leaked(*found) for kind, found in sums.items()}
    return Leaks(**totals, places=tuple(places), errors=errors, misuses=tuple(misuses))


def place(error: bytes) -> str:
    """The innermost function that has a source line: the allocator has none."""
    found = ""
    for match in FRAME.finditer(error):
        function, file, line = (text(match[1], tag) for tag in (b"fn", b"file", b"line"))
        if file and "vg_replace_malloc" not in file:
            return f"{function} ({file}:{line})"
        if not file and function:
            found = function
    return found


def text(frame: bytes, tag: bytes) -> str:
    found = re.search(rb"<" + tag + rb">(.*?)</" + tag + rb">", frame, re.S)
    return html.unescape(found[1].decode(errors="replace")) if found else ""
