"""Mapping: bytes, views, faults, parts, locking, advice, fork."""

from __future__ import annotations

import copy
import ctypes
import errno
import gc
import hashlib
import os
import pickle
import signal
import struct
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import procmem
from procmem import (
    Mapping,
    MemoryFault,
    ProcmemError,
    SyscallError,
    calls,
    mmap,
    procfs,
)
from procmem.calls.constants import prot_of, show_prot
from procmem.procfs import probes
from tests.support.calls import alone, in_slot, regions, run
from tests.support.specimens import in_memory
from tests.support.targets import PAGE, machine, needs

if TYPE_CHECKING:
    from collections.abc import Callable


SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR = 1, 2, 2


def small(mapping: Mapping) -> Mapping:
    """In pages of the machine's size, whatever its settings."""
    try:
        mapping.advise("nohugepage")
    except SyscallError as error:
        assert error.errno == errno.EINVAL
    return mapping


# ---- what is mapped ----


@pytest.mark.parametrize(
    "options, perms",
    [
        ({}, "rw-p"),
        ({"prot": "r"}, "r--p"),
        ({"prot": ""}, "---p"),
        ({"prot": "rx"}, "r-xp"),
        ({"shared": True}, "rw-s"),
        ({"flags": calls.Map.MAP_SHARED}, "rw-s"),
        ({"noreserve": True}, "rw-p"),
    ],
)
def test_the_region_is_there_and_gone(options: dict[str, Any], perms: str) -> None:
    memory = in_slot(5, **options)
    address = memory.address
    assert regions(memory) == [(0, 5, perms)]
    assert memory.prot == prot_of(perms[:3])
    assert (memory.size, memory.pages, memory.page_size) == (5 * PAGE, 5, PAGE)
    assert memory.shared is (perms[3] == "s")
    assert perms in repr(memory)
    memory.close()
    assert procmem.Process().region_at(address) is None
    assert memory.closed
    assert repr(memory) == "<procmem.Mapping, closed>"
    memory.close()


def test_a_length_is_rounded_up_to_pages() -> None:
    with mmap(PAGE + 1) as memory:
        assert (memory.length, len(memory), memory.size) == (PAGE + 1, PAGE + 1, 2 * PAGE)
        assert len(memoryview(memory)) == PAGE + 1


def test_files(file: Path) -> None:
    content = file.read_bytes()
    with open(file, "rb") as opened:
        for what in (file, str(file), os.fsencode(file), opened, opened.fileno()):
            with mmap(file=what, prot="r") as memory:
                assert bytes(memory) == content
        with mmap(PAGE, file=opened, offset=2 * PAGE, prot="r") as memory:
            assert bytes(memory) == b"C" * PAGE
        with mmap(file=opened, offset=PAGE) as memory:
            memory[0] = 1
            assert memory.length == 3 * PAGE
    assert file.read_bytes() == content
    with mmap(file=file, shared=True) as memory:
        memory[PAGE : PAGE + 3] = b"new"
        memory.sync()
        memory.sync(PAGE, PAGE, flags=calls.Msync.MS_ASYNC)
        region = procmem.Process().region_at(memory.address)
        assert region is not None
        assert (region.pathname, region.perms) == (str(file), "rw-s")
    assert file.read_bytes()[PAGE : PAGE + 3] == b"new"


def test_no_descriptor_is_left_open(file: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    procmem.Process().maps()
    gc.collect()  # what earlier tests have left may hold some
    before = descriptors()
    for close in (True, False):
        memory = mmap(file=file)
        if close:
            memory.close()
        del memory
    with pytest.raises(SyscallError):
        mmap(file=file.parent)
    with pytest.raises(ValueError, match="none after offset"):
        mmap(file=file, offset=8 * PAGE)
    assert descriptors() == before


def test_collected_means_unmapped() -> None:
    memory = in_slot(2)
    address, view = memory.address, memoryview(memory)
    del memory
    gc.collect()
    assert procmem.Process().region_at(address) is not None
    view[0] = 7
    assert view[0] == 7
    del view
    gc.collect()
    assert procmem.Process().region_at(address) is None


def test_mappings_are_not_copied() -> None:
    with mmap(1) as memory:
        for doubled in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                doubled(memory)


# ---- bytes ----


def test_bytes_as_in_a_bytearray() -> None:
    with mmap(3 * PAGE) as memory:
        model = bytearray(3 * PAGE)
        for target in (memory, model):
            target[5] = 77
            target[-1] = 78
            target[PAGE - 2 : PAGE + 2] = b"abcd"
            target[10:10] = b""
        for key in (5, -1, slice(None), slice(3, 9), slice(9, 3), slice(-4, None)):
            assert memory[key] == model[key]
        for key in (slice(None, None, 7), slice(None, None, -1), slice(9, 2, -3), slice(5, 5, 2)):
            assert memory[key] == bytes(model[key])
        assert bytes(memory) == bytes(model)
        assert hashlib.sha256(memory).digest() == hashlib.sha256(model).digest()


@pytest.mark.parametrize("index", [3 * PAGE, -3 * PAGE - 1, 1 << 70])
def test_indexes_outside(index: int) -> None:
    with mmap(3 * PAGE) as memory:
        with pytest.raises(IndexError):
            memory[index]
        with pytest.raises(IndexError):
            memory[index] = 1


def test_assignments_that_do_not_fit() -> None:
    with mmap(PAGE) as memory:
        for value in (b"abcd", b"ab", 3, 1 << 40):
            with pytest.raises(ValueError, match="of the same length"):
                memory[0:3] = value
        with pytest.raises(ValueError, match="memoryview"):
            memory[0:8:2] = b"abcd"
        with pytest.raises(ValueError):
            memory[0] = 256
        assert bytes(memory) == bytes(PAGE)


# ---- views ----


def test_views() -> None:
    with mmap(2 * PAGE) as memory:
        with memoryview(memory) as view:
            assert (view.format, view.itemsize, view.shape, view.strides) == ("B", 1, (8192,), (1,))
            assert (view.readonly, view.contiguous, view.obj) == (False, True, memory)
            view[PAGE : PAGE + 3] = b"xyz"
            assert view[PAGE:].cast("H")[0] == int.from_bytes(b"xy", sys.byteorder)
        assert memory[PAGE : PAGE + 3] == b"xyz"
        number = ctypes.c_uint32.from_buffer(memory, 4)
        number.value = 0x01020304
        assert memory[4:8] == (0x01020304).to_bytes(4, sys.byteorder)
        with pytest.raises(BufferError):
            memory.close()
        del number
        with open("/dev/zero", "rb", buffering=0) as zeros:
            assert zeros.readinto(memory) == 2 * PAGE
        assert bytes(memory) == bytes(2 * PAGE)


def test_what_is_lent_stays_mapped() -> None:
    with mmap(4 * PAGE) as memory:
        view = memoryview(memory)
        part = view[PAGE:]
        view.release()
        for change in (
            memory.close,
            lambda: memory.unmap(0, PAGE),
            lambda: memory.protect("r"),
            lambda: memory.resize(pages=8),
            lambda: memory.advise("guard_install"),
            lambda: calls.munmap(memory.address, PAGE),
            lambda: calls.mprotect(memory.address, PAGE, ""),
            lambda: calls.mremap(memory.address, 4 * PAGE, PAGE),
        ):
            with pytest.raises(BufferError, match="in use") as caught:
                change()
            assert isinstance(caught.value, ProcmemError)
        assert memory.touch().pages == 4
        memory.advise("dontneed")
        assert part[0] == 0
        part.release()


def test_views_of_memory_that_may_not_be_written() -> None:
    with mmap(PAGE, prot="r") as memory:
        view = memoryview(memory)
        assert view.readonly
        with pytest.raises(TypeError):
            view[0] = 1
        view.release()
        with pytest.raises(TypeError):
            struct.pack_into("I", memory, 0, 1)


def test_no_views_that_would_kill(file: Path) -> None:
    with mmap(PAGE, prot="") as memory, pytest.raises(BufferError, match="kill"):
        memoryview(memory)
    with mmap(2 * PAGE) as memory:
        memory.protect("", PAGE)
        with pytest.raises(BufferError, match="kill"):
            memoryview(memory)
        memory.protect("rw", PAGE)
        memoryview(memory).release()
        memory.unmap(PAGE)
        with pytest.raises(BufferError, match="unmapped"):
            memoryview(memory)
    with mmap(file=file, prot="r") as memory:
        memoryview(memory).release()
        os.truncate(file, PAGE)
        with pytest.raises(BufferError, match="ends after 4096"):
            memoryview(memory)
    with mmap(2 * PAGE, file=file, prot="r") as memory:
        with pytest.raises(BufferError, match="ends after 4096"):
            memoryview(memory)
        os.truncate(file, PAGE + 1)
        memoryview(memory).release()


def test_guards() -> None:
    with in_slot(3) as memory:
        memory.touch()
        with needs("MADV_GUARD_INSTALL"):
            memory.advise("guard_install", PAGE, PAGE)
        with pytest.raises(BufferError, match="kill"):
            memoryview(memory)
        with pytest.raises(MemoryFault) as caught:
            memory.touch()
        assert caught.value.address == memory.address + PAGE
        memory.advise("guard_remove", PAGE, PAGE)
        assert memory.touch()[0] == 3
        memoryview(memory).release()


# ---- faults ----


def check(error: MemoryFault, address: int, number: int, code: int) -> None:
    assert (error.address, error.signal, error.code) == (address, number, code)


@pytest.mark.parametrize("prot, reads, writes", [("", False, False), ("r", True, False)])
def test_access_that_is_not_allowed(prot: str, reads: bool, writes: bool) -> None:
    with in_slot(4, prot=prot) as memory:
        at = memory.address + 2 * PAGE
        attempts: list[tuple[bool, Callable[[], object]]] = [
            (writes, lambda: memory.touch(1, 2)),
            (writes, lambda: memory.__setitem__(2 * PAGE, 1)),
            (writes, lambda: memory.__setitem__(slice(2 * PAGE, 2 * PAGE + 9), bytes(9))),
            (reads, lambda: memory.touch(1, 2, write=False)),
            (reads, lambda: memory[2 * PAGE]),
            (reads, lambda: memory[2 * PAGE : 3 * PAGE]),
        ]
        for allowed, attempt in attempts:
            if allowed:
                attempt()
            else:
                with pytest.raises(MemoryFault) as caught:
                    attempt()
                check(caught.value, at, signal.SIGSEGV, SEGV_ACCERR)


def test_behind_the_end_of_a_file(file: Path) -> None:
    with mmap(6 * PAGE, file=file) as memory:
        assert memory.touch(4).pages == 4
        with pytest.raises(MemoryFault) as caught:
            memory.touch()
        check(caught.value, memory.address + 4 * PAGE, signal.SIGBUS, BUS_ADRERR)
        os.truncate(file, 0)
        # Pages that were written to were private copies, and are cut off too.
        for attempt in (lambda: bytes(memory), lambda: memory[5], memory.touch):
            with pytest.raises(MemoryFault) as caught:
                attempt()
            assert caught.value.signal == signal.SIGBUS


def test_unmapped_behind_our_back() -> None:
    with in_slot(3) as memory:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.munmap(ctypes.c_void_p(memory.address + PAGE), ctypes.c_size_t(PAGE)) == 0
        with pytest.raises(MemoryFault) as caught:
            memory.touch()
        check(caught.value, memory.address + PAGE, signal.SIGSEGV, SEGV_MAPERR)
        with pytest.raises(MemoryFault):
            bytes(memory)


def caught_signals() -> int:
    """Without 32 and 33, which glibc catches for itself once there are threads."""
    mask = int(procfs.parse_status(Path("/proc/self/status").read_bytes())["SigCgt"], 16)
    return mask & ~(0b11 << 31)


def blocked_signals() -> str:
    return procfs.parse_status(Path("/proc/thread-self/status").read_bytes())["SigBlk"]


def test_handlers_and_masks_are_put_back() -> None:
    with mmap(PAGE, prot="") as memory:
        handlers, mask = caught_signals(), blocked_signals()
        with pytest.raises(MemoryFault):
            memory.touch()
        assert (caught_signals(), blocked_signals()) == (handlers, mask)
        # The kernel ends a thread that faults while it blocks the signal.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSEGV, signal.SIGBUS})
        try:
            mask = blocked_signals()
            with pytest.raises(MemoryFault):
                memory.touch()
            assert blocked_signals() == mask
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGSEGV, signal.SIGBUS})


def test_other_faults_still_kill() -> None:
    done = run(
        """
        import ctypes, faulthandler
        faulthandler.enable()
        closed = mmap(1, prot="")
        fault(closed.touch)
        print("alive", flush=True)
        ctypes.string_at(0)
        """
    )
    assert (done.stdout, done.returncode) == ("alive\n", -signal.SIGSEGV)
    assert "Segmentation fault" in done.stderr


@pytest.mark.parametrize("dump", [False, True])
def test_a_fault_of_another_thread_kills_while_one_touches(dump: bool) -> None:
    done = run(
        f"""
        import ctypes
        if {dump}:
            import faulthandler
            faulthandler.enable()
        memory = mmap(pages=64)
        order = list(range(64)) * 20_000
        threading.Timer(0.1, ctypes.string_at, [0]).start()
        while True:
            memory.touch(order=order)
        """
    )
    assert done.returncode == -signal.SIGSEGV
    assert ("Segmentation fault" in done.stderr) is dump


def test_signals_that_are_sent_go_to_their_handler() -> None:
    said = alone(
        """
        seen = []
        signal.signal(signal.SIGSEGV, lambda number, frame: seen.append(number))
        memory = mmap(pages=64)
        order = list(range(64)) * 20_000
        me = threading.get_ident()
        def send():
            for _ in range(50):
                signal.pthread_kill(me, signal.SIGSEGV)
        sender = threading.Thread(target=send)
        sender.start()
        while sender.is_alive() or not seen:
            memory.touch(order=order)
        sender.join()
        said["seen"] = set(seen) == {signal.SIGSEGV}
        """
    )
    assert said == {"seen": True}


@pytest.mark.parametrize("disposition, status", [("SIG_IGN", 0), ("SIG_DFL", -signal.SIGBUS)])
def test_signals_that_are_sent_and_ignored_or_not(disposition: str, status: int) -> None:
    done = run(
        f"""
        signal.signal(signal.SIGBUS, signal.{disposition})
        memory = mmap(pages=64)
        order = list(range(64)) * 20_000
        sent = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGBUS])
        sent.start()
        while sent.is_alive():
            memory.touch(order=order)
        """
    )
    assert done.returncode == status


def test_each_thread_has_its_own_faults() -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        with in_slot(8, prot="r" if number % 2 else "") as memory:
            for turn in range(200):
                page = turn % 8
                try:
                    memory.touch(1, page)
                except MemoryFault as error:
                    if error.address == memory.address + page * PAGE and error.code == SEGV_ACCERR:
                        continue
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    # With the first thread of a process glibc installs its handler of SIGSETXID (33).
    idle = threading.Thread(target=int)
    idle.start()
    idle.join()
    handlers = caught_signals()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert caught_signals() == handlers


def test_a_mapping_that_another_thread_uses_is_not_unmapped() -> None:
    said = alone(
        """
        memory = mmap(pages=64)
        order = list(range(64)) * 50_000
        toucher = threading.Thread(target=memory.touch, kwargs={"order": order})
        toucher.start()
        refused = 0
        while toucher.is_alive():
            try:
                memory.close()
                break
            except BufferError:
                refused += 1
        toucher.join()
        memory.close()
        said["refused"] = refused > 0
        said["closed"] = memory.closed
        """
    )
    assert said["closed"]


# ---- touching ----


def test_orders_count_what_they_touch() -> None:
    for options, touched in (
        ({}, range(16)),
        ({"pages": 3}, range(3)),
        ({"pages": 3, "start": 5}, range(5, 8)),
        ({"stride": 3}, range(0, 16, 3)),
        ({"start": 1, "stride": 4, "order": "backward"}, range(1, 16, 4)),
        ({"order": "random", "seed": 4}, range(16)),
        ({"order": [9, 2, 9]}, (2, 9)),
        ({"pages": 0}, ()),
        ({"start": 16}, ()),
    ):
        with small(in_slot(16)) as memory:
            result = memory.touch(**options)
            assert (result.minor, result.major) == (len(set(touched)), 0), options
            core = memory.mincore()
            assert [page for page in range(16) if core[page]] == sorted(set(touched)), options
            assert memory.residency() == (len(set(touched)) * PAGE,) * 2 + (0,)


@pytest.mark.parametrize(
    "options",
    [
        {"pages": 5},
        {"pages": -1},
        {"start": -1},
        {"stride": 0},
        {"pages": 2, "start": 3},
        {"pages": 2, "stride": 4},
        {"order": [4]},
        {"order": [-1]},
        {"order": [1], "pages": 1},
        {"order": "sideways"},
        {"pages": 1 << 70},
    ],
)
def test_touches_outside(options: dict[str, Any]) -> None:
    with mmap(pages=4) as memory:
        with pytest.raises(ValueError):
            memory.touch(**options)
        assert memory.residency().resident == 0


def test_touching_changes_no_byte() -> None:
    with mmap(pages=4) as memory:
        memory[:] = os.urandom(4 * PAGE)
        before = bytes(memory)
        memory.touch()
        memory.touch(write=False, order="random")
        assert bytes(memory) == before


# ---- parts ----


def test_parts_are_protected_and_unmapped() -> None:
    with in_slot(10) as memory:
        memory[: 10 * PAGE] = bytes(range(10)) * PAGE
        memory.protect("r", 2 * PAGE, 3 * PAGE)
        assert regions(memory) == [(0, 2, "rw-p"), (2, 5, "r--p"), (5, 10, "rw-p")]
        assert memory.prot is None
        memory.unmap(4 * PAGE, 2 * PAGE)
        assert regions(memory) == [(0, 2, "rw-p"), (2, 4, "r--p"), (6, 10, "rw-p")]
        assert (memory.mapped, memory.size, len(memory)) == (8 * PAGE, 10 * PAGE, 10 * PAGE)
        assert memory[0 : 4 * PAGE] == (bytes(range(10)) * PAGE)[: 4 * PAGE]
        assert memory[-1] == 9
        for use in (
            lambda: memory[4 * PAGE],
            lambda: memory[:],
            lambda: bytes(memory),
            lambda: memory.__setitem__(5 * PAGE, 1),
            memory.touch,
            memory.lock,
            memory.sync,
            memory.mincore,
            lambda: memory.advise("dontneed"),
            lambda: memory.protect("rw"),
            lambda: memory.unmap(3 * PAGE, 2 * PAGE),
            lambda: memory.resize(pages=20),
        ):
            with pytest.raises(ValueError, match="have been unmapped"):
                use()
        assert memory.touch(order=[0, 1, 9]).pages == 3
        assert memory.touch(2, 1, stride=7, write=False).pages == 2
        address = memory.address
    assert not [r for r in procmem.Process().maps() if address <= r.start < address + 10 * PAGE]


def test_what_fills_a_hole_is_left_alone() -> None:
    memory = in_slot(3)
    memory.unmap(PAGE, PAGE)
    with mmap(PAGE, address=memory.address + PAGE, fixed_noreplace=True) as other:
        other[0] = 99
        memory.close()
        assert other[0] == 99
        assert other.touch().minor == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "r", "rw", "unmap"]), st.integers(0, 11), st.integers(1, 12)
        ),
        max_size=12,
    )
)
def test_any_changes_agree_with_maps(changes: list[tuple[str, int, int]]) -> None:
    with in_slot(12) as memory:
        address, size = memory.address, memory.size
        model = ["rw-"] * 12
        for what, first, pages in changes:
            last = min(12, first + pages)
            if memory.closed:
                break
            refused = "gone" in model[first:last]
            try:
                if what == "unmap":
                    memory.unmap(first * PAGE, (last - first) * PAGE)
                else:
                    memory.protect(what, first * PAGE, (last - first) * PAGE)
            except ValueError:
                assert refused
                continue
            assert not refused
            model[first:last] = ["gone" if what == "unmap" else show_prot(prot_of(what))] * (
                last - first
            )
        there = ["gone"] * 12
        for region in procmem.Process().maps():
            for page in range(12):
                if address + page * PAGE in region:
                    there[page] = region.perms[:3]
        assert there == model
        assert memory.mapped == sum(page != "gone" for page in model) * PAGE
        assert memory.closed == (set(model) == {"gone"})
        assert memory.size == size


def test_closed_means_closed() -> None:
    memory = mmap(PAGE)
    memory.close()
    for use in (
        lambda: memory[0],
        lambda: memory.address,
        lambda: memory.prot,
        lambda: memoryview(memory),
        memory.touch,
        memory.residency,
        memory.mincore,
        memory.lock,
        memory.unmap,
        lambda: memory.protect("r"),
        lambda: memory.resize(1),
        lambda: memory.advise("normal"),
        memory.__enter__,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


# ---- growing, locking, advising ----


def test_resize() -> None:
    with in_slot(4) as memory, in_slot(2) as other:
        memory[0:3] = b"abc"
        memory.resize(pages=6)
        assert regions(memory) == [(0, 6, "rw-p")]
        assert (memory.pages, len(memory)) == (6, 6 * PAGE)
        memory.resize(PAGE + 7)
        assert regions(memory) == [(0, 2, "rw-p")]
        assert len(memory) == PAGE + 7
        # Something is in the way: it has to move.
        with mmap(PAGE, address=memory.address + 2 * PAGE, fixed_noreplace=True, shared=True):
            with pytest.raises(SyscallError) as caught:
                memory.resize(pages=3, may_move=False)
            assert (caught.value.syscall, caught.value.errno) == ("mremap", errno.ENOMEM)
            before = memory.address
            memory.resize(pages=3)
            assert memory.address != before
        assert memory[0:3] == b"abc"
        for bad in ({"length": 0}, {"length": -1}, {}, {"length": 1, "pages": 1}):
            with pytest.raises((ValueError, SyscallError)):
                memory.resize(**bad)  # type: ignore[arg-type]
        assert other.touch().minor == 2


def test_advice_does_what_it_says(file: Path) -> None:
    with small(in_slot(8)) as memory:
        with needs("MADV_POPULATE_WRITE"):
            memory.advise(calls.Advice.MADV_POPULATE_WRITE, 0, 5 * PAGE)
        assert memory.residency().resident == 5 * PAGE
        memory[0] = 5
        memory.advise("MADV_DONTNEED", 0, PAGE)
        assert memory.residency().resident == 4 * PAGE
        assert memory[0] == 0
        for bad in (1, PAGE + 1):
            with pytest.raises(SyscallError) as caught:
                memory.advise("dontneed", bad, PAGE)
            assert caught.value.errno == errno.EINVAL
        with pytest.raises(SyscallError, match="not known to this kernel") as caught:
            memory.advise(9999)
        assert caught.value.syscall == "madvise"
    with in_memory(file), mmap(file=file, prot="r") as memory, needs("MADV_POPULATE_READ"):
        memory.advise("populate_read")
        assert memory.residency() == (4 * PAGE, 0, memory.residency().swapped)


def test_mincore_tells_the_page_cache_and_residency_does_not(file: Path) -> None:
    with in_memory(file), mmap(file=file, prot="r") as memory:
        assert memory.mincore() == b"\1\1\1\1"
        assert memory.residency().resident == 0
        memory.touch(write=False)
        assert memory.residency()[:2] == (4 * PAGE, 0)
    with mmap(file=file) as memory:
        memory.touch(2)
        assert memory.residency().private == 2 * PAGE


def test_residency_leaves_the_zero_page_out() -> None:
    with small(mmap(pages=4)) as memory:
        assert memory.touch(write=False) == (4, 4, 0)
        if probes.has_pagemap_scan():
            assert memory.residency().resident == 0
        assert memory.touch() == (4, 4, 0)
        assert memory.residency() == (4 * PAGE, 4 * PAGE, 0)


def test_swapped_pages() -> None:
    with machine.swap() as setting:
        setting.or_skip()
        with small(mmap(pages=64)) as memory, mmap(pages=4, shared=True) as shared:
            memory[:] = os.urandom(64 * PAGE)
            with needs("MADV_PAGEOUT"):
                memory.advise("pageout")
            resident, private, swapped = memory.residency()
            assert resident == private
            assert swapped is not None
            assert resident + swapped == 64 * PAGE
            if not swapped:
                pytest.skip("nothing could be swapped out")
            # From zram reading is major as well; from the swap cache it is minor.
            touched = memory.touch(write=False)
            assert touched.minor + touched.major <= 64
            assert memory.residency().swapped == 0
            assert shared.residency().swapped is None


def test_locking() -> None:
    def locked(memory: Mapping) -> object:
        region = procmem.Process().smaps().find(memory.address)
        assert region is not None
        return region.counters["Locked"]

    with small(in_slot(4)) as memory:
        memory.lock()
        assert memory.residency().resident == locked(memory) == 4 * PAGE
        memory.unlock()
        assert locked(memory) == 0
    with small(in_slot(4)) as memory:
        memory.lock(on_fault=True)
        assert memory.residency().resident == 0
        memory.touch(1)
        assert memory.residency().resident == PAGE


def test_huge_pages() -> None:
    huge = machine.hugepage_size()
    with machine.hugepages(2) as setting:
        setting.or_skip()
        with mmap(1, hugetlb=True) as memory:
            assert (memory.page_size, memory.size, memory.pages) == (huge, huge, 1)
            assert memory.touch() == (1, 1, 0)
            assert memory.residency().resident == huge
            region = procmem.Process().smaps().find(memory.address)
            assert region is not None
            assert region.counters["Private_Hugetlb"] == huge
            assert region.rss == 0
        with mmap(pages=2, hugetlb=huge, noreserve=True) as memory:
            assert memory.size == 2 * huge
            with pytest.raises(SyscallError):
                memory.unmap(0, PAGE)
            assert memory.touch(1, 1).pages == 1
        with mmap(pages=64, hugetlb=True, noreserve=True) as memory:
            with pytest.raises(MemoryFault) as caught:
                memory.touch()
            assert caught.value.signal == signal.SIGBUS


# ---- fork ----


def test_after_fork() -> None:
    said = alone(
        """
        private, shared, kept = small(mmap(pages=3)), mmap(pages=3, shared=True), mmap(pages=3)
        kept.advise("dontfork", PAGE, 3 * PAGE - PAGE)
        kept.advise("dofork", 2 * PAGE)
        private.touch()
        shared.touch()
        at = kept.address + PAGE
        child = os.fork()
        if not child:
            code = 1
            try:
                assert private.touch() == (3, 3, 0)  # copied
                private[0] = 1
                shared[0] = 2
                assert kept.mapped == 2 * PAGE, kept.mapped
                try:
                    kept[PAGE]
                except ValueError:
                    pass
                other = mmap(1, address=at, fixed_noreplace=True)
                kept.close()
                other[0] = 1
                bracket = calls.bracket(private.touch)
                assert bracket.exact or "lags" in bracket.reason, bracket
                assert (bracket.minor, bracket.delta) == (0, (0, 0)), bracket
                private.close()
                code = 0
            finally:
                os._exit(code)
        said["child"] = os.waitpid(child, 0)[1]
        said["bytes"] = [private[0], shared[0]]
        said["kept"] = kept.mapped // PAGE
        """
    )
    assert said == {"child": 0, "bytes": [0, 2], "kept": 3}


def test_fork_while_another_thread_touches() -> None:
    said = alone(
        """
        import warnings
        warnings.simplefilter("ignore")  # DeprecationWarning: fork with threads, which is the point
        memory = mmap(pages=64)
        order = list(range(64)) * 20_000
        stop = False
        def work():
            while not stop:
                memory.touch(order=order)
        worker = threading.Thread(target=work)
        worker.start()
        statuses = []
        for _ in range(20):
            child = os.fork()
            if not child:
                closed = mmap(1, prot="")
                ok = fault(closed.touch) and fault(closed.touch)
                caught = [l for l in open("/proc/self/status") if l.startswith("SigCgt")][0]
                segv = int(caught.split()[1], 16) >> (signal.SIGSEGV - 1) & 1
                os._exit(0 if ok and not segv else 1)
            statuses.append(os.waitpid(child, 0)[1])
        stop = True
        worker.join()
        said["statuses"] = statuses
        """
    )
    assert said["statuses"] == [0] * 20
