"""Schemas of the commands that show one process's memory."""

from __future__ import annotations

from typing import Any

from procmem.elf.loaded import BridgeStep, LiveObject, LiveSection, Rest
from procmem.heap.arena import HeapArena, HeapHole, HeapSize, TrimRange
from procmem.heap.heap import Heap
from procmem.heap.mapped import MappedChunk
from procmem.heap.others import OtherAllocator
from procmem.heap.parts import HeapPart
from procmem.heap.pinned import HeapPage, HeapPages, PageBucket
from procmem.heap.python import PythonArena, PythonBlock, PythonClass, PythonHeap
from procmem.pages.frames import Frame
from procmem.pages.pagemap import Page, PageCounts, PageMap, PageState
from procmem.process.family import Family, FamilyMember, FamilyRegion
from procmem.process.pages import Translation
from procmem.process.process import Share, Sharers, SharingProcess
from procmem.process.reconcile import Comparison, Reconciliation
from procmem.process.stacks import AlternateStack, LiveStack, RegionGroup, Stacks
from procmem.process.tables import PageTables, TableLevel
from procmem.procfs.totals import MemoryUsage
from procmem.regions.counters import ATTRIBUTES, NOT_ADDITIVE, NOT_BYTES
from procmem.regions.kinds import Owner, RegionKind
from procmem.regions.numa import NumaRegion
from procmem.regions.region import MeasuredRegion, Region
from procmem.schemas.making import (
    attributes,
    constant,
    listed,
    mapping,
    nullable,
    one_of,
    record,
    tuple_of,
    typed,
)
from procmem.tracing.holding import Stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.schemas.making import Schema

KINDS = one_of([kind.value for kind in RegionKind], "kind of the region")
OWNERS = nullable(one_of([owner.value for owner in Owner], "whose file it is; null: no file's"))

OF_REGIONS = {
    "size": "size: end - start",
    "offset": "offset in the file",
    "dev": "device of the file, as maps prints it",
    "inode": "inode of the file; 0: none",
    "deleted": "whether the file has no name any more",
    "pathname": "path, or the kernel's name such as [heap]; null: anonymous",
    "perms": "permissions as maps prints them",
    "kind_evidence": "what the kind was concluded from",
    "use": "what it is used for, more precisely than the kind; null: not known",
    "use_evidence": "what the use was concluded from",
    "use_guess": "whether the use is a guess",
    "swap": "memory in swap; null: not known",
    "rss": "resident memory",
    "uss": "resident memory that no other process maps",
    "vm_flags": "flags of the VmFlags line, as the kernel prints them",
    "unknown": "counters of smaps that procmem does not know, by the kernel's names",
    "line": "the line of maps, where the kernel prints it otherwise today; bytes that are no "
    "UTF-8 are lone surrogates (surrogateescape)",
    "Size": "Size of smaps",
}  # fmt: skip

REGION = (
    "start:address end:address size:bytes perms:str offset:bytes dev:str inode:int pathname:str? "
    "deleted:bool kind owner kind_evidence:str kind_guess:bool use:str? use_evidence:str? "
    "use_guess:bool? name:str"
)


def counter(name: str) -> str:
    """The type of a counter of smaps."""
    return "int" if name in NOT_BYTES else "bytes"


def region(*, more: str = "") -> Schema:
    """A region as RegionTable.to_dict() has it, with counters if there are any."""
    counters = " ".join(
        f"{attribute}:{counter(name)}*"
        for name, attribute in ATTRIBUTES.items()
        if name != "Size" and attribute not in ("rss", "swap")
        and hasattr(MeasuredRegion, attribute)
    )  # fmt: skip
    found = {attribute: f"{name} of smaps" for name, attribute in ATTRIBUTES.items()}
    return record(
        Region,
        f"{REGION} rss:bytes?* swap:bytes?* {counters} uss:bytes?* vm_flags:str?* unknown* "
        f"line:str* Size:bytes* {more}",
        says="a region",
        more={**found, **OF_REGIONS},
        kind=KINDS,
        owner=OWNERS,
        unknown=mapping({"type": ["integer", "string"]}),
    )


def plain_region() -> Schema:
    """A region as Region.to_record() has it, with no counters."""
    return record(Region, REGION, says="a region", more=OF_REGIONS, kind=KINDS, owner=OWNERS)


TABLE = {
    "type": "which kind of regions: Region (maps), ResidentRegion (maps and pagemap), "
    "MeasuredRegion (smaps)",
    "source": "where it was read",
    "page_size": "page size of the machine",
    "exe": "path of the executable; null: not known",
    "consistent": "false: the process changed its mappings so fast that regions may be missing, "
    "or be there twice",
    "unterminated": "whether the text ended without a newline",
    "regions": "its regions, in the order of the text",
}

TABLE_FIELDS = "format type source:str page_size exe:str? consistent:bool unterminated:bool regions"


def table(fields: str = "", /, **given: Any) -> Schema:
    """RegionTable.to_dict(), with further fields before its own."""
    return record(
        None,
        f"{fields} {TABLE_FIELDS}",
        more=TABLE,
        format=constant("procmem.regions/1"),
        type=one_of(["Region", "ResidentRegion", "MeasuredRegion"]),
        page_size=typed("bytes"),
        regions=listed(region()),
        **given,
    )


def numa() -> Schema:
    """A region of numa_maps: with a key for each node."""
    made = record(
        NumaRegion,
        "start policy anon:bytes dirty:bytes mapped:bytes? writeback:bytes swapcache:bytes "
        "active:bytes? "
        "mapmax page_size",
    )
    made["patternProperties"] = {
        "^node[0-9]+$": {**typed("bytes"), "description": "memory on that node"}
    }
    return made


def maps() -> Schema:
    """Regions of processes."""
    zeros = record(None, "start:address zeros:bytes",
                   more={"zeros": "memory of its huge pages that is zeros"})  # fmt: skip
    return listed(
        table(
            "pid:int? numa* zeros*",
            numa=listed(numa(), "with --numa: what numa_maps has of each region"),
            zeros=listed(zeros, "with --zeros: regions with transparent huge pages"),
        ),
        "a table for each process or file",
    )


def maps_by() -> Schema:
    """Sums of regions."""
    sums = " ".join(
        f"{attribute}:bytes?*"
        for name, attribute in ATTRIBUTES.items()
        if name not in NOT_ADDITIVE and name != "Size" and hasattr(MeasuredRegion, attribute)
    )
    found: dict[str, Any] = {a: f"sum of {name} of smaps" for name, a in ATTRIBUTES.items()}
    groups = record(
        None,
        f"kind* path* use* regions:int size:bytes {sums} uss:bytes?* hugetlb:bytes?*",
        more={
            **found,
            "regions": "number of regions",
            "size": "sum of sizes",
            "uss": "sum of private memory",
            "hugetlb": "sum of huge pages of hugetlbfs, which are in no other sum",
        },
        kind=one_of([kind.value for kind in RegionKind], "with --by kind: the kind"),
        path={"type": ["string", "null"], "description": "with --by path; null: anonymous"},
        use={"type": ["string", "null"], "description": "with --by use; null: not known"},
    )
    return listed(
        record(None, "pid:int? groups", groups=listed(groups, "sums, the largest first")),
        "sums for each process or file",
    )


def query() -> Schema:
    """What is at addresses."""
    answer = record(
        None,
        "address offset_in_region:bytes region object:str* section:str?* offset_in_section:bytes?* "
        "symbol:str?* symbol_demangled:str?* offset_in_symbol:bytes?* symbol_guess:bool* "
        "source_line:str?* left_out*",
        says="an address",
        more={
            "address": "the address that was asked for",
            "offset_in_region": "bytes from the start of the region",
            "region": "the region that covers it",
            "object": "path of the ELF file that is mapped there",
            "section": "name of the section",
            "offset_in_section": "bytes from the start of the section",
            "symbol": "name of the symbol, as it is in the file",
            "symbol_demangled": "the same as it is in the source (C++, Rust)",
            "offset_in_symbol": "bytes from the symbol",
            "symbol_guess": "whether the symbol is a guess: it has no size",
            "source_line": "file and line of the source",
            "left_out": "what of the file was too large to be read",
        },
        address=typed("address"),
        region=region(),
        left_out=listed("str"),
    )
    return listed(answer, "an answer for each address that a region covers")


def memory_usage() -> Schema:
    """The totals of a process."""
    names = " ".join(MemoryUsage._fields)
    return record(MemoryUsage, names, says="the process's memory, of /proc/PID/status")


def threads() -> Schema:
    """Stacks of threads."""
    alternate = record(AlternateStack, "start size in_use",
                       says="the alternate signal stack on which it runs now")  # fmt: skip
    stack = record(
        LiveStack,
        "tid name state start end touched in_use limit limited_by guard guard_marks alternate "
        "elsewhere huge guess reserved:bytes? headroom:bytes?",
        says="the stack of a thread",
        alternate=nullable(alternate),
    )
    stopped = record(Stopped, "threads seconds longest times",
                     says="how long its threads were stopped for the reading")  # fmt: skip
    group = record(RegionGroup, "name regions guess")
    process = record(
        Stacks,
        "pid:int threads:int reserved:bytes? touched:bytes? in_use:bytes? regions:int "
        "max_regions:int? groups unknown stopped stacks",
        more={
            "threads": "the number of its threads",
            "reserved": "sum of all stacks; null: that of one is not known",
            "touched": "likewise",
            "in_use": "likewise",
        },
        groups=listed(group),
        unknown=listed("str"),
        stopped=nullable(stopped),
        stacks=listed(stack, "the stack of each thread"),
    )
    return listed(process, "stacks of each process")


def reconcile() -> Schema:
    """Totals compared."""
    comparison = record(
        Comparison,
        "left left_value right right_value cause difference:change explained:bool why:str",
        more={
            "left": "what was compared, in the kernel's names",
            "right": "what was compared, in the kernel's names",
            "left_value": "its value",
            "right_value": "its value",
        },
    )
    process = record(
        Reconciliation,
        "pid:int moved:bool explained:bool unavailable memory comparisons",
        unavailable=mapping("str"),
        memory=memory_usage(),
        comparisons=listed(comparison),
    )
    return listed(process, "the totals of each process")


def family() -> Schema:
    """A process and its forks."""
    part = record(
        FamilyRegion, "region inherited shared copied own file swapped", region=plain_region()
    )
    member = record(
        FamilyMember,
        "pid:int ppid:int name:str depth:int executed:bool rss:bytes shared:bytes copied:bytes "
        "own:bytes file:bytes swapped:bytes frees:bytes regions",
        more={
            name: attributes(FamilyRegion)[name]
            for name in ("shared", "copied", "own", "file", "swapped")
        }
        | {"rss": "memory of its regions"},
        regions=listed(part),
    )
    process = record(
        Family,
        "pid:int exact:bool members unread gone:int",
        members=listed(member),
        unread=mapping("str"),
    )
    return listed(process, "a family for each process")


def sections() -> Schema:
    """ELF sections of processes."""
    section = record(
        LiveSection,
        "name path address size resident private swapped region kind counts_as",
        more={"kind": "kind of that region"},
        region=typed("address?"),
        kind=nullable(KINDS),
    )
    rest = record(Rest, "size resident private swapped")
    step = record(
        BridgeStep, "what bytes:change why", more={"what": "what is added", "bytes": "how much"}
    )
    live = record(
        LiveObject,
        "path owner start bias build_id file_build_id state reason:str? size resident "
        "private swapped relocation_cost:bytes? copied rest bridge sections*",
        owner=OWNERS,
        more={
            "reason": "why there are no sections, or the state is not known",
            "copied": "private memory by section",
            "rest": "what is in no section",
            "bridge": "the way from text + data + bss to its size in memory",
            "relocation_cost": "memory that relocation made private",
            "sections": "its sections; not with --totals and --bridge",
        },
        copied=mapping("bytes"),
        rest=rest,
        bridge=listed(step),
        sections=listed(section),
        start=typed("address"),
    )
    process = record(
        None, "pid:int objects", more={"objects": "its ELF files"}, objects=listed(live)
    )
    return listed(process, "the ELF files of each process")


def pages() -> Schema:
    """Pages of a process."""
    unknown = ("zero", "guard", "soft_dirty")
    counts = record(
        PageCounts,
        " ".join(f"{name}:pages{'?' * (name in unknown)}" for name in PageCounts._fields),
        says="pages by state",
    )
    states = one_of([state.value for state in PageState])
    pagemap = record(
        PageMap,
        "start:address end:address page_size:bytes counts runs",
        more={"runs": "pages of the same state side by side: start, end, state"},
        counts=counts,
        runs=listed(tuple_of("address", "address", states)),
    )
    part = record(
        None,
        "region pages",
        more={
            "region": "the region; null: none covers the range",
            "pages": "its pages; null: pagemap does not show them",
        },
        region=nullable(plain_region()),
        pages=nullable(pagemap),
    )
    level = record(TableLevel, "name covers tables counted")
    tables = record(
        PageTables, "scheme levels predicted vm_pte bound why difference:change exact:bool",
        scheme=typed("str"), levels=listed(level),
    )  # fmt: skip
    share = record(Share, "process start end at", more={"start": "address in the process that was "
                   "asked about", "end": "likewise, exclusive"}, process=typed("int"))  # fmt: skip
    where = record(None, "start:address name:str size:bytes",
                   more={"size": "bytes of it that both map"})  # fmt: skip
    sharer = record(SharingProcess, "pid:int name size regions frees",
                    regions=listed(where))  # fmt: skip
    sharers = record(
        Sharers,
        "shares asked:pages processes gone denied page_size by_process",
        more={"by_process": "the other processes, the one that shares most first"},
        shares=listed(share),
        by_process=listed(sharer),
    )
    page = record(Page, " ".join((*Page._fields, "state")), more={"state": "state of the page"},
                  state=states)  # fmt: skip
    translation = record(
        Translation,
        "virtual region page offset frame physical mapping_size why",
        region=nullable(plain_region()),
        page=page,
    )
    frame = record(Frame, "address pfn mapped:int flags cgroup", flags=listed("str"))
    process = record(
        None,
        "pid:int regions* tables* translations* frames* sharers*",
        more={
            "regions": "regions, or the ranges that were asked for",
            "tables": "with --tables: its page tables",
            "translations": "with --translate",
            "frames": "with --frames",
            "sharers": "with --sharers",
        },
        regions=listed(part),
        tables=tables,
        translations=listed(translation),
        frames=listed(frame),
        sharers=sharers,
    )
    return listed(process, "the process")


def heap() -> Schema:
    """Heaps of processes."""
    hole = record(HeapHole, "address size resident above above_bytes:bytes")
    arena = record(
        HeapArena,
        " ".join(HeapArena._fields),
        threads=listed("int"),
        heaps=listed(tuple_of("address", "address")),
        holes=listed(hole),
    )
    bucket = record(PageBucket, "least:bytes most:bytes pages:pages free")
    page = record(HeapPage, "address in_use chunks chunk:address size")
    held = record(
        HeapPages,
        "page_size:bytes resident:pages whole:pages returned:pages free:pages by_use partly",
        by_use=listed(bucket, "pages that are partly in use, by how much of them is"),
        partly=listed(page, "those of which least is in use"),
    )
    python_arena = record(
        PythonArena, "address pools in_use size blocks held",
        held=listed(record(PythonBlock, "address size")),
    )  # fmt: skip
    of_size = record(PythonClass, "size:bytes pools in_use:int free:int",
                     more={"size": "size of a block"})  # fmt: skip
    python = record(
        PythonHeap,
        "arenas allocator evidence guess pools pool_size:bytes in_use free classes",
        arenas=listed(python_arena),
        classes=listed(of_size),
    )
    other = record(OtherAllocator, " ".join(OtherAllocator._fields))
    process = record(
        Heap,
        "pid:int allocator:str? rss:bytes? held:seconds? system:bytes in_use:bytes tcache:bytes "
        "free:bytes resident_free:bytes trimmable:bytes mmaps:int? mmapped:bytes? "
        "mmap_threshold:bytes? certain:bool doubts arenas mapped parts unexplained:change? others "
        "pages trim sizes python",
        doubts=listed("str"),
        arenas=listed(arena),
        mapped=listed(record(MappedChunk, "address size resident")),
        parts=listed(record(HeapPart, "name size resident cause guess")),
        others=listed(other),
        pages=nullable(held),
        trim=listed(record(TrimRange, "start resident"), "what malloc_trim(3) would return"),
        sizes=listed(record(HeapSize, "size in_use:int free:int"), "chunks by size"),
        python=nullable(python),
    )
    return listed(process, "the heap of each process")
