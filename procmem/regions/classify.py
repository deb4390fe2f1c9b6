"""Finds what each region of a process is for.

From maps or smaps alone this goes by the kernel's names, by VmFlags, and by
the place of a region among its neighbours. The last is a guess, and
`Kind.evidence` says so.
"""

from __future__ import annotations

import re
from collections import Counter

from procmem.regions.kinds import (
    ARENA_SIZES,
    GUARD_LIMIT,
    GUESSES,
    JOINED,
    STACK_MINIMUM,
    Kind,
    Owner,
    RegionKind,
    Use,
    runs_on_name,
    stacks_name,
)
from procmem.regions.marks import where
from procmem.regions.uses import RECOGNISERS, REPLACE_MALLOC, Layout, programs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.regions.facts import Facts, Stack
    from procmem.regions.kinds import Unclassified
    from procmem.regions.marks import Marks

__all__ = ["classify"]

K = RegionKind

BRACKETED = {
    b"[heap]": K.HEAP,
    b"[stack]": K.STACK,
    b"[vdso]": K.VDSO,
    b"[sigpage]": K.VDSO,
    b"[vvar]": K.VVAR,
    b"[vvar_vclock]": K.VVAR,
    b"[vsyscall]": K.VSYSCALL,
    b"[vectors]": K.VSYSCALL,
    b"[uprobes]": K.UPROBES,
    b"[uprobes-trampoline]": K.UPROBES,
    b"[gic]": K.DEVICE,
}

# Names that allocators and C libraries give to their memory with
# prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME): glibc 2.39 and later, bionic.
NAMED_ANON = (
    (re.compile(rb" glibc: pthread (user )?stack"), K.THREAD_STACK),
    (re.compile(rb"stack_and_tls:"), K.THREAD_STACK),
    (re.compile(rb" glibc: malloc arena"), K.ARENA),
    (re.compile(rb" glibc: (loader )?malloc"), K.HEAP),
    (re.compile(rb"libc_malloc|scudo:|GWP-ASan|partition_alloc"), K.HEAP),
    (re.compile(rb"\.bss"), K.BSS),
)

LOADER = re.compile(
    rb"(?:.*/)?(?:ld(?:64)?(?:-[\w.+-]*)?\.so(?:\.\d+)?|ld-\d[\d.]*\.so|linker(?:64)?)"
)
"""ld-linux-x86-64.so.2, ld-musl-x86_64.so.1, ld64.so.2, ld-2.31.so, ld.so.1, linker64."""

SHARED_LIBRARY = re.compile(rb".*\.so(?:[.-][^/]*)?")

SHARED_MEMORY = re.compile(
    rb"/dev/zero \(deleted\)|/SYSV[0-9a-f]{8} \(deleted\)|/memfd:.*|/dev/shm/.*", re.S
)
HUGETLB = re.compile(
    rb"/anon_hugepage \(deleted\)|/(?:dev/|mnt/)?huge(?:pages|tlbfs)[^/]*/.*", re.S
)
NOT_DEVICES = re.compile(rb"/dev/(?:shm|hugepages|mqueue)/.*|/dev/zero(?: \(deleted\))?", re.S)
OTHER_DELETED = re.compile(rb"/secretmem \(deleted\)")
KERNEL_RINGS = re.compile(rb"anon_inode:.*|socket:\[\d+\]|/\[aio\] \(deleted\)", re.S)


def classify(
    regions: Sequence[Unclassified],
    marks: Marks,
    exe: bytes | None,
    facts: Facts | None = None,
    *,
    renamed: bool = False,
) -> list[Kind]:
    """What each region is, and what it is used for.

    Args:
        regions: a whole reading in its order.
        marks: what is known of each of them at a glance.
        exe: the executable's path; None: not known.
        facts: what threads, memory and ELF files say; None: nothing is known but the text.
        renamed: whether regions whose lines have the same name may have different paths.
    """
    found = named(regions, marks, renamed=renamed)
    first = True
    for group in objects(regions, marks):
        has_code = segments(regions, group, exe, found, first=first)
        first = first and not has_code
    layout = Layout(regions, found, facts, {}, marks)
    if facts is not None:
        by_headers(layout, facts)
        stacks_by_descriptors(layout, facts)
        arenas_by_headers(layout, facts)
    layout.programs = programs_of(regions, found, facts, marks)
    for recogniser in RECOGNISERS:
        if recogniser.before_guesses:
            recogniser.find(layout)
    if facts is not None:
        stacks_by_pointers(layout, facts)
    guess_arenas(layout)
    guess_stacks(layout)
    for recogniser in RECOGNISERS:
        if not recogniser.before_guesses:
            recogniser.find(layout)
    anonymous(layout)
    return found  # type: ignore[return-value]  # none is left that is None


def named(regions: Sequence[Unclassified], marks: Marks, *, renamed: bool) -> list[Kind | None]:
    """The kinds that the kernel's names prove; worked out once for each name and set of flags."""
    alike: dict[tuple[int, int, int], Kind | None] = {}
    found: list[Kind | None] = [None] * len(regions)
    for index in sorted({*where(marks.named), *where(marks.noted)}):
        region = regions[index]
        key = region._name, region._perms, region._flags
        if renamed or key not in alike:
            kind = by_name(region)
            # The inode is part of the name of System V shared memory.
            if renamed or raw_name(region).startswith(b"/SYSV"):
                found[index] = kind
                continue
            alike[key] = kind
        found[index] = alike[key]
    return found


def raw_name(region: Unclassified) -> bytes:
    return region.raw_pathname or b""


def flags_of(region: Unclassified) -> frozenset[str]:
    return frozenset(getattr(region, "vm_flags", None) or ())


def basename(region: Unclassified) -> str:
    path = region.pathname or ""
    return path.rsplit("/", 1)[-1] or path


def by_name(region: Unclassified) -> Kind | None:
    """The kind that the kernel's name proves; None if the name proves none."""
    raw = raw_name(region)
    flags = flags_of(region)
    if "ht" in flags:
        return Kind(K.HUGETLB, None, "flags", basename(region) or "huge pages")
    if not raw:
        return None
    if raw[:1] == b"[":
        return bracketed(region, raw)
    if HUGETLB.fullmatch(raw):
        return Kind(K.HUGETLB, None, "name", basename(region))
    if KERNEL_RINGS.fullmatch(raw):
        return Kind(K.DEVICE, None, "name", region.pathname or "")
    if OTHER_DELETED.fullmatch(raw):
        return Kind(K.OTHER, None, "name", "secretmem")
    if SHARED_MEMORY.fullmatch(raw) and (region.perms.shared or not region.perms.execute):
        return Kind(K.SHARED_MEMORY, None, "name", shared_memory_name(region))
    if raw == b"/dev/zero":
        # A private mapping of it is how System V made anonymous memory.
        kind = K.ANON if region.perms.private else K.SHARED_MEMORY
        return Kind(kind, None, "name", "anonymous")
    if raw.startswith(b"/dev/") and not NOT_DEVICES.fullmatch(raw):
        return Kind(K.DEVICE, None, "name", region.pathname or "")
    if "io" in flags or "pf" in flags:
        return Kind(K.DEVICE, None, "flags", basename(region))
    return None


def shared_memory_name(region: Unclassified) -> str:
    raw = raw_name(region)
    if raw.startswith(b"/SYSV"):
        return f"System V shared memory, id {region.inode}"
    if raw.startswith(b"/memfd:"):
        return (region.pathname or "")[1:]
    if raw.startswith(b"/dev/zero"):
        return "shared anonymous memory"
    return basename(region)


def bracketed(region: Unclassified, raw: bytes) -> Kind:
    if raw in BRACKETED:
        name = raw[1:-1].decode()
        return Kind(BRACKETED[raw], None, "name", name)
    if match := re.fullmatch(rb"\[stack:(\d+)\]", raw):
        return Kind(K.THREAD_STACK, None, "name", f"stack of thread {match[1].decode()}")
    pathname = region.pathname or ""
    if raw.startswith(b"[anon_shmem:"):
        return Kind(K.SHARED_MEMORY, None, "name", pathname[12:-1])
    if raw.startswith(b"[anon:"):
        label = raw[6:-1]
        for pattern, kind in NAMED_ANON:
            if pattern.match(label):
                # bionic names a stack together with its guard.
                guard = kind is K.THREAD_STACK and region.perms.startswith("---")
                return Kind(K.GUARD if guard else kind, None, "name", label_of(pathname))
        if region.perms.startswith("---") and region.size <= GUARD_LIMIT:
            # Only its size is that of a guard, unless the name says so.
            evidence = "name" if b"guard" in label.lower() else "size"
            return Kind(K.GUARD, None, evidence, label_of(pathname))
        return Kind(K.ANON, None, "name", label_of(pathname))
    return Kind(K.OTHER, None, "name", pathname[1:-1])


def label_of(pathname: str) -> str:
    """The label in [anon:NAME]; some programs put a blank before it."""
    return pathname[6:-1].strip() or "anonymous"


# ---- objects: the segments of an ELF file ----------------------------------


def objects(regions: Sequence[Unclassified], marks: Marks) -> list[list[int]]:
    """The indices of each mapped object, in order.

    A loader maps the segments of a file in ascending order and mostly without
    a gap, so a run of one file's regions is one object. It ends where the
    offsets start again (the same library twice) or another file begins.
    """
    groups: list[list[int]] = []
    before = named = -1
    for index in where(marks.named):
        region = regions[index]
        before, named = named, index
        # Some emulators print no inodes.
        if not raw_name(region).startswith(b"/"):
            continue
        last = regions[groups[-1][-1]] if groups else None
        if (
            last is not None
            and (last.dev, last.inode, raw_name(last))
            == (region.dev, region.inode, raw_name(region))
            and last.start < region.start
            and last.offset <= region.offset
            and (region.offset or not last.offset)
            and before == groups[-1][-1]
        ):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def owner_of(region: Unclassified, exe: bytes | None, *, first: bool) -> tuple[Owner, str]:
    """The owner of these segments, and what shows it."""
    raw = raw_name(region)
    stripped = raw[:-10] if raw.endswith(b" (deleted)") else raw
    if exe is not None and raw == escaped(exe):
        return Owner.EXECUTABLE, "name"
    if LOADER.fullmatch(stripped):
        return Owner.LOADER, "name"
    if exe is None and first and not SHARED_LIBRARY.fullmatch(stripped):
        # The kernel maps the program before the loader maps anything.
        return Owner.EXECUTABLE, "position"
    return Owner.LIBRARY, "position"


def escaped(path: bytes) -> bytes:
    return path.replace(b"\n", b"\\012")


def segments(
    regions: Sequence[Unclassified],
    group: list[int],
    exe: bytes | None,
    found: list[Kind | None],
    *,
    first: bool,
) -> bool:
    """The segments of one object; whether it has code.

    Args:
        regions: all of a reading.
        group: the indices of the object's regions.
        exe: the executable's path; None: not known.
        found: is filled in.
        first: no object before it has code.
    """
    members = [regions[i] for i in group]
    lowest = members[0]
    if not any(m.perms.execute and m.perms.private for m in members):
        for index in group:
            if found[index] is None:
                found[index] = Kind(K.FILE, None, "name", basename(lowest))
        return False
    owner, _ = owner_of(lowest, exe, first=first)
    name = basename(lowest)
    for place, index in enumerate(group):
        region = regions[index]
        following = regions[group[place + 1]] if place + 1 < len(group) else None
        kind, evidence = segment(region, following)
        found[index] = Kind(kind, owner, evidence, name)
    bss = group[-1] + 1
    last = members[-1]
    if bss < len(regions) and last.perms.startswith("rw"):
        region = regions[bss]
        if (
            found[bss] is None
            and region.start == last.end
            and region.perms.startswith("rw")
            and region.perms.private
            and (owner is Owner.EXECUTABLE or region.size <= last.end - lowest.start)
        ):
            # Behind a library there is often unrelated memory: libraries have
            # little bss, so what is larger than the library itself is not taken.
            found[bss] = Kind(K.BSS, owner, "position", name)
    return True


def segment(region: Unclassified, following: Unclassified | None) -> tuple[RegionKind, str]:
    """The kind of one segment, from its permissions and the segment after it."""
    perms = region.perms
    if perms.shared:
        return K.FILE, "perms"
    if perms.execute:
        return K.TEXT, "perms"
    if perms.write:
        return K.DATA, "perms"
    if not perms.read:
        # Old linkers left gaps between segments, which the loader makes PROT_NONE.
        return K.GUARD, "perms"
    if "ac" in flags_of(region):
        # Accounted: it was writable once, so the loader made it read-only
        # after relocation (mprotect of PT_GNU_RELRO).
        return K.RELRO, "flags"
    if flags_of(region):
        return K.RODATA, "flags"
    if (
        following is not None
        and following.perms.startswith("rw-")
        and following.start == region.end
        and following.offset == region.offset + region.size
    ):
        # Read-only pages that run on into .data, in the file as in memory, are
        # one segment that was split by mprotect. .rodata ends on a page of its own.
        return K.RELRO, "position"
    return K.RODATA, "position"


# ---- facts -----------------------------------------------------------------


def by_headers(layout: Layout, facts: Facts) -> None:
    """Replaces kinds that rest on permissions and position by those from ELF headers."""
    found = layout.found
    for start, (kind, name, first) in facts.headers.items():
        index = layout.find(start)
        if index is None or layout.starts[index] != start:
            continue
        if layout.regions[index].raw_pathname == b"[heap]":
            continue
        place = layout.find(first)
        head = None if place is None or layout.starts[place] != first else found[place]
        owner = head.owner if head is not None and head.owner is not None else Owner.LIBRARY
        found[index] = Kind(kind, owner, "elf", name)
    for index in layout.named:
        # Behind the last segment of an object; see segments().
        known = found[index + 1] if index + 1 < len(found) else None
        if (
            known is not None
            and known.kind is K.BSS
            and known.evidence == "position"
            and known.name in facts.objects
        ):
            found[index + 1] = None  # by the headers, the object before it ends there


def stacks_by_descriptors(layout: Layout, facts: Facts) -> None:
    """Stacks of threads, ended ones too, from the thread descriptors of the C library."""
    inside: dict[int, list[Stack]] = {}
    for stack in facts.stacks:
        # The descriptor of the first thread is apart from its stack.
        if stack.descriptor is not None and stack.tid != facts.main:
            index = layout.find(stack.descriptor)
            if index is not None:
                inside.setdefault(index, []).append(stack)
    for index, stacks in inside.items():
        if claimable(layout, index):
            live_stack(layout, index, stacks, "thread descriptor")
    ended = Counter(layout.find(stack.descriptor) for stack in facts.ended)
    for index, count in ended.items():
        if index is not None and layout.found[index] is None:
            # Where guards are marks in the page table, several are one region.
            name = "stack of an ended thread" if count == 1 else f"stacks of {count} ended threads"
            use = Use(name, "the thread's descriptor, which no thread has")
            layout.found[index] = Kind(K.ANON, None, "perms", name, use)
    for stack in [*facts.stacks, *facts.ended]:
        if stack.start is not None and stack.end is not None and stack.tid != facts.main:
            for index in layout.within(stack.start, stack.end):
                region = layout.regions[index]
                if (
                    layout.found[index] is None
                    and region.perms == "---p"
                    and region.size <= max(stack.guard, GUARD_LIMIT)
                ):
                    layout.found[index] = Kind(K.GUARD, None, "thread descriptor", "stack guard")


def claimable(layout: Layout, index: int) -> bool:
    """Whether a region may be a stack: anonymous memory of no other kind that is certain."""
    kind, region = layout.found[index], layout.regions[index]
    if not region.perms.write or region.perms.shared:
        return False
    return kind is None or (kind.kind in (K.ANON, K.BSS, K.THREAD_STACK) and kind.evidence != "elf")


def live_stack(layout: Layout, index: int, stacks: list[Stack], evidence: str) -> None:
    region = layout.regions[index]
    if any(s.pointer is not None and region.start <= s.pointer < region.end for s in stacks):
        evidence = "stack pointer"
    facts = layout.facts
    ended = [
        stack
        for stack in (facts.ended if facts is not None else ())
        if stack.descriptor is not None and region.start <= stack.descriptor < region.end
    ]
    covered = sum(
        max(min(stack.end, region.end) - max(stack.start, region.start), 0)
        for stack in (*stacks, *ended)
        if stack.start is not None and stack.end is not None
    )
    main = facts.main if facts is not None else 0
    # A thread whose own stack is elsewhere runs on a coroutine's stack, or in a signal handler.
    own = [
        stack.tid
        for stack in stacks
        if (
            stack.tid != main
            if stack.start is None or stack.end is None
            else stack.start < region.end and region.start < stack.end
        )
    ]
    executable = bool(region.perms.execute)
    tids = own or [stack.tid for stack in stacks]
    if own:
        name = stacks_name(tids, len(ended), covered, region.size, executable=executable)
    else:
        name = runs_on_name(tids, executable=executable)
    use = None
    guards = [stack.guard for stack in (*stacks, *ended) if stack.marked]
    if guards:
        use = Use(
            f"thread stack with {sum(guards) // 1024} KiB of guard pages",
            "thread descriptor, guard marks in pagemap",
        )
    layout.found[index] = Kind(K.THREAD_STACK, None, evidence, name, use)


def stacks_by_pointers(layout: Layout, facts: Facts) -> None:
    """Stacks from stack pointers: the regions that these point into."""
    inside: dict[int, list[Stack]] = {}
    for stack in facts.stacks:
        index = layout.find(stack.pointer)
        if index is not None and claimable(layout, index):
            kind = layout.found[index]
            if kind is None or (kind.use is None and kind.kind is not K.THREAD_STACK):
                inside.setdefault(index, []).append(stack)
    for index, stacks in inside.items():
        live_stack(layout, index, stacks, "stack pointer")
        if index and layout.found[index - 1] is None:
            below = layout.regions[index - 1]
            if (
                below.end == layout.regions[index].start
                and below.perms == "---p"
                and below.size <= GUARD_LIMIT
            ):
                layout.found[index - 1] = Kind(K.GUARD, None, "stack pointer", "stack guard")


def arenas_by_headers(layout: Layout, facts: Facts) -> None:
    """Arenas of glibc's malloc, recognised by the first words of their heaps."""
    if not facts.heaps:
        return
    regions, found = layout.regions, layout.found
    held: dict[int, int] = {}
    for start, writable in sorted(facts.heaps.items()):
        index = layout.find(start)
        if index is None:
            continue
        kind, region = found[index], regions[index]
        if kind is None or kind.kind is K.ARENA:
            found[index] = arena("heap header", "malloc arena")
            held[index] = held.get(index, 0) + min(writable, region.end - start)
        behind = next_to(regions, index)
        if behind is not None and found[index + 1] is None and behind.perms == "---p":
            room = arena_size(region) - (behind.start - start) % arena_size(region)
            if behind.size <= room + GUARD_LIMIT:
                found[index + 1] = arena("heap header", "malloc arena, reserved")
    for index, size in held.items():
        region = regions[index]
        if size < region.end - region.start and not any(
            region.start <= start < region.end for start in facts.unread
        ):
            # The kernel joins neighbours with the same permissions.
            found[index] = arena(JOINED, "malloc arena and other memory")


def arena(evidence: str, name: str) -> Kind:
    use = "malloc arena" if name.startswith("malloc arena,") else name
    return Kind(K.ARENA, None, evidence, name, Use(use, evidence, evidence in GUESSES))


# ---- guesses by position -----------------------------------------------------

STACK_GUARD_LIMIT = 64 << 10
"""A larger guard is only recognised by facts: C libraries use a page, HotSpot 16 KiB."""

LARGEST_GUESS = 1 << 30

LIBRARIES_WITH_THREADS = ("glibc", "musl", "libc")


def has_code(layout: Layout) -> bool:
    """Whether the text has the program's code: then a C library it lacks is not used."""
    return any(kind.kind is K.TEXT for kind in filter(None, layout.found))


def guess_arenas(layout: Layout) -> None:
    regions, found, facts = layout.regions, layout.found, layout.facts
    named = named_arenas(layout)
    for index in named:
        behind = next_to(regions, index)
        if behind is not None and found[index + 1] is None and reserve_of(regions[index], behind):
            found[index + 1] = arena("position", "malloc arena, reserved")
    if has_code(layout) and "glibc" not in layout.programs:
        return
    if any(name in layout.programs for name in REPLACE_MALLOC):
        return
    for reserve in layout.reserved:
        index = reserve - 1
        if index < 0 or found[index] is not None or found[reserve] is not None:
            continue
        region, behind = regions[index], regions[reserve]
        if region.end != behind.start or not is_arena(region, behind):
            continue
        if facts is not None and facts.memory_read and region.start not in facts.unread:
            continue
        found[index] = arena("position", "malloc arena")
        found[reserve] = arena("position", "malloc arena, reserved")


def named_arenas(layout: Layout) -> list[int]:
    return [
        index
        for index in layout.named
        if (kind := layout.found[index]) and kind.kind is K.ARENA and kind.evidence == "name"
    ]


def reserve_of(region: Unclassified, behind: Unclassified) -> bool:
    """Whether a region is the unused rest of the arena before it."""
    size = arena_size(region)
    return behind.perms == "---p" and behind.size < size + GUARD_LIMIT


def guess_stacks(layout: Layout) -> None:
    """Guesses stacks from the guard before them, unless something contradicts that."""
    regions, found, facts = layout.regions, layout.found, layout.facts
    if facts is not None and facts.all_located:
        return
    if has_code(layout) and not any(name in layout.programs for name in LIBRARIES_WITH_THREADS):
        return
    # A program that asked for an executable stack has executable stacks everywhere.
    executable = any(
        regions[index].raw_pathname == b"[stack]" and regions[index].perms.execute
        for index in layout.named
    )
    candidates = []
    advised = False
    last = len(regions) - 1
    for index in layout.reserved:
        if index == last or found[index + 1] is not None:
            continue
        guard, stack = regions[index], regions[index + 1]
        below = found[index]
        merged = below is not None and below.kind is K.ARENA
        if (
            stack.start == guard.end
            and (below is None or merged)
            and (guard.size <= STACK_GUARD_LIMIT or merged)
            and (stack.perms == "rw-p" or (stack.perms == "rwxp" and executable))
            and STACK_MINIMUM <= stack.size <= LARGEST_GUESS
        ):
            flags = flags_of(stack)
            if "nr" not in flags:
                candidates.append(index)
                advised = advised or "nh" in flags
    for index in where(layout.marks.noted):
        region = regions[index]
        if found[index] is None and region.perms == "rw-p" and {"gu", "nh"} <= flags_of(region):
            # Its guards are marks in the page table (glibc 2.42; the flag since Linux 6.19).
            found[index] = Kind(K.THREAD_STACK, None, "position", "thread stack")
    stacks: set[int] = set()
    for index in reversed(candidates):
        if found[index + 1] is not None:
            continue
        stack = regions[index + 1]
        # Since Linux 6.7, MAP_STACK keeps huge pages away.
        if advised and "nh" not in flags_of(stack):
            continue
        behind = next_to(regions, index + 1)
        if (
            behind is not None
            and behind.perms == "---p"
            and index + 2 not in stacks
            and found[index + 2] is None
        ):
            # Carved out of a reservation: inaccessible on both sides.
            continue
        stacks.add(index)
        found[index + 1] = Kind(K.THREAD_STACK, None, "position", "thread stack")
    for index in stacks:
        if found[index] is None:
            found[index] = Kind(K.GUARD, None, "position", "stack guard")


# ---- anonymous memory ------------------------------------------------------


def anonymous(layout: Layout) -> None:
    """The regions that no rule has claimed."""
    regions, found = layout.regions, layout.found
    for run in layout.runs():
        carved = run.largest > GUARD_LIMIT or run.pieces > MOST_GUARDS
        end = run.last + 1
        found[run.first : end] = [ANONYMOUS] * (end - run.first)
        for index in where(layout.marks.barred, run.first, end):
            large = carved or regions[index].size > GUARD_LIMIT
            found[index] = RESERVED if large else LONE_GUARD


ANONYMOUS = Kind(K.ANON, None, "name", "anonymous")
RESERVED = Kind(K.ANON, None, "perms", "reserved address space")
LONE_GUARD = Kind(K.GUARD, None, "position", "guard")
MOST_GUARDS = 2
"""More inaccessible regions in a row without a gap are one allocator's reservation."""


def next_to(regions: Sequence[Unclassified], index: int) -> Unclassified | None:
    """The region that starts where this one ends."""
    if index + 1 < len(regions) and regions[index + 1].start == regions[index].end:
        return regions[index + 1]
    return None


def arena_size(region: Unclassified) -> int:
    return ARENA_SIZES[region.end <= 1 << 32]


def is_arena(region: Unclassified, behind: Unclassified | None) -> bool:
    """Whether this is the used part of a malloc arena, and the one behind its reserve.

    An arena is mapped PROT_NONE, aligned to its length, and opened from its
    start as it grows. Full arenas merge with the next one.
    """
    size = arena_size(region)
    return (
        behind is not None
        and region.perms == "rw-p"
        and behind.perms == "---p"
        and not raw_name(region)
        and not raw_name(behind)
        and region.start % size == 0
        and behind.size < size + GUARD_LIMIT
        and (behind.end - region.start) // size > 0
        and (behind.end - region.start) % size <= GUARD_LIMIT
    )
