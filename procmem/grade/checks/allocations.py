"""What a program requests from malloc and never frees, from a trace: independent of valgrind.

The trace shows the program without valgrind, and so reveals a program that behaves differently
under it.
"""

from __future__ import annotations

from typing import NamedTuple

from procmem.grade.errors import NotPossibleHere, SubmissionError

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.grade.runs.program import Program
    from procmem.tracing.events import MemoryCall, Trace

__all__ = ["Pieces", "pieces", "pieces_of"]


class Pieces(NamedTuple):
    """The blocks of memory of one run.

    Attributes:
        asked: the size of each block that was requested, in order; of resized blocks the new size.
        left: the size of each block that was not freed, except those of posix_memalign(3).
    """

    asked: tuple[int, ...]
    left: tuple[int, ...]


def pieces(program: Program, *arguments: str, answers: Sequence[str] = ()) -> Pieces | None:
    """What a program requests from malloc and related functions in a run; None: that is not known.

    It is not known if the processor is not x86-64, tracing is not allowed, the program does not run
    to its end, or no file that it maps has a symbol malloc.

    Args:
        program: of a submission.
        arguments: added to its own.
        answers: a line for each time that it waits for input; afterwards, the end of input.
    """
    try:
        trace = program.calls(*arguments, answers=answers, malloc=True)
    except (SubmissionError, NotPossibleHere):
        return None
    found = pieces_of(trace)
    return found if found.asked or maps_libraries(trace) else None


def maps_libraries(trace: Trace) -> bool:
    """Whether the program maps files after its execve(2), so that its malloc is in a library.

    In a static program without symbols no request could be seen.
    """
    names = {name for one in trace.breakpoints for name in one.names}
    calls = list(trace)
    begin = max((at for at, call in enumerate(calls) if call.name == "execve"), default=0)
    maps = any(call.name == "mmap" and call.args["fd"] >= 0 for call in calls[begin:])
    return maps and {"malloc", "free"} <= names


def size_of(call: MemoryCall) -> int | None:
    """The size that a call requests; None: it allocates nothing."""
    if call.name in {"calloc", "reallocarray"}:
        return int(call.args["nmemb"]) * int(call.args["size"])
    if call.name.startswith(("malloc_", "free")) or "size" not in call.args:
        return None
    return int(call.args["size"])


def pieces_of(trace: Trace) -> Pieces:
    """The blocks of the first process in a trace made with malloc=True."""
    asked: list[int] = []
    live: dict[int, int] = {}
    for call in trace:
        if call.pid != trace.pid or call.errno:
            continue
        if call.name == "execve":
            live.clear()
        old = call.args.get("ptr")
        size = size_of(call)
        if size is None:
            if call.name.startswith("free") and old:
                live.pop(old, None)
            continue
        if call.name == "posix_memalign":
            # Its result is an error number, and the address lies in the program's memory.
            asked.append(size)
            continue
        if not call.result:
            # Refused: what was to be resized is left as it was, but for realloc(ptr, 0).
            if old and not size:
                live.pop(old, None)
            continue
        if old:
            live.pop(old, None)
        asked.append(size)
        live[call.result] = size
    return Pieces(tuple(asked), tuple(live.values()))
