"""Tables at 60, 80 and 200 columns, from fixed data: each was looked at by eye."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from procmem import Snapshot
from procmem.heap.arena import HeapArena, Trim
from procmem.heap.heap import Heap
from procmem.ipc.ends import Pipe, Pipes
from procmem.ipc.holders import BlockedThread, PipeEnd
from procmem.ipc.shared import Segment, SegmentDescriptor, SegmentMapper, Segments
from procmem.ipc.waiting import Wait
from procmem.pages.cache import CacheUse
from procmem.process.doctor import Feature
from procmem.process.held import CachedFile
from procmem.process.reconcile import Comparison, Reconciliation
from procmem.process.stacks import LiveStack, RegionGroup, Stacks
from procmem.procfs import probes
from procmem.procfs.totals import MemoryUsage
from procmem.regions import parse_smaps
from procmem.snapshots import diff
from procmem.system.controlgroup import ControlGroup
from procmem.system.processes import MachineProcess
from procmem.view import container, family, trace
from procmem.view.cache import cache_table
from procmem.view.colours import show_colours
from procmem.view.diff import diff_table, snapshot_summary
from procmem.view.doctor import doctor_table
from procmem.view.experiment import story_text
from procmem.view.heap import heap_text
from procmem.view.maps import counter_table, grouped_table
from procmem.view.names import cells, show_only_ascii
from procmem.view.pipes import pipes_text
from procmem.view.reconcile import reconciliation_table
from procmem.view.recording import recording_summary
from procmem.view.shm import segments_text
from procmem.view.threads import stacks_text
from procmem.view.why import wait_table
from tests.support.families import made_family
from tests.support.goldens import same_as_golden
from tests.support.paths import FIXTURES
from tests.support.screens import made_process, made_recording, made_tree
from tests.support.stories import sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from procmem.regions import RegionTable

KIB, MIB = 1 << 10, 1 << 20
CUT = re.compile(r"\w\.\.\.|\.\.\.[\w/]")
SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")


def python() -> RegionTable[Any]:
    return parse_smaps((FIXTURES / "programs/python.smaps").read_bytes())


def snapshot(width: int) -> str:
    table = python()
    memory = MemoryUsage(**{
        **dict.fromkeys(MemoryUsage._fields, 0), "vsz": table.total("size"),
        "rss": table.total("rss"), "peak_vsz": 99 * MIB, "peak_rss": 55 * MIB,
    })  # fmt: skip
    return snapshot_summary(Snapshot(table, memory=memory, source="made"), width=width)


def changed(width: int) -> str:
    recording = made_recording(12)
    return diff_table(diff(recording[0], recording[4]), width=width, every=True)


def recorded(width: int) -> str:
    return recording_summary(made_recording(40, 30), 300, 1.5, width=width)


def heap(width: int) -> str:
    arenas = [
        HeapArena(0x7F0000000030 + number, number == 0, 100 * MIB, 40 * MIB, 3072, 512, 59 * MIB,
                  MIB, 50 * MIB, 48 * MIB >> 2 * number, 1000, (77, 78)[number:], 0x7F0000001000,
                  48, False)
        for number in range(2)
    ]  # fmt: skip
    trim = Trim(sum(arena.trimmable for arena in arenas), ())
    found = Heap(arenas, mmapped=3 * MIB, mmaps=2, python=None, doubts=(), trim=trim,
                 sizes={48: (10, 480), 4096: (3, 12288)}, pid=5, rss=300 * MIB)  # fmt: skip
    return heap_text(found, arenas=True, width=width)


def pipes(width: int) -> str:
    reader, writer = PipeEnd(1201, 3, "cat", 1, 81), PipeEnd(1202, 4, "generate-report", 2, 81)
    blocked = BlockedThread(1202, 1202, "write", "write")
    return pipes_text(
        Pipes(
            [
                Pipe(81, 0, None, 65536, 65536, 16, True, (reader,), (writer,), True, True,
                     (blocked,)),
                Pipe(82, 0, "/run/a-fifo/with/a/long/name.pipe", 65536, 0, 0, False, (), (writer,),
                     False, True, ()),
            ],
            2, [77], 0,
        ),
        width=width,
    )  # fmt: skip


def shared(width: int) -> str:
    mappers = tuple(SegmentMapper(n, "postgres", 4096, True) for n in range(10_001, 10_010))
    held = SegmentDescriptor(7, 3, "b"), SegmentDescriptor(7, 4, "b")
    return segments_text(
        Segments(
            [
                Segment("POSIX", False, "/dev/shm/PostgreSQL.2042311462", None, None, 0, 1,
                        16 * MIB, 9 * MIB, 0, mappers, (), None, None, None, 0, False),
                Segment("System V", False, "", 0x52, 7, 0, 1, 4096, 4096, 0, (), held, None, None,
                        None, 0, False),
            ],
            9, [77], 0,
        ),
        width=width,
    )  # fmt: skip


def stacks(width: int) -> str:
    worker = LiveStack(
        4711, "worker-7", "S", 0x7F1210000000, 0x7F1210800000, touched=2202010, in_use=4096,
        limit=8 * MIB, limited_by="its reserved size", guard=4096,
    )  # fmt: skip
    main = worker._replace(
        tid=4700, name="server", start=0x7FFF10000000, end=0x7FFF10021000, guard=None,
        touched=90 * KIB, limited_by="RLIMIT_STACK (setrlimit(2))",
    )  # fmt: skip
    unknown = LiveStack(4712, "go", "R", elsewhere="Go heap")
    groups = (
        RegionGroup("thread stacks and their guards", 24482, guess=False),
        RegionGroup("malloc arenas", 120, guess=True),
    )
    return stacks_text(
        Stacks((main, worker, unknown), pid=4700, regions=61204, max_regions=65530, groups=groups),
        width=width,
    )


def waits(width: int) -> str:
    return wait_table(
        [
            Wait(1201, 1201, "generate-report", "write", "pipe", "write", "pipe 81", 1, (1202,),
                 None, "", False),
            Wait(1202, 1207, "cat", "futex", "futex", "lock", "a mutex at 7f1234567890", None,
                 (1203,), 1204, "a time limit of 30 s", True),
            Wait(1203, 1204, "\x1b[2J日本語", "", "process", "end", "", None, (1201, 1202), None,
                 "", False),
        ],
        width=width,
    )  # fmt: skip


def cached(width: int) -> str:
    use = CacheUse(5 * MIB, 3 * MIB, 64 * KIB, 0, 128 * KIB, 4 * KIB, "cachestat")
    long = "/var/lib/postgresql/15/main/base/16384/" + "deep/" * 8 + "2619_fsm"
    return cache_table(
        [
            CachedFile(long, use, mapped=True),
            CachedFile("/var/log/syslog", use._replace(size=3 * MIB), opened=True),
            CachedFile("/nothing", use._replace(cached=0, evicted=0), opened=True),
        ],
        held=True, width=width,
    )  # fmt: skip


def relatives(width: int) -> str:
    return family.family_text(made_family(), width=width)


def reconciled(width: int) -> str:
    comparisons = [
        Comparison("Σ maps", 2924 * KIB, "VmSize (status)", 2920 * KIB, "gate"),
        Comparison("size (statm)", 2920 * KIB, "VmSize (status)", 2920 * KIB, None),
        Comparison("Σ smaps Private_Dirty", 108 * KIB, "Private_Dirty (smaps_rollup)", KIB, None),
    ]
    memory = MemoryUsage(**dict.fromkeys(MemoryUsage._fields, 0))
    return reconciliation_table(
        Reconciliation(5, comparisons, {}, moved=False, memory=memory, maps=None), width=width
    )


def doctor(width: int) -> str:
    return doctor_table(
        [
            Feature("PAGEMAP_SCAN", True, "finds resident pages without reading all", "", "probed"),
            Feature("cachestat(2)", False, "what is in the page cache", "dirty pages of files are "
                    "not known, and evicted ones", "Linux 6.5"),
        ],
        width,
    )  # fmt: skip


def grouped_by_container(width: int) -> str:
    saved = next((FIXTURES / "cgroups/linux-6.12-v2/tree/system.slice").iterdir())
    group = ControlGroup(str(saved))
    text = container.waterfall(group, None, width, "KiB", all_rows=False)
    return text + container.process_table(group, None, width, "KiB", None)


def traced(width: int) -> str:
    layout = trace.TraceLayout(width=width)
    table = trace.TraceTable(layout=layout)
    table.summary.rows = {
        "mmap": [18, 0, 4588 * KIB, 0], "munmap": [11, 0, -2640 * KIB, -80 * KIB],
        "brk": [5, 1, 452 * KIB, 0], "exit_group": [1, 0, 0, 0],
    }  # fmt: skip
    table.summary.between = [0, 1268 * KIB]
    region = "7f8bd2bf5000-7f8bd2bff000 rw-p anonymous"
    room = "32 KiB each: the heap has room, no system call"
    return (
        layout.heading()
        + layout.row(32724, "+260", "0", "mmap", "map 260 KiB rw- private anonymous", region)
        + layout.row(32724, "0", "+12", "malloc x3", room)
        + table.end()
    )


SHOWN: dict[str, Callable[[int], str]] = {
    "cache": cached,
    "container": grouped_by_container,
    "diff": changed,
    "doctor": doctor,
    "experiment": lambda width: story_text(sample(), width),
    "family": relatives,
    "family-regions": lambda width: family.region_table(made_family(), width=width),
    "heap": heap,
    "path": lambda width: grouped_table(python(), "path", width=width),
    "pipes": pipes,
    "reconcile": reconciled,
    "record": recorded,
    "shm": shared,
    "smaps": lambda width: counter_table(python(), width=width),
    "snapshot": snapshot,
    "threads": stacks,
    "trace": traced,
    "use": lambda width: grouped_table(python(), "use", width=width),
    "why": waits,
}


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Colours, characters and time zone do not depend on whose terminal runs the tests."""
    for name, value in (("TZ", "UTC"), ("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")):
        monkeypatch.setenv(name, value)
    for name in ("COLORTERM", "NO_COLOR", "FORCE_COLOR", "LINES"):
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    show_only_ascii(False)
    show_colours(256)
    yield
    show_colours(0)
    monkeypatch.undo()
    time.tzset()


def kept(name: str, width: int, text: str) -> None:
    """Compares with the golden; no line is wider than the screen, and nothing was cut at 200."""
    same_as_golden(f"{name}-{width}.ansi", text)
    lines = SEQUENCE.sub("", text).splitlines()
    assert max(map(cells, lines)) <= width
    assert width < 200 or not CUT.search(text)


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", SHOWN)
def test_goldens(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tables of older kernels have a line more.
    monkeypatch.setattr(probes, "has_pagemap_scan", lambda: True)
    kept(name, width, SHOWN[name](width))


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("words", [(), ("--by", "user"), ("--by", "tree"), ("--memory",)])
def test_goldens_of_top(
    words: tuple[str, ...],
    width: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from procmem.cli import main

    root = made_tree(tmp_path / "proc")
    made_process(root, 1, "systemd", 12_000, pss=9_000)
    made_process(root, 812, "postgres", 180_000, pss=90_000, words=["postgres", "-D", "/var/lib"])
    made_process(root, 99_813, "postgres", 240_000, words=["postgres: writer"])
    monkeypatch.setattr(MachineProcess, "user", "postgres")
    monkeypatch.setenv("COLUMNS", str(width))
    main(["top", "--once", "--color", "always", "--root", str(root), *words])
    text = capsys.readouterr().out
    if words == ("--memory",):
        # What is below the table depends on how the kernel was configured.
        text = "\n\n".join(text.split("\n\n")[:2]) + "\n"
    kept("-".join(("top", *words)).replace("---by", "").replace("---", "-"), width, text)
