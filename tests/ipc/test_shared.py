"""Shared memory that the test made itself: kinds, sizes, users, and what nobody uses."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.ipc.shared import kind_of, parse_shared_maps, parse_sysvipc, shown_name
from tests.support.blocking import Children
from tests.support.targets import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from procmem import Segment

PAGE = os.sysconf("SC_PAGESIZE")
PAUSE = ("pause", "rt_sigsuspend", "ppoll")
IPC_PRIVATE, IPC_CREAT, IPC_RMID = 0, 0o1000, 0


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as made:
        yield made


def one(true: Callable[[Segment], object]) -> Segment:
    (found,) = [segment for segment in procmem.segments() if true(segment)]
    return found


def users(segment: Segment) -> set[int]:
    return {mapper.pid for mapper in segment.mappers}


def test_memory_of_parent_and_child(children: Children) -> None:
    with mmap.mmap(-1, 64 * PAGE) as memory:
        memory[: 3 * PAGE] = bytes(3 * PAGE)
        child = children.start(signal.pause, *PAUSE)
        found = one(lambda segment: segment.kind == "anonymous" and child in users(segment))
        assert users(found) == {os.getpid(), child}
        assert {mapper.size for mapper in found.mappers} == {64 * PAGE}
        assert all(mapper.writable for mapper in found.mappers)
        assert found.name == ""
        assert found.orphan is False
        if found.size is not None:
            assert (found.size, found.resident, found.swapped) == (64 * PAGE, 3 * PAGE, 0)


def test_what_each_process_has_in_its_page_table(children: Children) -> None:
    # A page that is read brings its neighbours along, but none that another page table maps.
    size, far = 1024 * PAGE, 1000
    fd = os.memfd_create("procmem pages", 0)
    try:
        os.truncate(fd, size)
        with (
            mmap.mmap(fd, size) as shared,
            mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE) as private,
        ):
            for page in range(8):
                shared[page * PAGE] = 1

            def touch() -> None:
                with mmap.mmap(fd, size) as again:
                    for page in (1, 2, 3, far):
                        again[page * PAGE] = 1
                    signal.pause()

            child = children.start(touch, *PAUSE)

            def mapped() -> dict[int, int | None]:
                (found,) = [
                    one
                    for one in procmem.segments(pages=True)
                    if one.name == "procmem pages" and os.getpid() in users(one)
                ]
                assert found.resident == 9 * PAGE
                return {mapper.pid: mapper.resident for mapper in found.mappers}

            assert mapped()[child] == 4 * PAGE
            before = mapped()[os.getpid()]
            assert before == 8 * PAGE
            private[0] = 1
            assert mapped()[os.getpid()] == before, "a copied page is not the segment's"
            assert private[far * PAGE] == 1
            assert mapped()[os.getpid()] == before + PAGE, "read through the private mapping"
        assert all(mapper.resident is None for one in procmem.segments() for mapper in one.mappers)
    finally:
        os.close(fd)


def test_a_memfd_lives_by_its_descriptor_alone() -> None:
    fd = os.memfd_create("procmem test", 0)
    try:
        os.write(fd, bytes(10_000))
        found = one(
            lambda segment: (
                (os.getpid(), fd) in [(held.pid, held.fd) for held in segment.descriptors]
            )
        )
        assert (found.kind, found.name) == ("memfd", "procmem test")
        assert [held.fd for held in found.descriptors] == [fd]
        assert found.mappers == ()
        assert found.size == 10_000
        assert found.resident == -(-10_000 // PAGE) * PAGE
        with mmap.mmap(fd, 8192, prot=mmap.PROT_READ) as memory:
            found = one(lambda segment: os.getpid() in users(segment) and segment.kind == "memfd")
            assert [mapper.writable for mapper in found.mappers] == [False]
            assert found.orphan is False
            del memory
    finally:
        os.close(fd)
    assert all(
        os.getpid() not in [held.pid for held in segment.descriptors]
        for segment in procmem.segments()
        if segment.kind == "memfd"
    )


def test_posix_memory_in_use_and_left_over() -> None:
    path = f"/dev/shm/{machine.MARK}{os.getpid()}-orphan"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, bytes(5 * PAGE))
        used = one(lambda segment: segment.name == path)
        assert (used.kind, used.orphan, used.size) == ("POSIX", False, 5 * PAGE)
        os.close(fd)
        found = one(lambda segment: segment.name == path)
        assert found.orphan is True
        assert found.leaked
        assert (found.size, found.resident, found.swapped) == (5 * PAGE, 5 * PAGE, 0)
        assert found.owner == os.geteuid()
        assert (found.mappers, found.descriptors) == ((), ())
        fd = os.open(path, os.O_RDWR)
        with mmap.mmap(fd, PAGE) as memory:
            os.close(fd)
            assert one(lambda segment: segment.name == path).orphan is False
            del memory
    finally:
        os.unlink(path)
    assert path not in [segment.name for segment in procmem.segments()]


def test_posix_memory_without_a_name_is_no_orphan(children: Children) -> None:
    path = f"/dev/shm/{machine.MARK}{os.getpid()}-unlinked"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    try:
        found = one(lambda segment: segment.name == f"{path} (deleted)")
        assert found.orphan is False
    finally:
        os.close(fd)


def test_a_file_that_is_mapped_shared(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * PAGE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 2 * PAGE):
        found = one(lambda segment: segment.name == str(path))
        assert found.kind == "file"
        assert [(mapper.pid, mapper.size) for mapper in found.mappers] == [(os.getpid(), 2 * PAGE)]
        assert {held.pid for held in found.descriptors} == {os.getpid()}
        assert found.orphan is False
        if found.size is not None:
            assert found.size == 3 * PAGE


@pytest.fixture
def libc() -> ctypes.CDLL:
    found = ctypes.CDLL(None, use_errno=True)
    if not os.path.exists("/proc/sysvipc/shm") or not hasattr(found, "shmget"):
        pytest.skip("no System V shared memory (CONFIG_SYSVIPC)")
    found.shmat.restype = ctypes.c_void_p
    found.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    found.shmdt.argtypes = [ctypes.c_void_p]
    return found


def test_system_v_memory_in_use_and_left_over(libc: ctypes.CDLL, children: Children) -> None:
    made = libc.shmget(IPC_PRIVATE, 5 * PAGE, IPC_CREAT | 0o600)
    if made < 0:
        pytest.skip(f"shmget: {os.strerror(ctypes.get_errno())}")
    try:
        address = libc.shmat(made, None, 0)
        ctypes.memset(address, 1, 2 * PAGE)
        used = one(lambda segment: segment.id == made)
        assert (used.kind, used.key, used.size) == ("System V", 0, 5 * PAGE)
        assert (used.resident, used.swapped) == (2 * PAGE, 0)
        assert [(mapper.pid, mapper.size) for mapper in used.mappers] == [(os.getpid(), 5 * PAGE)]
        assert (used.attached, used.creator, used.orphan) == (1, os.getpid(), False)
        libc.shmdt(address)
        found = one(lambda segment: segment.id == made)
        assert (found.attached, found.orphan, found.mappers) == (0, True, ())
        assert found.creator_ended is False
        assert not found.leaked
    finally:
        libc.shmctl(made, IPC_RMID, None)
    assert made not in [segment.id for segment in procmem.segments()]


def test_system_v_memory_whose_creator_has_crashed(libc: ctypes.CDLL, children: Children) -> None:
    read, write = children.pipe()

    def crashes() -> None:
        number = libc.shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0o600)
        os.write(write, str(number).encode())
        os.kill(os.getpid(), signal.SIGKILL)

    child = children.start(crashes)
    made = int(os.read(read, 64))
    if made < 0:
        pytest.skip("shmget failed")
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        found = one(lambda segment: segment.id == made)
        assert found.creator == child
        assert found.orphan is True
    finally:
        libc.shmctl(made, IPC_RMID, None)


def test_those_of_one_process(children: Children) -> None:
    with mmap.mmap(-1, PAGE):
        child = children.start(signal.pause, *PAUSE)
    mine = procmem.segments().of(child)
    assert all(child in users(segment) or segment.descriptors for segment in mine)
    assert any(segment.kind == "anonymous" for segment in mine)


SYSVIPC = b"""\
       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid \
     atime      dtime      ctime                   rss                  swap
        42      32771   600                  8192    77    77      2  1000     0     0     0 \
1795940979          0 1795940979                  4096                  4096
-559038737          0  1666           68719476736    78    78      0     0     0     0     0 \
         0          0 1795940979                     0                     0
"""


def test_the_table_of_system_v() -> None:
    first, second = parse_sysvipc(SYSVIPC)
    assert (first.key, first.id, first.size, first.attached) == (42, 32771, 8192, 2)
    assert (first.creator, first.owner, first.resident, first.swapped) == (77, 1000, 4096, 4096)
    assert second.key == 0xDEADBEEF
    assert second.size == 1 << 36
    assert parse_sysvipc(b"") == []
    assert parse_sysvipc(SYSVIPC.replace(b"rss", b"xyz"))[0].resident is None


def test_what_is_shared_in_a_text_of_maps() -> None:
    text = (
        b"1000-2000 rw-s 00000000 00:01 5    /SYSV0000002a (deleted)\n"
        b"2000-3000 r--s 00000000 00:1b 6    /dev/shm/with a space\n"
        b"3000-4000 rw-p 00000000 00:01 7    /memfd:x (deleted)\n"
        b"4000-5000 rw-p 00000000 00:00 0 \n"
        b"5000-6000 r-xp 00000000 fe:01 8    /usr/bin/cat\n"
        b"6000-7000 rw-s 00000000 00:05 9    /dev/dri/renderD128\n"
        b"7000-8000 rw-s 00000000 00:0f 10   /anon_hugepage (deleted)\n"
    )
    found = list(parse_shared_maps(text))
    assert [one.inode for one in found] == [5, 6, 7, 9, 10]
    assert [one.writable for one in found] == [True, False, True, True, True]
    assert found[1].name == b"/dev/shm/with a space"
    assert found[1].dev == 0x1B
    assert [kind_of(one.name) for one in found] == [
        "System V", "POSIX", "memfd", "DRM", "anonymous",
    ]  # fmt: skip
    assert shown_name("System V", b"/SYSV0000002a (deleted)") == "SYSV 0x2a"
    assert shown_name("System V", b"/SYSV00000000 (deleted)") == "SYSV 0x0"


def test_the_first_segment_of_an_ipc_namespace_has_no_inode_number_but_0() -> None:
    text = (
        b"1000-3000 rw-s 00000000 00:01 0    /SYSV00000000 (deleted)\n"
        b"3000-4000 rw-p 00000000 00:00 0 \n"
        b"4000-5000 rw-p 00000000 00:00 0    [heap]\n"
    )
    assert [(one.start, one.inode) for one in parse_shared_maps(text)] == [(0x1000, 0)]


FIRST = """
import ctypes, procmem
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
made = libc.shmget(0, 8192, 0o1600)
libc.shmat(made, None, 0)
assert made == 0, made
(one,) = [one for one in procmem.segments() if one.kind == "System V" and one.mappers]
print(one.id, one.size, one.orphan, *(mapper.pid for mapper in one.mappers))
print(procmem.Process().pid)
"""


def test_the_first_segment_of_an_ipc_namespace_is_mapped(libc: ctypes.CDLL) -> None:
    done = subprocess.run(
        ["unshare", "--user", "--ipc", sys.executable, "-c", FIRST],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unshare:" in done.stderr:
        pytest.skip(done.stderr.strip())
    segment, pid = done.stdout.splitlines()
    assert segment.split() == ["0", "8192", "False", pid]


SHM_HUGETLB, MFD_HUGETLB = 0o4000, 4


def test_huge_pages_of_system_v_and_of_a_memfd(libc: ctypes.CDLL) -> None:
    with machine.hugepages(2) as setting:
        if setting.reason:
            pytest.skip(setting.reason)
        huge = machine.hugepage_size()
        made = libc.shmget(IPC_PRIVATE, huge, IPC_CREAT | SHM_HUGETLB | 0o600)
        if made < 0:
            pytest.skip(f"shmget of huge pages: {os.strerror(ctypes.get_errno())}")
        file = os.memfd_create("huge", os.MFD_CLOEXEC | MFD_HUGETLB)
        address = libc.shmat(made, None, 0)
        try:
            os.truncate(file, huge)
            ctypes.memset(address, 1, 1)
            with mmap.mmap(file, huge) as memory:
                memory[0] = 1
                segment = one(lambda segment: segment.id == made)
                assert (segment.kind, segment.size) == ("System V", huge)
                assert segment.huge in (True, None)
                assert segment.resident == huge
                assert users(segment) == {os.getpid()}
                mine = one(
                    lambda segment: (
                        (os.getpid(), file) in [(each.pid, each.fd) for each in segment.descriptors]
                    )
                )
                assert (mine.kind, mine.name, mine.size) == ("memfd", "huge", huge)
                assert (mine.resident, mine.swapped) == (huge, 0)
                assert mine.huge is segment.huge
        finally:
            libc.shmdt(address)
            libc.shmctl(made, IPC_RMID, None)
            os.close(file)


def test_system_v_memory_of_another_ipc_namespace(libc: ctypes.CDLL, children: Children) -> None:
    """Its IDs begin at 0 again, as those of this namespace did: they are not the same memory."""
    read, write = children.pipe()

    def elsewhere() -> None:
        if libc.unshare(0x08000000):  # CLONE_NEWIPC
            os.write(write, b"-1")
            return
        number = libc.shmget(IPC_PRIVATE, 7 * PAGE, IPC_CREAT | 0o600)
        if number >= 0:
            ctypes.memset(libc.shmat(number, None, 0), 1, PAGE)
        os.write(write, str(number).encode())
        signal.pause()

    child = children.start(elsewhere)
    number = int(os.read(read, 64))
    if number < 0:
        pytest.skip("no IPC namespace can be made here (root's right)")
    found = one(lambda segment: child in users(segment) and segment.kind == "System V")
    assert found.name == "SYSV 0x0 in another IPC namespace"
    assert (found.id, found.size) == (number, 7 * PAGE)
    assert (found.key, found.attached, found.creator, found.orphan) == (None, None, None, False)
    assert users(found) == {child}


def test_whose_a_segment_is_that_only_a_descriptor_shows() -> None:
    file = os.memfd_create("owned")
    try:
        os.fchown(file, 65534, -1)
    except PermissionError:
        os.close(file)
        pytest.skip("giving a file away needs root")
    try:
        assert one(lambda segment: segment.name == "owned").owner == 65534
    finally:
        os.close(file)
