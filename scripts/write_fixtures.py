"""Writes the dumps of other kernels and machines in tests/fixtures/.

They were not captured: each has the format of its kernel or emulator, after
proc(5), Documentation/filesystems/proc.rst and other published sources;
addresses, inodes and amounts are made up, and are consistent
(Rss is the sum of its four parts, Pss divides what is shared).

    python scripts/write_fixtures.py           write them
    python scripts/write_fixtures.py --check   is tests/fixtures up to date?

A region is a line of maps with single blanks and, after a bar, its amounts in
kB: sc, sd, pc, pd (Shared_Clean ... Private_Dirty), by (processes that share),
anon, swap, locked, huge, and so on; `flags` adds to the VmFlags.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"

WIDTH_64 = 73
"""Column of the name: 25 + 6 * sizeof(void *) of the kernel, not of the process."""
WIDTH_32 = 49

FLAG_ORDER = (
    "rd wr ex sh mr mw me ms gd pf dw lo io sr rr dc de ac nr ht ar nl dd sd mm hg nh mg uw"
).split()

SIX = "Size Rss Shared_Clean Shared_Dirty Private_Clean Private_Dirty".split()
OF_2_6_32 = (
    "Size Rss Pss Shared_Clean Shared_Dirty Private_Clean Private_Dirty Referenced"
    " Swap KernelPageSize MMUPageSize"
).split()
OF_3_10 = (
    "Size Rss Pss Shared_Clean Shared_Dirty Private_Clean Private_Dirty Referenced Anonymous"
    " AnonHugePages Swap KernelPageSize MMUPageSize Locked Nonlinear VmFlags"
).split()
OF_4_4 = (
    "Size Rss Pss Shared_Clean Shared_Dirty Private_Clean Private_Dirty Referenced Anonymous"
    " AnonHugePages Shared_Hugetlb Private_Hugetlb Swap SwapPss KernelPageSize MMUPageSize"
    " Locked VmFlags"
).split()
OF_4_19 = (
    "Size KernelPageSize MMUPageSize Rss Pss Shared_Clean Shared_Dirty Private_Clean"
    " Private_Dirty Referenced Anonymous LazyFree AnonHugePages ShmemPmdMapped Shared_Hugetlb"
    " Private_Hugetlb Swap SwapPss Locked ProtectionKey VmFlags"
).split()
OF_5_4 = (
    "Size KernelPageSize MMUPageSize Rss Pss Shared_Clean Shared_Dirty Private_Clean"
    " Private_Dirty Referenced Anonymous LazyFree AnonHugePages ShmemPmdMapped FilePmdMapped"
    " Shared_Hugetlb Private_Hugetlb Swap SwapPss Locked THPeligible ProtectionKey VmFlags"
).split()
OF_6_1 = (
    "Size KernelPageSize MMUPageSize Rss Pss Pss_Dirty Shared_Clean Shared_Dirty Private_Clean"
    " Private_Dirty Referenced Anonymous LazyFree AnonHugePages ShmemPmdMapped FilePmdMapped"
    " Shared_Hugetlb Private_Hugetlb Swap SwapPss Locked THPeligible ProtectionKey VmFlags"
).split()
OF_GVISOR = (
    "Size Rss Pss Shared_Clean Shared_Dirty Private_Clean Private_Dirty Referenced Anonymous"
    " AnonHugePages Shared_Hugetlb Private_Hugetlb Swap SwapPss KernelPageSize MMUPageSize"
    " Locked VmFlags"
).split()
OF_QEMU = [name for name in OF_6_1 if name != "ProtectionKey"]
FUTURE = (
    "Size KernelPageSize MMUPageSize Rss Pss Pss_Dirty Pss_Anon Pss_File Pss_Shmem Shared_Clean"
    " Shared_Dirty Private_Clean Private_Dirty Referenced Anonymous KSM LazyFree AnonHugePages"
    " ShmemPmdMapped FilePmdMapped Shared_Hugetlb Private_Hugetlb Swap SwapPss Locked"
    " THPeligible ProtectionKey Pss_Kernel Zones Colour VmFlags"
).split()


@dataclass
class Style:
    """How a kernel prints."""

    fields: list[str] = field(default_factory=list)
    """The counters of smaps in order; empty: it is a dump of maps alone."""
    column: int = WIDTH_64
    page_kb: int = 4
    digits: int = 8
    """Addresses and offsets are padded to this; emulators may not pad."""
    thp: str = "THPeligible:    {:8}"
    key: int | None = None
    padded: bool = True
    """Whether values are padded: qemu writes them after a fixed number of blanks."""
    file_pmd: str = "FilePmdMapped:  {:8} kB"
    name_line: bool = False
    """Android before 5.17: the name of anonymous memory once more."""
    flags_end: str = " "


@dataclass
class Fixture:
    """One dump."""

    name: str
    origin: str
    style: Style
    regions: str


def format_region(words: list[str], style: Style) -> bytes:
    addresses, perms, offset, dev, inode = words[:5]
    start, _, end = addresses.partition("-")
    start, end = start.zfill(style.digits), end.zfill(style.digits)
    head = f"{start}-{end} {perms} {offset.zfill(8)} {dev} {inode} "
    name = words[5].encode().decode("unicode_escape").encode("latin-1") if words[5:] else b""
    if name:
        head = head.rstrip().ljust(style.column - 1) + " "
    return head.encode() + name + b"\n"


def counters_of(region: str, amounts: dict[str, int], style: Style) -> dict[str, int]:
    start, _, end = region.partition(" ")[0].partition("-")
    parts = [amounts.get(key, 0) for key in ("sc", "sd", "pc", "pd")]
    by = amounts.get("by", 1)
    page = amounts.get("page", style.page_kb)
    pss = sum(parts[:2]) // by + sum(parts[2:])
    anon = amounts.get("anon", 0)
    return {
        "Size": (int(end, 16) - int(start, 16)) // 1024,
        "KernelPageSize": page,
        "MMUPageSize": amounts.get("mmu", page),
        "Rss": sum(parts),
        "Pss": pss,
        "Pss_Dirty": parts[1] // by + parts[3],
        "Pss_Anon": anon // by,
        "Pss_File": pss - anon // by,
        "Pss_Shmem": 0,
        "Shared_Clean": parts[0],
        "Shared_Dirty": parts[1],
        "Private_Clean": parts[2],
        "Private_Dirty": parts[3],
        "Referenced": amounts.get("ref", sum(parts)),
        "Anonymous": anon,
        "KSM": amounts.get("ksm", 0),
        "LazyFree": amounts.get("lazy", 0),
        "AnonHugePages": amounts.get("huge", 0),
        "ShmemPmdMapped": amounts.get("shpmd", 0),
        "FilePmdMapped": amounts.get("fpmd", 0),
        "Shared_Hugetlb": amounts.get("shtlb", 0),
        "Private_Hugetlb": amounts.get("phtlb", 0),
        "Swap": amounts.get("swap", 0),
        "SwapPss": amounts.get("swap", 0) // by,
        "Locked": amounts.get("locked", 0),
        "THPeligible": amounts.get("thp", 0),
        "ProtectionKey": amounts.get("key", style.key or 0),
        "Nonlinear": amounts.get("nonlinear", -1),
        "Pss_Kernel": amounts.get("kernel", 0),
    }


def format_counters(
    words: list[str], amounts: dict[str, int], extra_flags: list[str], style: Style
) -> bytes:
    values = counters_of(words[0], amounts, style)
    lines = []
    if style.name_line and words[5:] and words[5].startswith("[anon:"):
        lines.append(f"Name:           {words[5]}")
    for name in style.fields:
        value = values.get(name, 0)
        if name == "VmFlags":
            lines.append(flags_line(words[1], extra_flags, style))
        elif name == "THPeligible":
            lines.append(style.thp.format(value))
        elif name == "ProtectionKey":
            if style.key is not None:
                lines.append(f"ProtectionKey:  {value:8}")
        elif name == "FilePmdMapped":
            lines.append(style.file_pmd.format(value))
        elif name == "Zones":
            lines.append("Zones:          DMA32 Normal")
        elif name == "Colour":
            lines.append("Colour:         #ff8800")
        elif name == "Nonlinear" and value < 0:
            continue
        elif name == "Private_Hugetlb" and style.padded:
            lines.append(f"Private_Hugetlb: {value:7} kB")  # the name fills its 16 columns
        elif not style.padded:
            lines.append(f"{name + ':':<16}       {value} kB")
        else:
            lines.append(f"{name + ':':<16}{value:8} kB")
    return ("\n".join(lines) + "\n").encode() if lines else b""


def flags_line(perms: str, extra: list[str], style: Style) -> str:
    shared = perms[3] == "s"
    flags = set(extra)
    for letter, names in zip(perms, ("rd", "wr", "ex"), strict=False):
        if letter != "-":
            flags.add(names)
    if style.padded or set(perms[:3]) != {"-"}:
        flags |= {"mr", "mw", "me"}
    if shared:
        flags |= {"sh", "ms"}
    elif "w" in perms and style.padded:
        flags.add("ac")
    known = [flag for flag in FLAG_ORDER if flag in flags]
    unknown = [flag for flag in extra if flag not in FLAG_ORDER]
    if not style.padded:  # qemu writes only these, each after one blank
        own = [flag for flag in known if flag in ("rd", "wr", "ex", "sh", "mr", "mw", "me", "ms")]
        own = [flag for flag in own if flag[0] != "m" or perms["rwx".find(flag[1])] != "-"]
        return "VmFlags:" + "".join(f" {flag}" for flag in own)
    return "VmFlags: " + " ".join([*known, *unknown]) + style.flags_end


def render(fixture: Fixture) -> dict[str, bytes]:
    maps, smaps = b"", b""
    for line in fixture.regions.strip("\n").split("\n"):
        region, _, rest = line.partition(" | ")
        words = region.strip(" ").split(" ", 5)
        given = dict(word.split("=") for word in rest.split())
        extra = given.pop("flags", "").split(",")
        amounts = {key: int(value) for key, value in given.items()}
        text = format_region(words, fixture.style)
        maps += text
        smaps += text + format_counters(words, amounts, [f for f in extra if f], fixture.style)
    made = {f"{fixture.name}.maps": maps}
    if fixture.style.fields:
        made[f"{fixture.name}.smaps"] = smaps
    return made


FIXTURE_LIST = [
    Fixture(
        "linux-2.6.18-i386",
        "Linux 2.6.18 on i386: six counters, no VmFlags; 32-bit columns",
        Style(SIX, WIDTH_32),
        r"""
00110000-00249000 r-xp 00000000 fd:00 1966164 /lib/libc-2.5.so | sc=420 pc=16
00249000-0024b000 r-xp 00138000 fd:00 1966164 /lib/libc-2.5.so | pd=8
0024b000-0024c000 rwxp 0013a000 fd:00 1966164 /lib/libc-2.5.so | pd=4
0024c000-0024f000 rwxp 0024c000 00:00 0 | pd=12
008a1000-008bb000 r-xp 00000000 fd:00 1966157 /lib/ld-2.5.so | sc=92
008bb000-008bc000 r-xp 00019000 fd:00 1966157 /lib/ld-2.5.so | pd=4
008bc000-008bd000 rwxp 0001a000 fd:00 1966157 /lib/ld-2.5.so | pd=4
00c5d000-00c5e000 r-xp 00c5d000 00:00 0 [vdso] | pc=4
08048000-0804d000 r-xp 00000000 fd:00 2326531 /bin/cat | pc=16
0804d000-0804e000 rw-p 00004000 fd:00 2326531 /bin/cat | pd=4
09e5b000-09e7c000 rw-p 09e5b000 00:00 0 [heap] | pd=4
b7d76000-b7f76000 r--p 00000000 fd:00 2098370 /usr/lib/locale/locale-archive | sc=44
b7f76000-b7f78000 rw-p b7f76000 00:00 0 | pd=8
bfa5c000-bfa71000 rw-p bffea000 00:00 0 [stack] | pd=8
""",
    ),
    Fixture(
        "linux-2.6.32-x86_64",
        "Linux 2.6.32 on x86-64: page sizes at the end, no Anonymous, Locked or VmFlags",
        Style(OF_2_6_32),
        r"""
00400000-0040b000 r-xp 00000000 08:01 393229 /bin/cat | sc=44 by=3
0060a000-0060b000 rw-p 0000a000 08:01 393229 /bin/cat | pd=4
0060b000-0060c000 rw-p 00000000 00:00 0 | pd=4
01b2e000-01b4f000 rw-p 00000000 00:00 0 [heap] | pd=8
3a8ea00000-3a8ea20000 r-xp 00000000 08:01 131079 /lib64/ld-2.12.so | sc=108 by=41
3a8ec1f000-3a8ec20000 r--p 0001f000 08:01 131079 /lib64/ld-2.12.so | pd=4
3a8ec20000-3a8ec21000 rw-p 00020000 08:01 131079 /lib64/ld-2.12.so | pd=4
3a8ec21000-3a8ec22000 rw-p 00000000 00:00 0 | pd=4
3a8ee00000-3a8ef8a000 r-xp 00000000 08:01 131080 /lib64/libc-2.12.so | sc=380 by=44
3a8ef8a000-3a8f18a000 ---p 0018a000 08:01 131080 /lib64/libc-2.12.so |
3a8f18a000-3a8f18e000 r--p 0018a000 08:01 131080 /lib64/libc-2.12.so | pc=4 pd=12 ref=12
3a8f18e000-3a8f18f000 rw-p 0018e000 08:01 131080 /lib64/libc-2.12.so | pd=4
3a8f18f000-3a8f194000 rw-p 00000000 00:00 0 | pd=8 swap=4
7f5b1b6d8000-7f5b21569000 r--p 00000000 08:01 147892 /usr/lib/locale/locale-archive | sc=48 by=12
7f5b21569000-7f5b2156c000 rw-p 00000000 00:00 0 | pd=12
7fff5b2f5000-7fff5b30a000 rw-p 00000000 00:00 0 [stack] | pd=12
7fff5b3ff000-7fff5b400000 r-xp 00000000 00:00 0 [vdso] | sc=4 by=60
ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0 [vsyscall] |
""",
    ),
    Fixture(
        "linux-3.10-x86_64",
        "Linux 3.10 on x86-64: VmFlags with dw and nl, [stack:TID], and Nonlinear"
        " where remap_file_pages(2) was used",
        Style(OF_3_10),
        r"""
00400000-00cc1000 r-xp 00000000 fd:00 67202081 /usr/sbin/dbserver | sc=1840 by=2 flags=dw
00ec1000-00f4a000 rw-p 008c1000 fd:00 67202081 /usr/sbin/dbserver | pc=92 pd=148 anon=148 flags=dw
00f4a000-0113e000 rw-p 00000000 00:00 0 | pd=336 anon=336
02a5c000-02e8a000 rw-p 00000000 00:00 0 [heap] | pd=4152 anon=4152 swap=96
7f0c64000000-7f0c64085000 rw-p 00000000 00:00 0 | pd=532 anon=532 flags=nr
7f0c64085000-7f0c68000000 ---p 00000000 00:00 0 | flags=nr
7f0c6bffb000-7f0c6bffc000 ---p 00000000 00:00 0 |
7f0c6bffc000-7f0c6c7fc000 rw-p 00000000 00:00 0 [stack:2841] | pd=16 anon=16
7f0c6c7fc000-7f0c6c7fd000 ---p 00000000 00:00 0 |
7f0c6c7fd000-7f0c6cffd000 rw-p 00000000 00:00 0 [stack:2840] | pd=24 anon=24
7f0c70000000-7f0c78000000 rw-s 00000000 fd:02 201327702 /srv/db/buffer.pool | sc=2048 sd=8192 by=2 nonlinear=10240 flags=nl
7f0c78000000-7f0c80000000 rw-s 00000000 00:04 32769 /SYSV5f0a3c11\040(deleted) | sd=131072 by=4
7f0c811c1000-7f0c81377000 r-xp 00000000 fd:00 134320 /usr/lib64/libc-2.17.so | sc=596 by=90
7f0c81377000-7f0c81577000 ---p 001b6000 fd:00 134320 /usr/lib64/libc-2.17.so |
7f0c81577000-7f0c8157b000 r--p 001b6000 fd:00 134320 /usr/lib64/libc-2.17.so | pd=16 anon=16
7f0c8157b000-7f0c8157d000 rw-p 001ba000 fd:00 134320 /usr/lib64/libc-2.17.so | pd=8 anon=8
7f0c8157d000-7f0c81582000 rw-p 00000000 00:00 0 | pd=16 anon=16
7f0c81582000-7f0c815a3000 r-xp 00000000 fd:00 134313 /usr/lib64/ld-2.17.so | sc=112 by=90 flags=dw
7f0c817a2000-7f0c817a3000 r--p 00020000 fd:00 134313 /usr/lib64/ld-2.17.so | pd=4 anon=4 flags=dw
7f0c817a3000-7f0c817a4000 rw-p 00021000 fd:00 134313 /usr/lib64/ld-2.17.so | pd=4 anon=4 flags=dw
7f0c817a4000-7f0c817a5000 rw-p 00000000 00:00 0 | pd=4 anon=4
7fffe3a3b000-7fffe3a5c000 rw-p 00000000 00:00 0 [stack] | pd=28 anon=28 flags=gd
7fffe3b1c000-7fffe3b1e000 r-xp 00000000 00:00 0 [vdso] | sc=4 by=150 flags=de
ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0 [vsyscall] |
""",
    ),
    Fixture(
        "linux-4.4-x86_64",
        "Linux 4.4 on x86-64: hugetlb counters and SwapPss appear; hugetlb pages are not in Rss",
        Style(OF_4_4),
        r"""
00400000-0040c000 r-xp 00000000 08:02 1835042 /usr/local/bin/render | pc=48 flags=dw
0060b000-0060c000 r--p 0000b000 08:02 1835042 /usr/local/bin/render | pd=4 anon=4 flags=dw
0060c000-0060d000 rw-p 0000c000 08:02 1835042 /usr/local/bin/render | pd=4 anon=4 flags=dw
015f9000-0161a000 rw-p 00000000 00:00 0 [heap] | pd=60 anon=60 swap=40
2aaaaac00000-2aaaab000000 rw-p 00000000 00:0e 49817 /anon_hugepage\040(deleted) | phtlb=4096 page=2048 flags=de,ht
2aaaab000000-2aaaab400000 rw-s 00000000 00:1b 50123 /dev/hugepages/pool | shtlb=2048 page=2048 flags=de,ht
7f3f98000000-7f3fa0000000 rw-p 00000000 00:00 0 | pd=131072 anon=131072 huge=129024 flags=hg
7f3fa4421000-7f3fa4422000 rw-s 00000000 00:05 19463 /dev/zero\040(deleted) | pd=4
7f3fa4422000-7f3fa45e2000 r-xp 00000000 08:02 1048601 /lib/x86_64-linux-gnu/libc-2.23.so | sc=912 by=70
7f3fa45e2000-7f3fa47e2000 ---p 001c0000 08:02 1048601 /lib/x86_64-linux-gnu/libc-2.23.so |
7f3fa47e2000-7f3fa47e6000 r--p 001c0000 08:02 1048601 /lib/x86_64-linux-gnu/libc-2.23.so | pd=16 anon=16
7f3fa47e6000-7f3fa47e8000 rw-p 001c4000 08:02 1048601 /lib/x86_64-linux-gnu/libc-2.23.so | pd=8 anon=8
7f3fa47e8000-7f3fa47ec000 rw-p 00000000 00:00 0 | pd=8 anon=8 swap=8
7f3fa47ec000-7f3fa4812000 r-xp 00000000 08:02 1048577 /lib/x86_64-linux-gnu/ld-2.23.so | sc=152 by=70 flags=dw
7f3fa4a11000-7f3fa4a12000 r--p 00025000 08:02 1048577 /lib/x86_64-linux-gnu/ld-2.23.so | pd=4 anon=4 flags=dw
7f3fa4a12000-7f3fa4a13000 rw-p 00026000 08:02 1048577 /lib/x86_64-linux-gnu/ld-2.23.so | pd=4 anon=4 flags=dw
7f3fa4a13000-7f3fa4a14000 rw-p 00000000 00:00 0 | pd=4 anon=4
7ffd9c5b3000-7ffd9c5d4000 rw-p 00000000 00:00 0 [stack] | pd=24 anon=24 flags=gd
7ffd9c5e8000-7ffd9c5ea000 r--p 00000000 00:00 0 [vvar] | flags=pf,io,de,dd
7ffd9c5ea000-7ffd9c5ec000 r-xp 00000000 00:00 0 [vdso] | sc=4 by=140 flags=de
ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0 [vsyscall] |
""",
    ),
    Fixture(
        "linux-4.19-x86_64",
        "Linux 4.19 on x86-64 with protection keys: page sizes moved to the front",
        Style(OF_4_19, key=0),
        r"""
55d0c8a1d000-55d0c8a25000 r-xp 00000000 fe:01 1310754 /usr/bin/keyring | pc=32 flags=dw,sd
55d0c8c24000-55d0c8c25000 r--p 00007000 fe:01 1310754 /usr/bin/keyring | pd=4 anon=4 flags=dw,sd
55d0c8c25000-55d0c8c26000 rw-p 00008000 fe:01 1310754 /usr/bin/keyring | pd=4 anon=4 flags=dw,sd
55d0ca1f4000-55d0ca215000 rw-p 00000000 00:00 0 [heap] | pd=12 anon=12 lazy=4 flags=sd
7f81d2a7c000-7f81d2a7d000 rw-p 00000000 00:00 0 | pd=4 anon=4 locked=4 key=3 flags=lo,dd,sd
7f81d2a7d000-7f81d2c64000 r-xp 00000000 fe:01 917523 /lib/x86_64-linux-gnu/libc-2.28.so | sc=1204 by=33 flags=sd
7f81d2c64000-7f81d2e64000 ---p 001e7000 fe:01 917523 /lib/x86_64-linux-gnu/libc-2.28.so | flags=sd
7f81d2e64000-7f81d2e68000 r--p 001e7000 fe:01 917523 /lib/x86_64-linux-gnu/libc-2.28.so | pd=16 anon=16 flags=sd
7f81d2e68000-7f81d2e6a000 rw-p 001eb000 fe:01 917523 /lib/x86_64-linux-gnu/libc-2.28.so | pd=8 anon=8 flags=sd
7f81d2e6a000-7f81d2e6e000 rw-p 00000000 00:00 0 | pd=16 anon=16 flags=sd
7f81d2e6e000-7f81d2e95000 r-xp 00000000 fe:01 917519 /lib/x86_64-linux-gnu/ld-2.28.so | sc=156 by=33 flags=dw,sd
7f81d3095000-7f81d3097000 rw-p 00027000 fe:01 917519 /lib/x86_64-linux-gnu/ld-2.28.so | pd=8 anon=8 flags=dw,sd
7ffe0d8a2000-7ffe0d8c3000 rw-p 00000000 00:00 0 [stack] | pd=16 anon=16 flags=gd,sd
7ffe0d9d5000-7ffe0d9d8000 r--p 00000000 00:00 0 [vvar] | flags=io,de,dd,sd
7ffe0d9d8000-7ffe0d9da000 r-xp 00000000 00:00 0 [vdso] | sc=4 by=120 flags=de,sd
ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0 [vsyscall] |
""",
    ),
    Fixture(
        "linux-5.4-x86_64",
        "Linux 5.4 on x86-64: tabs before the value of THPeligible, FilePmdMapped one column"
        " short (so from 5.3 to 5.8), [vsyscall] without a letter to read",
        Style(
            OF_5_4, key=0, thp="THPeligible:\t\t{}", file_pmd="FilePmdMapped: {:8} kB"
        ),
        r"""
55a1d3a5c000-55a1d3a5e000 r--p 00000000 103:02 6553735 /usr/bin/cat | sc=8 by=2 flags=dw,sd
55a1d3a5e000-55a1d3a63000 r-xp 00002000 103:02 6553735 /usr/bin/cat | sc=20 by=2 flags=dw,sd
55a1d3a63000-55a1d3a66000 r--p 00007000 103:02 6553735 /usr/bin/cat | sc=12 by=2 flags=dw,sd
55a1d3a66000-55a1d3a67000 r--p 00009000 103:02 6553735 /usr/bin/cat | pd=4 anon=4 flags=dw,sd
55a1d3a67000-55a1d3a68000 rw-p 0000a000 103:02 6553735 /usr/bin/cat | pd=4 anon=4 flags=dw,sd
55a1d4f2b000-55a1d4f4c000 rw-p 00000000 00:00 0 [heap] | pd=4 anon=4 flags=sd
7f2b50000000-7f2b50400000 rw-p 00000000 00:00 0 | pd=4096 anon=4096 huge=4096 thp=1 flags=hg,sd
7f2b5c3d5000-7f2b5c947000 r--p 00000000 103:02 6556042 /usr/lib/locale/locale-archive | sc=144 by=9 flags=sd
7f2b5c947000-7f2b5c96c000 r--p 00000000 103:02 6558372 /usr/lib/x86_64-linux-gnu/libc-2.31.so | sc=140 by=85 flags=sd
7f2b5c96c000-7f2b5cae4000 r-xp 00025000 103:02 6558372 /usr/lib/x86_64-linux-gnu/libc-2.31.so | sc=888 by=85 flags=sd
7f2b5cae4000-7f2b5cb2e000 r--p 0019d000 103:02 6558372 /usr/lib/x86_64-linux-gnu/libc-2.31.so | sc=148 by=85 flags=sd
7f2b5cb2e000-7f2b5cb2f000 ---p 001e7000 103:02 6558372 /usr/lib/x86_64-linux-gnu/libc-2.31.so | flags=sd
7f2b5cb2f000-7f2b5cb32000 r--p 001e7000 103:02 6558372 /usr/lib/x86_64-linux-gnu/libc-2.31.so | pd=12 anon=12 flags=sd
7f2b5cb32000-7f2b5cb35000 rw-p 001ea000 103:02 6558372 /usr/lib/x86_64-linux-gnu/libc-2.31.so | pd=12 anon=12 flags=sd
7f2b5cb35000-7f2b5cb3b000 rw-p 00000000 00:00 0 | pd=20 anon=20 flags=sd
7f2b5cb6d000-7f2b5cb6e000 rw-s 00000000 00:01 61528 /memfd:wayland-cursor\040(deleted) | sd=4 by=2 flags=sd
7ffcb8d5e000-7ffcb8d7f000 rw-p 00000000 00:00 0 [stack] | pd=16 anon=16 flags=gd,sd
7ffcb8dd6000-7ffcb8dd9000 r--p 00000000 00:00 0 [vvar] | flags=io,de,dd,sd
7ffcb8dd9000-7ffcb8dda000 r-xp 00000000 00:00 0 [vdso] | sc=4 by=200 flags=de,sd
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall] |
""",
    ),
    Fixture(
        "linux-6.1-btrfs-x86_64",
        "Linux 6.1 on x86-64: Pss_Dirty appears; files on btrfs and overlayfs have device"
        " numbers of more than two digits",
        Style(OF_6_1, key=0, thp="THPeligible:    {}"),
        r"""
5617a9c4e000-5617a9c50000 r--p 00000000 00:1f 28731 /usr/bin/sleep | sc=8 by=2 flags=sd
5617a9c50000-5617a9c54000 r-xp 00002000 00:1f 28731 /usr/bin/sleep | sc=16 by=2 flags=sd
5617a9c54000-5617a9c55000 r--p 00006000 00:1f 28731 /usr/bin/sleep | sc=4 by=2 flags=sd
5617a9c55000-5617a9c56000 r--p 00007000 00:1f 28731 /usr/bin/sleep | pd=4 anon=4 flags=sd
5617a9c56000-5617a9c57000 rw-p 00008000 00:1f 28731 /usr/bin/sleep | pd=4 anon=4 flags=sd
5617ab21e000-5617ab23f000 rw-p 00000000 00:00 0 [heap] | pd=4 anon=4 thp=0 flags=sd
7fb2f0a00000-7fb2f0c00000 rw-s 00000000 00:100a3 18014398509481983 /srv/pool/big.img | sd=64 by=2 flags=sd
7fb2f0e00000-7fb2f0e01000 r--s 00000000 fffff:fffff 257 /srv/pool/edge | sc=4 by=2 flags=sd
7fb2f1200000-7fb2f1226000 r--p 00000000 00:1f 30122 /usr/lib64/libc.so.6 | sc=152 by=60 flags=sd
7fb2f1226000-7fb2f139a000 r-xp 00026000 00:1f 30122 /usr/lib64/libc.so.6 | sc=964 by=60 flags=sd
7fb2f139a000-7fb2f13ed000 r--p 0019a000 00:1f 30122 /usr/lib64/libc.so.6 | sc=120 by=60 flags=sd
7fb2f13ed000-7fb2f13f1000 r--p 001ec000 00:1f 30122 /usr/lib64/libc.so.6 | pd=16 anon=16 flags=sd
7fb2f13f1000-7fb2f13f3000 rw-p 001f0000 00:1f 30122 /usr/lib64/libc.so.6 | pd=8 anon=8 flags=sd
7fb2f13f3000-7fb2f13fb000 rw-p 00000000 00:00 0 | pd=20 anon=20 flags=sd
7fb2f1495000-7fb2f1497000 rw-p 00000000 00:00 0 [anon:stash] | pd=8 anon=8 flags=sd
7fff3c9a5000-7fff3c9c7000 rw-p 00000000 00:00 0 [stack] | pd=12 anon=12 flags=gd,sd
7fff3c9d6000-7fff3c9da000 r--p 00000000 00:00 0 [vvar] | flags=io,de,dd,sd
7fff3c9da000-7fff3c9dc000 r-xp 00000000 00:00 0 [vdso] | sc=4 by=180 flags=de,sd
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall] |
""",
    ),
    Fixture(
        "linux-4.19-armv7l",
        "Linux 4.19 on 32-bit ARM: the name stands in column 49; [sigpage] and [vectors]",
        Style([name for name in OF_4_19 if name != "ProtectionKey"], WIDTH_32),
        r"""
00010000-00018000 r-xp 00000000 b3:02 1308 /bin/cat | pc=32 flags=dw
00027000-00028000 r--p 00007000 b3:02 1308 /bin/cat | pd=4 anon=4 flags=dw
00028000-00029000 rw-p 00008000 b3:02 1308 /bin/cat | pd=4 anon=4 flags=dw
01a9c000-01abd000 rw-p 00000000 00:00 0 [heap] | pd=4 anon=4
b6c7e000-b6e7e000 r--p 00000000 b3:02 14873 /usr/lib/locale/locale-archive | sc=36 by=4
b6e7e000-b6fb6000 r-xp 00000000 b3:02 2231 /lib/arm-linux-gnueabihf/libc-2.28.so | sc=620 by=38
b6fb6000-b6fc6000 ---p 00138000 b3:02 2231 /lib/arm-linux-gnueabihf/libc-2.28.so |
b6fc6000-b6fc8000 r--p 00138000 b3:02 2231 /lib/arm-linux-gnueabihf/libc-2.28.so | pd=8 anon=8
b6fc8000-b6fc9000 rw-p 0013a000 b3:02 2231 /lib/arm-linux-gnueabihf/libc-2.28.so | pd=4 anon=4
b6fc9000-b6fcc000 rw-p 00000000 00:00 0 | pd=8 anon=8
b6fcc000-b6fec000 r-xp 00000000 b3:02 2153 /lib/arm-linux-gnueabihf/ld-2.28.so | sc=116 by=38 flags=dw
b6ff8000-b6ffa000 rw-p 00000000 00:00 0 | pd=8 anon=8
b6ffa000-b6ffb000 r-xp 00000000 00:00 0 [sigpage] | sc=4 by=60 flags=de
b6ffb000-b6ffc000 r--p 00000000 00:00 0 [vvar] | flags=de
b6ffc000-b6ffd000 r-xp 00000000 00:00 0 [vdso] | sc=4 by=60 flags=de
b6ffd000-b6ffe000 rw-p 00021000 b3:02 2153 /lib/arm-linux-gnueabihf/ld-2.28.so | pd=4 anon=4 flags=dw
befdf000-bf000000 rw-p 00000000 00:00 0 [stack] | pd=8 anon=8 flags=gd
ffff0000-ffff1000 r-xp 00000000 00:00 0 [vectors] |
""",
    ),
    Fixture(
        "linux-5.10-aarch64",
        "Linux 5.10 on 64-bit ARM: 48-bit addresses, no [vsyscall]",
        Style(OF_5_4, thp="THPeligible:    {}"),
        r"""
aaaad4a10000-aaaad4a18000 r-xp 00000000 b3:02 524429 /usr/bin/cat | pc=32
aaaad4a27000-aaaad4a28000 r--p 00007000 b3:02 524429 /usr/bin/cat | pd=4 anon=4
aaaad4a28000-aaaad4a29000 rw-p 00008000 b3:02 524429 /usr/bin/cat | pd=4 anon=4
aaaaf0b1a000-aaaaf0b3b000 rw-p 00000000 00:00 0 [heap] | pd=4 anon=4
ffff8c6f0000-ffff8c850000 r-xp 00000000 b3:02 393612 /usr/lib/aarch64-linux-gnu/libc-2.31.so | sc=844 by=41
ffff8c850000-ffff8c85f000 ---p 00160000 b3:02 393612 /usr/lib/aarch64-linux-gnu/libc-2.31.so |
ffff8c85f000-ffff8c863000 r--p 0015f000 b3:02 393612 /usr/lib/aarch64-linux-gnu/libc-2.31.so | pd=16 anon=16
ffff8c863000-ffff8c865000 rw-p 00163000 b3:02 393612 /usr/lib/aarch64-linux-gnu/libc-2.31.so | pd=8 anon=8
ffff8c865000-ffff8c868000 rw-p 00000000 00:00 0 | pd=12 anon=12
ffff8c86a000-ffff8c88b000 r-xp 00000000 b3:02 393566 /usr/lib/aarch64-linux-gnu/ld-2.31.so | sc=132 by=41
ffff8c897000-ffff8c899000 rw-p 00000000 00:00 0 | pd=8 anon=8
ffff8c899000-ffff8c89a000 r--p 00000000 00:00 0 [vvar] | flags=de,dd
ffff8c89a000-ffff8c89b000 r-xp 00000000 00:00 0 [vdso] | sc=4 by=90 flags=de
ffff8c89b000-ffff8c89c000 r--p 00021000 b3:02 393566 /usr/lib/aarch64-linux-gnu/ld-2.31.so | pd=4 anon=4
ffff8c89c000-ffff8c89e000 rw-p 00022000 b3:02 393566 /usr/lib/aarch64-linux-gnu/ld-2.31.so | pd=8 anon=8
ffffc5f2a000-ffffc5f4b000 rw-p 00000000 00:00 0 [stack] | pd=12 anon=12 flags=gd
""",
    ),
    Fixture(
        "linux-5.4-ppc64le",
        "Linux 5.4 on 64-bit PowerPC with pages of 64 KiB",
        Style(
            OF_5_4, page_kb=64, thp="THPeligible:\t\t{}", file_pmd="FilePmdMapped: {:8} kB"
        ),
        r"""
10cf20000-10cf30000 r-xp 00000000 fd:00 33565284 /usr/bin/cat | pc=64
10cf30000-10cf40000 r--p 00000000 fd:00 33565284 /usr/bin/cat | pd=64 anon=64
10cf40000-10cf50000 rw-p 00010000 fd:00 33565284 /usr/bin/cat | pd=64 anon=64
1003b6f0000-1003b720000 rw-p 00000000 00:00 0 [heap] | pd=64 anon=64
7fff8a0f0000-7fff8a310000 r-xp 00000000 fd:00 67131 /usr/lib64/power9/libc-2.28.so | sc=1472 by=23
7fff8a310000-7fff8a320000 r--p 00210000 fd:00 67131 /usr/lib64/power9/libc-2.28.so | pd=64 anon=64
7fff8a320000-7fff8a330000 rw-p 00220000 fd:00 67131 /usr/lib64/power9/libc-2.28.so | pd=64 anon=64
7fff8a340000-7fff8a360000 r-xp 00000000 00:00 0 [vdso] | sc=64 by=70 flags=de
7fff8a360000-7fff8a390000 r-xp 00000000 fd:00 67120 /usr/lib64/ld-2.28.so | sc=192 by=23
7fff8a390000-7fff8a3a0000 r--p 00020000 fd:00 67120 /usr/lib64/ld-2.28.so | pd=64 anon=64
7fff8a3a0000-7fff8a3b0000 rw-p 00030000 fd:00 67120 /usr/lib64/ld-2.28.so | pd=64 anon=64
7fffd2ac0000-7fffd2af0000 rw-p 00000000 00:00 0 [stack] | pd=64 anon=64 flags=gd
""",
    ),
    Fixture(
        "linux-5.15-s390x",
        "Linux 5.15 on s390x: 42-bit addresses",
        Style(OF_5_4, thp="THPeligible:    {}"),
        r"""
2aa2a700000-2aa2a702000 r--p 00000000 5e:01 5244 /usr/bin/cat | sc=8 by=2
2aa2a702000-2aa2a707000 r-xp 00002000 5e:01 5244 /usr/bin/cat | sc=20 by=2
2aa2a707000-2aa2a709000 r--p 00007000 5e:01 5244 /usr/bin/cat | sc=8 by=2
2aa2a70a000-2aa2a70b000 r--p 00009000 5e:01 5244 /usr/bin/cat | pd=4 anon=4
2aa2a70b000-2aa2a70c000 rw-p 0000a000 5e:01 5244 /usr/bin/cat | pd=4 anon=4
2aa4b1e8000-2aa4b209000 rw-p 00000000 00:00 0 [heap] | pd=4 anon=4
3ff8f680000-3ff8f6a4000 r--p 00000000 5e:01 8193 /usr/lib/s390x-linux-gnu/libc.so.6 | sc=144 by=30
3ff8f6a4000-3ff8f7f3000 r-xp 00024000 5e:01 8193 /usr/lib/s390x-linux-gnu/libc.so.6 | sc=780 by=30
3ff8f7f3000-3ff8f844000 r--p 00173000 5e:01 8193 /usr/lib/s390x-linux-gnu/libc.so.6 | sc=124 by=30
3ff8f844000-3ff8f848000 r--p 001c3000 5e:01 8193 /usr/lib/s390x-linux-gnu/libc.so.6 | pd=16 anon=16
3ff8f848000-3ff8f84a000 rw-p 001c7000 5e:01 8193 /usr/lib/s390x-linux-gnu/libc.so.6 | pd=8 anon=8
3ff8f84a000-3ff8f852000 rw-p 00000000 00:00 0 | pd=20 anon=20
3ff8f8fd000-3ff8f8ff000 r--p 00000000 00:00 0 [vvar] | flags=pf,de,dd
3ff8f8ff000-3ff8f901000 r-xp 00000000 00:00 0 [vdso] | sc=4 by=80 flags=de
3fff6f5e000-3fff6f7f000 rw-p 00000000 00:00 0 [stack] | pd=12 anon=12 flags=gd
""",
    ),
    Fixture(
        "linux-4.9-mips",
        "Linux 4.9 on 32-bit MIPS with the interrupt controller's user page: maps only",
        Style(column=WIDTH_32),
        r"""
00400000-0044e000 r-xp 00000000 1f:05 512 /bin/busybox
0045d000-0045e000 r--p 0004d000 1f:05 512 /bin/busybox
0045e000-0045f000 rw-p 0004e000 1f:05 512 /bin/busybox
00ec2000-00ec4000 rwxp 00000000 00:00 0 [heap]
77d30000-77dc4000 r-xp 00000000 1f:05 377 /lib/libc.so
77dd3000-77dd5000 rw-p 00093000 1f:05 377 /lib/libc.so
77dd5000-77dd8000 rw-p 00000000 00:00 0
7fb54000-7fb75000 rw-p 00000000 00:00 0 [stack]
7fba8000-7fba9000 r--p 00000000 00:00 0 [gic]
7fba9000-7fbaa000 r--p 00000000 00:00 0 [vvar]
7fbaa000-7fbab000 r-xp 00000000 00:00 0 [vdso]
""",
    ),
    Fixture(
        "linux-6.1-i386-on-x86_64",
        "A 32-bit process under a 64-bit Linux: short addresses, names in column 73. Maps only",
        Style(),
        r"""
56558000-56559000 r--p 00000000 08:01 2106522 /opt/legacy/bin/ledger
56559000-5655a000 r-xp 00001000 08:01 2106522 /opt/legacy/bin/ledger
5655a000-5655b000 r--p 00002000 08:01 2106522 /opt/legacy/bin/ledger
5655b000-5655c000 r--p 00002000 08:01 2106522 /opt/legacy/bin/ledger
5655c000-5655d000 rw-p 00003000 08:01 2106522 /opt/legacy/bin/ledger
57c2d000-57c4f000 rw-p 00000000 00:00 0 [heap]
f7d00000-f7d22000 r--p 00000000 08:01 1577221 /usr/lib32/libc.so.6
f7d22000-f7e9c000 r-xp 00022000 08:01 1577221 /usr/lib32/libc.so.6
f7e9c000-f7f1d000 r--p 0019c000 08:01 1577221 /usr/lib32/libc.so.6
f7f1d000-f7f1f000 r--p 0021d000 08:01 1577221 /usr/lib32/libc.so.6
f7f1f000-f7f20000 rw-p 0021f000 08:01 1577221 /usr/lib32/libc.so.6
f7f20000-f7f2a000 rw-p 00000000 00:00 0
f7f4c000-f7f50000 r--p 00000000 00:00 0 [vvar]
f7f50000-f7f52000 r-xp 00000000 00:00 0 [vdso]
ffb4e000-ffb6f000 rw-p 00000000 00:00 0 [stack]
""",
    ),
    Fixture(
        "qemu-user-arm",
        "qemu-arm 8 (user mode) for its guest: true values only for the sizes and VmFlags, values"
        " not aligned, VmFlags empty where nothing is allowed, no [vdso]",
        Style(OF_QEMU, thp="THPeligible:    {}", padded=False),
        r"""
00010000-0001b000 r-xp 00000000 fe:00 2626 /usr/bin/sleep
0001b000-0002b000 ---p 00000000 00:00 0
0002b000-0002d000 rw-p 0000b000 fe:00 2626 /usr/bin/sleep
0002d000-0004e000 rw-p 00000000 00:00 0 [heap]
40000000-40001000 ---p 00000000 00:00 0
40001000-40801000 rw-p 00000000 00:00 0 [stack]
40801000-40822000 r-xp 00000000 fe:00 991 /lib/arm-linux-gnueabihf/ld-2.31.so
40832000-40834000 rw-p 00021000 fe:00 991 /lib/arm-linux-gnueabihf/ld-2.31.so
40840000-40989000 r-xp 00000000 fe:00 1002 /lib/arm-linux-gnueabihf/libc-2.31.so
40989000-40999000 ---p 00149000 fe:00 1002 /lib/arm-linux-gnueabihf/libc-2.31.so
40999000-4099e000 rw-p 00149000 fe:00 1002 /lib/arm-linux-gnueabihf/libc-2.31.so
ffff0000-ffff1000 r-xp 00000000 00:00 0
""",
    ),
    Fixture(
        "emulator-short",
        "An emulator that pads neither addresses nor offsets (as user-mode emulators did), and"
        " that parts the name by one blank. Maps only",
        Style(column=0, digits=1),
        r"""
10000-1b000 r-xp 00000000 00:00 0 /bin/true
1b000-1c000 rw-p 0000b000 00:00 0 /bin/true
1c000-3d000 rw-p 00000000 00:00 0 [heap]
3f7ff000-40000000 rw-p 00000000 00:00 0 [stack]
""",
    ),
    Fixture(
        "wsl1",
        "The first Windows Subsystem for Linux: of the counters there is only Pss, and offsets"
        " count pages of a segment",
        Style(["Pss"]),
        r"""
7f82f6bf0000-7f82f6bfb000 r-xp 00000000 00:00 107598 /lib/x86_64-linux-gnu/libnss_files-2.27.so | pc=1
7f82f6bfb000-7f82f6bfc000 ---p 0000b000 00:00 107598 /lib/x86_64-linux-gnu/libnss_files-2.27.so |
7f82f6bfc000-7f82f6dfa000 ---p 0000000c 00:00 107598 /lib/x86_64-linux-gnu/libnss_files-2.27.so |
7f82f6dfa000-7f82f6dfb000 r--p 0000a000 00:00 107598 /lib/x86_64-linux-gnu/libnss_files-2.27.so | pd=4
7f82f6dfb000-7f82f6dfc000 rw-p 0000b000 00:00 107598 /lib/x86_64-linux-gnu/libnss_files-2.27.so | pd=4
7f82f7210000-7f82f7212000 rw-p 00000000 00:00 0 | pd=8
7f82f7800000-7f82f7908000 r-xp 00000000 00:00 65431 /bin/bash | sc=1056 by=2
7f82f7b07000-7f82f7b10000 rw-p 00107000 00:00 65431 /bin/bash | pd=36
7fffd8340000-7fffd83c5000 rw-p 00000000 00:00 0 [heap] | pd=412
7fffdf9f9000-7fffe01f9000 rw-p 00000000 00:00 0 [stack] | pd=48
7fffe0556000-7fffe0557000 r-xp 00000000 00:00 0 [vdso] |
""",
    ),
    Fixture(
        "gvisor",
        "gVisor (runsc): Pss equals Rss and everything is private, no huge pages, no swap;"
        " VmFlags may hold ??",
        Style(OF_GVISOR),
        r"""
5617c1a00000-5617c1a02000 r--p 00000000 00:0c 31 /usr/bin/sleep | pc=8
5617c1a02000-5617c1a06000 r-xp 00002000 00:0c 31 /usr/bin/sleep | pc=16
5617c1a06000-5617c1a08000 r--p 00006000 00:0c 31 /usr/bin/sleep | pc=8
5617c1a08000-5617c1a09000 rw-p 00007000 00:0c 31 /usr/bin/sleep | pd=4 anon=4
5617c2000000-5617c2021000 rw-p 00000000 00:00 0 [heap] | pd=64 anon=64
7e5a6ea00000-7e5a6ea28000 r--p 00000000 00:0c 58 /usr/lib/x86_64-linux-gnu/libc.so.6 | pc=160
7e5a6ea28000-7e5a6ebbd000 r-xp 00028000 00:0c 58 /usr/lib/x86_64-linux-gnu/libc.so.6 | pc=1620
7e5a6ec15000-7e5a6ec19000 r--p 00214000 00:0c 58 /usr/lib/x86_64-linux-gnu/libc.so.6 | pc=16 anon=16
7e5a6ec19000-7e5a6ec1b000 rw-p 00218000 00:0c 58 /usr/lib/x86_64-linux-gnu/libc.so.6 | pd=8 anon=8
7e5a6ed00000-7e5a6ed10000 rw-s 00000000 00:01 4 /dev/zero\040(deleted) | pd=64
7e5a6ed40000-7e5a6ed50000 rw-p 00000000 00:00 0 | pd=64 anon=64 locked=64 flags=lo,??
7ec2a5a7e000-7ec2a627e000 rw-p 00000000 00:00 0 [stack] | pd=64 anon=64 flags=gd
7ec2a6300000-7ec2a6301000 r--p 00000000 00:00 0 [vvar] | pc=4
7ec2a6301000-7ec2a6303000 r-xp 00000000 00:00 0 [vdso] | pc=8
ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0 [vsyscall] |
""",
    ),
    Fixture(
        "android-5.10-aarch64",
        "Android on Linux 5.10: named anonymous memory with a Name line before Size, ashmem,"
        " memfd, and regions that only fill a segment up to 16 KiB pages",
        Style(OF_5_4, thp="THPeligible:    {}", name_line=True),
        r"""
12c00000-32c00000 rw-p 00000000 00:00 0 [anon:dalvik-main space (region space)] | pd=5216 anon=5216 swap=812
70d45000-70fd1000 rw-p 00000000 00:00 0 [anon:dalvik-/system/framework/boot.art] | sd=1820 pd=344 anon=2164 by=61
71a2c000-71a80000 r--p 00000000 fe:0b 2231 /system/framework/arm64/boot.oat | sc=304 by=61
71a80000-71c11000 r-xp 00054000 fe:0b 2231 /system/framework/arm64/boot.oat | sc=960 by=61
5a1d3c8000-5a1d3ca000 r--p 00000000 fe:0b 401 /system/bin/app_process64 | sc=8 by=61
5a1d3ca000-5a1d3cc000 r-xp 00001000 fe:0b 401 /system/bin/app_process64 | sc=8 by=61
6e0a400000-6e0a600000 rw-p 00000000 00:00 0 [anon:scudo:primary] | pd=1404 anon=1404 swap=92
6e12d00000-6e12e00000 rw-s 00000000 00:05 31124 /dev/ashmem/GFXStats-10223\040(deleted) | sd=4 by=2
6e5b1fd000-6e5b1fe000 ---p 00000000 00:00 0 [anon:stack_and_tls:31904] |
6e5b1fe000-6e5b2f7000 rw-p 00000000 00:00 0 [anon:stack_and_tls:31904] | pd=20 anon=20
6e60000000-6e62000000 r-xp 02000000 00:01 1044 /memfd:jit-zygote-cache\040(deleted) | sc=1096 by=55
70443a5000-70443b6000 r--p 00000000 fe:0c 1209 /apex/com.android.runtime/lib64/bionic/libc.so | sc=68 by=61
70443b6000-70443b9000 ---p 00000000 00:00 0 [page\040size\040compat] |
70443b9000-70443db000 r-xp 00014000 fe:0c 1209 /apex/com.android.runtime/lib64/bionic/libc.so | sc=136 by=61
70443db000-70443dd000 ---p 00000000 00:00 0 [page\040size\040compat] |
70443dd000-70443de000 rw-p 00038000 fe:0c 1209 /apex/com.android.runtime/lib64/bionic/libc.so | pd=4 anon=4
70443de000-70443e5000 rw-p 00000000 00:00 0 [anon:.bss] | pd=12 anon=12
704a8d1000-704a8d2000 r--s 00000000 00:13 1162 /dev/__properties__/properties_serial | sc=4 by=61
7fd27bb000-7fd2fba000 rw-p 00000000 00:00 0 [stack] | pd=44 anon=44 flags=gd
""",
    ),
    Fixture(
        "hostile-names",
        "Names that a process can choose, as Linux 6.18 prints them: only newline is escaped."
        " Maps only",
        Style(),
        r"""
55d0c8a1d000-55d0c8a25000 r-xp 00000000 08:01 100 /srv/a\040file (deleted)
55d0c8a25000-55d0c8a26000 r-xp 00000000 08:01 101 /srv/a\040file (deleted) (deleted)
55d0c8a26000-55d0c8a27000 r--p 00000000 08:01 102 /srv/new\134012line
55d0c8a27000-55d0c8a28000 r--p 00000000 08:01 103 /srv/literal\134012
55d0c8a28000-55d0c8a29000 r--p 00000000 08:01 104 /srv/tab\tand\rreturn\vand\fpage
55d0c8a29000-55d0c8a2a000 r--p 00000000 08:01 105 /srv/\033[31mred\033[0m\007
55d0c8a2a000-55d0c8a2b000 r--p 00000000 08:01 106 /srv/latin1-\351-and-next-line-\205
55d0c8a2b000-55d0c8a2c000 r--p 00000000 08:01 107 /srv/utf8-\303\251-\342\200\256override
55d0c8a2c000-55d0c8a2d000 r--p 00000000 08:01 108 /srv/\040two\040\040blanks\040and\040some\040behind\040\040
55d0c8a2d000-55d0c8a2e000 r--p 00000000 08:01 109 /srv/[heap]
55d0c8a2e000-55d0c8a2f000 r--p 00000000 08:01 110 /srv/7f00-8000 rw-p 00000000 00:00 0
55d0c8a2f000-55d0c8a30000 r--p 00000000 08:01 111 /srv/Size: 4 kB
55d0c8a30000-55d0c8a31000 rw-s 00000000 00:01 112 /memfd:[stack] (deleted)
55d0c8a31000-55d0c8a32000 rw-s 00000000 00:01 113 /memfd:\134012evil\134012 (deleted)
55d0c8a32000-55d0c8a33000 rw-s 00000000 00:01 114 /memfd: (deleted)
55d0c8a33000-55d0c8a34000 rw-p 00000000 00:00 0 [anon:a] [heap]]
55d0c8a34000-55d0c8a35000 rw-s 00000000 00:0f 115 anon_inode:[io_uring]
55d0c8a35000-55d0c8a36000 rw-s 00000000 00:09 116 socket:[116]
55d0c8a36000-55d0c8a37000 r--p 00000000 08:01 117 /srv/octal\134134\134
55d0c8a37000-55d0c8a38000 r--p 00000000 00:00 0 /
""",
    ),
    Fixture(
        "future",
        "No kernel: every counter that this build knows in one region, then some that none does,"
        " values as wide as they come, and VmFlags that are not known",
        Style(FUTURE, key=0),
        r"""
00400000-00401000 r--p 00000000 08:01 1 /bin/x | sc=4 by=2 kernel=4 ksm=4 flags=zz,q9
100000000000-200000000000 rw-p 00000000 00:00 0 | pd=12345678901 anon=12345678901 huge=12345678 swap=123456789 thp=1 key=15 ksm=99999999 phtlb=12345678 shtlb=1234567
ffffffff00000000-ffffffffffffffff ---p ffffffffffffffff ffffffff:ffffffff 18446744073709551615 [edge] | flags=ur
""",
    ),
]  # fmt: skip


def readme(fixtures: list[Fixture]) -> bytes:
    lines = [
        "# Dumps for the tests",
        "",
        "Files called `NAME.maps` and `NAME.smaps` were **never captured**:",
        "scripts/write_fixtures.py writes them, laid out as that kernel or emulator prints them",
        "after its published documentation; addresses, inodes and amounts are made up. Change",
        "that script, not the files.",
        "",
        "Folders hold what scripts/capture_fixtures.py **captured** from living processes: each",
        "is a small /proc, and its file ORIGIN says where and when. `programs` holds parts of smaps",
        "of real programs, with the stack pointers of their threads: see its ORIGIN. `cgroups` holds",
        "the files of control groups of version 2, from two kernels: each folder has its ORIGIN.",
        "",
        "| written | what it shows |",
        "|---|---|",
        *(f"| {fixture.name} | {fixture.origin} |" for fixture in fixtures),
        "",
    ]
    return "\n".join(lines).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail on differences")
    options = parser.parse_args()
    made = {"README.md": readme(FIXTURE_LIST)}
    for fixture in FIXTURE_LIST:
        made.update(render(fixture))
    different = 0
    for name, text in made.items():
        path = FIXTURES / name
        if path.exists() and path.read_bytes() == text:
            continue
        different += 1
        if options.check:
            print(f"{path} is not what write_fixtures.py makes", file=sys.stderr)
        else:
            FIXTURES.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
    if not options.check:
        print(f"{len(made)} files, {different} written")
    return 1 if options.check and different else 0


if __name__ == "__main__":
    sys.exit(main())
