"""The result of a ready experiment: steps and claims in order, each compared with theory."""

from __future__ import annotations

import errno
import inspect
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from procmem.errors import BadArgument, SyscallError, Unsupported

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from procmem.experiments.specimen.specimen import Area
    from procmem.experiments.specimen.step import Step

__all__ = ["EXPERIMENTS", "Claim", "Story", "StoryTable", "Teller", "Told", "experiment", "find"]

EXPERIMENTS = {
    "lazy-allocation": "mmap gives addresses; the first write to a page allocates it",
    "brk": "brk moves the end of the heap; touching it allocates pages",
    "file-mapping": "mapped files: lazy, shared or private, fault-around, SIGBUS",
    "copy-on-write": "fork copies no page; the first write to it does",
    "faults": "minor faults, major faults, and those that end in a signal",
    "page-tables": "how much memory page tables take; how an address is split",
    "protection": "read-only, no-execute, guard pages; mprotect splits regions",
    "static-dynamic": "a static and a dynamic program: regions, libraries, sizes",
    "grow": "an interpreter doubles a string: heap first, then mappings",
    "copy": "read and write, mmap, sendfile, copy_file_range: timed",
    "malloc": "brk or mmap; the dynamic threshold; what free gives back",
    "threads": "a stack and its guard; an arena for a thread that allocates",
    "sharing": "writes to shared mappings are seen by others, to private not",
    "pipe-capacity": "bytes and slots: full at 65,536, or at 48,000",
    "pipe-ends": "end of file after the last writer, SIGPIPE without a reader",
    "pipe-atomicity": "several writers: mixed only above PIPE_BUF",
    "fifo": "who waits in open; what a FIFO loses with its last descriptor",
    "stdio-buffer": "printed, but not in the pipe yet: stdio's buffers",
    "file-size": "ftell, lseek and stat; what is buffered; holes",
}
"""Names, and what each shows. The function is in the module of the name, with underscores."""

ATTEMPTS = 3

DENIALS = (errno.ENOMEM, errno.EPERM, errno.EACCES, errno.EAGAIN, errno.ENOSYS)
"""Errors from a limit, a seccomp filter or a small kernel: the machine's, not the model's."""

P = ParamSpec("P")
Value = int | str | bool | None


@dataclass(frozen=True)
class Claim:
    """A claim: something that must hold besides the figures of a step.

    Attributes:
        expected, seen: what theory says, and what was measured: numbers or words.
        holds: whether both agree.
        unit: "bytes", or empty for plain numbers and words.
        reason: why it is not judged here; empty if it is.
    """

    expected: Value
    seen: Value
    holds: bool
    unit: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Told:
    """One line of a story: a step, a claim, or what is not possible here.

    Attributes:
        label: what was done or compared, in plain words.
        teaches: what it shows, in addition to the step's own `why`; may be empty.
        step: the measured step.
        claim: the claim.
        impossible: why it is not possible here; such a line is not a failure.
    """

    label: str
    teaches: str = ""
    step: Step | None = None
    claim: Claim | None = None
    impossible: str = ""

    @property
    def agrees(self) -> bool | None:
        """Whether theory and measurement agree; None: it is not judged.

        A step whose figures can't be exact here (`step.reason`) is not judged, nor is a claim
        that depends on one.
        """
        if self.step is not None:
            return self.step.agrees if self.step.exact else None
        if self.claim is not None and not self.claim.reason:
            return self.claim.holds
        return None

    def to_dict(self) -> dict[str, Any]:
        """A plain value for JSON."""
        made: dict[str, Any] = {
            "label": self.label, "teaches": self.teaches, "agrees": self.agrees,
        }  # fmt: skip
        if self.step is not None:
            made["step"] = self.step.to_dict()
        if self.claim is not None:
            made["claim"] = vars(self.claim).copy()
        if self.impossible:
            made["impossible"] = self.impossible
        return made


@dataclass(frozen=True)
class StoryTable:
    """Figures that are reported, and not judged.

    Attributes:
        title: what the figures are, with their unit.
        heading: a name for each column.
        rows: the values; floats are shown with one digit.
        notes: sentences below it.
    """

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A plain value for JSON: the rows as objects."""
        return {
            "title": self.title,
            "rows": [dict(zip(self.heading, row, strict=True)) for row in self.rows],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, repr=False)
class Story:
    """The result of a ready experiment.

    Attributes:
        name: as the command has it.
        title: in a few words.
        question: the question that it answers.
        told: its lines, in order.
        tables: figures that are reported, and not judged.
        skipped: why it is not possible here at all; empty if it was done.
        disturbed: lines that differed at first, and not when the experiment was repeated: a page
            may be migrated or written back just when the specimen accesses it.
    """

    name: str
    title: str
    question: str
    told: tuple[Told, ...] = ()
    tables: tuple[StoryTable, ...] = ()
    skipped: str = ""
    disturbed: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """How many lines were judged."""
        return sum(one.agrees is not None for one in self.told)

    @property
    def not_judged(self) -> int:
        """How many lines can't be exact here."""
        return sum(one.agrees is None and not one.impossible for one in self.told)

    @property
    def agreed(self) -> int:
        """In how many lines theory and measurement agree."""
        return sum(bool(one.agrees) for one in self.told)

    @property
    def agrees(self) -> bool:
        """Whether nothing differed. Lines that were skipped or not possible do not count."""
        return self.agreed == self.total

    def to_dict(self) -> dict[str, Any]:
        """A plain value for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "question": self.question,
            "agreed": self.agreed,
            "total": self.total,
            "not_judged": self.not_judged,
            "skipped": self.skipped,
            "disturbed": list(self.disturbed),
            "told": [one.to_dict() for one in self.told],
            "tables": [one.to_dict() for one in self.tables],
        }

    def svg(self, title: str = "") -> str:
        """The story as an SVG picture: what each step changed in VSZ and RSS, and the claims.

        Args:
            title: the picture's title; empty: the story's.
        """
        from procmem.picture.shapes import StepChange
        from procmem.picture.svg import document, prose, steps

        rows = [
            StepChange(one.label, (one.step.delta.vsz, one.step.delta.rss), one.agrees)
            for one in self.told
            if one.step is not None
        ]
        claims = [
            f"{one.label}: expected {one.claim.expected}, seen {one.claim.seen}"
            + (f" {one.claim.unit}" if one.claim.unit else "")
            for one in self.told
            if one.claim is not None
        ]
        panels = [steps("What each step changed", ("VSZ", "RSS"), rows)] if rows else []
        panels += [prose("Claims", claims)] if claims else []
        said = [self.question]
        said.append(
            f"Not possible here: {self.skipped}."
            if self.skipped
            else f"{self.agreed} of {self.total} as predicted."
        )
        return document(title or self.title, said, panels)

    def __repr__(self) -> str:
        verdict = f"skipped: {self.skipped}" if self.skipped else f"{self.agreed} of {self.total}"
        return f"<Story {self.name}: {verdict}>"


class Teller:
    """Records the lines of a story while an experiment runs."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.tables: list[StoryTable] = []

    def step(self, label: str, step: Step, teaches: str = "") -> Step:
        """Records a step, and returns it."""
        self.told.append(Told(label, teaches, step=step))
        return step

    def mapping(self, label: str, step: Step, teaches: str = "") -> Area:
        """Records a step that maps memory, and returns the mapping."""
        area = self.step(label, step, teaches).mapping
        if area is None:
            raise BadArgument(f"{step.call} mapped nothing")
        return area

    def claim(
        self,
        label: str,
        expected: Value,
        seen: Value,
        teaches: str = "",
        *,
        holds: bool | None = None,
        unit: str = "",
        rests_on: Iterable[Step] = (),
    ) -> None:
        """Records a claim. It holds if both values are equal, or as `holds` says.

        If one of the steps that it depends on is not exact here, it is not judged.
        """
        if holds is None:
            holds = expected == seen
        reason = next((step.reason for step in rests_on if step.reason), "")
        self.told.append(Told(label, teaches, claim=Claim(expected, seen, holds, unit, reason)))

    def bytes(
        self,
        label: str,
        expected: int | str | None,
        seen: int | None,
        teaches: str = "",
        *,
        holds: bool | None = None,
        rests_on: Iterable[Step] = (),
    ) -> None:
        """Records a claim about a number of bytes."""
        self.claim(label, expected, seen, teaches, holds=holds, unit="bytes", rests_on=rests_on)

    def impossible(self, label: str, why: str) -> None:
        """Records what is not possible here, and why."""
        self.told.append(Told(label, impossible=why))

    def table(
        self,
        title: str,
        heading: Sequence[str],
        rows: Sequence[Sequence[str | int | float | None]],
        *notes: str,
    ) -> None:
        """Records figures that are reported, and not judged."""
        self.tables.append(StoryTable(title, tuple(heading), tuple(map(tuple, rows)), notes))


def experiment(
    name: str, title: str, question: str, *, quick: Mapping[str, Any] | None = None
) -> Callable[[Callable[Concatenate[Teller, P], None]], Callable[P, Story]]:
    """Makes an experiment of a function that records its steps with a Teller.

    Args:
        name: as the command has it.
        title: in a few words.
        question: the question that it answers.
        quick: arguments with which it takes only seconds, for a run of all experiments.

    Unsupported ends the experiment; if nothing was recorded before, it is skipped. An experiment
    that differs is repeated: a wrong rule is wrong each time, a disturbance is not.
    """

    def make(function: Callable[Concatenate[Teller, P], None]) -> Callable[P, Story]:
        @wraps(function)
        def run(*args: P.args, **options: P.kwargs) -> Story:
            disturbed: tuple[str, ...] = ()
            for _ in range(ATTEMPTS):
                story = once(*args, **options)
                if story.agrees:
                    break
                disturbed += tuple(one.label for one in story.told if one.agrees is False)
            return replace(story, disturbed=disturbed if story.agrees else ())

        def once(*args: P.args, **options: P.kwargs) -> Story:
            tell = Teller()
            skipped = ""
            try:
                function(tell, *args, **options)
            except (Unsupported, SyscallError) as error:
                if isinstance(error, SyscallError) and error.errno not in DENIALS:
                    raise
                if tell.told:
                    tell.impossible("the rest of the experiment", str(error))
                else:
                    skipped = str(error)
            return Story(name, title, question, tuple(tell.told), tuple(tell.tables), skipped)

        # wraps() copied the signature of the inner function, whose first argument is the Teller.
        parameters = list(inspect.signature(function).parameters.values())[1:]
        run.__signature__ = inspect.Signature(parameters, return_annotation=Story)  # type: ignore[attr-defined]
        run.quick = dict(quick or {})  # type: ignore[attr-defined]
        return run

    return make


def find(name: str) -> Callable[..., Story]:
    """The function of an experiment by its name; "-" and "_" are equivalent.

    Raises:
        BadArgument: there is none of this name.
    """
    from importlib import import_module

    plain = name.replace("_", "-")
    if plain not in EXPERIMENTS:
        raise BadArgument(f"no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    spelled = plain.replace("-", "_")
    found: Callable[..., Story] = getattr(
        import_module(f"procmem.experiments.ready.{spelled}"), spelled
    )
    return found
