"""copy: a file is copied through two mappings, and through a buffer."""

import mmap
import os
import random
import secrets
import signal
import tempfile

import pytest

from procmem.experiments import Specimen
from procmem.grade import PAGE, MiB, only, points, regions, same_bytes, verify, walk

SIZE = MiB + 123
MAPPED = -(-SIZE // PAGE) * PAGE
NEARLY = MAPPED * 7 // 8
"""The kernel may reclaim pages of files at any time."""


def put(submission, size, mode=0o644):
    """A file of random bytes beside the programs. Nobody can know its name in advance."""
    name = f"{secrets.token_hex(8)}.dat"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(os.path.join(submission.directory, name), flags), "wb") as file:
        file.write(random.Random(size).randbytes(size))  # noqa: S311 - no secret
        os.fchmod(file.fileno(), mode)
    return name


@pytest.fixture(scope="module")
def source(submission):
    """The name of the file to be copied."""
    submission.build  # noqa: B018 - building may clear the directory
    return put(submission, SIZE)


@pytest.fixture(scope="module")
def mapped(submission, source):
    """mmap_copy at its four waits: mapped[1] to mapped[4]."""
    return walk(
        submission.program("./mmap_copy"),
        "mmap_copy, at the start",
        "mmap_copy, after mapping both files",
        "mmap_copy, after copying",
        "mmap_copy, after unmapping",
        arguments=(source, "mmap.out"),
    )


@pytest.fixture(scope="module")
def buffered(submission, source):
    """read_write_copy at its two waits."""
    return walk(
        submission.program("./read_write_copy"),
        "read_write_copy, at the start",
        "read_write_copy, after copying",
        arguments=(source, "read_write.out"),
    )


def size_of(snapshot, name, perms=None):
    return regions(snapshot, path=name, perms=perms).total()


def rss_of(snapshot, name):
    return regions(snapshot, path=name).total("rss")


def assert_equal(submission, source, copy):
    """A copy equals its source; an assertion says how it differs."""
    one, other = submission.path(source), submission.path(copy)
    wanted, size = os.path.getsize(one), os.path.getsize(other)
    assert size == wanted, f"bytes in the copy of a file of {wanted:,} bytes"
    assert same_bytes(one, other), f"the copy of a file of {wanted:,} bytes differs from it"


def assert_copies(submission, program, waits, size, copy):
    """Runs a program on a file of some size."""
    name = put(submission, size)
    phases = [f"{program}, copying {size:,} bytes, wait {i + 1}" for i in range(waits)]
    done = walk(submission.program(f"./{program}"), *phases, arguments=(name, copy))
    assert done.ended.status == 0, f"{program}'s exit status, copying {size:,} bytes"
    assert_equal(submission, name, copy)


# ---- mmap_copy -----------------------------------------------------------------------


@points(
    1,
    "mmap_copy waits four times and ends with status 0",
    hint="Run ./mmap_copy in.dat out.dat yourself. What does perror print?",
)
def test_mmap_copy_runs_to_its_end(mapped):
    assert mapped.ended.status == 0, "the program ends with status 0"


@points(
    1, "the whole source is mapped for reading", hint="fstat returns its size. PROT_READ is enough."
)
def test_maps_the_source(mapped, source):
    after = mapped[2]
    assert size_of(after, source) == MAPPED, "bytes of the source that are mapped"
    assert size_of(after, source, "?w??") == 0, "bytes of the source that are mapped writable"


@points(
    1,
    "the whole copy is mapped, writable and shared",
    hint="Only writes to a MAP_SHARED mapping reach the file.",
)
def test_maps_the_copy(mapped):
    after = mapped[2]
    assert size_of(after, "mmap.out", "rw-s") == MAPPED, "bytes of the copy that are mapped rw-s"


@points(
    1,
    "mapping takes no memory",
    hint="Leave MAP_POPULATE out, and copy only after the wait.",
    needs=["test_maps_the_source", "test_maps_the_copy"],
)
def test_mapping_is_lazy(mapped, source):
    after = mapped[2]
    assert rss_of(after, source) == 0, "bytes of the source in the memory of the process"
    assert rss_of(after, "mmap.out") == 0, "bytes of the copy in the memory of the process"


@points(
    2,
    "copying brings both into memory",
    hint="memcpy from one mapping to the other: no read, no write.",
    needs=["test_maps_the_source", "test_maps_the_copy"],
)
def test_copying_touches_both(mapped, source):
    after = mapped[3]
    assert rss_of(after, source) >= NEARLY, "bytes of the source in the memory of the process"
    assert rss_of(after, "mmap.out") >= NEARLY, "bytes of the copy in the memory of the process"


@points(
    1,
    "munmap removes both mappings",
    hint="munmap both, each with its length. close does not unmap a file.",
    needs=["test_maps_the_source", "test_maps_the_copy"],
)
def test_unmaps_both(mapped, source):
    after = mapped[4]
    assert size_of(after, source) == 0, "bytes of the source that are still mapped"
    assert size_of(after, "mmap.out") == 0, "bytes of the copy that are still mapped"


@points(2, "mmap_copy's copy equals the source", hint="cmp in.dat out.dat; ls -l in.dat out.dat")
def test_mmap_copy_is_equal(mapped, submission, source):
    assert mapped.ended is not None
    assert_equal(submission, source, "mmap.out")


@points(
    1,
    "mmap_copy copies files of other sizes, too",
    hint="Give the copy the size of the source, not a size in whole pages.",
)
def test_mmap_copy_other_sizes(submission):
    for size in (1, 3 * PAGE):
        assert_copies(submission, "mmap_copy", 4, size, f"mmap.{size}")


# ---- read_write_copy -----------------------------------------------------------------


@points(
    1,
    "read_write_copy waits twice and ends with status 0",
    hint="Run ./read_write_copy in.dat out.dat yourself. What does perror print?",
)
def test_read_write_copy_runs_to_its_end(buffered):
    assert buffered.ended.status == 0, "the program ends with status 0"


@points(
    2, "read_write_copy's copy equals the source", hint="cmp in.dat out.dat; ls -l in.dat out.dat"
)
def test_read_write_copy_is_equal(buffered, submission, source):
    assert buffered.ended is not None
    assert_equal(submission, source, "read_write.out")


@points(
    1,
    "the address space of read_write_copy does not grow with the file",
    hint="Use the same buffer for each piece. No mmap here.",
    needs="test_read_write_copy_is_equal",
)
def test_read_write_copy_needs_a_buffer_only(buffered):
    before, after = buffered[1], buffered[2]
    grown = after.memory.peak_vsz - before.vsz
    assert grown < SIZE // 2, "VSZ at its peak, above VSZ at the start"


@points(
    1,
    "both programs replace all of a longer file that existed before",
    hint="man 2 open, under O_TRUNC.",
    needs=["test_mmap_copy_is_equal", "test_read_write_copy_is_equal"],
)
def test_both_overwrite(submission):
    for program, waits in (("mmap_copy", 4), ("read_write_copy", 2)):
        longer = put(submission, 5 * PAGE, 0o666)
        assert_copies(submission, program, waits, 2 * PAGE + 1, longer)


# ---- quiz: the right answer is the one that holds on this machine --------------------------


@points(1, "quiz: a shared mapping", hint="Try it: write through the mapping, then `cat` the file.")
def test_quiz_visible(submission):
    with tempfile.TemporaryFile() as file:
        file.write(b"old")
        file.flush()
        with mmap.mmap(file.fileno(), 3) as shared:
            shared[:] = b"new"
            at_once = os.pread(file.fileno(), 3, 0)
            shared.flush()
            synced = os.pread(file.fileno(), 3, 0)
        at_last = os.pread(file.fileno(), 3, 0)
    new = [seen == b"new" for seen in (at_once, synced, at_last)]
    right = only({"a": new[0], "b": new[1] and not new[0], "c": new[2] and not new[1]})
    verify(submission, "visible", right)


@points(1, "quiz: a private mapping", hint="Change MAP_SHARED in mmap_copy, and compare.")
def test_quiz_private(submission):
    with tempfile.TemporaryFile() as file:
        file.write(b"old")
        file.flush()
        with mmap.mmap(file.fileno(), 3, flags=mmap.MAP_PRIVATE) as private:
            private[:] = b"new"
        found = os.pread(file.fileno(), 3, 0)
    verify(submission, "private", only({"a": found == b"new", "c": found == b"old"}))


@points(1, "quiz: beyond the end of a file", hint="Which signals does man 2 mmap name?")
def test_quiz_second_page(submission):
    with tempfile.NamedTemporaryFile() as file, Specimen() as one:
        file.write(b"x" * 100)
        file.flush()
        area = one.mmap(2 * PAGE, prot="r", file=file.name).mapping
        fault = one.read(area, start=1, pages=1).fault
    number = None if fault is None else fault.signal
    right = only({"a": number is None, "b": number == signal.SIGBUS, "c": number == signal.SIGSEGV})
    verify(submission, "second_page", right)
