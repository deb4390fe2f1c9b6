"""Schemas of the commands that show the machine, files, pipes, shared memory and programs."""

from __future__ import annotations

from procmem.cluster.gathered import (
    Gathered,
    GatheredProcess,
    HostLeftOut,
    Outlier,
    UnreadProcess,
)
from procmem.elf.programs import Bridge, Program, Step
from procmem.elf.sizing import ObjectSize, SectionSize
from procmem.ipc.ends import Pipe, Pipes
from procmem.ipc.holders import BlockedThread, PipeEnd
from procmem.ipc.pairs import EventFd, SocketEnd, SocketPair
from procmem.ipc.shared import Segment, SegmentDescriptor, SegmentMapper, Segments
from procmem.ipc.waiting import Wait
from procmem.pages.cache import CacheUse
from procmem.process.doctor import Feature
from procmem.process.held import CachedFile
from procmem.schemas.making import listed, mapping, nullable, one_of, record, tuple_of, typed
from procmem.system.accounting import GroupFigures
from procmem.system.charges import AnonCharge, Charges, FileCharge, Outsider
from procmem.system.controlgroup import ControlGroup, GroupProcess
from procmem.system.machine import Machine, ProcessGroup
from procmem.system.memory import MemoryPart
from procmem.system.processes import MachineProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.schemas.making import Schema

FREES = {
    "frees": "memory that ending it would free; null: not known",
    "frees_exact": "false: `frees` is a lower bound",
}


def top(*, groups: bool = False) -> Schema:
    """The machine."""
    process = record(
        MachineProcess,
        "pid:int ppid:int name:str command:str user:str cgroup:str? service:str? rss:bytes? "
        "pss:bytes? uss:bytes? swap:bytes? swap_pss:bytes? huge:bytes? hugetlb:bytes? ksm:bytes? "
        "frees:bytes? frees_exact:bool? unread:str?",
        more={"unread": "why it could not be read; null: it could", **FREES},
    )
    group = record(
        ProcessGroup,
        "name:str processes rss:bytes? pss:bytes? uss:bytes? swap:bytes? swap_pss:bytes? "
        "huge:bytes? ksm:bytes? frees:bytes? frees_exact:bool? unread",
        more={"unread": "those that could not be read", "processes": "its processes", **FREES},
        processes=listed("int"),
        unread=listed("int"),
    )
    return listed(
        record(
            Machine,
            "total:bytes parts remainder:change causes unread frees:bytes? frees_exact:bool? "
            f"{'groups ' if groups else ''}processes",
            more={
                "frees": "memory that ending the processes below would free together",
                "frees_exact": FREES["frees_exact"],
                "unread": "processes that could not be read",
                "groups": "with --by: groups of processes",
                "processes": "its processes, or those that were asked for",
            },
            parts=listed(record(MemoryPart, "name size source note")),
            causes=listed("str"),
            unread=listed("int"),
            groups=listed(group),
            processes=listed(process),
        ),
        "the machine",
    )


def top_by() -> Schema:
    """The machine, with groups of processes."""
    return top(groups=True)


top_memory = top


def cache() -> Schema:
    """What of files is in the page cache."""
    file = record(
        CachedFile, "path cache deleted mapped:bool opened reason",
        cache=nullable(record(CacheUse, " ".join(CacheUse._fields))),
    )  # fmt: skip
    return listed(
        record(
            None,
            "pid:int? path:str? files",
            more={
                "pid": "the process; null: a path was given",
                "path": "the path; null: a process was given",
                "files": "its files",
            },
            files=listed(file),
        ),
        "files of each process or path",
    )


def container() -> Schema:
    """What control groups are charged for."""
    figures = record(
        GroupFigures, " ".join(GroupFigures._fields),
        kernel_parts=mapping("bytes"), events=mapping("int"),
    )  # fmt: skip
    outsider = record(Outsider, "pid name size")
    file = record(FileCharge, " ".join(FileCharge._fields))
    charges = record(
        Charges,
        "frames anon anon_unmapped file_rest shmem_rest outside charged_elsewhere unread",
        frames=mapping("bytes"),
        anon=listed(record(AnonCharge, "pid name use size")),
        outside=listed(outsider),
        charged_elsewhere=listed(outsider),
        unread=listed("int"),
    )
    group = record(
        ControlGroup,
        "path:str version:int usage:bytes? limit:bytes? effective_limit:bytes? limited_by:str? "
        "peak:bytes? swap:bytes? working_set:bytes? anon:bytes? shmem:bytes? file:bytes? "
        "kernel:bytes? remainder:change? stock:bytes? reclaimable:bytes? events oom_kills:int? "
        "moved:bool figures charges no_charges:str? files processes",
        more={
            "figures": "the kernel's figures",
            "charges": "what it is charged for, by page frame; null: not known",
            "no_charges": "why that is not known",
            "files": "files whose page cache it is charged for, or holds",
            "processes": "its processes",
            "events": "how often a limit was reached",
        },
        events=mapping("int"),
        figures=figures,
        charges=nullable(charges),
        files=listed(file),
        processes=listed(record(GroupProcess, " ".join(GroupProcess._fields))),
    )
    return listed(group, "control groups")


def gather() -> Schema:
    """Processes of many hosts, and in what some differ from the others."""
    use = record(
        Outlier, "kind use size:bytes rss:bytes? pss:bytes? uss:bytes? swap:bytes?",
        more={
            "size": "of the address space", "rss": "in memory",
            "pss": "in memory, each page divided by the number of its mappings",
            "uss": "in memory, mapped by nobody else", "swap": "in swap",
        },
    )  # fmt: skip
    whole = {
        "vsz": "size of the address space", "rss": "in memory; null: not known",
        "pss": "the same, each page divided by the number of its mappings",
        "uss": "what it alone maps", "swap": "in swap", "page_tables": "page tables",
        "threads": "how many threads it has", "regions": "how many regions it has",
        "uses": "the same by kind and use of its regions",
    }  # fmt: skip
    process = record(
        GatheredProcess,
        "host:str pid:int name:str user:str vsz:bytes rss:bytes? pss:bytes? uss:bytes? "
        "swap:bytes? page_tables:bytes? threads:int? regions:int uses",
        more=whole,
        uses=listed(use),
    )
    outlier = record(
        Outlier,
        "host:str pid:int name:str kind:str use:str counter:str value:int median:float mad:float "
        "difference:float processes:int",
        more={
            "host": "the host's name", "name": "the command; of an interpreter the script",
            "difference": "the value less the median",
            "value": "the figure of this process: bytes, but for threads and regions",
        },
    )  # fmt: skip
    rule = record(
        Outlier, "score:float least:bytes",
        more={
            "score": "the modified z-score above which a figure is an outlier",
            "least": "differences up to this are left out",
        },
    )  # fmt: skip
    return listed(
        record(
            Gathered,
            "hosts left_out unread rule outliers processes",
            more={
                "rule": "what counts as an outlier", "outliers": "the largest difference first",
                "processes": "the chosen processes, by host and PID",
            },
            hosts=listed("str"),
            left_out=listed(record(HostLeftOut, "host reason")),
            unread=listed(record(UnreadProcess, "host pid name reason")),
            rule=rule,
            outliers=listed(outlier),
            processes=listed(process),
        )
    )  # fmt: skip


def pipes() -> Schema:
    """Pipes."""
    end = record(
        PipeEnd, "pid:int fd:int name:str flags:int? nonblocking:bool? close_on_exec:bool?"
    )
    blocked = listed(record(BlockedThread, "pid tid call to"))
    holders = listed(end)
    socket = record(
        SocketEnd, "inode path waiting queued:bytes? limit full:bool? holders blocked",
        holders=holders, blocked=blocked,
    )  # fmt: skip
    pair = record(
        SocketPair, "kind ends",
        kind=one_of(["stream", "datagram", "seqpacket"]), ends=tuple_of(socket, socket),
    )  # fmt: skip
    counter = record(
        EventFd, "id value semaphore full:bool holders blocked", holders=holders, blocked=blocked
    )
    pipe = record(
        Pipe,
        "inode path capacity waiting slots:pages? full readers writers has_readers "
        "has_writers blocked",
        readers=listed(end),
        writers=listed(end),
        blocked=blocked,
    )
    return record(
        Pipes,
        "pipes sockets eventfds processes:int denied gone:int",
        more={
            "pipes": "the pipes",
            "sockets": "pairs of Unix sockets that are connected with each other",
            "eventfds": "the counters of eventfd(2)",
        },
        pipes=listed(pipe),
        sockets=listed(pair),
        eventfds=listed(counter),
        denied=listed("int"),
    )


def shm() -> Schema:
    """Shared memory."""
    kinds = ["System V", "POSIX", "memfd", "anonymous", "file", "DRM"]
    segment = record(
        Segment,
        "kind huge name key id dev:int inode size resident swapped mappers descriptors attached "
        "creator creator_ended owner orphan leaked:bool?",
        kind=one_of(kinds),
        mappers=listed(record(SegmentMapper, "pid name size writable resident")),
        descriptors=listed(record(SegmentDescriptor, "pid fd name")),
    )
    return record(
        Segments,
        "segments processes:int denied gone:int",
        more={"segments": "the segments"},
        segments=listed(segment),
        denied=listed("int"),
    )


def why() -> Schema:
    """Why a process hangs."""
    wait = record(Wait, " ".join(Wait._fields), holders=listed("int"))
    return record(
        None,
        "pid:int name:str? deadlock certain why deadlocks denied waits",
        more={
            "deadlock": "whether it is deadlocked; null: not known",
            "certain": "whether nothing was left out",
            "why": "the reason, in words",
            "deadlocks": "groups of processes that wait for each other",
            "denied": "processes that this user may not read",
            "waits": "what it waits for, and what those wait for",
        },
        deadlock=typed("bool"),
        certain=typed("bool"),
        why=typed("str"),
        deadlocks=listed(listed("int")),
        denied=listed("int"),
        waits=listed(wait),
    )


def doctor() -> Schema:
    """Features of the machine."""
    return listed(record(Feature, "name found serves cost detail"), "features")


def size() -> Schema:
    """Sizes of ELF files."""
    view = "text:bytes data:bytes bss:bytes total:bytes"
    sums = {"text": "code and read-only data", "data": "writable, with contents in the file",
            "bss": "writable, without contents", "total": "text + data + bss"}  # fmt: skip
    counts = nullable(one_of(["text", "data", "bss"]))
    section = record(
        SectionSize, "name:str address:address size:bytes counts_as counts_as_gnu why:str",
        counts_as=counts, counts_as_gnu=counts,
    )  # fmt: skip
    bridge = record(
        Bridge, "start:bytes steps occupied:bytes remainder:change",
        steps=listed(record(Step, "what:str size:change")),
    )  # fmt: skip
    program = record(
        Program,
        "kind:str interpreter:str? relro:str relro_size:bytes nx:bool? build_id:str? bridge",
        bridge=nullable(bridge),
    )
    return listed(
        record(
            ObjectSize,
            f"path:str member:str? {view} gnu program sections",
            more={
                **sums,
                "gnu": "the same in the GNU view",
                "program": "what the file is; null: it is a member of an archive",
                "sections": "its sections",
            },
            gnu=record(None, view, more=sums),
            program=nullable(program),
            sections=listed(section),
        ),
        "files",
    )
