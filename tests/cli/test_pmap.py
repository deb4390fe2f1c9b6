"""procmem pmap: its tables from saved texts, and beside the installed pmap."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import select
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from procmem.regions import parse_maps, parse_smaps
from procmem.view.pmap import (
    DEFAULT_CONFIG,
    PmapStyle,
    device,
    extended,
    field_order,
    fields,
    first_line,
    read_config,
    short,
)
from tests.support import procps
from tests.support.procps import Tree, needs_pmap, ours, theirs
from tests.support.targets import PAGE, Target, hostile_names, kernel_thread, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from typing import Any

    from procmem.regions import MeasuredRegion, RegionTable

    Start = Callable[..., Target]

MODES = (
    "",
    "-x",
    "-d",
    "-X",
    "-XX",
    "-p",
    "-q",
    "-xp",
    "-xq",
    "-dp",
    "-dq",
    "-Xp",
    "-Xq",
    "-XXp",
    "-XXq",
    "-Xpq",
)

MAPS = b"""\
00400000-0040b000 r-xp 00000000 08:01 7                                  /usr/bin/cat
0040b000-0040c000 rw-p 0000b000 08:01 7                                  /usr/bin/cat
01000000-01021000 rw-p 00000000 00:00 0                                  [heap]
7f0000000000-7f0000002000 rw-s 00000000 00:01 3                          /dev/zero (deleted)
7f0000002000-7f0000003000 rw-s 00000000 00:01 4                          /memfd:my mem/fd (deleted)
7f0000003000-7f0000004000 rw-s 00000000 00:01 32770                      /SYSV00000000 (deleted)
7f0000004000-7f0000005000 r--s 00001000 103:12345 18446744073709551615   /x/SYSV00000000 (deleted)
7f0000005000-7f0000006000 ---p 00000000 00:00 0 \n\
7f0000006000-7f0000007000 rw-p 00000000 00:00 0                          [anon:a/b]
7f0000007000-7f0000008000 r--p 00000000 08:01 8                          /a/\xc3\xa9 \x1b[31m\t
7f0000008000-7f0000009000 r--p 00000000 08:01 9                          /ends/in/
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
""".replace(b"\\n\\\n", b"\n")

SHORT = b"""\
0000000000400000     44K r-x-- cat
000000000040b000      4K rw--- cat
0000000001000000    132K rw---   [ anon ]
00007f0000000000      8K rw-s- zero (deleted)
00007f0000002000      4K rw-s- fd (deleted)
00007f0000003000      4K rw-s-   [ shmid=0x8002 ]
00007f0000004000      4K r--s- SYSV00000000 (deleted)
00007f0000005000      4K -----   [ anon ]
00007f0000006000      4K rw--- b]
00007f0000007000      4K r---- ?? ?[31m?
00007f0000008000      4K r---- /
00007ffc00000000    132K rw---   [ stack ]
ffffffffff600000      4K --x--   [ anon ]
 total              352K
"""

DEVICE = b"""\
Address           Kbytes Mode  Offset           Device    Mapping
0000000000400000      44 r-x-- 0000000000000000 008:00001 cat
000000000040b000       4 rw--- 000000000000b000 008:00001 cat
0000000001000000     132 rw--- 0000000000000000 000:00000   [ anon ]
00007f0000000000       8 rw-s- 0000000000000000 000:00001 zero (deleted)
00007f0000002000       4 rw-s- 0000000000000000 000:00001 fd (deleted)
00007f0000003000       4 rw-s- 0000000000000000 000:00001   [ shmid=0x8002 ]
00007f0000004000       4 r--s- 0000000000001000 103:12345 SYSV00000000 (deleted)
00007f0000005000       4 ----- 0000000000000000 000:00000   [ anon ]
00007f0000006000       4 rw--- 0000000000000000 000:00000 b]
00007f0000007000       4 r---- 0000000000000000 008:00001 ?? ?[31m?
00007f0000008000       4 r---- 0000000000000000 008:00001 /
00007ffc00000000     132 rw--- 0000000000000000 000:00000   [ stack ]
ffffffffff600000       4 --x-- 0000000000000000 000:00000   [ anon ]
mapped: 352K    writeable/private: 272K    shared: 20K
"""

SMAPS = b"""\
00400000-0040b000 r-xp 00000000 08:01 7                                  /usr/bin/cat
Size:                 44 kB
KernelPageSize:        4 kB
Rss:                  44 kB
Pss:                  22 kB
Shared_Dirty:          3 kB
Private_Dirty:         5 kB
Swap:                  0 kB
THPeligible:           1
VmFlags: rd ex mr \n\
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
Size:                132 kB
KernelPageSize:        4 kB
Rss:              100000 kB
Pss:                   7 kB
Shared_Dirty:          0 kB
Private_Dirty:         8 kB
Swap:                 12 kB
THPeligible:           0
VmFlags: rd wr mr mw me gd ac \n\
7ffc00021000-7ffc00022000 rw-p 00000000 00:00 0 \n\
Size:                  4 kB
KernelPageSize:        4 kB
Rss:                   0 kB
Pss:                   0 kB
Shared_Dirty:          0 kB
Private_Dirty:         0 kB
Swap:                  0 kB
THPeligible:           0
VmFlags: rd wr ?? \n\
""".replace(b"\\n\\\n", b"\n")

EXTENDED = b"""\
Address           Kbytes     RSS   Dirty Mode  Mapping
0000000000400000      44      44       8 r-x-- cat
00007ffc00000000     132  100000       8 rw---   [ stack ]
00007ffc00021000       4       0       0 rw---   [ anon ]
---------------- ------- ------- ------- \n\
total kB             180  100044      16
""".replace(b"\\n\\\n", b"\n")

WIDE = b"""\
     Address Perm   Offset Device Inode Size    Rss Pss Swap THPeligible Mapping
    00400000 r-xp 00000000  08:01     7   44     44  22    0           1 cat
7ffc00000000 rw-p 00000000  00:00     0  132 100000   7   12           0 [stack]
7ffc00021000 rw-p 00000000  00:00     0    4      0   0    0           0 \n\
                                        ==== ====== === ==== =========== \n\
                                         180 100044  29   12           1 KB \n\
""".replace(b"\\n\\\n", b"\n")

EVERYTHING = b"""\
     Address Perm   Offset Device Inode Size KernelPageSize    Rss Pss Shared_Dirty Private_Dirty \
Swap THPeligible              VmFlags Mapping
    00400000 r-xp 00000000  08:01     7   44              4     44  22            3             5 \
   0           1             rd ex mr /usr/bin/cat
7ffc00000000 rw-p 00000000  00:00     0  132              4 100000   7            0             8 \
  12           0 rd wr mr mw me gd ac [stack]
7ffc00021000 rw-p 00000000  00:00     0    4              4      0   0            0             0 \
   0           0             rd wr ?? \n\
                                        ==== ============== ====== === ============ ============= \
==== =========== \n\
                                         180             12 100044  29            3            13 \
  12           1 KB \n\
""".replace(b"\\n\\\n", b"\n")

QUIET = b"""\
    00400000 r-xp 00000000 08:01 7  44     44 22  0 1 cat
7ffc00000000 rw-p 00000000 00:00 0 132 100000  7 12 0 [stack]
7ffc00021000 rw-p 00000000 00:00 0   4      0  0  0 0 \n\
""".replace(b"\\n\\\n", b"\n")

STACK = 0x7FFC00020000


def text(rows: Iterable[bytes]) -> bytes:
    return b"".join(rows)


def measured(data: bytes = SMAPS) -> RegionTable[MeasuredRegion]:
    return parse_smaps(data)


# ---- tables from saved texts --------------------------------------------------------


class TestTables:
    def test_default(self) -> None:
        look = PmapStyle(start_stack=STACK, shm_device=1)
        assert text(short(parse_maps(MAPS), look)) == SHORT

    def test_device(self) -> None:
        look = PmapStyle(start_stack=STACK, shm_device=1)
        assert text(device(parse_maps(MAPS), look)) == DEVICE

    def test_extended(self) -> None:
        # The stack starts where the next region does: the end belongs to it.
        assert text(extended(measured(), PmapStyle(start_stack=STACK))) == EXTENDED

    def test_wide(self) -> None:
        assert text(fields(measured(), PmapStyle(), field_order(SMAPS))) == WIDE

    def test_everything(self) -> None:
        rows = fields(measured(), PmapStyle(show_path=True), field_order(SMAPS), everything=True)
        assert text(rows) == EVERYTHING

    def test_known_fields_need_no_order(self) -> None:
        assert text(fields(measured(), PmapStyle())) == WIDE

    def test_quiet(self) -> None:
        look = PmapStyle(quiet=True)
        assert text(fields(measured(), look)) == QUIET
        assert text(extended(measured(), look)).count(b"\n") == 3
        assert text(device(measured(), look)).count(b"\n") == 3
        assert text(short(measured(), look)).count(b"\n") == 3

    def test_paths(self) -> None:
        shown = text(short(parse_maps(MAPS), PmapStyle(show_path=True, quiet=True, shm_device=1)))
        assert [line[31:] for line in shown.split(b"\n")] == [
            b"/usr/bin/cat",
            b"/usr/bin/cat",
            b"  [ anon ]",
            b"/dev/zero (deleted)",
            b"/memfd:my mem/fd (deleted)",
            b"  [ shmid=0x8002 ]",
            b"/x/SYSV00000000 (deleted)",
            b"  [ anon ]",
            b"/b]",
            b"/a/?? ?[31m?",
            b"/ends/in/",
            b"  [ anon ]",
            b"  [ anon ]",
            b"",
        ]

    def test_chosen_fields(self) -> None:
        rows = fields(measured(), PmapStyle(), chosen={"Rss", "VmFlags", "Nonsense"})
        assert text(rows) == (
            b"     Address    Rss              VmFlags \n"
            b"    00400000     44             rd ex mr\n"
            b"7ffc00000000 100000 rd wr mr mw me gd ac\n"
            b"7ffc00021000      0             rd wr ??\n"
            b"             ====== \n"
            b"             100044 KB \n"
        )

    def test_without_a_number_there_is_no_total(self) -> None:
        rows = fields(measured(), PmapStyle(), chosen={"Perm", "Mapping"})
        assert text(rows) == (
            b"     Address Perm Mapping\n"
            b"    00400000 r-xp cat\n"
            b"7ffc00000000 rw-p [stack]\n"
            b"7ffc00021000 rw-p \n"
        )

    def test_no_regions(self) -> None:
        none = parse_smaps(b"")
        assert text(short(none, PmapStyle())) == b" total                0K\n"
        assert text(device(none, PmapStyle())).endswith(
            b"Mapping\nmapped: 0K    writeable/private: 0K    shared: 0K\n"
        )
        assert text(extended(none, PmapStyle())).endswith(
            b"- \ntotal kB               0       0       0\n"
        )
        assert text(fields(none, PmapStyle())) == b""

    @pytest.mark.parametrize(
        "low, high, count",
        [
            (0x400000, 0x400000, 1),
            (0x3FFFFF, 0x3FFFFF, 0),
            (0x40AFFF, 0x40AFFF, 1),
            (0x40B000, 0x40B000, 1),
            (0x40AFFF, 0x40B000, 2),
            (0x400000, 0x100000, 0),
            (0, 2**64 - 1, 13),
            (2**63, 2**64 - 1, 1),
            (0, 2**63, 12),
        ],
    )
    def test_range_has_both_ends(self, low: int, high: int, count: int) -> None:
        look = PmapStyle(low=low, high=high, quiet=True)
        assert text(short(parse_maps(MAPS), look)).count(b"\n") == count

    def test_short_addresses_of_emulators_are_kept(self) -> None:
        data = b"400000-401000 r-xp 0 8:1 7 /bin/a\nRss: 4 kB\n"
        assert text(fields(parse_smaps(data), PmapStyle())) == (
            b"Address Perm Offset Device Inode Rss Mapping\n"
            b" 400000 r-xp      0    8:1     7   4 a\n"
            b"                                 === \n"
            b"                                   4 KB \n"
        )

    def test_first_line(self) -> None:
        assert first_line(7, b"a b") == b"7:   a b\n"


class TestFaultsOfPmapAreNotOurs:
    """Each stands in docs/pmap.md; needs_pmap: that pmap has it is shown too."""

    def test_totals_are_those_of_the_rows(self) -> None:
        low = 0x7FFC00000000
        shown = text(extended(measured(), PmapStyle(low=low, start_stack=STACK)))
        assert shown.endswith(b"total kB             136  100000       8\n")
        assert b"100000" not in text(fields(measured(), PmapStyle(high=low - 1)))

    def test_long_names(self) -> None:
        name = b"/" + b"/".join([b"d" * 250] * 8) + b"/7f0000000000-7fff00000000 rw-p"
        maps = b"00400000-0040b000 r-xp 00000000 08:01 7".ljust(73) + name + b"\n"
        shown = text(short(parse_maps(maps), PmapStyle(show_path=True)))
        assert shown == (
            b"0000000000400000     44K r-x-- " + name + b"\n total               44K\n"
        )

    def test_what_is_missing_is_no_zero(self) -> None:
        # WSL 1 prints only Pss; the second region lacks one that the first has.
        data = SMAPS.replace(b"Pss:                   7 kB\n", b"")
        assert b"7ffc00000000 rw-p 00000000  00:00     0  132 100000   -   12" in text(
            fields(parse_smaps(data), PmapStyle())
        )
        only_pss = b"".join(
            line + b"\n"
            for line in SMAPS.split(b"\n")[:-1]
            if b"-" in line.split(b" ")[0] or line.startswith(b"Pss")
        )
        shown = text(extended(parse_smaps(only_pss), PmapStyle()))
        assert b"0000000000400000      44       -       - r-x-- cat\n" in shown
        assert shown.endswith(b"total kB             180       -       -\n")

    def test_flags_of_a_newer_kernel_and_none(self) -> None:
        assert b"rd wr ??" in text(fields(measured(), PmapStyle(), everything=True))
        data = SMAPS.replace(b"VmFlags: rd ex mr \n", b"VmFlags: \n")
        rows = text(fields(parse_smaps(data), PmapStyle(), everything=True)).split(b"\n")
        assert rows[1].endswith(b" 1" + b" " * (1 + len("rd wr mr mw me gd ac")) + b" cat")
        without = SMAPS.replace(b"VmFlags: rd ex mr \n", b"")
        assert b"1                    - cat" in text(
            fields(parse_smaps(without), PmapStyle(), everything=True)
        )

    def test_a_memfd_is_no_system_v_segment(self) -> None:
        maps = (
            b"7f0000002000-7f0000003000 rw-s 00000000 00:01 4".ljust(73)
            + b"/memfd:a/SYSV00000000 (deleted)\n"
        )
        shown = text(short(parse_maps(maps), PmapStyle(shm_device=1, quiet=True)))
        assert shown.endswith(b"rw-s- SYSV00000000 (deleted)\n")

    def test_without_the_device_the_name_tells(self) -> None:
        shown = text(short(parse_maps(MAPS), PmapStyle(quiet=True)))
        assert shown.count(b"shmid") == 1
        assert b"shmid" not in text(short(parse_maps(MAPS), PmapStyle(shm_device=99)))


HEAD = b"00400000-0040b000 r-xp 00000000 08:01 7                                  /usr/bin/cat\n"
STATUS = b"Name:\tx\nState:\tS (sleeping)\nTgid:\t7\nPid:\t7\n"
STAT = b"7 (x) S 1 2 2 0 -1 4194304 " + b"0 " * 8 + b"20 0 1 0 100 " + b"0 " * 30 + b"0\n"


@needs_pmap
class TestFaultsOfPmap:
    """That pmap has what docs/pmap.md says of it, and ours has not."""

    @pytest.fixture
    def both(self, tmp_path: Path) -> Callable[..., tuple[procps.Answer, procps.Answer]]:
        def run(
            smaps: bytes, *words: str, more: bytes | None = None
        ) -> tuple[procps.Answer, procps.Answer]:
            tree = Tree(tmp_path / f"{len(list(tmp_path.iterdir()))}")
            maps = b"".join(
                line + b"\n" for line in smaps.split(b"\n") if b"-" in line.split(b" ")[0]
            )
            tree.add(7, stat=STAT, status=STATUS, cmdline=b"x\0", maps=maps, smaps=smaps)
            if more is not None:
                status = STATUS.replace(b"7", b"8")
                tree.add(8, stat=STAT, status=status, cmdline=b"y\0", maps=b"", smaps=more)
            line = ["pmap", *words]
            return tree.theirs([line])[0], tree.ours(line)

        return run

    def test_the_rest_of_a_long_line(self, both: Callable[..., Any]) -> None:
        # Byte 1,023 of the line is where its buffer ends.
        path = b"/" + b"d" * 948 + b"/7f0000000000-7fff00000000 rw-p 0 0:0 0/x"
        maps = HEAD + b"00500000-00501000 r--p 00000000 08:01 7".ljust(73) + path + b"\n"
        theirs, ours = both(maps, "7")
        assert theirs.out.endswith(b"\n total       1069547568K\n")
        assert ours.out == (
            b"7:   x\n"
            b"0000000000400000     44K r-x-- cat\n"
            b"0000000000500000      4K r---- x\n"
            b" total               48K\n"
        )

    def test_totals_of_a_range(self, both: Callable[..., Any]) -> None:
        theirs, ours = both(SMAPS.replace(b" ?? ", b" "), "-x", "-A", "7ffc00021000", "7")
        assert theirs.out.endswith(b"total kB               4  100044      16\n")
        assert ours.out.endswith(b"total kB               4       0       0\n")

    def test_wide_tables_of_a_range(self, both: Callable[..., Any]) -> None:
        procps.same_or_skip("pmap", "wide ranges")
        theirs, ours = both(SMAPS.replace(b" ?? ", b" "), "-XqA", "400000", "7")
        assert (theirs.out.count(b"\n"), ours.out.count(b"\n")) == (4, 2)

    def test_wide_tables_add_up(self, both: Callable[..., Any]) -> None:
        procps.same_or_skip("pmap", "wide sums")
        smaps = SMAPS.replace(b" ?? ", b" ")
        theirs, ours = both(smaps, "-X", "7", "7", "8", more=b"")
        assert theirs.out.count(b" 360 200088 ") == 2
        assert ours.out.count(b" 180 100044 ") == 2
        assert ours.out.endswith(b"KB \n8:   y\n")

    @pytest.mark.parametrize(
        "old, new",
        [
            # Two question marks are a flag that the kernel itself has no letters for.
            (b"VmFlags: rd wr ?? \n", b"VmFlags: ?? rd \n"),
            (b"VmFlags: rd wr ?? \n", b"VmFlags: \n"),
            (b"VmFlags: rd wr ?? \n", b"Word: text\n"),
            (b"Pss:                   0 kB\n", b""),
        ],
    )
    def test_texts_that_end_it(self, both: Callable[..., Any], old: bytes, new: bytes) -> None:
        theirs, ours = both(SMAPS.replace(old, new), "-X", "7")
        assert theirs.status == 1
        assert theirs.out == b"7:   x\n"
        assert b"Unknown format" in theirs.err or b"inconsistent detail" in theirs.err
        assert ours.status == 0
        assert ours.out.count(b"\n") == 7

    def test_flags_behind_an_unknown_one(self, both: Callable[..., Any]) -> None:
        smaps = SMAPS.replace(b"?? \n", b"?? sd \n")
        theirs, ours = both(smaps, "-XXq", "7")
        assert theirs.out.endswith(b"rd wr \n")
        assert ours.out.endswith(b"rd wr ?? sd \n")

    def test_numbers_of_another_region(self, both: Callable[..., Any]) -> None:
        theirs, ours = both(HEAD + b"Rss: 44 kB\n" + HEAD.replace(b"cat", b"dog"), "-Xq", "7")
        assert theirs.out.endswith(b" 44 cat\n00400000 r-xp 00000000 08:01 7 44 dog\n")
        assert ours.out.endswith(b" 44 cat\n00400000 r-xp 00000000 08:01 7  - dog\n")

    def test_rows_hang_on_the_swap_counter(self, both: Callable[..., Any]) -> None:
        theirs, ours = both(HEAD + b"Rss: 44 kB\n", "-xq", "7")
        assert theirs.out == b"7:   x\n"
        assert ours.out == b"7:   x\n0000000000400000      44      44       - r-x-- cat\n"

    def test_a_memfd_taken_for_system_v(self, target: Target) -> None:
        mapping = target.map_memfd("a/SYSV12", 1)
        words = ["pmap", "-q", "-A", f"{mapping.start:x}", str(target.pid)]
        assert b"[ shmid=0x" in theirs(words).out
        assert ours(words).out.endswith(b"K rw-s- SYSV12 (deleted)\n")

    def test_more_than_255_processes(self, target: Target) -> None:
        procps.same_or_skip("pmap", "255 processes")
        words = ["pmap", *[str(target.pid)] * 256]
        assert theirs(words).err == b"pmap: library failed pids statistics\n"
        assert ours(words).status == 0


class TestFieldOrder:
    def test_units_and_order_are_the_kernels(self) -> None:
        data = b"0-1000 r--p 0 0:0 0\nNew: 8 kB\nSize: 4 kB\nCount: 9\nRss: 4 kB\nVmFlags: rd \n"
        order = field_order(data)
        assert order == [
            ("New", True),
            ("Size", True),
            ("Count", False),
            ("Rss", True),
            ("VmFlags", False),
        ]
        shown = text(fields(parse_smaps(data), PmapStyle(quiet=True), order, everything=True))
        assert shown == b"0 r--p 0 0:0 0 8 4 9 4 rd \n"

    def test_it_ends_with_the_first_region(self) -> None:
        two = b"0-1000 r--p 0 0:0 0\nRss: 4 kB\n1000-2000 r--p 0 0:0 0 a:\nPss: 4 kB\n"
        assert field_order(two) == [("Rss", True)]
        assert field_order(b"") == []

    def test_unknown_counters_of_any_kind(self) -> None:
        data = (
            b"0-1000 r--p 0 0:0 0 x\nOdd: a word\nK\xc3\xa9: 7 kB\nLast: 1 kB\n"
            b"1000-2000 r--p 0 0:0 0 x\nLast: 2 kB\n"
        )
        shown = text(fields(parse_smaps(data), PmapStyle(), field_order(data)))
        assert shown == (
            b"Address Perm Offset Device Inode    Odd K\xc3\xa9 Last Mapping\n"
            b"      0 r--p      0    0:0     0 a word   7    1 x\n"
            b"   1000 r--p      0    0:0     0      -   -    2 x\n"
            b"                                        === ==== \n"
            b"                                          -    3 KB \n"
        )


class TestEscapes:
    @pytest.mark.parametrize("rows", [short, device, extended, fields])
    def test_tables_on_a_terminal(self, rows: Any) -> None:
        hostile = bytes(byte for byte in range(1, 256) if byte != 10)
        data = b"0-1000 rw-p 0 0:0 0 /" + hostile + b"\nRss: 4 kB\nVmFlags: \x1b[2J\n"
        for look in (PmapStyle(terminal=True), PmapStyle(terminal=True, show_path=True)):
            more = {"everything": True} if rows is fields else {}
            shown = text(rows(parse_smaps(data), look, **more))
            assert not set(shown) & ({*range(32)} - {10} | {*range(0x7F, 0x100)})


# ---- configurations -----------------------------------------------------------------

CONFIGS = [
    b"",
    b"[Fields Display]\nPerm\nMapping\n",
    b"[Fields Display]\nMapping\nPerm\nInode\nSize\n",
    b"[Fields Display]\nVmFlags\nMapping\nSize\n[Mapping]\nShowPath\n",
    b"[Fields Display]\nsize\nFoo\nAddress\n",
    b"[Fields Display]\n  Size  \n\tPerm\t# comment\nInode#x\nOffset # y\nDevice Size\n",
    b"Size\n[Fields Display]\nPerm\n",
    b"[Fields Display] # c\nPerm\n",
    b" [Fields Display]  \nPerm\n",
    b"[ Fields Display ]\nPerm\n",
    b"[Fields  Display]\nPerm\n",
    b"[Fields Display\nPerm\n",
    b"[Mapping]\n[Fields Display\nPerm\nShowPath\n[Fields Display]\nMapping\n",
    b"[Fields Display]\n[Mapping\nPerm\nSize\n",
    b"[Fields Display]x\nPerm\n",
    b"[fields display]\nPerm\n",
    b"[Mapping]\nshowpath\nFoo\n[Fields Display]\nMapping\n",
    b"[Mapping]\nShowPath x\n[Fields Display]\nMapping\n",
    b"[Fields Display]\r\nPerm\r\n",
    b"[Fields Display]\nPerm",
    b"[Fields Display]\nPerm\n[Other]\nSize x\n[Fields Display]\nInode\n",
    b"[Fields Display]\n#" + b"x" * 3000 + b"\nPerm\n",
    b"[Fields Display]\n" + b"x" * 1022 + b"\nPerm\n",
    b"[Fields Display]\n" + b"x" * 1023 + b"\nPerm\n",
    b"[Fields Display]\n" + b"x" * 1024 + b"\nPerm\n",
    b"[Fields Display]\n" + b" " * 1030 + b"Size\nPerm\n",
    b"[Fields Display]\n\0abc\nPe\0rm\nPerm\n",
    b"[Fields Display]\n\nPerm\xff\nSize\n",
    b"[]\nPerm\n",
    b"]\n[[Fields Display]\nPerm\n",
    b"[Fields Display]]\nPerm\n",
    b"[Fields Display] Perm\n",
    b"[Fields Display]#\nPerm\n",
    b"[Fields Display]\nPerm=1\nSize 1\nInode#\n#Offset\n #Device\n",
]


class TestConfig:
    def test_default_names_every_field(self) -> None:
        asked = DEFAULT_CONFIG.replace(b"\n#", b"\n")
        config = read_config(asked)
        with open("/proc/self/smaps", "rb") as smaps:
            names = {name for name, _ in field_order(smaps.read())}
        assert names <= config.fields
        assert {"Perm", "Offset", "Device", "Inode", "Mapping"} <= config.fields
        assert config.show_path
        plain = read_config(DEFAULT_CONFIG)
        assert (plain.fields, plain.show_path, plain.complaints) == (set(), False, [])

    @needs_pmap
    def test_they_are_read_alike(self, target: Target, tmp_path: Path) -> None:
        for number, config in enumerate(CONFIGS):
            file = tmp_path / f"rc{number}"
            file.write_bytes(config)
            for more in ((), ("-q",), ("-p",)):
                if more == ("-p",) and b"ShowPath" in config:
                    continue  # pmap takes back -p then; see test_asking_twice_is_no_refusal
                words = ["pmap", "-C", str(file), *more, str(target.pid)]
                expected = theirs(words)
                mine = ours(words)
                assert (config, mine.out) == (config, expected.out)
                assert mine.status == expected.status == 0
                assert mine.err.replace(b"procmem pmap:", b"pmap:") == expected.err

    @needs_pmap
    def test_asking_twice_is_no_refusal(self, target: Target, tmp_path: Path) -> None:
        """A fault of pmap: ShowPath turns -p off."""
        file = tmp_path / "rc"
        file.write_bytes(b"[Fields Display]\nMapping\n[Mapping]\nShowPath\n")
        words = ["pmap", "-C", str(file), str(target.pid)]
        paths = ours(words).out
        assert paths == theirs(words).out
        words.append("-p")
        assert ours(words).out == paths
        assert b"/" not in theirs(words).out.partition(b"\n")[2]

    def test_creating_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        made = ours(["pmap", "-n"])
        assert (made.status, made.out) == (0, b"")
        assert (
            made.err
            == b"procmem pmap: ~/.pmaprc file successfully created, feel free to edit the content\n"
        )
        assert (tmp_path / ".pmaprc").read_bytes() == DEFAULT_CONFIG
        (tmp_path / ".pmaprc").write_bytes(b"mine")
        again = ours(["pmap", "-n"])
        assert again.status == 1
        assert again.err == (
            b"procmem pmap: the file already exists - delete or rename it first\n"
            b"procmem pmap: couldn't create ~/.pmaprc\n"
        )
        assert (tmp_path / ".pmaprc").read_bytes() == b"mine"
        other = tmp_path / "other"
        assert ours(["pmap", f"--create-rc-to={other}"]).status == 0
        assert ours(["pmap", "-N", str(other)]).status == 1
        other.unlink()
        other.symlink_to(tmp_path / "nowhere")
        assert ours(["pmap", "-N", str(other)]).status == 1, "a dangling link is not followed"
        assert not (tmp_path / "nowhere").exists()

    @needs_pmap
    def test_created_ones_are_read_by_pmap(self, target: Target, tmp_path: Path) -> None:
        asked = DEFAULT_CONFIG.replace(b"\n#", b"\n").replace(b"\nPss", b"\n#Pss")
        file = tmp_path / "rc"
        file.write_bytes(asked)
        words = ["pmap", "-C", str(file), str(target.pid)]
        assert procps.settled(words, procps.steady)


# ---- the command line -----------------------------------------------------------------

P = "PID"
WORDS = [
    [],
    ["-Z"],
    ["--foo"],
    ["--range"],
    ["-A"],
    ["-A", "zz", P],
    ["-A", "", P],
    ["-A", ",", P],
    ["-A", "1,2,3", P],
    ["-A", "0x1000,0xffff", P],
    ["-A", " 10", P],
    ["-A", "10 ", P],
    ["-A", "-1", P],
    ["-A", "ffffffffffffffffff", P],
    ["-A", "ffffffffffffffff", P],
    ["-A", "8,4", P],
    ["-A", "+10", P],
    ["-A", "1,zz", P],
    ["-A", "1,0x", P],
    ["-A", "0x,1", P],
    ["-A", "7f0000000000,", P],
    ["-A", ",7f0000000000", P],
    ["-A", "400000", P],
    ["--exten", P],
    ["--e", P],
    ["--re", P],
    ["--read-rc-f", P],
    ["--extended=1", P],
    ["--ran=0,1", P],
    ["--show", P],
    ["--q", P],
    ["--d", P],
    ["--c", P],
    ["--create-rc=1"],
    ["--create-rc-to"],
    ["--", P],
    ["-x", "--", P, "-q"],
    [P, "-x", "-q"],
    ["-", "1"],
    ["-r", P],
    ["-rr", P],
    ["-x", "-x", P],
    ["-d", "-d", P],
    ["-xxd", P],
    ["-k", P],
    ["-xX"],
    ["-x", "-d", P],
    ["-d", "-X", P],
    ["-c", "-X", P],
    ["-C", "nofile", "-d", P],
    ["-c", "-C", "nofile", P],
    ["-qA0,1", P],
    ["-A0", "-A1", P],
    ["-?"],
    ["--X", P],
    ["-X=1", P],
    ["--help=1"],
    [""],
    ["-x"],
    ["-q"],
    ["-c"],
    ["-c", P],
    ["-C", "nofile"],
    ["-C", "nofile", P],
    ["-C", "nofile", "abc"],
    ["-C", "", P],
    ["-n", P],
    ["-N", "rc", P],
    ["-n", "-N", "x"],
    ["-n", "-q"],
    ["-N", "x", "-p"],
    ["-nx"],
    ["-N", "/nonexistent/x"],
    ["-N", ""],
    ["-N", "."],
    [f"/proc/{P}"],
    [f"/proc/{P}/"],
    [f"/proc//{P}"],
    [f"//proc/{P}"],
    [f" {P}"],
    [f"{P} "],
    [f"+{P}"],
    [f"-{P}"],
    [f"{P}x"],
    ["abc"],
    ["0"],
    ["99999999999"],
    ["4294967297"],
    ["18446744073709551617"],
    ["2147483648"],
    ["/proc/self"],
    ["self"],
    [f"/proc/{P}/maps"],
    ["0x"],
    ["08"],
    ["1e3"],
    ["٣"],
    [f"{P}\n"],
    ["/proc/"],
    ["/proc/ 1"],
    ["0b1"],
    [P, "2147483647"],
    ["2147483647", P],
    ["2147483647"],
    [P, P],
    [P, "abc"],
    ["/proc/cpuinfo", f"/proc/{P}", "/proc/self"],
]


@needs_pmap
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_command_lines_are_understood_alike(
    words: list[str], target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if words[:1] in (["0b1"], ["-k"]):
        procps.same_or_skip("pmap", words[0].strip("-1"))
    monkeypatch.chdir(tmp_path)
    env = {"HOME": str(tmp_path)}
    line = ["pmap", *(word.replace(P, str(target.pid)) for word in words)]
    expected, mine = procps.of_one_time(line, env=env)
    assert (mine.out, mine.status) == (expected.out, expected.status)
    # pmap's words come first where it has some; its help and its name are its own.
    said = expected.err.split(b"\n")[0]
    if said and b"library failed" not in said:
        assert mine.err.startswith(b"procmem " + said)
    assert bool(mine.err) == bool(expected.err)
    assert (b"usage: procmem pmap" in mine.err) == (b"Usage:" in expected.err)


@needs_pmap
def test_forms_of_a_pid(target: Target) -> None:
    for form in ("{}", "0x{:x}", "0X{:X}", "0{:o}", "/proc/{}", "/proc/0x{:x}"):
        words = ["pmap", "-d", form.format(target.pid)]
        assert ours(words) == theirs(words), words
    # Digits behind a 0 are octal.
    words = ["pmap", f"0{target.pid}"]
    expected, mine = theirs(words), ours(words)
    assert (mine.status, bool(mine.out), bool(mine.err)) == (
        expected.status,
        bool(expected.out),
        bool(expected.err),
    )


def test_help_and_version() -> None:
    for words in (["--help"], ["-h"], ["--he"], ["-xh"], ["-h", "--nonsense"]):
        answer = ours(["pmap", *words])
        assert answer.status == 0
        assert not answer.err
        for option in ("-x", "-X", "-XX", "-d", "-c", "-C", "-n", "-N", "-p", "-q", "-A"):
            assert f"\n  {option}".encode() in answer.out
    for words in (["-V"], ["--version"], ["-Vh"]):
        assert ours(["pmap", *words]).out.startswith(b"procmem pmap ")


def test_home_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    for option in (["-c", "1"], ["-n"]):
        answer = ours(["pmap", *option])
        assert (answer.status, answer.err) == (1, b"procmem pmap: HOME variable undefined\n")


# ---- processes of every kind -------------------------------------------------------------


@needs_pmap
def test_a_process_that_is_not_there() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    for words in (["pmap", str(child.pid)], ["pmap", "-x", str(child.pid), str(os.getppid())]):
        expected, mine = theirs(words), ours(words)
        assert mine.status == expected.status
        assert not mine.err
        if len(words) == 2:
            assert (mine.out, mine.status) == (b"", 42)


@needs_pmap
@pytest.mark.parametrize("mode", MODES)
def test_kernel_threads_and_zombies(mode: str, target: Target) -> None:
    pids = [target.zombie()]
    thread = kernel_thread()
    if thread is not None:
        pids.append(thread)
    for pid in pids:
        words = ["pmap", *filter(None, [mode]), str(pid)]
        assert ours(words) == theirs(words)
        assert ours(words).status == 0


def test_denied(target: Target) -> None:
    # Nobody's process hides itself from nobody; root sees it.
    target.dumpable(False)
    if os.geteuid() == 0:
        done = machine.as_nobody(
            "import sys\nfrom procmem.cli.pmap import main\nsys.exit(main(sys.argv[1:]))",
            "-x",
            target.pid,
            2147483647,
        )
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        answer = ours(["pmap", "-x", str(target.pid), "2147483647"])
        status, out, err = answer.status, answer.out.decode(), answer.err.decode()
    assert status == 43
    # Only the first line, as pmap has it; and, which pmap has not, a reason.
    assert out.startswith(f"{target.pid}:   ")
    assert out.count("\n") == 1
    assert f"process {target.pid}: /proc/{target.pid}/smaps" in err
    assert "Permission denied" in err
    assert err.count("\n") == 1
    if os.geteuid() and not procps.missing("pmap"):
        expected = theirs(["pmap", "-x", str(target.pid), "2147483647"])
        assert (expected.status, expected.out.decode()) == (status, out)


@pytest.mark.parametrize("mode", ["", "-x", "-X"])
def test_a_leader_that_exited_is_read_through_another_thread(mode: str, target: Target) -> None:
    stack = target.truths.stack
    mapping = target.map(3)
    before = ours(["pmap", *filter(None, [mode]), str(target.pid)])
    tid = target.exit_leader()
    for pid in (target.pid, tid):
        answer = ours(["pmap", *filter(None, [mode]), str(pid)])
        assert answer.status == 0
        assert answer.out.startswith(f"{target.pid}:   ".encode())
        assert f"{mapping.start:x} ".encode() in answer.out
        assert (b"[ stack ]" in answer.out) == (mode != "-X")
        assert answer.out.count(b"\n") >= before.out.count(b"\n")
    assert stack


def test_a_process_that_execs_all_the_while(target: Target) -> None:
    """Whole, or an error: never a table that is cut short."""
    last = ours(["pmap", "-q", str(target.pid)]).out.split(b"\n")[-2]
    if not last.startswith(b"ffffffffff600000 "):
        # While execve(2) goes on, the table ends anywhere.
        pytest.skip("kernel feature missing: [vsyscall], by which a whole table is known")
    target.start_execs(500)
    whole = 0
    for _ in range(60):
        answer = ours(["pmap", "-q", str(target.pid)])
        lines = answer.out.split(b"\n")
        if answer.status:
            # Even the first line may be of a process that is just replacing itself.
            assert (answer.status, answer.err.count(b"\n")) == (1, 1), answer
        else:
            whole += 1
            assert lines[-2].startswith(b"ffffffffff600000 "), answer
            assert lines[1:-1] == sorted(lines[1:-1])
    target.stop_execs()
    assert whole or answer.err


def test_a_process_that_maps_all_the_while(target: Target) -> None:
    storm = target.storm()
    for _ in range(40):
        answer = ours(["pmap", "-d", "-q", str(target.pid)])
        assert answer.status == 0
        if answer.err:
            assert b"overlap or are missing" in answer.err
            continue
        rows = [line.split()[:2] for line in answer.out.split(b"\n")[1:-1]]
        ends = 0
        for start, size in rows:
            assert int(start, 16) >= ends
            ends = int(start, 16) + int(size) * 1024
    target.stop(storm)


@needs_pmap
def test_a_thread_is_its_process(target: Target) -> None:
    thread = target.threads(1).threads[0].tid
    for mode in ([], ["-d"]):
        words = ["pmap", *mode, str(thread)]
        assert ours(words) == theirs(words)
        assert ours(words).out.startswith(f"{target.pid}:   ".encode())


@needs_pmap
def test_several_processes(start: Start) -> None:
    pids = [str(start().pid) for _ in range(3)]
    for mode in ([], ["-d"], ["-q"], ["-dp"]):
        words = ["pmap", *mode, *pids, pids[0], "2147483647", f"/proc/{pids[1]}"]
        assert ours(words) == theirs(words)
        assert ours(words).status == 42


def test_more_processes_than_pmap_takes(target: Target) -> None:
    answer = ours(["pmap", "-q", *[str(target.pid)] * 300])
    assert answer.status == 0
    assert answer.out == ours(["pmap", "-q", str(target.pid)]).out * 300


def test_wide_tables_of_several_processes_are_each_their_own(start: Start) -> None:
    one, other = start(), start()
    other.map(100_000)
    pids = [str(one.pid), str(other.pid), str(one.pid)]
    with pytest.MonkeyPatch.context() as patch:
        # Pss moves while other tests run.
        patch.setattr("procmem.cli.pmap.order_of_fields", lambda files: [])
        words = ["pmap", "-C", os.devnull]
        assert ours([*words, *pids]).out == b"".join(ours([*words, pid]).out for pid in pids)
    together = procps.sections(ours(["pmap", "-X", *pids]).out)
    assert procps.steady(together[one.pid]) == procps.steady(ours(["pmap", "-X", pids[0]]).out)


# ---- hostile processes ------------------------------------------------------------------


@pytest.fixture
def hostile(start: Start, tmp_path: Path, shm_name: Callable[..., bytes]) -> Target:
    """A process with mappings of every kind, and names of every kind."""
    target = start(args=[b"\x1b[31m", b"a\nb\tc", "é日本".encode(), b"\xff\x01", b""])
    place = os.fsencode(tmp_path)
    for name in hostile_names().values():
        path = place + b"/" + name
        with open(path, "wb") as file:
            file.truncate(PAGE)
        target.map_file(path, 1)
    gone = place + b"/gone"
    with open(gone, "wb") as file:
        file.truncate(4 * PAGE)
    target.map_file(gone, 2, "rw-p", offset=PAGE)
    os.unlink(gone)
    deep = place
    while len(deep) < 3000:
        deep += b"/" + b"d" * 200
    # Longer than PATH_MAX for open(2) would be refused.
    os.makedirs(deep)
    with open(deep + b"/deep", "wb") as file:
        file.truncate(PAGE)
    target.map_file(deep + b"/deep", 1)
    target.map_memfd(b"my mem/fd \x1b[2J", 2)
    target.map_sysv(2)
    target.map_sysv(1, key=0x12000000 + os.getpid())
    target.map_shm(shm_name(), 2)
    target.map(3, "rw-s")
    target.map(1, "---p")
    target.touch(target.map(70), 60)
    target.malloc(100_000)
    target.threads(2)
    with contextlib.suppress(OSError):  # a kernel without CONFIG_ANON_VMA_NAME
        target.name(target.map(2), b"a/name")
    return target


def read_lines(pid: int) -> int:
    with open(f"/proc/{pid}/maps", "rb") as maps:
        return maps.read().count(b"\n")


LONG = b"d" * 200
"""What stands in the line that is too long for pmap's buffer."""


def without_long_lines(table: bytes) -> list[bytes]:
    return [
        line
        for line in table.split(b"\n")
        if LONG not in line
        and not line.endswith(b"deep")
        and not line.startswith((b" total", b"total", b"mapped"))
    ]


@needs_pmap
@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("mode", ["", "-p", "-d", "-dp"])
def test_hostile_processes(mode: str, utf8: bool, hostile: Target) -> None:
    procps.same_characters_or_skip("pmap", utf8)
    words = ["pmap", *filter(None, [mode]), str(hostile.pid)]
    expected, mine = theirs(words, utf8=utf8), ours(words, utf8=utf8)
    assert mine.status == expected.status == 0
    shown = without_long_lines(mine.out)
    # pmap takes the rest of the long line for more regions.
    rest = without_long_lines(expected.out)
    assert [line for line in shown if line not in rest] == []
    assert len(mine.out.split(b"\n")) == read_lines(hostile.pid) + (4 if "d" in mode else 3)
    assert b"[ shmid=0x" in mine.out


@needs_pmap
@pytest.mark.parametrize("utf8", [False, True])
def test_hostile_processes_from_one_reading(utf8: bool, hostile: Target, tmp_path: Path) -> None:
    procps.same_characters_or_skip("pmap", utf8)
    tree = Tree(tmp_path / "proc")
    hostile.ping()
    assert tree.capture(hostile.pid)
    # In this reading the long line is left out: it is the one that pmap can't read.
    for name in ("maps", "smaps"):
        file = tree.path / str(hostile.pid) / name
        lines = file.read_bytes().split(b"\n")
        kept, long = [], False
        for line in lines:
            if b"-" in line.split(b" ")[0]:
                long = len(line) > 1000
            if not long:
                kept.append(line)
        # The tree can't show which device holds System V memory; see TestTables.
        file.write_bytes(b"\n".join(kept).replace(b"/SYSV", b"/sysv"))
    commands = [["pmap", *filter(None, [mode]), str(hostile.pid)] for mode in MODES]
    assert tree.compare(commands, utf8=utf8) == len(MODES)


@needs_pmap
@pytest.mark.parametrize("number", range(6))
def test_random_processes(number: int, tmp_path: Path) -> None:
    """Texts that no process could have, in every mode, each from one reading."""
    procps.same_characters_or_skip("pmap", bool(number % 2))
    made = random.Random(number)
    tree = Tree(tmp_path / "proc")
    commands: list[Sequence[str]] = []
    together = []
    for pid in made.sample(range(2, 99999), 5):
        starts = random_process(made, tree, pid)
        together.append(str(pid))
        commands += [["pmap", *filter(None, [mode]), str(pid)] for mode in MODES]
        for mode in ("", "-d"):
            low, high = sorted(max(made.choice(starts) + made.randint(-1, 1), 0) for _ in "ab")
            form = made.choice(["{:x},{:x}", "{:x}", "{:x},", ",{1:x}", "0x{:X},0x{:X}"])
            commands.append(["pmap", *filter(None, [mode]), "-A", form.format(low, high), str(pid)])
    commands.append(["pmap", *together, "2147483647"])
    commands.append(["pmap", "-x", *together])
    assert tree.compare(commands, utf8=bool(number % 2)) == len(commands)


COUNTERS = (
    "Size KernelPageSize MMUPageSize Rss Pss Pss_Dirty Shared_Clean Shared_Dirty Private_Clean "
    "Private_Dirty Referenced Anonymous KSM LazyFree AnonHugePages ShmemPmdMapped FilePmdMapped "
    "Shared_Hugetlb Private_Hugetlb Swap SwapPss Locked THPeligible ProtectionKey"
).split()
OLD_COUNTERS = (
    "Size Rss Pss Shared_Clean Shared_Dirty Private_Clean Private_Dirty Referenced Anonymous "
    "AnonHugePages Swap KernelPageSize MMUPageSize Locked"
).split()
UNITLESS = ("THPeligible", "ProtectionKey", "Number_New")


def random_name(made: random.Random) -> bytes:
    def part() -> bytes:
        return made.choice(
            [b"usr", b"lib", b"libc.so.6", b"a b", b" ", b"", b"x" * made.randrange(70)]
        )

    kind = made.randrange(10)
    if kind < 3:
        return b""
    if kind == 3:
        return made.choice(
            [
                b"[heap]",
                b"[stack]",
                b"[vdso]",
                b"[anon:a/b]",
                b"[anon:x y]",
                b"[stack:12]",
                b"anon_inode:[io_uring]",
                b"socket:[12]",
                b"/dev/zero (deleted)",
                b"/memfd:a b/c (deleted)",
            ]
        )
    if kind == 4:
        return b"/" + bytes(made.choice([*range(1, 10), *range(11, 256)]) for _ in range(40))
    return (
        b"/"
        + b"/".join(part() for _ in range(made.randrange(1, 5)))
        + made.choice([b"", b" (deleted)"])
    )


def random_process(made: random.Random, tree: Tree, pid: int) -> list[int]:
    """Adds a process to the tree; returns addresses where something starts or ends."""
    order = list(made.choice([COUNTERS, COUNTERS, OLD_COUNTERS]))
    for new in ("Kilobytes_New", "Number_New"):
        if made.random() < 0.3:
            order.insert(made.randrange(1, len(order)), new)
    maps = smaps = b""
    at = made.choice([0x1000, 0x400000, 0x55C000000000, 0x7F0000000000])
    starts = []
    for _ in range(made.choice([1, 2, 5, 30])):
        size = PAGE * made.choice([1, 2, 33, made.randrange(1, 1 << made.randrange(1, 28))])
        starts += [at, at + size]
        perms = made.choice(["r--p", "r-xp", "rw-p", "---p", "rw-s", "r--s", "--xp", "rwxp"])
        offset = made.choice([0, 0, PAGE, made.getrandbits(40) * PAGE])
        major = made.choice([0, 8, 254, 259, 1200])
        minor = made.choice([0, 1, 2, 255, 300, 70000])
        inode = made.choice([0, 7, 12345, made.getrandbits(made.randrange(1, 64))])
        head = f"{at:08x}-{at + size:08x} {perms} {offset:08x} {major:02x}:{minor:02x} {inode} "
        name = random_name(made)
        line = (head.ljust(73).encode() + name if name else head.encode())[:1000] + b"\n"
        maps += line
        smaps += line
        for counter in order:
            value = made.choice([0, 0, 0, 4, 8, made.getrandbits(made.randrange(1, 34))])
            unit = "" if counter in UNITLESS else " kB"
            smaps += f"{counter + ':':16}{value:8}{unit}\n".encode()
        flags = made.sample(
            ["rd", "wr", "ex", "mr", "mw", "me", "ac", "sd", "mg"], made.randrange(1, 6)
        )
        smaps += f"VmFlags: {' '.join(flags)} \n".encode()
        at += size + made.choice([0, 0, PAGE, 1 << 30])
    comm = bytes(made.choice([*range(1, 41), *range(42, 256)]) for _ in range(made.randrange(16)))
    stack = made.choice([*starts, starts[0] + 8, 0x123])
    stat = (
        b"%d (%b) %b 1 2 2 0 -1 4194304 %b20 0 1 0 218000 3000000 400 %d 94000 94001 %d %b0\n"
        % (
            pid,
            comm,
            made.choice([b"S", b"R", b"D", b"I"]),
            b"0 " * 8,
            2**64 - 1,
            stack,
            b"0 " * 23,
        )
    )
    cmdline = made.choice(
        [
            b"",
            b"cmd\0arg\0",
            made.randbytes(60),
            "é日本\x80".encode() + b"\0x",
            bytes(made.choice(b"\xc2\xe2\xf0\xc0\xf5\x80\x1bA\n\0") for _ in range(30)),
            b"long" * 40_000,
        ]
    )
    status = f"Name:\tx\nState:\tS (sleeping)\nTgid:\t{pid}\nPid:\t{pid}\nThreads:\t1\n".encode()
    tree.add(pid, maps=maps, smaps=smaps, stat=stat, status=status, cmdline=cmdline)
    return starts


# ---- every process of the machine ---------------------------------------------------------


@needs_pmap
@pytest.mark.parametrize("mode", ["", "-x", "-d", "-p", "-q"])
def test_every_process_of_the_machine(mode: str, target: Target) -> None:
    """Read only; one that moved between two readings is compared again."""
    pids = [*procps.listed(), target.pid]
    options = [*filter(None, [mode])]

    def read(run: Callable[[Sequence[str]], procps.Answer]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        # pmap 4.0.2 takes no more than 255 at once.
        for first in range(0, len(pids), 200):
            words = ["pmap", *options, *map(str, pids[first : first + 200])]
            found.update(procps.sections(run(words).out))
        return found

    before, mine, after = read(theirs), read(ours), read(theirs)
    compared = 0
    for pid in before.keys() & after.keys():
        if before[pid] == after[pid] and pid in mine:
            if mine[pid] != before[pid]:
                words = ["pmap", *options, str(pid)]
                procps.settled(words)
            compared += 1
    assert compared


@needs_pmap
@pytest.mark.parametrize("mode", ["-X", "-XX", "-Xp"])
def test_wide_tables_of_every_process(mode: str, target: Target) -> None:
    compared = 0
    for pid in [*procps.listed(), target.pid]:
        words = ["pmap", mode, str(pid)]
        compared += procps.settled(words, procps.steady)
    assert compared


@needs_pmap
def test_every_process_from_one_reading(tmp_path: Path, target: Target) -> None:
    tree = Tree(tmp_path / "proc")
    captured = [
        str(pid)
        for pid in [*procps.listed(), target.pid]
        # The tree can't show which device holds System V memory; see TestTables.
        if tree.capture(pid) and b"/SYSV" not in (tree.path / str(pid) / "maps").read_bytes()
    ]
    assert captured
    commands = [["pmap", *filter(None, [mode]), pid] for pid in captured for mode in MODES]
    tree.compare(commands)
    tree.compare([["pmap", "-x", pid] for pid in captured], utf8=True)


# ---- the surroundings ---------------------------------------------------------------------


@needs_pmap
@pytest.mark.parametrize(
    "env",
    [
        {},
        {"LANG": "C"},
        {"LANG": "C.UTF-8"},
        {"LC_CTYPE": "C.UTF-8"},
        {"LC_CTYPE": "C.UTF-8", "LANG": "C"},
        {"LC_ALL": "C", "LC_CTYPE": "C.UTF-8"},
        {"LC_ALL": "C.UTF-8", "LANG": "C"},
        {"LC_ALL": "POSIX"},
        {"LANG": "no_SUCH"},
    ],
    ids=repr,
)
def test_the_locale_is_found_as_c_finds_it(env: dict[str, str], start: Start) -> None:
    procps.same_characters_or_skip("pmap", "C.UTF-8" in env.values())
    target = start(args=["é日本".encode(), b"\xff\n\x01"])
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONPATH") if key in os.environ}

    def run(words: Sequence[str]) -> bytes:
        return subprocess.run(words, env=kept | env, capture_output=True, check=True).stdout

    words = ["pmap", str(target.pid)]
    assert run([sys.executable, "-m", "procmem", *words]) == run(words)


def test_a_terminal_gets_no_control_byte(hostile: Target) -> None:
    """Under a real terminal, in the modes whose names pmap lets out raw."""
    for mode in ("", "-x", "-X", "-XXp"):
        leader, follower = pty.openpty()
        words = [sys.executable, "-m", "procmem", "pmap", *filter(None, [mode]), str(hostile.pid)]
        child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=follower, env=procps.environment(utf8=True)
        )
        os.close(follower)
        shown = b""
        while True:
            select.select([leader], [], [], 60)
            try:
                shown += os.read(leader, 65536)
            except OSError:  # EIO: the other side is closed
                break
        os.close(leader)
        assert child.wait() == 0
        text = shown.decode()
        assert not [c for c in set(text) - {"\r", "\n"} if not c.isprintable()]
        assert shown.count(b"\r") == shown.count(b"\r\n") == shown.count(b"\n")
        # What can be shown is.
        assert "höhle-日本" in text or mode in ("", "-x")


def test_a_closed_pipe_ends_quietly(start: Start) -> None:
    target = start()
    target.regions(3000)
    child = subprocess.Popen(
        [sys.executable, "-m", "procmem", "pmap", "-X", str(target.pid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    child.wait()


def test_it_imports_no_more_than_it_needs(target: Target) -> None:
    """Else it would not start within three bare starts of Python."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "from procmem.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "print(*(set(sys.modules) - before), file=sys.stderr)\n"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "pmap", "-X", str(target.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"argparse", "dataclasses", "enum", "json", "psutil", "re", "subprocess", "typing"}
    assert not heavy & set(done.stderr.split())


@needs_pmap
def test_tables_of_many_regions(start: Start) -> None:
    target = start()
    target.regions(20_000)
    for mode in ("", "-x", "-XX"):
        words = ["pmap", *filter(None, [mode]), str(target.pid)]
        assert procps.settled(words, procps.steady)
