"""What a program asks malloc for and never frees, by trace: a second witness beside valgrind.

The trace sees the program as it runs alone, so a program that behaves otherwise under valgrind is
found out.
"""

from __future__ import annotations

from typing import NamedTuple

from procmem.grade.errors import NotPossibleHere, SubmissionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.grade.runs.program import Program
    from procmem.tracing.events import MemoryCall, Trace

__all__ = ["Pieces", "pieces", "pieces_of"]


class Pieces(NamedTuple):
    """The pieces of memory of one run.

    Attributes:
        asked: bytes of each piece that was asked for, in order; resized ones by their new size.
        left: bytes of each piece that was there at the end, but for those of posix_memalign(3).
    """

    asked: tuple[int, ...]
    left: tuple[int, ...]


def pieces(program: Program, *arguments: str, answers: Sequence[str] = ()) -> Pieces | None:
    """What a program asks malloc and its kin for in a run; None: that can't be seen.

    It can't where the processor is no x86-64, tracing is not allowed, the program does not run to
    its end, or no file that it maps has malloc among its symbols.

    Args:
        program: of a submission.
        arguments: added to its own.
        answers: what it gets when it asks; then the end of input.
    """
    try:
        trace = program.calls(*arguments, answers=answers, malloc=True)
    except (SubmissionError, NotPossibleHere):
        return None
    found = pieces_of(trace)
    return found if found.asked or maps_libraries(trace) else None


def maps_libraries(trace: Trace) -> bool:
    """Whether the program maps files after its execve(2), so that its malloc is a library's.

    A static program without symbols asks for nothing that could be seen.
    """
    names = {name for one in trace.breakpoints for name in one.names}
    calls = list(trace)
    begin = max((at for at, call in enumerate(calls) if call.name == "execve"), default=0)
    maps = any(call.name == "mmap" and call.args["fd"] >= 0 for call in calls[begin:])
    return maps and {"malloc", "free"} <= names


def size_of(call: MemoryCall) -> int | None:
    """The bytes that a call asks for; None: it gives no memory."""
    if call.name in {"calloc", "reallocarray"}:
        return int(call.args["nmemb"]) * int(call.args["size"])
    if call.name.startswith(("malloc_", "free")) or "size" not in call.args:
        return None
    return int(call.args["size"])


def pieces_of(trace: Trace) -> Pieces:
    """The pieces of the first process of a trace that has malloc=True."""
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
