"""Uses of memory, such as "Go heap": the recognisers, in one table.

A recogniser finds regions with one use, and gives the evidence for it. A use that is proved by
the kernel's names, by ELF headers or by checks in memory is a fact; one that is concluded from an
address, a size or a layout is a guess, and `Use.guess` is True. RECOGNISERS is the table: a new use
needs a function, a line there, and a line in docs/uses.md.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left, bisect_right
from itertools import compress
from operator import not_
from typing import NamedTuple

from procmem.native import END, START
from procmem.regions.kinds import GUARD_LIMIT, Kind, Owner, RegionKind, Use
from procmem.regions.marks import where
from procmem.units import GiB, MiB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from procmem.regions.facts import Facts
    from procmem.regions.kinds import Unclassified
    from procmem.regions.marks import Marks

__all__ = [
    "CHECKS",
    "RECOGNISERS",
    "SECTIONS",
    "SYMBOLS",
    "Layout",
    "MemoryCheck",
    "program_of_library",
    "programs_of",
]

K = RegionKind
TiB = 1 << 40

# ---- which runtimes a process has --------------------------------------------

SECTIONS = {".gopclntab": "go", ".go.buildinfo": "go", ".note.go.buildid": "go"}
"""Sections of ELF files that only one compiler generates."""

SYMBOLS = {
    "runtime.mheap_": "go",
    "mallctl": "jemalloc",
    "je_mallctl": "jemalloc",
    "_rjem_mallctl": "jemalloc",
    "_rjem_je_mallctl": "jemalloc",
    "tc_malloc": "tcmalloc",
    "TCMallocInternalMalloc": "tcmalloc",
    "MallocExtension_ReleaseFreeMemory": "tcmalloc",
    "mi_version": "mimalloc",
    "mi_malloc": "mimalloc",
    "_PyObject_Malloc": "cpython",
    "PyObject_Malloc": "cpython",
    "__asan_init": "asan",
    "__tsan_init": "tsan",
    "__msan_init": "msan",
    "__hwasan_init": "hwasan",
    "__lsan_init": "lsan",
    "_ZN2v82V810InitializeEi": "v8",
    "_ZN2v87Isolate10GetCurrentEv": "v8",
    "luaJIT_setmode": "luajit",
    "zend_mm_gc": "php",
    "_zend_mm_alloc": "php",
    "ruby_init": "ruby",
    "coreclr_initialize": "dotnet",
}
"""Symbols that a program defines if it contains a runtime, built in or linked statically."""

LIBRARIES = (
    ("libc.so.6", "glibc"),
    ("libc-2.", "glibc"),
    ("libc.so", "libc"),  # musl's, bionic's
    ("ld-musl-", "musl"),
    ("libc.musl-", "musl"),
    ("libjemalloc", "jemalloc"),
    ("libtcmalloc", "tcmalloc"),
    ("libmimalloc", "mimalloc"),
    ("libjvm.so", "jvm"),
    ("libpython", "cpython"),
    ("libasan.so", "asan"),
    ("libclang_rt.asan", "asan"),
    ("libtsan.so", "tsan"),
    ("libclang_rt.tsan", "tsan"),
    ("libhwasan.so", "hwasan"),
    ("libclang_rt.hwasan", "hwasan"),
    ("liblsan.so", "lsan"),
    ("libclang_rt.lsan", "lsan"),
    ("libnode.so", "v8"),
    ("libv8", "v8"),
    ("libcoreclr.so", "dotnet"),
    ("libphp", "php"),
    ("libruby", "ruby"),
    ("libluajit", "luajit"),
    ("v8_context_snapshot", "v8"),
    ("snapshot_blob.bin", "v8"),
    ("chrome_100_percent.pak", "chromium"),
    ("chrome_200_percent.pak", "chromium"),
)
"""Beginnings of the names of files that belong to only one runtime."""

NAMES = (
    (r"python\d?(\.\d+)?[a-z]*|pypy.*", "cpython"),
    (r"node|nodejs", "v8"),
    (r"chrome|chromium.*|electron\d*|msedge|brave|opera|vivaldi.*", "chromium"),
    (r"php.*", "php"),
    (r"ruby.*", "ruby"),
    (r"luajit.*", "luajit"),
    (r"dotnet", "dotnet"),
    (r"postgres", "postgresql"),
    (r"beam\.smp", "erlang"),
)
"""Names of programs. Any program may have such a name, so a name alone makes only a guess."""

REPLACE_MALLOC = ("jemalloc", "tcmalloc", "mimalloc", "asan", "tsan", "msan", "hwasan", "lsan")


class Runtime(NamedTuple):
    """A runtime or allocator that a process contains: the evidence, and whether it is proof."""

    evidence: str
    sure: bool


def program_of_library(base: str) -> str | None:
    """The runtime that a file with this name belongs to; None: no runtime that procmem knows."""
    return next((name for start, name in LIBRARIES if base.startswith(start)), None)


def programs_of(
    regions: Sequence[Unclassified],
    found: Sequence[Kind | None],
    facts: Facts | None,
    marks: Marks,
) -> dict[str, Runtime]:
    """The runtimes of a process: by its ELF files, by the files that it maps, by its name.

    Args:
        regions: its regions.
        found: the kind of each; None: not determined yet.
        facts: what was read from threads, memory and ELF files; None: a saved text.
        marks: of the regions.
    """
    programs: dict[str, Runtime] = {}
    if facts is not None:
        for name, evidence in facts.programs.items():
            programs[name] = Runtime(evidence, sure=True)
    seen: set[int] = set()
    for index in where(marks.named):
        region, kind = regions[index], found[index]
        if region._name in seen:
            continue
        seen.add(region._name)
        if region.raw_pathname is None or not region.raw_pathname.startswith(b"/"):
            continue
        base = (region.pathname or "").rsplit("/", 1)[-1]
        library = program_of_library(base)
        if library is not None:
            programs.setdefault(library, Runtime(f"{base} is mapped", sure=True))
        if kind is not None and kind.owner is Owner.EXECUTABLE:
            for pattern, name in NAMES:
                if re.fullmatch(pattern, base):
                    program = Runtime(f"the program is called {base}", sure=False)
                    programs.setdefault(name, program)
    if "chromium" in programs:
        programs.setdefault("v8", programs["chromium"])
    return programs


# ---- regions whose use is not yet determined ------------------------------


class Unclaimed(NamedTuple):
    """Adjacent private anonymous regions that no rule has claimed yet."""

    first: int
    last: int
    start: int
    end: int
    reserved: int
    """Bytes with PROT_NONE."""
    largest: int
    """Bytes of the largest PROT_NONE region."""
    pieces: int
    """The number of PROT_NONE regions."""


class Layout:
    """The regions of a process, while their kinds and uses are being determined.

    Attributes:
        regions: all regions of a reading.
        found: the kind of each so far; None: not determined yet.
        facts: what was read from threads, memory and ELF files; None: a saved text.
        programs: the runtimes that were found.
        marks: what is known of each region at a glance.
        starts: the start address of each region.
        ends: the address after each.
        named: the indices of the regions with a name.
        reserved: the indices of the private regions with PROT_NONE.
    """

    def __init__(
        self,
        regions: Sequence[Unclassified],
        found: list[Kind | None],
        facts: Facts | None,
        programs: dict[str, Runtime],
        marks: Marks,
    ) -> None:
        self.regions = regions
        self.found = found
        self.facts = facts
        self.programs = programs
        self.marks = marks
        self.starts = marks.column(START)
        self.ends = marks.column(END)
        self.named = where(marks.named)
        self.reserved = where(marks.reserved)

    def unclaimed(self) -> list[int]:
        """The indices of the regions whose kind is not yet determined."""
        return [*compress(range(len(self.found)), map(not_, self.found))]

    def find(self, address: int | None) -> int | None:
        """The index of the region that covers an address; None: there is none."""
        if address is None:
            return None
        index = bisect_right(self.starts, address) - 1
        return index if index >= 0 and address < self.regions[index].end else None

    def within(self, start: int, end: int) -> range:
        """The indices of the regions that overlap a range of addresses."""
        first = max(0, bisect_right(self.starts, start) - 1)
        if first < len(self.starts) and self.regions[first].end <= start:
            first += 1
        return range(first, bisect_left(self.starts, end))

    def claim(self, index: int, use: Use) -> None:
        """Sets kind and use of an anonymous region."""
        inaccessible = self.regions[index].perms.startswith("---")
        name = f"{use.name}, reserved" if inaccessible else use.name
        self.found[index] = Kind(K.ANON, None, "perms", name, use)

    def runs(self) -> list[Unclaimed]:
        """Groups of adjacent regions that no rule has claimed yet."""
        runs: list[Unclaimed] = []
        apart, count = self.marks.apart, len(self.found)
        free = bytes(map(not_, self.found))
        first = free.find(1)
        while first >= 0:
            stop = free.find(0, first)
            stop = count if stop < 0 else stop
            while first < stop:
                end = apart.find(1, first + 1, stop)
                end = stop if end < 0 else end
                runs.append(self._run(first, end))
                first = end
            first = free.find(1, stop)
        return runs

    def _run(self, first: int, stop: int) -> Unclaimed:
        starts, ends = self.starts, self.ends
        sizes = [ends[index] - starts[index] for index in where(self.marks.reserved, first, stop)]
        return Unclaimed(
            first,
            stop - 1,
            starts[first],
            ends[stop - 1],
            sum(sizes),
            max(sizes, default=0),
            len(sizes),
        )


# ---- uses by name ------------------------------------------------------------


class Named(NamedTuple):
    """A use by name. Any program may give a name; few names are those of one program alone.

    Attributes:
        pattern: a regular expression for the whole name.
        use: the use; groups of the pattern may be in it.
        runtime: if this runtime is in the process, it is a fact; "": it is a guess. None: no other
            program gives such names.
    """

    pattern: str
    use: str
    runtime: str | None = None


ANON_NAMES = (
    Named(r"\s*Go: ?(.*)", r"Go \1"),
    Named(r"\s*glibc: (.*)", r"\1 of glibc"),
    Named(r"(dalvik-.*)", r"Android runtime: \1"),
    Named(r"scudo:.*", "scudo malloc"),
    Named(r"GWP-ASan.*", "GWP-ASan"),
    Named(r"libc_malloc", "bionic malloc"),
    Named(r"partition_alloc|PartitionAlloc.*", "PartitionAlloc"),
    Named(r"[vV]8([-_:].*)?", "V8", "v8"),
    Named(r"(cpython:.*)", r"CPython: \1"),
    Named(r"zend_.*", "PHP memory"),
    Named(r"Ruby:.*", "Ruby"),
    Named(r"jemalloc(_.*)?", "jemalloc"),
    Named(r"tcmalloc(_.*)?", "tcmalloc"),
    Named(r"mimalloc([-_:].*)?", "mimalloc"),
    Named(r"js-(gc|executable|jit|nursery|wasm)\b.*|SpiderMonkey.*", "SpiderMonkey"),
    Named(r"(low|high) shadow|shadow gap", "AddressSanitizer shadow", "asan"),
    Named(r"doublemapper.*", ".NET code and its writable view"),
)
"""Names of anonymous memory, without [anon: and ] (PR_SET_VMA_ANON_NAME)."""

MEMFD_NAMES = (
    Named(r"doublemapper", ".NET code and its writable view"),
    Named(r"JITCode:.*", "JIT code"),
    Named(r"(.*[^a-z])?jit([^a-z].*)?|.*(JIT|Jit)([^A-Za-z].*)?", "JIT code", ""),
    Named(r"pulseaudio|pipewire-memfd.*", "sound buffers"),
    Named(r"wayland-.*|weston-.*|gdk-wayland|mutter-.*|xwayland-.*|kwin.*", "Wayland buffers"),
    Named(r"xshmfence", "X server fence"),
    Named(r"mozilla-ipc.*|org\.mozilla\.ipc.*", "Firefox shared memory"),
    Named(r"[vV]8([-_:].*)?", "V8", "v8"),
    Named(r"chromium.*|\.?org\.chromium\..*", "Chromium shared memory"),
    Named(r"shared_memory.*", "Chromium shared memory", "chromium"),
    Named(r"libffi", "libffi closures"),
    Named(r"systemd-.*|sd-(bus|event|journal|varlink).*|journal[-.].*", "systemd", ""),
    Named(r"memory-backend-.*|ram-node\d+", "memory of a QEMU guest"),
    Named(r"pc\.ram", "memory of a QEMU guest", ""),
    Named(r"runc_cloned:.*", "copy of runc"),
    Named(r"vmem", "Erlang JIT code", "erlang"),
    Named(r"JNI|graal.*", "GraalVM", ""),
    Named(r"java_heap.*", "JVM heap", "jvm"),
)
"""Names given to memfd_create(2), which the program chooses."""

SHM_NAMES = (
    Named(r"\.?org\.chromium\..*|\.com\.google\.Chrome\..*", "Chromium shared memory"),
    Named(r"PostgreSQL\.\d+", "PostgreSQL dynamic shared memory"),
    Named(r"sem\..*", "POSIX semaphore"),
    Named(r"pulse-shm-\d+", "sound buffers"),
    Named(r"org\.mozilla\.ipc\..*", "Firefox shared memory"),
    Named(r"psm_[0-9a-f]{8}", "Python multiprocessing shared memory"),
    Named(r"psm_.*", "Python multiprocessing shared memory", "cpython"),
    Named(r"pym-\d+-\w+", "Python multiprocessing heap"),
    Named(r"u\d+-(Shm_[0-9a-f]{8}|ValveIPC.*)", "Steam shared memory"),
    Named(r"nccl-[A-Za-z0-9]{6}", "NCCL shared memory"),
    Named(r"nccl-.*", "NCCL shared memory", ""),
    Named(r"torch_\d+_\d+(_\d+)?", "PyTorch shared memory"),
    Named(r"torch_.*", "PyTorch shared memory", ""),
)
"""Names given to shm_open(3) and sem_open(3)."""

DEVICES = (
    (rb"anon_inode:(\[perf_event\]|perf_event)", "perf ring buffer"),
    (rb"anon_inode:kvm-vcpu.*", "KVM virtual CPU"),
    (rb"anon_inode:.*bpf.*", "BPF map"),
    (rb"anon_inode:(\[userfaultfd\]|\[secretmem\])", "secret memory"),
    (rb"anon_inode:.*(dmabuf|sync_file).*|/dmabuf:.*", "DMA buffer"),
    (rb"anon_inode:.*(i915|drm|amdgpu|gem|xe).*|/dev/dri/.*|/drm mm object.*",
     "DRM (graphics) memory"),
    (rb"/dev/nvidia.*", "NVIDIA driver memory"),
    (rb"/dev/kfd", "AMD compute (KFD)"),
    (rb"/dev/infiniband/.*", "RDMA"),
    (rb"/dev/vfio/.*|anon_inode:\[vfio-device\]", "device of a guest (VFIO)"),
    (rb"/dev/snd/.*", "sound device buffer"),
    (rb"/dev/video.*|/dev/media.*", "video device buffer"),
    (rb"/dev/fb\d+", "framebuffer"),
    (rb"/dev/(mem|kmem|port)", "physical memory"),
    (rb"/dev/uio\d+", "device registers (UIO)"),
    (rb"/dev/(binder|binderfs/.*|hwbinder|vndbinder)", "Binder"),
    (rb"/dev/ashmem.*", "Android shared memory"),
    (rb"/\[aio\] \(deleted\)", "asynchronous I/O ring"),
    (rb"socket:\[\d+\]", "packet socket ring"),
)  # fmt: skip
"""Names of devices, and of files that the kernel provides."""

FILES = (
    Named(r".*\.jsa", "JVM class data archive", "jvm"),
    Named(r".*/lib/modules", "JVM modules", "jvm"),
    Named(r".*/hsperfdata_[^/]+/\d+", "JVM performance counters"),
    Named(r".*/locale-archive|.*/locale/[^/]+/LC_[A-Z]+(/.*)?|.*/locale/C\..*", "locale data"),
    Named(r".*/LC_[A-Z]+(/.*)?", "locale data", ""),
    Named(r".*/gconv-modules\.cache", "character set tables"),
    Named(r".*\.pak", "Chromium resources", "chromium"),
    Named(r".*/(v8_context_snapshot.*|snapshot_blob)\.bin", "V8 snapshot"),
    Named(r".*/icudt(\d+[lbe]?|l)\.dat", "ICU data"),
    Named(r".*\.(ttf|otf|ttc|pfb)|.*/fontconfig/.*\.cache-\d+", "fonts"),
)

RINGS = {0: "submission queue", 0x8000000: "completion queue", 0x10000000: "submission entries"}
"""Offsets of the rings in an io_uring file (include/uapi/linux/io_uring.h, IORING_OFF_*)."""

BUFFER_RING = 0x80000000


def first_match(
    known: Sequence[Named], text: str, evidence: str, programs: Mapping[str, Runtime]
) -> Use | None:
    for pattern, use, runtime in known:
        if match := re.fullmatch(pattern, text):
            word = match.expand(use).strip() if "\\" in use else use
            proof = programs.get(runtime or "")
            return Use(word, evidence, runtime is not None and not (proof and proof.sure))
    return None


def named(region: Unclassified, raw: bytes, programs: Mapping[str, Runtime]) -> Use | None:
    """The use that a region's name shows; None: it shows none."""
    if raw[:1] == b"[":
        if raw.startswith((b"[anon:", b"[anon_shmem:")):
            name = (region.pathname or "").partition(":")[2][:-1]
            return first_match(ANON_NAMES, name, "name", programs)
        return None
    if b"io_uring" in raw and raw.startswith(b"anon_inode:"):
        ring = RINGS.get(region.offset)
        if ring is None and region.offset >= BUFFER_RING:
            ring = "buffer ring"
        return Use("io_uring" if ring is None else f"io_uring {ring}", "name")
    for pattern, device in DEVICES:
        if re.fullmatch(pattern, raw):
            return Use(device, "name")
    path = region.pathname or ""
    if raw.startswith(b"/memfd:"):
        return first_match(MEMFD_NAMES, path[7:], "name of the memfd", programs)
    if raw.startswith(b"/dev/shm/"):
        return first_match(SHM_NAMES, path[9:], "name", programs)
    if raw[:1] == b"/" and not region.perms.execute:
        return first_match(FILES, path, "name", programs)
    return None


def by_name(layout: Layout) -> None:
    known: dict[tuple[bytes, int], Use | None] = {}
    for index in layout.named:
        kind = layout.found[index]
        if kind is None or kind.owner is not None or kind.use is not None:
            continue
        region = layout.regions[index]
        raw = region.raw_pathname or b""
        key = raw, region.offset if raw[:1] == b"a" else 0
        if key not in known:
            known[key] = named(region, raw, layout.programs)
        use = known[key]
        if use is not None:
            layout.found[index] = kind._replace(use=use)


# ---- sanitizers --------------------------------------------------------------

ASAN = (
    (0x7FFF7000, 0x8FFF7000, "AddressSanitizer shadow"),
    (0x8FFF7000, 0x2008FFF7000, "AddressSanitizer shadow gap"),
    (0x2008FFF7000, 0x10007FFF8000, "AddressSanitizer shadow"),
)
"""Shadow memory on x86-64 (compiler-rt/lib/asan/asan_mapping.h): (address >> 3) + 0x7fff8000."""

ASAN_HEAP = (0x500000000000, 0x700000000000)
"""kAllocatorSpace of AddressSanitizer and LeakSanitizer on x86-64 (asan_allocator.h)."""

ASAN_SPACE = 4 * TiB
"""kAllocatorSize: since gcc 16 the heap may be at any address, and is one reservation."""

SAME_HEAP = ("asan", "lsan")
"""Both have the same allocator at the same addresses."""

SANITIZERS = {
    "asan": "AddressSanitizer",
    "tsan": "ThreadSanitizer",
    "msan": "MemorySanitizer",
    "hwasan": "HWAddressSanitizer",
    # Its functions are in the runtimes of the others, too.
    "lsan": "LeakSanitizer",
}


def sanitizers(layout: Layout) -> None:
    name = next((name for name in SANITIZERS if name in layout.programs), None)
    if name is None:
        places = [(layout.find(start), end) for start, end, _ in ASAN]
        if sum(index is not None and layout.regions[index].end == end for index, end in places) < 2:
            return
        name = "asan"
        evidence, sure = "the shadow's fixed addresses", True
    else:
        evidence, sure = layout.programs[name].evidence, layout.programs[name].sure
    title = SANITIZERS[name]
    for index, kind in enumerate(layout.found):
        if kind is not None:
            continue
        region = layout.regions[index]
        if name in SAME_HEAP:
            for start, end, what in ASAN if name == "asan" else ():
                if start <= region.start and region.end <= end:
                    layout.claim(index, Use(what, f"{evidence}, fixed addresses"))
                    break
            else:
                if ASAN_HEAP[0] <= region.start < ASAN_HEAP[1]:
                    use = Use(f"{title} heap", f"{evidence}, its address", not sure)
                    layout.claim(index, use)
        elif region.size >= 64 * GiB:
            layout.claim(index, Use(f"{title} shadow", f"{evidence}, its size", guess=True))
    if name in SAME_HEAP:
        use = Use(f"{title} heap", f"{evidence}, 4 TiB reserved in one piece", not sure)
        for run in layout.runs():
            if run.end - run.start >= ASAN_SPACE and run.reserved >= ASAN_SPACE // 2:
                for index in range(run.first, run.last + 1):
                    if layout.regions[index].start < run.start + ASAN_SPACE:
                        layout.claim(index, use)


# ---- Go ----------------------------------------------------------------------

GO_HINTS = (0xC000000000, 0x4000000000)
"""Addresses at which the first arena is requested on x86-64 and aarch64 (runtime/malloc.go,
mallocinit()); the next ones follow it, or are 1 TiB higher."""

GO_ARENA = 64 * MiB


def go(layout: Layout) -> None:
    program = layout.programs.get("go")
    if program is None and layout.facts is not None and layout.facts.objects:
        return  # its ELF files were read, and none was built by Go
    evidence = "the address of Go's first arena"
    if program is not None:
        evidence = f"{program.evidence}, {evidence}"
    claimed = False
    for hint in GO_HINTS:
        if program is None and layout.find(hint) is None:
            continue
        for run in layout.runs():
            if run.start % TiB == hint % TiB and run.start < 1 << 47 and run.start >= hint:
                if program is None and (run.start != hint or run.end % GO_ARENA):
                    continue
                claimed = True
                for index in range(run.first, run.last + 1):
                    layout.claim(index, Use("Go heap", evidence, program is None))
        if claimed:
            break
    if program is None and not claimed:
        return
    checked = layout.facts.checked if layout.facts is not None else {}
    for run in layout.runs():
        starts = layout.starts[run.first : run.last + 1]
        proof = next((checked[start] for start in starts if start in checked), None)
        if proof is not None:
            # A pointer to any address in a reservation proves the use of all of it.
            use = Use(*proof)
        elif run.reserved >= GUARD_LIMIT // 2 and "glibc" not in layout.programs:
            use = Use("Go runtime metadata", "a Go program without a C library", guess=True)
        else:
            continue
        for index in range(run.first, run.last + 1):
            layout.claim(index, use)


# ---- JVM ---------------------------------------------------------------------

COMPRESSED = 32 * GiB
"""With a heap below this address, the JVM can use 32-bit references (compressed oops)."""


def jvm(layout: Layout) -> None:
    program = layout.programs.get("jvm")
    if program is None:
        return
    regions, found = layout.regions, layout.found
    evidence = program.evidence
    archives = {
        index
        for index, kind in enumerate(found)
        if kind is not None and kind.use is not None and kind.use.name == "JVM class data archive"
    }
    for index in archives:
        found[index] = found[index]._replace(kind=K.FILE, owner=None)  # type: ignore[union-attr]
    code(layout, "JVM code cache", evidence)
    runs = layout.runs()
    # Next to an archive of class data are objects of the heap, or classes.
    touching = {regions[index].end for index in archives} | {regions[i].start for i in archives}
    for run in runs:
        if run.start < COMPRESSED and run.end <= 2 * COMPRESSED:
            use = Use("JVM heap", f"{evidence}, reserved below 32 GiB", guess=True)
        elif run.start in touching:
            use = Use("JVM class space", f"{evidence}, after the class data archive", guess=True)
        elif run.largest > GUARD_LIMIT // 16 and run.reserved > run.end - run.start >> 3:
            use = Use("JVM reservation", f"{evidence}, a reservation in pieces", guess=True)
        else:
            continue
        for index in range(run.first, run.last + 1):
            layout.claim(index, use)


CODE_GUARD = 64 << 10


def code(layout: Layout, name: str, evidence: str) -> None:
    """Claims executable parts of a reservation, and the reserved gaps between and after them."""
    for run in layout.runs():
        inside = False
        for index in range(run.first, run.last + 1):
            perms = layout.regions[index].perms
            if perms.execute:
                inside = True
            elif not perms.startswith("---") or (
                # A small PROT_NONE region may be the guard of a stack.
                layout.regions[index].size <= CODE_GUARD
                and not (index < run.last and layout.regions[index + 1].perms.execute)
            ):
                inside = False
            if inside:
                said = f"{evidence}, executable anonymous memory"
                layout.claim(index, Use(name, said, guess=True))


# ---- V8 and Chromium ---------------------------------------------------------

CAGE = 4 * GiB
"""A 32-bit offset reaches each address of a cage, which is aligned to its size."""

POOL = 16 * GiB
SUPER_PAGE = 2 * MiB
V8_PAGE = 256 << 10
MMAP_AREA = 0x7000_0000_0000
"""Below it mmap(2) places memory only on request, as by allocators with random hints."""


def v8(layout: Layout) -> None:
    program = layout.programs.get("v8")
    if program is None:
        return
    chromium = "chromium" in layout.programs
    evidence = program.evidence
    for run in layout.runs():
        length = run.end - run.start
        if length < CAGE or run.start >= MMAP_AREA:
            continue
        if super_pages(layout, run):
            use = Use(
                "PartitionAlloc",
                f"{evidence}, super pages of 2 MiB in a reservation of {length // GiB} GiB",
                guess=not chromium,
            )
        elif run.start % CAGE == 0:
            use = Use("V8 cage", f"{evidence}, aligned to 4 GiB", guess=True)
        else:
            continue
        for index in range(run.first, run.last + 1):
            layout.claim(index, use)
    code(layout, "V8 code", evidence)
    checked = layout.facts.checked if layout.facts is not None else {}
    for run in layout.runs():
        for index in range(run.first, run.last + 1):
            region = layout.regions[index]
            if region.start in checked:
                layout.claim(index, Use(*checked[region.start]))
            elif (
                region.start < MMAP_AREA
                and region.start % V8_PAGE == 0
                and not (run.reserved or region.perms.execute)
            ):
                said = f"{evidence}, aligned to 256 KiB at a random address"
                layout.claim(index, Use("V8 heap", said, guess=True))


def super_pages(layout: Layout, run: Unclaimed) -> bool:
    """Whether the regions are super pages of PartitionAlloc.

    Each starts with inaccessible pages, then pages of metadata, then inaccessible pages again
    (base/allocator/partition_allocator, partition_page.h).
    """
    for index in range(run.first + 1, run.last):
        region = layout.regions[index]
        if (
            region.start % SUPER_PAGE in (0x1000, 0x2000, 0x4000)
            and region.perms == "rw-p"
            and layout.regions[index - 1].perms == "---p"
            and layout.regions[index + 1].perms == "---p"
            and region.size <= 0x4000
        ):
            return True
    return False


# ---- allocators --------------------------------------------------------------

ALIGNED = {"jemalloc": 2 * MiB, "tcmalloc": MiB, "mimalloc": 32 * MiB}


def allocators(layout: Layout) -> None:
    for name, aligned in ALIGNED.items():
        program = layout.programs.get(name)
        if program is None:
            continue
        for run in layout.runs():
            whole = run.start % aligned == 0 or run.reserved > GUARD_LIMIT
            for index in range(run.first, run.last + 1):
                # Where it maps memory beside other memory, both may be one region.
                if whole or layout.regions[index].size >= aligned:
                    layout.claim(index, Use(name, program.evidence, guess=True))
        if name != "tcmalloc":
            continue
        for index, kind in enumerate(layout.found):
            if kind is not None and kind.kind is K.HEAP and kind.use is None:
                layout.found[index] = kind._replace(use=Use(name, program.evidence, guess=True))


# ---- CPython -----------------------------------------------------------------


FREE_THREADED = re.compile(r"\bpython3\.\d+td?\b")


def cpython(layout: Layout) -> None:
    program = layout.programs.get("cpython")
    if program is None:
        return
    checked = layout.facts.checked if layout.facts is not None else {}
    # Builds without the GIL have no arenas of their own: objects are in mimalloc.
    no_arenas = FREE_THREADED.search(program.evidence) is not None
    memory_read = layout.facts is not None and layout.facts.memory_read
    for index in layout.unclaimed():
        region = layout.regions[index]
        if region.start in checked:
            layout.claim(index, Use(*checked[region.start]))
        elif not (memory_read or no_arenas) and region.perms == "rw-p" and region.size % MiB == 0:
            use = Use("CPython objects", f"{program.evidence}, whole arenas of 1 MiB", guess=True)
            layout.claim(index, use)


# ---- others ------------------------------------------------------------------


def others(layout: Layout) -> None:
    php, dotnet = layout.programs.get("php"), layout.programs.get("dotnet")
    for run in layout.runs() if php or dotnet else ():
        if dotnet is not None and run.end - run.start >= 64 * GiB:
            use = Use(".NET heap", f"{dotnet.evidence}, its size", guess=True)
        elif (
            php is not None
            and run.start % (2 * MiB) == 0
            and (run.end - run.start) % (2 * MiB) == 0
        ):
            use = Use("PHP memory", f"{php.evidence}, chunks of 2 MiB", guess=True)
        else:
            continue
        for index in range(run.first, run.last + 1):
            layout.claim(index, use)
    postgres = layout.programs.get("postgresql")
    if postgres is not None:
        shared = [
            (layout.regions[index].size, index)
            for index, kind in enumerate(layout.found)
            if kind is not None
            and kind.kind in (K.SHARED_MEMORY, K.HUGETLB)
            and kind.use is None
            and layout.regions[index].inode
        ]
        if shared:
            index = max(shared)[1]
            kind = layout.found[index]
            use = Use("PostgreSQL shared buffers", f"{postgres.evidence}, the largest", guess=True)
            if kind is not None:
                layout.found[index] = kind._replace(use=use)


RUNTIMES = {
    "luajit": "LuaJIT code",
    "dotnet": ".NET code",
    "erlang": "Erlang code",
    "php": "PHP code (OPcache)",
    "ruby": "Ruby code (YJIT)",
}


def generated_code(layout: Layout) -> None:
    name = next((title for key, title in RUNTIMES.items() if key in layout.programs), "JIT code")
    for index in where(layout.marks.executable):
        if layout.found[index] is None:
            layout.claim(index, Use(name, "executable anonymous memory", guess=True))


class Recogniser(NamedTuple):
    """A line of the table.

    Attributes:
        uses: the uses that it finds, for readers of the table.
        find: a function that claims regions in a Layout.
        before_guesses: whether it runs before stacks and arenas are guessed by position.
    """

    uses: str
    find: Callable[[Layout], None]
    before_guesses: bool = False


RECOGNISERS = (
    Recogniser("shadows and heaps of sanitizers", sanitizers, before_guesses=True),
    Recogniser("Go heap, Go runtime metadata", go, before_guesses=True),
    Recogniser("V8 heap, cage and code; PartitionAlloc", v8, before_guesses=True),
    Recogniser("what the kernel, libraries and programs name", by_name),
    Recogniser("JVM heap, class space, code cache", jvm),
    Recogniser("CPython objects", cpython),
    Recogniser(".NET heap, PHP memory, PostgreSQL shared buffers", others),
    Recogniser("jemalloc, tcmalloc, mimalloc", allocators),
    Recogniser("JIT code", generated_code),
)
"""They run in this order: the first one that claims a region sets its use."""


# ---- uses that are checked in memory -------------------------------------------


class MemoryCheck(NamedTuple):
    """A use that is checked in the memory of a process.

    Attributes:
        program: the check runs only if the process contains this runtime.
        find: a function of the private anonymous regions without a name, the facts, and a
            function that reads memory (address and size; it returns fewer bytes if pages are not
            present). It returns the use's name and evidence by the start of the region.
    """

    program: str
    find: Callable[
        [Sequence[Unclassified], Facts, Callable[[int, int], bytes]], dict[int, tuple[str, str]]
    ]


MOST_READ = 4096
PER_REGION = 16
ENOUGH = 3
"""The number of pools with valid headers after which a region counts as recognised."""

POOL_SIZES = (16384, 4096)
"""Bytes of a pool of CPython's obmalloc: since 3.10, and in older versions."""

POOL_HEADER = struct.Struct("=I4x3QIIII")
"""struct pool_header: blocks in use, list of free blocks, next and previous pool, arena, size
class, two offsets."""


def cpython_pools(
    regions: Sequence[Unclassified], _: Facts, read: Callable[[int, int], bytes]
) -> dict[int, tuple[str, str]]:
    """Regions that contain pools of obmalloc, by the pools' headers (Objects/obmalloc.c)."""
    found: dict[int, tuple[str, str]] = {}
    for size in POOL_SIZES:
        left = MOST_READ
        for region in regions:
            if region.size < 256 << 10 or left <= 0 or region.perms != "rw-p":
                continue
            first = -(-region.start // size) * size
            pools = seen = 0
            step = max(size, (region.end - first) // PER_REGION // size * size)
            for address in range(first, region.end - size + 1, step):
                left -= 1
                data = read(address, POOL_HEADER.size)
                if len(data) == POOL_HEADER.size:
                    seen += 1
                    pools += is_pool(address, size, *POOL_HEADER.unpack(data))
                    if pools == ENOUGH:
                        break
            if pools == ENOUGH or (pools and 2 * pools > seen):
                said = f"{pools} of {seen} pools that were read have headers of obmalloc"
                found[region.start] = "CPython objects", said
        if found:
            break  # all pools of an interpreter have one size
    return found


def is_pool(
    address: int, size: int, used: int, free: int, following: int, before: int, arena: int,
    number: int, offset: int, largest: int,
) -> bool:  # fmt: skip
    block = 16 * (number + 1)
    return (
        number < 32
        and largest == size - block
        and 0 < used <= (size - 48) // block
        and 48 <= offset <= size
        and (not free or address < free < address + size)
        and following > 4096
        and before > 4096
        and arena < 1 << 24
    )


def go_reservations(
    regions: Sequence[Unclassified], facts: Facts, read: Callable[[int, int], bytes]
) -> dict[int, tuple[str, str]]:
    """Anonymous regions that the state of the Go heap (`runtime.mheap_`) points to."""
    if facts.go_heap is None:
        return {}
    start, size = facts.go_heap
    words: set[int] = set()
    for address in range(start, start + size, 4096):
        data = read(address, min(4096, start + size - address))
        words.update(struct.unpack_from(f"={len(data) // 8}Q", data))
    pointers = sorted(words)
    found = {}
    for region in regions:
        place = bisect_left(pointers, region.start)
        if place < len(pointers) and pointers[place] < region.end:
            found[region.start] = "Go runtime metadata", "runtime.mheap_ points to it"
    return found


def v8_pages(
    regions: Sequence[Unclassified], _: Facts, read: Callable[[int, int], bytes]
) -> dict[int, tuple[str, str]]:
    """Regions that start with the header of a page of V8's heap.

    The header starts with the size of the chunk, flags, and addresses, two of which are the
    bounds of its objects (src/heap/basic-memory-chunk.h).
    """
    found = {}
    looked = 0
    for region in regions:
        if region.start % V8_PAGE:
            continue
        if region.perms.startswith("---"):
            continue
        looked += 1
        if looked > MOST_READ:
            break
        data = read(region.start, 80)
        if len(data) < 80:
            continue
        words = struct.unpack("=10Q", data)
        size = words[0]
        inside = [word for word in words[2:] if region.start < word <= region.start + size]
        if size and size % 4096 == 0 and size <= 1 << 40 and region.start + size in inside:
            found[region.start] = "V8 heap", "it starts with the header of a V8 page"
    return found


CHECKS = (
    MemoryCheck("cpython", cpython_pools),
    MemoryCheck("go", go_reservations),
    MemoryCheck("v8", v8_pages),
)
