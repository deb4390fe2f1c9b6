"""procmem: shows, measures and explains the memory of live Linux processes.

>>> import procmem
>>> regions = procmem.Process().maps()
>>> regions.filter(kind="stack")[0].perms
Perms('rw-p')
"""

from __future__ import annotations

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem._version import __version__
    from procmem.calls._mmap import mmap
    from procmem.calls.mapping import Mapping
    from procmem.cluster.gathered import Gathered, GatheredProcess, Outlier
    from procmem.cluster.gathering import gather
    from procmem.elf.loaded import LiveObject, LiveSection
    from procmem.elf.sizing import ObjectSize, SectionSize, size
    from procmem.errors import (
        AccessDenied,
        BadArgument,
        ElfError,
        InvalidPid,
        KernelThread,
        MappingInUse,
        MemoryFault,
        MissingExtra,
        NoSuchProcess,
        NotAPid,
        ParseError,
        ProcessChanged,
        ProcessError,
        ProcmemError,
        SyscallError,
        Unsupported,
        ZombieProcess,
    )
    from procmem.formats import write_table
    from procmem.heap.arena import HeapArena, HeapHole, HeapSize, Trim
    from procmem.heap.heap import Heap
    from procmem.heap.python import PythonClass, PythonHeap
    from procmem.ipc.blocked import pipes
    from procmem.ipc.ends import Pipe, Pipes
    from procmem.ipc.graph import Waits, waits
    from procmem.ipc.holders import BlockedThread, PipeEnd
    from procmem.ipc.pairs import EventFd, SocketEnd, SocketPair
    from procmem.ipc.shared import (
        Segment,
        SegmentDescriptor,
        SegmentMapper,
        Segments,
        segments,
    )
    from procmem.ipc.waiting import Wait
    from procmem.pages.cache import CacheUse
    from procmem.pages.frames import Frame, FrameFlags
    from procmem.pages.pagemap import Page, PageCounts, PageMap, PageState
    from procmem.pages.tables import PagingScheme
    from procmem.process import (
        Faults,
        MemoryUsage,
        Process,
        Share,
        Sharers,
        SharingProcess,
        Thread,
        processes,
    )
    from procmem.process.doctor import Feature, doctor
    from procmem.process.family import Family, FamilyMember, FamilyRegion
    from procmem.process.finding import find
    from procmem.process.held import CachedFile, page_cache
    from procmem.process.huge import HugeRegion
    from procmem.process.pages import Translation
    from procmem.process.reconcile import Comparison, Reconciliation
    from procmem.process.stacks import AlternateStack, LiveStack, RegionGroup, Stacks
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
    from procmem.regions.numa import NumaRegion, parse_numa_maps
    from procmem.schemas import schema
    from procmem.snapshots import Cause, CauseSum, Change, ChangeKind, Diff, Snapshot, diff, load
    from procmem.system.controlgroup import ControlGroup
    from procmem.system.machine import Machine, ProcessGroup, machine
    from procmem.system.memory import MemoryPart
    from procmem.system.processes import Freed, MachineProcess
    from procmem.tracing.events import MemoryCall, Trace
    from procmem.tracing.tracer import trace
    from procmem.units import GiB, KiB, MiB

    from . import calls as calls
    from . import elf as elf
    from . import experiments as experiments
    from . import grade as grade

__all__ = [
    "AccessDenied",
    "AlternateStack",
    "BadArgument",
    "BlockedThread",
    "CacheUse",
    "CachedFile",
    "Cause",
    "CauseSum",
    "Change",
    "ChangeKind",
    "Comparison",
    "ControlGroup",
    "Counters",
    "Device",
    "Diff",
    "ElfError",
    "EventFd",
    "Family",
    "FamilyMember",
    "FamilyRegion",
    "Faults",
    "Feature",
    "Frame",
    "FrameFlags",
    "Freed",
    "Gathered",
    "GatheredProcess",
    "GiB",
    "Heap",
    "HeapArena",
    "HeapHole",
    "HeapSize",
    "HugeRegion",
    "InvalidPid",
    "KernelThread",
    "KiB",
    "LiveObject",
    "LiveSection",
    "LiveStack",
    "Machine",
    "MachineProcess",
    "Mapping",
    "MappingInUse",
    "MeasuredRegion",
    "MemoryCall",
    "MemoryFault",
    "MemoryPart",
    "MemoryUsage",
    "MiB",
    "MissingExtra",
    "NoSuchProcess",
    "NotAPid",
    "NumaRegion",
    "ObjectSize",
    "Outlier",
    "Owner",
    "Page",
    "PageCounts",
    "PageMap",
    "PageState",
    "PageTables",
    "PagingScheme",
    "ParseError",
    "Perms",
    "Pipe",
    "PipeEnd",
    "Pipes",
    "Process",
    "ProcessChanged",
    "ProcessError",
    "ProcessGroup",
    "ProcmemError",
    "PythonClass",
    "PythonHeap",
    "Reconciliation",
    "Recorder",
    "Recording",
    "Region",
    "RegionGroup",
    "RegionKind",
    "RegionTable",
    "ResidentRegion",
    "SectionSize",
    "Segment",
    "SegmentDescriptor",
    "SegmentMapper",
    "Segments",
    "Share",
    "Sharers",
    "SharingProcess",
    "Snapshot",
    "SocketEnd",
    "SocketPair",
    "Stacks",
    "Symbol",
    "SyscallError",
    "Thread",
    "Trace",
    "Translation",
    "Trim",
    "Unsupported",
    "Use",
    "VmFlags",
    "Wait",
    "Waits",
    "ZombieProcess",
    "__version__",
    "diff",
    "doctor",
    "find",
    "format_maps",
    "gather",
    "load",
    "machine",
    "mmap",
    "page_cache",
    "parse_maps",
    "parse_numa_maps",
    "parse_rollup",
    "parse_smaps",
    "pipes",
    "processes",
    "record",
    "schema",
    "segments",
    "size",
    "trace",
    "waits",
    "watch",
    "write_table",
]

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours
    from procmem._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_version": "__version__",
            "calls._mmap": "mmap",
            "calls.mapping": "Mapping",
            "cluster.gathered": "Gathered GatheredProcess Outlier",
            "cluster.gathering": "gather",
            "elf.loaded": "LiveObject LiveSection",
            "elf.sizing": "ObjectSize SectionSize size",
            "errors": "AccessDenied BadArgument ElfError InvalidPid KernelThread MappingInUse "
            "MemoryFault MissingExtra NoSuchProcess NotAPid ParseError ProcessChanged ProcessError "
            "ProcmemError SyscallError Unsupported ZombieProcess",
            "formats": "write_table",
            "heap.arena": "HeapArena HeapHole HeapSize Trim",
            "heap.heap": "Heap",
            "heap.python": "PythonClass PythonHeap",
            "system.controlgroup": "ControlGroup",
            "ipc.blocked": "pipes",
            "ipc.ends": "Pipe Pipes",
            "ipc.holders": "BlockedThread PipeEnd",
            "ipc.pairs": "EventFd SocketEnd SocketPair",
            "pages.cache": "CacheUse",
            "ipc.graph": "Waits waits",
            "ipc.shared": "Segment SegmentDescriptor SegmentMapper Segments segments",
            "ipc.waiting": "Wait",
            "pages.frames": "Frame FrameFlags",
            "pages.pagemap": "Page PageCounts PageMap PageState",
            "pages.tables": "PagingScheme",
            "process": "Faults MemoryUsage Process Share Sharers SharingProcess Thread processes",
            "process.doctor": "Feature doctor",
            "process.family": "Family FamilyMember FamilyRegion",
            "process.finding": "find",
            "process.held": "CachedFile page_cache",
            "process.huge": "HugeRegion",
            "process.pages": "Translation",
            "process.reconcile": "Comparison Reconciliation",
            "process.stacks": "AlternateStack LiveStack RegionGroup Stacks",
            "process.symbols": "Symbol",
            "process.tables": "PageTables",
            "recording.recorder": "Recorder record watch",
            "recording.recording": "Recording",
            "regions": "Counters Device MeasuredRegion Perms Region RegionTable ResidentRegion "
            "VmFlags format_maps parse_maps parse_rollup parse_smaps",
            "regions.numa": "NumaRegion parse_numa_maps",
            "regions.kinds": "Owner RegionKind Use",
            "schemas": "schema",
            "snapshots": "Cause CauseSum Change ChangeKind Diff Snapshot diff load",
            "system.machine": "Machine ProcessGroup machine",
            "system.memory": "MemoryPart",
            "system.processes": "Freed MachineProcess",
            "tracing.events": "MemoryCall Trace",
            "tracing.tracer": "trace",
            "units": "GiB KiB MiB",
        },
        rooms="calls elf experiments grade",
    )
