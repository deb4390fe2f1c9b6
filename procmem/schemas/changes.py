"""Schemas of the commands that follow memory through time: snapshots, diffs, recordings, traces."""

from __future__ import annotations

from procmem.procfs.totals import Faults
from procmem.recording.growth import Growth
from procmem.recording.heaps import HeapGrowth
from procmem.recording.recording import Peak
from procmem.recording.suspects import Suspect, SuspectPlace
from procmem.schemas.making import (
    constant,
    listed,
    mapping,
    nullable,
    one_of,
    record,
    tuple_of,
    typed,
)
from procmem.schemas.memory import KINDS, memory_usage, plain_region, region, table
from procmem.snapshots.changes import Change, ChangeKind
from procmem.snapshots.diffs import Remainder
from procmem.snapshots.heaps import ArenaSummary, HeapDiff, HeapSummary
from procmem.snapshots.moment import DETAILS, Clock, Identity, Kernel
from procmem.snapshots.parts import Cause
from procmem.snapshots.snapshot import Diff, Snapshot
from procmem.snapshots.sums import CauseSum
from procmem.tracing.events import Breakpoints, MemoryCall, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.schemas.making import Schema

CAUSES = one_of([cause.value for cause in Cause], "the cause, one of a fixed list")
WORDS = {
    "vsz": "change of VSZ",
    "rss": "change of RSS; null: not known",
    "swap": "change of memory in swap; null: not known",
    "minor": "minor page faults",
    "major": "major page faults",
}


def identity() -> Schema:
    """Whose memory a snapshot has."""
    names = " ".join(Identity._fields).replace("start_time", "start_time:ticks?")
    return record(Identity, names, cmdline=nullable(listed("str")),
                  says="whose memory it is")  # fmt: skip


def snapshot() -> Schema:
    """Snapshots."""
    kernel = record(Kernel, " ".join(Kernel._fields), features=listed("str"))
    arena = record(ArenaSummary, " ".join(ArenaSummary._fields))
    heap = record(
        HeapSummary, " ".join(HeapSummary._fields), arenas=listed(arena), doubts=listed("str")
    )
    one = record(
        Snapshot,
        "format detail source:str moved:bool vsz:bytes rss:bytes? rss_error:bytes? clock identity "
        "kernel memory faults threads heap unavailable regions",
        more={
            "detail": "how much was read of each region",
            "source": "where it is from",
            "clock": "when it was taken; null: not known",
            "identity": "whose memory it is",
            "kernel": "the machine; null: not known",
            "memory": "totals of the process; null: not read",
            "faults": "page faults so far; null: not read",
            "threads": "thread ID, name, stack pointer and malloc arena of each thread; null: not "
            "read",
            "heap": "what malloc and Python hold; null: not read",
            "unavailable": "why something could not be read",
            "moved": "whether the process changed while it was read",
        },
        format=constant("procmem.snapshot/1"),
        detail=one_of([*DETAILS]),
        clock=nullable(record(Clock, "realtime:ns monotonic:ns boottime:ns")),
        identity=identity(),
        kernel=nullable(kernel),
        memory=nullable(memory_usage()),
        faults=nullable(record(Faults, "minor major")),
        threads=nullable(listed(tuple_of("int", "str", "address?", "address?"))),
        heap=nullable(heap),
        unavailable=mapping("str"),
        regions=table(),
    )
    return listed(one, "snapshots")


def change() -> Schema:
    """A change of regions."""
    figures = " ".join(
        f"{name}:change?"
        for name in ("rss", "swap", "copied", "unshared", "anon_huge_pages", "lazy_free", "ksm",
                     "hugetlb")
    )  # fmt: skip
    return record(
        Change,
        f"kinds before after vsz:change {figures} minor:signed? major:signed? cause why:str "
        "evidence",
        says="a change of regions",
        kinds=listed(one_of([kind.value for kind in ChangeKind])),
        before=listed(region(), "the regions as they were"),
        after=listed(region(), "the regions as they are"),
        cause=CAUSES,
        evidence=listed("str", "the facts that it is concluded from"),
    )


def diff() -> Schema:
    """A diff."""
    remainder = record(Remainder, "vsz:change rss:change minor:signed major:signed why",
                       why=mapping("str"))  # fmt: skip
    heap = record(
        HeapDiff,
        "system:change in_use:change tcache:change free:change resident_free:change "
        "trimmable:change mmapped:change? python_in_use:change? python_free:change? certain "
        "trimmable_now:bytes live:change? why",
        why=listed("str"),
    )
    total = record(
        CauseSum,
        "cause why:str evidence size:bytes vsz:change rss:change? regions:int starts",
        more={"regions": "number of changes", "starts": "where each of them starts"},
        cause=CAUSES,
        evidence=listed("str"),
        starts=listed("address"),
    )
    return record(
        Diff,
        "vsz:change rss:change? rss_error:bytes? swap:change? page_tables:change? minor:signed? "
        "major:signed? elapsed:span? same_process:bool? remainder notes heap causes changes",
        more=WORDS,
        remainder=remainder,
        notes=listed("str"),
        heap=nullable(heap),
        causes=listed(total, "the sums of each cause"),
        changes=listed(change(), "the changes, by address"),
    )


def watch() -> Schema:
    """A line of watch."""
    ended = record(None, "ended:str", more={"ended": "why it ended"}, says="the last line")
    return {"description": "each line is an object", "anyOf": [diff(), ended]}


def record_report() -> Schema:
    """The report on a recording."""
    growth = record(Growth, "slope confidence first:bytes last:bytes")
    peak = record(Peak, "value:bytes at:int seconds:seconds?")
    figure = record(None, "peak growth", more={"peak": "the largest value", "growth": "its trend"},
                    peak=nullable(peak), growth=nullable(growth))  # fmt: skip
    place = record(
        SuspectPlace, "start end gained:change threads", threads=listed(tuple_of("int", "str"))
    )
    heap = record(
        HeapGrowth,
        "verdict allocator since until gained:change in_use:change resident_free:change "
        "trimmable:change trimmable_now certain",
    )
    suspect = record(
        Suspect,
        "name kind growth regions figure since whole gained:change rate places elsewhere:change "
        "heap",
        kind=KINDS,
        growth=growth,
        figure=one_of(["resident", "size"]),
        places=listed(place),
        heap=nullable(heap),
    )
    return record(
        None,
        "identity snapshots:int details seconds:seconds? looks:int? cpu_seconds:seconds? "
        "ended:str? figures last_full rss_error:bytes? suspects",
        more={
            "identity": "whose memory it is; null: no snapshot",
            "snapshots": "number of snapshots",
            "details": "how many snapshots have each detail",
            "seconds": "from the first snapshot to the last",
            "looks": "how often the process was checked; null: not known",
            "cpu_seconds": "CPU time that recording took; null: not known",
            "ended": "why the recording ended",
            "figures": "VSZ, RSS and others over time",
            "last_full": "number of the last snapshot with every counter",
            "rss_error": "by how much RSS may be off; null: not known",
            "suspects": "what may be a leak",
        },
        identity=nullable(identity()),
        details=mapping("int"),
        figures=mapping(figure),
        last_full=typed("int?"),
        suspects=listed(suspect),
    )


def trace() -> Schema:
    """A trace."""
    reading = record(None, "vsz:bytes rss:bytes")
    values: Schema = {"type": ["integer", "string", "null", "array"]}
    call = record(
        MemoryCall,
        "name:str args result:signed? errno:int? error:str? returned:bool pid:int tid:int "
        "within:str? made:int? before after delta_vsz:change? delta_rss:change? region began:ns "
        "ns:ns? exact:bool reason:str rss_error:bytes",
        says="a call",
        more={
            "name": "name of the call",
            "error": "name of the error, such as ENOMEM",
            "pid": "process ID",
        },
        args=mapping(values),
        before=nullable(reading),
        after=nullable(reading),
        region=nullable(plain_region()),
    )
    breakpoints = record(
        Breakpoints,
        "pid:int path:str? names missing reason:str? runtime:str? delta_rss:change? limited:bool",
        names=listed("str"),
        missing=listed("str"),
    )
    stack = record(
        None,
        "pid:int tid:int start:address end:address",
        more={"start": "lowest address of the new thread's stack"},
    )
    return record(
        None,
        "pid:int calls ended returncode:signed? foreign breakpoints setuid_ignored:bool refused "
        "not_seen stacks boot_id:str?",
        more={
            "calls": "the calls, in the order in which they ended",
            "ended": "exit status of each traced process, or the negative number of a signal, by "
            "PID",
            "returncode": "the same of the program; null: it is still alive",
            "foreign": "processes of another architecture, whose calls are missing",
            "breakpoints": "which breakpoints were set at malloc",
            "setuid_ignored": "whether the program ran without its set-user-ID rights",
            "refused": "calls of ptrace(2) by the program that failed",
            "not_seen": "what is missing of malloc's calls; null: they were not traced",
            "stacks": "stacks of new threads",
            "boot_id": "ID of the boot in which it was traced (random(4))",
        },
        calls=listed(call),
        ended=mapping("signed"),
        foreign=listed("int"),
        breakpoints=listed(breakpoints),
        refused=listed(record(Refused, "pid:int request:str thread:int")),
        not_seen=nullable(listed("str")),
        stacks=listed(stack),
    )
