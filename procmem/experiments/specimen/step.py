"""A step: what was done, what moved, what had to move, and why."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from procmem.errors import MemoryFault
    from procmem.experiments.specimen.specimen import Area, Specimen
    from procmem.experiments.specimen.why import Cause

__all__ = ["Delta", "Figures", "Step"]


class Figures(NamedTuple):
    """What the kernel says of a process at one moment. Bytes; None: this source can't tell.

    Attributes:
        vsz: VmSize.
        rss: VmRSS, the sum of the three kinds.
        rss_anon, rss_file, rss_shmem: anonymous pages, pages of files, shared memory.
        swap: VmSwap.
        hugetlb: HugetlbPages, which Rss leaves out.
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
    """A change of the figures, with the faults that were taken; all but these in bytes.

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
        """Names of the figures that both know and that aren't equal."""
        return [
            name
            for name, one, two in zip(self._fields, self, other)  # noqa: B905 - strict= costs
            if one != two and one is not None and two is not None
        ]


class Step:
    """One operation on a specimen.

    Attributes:
        before, after: the kernel's figures of the specimen around it.
        delta: after - before, and the faults that the operation took.
        predicted: the same by the kernel's rules, known without looking.
        why: the rule behind it, in words.
        exact: whether both are exact here; `reason` says why if not.
        result: what the call returned; of a touch, how many accesses succeeded.
        ns: how long the operation took inside the specimen, nanoseconds.
        mapping: what mmap and mremap made, or the operation was on; None for others.
        fault: the signal that an access raised, as a MemoryFault that wasn't raised.
        predicted_fault: signal, code and address that it had to raise; None: none.
        child: the specimen that fork made.
        address: what malloc returned.
        predicted_address: what it had to return; of a mapping of its own, where the kernel put it.
        thread: the number of the thread that was started.
    """

    __slots__ = (
        "_call", "_cause", "address", "after", "before", "child", "delta", "exact", "fault",
        "mapping", "ns", "predicted", "predicted_address", "predicted_fault", "reason", "result",
        "thread",
    )  # fmt: skip

    def __init__(
        self,
        call: tuple[str, Callable[[], tuple[object, ...]]],
        before: Figures,
        after: Figures,
        delta: Delta,
        predicted: Delta,
        result: int,
        ns: int,
        reason: str | None,
        cause: Cause,
    ) -> None:
        self._call = call
        self._cause = cause
        self.before = before
        self.after = after
        self.delta = delta
        self.predicted = predicted
        self.result = result
        self.ns = ns
        self.exact = reason is None
        self.reason = reason
        self.mapping: Area | None = None
        self.fault: MemoryFault | None = None
        self.predicted_fault: tuple[int, int, int] | None = None
        self.child: Specimen | None = None
        self.address: int | None = None
        self.predicted_address: int | None = None
        self.thread: int | None = None

    @property
    def call(self) -> str:
        """The operation as one would write it."""
        name, arguments = self._call
        return f"{name}({', '.join(str(argument) for argument in arguments())})"

    @property
    def operation(self) -> str:
        """Its name alone."""
        return self._call[0]

    @property
    def why(self) -> str:
        """The kernel's rules that decided, in sentences."""
        from procmem.experiments.specimen.why import explain

        return explain(self._cause)

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

    def __repr__(self) -> str:
        verdict = "as predicted" if self.agrees else f"differs in {', '.join(self.differences)}"
        return f"<Step {self.call}: {verdict}>"
