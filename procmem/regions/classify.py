"""Telling what each region of a process is for.

From maps or smaps alone this goes by the kernel's names, by VmFlags, and by
the place of a region among its neighbours. The last is a guess, and
`Kind.evidence` says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from procmem.regions.kinds import ARENA_SIZES, GUARD_LIMIT, STACK_MINIMUM, Kind, Owner, RegionKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procmem.regions.model import Region, Shared

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
    (re.compile(rb"thread signal stack"), K.STACK),
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


def classify(regions: Sequence[Region], block: Shared) -> list[Kind]:
    """What each region is; `regions` is a whole reading in its order."""
    found: list[Kind | None] = [by_name(region) for region in regions]
    for group in objects(regions):
        segments(regions, group, block, found)
    anonymous(regions, found)
    return [kind or Kind(K.OTHER, None, "none", "unknown") for kind in found]


def raw_name(region: Region) -> bytes:
    return region.raw_pathname or b""


def flags_of(region: Region) -> frozenset[str]:
    return frozenset(getattr(region, "vm_flags", None) or ())


def basename(region: Region) -> str:
    path = region.pathname or ""
    return path.rsplit("/", 1)[-1] or path


def by_name(region: Region) -> Kind | None:
    """What the kernel's own name says, or nothing."""
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


def shared_memory_name(region: Region) -> str:
    raw = raw_name(region)
    if raw.startswith(b"/SYSV"):
        return f"System V shared memory, id {region.inode}"
    if raw.startswith(b"/memfd:"):
        return (region.pathname or "")[1:]
    if raw.startswith(b"/dev/zero"):
        return "shared anonymous memory"
    return basename(region)


def bracketed(region: Region, raw: bytes) -> Kind:
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
                return Kind(kind, None, "name", pathname[6:-1].strip())
        if region.perms.startswith("---"):
            return Kind(
                K.GUARD if region.size <= GUARD_LIMIT else K.ANON, None, "name", pathname[6:-1]
            )
        return Kind(K.ANON, None, "name", pathname[6:-1])
    return Kind(K.OTHER, None, "name", pathname[1:-1])


# ---- objects: the segments of an ELF file ----------------------------------


def objects(regions: Sequence[Region]) -> list[list[int]]:
    """The indices of each mapped object, in order.

    A loader maps the segments of a file in ascending order and mostly without
    a gap, so a run of one file's regions is one object. It ends where the
    offsets start again (the same library twice) or another file begins.
    """
    groups: list[list[int]] = []
    for index, region in enumerate(regions):
        if not region.inode or not raw_name(region).startswith(b"/"):
            continue
        last = regions[groups[-1][-1]] if groups else None
        if (
            last is not None
            and (last.dev, last.inode, raw_name(last))
            == (region.dev, region.inode, raw_name(region))
            and last.start < region.start
            and last.offset <= region.offset
            and (region.offset or not last.offset)
            and all(not raw_name(regions[i]) for i in range(groups[-1][-1] + 1, index))
        ):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def owner_of(region: Region, block: Shared, *, first: bool) -> tuple[Owner, str]:
    """Whose segments these are, and what tells."""
    raw = raw_name(region)
    stripped = raw[:-10] if raw.endswith(b" (deleted)") else raw
    if block.exe is not None and raw == escaped(block.exe):
        return Owner.EXECUTABLE, "name"
    if LOADER.fullmatch(stripped):
        return Owner.LOADER, "name"
    if block.exe is None and first and not SHARED_LIBRARY.fullmatch(stripped):
        # The kernel maps the program before the loader maps anything.
        return Owner.EXECUTABLE, "position"
    return Owner.LIBRARY, "position"


def escaped(path: bytes) -> bytes:
    return path.replace(b"\n", b"\\012")


def segments(
    regions: Sequence[Region], group: list[int], block: Shared, found: list[Kind | None]
) -> None:
    members = [regions[i] for i in group]
    first = members[0]
    if not any(m.perms.execute and m.perms.private for m in members):
        for index in group:
            if found[index] is None:
                found[index] = Kind(K.FILE, None, "name", basename(first))
        return
    is_first = not any(kind is not None and kind.kind is K.TEXT for kind in found[: group[0]])
    owner, _ = owner_of(first, block, first=is_first)
    name = basename(first)
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
            and (owner is Owner.EXECUTABLE or region.size <= last.end - first.start)
        ):
            # Behind a library there is often unrelated memory: libraries have
            # little bss, so what is larger than the library itself is not taken.
            found[bss] = Kind(K.BSS, owner, "position", name)


def segment(region: Region, following: Region | None) -> tuple[RegionKind, str]:
    """One segment of an object, from its permissions and the one behind it."""
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


# ---- anonymous memory ------------------------------------------------------


def anonymous(regions: Sequence[Region], found: list[Kind | None]) -> None:
    for index, region in enumerate(regions):
        if found[index] is not None:
            continue
        behind = next_to(regions, index)
        if behind is not None and is_arena(region, behind):
            found[index] = Kind(K.ARENA, None, "position", "malloc arena")
            found[index + 1] = Kind(K.ARENA, None, "position", "malloc arena, reserved")
            # A stack's guard that lies directly behind has merged with the reserve.
            if (behind.end - region.start) % arena_size(region):
                thread_stack(regions, index + 1, found)
        elif not region.perms.startswith("---"):
            found[index] = Kind(K.ANON, None, "name", "anonymous")
        elif region.size > GUARD_LIMIT:
            found[index] = Kind(K.ANON, None, "position", "reserved address space")
        elif thread_stack(regions, index, found):
            found[index] = Kind(K.GUARD, None, "position", "stack guard")
        else:
            found[index] = Kind(K.GUARD, None, "position", "guard")


def next_to(regions: Sequence[Region], index: int) -> Region | None:
    """The region that starts where this one ends."""
    if index + 1 < len(regions) and regions[index + 1].start == regions[index].end:
        return regions[index + 1]
    return None


def thread_stack(regions: Sequence[Region], guard: int, found: list[Kind | None]) -> bool:
    """Whether a thread's stack lies behind the guard; it is marked as one then."""
    stack = next_to(regions, guard)
    if (
        stack is None
        or found[guard + 1] is not None
        or stack.perms not in ("rw-p", "rwxp")
        or stack.size < STACK_MINIMUM
        or is_arena(stack, next_to(regions, guard + 1))
    ):
        return False
    found[guard + 1] = Kind(K.THREAD_STACK, None, "position", "thread stack")
    return True


def arena_size(region: Region) -> int:
    return ARENA_SIZES[region.end <= 1 << 32]


def is_arena(region: Region, behind: Region | None) -> bool:
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
