"""Which thread allocates from which arena of malloc, against programs that say where."""

from __future__ import annotations

from procmem import MiB, Process
from procmem.experiments import Specimen
from procmem.process.arenas import arenas_of
from procmem.regions.kinds import ARENA_SIZES


def test_each_thread_has_the_arena_of_its_blocks() -> None:
    with Specimen(libc=True) as s:
        blocks = []
        for number in range(3):
            s.thread()
            blocks.append(s.malloc(1000, thread=number).address)
        process = Process(s.pid)
        arenas = arenas_of(process.files, process.maps(), process.files.thread_ids())
        taken = {thread.tid: thread.arena for thread in process.snapshot("maps").threads or ()}
    assert ARENA_SIZES[0] == 64 * MiB
    assert None not in blocks
    assert sorted(arenas.values()) == sorted((block or 0) & -ARENA_SIZES[0] for block in blocks)
    assert taken == {s.pid: None} | arenas


def test_without_an_arena_there_is_nothing_to_find() -> None:
    with Specimen() as s:
        process = Process(s.pid)
        assert arenas_of(process.files, process.maps(), [s.pid]) == {}
        assert [thread.arena for thread in process.snapshot("maps").threads or ()] == [None]
