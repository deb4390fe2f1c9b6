"""What single calls do to the totals of this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from procmem import (
    Mapping,
    MemoryFault,
    SyscallError,
    calls,
    mmap,
    procfs,
)
from procmem.procfs import probes
from tests.support.calls import alone
from tests.support.specimens import in_memory
from tests.support.targets import PAGE, machine

if TYPE_CHECKING:
    from pathlib import Path


def test_every_call_changes_what_it_should() -> None:
    machine.exact_rss_or_skip()
    said = alone(
        """
        slot = (1 << 44) + (1 << 31)
        said["mmap"], memory = change(mmap, pages=100, address=slot, fixed_noreplace=True)
        small(memory)
        said["touch"], _ = change(memory.touch, 30)
        said["again"], _ = change(memory.touch, 30)
        said["backward"], _ = change(memory.touch, 10, 30, order="backward")
        said["read"], _ = change(memory.touch, 10, 50, write=False)
        said["write after read"], _ = change(memory.touch, 10, 50)
        said["dontneed"], _ = change(memory.advise, "dontneed", 0, 20 * PAGE)
        said["protect"], _ = change(memory.protect, "r", 0, PAGE)
        said["unmap"], _ = change(memory.unmap, 95 * PAGE)
        said["unmap resident"], _ = change(memory.unmap, 20 * PAGE, 5 * PAGE)
        said["lock"], _ = change(memory.lock, 60 * PAGE, 10 * PAGE)
        said["unlock"], _ = change(memory.unlock, 60 * PAGE, 10 * PAGE)
        held = memory.residency().resident // PAGE
        parts = change(memory.unmap, 0, 20 * PAGE)[0]
        rest = change(memory.close)[0]
        said["closed"] = [parts[0] + rest[0], held + parts[1] + rest[1]]

        memory = small(mmap(pages=10, address=slot, fixed_noreplace=True))
        memory.touch()
        said["grow"], _ = change(memory.resize, pages=25)
        said["shrink"], _ = change(memory.resize, pages=4)
        said["close"], _ = change(memory.close)
        said["populate"], memory = change(mmap, pages=40, populate=True, prot="rw")
        said["brk"], _ = change(calls.sbrk)
        """
    )
    assert said == {
        "mmap": [100, 0, 0, 0],
        "touch": [0, 30, 30, 0],
        "again": [0, 0, 0, 0],
        "backward": [0, 10, 10, 0],
        "read": [0, 0, 10, 0],
        "write after read": [0, 10, 10, 0],
        "dontneed": [0, -20, 0, 0],
        "protect": [0, 0, 0, 0],
        "unmap": [-5, 0, 0, 0],
        "unmap resident": [-5, -5, 0, 0],
        "lock": [0, 10, 10, 0],
        "unlock": [0, 0, 0, 0],
        "closed": [-90, 0],
        "grow": [15, 0, 0, 0],
        "shrink": [-21, -6, 0, 0],
        "close": [-4, -4, 0, 0],
        "populate": [40, 40, said["populate"][2], 0],
        "brk": [0, 0, 0, 0],
    }
    # Large folios may take fewer.
    assert 0 < said["populate"][2] <= 40


def test_what_files_change(file: Path) -> None:
    machine.exact_rss_or_skip()
    with in_memory(file):
        said = alone(
            """
            said["mmap"], memory = change(mmap, file=sys.argv[1], prot="rw")
            read, _ = change(memory.touch, write=False)
            said["read"] = read[:2]
            said["write"], _ = change(memory.touch)
            said["again"], _ = change(memory.touch)
            said["close"], _ = change(memory.close)
            """,
            str(file),
        )
    assert said == {
        "mmap": [4, 0, 0, 0],
        "read": [0, 4],
        # Each page is copied: a private page for a page of the cache.
        "write": [0, 0, 4, 0],
        "again": [0, 0, 0, 0],
        "close": [-4, -4, 0, 0],
    }


def test_a_thousand_brackets_are_exact() -> None:
    machine.exact_rss_or_skip()
    said = alone(
        """
        wrong = []
        for turn in range(250):
            pages = turn % 40 + 1
            change_, memory = change(mmap, pages=pages, address=1 << 44, fixed_noreplace=True)
            small(memory)
            touched = turn % pages + 1
            seen = [change_, change(memory.touch, touched)[0]]
            seen += [change(memory.touch)[0], change(memory.close)[0]]
            left = pages - touched
            if seen != [[pages, 0, 0, 0], [0, touched, touched, 0], [0, left, left, 0],
                        [-pages, -pages, 0, 0]]:
                wrong.append([turn, seen])
        said["wrong"] = wrong
        """
    )
    assert said == {"wrong": []}


def test_a_bracket_beside_threads_says_so() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        bracket = calls.bracket(mmap, pages=3)
    finally:
        release.set()
        thread.join()
    assert not bracket.exact
    assert "threads share this address space" in bracket.reason
    assert bracket.reason in repr(bracket)
    bracket.result.close()


def test_a_bracket_of_a_kernel_that_lags_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "counters_lag", lambda: True)
    monkeypatch.setattr(procfs.ProcessFiles, "thread_ids", lambda _: [1])
    bracket = calls.bracket(lambda: calls.sbrk(0))
    assert not bracket.exact
    assert "lags" in bracket.reason


def test_brackets_measure_one_call() -> None:
    with pytest.raises(ValueError, match="made 0"):
        calls.bracket(lambda: 1)
    with pytest.raises(ValueError, match="made 2"):
        calls.bracket(lambda: mmap(1).touch())
    with pytest.raises(SyscallError):
        calls.bracket(mmap, 0)
    with mmap(1, prot="") as memory, pytest.raises(MemoryFault):
        calls.bracket(memory.touch)
    # A finalizer is nobody's operation.
    kept = [mmap(1)]

    def collecting() -> Mapping:
        kept.clear()
        return mmap(1)

    assert calls.bracket(collecting).result.mapped == PAGE
