"""procmem: shows, measures and explains the memory of live Linux processes.

>>> import procmem
>>> regions = procmem.Process().maps()
>>> regions.filter(kind="stack")[0].perms
Perms('rw-p')
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.calls._mmap import mmap
    from procmem.calls.mapping import Mapping
    from procmem.elf.loaded import LiveObject, LiveSection
    from procmem.elf.sizing import ObjectSize, SectionSize, size
    from procmem.errors import (
        AccessDenied,
        ElfError,
        KernelThread,
        MemoryFault,
        MissingExtra,
        NoSuchProcess,
        ParseError,
        ProcessChanged,
        ProcessError,
        ProcmemError,
        SyscallError,
        Unsupported,
        ZombieProcess,
    )
    from procmem.pages.frames import Frame, FrameFlags
    from procmem.pages.pagemap import Page, PageCounts, PageMap, PageState
    from procmem.pages.tables import PagingScheme
    from procmem.process import Faults, MemoryUsage, Process, Thread, processes
    from procmem.process.doctor import Feature, doctor
    from procmem.process.finding import find
    from procmem.process.pages import Share, Sharers, Translation
    from procmem.process.reconcile import Comparison, Reconciliation
    from procmem.process.symbols import Symbol
    from procmem.process.tables import PageTables
    from procmem.recording.recorder import Recorder, record, watch
    from procmem.recording.recording import Recording
    from procmem.regions import (
        Counters,
        Device,
        MeasuredRegion,
        Perms,
        Region,
        RegionTable,
        ResidentRegion,
        VmFlags,
        format_maps,
        parse_maps,
        parse_rollup,
        parse_smaps,
    )
    from procmem.regions.kinds import Owner, RegionKind, Use
    from procmem.snapshots import Cause, CauseSum, Change, ChangeKind, Diff, Snapshot, diff, load
    from procmem.tracing.events import MemoryCall, Trace
    from procmem.tracing.tracer import trace

    from . import calls as calls
    from . import elf as elf
    from . import experiments as experiments
    from . import grade as grade

__version__ = "0.1.0"

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB

# Names are imported when they are first used, so that a command pays only for
# what it needs.
_HOMES = {
    "procmem.calls._mmap": "mmap",
    "procmem.calls.mapping": "Mapping",
    "procmem.errors": "AccessDenied ElfError KernelThread MemoryFault MissingExtra NoSuchProcess "
    "ParseError ProcessChanged ProcessError ProcmemError SyscallError Unsupported ZombieProcess",
    "procmem.elf.loaded": "LiveObject LiveSection",
    "procmem.elf.sizing": "ObjectSize SectionSize size",
    "procmem.recording.recorder": "Recorder record watch",
    "procmem.recording.recording": "Recording",
    "procmem.snapshots": "Cause CauseSum Change ChangeKind Diff Snapshot diff load",
    "procmem.tracing.events": "MemoryCall Trace",
    "procmem.tracing.tracer": "trace",
    "procmem.pages.frames": "Frame FrameFlags",
    "procmem.pages.pagemap": "Page PageCounts PageMap PageState",
    "procmem.pages.tables": "PagingScheme",
    "procmem.process": "Faults MemoryUsage Process Thread processes",
    "procmem.process.doctor": "Feature doctor",
    "procmem.process.finding": "find",
    "procmem.process.pages": "Share Sharers Translation",
    "procmem.process.reconcile": "Comparison Reconciliation",
    "procmem.process.symbols": "Symbol",
    "procmem.process.tables": "PageTables",
    "procmem.regions": "Counters Device MeasuredRegion Perms Region RegionTable ResidentRegion "
    "VmFlags format_maps parse_maps parse_rollup parse_smaps",
    "procmem.regions.kinds": "Owner RegionKind Use",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AccessDenied",
    "Cause",
    "CauseSum",
    "Change",
    "ChangeKind",
    "Comparison",
    "Counters",
    "Device",
    "Diff",
    "ElfError",
    "Faults",
    "Feature",
    "Frame",
    "FrameFlags",
    "GiB",
    "KernelThread",
    "KiB",
    "LiveObject",
    "LiveSection",
    "Mapping",
    "MeasuredRegion",
    "MemoryCall",
    "MemoryFault",
    "MemoryUsage",
    "MiB",
    "MissingExtra",
    "NoSuchProcess",
    "ObjectSize",
    "Owner",
    "Page",
    "PageCounts",
    "PageMap",
    "PageState",
    "PageTables",
    "PagingScheme",
    "ParseError",
    "Perms",
    "Process",
    "ProcessChanged",
    "ProcessError",
    "ProcmemError",
    "Reconciliation",
    "Recorder",
    "Recording",
    "Region",
    "RegionKind",
    "RegionTable",
    "ResidentRegion",
    "SectionSize",
    "Share",
    "Sharers",
    "Snapshot",
    "Symbol",
    "SyscallError",
    "Thread",
    "Trace",
    "Translation",
    "Unsupported",
    "Use",
    "VmFlags",
    "ZombieProcess",
    "__version__",
    "diff",
    "doctor",
    "find",
    "format_maps",
    "load",
    "mmap",
    "parse_maps",
    "parse_rollup",
    "parse_smaps",
    "processes",
    "record",
    "size",
    "trace",
    "watch",
]

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name in _HOME_OF:
            from importlib import import_module

            value = getattr(import_module(_HOME_OF[name]), name)
            globals()[name] = value
            return value
        if name in {
            "calls",
            "elf",
            "experiments",
            "grade",
        }:  # procmem.elf.sizes() without an import of its own
            from importlib import import_module

            return import_module(f"procmem.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
