"""Checks of multithreaded. What a stack and an arena take is measured on this machine."""

import os
import platform
import struct
import subprocess
import sys

import pytest

from procmem.experiments import Specimen
from procmem.grade import (
    PAGE,
    KiB,
    MiB,
    heap,
    libraries,
    not_possible,
    points,
    thread_stack,
    threads,
    verify,
    walk,
)

SMALL = MiB
PHASES = (
    "at the start", "after the first thread", "after the second thread", "after the small stack",
    "after malloc in a thread", "after all threads have ended",
)  # fmt: skip


@pytest.fixture(scope="module")
def shots(program):
    return walk(program, *PHASES)


@pytest.fixture(scope="module")
def mapped():
    """What a thread maps here: its stack and, where that is an area of its own, its guard."""
    with Specimen(libc=True) as one:
        one.malloc(1)
        return one.thread().delta.vsz


@points(
    1,
    "the program waits six times for Enter, then ends with status 0",
    hint="Leave the calls of wait_for_enter() as they are. A thread must not end the program.",
)
def test_waits(shots):
    shots.require_end()


@points(
    2,
    "a thread takes a stack of the default size, and its guard",
    hint="Give pthread_create no stack size for this one: `ulimit -s` decides.",
)
def test_first_thread(shots, mapped):
    change = shots[2] - shots[1]
    assert len(threads(change.after)) - len(threads(change.before)) == 1, "new threads"
    assert change.vsz == mapped


@points(1, "the second thread takes as much again", hint="Start it before the third wait.")
def test_second_thread(shots, mapped):
    change = shots[3] - shots[2]
    assert len(threads(change.after)) - len(threads(change.before)) == 1, "new threads"
    assert change.vsz == mapped


@points(
    2,
    "the third thread has a stack of 1 MiB",
    hint="What does start() do with stack_size? The attributes must be set before pthread_create.",
)
def test_small_stack(shots, mapped):
    change = shots[4] - shots[3]
    guard = mapped - thread_stack()
    assert len(threads(change.after)) - len(threads(change.before)) == 1, "new threads"
    assert change.vsz == SMALL + guard


@points(
    2,
    "malloc in a thread maps an arena, and uses little of it",
    hint="Only the thread itself may call malloc here, not main for it.",
)
def test_arena(shots):
    change = shots[5] - shots[4]
    assert change.vsz == arena_size()
    assert change.rss is not None
    assert change.rss < MiB, "growth of RSS"


@points(
    1,
    "the heap of the first thread is not used by the others",
    hint="malloc(1000) belongs into work(), where the thread runs.",
    needs="test_arena",
)
def test_heap_stays(shots):
    assert heap(shots[5]).size == heap(shots[4]).size


NEAR = 64 * KiB
"""The greatest distance of a sleeping thread's descriptor from its stack pointer."""


def tid_inside(run, thread):
    """Its ID as the program sees it, in the sandbox's own PID namespace (pid_namespaces(7))."""
    with open(f"/proc/{run.pid}/task/{thread.tid}/status", encoding="utf-8") as file:
        (line,) = (line for line in file if line.startswith("NSpid:"))
    return int(line.split()[-1])


def descriptors(run):
    """Where the C library keeps the ID of each thread but the first: {TID: address}.

    A thread's descriptor is at the upper end of its stack. It begins with two pointers to itself
    (tcbhead_t in sysdeps/x86_64/nptl/tls.h), followed by the thread's ID.
    """
    found = {}
    with open(f"/proc/{run.pid}/mem", "rb", buffering=0) as memory:
        for thread in run.threads:
            if thread.tid == run.pid or thread.stack is None:
                continue
            start = thread.stack_pointer & ~15
            memory.seek(start)
            data = memory.read(min(NEAR, thread.stack.end - start))
            kept = struct.pack("=i", tid_inside(run, thread))
            for place in range(0, len(data) - 0x400, 16):
                address = start + place
                to_itself = struct.pack("=Q", address)
                if data[place : place + 8] == to_itself == data[place + 16 : place + 24]:
                    tid = data.find(kept, place + 24, place + 0x400)
                    if tid > 0:
                        found[thread.tid] = start + tid
    return found


def ended_only(program, phases):
    """Threads that existed at the last wait but one, and were not joined by the last one.

    The kernel writes 0 over a thread's ID when the thread ends (set_tid_address(2)). pthread_join
    makes it -1, or frees the stack with everything in it (nptl/pthread_join_common.c).
    """
    noted = {}

    def look(run):
        if len(run.phases) == len(phases) - 1:
            noted.update(descriptors(run))
        left = []
        if len(run.phases) == len(phases):
            with open(f"/proc/{run.pid}/mem", "rb", buffering=0) as memory:
                for tid, address in noted.items():
                    try:
                        memory.seek(address)
                        data = memory.read(4)
                    except OSError:
                        continue
                    if data == bytes(4):
                        left.append(tid)
        return left

    return walk(program, *phases, look=look).look(len(phases))


JOINS = """
import ctypes, os
libc = ctypes.CDLL(None)
thread, (inner, outer) = ctypes.c_ulong(), os.pipe()
byte = ctypes.create_string_buffer(1)
START = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
body = START(lambda _: os.read(inner, 1) and None)
libc.pthread_create(ctypes.byref(thread), None, body, None)
input()
os.write(outer, b".")
libc.pthread_join(thread, None)
input()
"""


@pytest.fixture(scope="module")
def not_joined(submission, program):
    """Threads that have not been joined at the last wait; none where that is not visible.

    It is visible if the C library marks joined threads. A program that joins its thread shows that.
    """
    if platform.machine() != "x86_64":
        return []
    right = submission.program(["python3", "-I", "-c", JOINS])
    if ended_only(right, ("a program that joins, before", "a program that joins, after")):
        return []
    return ended_only(program, PHASES)


@points(
    1,
    "at the end all threads have been joined",
    hint="Call pthread_join for each of the three before the last wait.",
)
def test_joined(shots, not_joined):
    assert len(threads(shots[5])) == 4, "threads before they end"
    assert len(threads(shots[6])) == 1, "threads at the end"
    assert len(not_joined) == 0, "threads that have ended and were not joined"


@points(
    2,
    "threads-static has the same stacks, and no libraries",
    hint="Link the same source with -static -pthread.",
)
def test_static(submission, mapped):
    shots = walk(submission.program(["./threads-static"]), *PHASES)
    before, after = shots[1], shots[2]
    assert list(libraries(after)) == [], "shared libraries of threads-static"
    change = after - before
    # The first thread of a static program may begin the heap, too.
    assert change.vsz - heap(after).size + heap(before).size == mapped


@points(
    2,
    "the default stack size follows ulimit -s",
    hint="Do not set the default stack size in the source. Try (ulimit -s 4096; ./threads).",
)
def test_follows_the_limit(submission, mapped):
    limit = 4 * MiB
    program = submission.program(["sh", "-c", f"ulimit -s {limit // KiB} && exec ./threads"])
    shots = walk(program, *PHASES)
    change = shots[2] - shots[1]
    assert change.vsz == limit + mapped - thread_stack(), "with ulimit -s 4096"


# ---- quiz ---------------------------------------------------------------------------


def arena_size():
    """What malloc maps for a thread's arena on this machine."""
    with Specimen(libc=True) as one:
        one.malloc(1)
        number = one.thread().thread
        return one.malloc(1000, thread=number).delta.vsz


@points(1, "quiz: RSS of a thread", hint="ps -o rss,vsz before and after")
def test_quiz_resident(submission):
    with Specimen(libc=True) as one:
        one.malloc(1)
        grown = one.thread().delta.rss
    size = thread_stack()
    right = "c" if grown < size // 4 else "b" if grown < size else "a"
    verify(submission, "resident", right)


@points(1, "quiz: heaps", hint="procmem diff of two snapshots, before and after malloc")
def test_quiz_heap(submission):
    with Specimen(libc=True) as one:
        one.malloc(1)
        number = one.thread().thread
        address = one.malloc(1000, thread=number).address
        assert address is not None
        region = one.process.region_at(address)
    right = "a" if region is not None and str(region.kind) == "heap" else "b"
    verify(submission, "heap", right)


@points(1, "quiz: stacks of ended threads", hint="Look at VSZ before and after pthread_join.")
def test_quiz_ended(submission):
    with Specimen(libc=True) as one:
        one.malloc(1)
        number = one.thread().thread
        assert number is not None
        fallen = -one.join(number).delta.vsz
    right = "a" if fallen >= thread_stack() else "b"
    verify(submission, "ended", right)


UNLIMITED = """
import ctypes
libc = ctypes.CDLL(None)
attributes, size = ctypes.create_string_buffer(256), ctypes.c_size_t()
libc.pthread_getattr_default_np(attributes)
libc.pthread_attr_getstacksize(attributes, ctypes.byref(size))
print(size.value)
"""


@points(1, "quiz: ulimit -s unlimited", hint="pthread_create(3), under Notes")
def test_quiz_unlimited(submission):
    shell = ["sh", "-c", 'ulimit -s unlimited && exec "$@"', "sh"]
    command = [*shell, sys.executable, "-c", UNLIMITED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        not_possible(
            "ulimit -s unlimited is refused here, or the library does not report its default"
        )
    size = int(done.stdout)
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE
    right = "c" if size <= 64 * MiB else "b" if size <= memory else "a"
    verify(submission, "unlimited", right)
