"""A step: what was done, what changed, what was predicted to change, and why."""

from __future__ import annotations

from operator import sub
from typing import NamedTuple

from procmem.experiments.specimen.why import explain

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from procmem.errors import MemoryFault
    from procmem.experiments.specimen.arguments import Area
    from procmem.experiments.specimen.why import Prediction

    Call = tuple[str, Callable[[], tuple[object, ...]]]
    """The name of an operation, and its arguments as they are shown."""

__all__ = ["Delta", "Figures", "Step", "difference"]


class Figures(NamedTuple):
    """The kernel's figures of a process at one moment, in bytes; None: not known from this source.

    Attributes:
        vsz: VmSize.
        rss: VmRSS, the sum of the three kinds.
        rss_anon, rss_file, rss_shmem: anonymous pages, pages of files, shared memory.
        swap: VmSwap.
        hugetlb: HugetlbPages, which RSS does not include.
        locked: VmLck.
        page_tables: VmPTE.
        regions: lines of maps.

    Source: proc_pid_status(5).
    """

    vsz: int
    rss: int | None
    rss_anon: int | None
    rss_file: int | None
    rss_shmem: int | None
    swap: int | None
    hugetlb: int | None
    locked: int | None
    page_tables: int | None
    regions: int


class Delta(NamedTuple):
    """A change of the figures, in bytes but for regions and faults.

    Attributes:
        minor, major: page faults, as getrusage(2) counts them.
    """

    vsz: int = 0
    rss: int | None = 0
    rss_anon: int | None = 0
    rss_file: int | None = 0
    rss_shmem: int | None = 0
    swap: int | None = 0
    hugetlb: int | None = 0
    locked: int | None = 0
    page_tables: int | None = 0
    regions: int = 0
    minor: int = 0
    major: int = 0

    def differences(self, other: Delta) -> list[str]:
        """Names of the figures that are known on both sides and differ."""
        return [
            name
            for name, one, two in zip(self._fields, self, other)  # noqa: B905 - strict= costs
            if one != two and one is not None and two is not None
        ]


class Step:
    """One operation on a specimen.

    Attributes:
        before, after: the kernel's figures of the specimen before and after it.
        delta: after - before, and the page faults that the operation took.
        predicted: the change that the model predicted by the kernel's rules.
        why: the rule behind it, in words.
        exact: whether both are exact here; `reason` says why if not.
        result: what the call returned; of a touch, how many accesses succeeded.
        ns: how long the operation took inside the specimen, in nanoseconds.
        mapping: the memory that mmap, mremap or brk mapped; None for other operations.
        fault: the signal that an access caused, as a MemoryFault that was not raised.
        predicted_fault: signal, code and address that were predicted; None: no signal.
        child: the Specimen that fork made.
        address: what malloc returned.
        predicted_address: what malloc was predicted to return; of a mapping of its own, the
            address that the kernel chose.
        thread: the number of the thread that was started.
    """

    __slots__ = (
        "_call", "_prediction", "address", "after", "before", "child", "delta", "exact", "fault",
        "mapping", "ns", "predicted", "predicted_address", "predicted_fault", "reason", "result",
        "thread",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        before: Figures,
        after: Figures,
        delta: Delta,
        result: int,
        ns: int,
        reason: str | None,
        prediction: Prediction,
        fault: MemoryFault | None,
        predicted_fault: tuple[int, int, int] | None,
    ) -> None:
        self._call = call
        self._prediction = prediction
        self.before = before
        self.after = after
        self.delta = delta
        self.predicted = Delta(*prediction.tally.figures(prediction.page_size))
        self.result = result
        self.ns = ns
        self.exact = reason is None
        self.reason = reason
        self.fault = fault
        self.predicted_fault = predicted_fault
        self.mapping: Area | None = None
        self.child: Any = None
        self.address: int | None = None
        self.predicted_address: int | None = None
        self.thread: int | None = None

    @property
    def call(self) -> str:
        """The operation as it is written in C."""
        name, arguments = self._call
        return f"{name}({', '.join(str(argument) for argument in arguments())})"

    @property
    def operation(self) -> str:
        """The name of the operation."""
        return self._call[0]

    @property
    def why(self) -> str:
        """The rules of the kernel and of libc that decided, in sentences."""
        return explain(self._prediction)

    @property
    def differences(self) -> list[str]:
        """Names of the figures whose measured and predicted change differ."""
        found = self.delta.differences(self.predicted)
        if self.predicted_address not in (None, self.address):
            found.append("address")
        seen = self.fault and (self.fault.signal, self.fault.code, self.fault.address)
        return [*found, "fault"] if seen != self.predicted_fault else found

    @property
    def agrees(self) -> bool:
        """Whether measurement and prediction are equal in every figure."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """A plain value for JSON."""
        fault = self.fault
        return {
            "call": self.call,
            "before": self.before._asdict(),
            "after": self.after._asdict(),
            "delta": self.delta._asdict(),
            "predicted": self.predicted._asdict(),
            "fault": fault and {
                "signal": fault.signal, "code": fault.code, "address": fault.address,
            },
            "exact": self.exact,
            "reason": self.reason,
            "agrees": self.agrees,
            "differences": self.differences,
            "why": self.why,
            "result": self.result,
            "ns": self.ns,
        }  # fmt: skip

    def _repr_html_(self) -> str:
        """What a notebook shows: what changed, what was predicted, and why."""
        from procmem.picture.markup import block, kib, signed_kib, table

        def texts(name: str) -> list[str | None]:
            counted = name in ("minor", "major", "regions")
            figures = [getattr(side, name, None) for side in (self.before, self.after)]
            changes = [getattr(side, name) for side in (self.delta, self.predicted)]
            if counted:
                shown = ["" if value is None else f"{value:,}" for value in figures]
                return [*shown, *(f"{value:+,}" if value else "0" for value in changes)]
            return [*map(kib, figures), *map(signed_kib, changes)]

        shown = [
            name
            for name in Delta._fields
            if name in ("vsz", "rss", "minor")
            or getattr(self.delta, name)
            or getattr(self.predicted, name)
        ]
        rows = [[name, *texts(name), "NO" if name in self.differences else "yes"] for name in shown]
        heading = ["KiB, or a number", "Before", "After", "Change", "Predicted", "Agrees"]
        parts: list[str] = [table(heading, rows, "<>>>><"), self.why]
        if self.fault is not None:
            parts.insert(0, f"Signal: {self.fault}.")
        if self.reason is not None:
            parts.append(f"Not exact here: {self.reason}.")
        verdict = "as predicted" if self.agrees else f"differs in {', '.join(self.differences)}"
        return block(f"{self.call}: {verdict}", *parts)

    def __repr__(self) -> str:
        verdict = "as predicted" if self.agrees else f"differs in {', '.join(self.differences)}"
        return f"<Step {self.call}: {verdict}>"


def difference(before: Figures, after: Figures, minor: int, major: int) -> Delta:
    """What changed between two readings of the figures, with the faults taken."""
    moved: Any = map(sub, after, before)
    if None in before:
        moved = (
            None if old is None or new is None else new - old
            for old, new in zip(before, after, strict=True)
        )
    return Delta(*moved, minor, major)  # type: ignore[call-arg]  # ten and two
