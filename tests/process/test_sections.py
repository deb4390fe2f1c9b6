"""sections() and objects(): ELF files in place, over targets whose pages are known."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.elf import size
from procmem.elf.loaded import length
from procmem.process import sections as module
from procmem.procfs import mapped, probes
from tests.support.objects import holding, named, objects_of, own
from tests.support.still import at_rest
from tests.support.targets import NOBODY, PAGE, VARIANTS, Advice, Mapping, Target, machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from procmem.elf.loaded import LiveSection

    Start = Callable[..., Target]
    Build = Callable[[str], Path]


def inside(length_: int, address: int) -> Mapping:
    """The whole pages of a variable."""
    start = -(-address // PAGE) * PAGE
    return Mapping(start, (address + length_) // PAGE * PAGE - start)


# ---- where sections are --------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_the_known_parts_lie_in_their_sections(start: Start, variant: Build, name: str) -> None:
    binary = variant(name)
    built = VARIANTS[name]
    target = start(binary)
    truths = target.truths
    live = own(target)

    def at(address: int, span: int = 1) -> LiveSection:
        (found,) = [
            section
            for section in live.sections
            if section.region and section.address <= address < section.address + section.size
        ]
        assert address + span <= found.address + found.size
        assert found.region is not None
        assert found.address in found.region
        return found

    assert (live.path, live.state, live.reason) == (os.fspath(binary), "same", "")
    assert live.owner is procmem.Owner.EXECUTABLE
    assert live.start == truths.image
    assert at(truths.main).name == ".text"
    assert at(truths.data, truths.data_bytes).name == ".data"
    assert at(truths.bss, truths.bss_bytes).name == ".bss"
    assert at(truths.rodata, truths.rodata_bytes).name == ".rodata"
    absolute = name in ("no-pie", "old-style")  # addresses are known when it is linked
    names = (".rodata",) if absolute else (".data.rel.ro", ".data.rel.ro.local")
    assert at(truths.relro, 16).name in names
    assert built.bss < 1 << 20 or named(live, ".bss").region is not None
    sizes = size(binary)
    sums = dict.fromkeys(("text", "data", "bss"), 0)
    for section in live.sections:
        sums[section.counts_as] += section.size
    assert sums == {"text": sizes.text, "data": sizes.data, "bss": sizes.bss}


@pytest.mark.parametrize("name", VARIANTS)
def test_kinds_are_told_by_the_headers(start: Start, variant: Build, name: str) -> None:
    target = start(variant(name))
    truths = target.truths
    table, _ = module.objects_of(procmem.Process(target.pid).files)

    def told(address: int) -> tuple[str, str]:
        region = table.find(address)
        assert region is not None
        return region.kind.value, region.kind_evidence

    rodata = "text" if name in ("noseparate-code", "old-style") else "rodata"
    assert told(truths.main) == ("text", "elf")
    assert told(truths.rodata) in ((rodata, "elf"), ("text", "elf"))
    assert told(truths.data) == ("data", "elf")
    if name not in ("no-pie", "old-style"):
        assert told(truths.relro) == ("data" if name == "norelro" else "relro", "elf")
    if VARIANTS[name].bss > 1 << 20:
        assert told(truths.bss + truths.bss_bytes // 2) == ("bss", "elf")


@pytest.mark.parametrize("name", ["big", "static", "no-pie", "library"])
def test_readelf_says_the_same(start: Start, variant: Build, name: str) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")
    target = start(variant(name))
    for live in objects_of(target):
        if live.state == "kernel":
            continue
        text = subprocess.run(
            ["readelf", "-SW", live.path], capture_output=True, text=True, check=True
        ).stdout
        wanted = []
        for line in text.splitlines():
            fields = line.partition("]")[2].split()
            if len(fields) >= 10 and "A" in fields[6]:
                wanted.append((fields[0], int(fields[2], 16), int(fields[4], 16)))
        assert wanted == [(s.name, s.address - live.bias, s.size) for s in live.sections]


def test_every_library_the_loader_and_the_vdso_are_there(target: Target) -> None:
    objects = objects_of(target)
    truths = target.truths
    assert [live.start for live in objects] == sorted(live.start for live in objects)
    libc = holding(objects, truths.libc_text)
    assert libc.owner is procmem.Owner.LIBRARY
    assert holding(objects, truths.libc_data) is libc
    assert holding(objects, truths.loader).owner is procmem.Owner.LOADER
    if truths.vdso:
        vdso = holding(objects, truths.vdso)
        assert (vdso.path, vdso.state, vdso.owner) == ("[vdso]", "kernel", None)
        assert vdso.build_id
        assert {".dynsym", ".text"} <= {section.name for section in vdso.sections}
    assert all(live.build_id == live.file_build_id for live in objects if live.state == "same")


def test_thread_local_memory_is_not_in_the_image(target: Target) -> None:
    libc = holding(objects_of(target), target.truths.libc_text)
    tbss = named(libc, ".tbss")
    assert tbss.size > 0
    assert (tbss.region, tbss.resident, tbss.private, tbss.swapped) == (None, 0, 0, 0)


# ---- bytes, page by page -------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["big", "static", "static-pie", "no-pie", "noseparate-code", "old-style", "norelro"]
)
def test_touched_pages_show_in_their_section_alone(start: Start, variant: Build, name: str) -> None:
    target = start(variant(name))
    truths = target.truths
    bss = inside(truths.bss_bytes, truths.bss)
    data = inside(truths.data_bytes, truths.data)
    # Variables of the program and of a static libc are in the same sections.
    target.touch(bss.page(0), 1)
    target.touch(data.page(0), 1)
    before = own(target)
    target.touch(bss.page(10, 100))
    target.touch(data.page(20, 7))
    after = own(target)
    assert named(after, ".bss").resident - named(before, ".bss").resident == 100 * PAGE
    assert named(after, ".bss").private - named(before, ".bss").private == 100 * PAGE
    assert named(after, ".data").private - named(before, ".data").private == 7 * PAGE
    assert after.private - before.private == 107 * PAGE
    # Reading gives the zero page, which is nobody's; older kernels do not show which it is.
    target.read(bss.page(500, 50))
    zeros = 0 if probes.has_pagemap_scan() else 50 * PAGE
    assert named(own(target), ".bss").resident == named(after, ".bss").resident + zeros
    rodata = inside(truths.rodata_bytes, truths.rodata)
    target.read(rodata)
    section = named(own(target), ".rodata")
    assert section.private == 0
    assert section.resident >= rodata.size


def test_a_partly_touched_section_counts_its_own_bytes(start: Start, variant: Build) -> None:
    target = start(variant("big"))
    truths = target.truths
    target.touch(Mapping((truths.bss + truths.bss_bytes - 1) // PAGE * PAGE, PAGE))
    live = own(target)
    section = named(live, ".bss")
    assert section.size % PAGE
    assert section.resident % PAGE
    assert section.resident < section.size


def test_pages_given_back_are_gone(start: Start, variant: Build) -> None:
    target = start(variant("big"))
    truths = target.truths
    data = inside(truths.data_bytes, truths.data)
    target.touch(data)
    assert named(own(target), ".data").private >= data.size
    target.madvise(data, Advice.DONTNEED)
    assert named(own(target), ".data").private <= VARIANTS["big"].data - data.size + 2 * PAGE


def zero_pages(process: procmem.Process) -> dict[int, int]:
    """Bytes of the zero page in each region that has any."""
    found = {}
    for region in process.maps():
        if region.start >> 63:
            continue  # [vsyscall] has no page map
        zero = process.pagemap(region.start, region.end).counts().zero
        if zero is None:
            pytest.skip("kernel feature missing: PAGEMAP_SCAN, which finds the zero page")
        found[region.start] = zero * PAGE
    return {start: size for start, size in found.items() if size}


@pytest.mark.parametrize("name", ["plain", "big", "static", "no-pie", "norelro", "library"])
@pytest.mark.parametrize("fallback", [False, True], ids=["PAGEMAP_SCAN", "pagemap"])
def test_the_sums_are_those_of_the_regions(
    start: Start, variant: Build, name: str, fallback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = start(variant(name))
    process = procmem.Process(target.pid)
    zeros = {}
    if fallback or not probes.has_pagemap_scan():
        # Eight bytes of pagemap don't say which pages are the zero page: they count as resident.
        zeros = zero_pages(process)
        monkeypatch.setattr(probes, "has_pagemap_scan", lambda: False)
    smaps, residency, objects = at_rest(
        process, lambda: (process.smaps(), process.residency(), process.objects())
    )
    measured = {region.start: region for region in smaps}
    resident = {region.start: region for region in residency}
    for live in objects:
        regions = [measured[region.start] for region in live.regions]
        if regions[-1].pathname is None and regions[-1].end > live.pieces[-1][1]:
            # The kernel has joined bss with anonymous memory that happens to lie behind it.
            joined = sum(r.size for r in regions) - regions[-1].end + live.pieces[-1][1]
            assert joined == live.size
            continue
        assert sum(r.size for r in regions) == live.size == length(live.pieces) + live.gaps
        if live.state == "kernel":
            continue  # smaps counts it otherwise on some kernels
        zero = sum(zeros.get(region.start, 0) for region in regions)
        assert sum(r.rss or 0 for r in regions) + zero == live.resident
        assert sum(resident[r.start].rss or 0 for r in regions) == live.resident
        assert sum(r.anonymous or 0 for r in regions) + zero == live.private
        assert sum(r.swap or 0 for r in regions) == live.swapped
        sections = live.sections
        assert sum(s.resident for s in sections) + live.rest.resident == live.resident
        assert sum(s.private for s in sections) + live.rest.private == live.private
        assert sum(s.swapped for s in sections) + live.rest.swapped == live.swapped
        assert sum(s.size for s in sections if s.region) + live.rest.size == live.size


def test_swapped_bytes(start: Start, variant: Build) -> None:
    with machine.swap() as setting:
        setting.or_skip()
        target = start(variant("big"))
        data = inside(target.truths.data_bytes, target.truths.data)
        target.touch(data)
        for _ in range(50):  # the kernel may pass over a page that is on its way to the LRU
            target.madvise(data.page(0, 64), Advice.PAGEOUT)
            section = named(own(target), ".data")
            if section.swapped == 64 * PAGE:
                break
        if not section.swapped:
            pytest.skip("kernel feature missing: MADV_PAGEOUT to swap")
        assert section.swapped == 64 * PAGE
        assert section.resident + section.swapped >= data.size


def test_what_relocation_cost(start: Start, variant: Build) -> None:
    target = start(variant("now"))
    live = own(target)
    assert live.copied[".data.rel.ro"] == named(live, ".data.rel.ro").size
    assert 0 < live.relocation_cost <= sum(live.copied.values())
    assert live.relocation_cost < sum(live.copied.values())


# ---- the bridge ----------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_the_bridge_ends_with_nothing_left(start: Start, variant: Build, name: str) -> None:
    target = start(variant(name))
    maps = procmem.Process(target.pid).maps()
    for live in objects_of(target):
        steps = {step.what: step.bytes for step in live.bridge()}
        assert steps.pop("remainder") == 0
        assert steps.pop("VSZ") == live.size == sum(steps.values())
        if live.state == "same":
            sizes = size(live.path)
            assert (steps["text"], steps["data"], steps["bss"]) == (
                sizes.text, sizes.data, sizes.bss,
            )  # fmt: skip
            of_file = [r.size for r in maps if r.pathname == live.path]
            assert sum(of_file) <= live.size


def test_pages_that_are_unmapped_are_in_the_bridge(start: Start, variant: Build) -> None:
    target = start(variant("big"))
    rodata = inside(target.truths.rodata_bytes, target.truths.rodata)
    target.unmap(rodata.page(3, 10))
    live = own(target)
    steps = {step.what: step.bytes for step in live.bridge()}
    assert steps["not mapped"] == -10 * PAGE
    assert steps["remainder"] == 0


# ---- where a file was put --------------------------------------------------------


def test_a_file_that_is_read_as_data_is_not_loaded(target: Target, variant: Build) -> None:
    path = variant("big")
    pages = -(-path.stat().st_size // PAGE)
    target.map_file(path, pages)
    target.map_file(path, pages, "rw-p")
    assert [live.path for live in objects_of(target)].count(os.fspath(path)) == 0


def test_a_file_that_is_loaded_and_read_as_data(start: Start, variant: Build) -> None:
    path = variant("big")
    target = start(path)
    target.map_file(path, -(-path.stat().st_size // PAGE))
    (live,) = [live for live in objects_of(target) if live.path == os.fspath(path)]
    assert live.start == target.truths.image
    assert live.bridge()[-1].bytes == 0


# ---- who may look ----------------------------------------------------------------


def test_a_process_of_another_user(start: Start, variant: Build, is_root: bool) -> None:
    if not is_root:
        with pytest.raises(procmem.AccessDenied):
            procmem.Process(1).sections()
        return
    target = start(variant("big"), user=NOBODY)
    assert named(own(target), ".data").private
    done = machine.as_nobody(
        "import sys, procmem\n"
        "print(len([s for s in procmem.Process(int(sys.argv[1])).sections()]) > 50)\n"
        "try: procmem.Process(int(sys.argv[2])).sections()\n"
        "except procmem.AccessDenied: print('denied')\n",
        target.pid,
        os.getpid(),
    )
    assert done.stdout.split() == ["True", "denied"], done.stderr


def test_one_that_has_ended_and_one_that_execs(start: Start, variant: Build) -> None:
    target = start(variant("big"))
    process = procmem.Process(target.pid)
    before = process.sections()
    target.exec(variant("no-pie"))
    after = process.sections()
    assert {s.path for s in before} != {s.path for s in after}
    target.exit(0)
    with pytest.raises((procmem.NoSuchProcess, procmem.ZombieProcess)):
        process.sections()


# ---- what kernels lack ---------------------------------------------------------------


def test_without_build_ids_from_the_kernel(
    start: Start, variant: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = start(variant("big"))
    before = objects_of(target)
    monkeypatch.setattr(mapped, "_query_refused", True)
    after = objects_of(target)
    assert [(x.state, x.build_id) for x in before] == [(x.state, x.build_id) for x in after]


def test_a_second_look_opens_no_file(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    before = procmem.Process(target.pid).sections()

    def opened(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "open_link", opened)
    assert procmem.Process(target.pid).sections() == before


# ---- the command -------------------------------------------------------------------------


def test_loading_it_is_put_off() -> None:
    code = "import sys, procmem.process; print([m for m in sys.modules if '.elf' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
