"""Checks of faults: minor faults counted by the kernel, and signals that end a program.

How many faults and bytes each access takes is measured in an idle process of procmem's own.
"""

import signal

import pytest

from procmem.experiments import Specimen
from procmem.grade import (
    PAGE,
    ProgramCrashed,
    SubmissionError,
    installed,
    points,
    predicted,
    regions,
    verify,
    walk,
)

PAGES = 256
SIZE = PAGES * PAGE
PHASES = (
    "at the start", "1: mapped", "2: read", "3: written", "4: written again", "5: a file mapped",
    "6: one byte of it read",
)  # fmt: skip

BESIDE = PAGES // 4
"""Faults that no step asks for, such as those of library functions that run for the first time."""

CODES = {
    (signal.SIGSEGV, 1): "SEGV_MAPERR",
    (signal.SIGSEGV, 2): "SEGV_ACCERR",
    (signal.SIGBUS, 2): "BUS_ADRERR",
}


@pytest.fixture(scope="module")
def shots(program):
    return walk(program, *PHASES)


def anonymous(change):
    """Growth of anonymous memory: Anonymous of smaps, since RssAnon lags before Linux 6.2."""
    return change.after.regions.total("anonymous") - change.before.regions.total("anonymous")


def of_file(snapshot):
    """Bytes of data.bin that are in the memory of the process."""
    return sum(one.rss for one in regions(snapshot, path="data.bin"))


@points(
    1,
    "the program waits seven times for Enter, then ends with status 0",
    hint="Leave the calls of wait_for_enter() as they are. What does the program print?",
)
def test_waits(shots):
    shots.require_end()


@points(
    1,
    "1: 256 pages are mapped, and none is touched",
    hint="map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1)",
)
def test_mapped(shots):
    change = shots[2] - shots[1]
    assert change.vsz == SIZE
    rss = anonymous(change)
    assert rss < SIZE // 4, "growth of anonymous memory (Anonymous of smaps)"
    assert change.minor < BESIDE, "minor faults"


@points(
    2,
    "2: reading takes a fault for each page, and no memory",
    hint="Read one byte of each page. All of them map the same page, which is full of zeros.",
)
def test_read(shots):
    change = shots[3] - shots[2]
    assert change.minor >= PAGES, "minor faults"
    assert change.minor < PAGES + BESIDE, "minor faults"
    rss = anonymous(change)
    assert rss < SIZE // 4, "growth of anonymous memory (Anonymous of smaps)"


@points(
    2,
    "3: writing takes a fault for each page again, and now memory",
    hint="Write one byte of each page, from the first to the last one.",
)
def test_written(shots):
    change = shots[4] - shots[3]
    assert change.minor >= PAGES, "minor faults"
    assert change.minor < PAGES + BESIDE, "minor faults"
    rss = anonymous(change)
    assert rss >= SIZE, "growth of anonymous memory (Anonymous of smaps)"
    assert rss < SIZE + SIZE // 4, "growth of anonymous memory (Anonymous of smaps)"
    # A page of a file that was just compiled is dirty until it is written to the disk.
    dirty = [
        sum(one.private_dirty for one in shot.regions if not one.inode)
        for shot in (shots[3], shots[4])
    ]
    assert dirty[1] - dirty[0] >= SIZE, "growth of the bytes that smaps counts as dirty"


@points(1, "4: writing again takes no fault and no memory", hint="The same loop as in step 3.")
def test_written_again(shots):
    change = shots[5] - shots[4]
    rss = anonymous(shots[5] - shots[1])
    assert rss >= SIZE, "memory that was written"
    assert change.minor < BESIDE, "minor faults"


@points(
    2,
    "5: a file is mapped, and nothing of it is in memory yet",
    hint="map(size, PROT_READ, MAP_PRIVATE, fd), and no read(2)",
)
def test_file(shots):
    mine = regions(shots[6], path="data.bin")
    assert not regions(shots[5], path="data.bin"), "areas of data.bin before step 5"
    assert len(mine) == 1, "areas of data.bin"
    assert mine[0].size == SIZE, "bytes of data.bin that are mapped"
    assert str(mine[0].perms) == "r--p", "its permissions"
    rss = of_file(shots[6])
    assert rss == 0, "bytes of data.bin in memory"


@points(
    2,
    "6: one byte read brings in a few pages around it, not all",
    hint="Read file[0], and nothing else of the file.",
)
def test_one_byte(shots):
    rss = of_file(shots[7])
    assert rss >= PAGE, "bytes of data.bin in memory"
    assert rss < SIZE, "bytes of data.bin in memory"
    assert (shots[7] - shots[6]).minor < BESIDE, "minor faults"


# ---- what ends a program -----------------------------------------------------------------


def has_codes(submission):
    """Whether this machine reports the code of a fatal signal, tried with a known program."""
    with submission.program([installed("sh"), "-c", "read line; kill -SEGV $$"]).run() as run:
        run.pause("sh, waiting")
        run.answer()
        try:
            run.finish()
        except ProgramCrashed as ended:
            return ended.code is not None
    return False


def crash(submission, name):
    """The last snapshot before the end, the signal, its code and address (None: not known here)."""
    with submission.program(["./crash", name]).run() as run:
        snapshot = run.pause(f"crash {name}, waiting")
        run.answer()
        try:
            status = run.finish().status
        except ProgramCrashed as ended:
            if ended.code is None and has_codes(submission):
                raise SubmissionError(
                    f"./crash {name}: the cause of the signal is not visible: build without "
                    "sanitizers, and let the access itself end the program"
                ) from None
            return snapshot, ended.signal, ended.code, ended.address
    why = ": AddressSanitizer caught it, so build without it" if sanitized(submission) else ""
    raise SubmissionError(f"./crash {name} ended with status {status}, not by a signal{why}")


def sanitized(submission):
    return submission.program(["./crash"]).sanitized


def rights(snapshot, address):
    """Permissions of the page that was accessed; "none" if nothing was mapped there."""
    area = snapshot.regions.find(address)
    return "none" if area is None else str(area.perms)


@points(
    2,
    "crash read-only: a write to a read-only page",
    hint="The page is mapped with PROT_READ alone. What happens at area[0] = 1?",
)
def test_read_only(submission):
    snapshot, number, code, address = crash(submission, "read-only")
    assert number == signal.SIGSEGV, "the signal"
    assert code in (None, 2), "its code: 2 is SEGV_ACCERR"
    if address is not None:
        assert rights(snapshot, address) == "r--p", "permissions of the page that was written"


@points(
    2,
    "crash unmapped: a read where nothing is mapped",
    hint="munmap first, then wait, then read.",
)
def test_unmapped(submission):
    snapshot, number, code, address = crash(submission, "unmapped")
    assert number == signal.SIGSEGV, "the signal"
    assert code in (None, 1), "its code: 1 is SEGV_MAPERR"
    if address is not None:
        assert rights(snapshot, address) == "none", "permissions of the page that was read"
        assert address >= PAGE, "the address: NULL was never mapped"


@points(
    2,
    "crash past-end: a read beyond the end of a mapped file",
    hint="Map two pages of a file that has one. The second one is mapped, but has no contents.",
)
def test_past_end(submission):
    snapshot, number, code, address = crash(submission, "past-end")
    mapped = regions(snapshot, path="small.bin")
    assert sum(one.size for one in mapped) == 2 * PAGE, "bytes of small.bin that are mapped"
    assert number == signal.SIGBUS, "the signal"
    assert code in (None, 2), "its code: 2 is BUS_ADRERR"
    if address is not None:
        assert address - mapped[0].start >= PAGE, "the offset of the access in the mapping"


@points(
    2,
    "crash no-exec: a jump into a page that is not executable",
    hint="Wait, then call code(). The page has no PROT_EXEC.",
)
def test_no_exec(submission):
    snapshot, number, code, address = crash(submission, "no-exec")
    assert not regions(snapshot, perms="rwxp"), "areas that are writable and executable"
    assert number == signal.SIGSEGV, "the signal"
    assert code in (None, 2), "its code: 2 is SEGV_ACCERR"
    if address is not None:
        assert rights(snapshot, address) == "rw-p", "permissions of the page that was run"


def file_of(directory, pages):
    """A file of this many pages, all of them in the page cache."""
    path = directory / "file"
    path.write_bytes(bytes(pages * PAGE))
    return path


# ---- predictions ---------------------------------------------------------------------------


@points(
    2,
    "predictions: faults",
    hint="Which steps access a page for the first time, and which change its protection?",
)
def test_predicted_faults(submission):
    said = submission.predictions
    with Specimen() as one:
        area = one.mmap(pages=PAGES).mapping
        steps = {"faults_2": one.read(area), "faults_3": one.touch(area)}
        steps["faults_4"] = one.touch(area)
        steps["faults_1"] = one.mmap(pages=PAGES)
    for name, step in sorted(steps.items()):
        predicted(name, said.integer(name), step.delta.minor)


@points(2, "predictions: RSS", hint="The page of zeros, which all processes share, isn't counted.")
def test_predicted_rss(submission):
    said = submission.predictions
    with Specimen() as one:
        area = one.mmap(pages=PAGES).mapping
        steps = {"rss_2": one.read(area), "rss_3": one.touch(area), "rss_4": one.touch(area)}
    for name, step in steps.items():
        predicted(name, said.size(name), step.delta.rss)


@points(
    1,
    "prediction: RSS of the file after one byte",
    hint="The kernel also maps the neighbouring pages that are in memory, up to 16 (fault-around).",
)
def test_predicted_file(submission, tmp_path):
    said = submission.predictions
    with Specimen() as one:
        area = one.mmap(pages=PAGES, prot="r", file=file_of(tmp_path, PAGES)).mapping
        seen = one.read(area, pages=1).delta.rss
    predicted("rss_file", said.size("rss_file"), seen)


@points(
    2,
    "predictions: signals and their codes",
    hint="sigaction(2): SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR",
)
def test_predicted_signals(submission):
    said = submission.predictions
    with Specimen() as one:
        for name in ("read_only", "unmapped", "past_end", "no_exec"):
            fault = one.fault(name.replace("_", "-")).fault
            number = said.choice(f"{name}_signal", ["SIGSEGV", "SIGBUS"])
            predicted(f"{name}_signal", number, signal.Signals(fault.signal).name)
            code = said.choice(f"{name}_code", sorted(CODES.values()))
            predicted(f"{name}_code", code, CODES.get((fault.signal, fault.code)))


# ---- quiz ------------------------------------------------------------------------------------


@points(1, "quiz: major faults", hint="getrusage(2): ru_majflt")
def test_quiz_major(submission):
    with Specimen() as one:
        majors = {
            "a": one.fault("minor").delta.major,
            "b": one.fault("read-only").delta.major,
            "c": one.fault("major").delta.major,
        }
    verify(submission, "major", max(majors, key=majors.get))


@points(1, "quiz: the dirty bit", hint="Compare Private_Clean and Private_Dirty of smaps.")
def test_quiz_dirty(submission, tmp_path):
    with Specimen() as one:
        area = one.mmap(pages=1, file=file_of(tmp_path, 1)).mapping
        dirty = []
        for access in (one.read, one.touch):
            access(area)
            region = one.process.smaps().find(area.start)
            dirty.append(region.private_dirty + region.shared_dirty)
    # The file itself may not have reached the disk yet: then its page is dirty, but the file's.
    right = "b" if dirty[1] >= PAGE and region.private_dirty >= PAGE else "c"
    verify(submission, "dirty", right)


@points(1, "quiz: NULL", hint="What is mapped at address 0?")
def test_quiz_null(submission):
    with Specimen() as one:
        fault = one.fault("null").fault
    name = CODES.get((fault.signal, fault.code))
    verify(submission, "null", {"SEGV_MAPERR": "a", "SEGV_ACCERR": "b"}.get(name, "c"))


@points(1, "quiz: MAP_POPULATE", hint="Count minor faults of the writing alone.")
def test_quiz_populate(submission):
    with Specimen() as one:
        area = one.mmap(pages=PAGES, populate=True).mapping
        taken = one.touch(area).delta.minor
    verify(submission, "populate", {0: "a", PAGES: "b"}.get(taken, "c"))
