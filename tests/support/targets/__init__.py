"""Processes whose memory layout the tests determine.

``Target`` runs the program of ``target.c`` and has it map memory; its answers have exact
addresses and sizes. A target ends with its ``with`` block, with the thread that started it, and
with the test process, whichever comes first.
"""

from __future__ import annotations

import atexit
import contextlib
import enum
import errno
import fcntl
import hashlib
import json
import mmap
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.support.paths import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "NOBODY",
    "PAGE",
    "VARIANTS",
    "Advice",
    "CannotBuild",
    "Child",
    "Commands",
    "Mapping",
    "Regions",
    "StackGrowth",
    "Storm",
    "Target",
    "TargetDied",
    "TargetError",
    "Thread",
    "Threads",
    "Truths",
    "Variant",
    "Worker",
    "build",
    "copy_binary",
    "hostile_names",
    "kernel_thread",
    "needs",
    "start_copy",
    "started",
]

PAGE = mmap.PAGESIZE
NOBODY = 65534

# How long a target may take over one answer before it is held to be stuck.
PATIENCE = 300.0

#: PIDs of all processes that targets of this process had.
started: set[int] = set()

At = int | Literal["slot", "any"]
Path_ = str | bytes | os.PathLike[str]


class Advice(enum.IntEnum):
    """The advice of madvise(2), older Python's mmap module lacking some."""

    NORMAL = 0
    RANDOM = 1
    SEQUENTIAL = 2
    WILLNEED = 3
    DONTNEED = 4
    FREE = 8
    DONTFORK = 10
    MERGEABLE = 12
    HUGEPAGE = 14
    NOHUGEPAGE = 15
    DONTDUMP = 16
    WIPEONFORK = 18
    COLD = 20
    PAGEOUT = 21
    POPULATE_READ = 22
    POPULATE_WRITE = 23
    COLLAPSE = 25
    GUARD_INSTALL = 102
    GUARD_REMOVE = 103


class TargetError(OSError):
    """The kernel refused what a target asked for: ``.call`` and ``.errno`` say what and why."""

    def __init__(self, call: str, number: int) -> None:
        super().__init__(number, f"{call}: {os.strerror(number)}")
        self.call = call


class TargetDied(RuntimeError):
    """The target is gone or silent where an answer was due."""


# ---- building ----


@dataclass(frozen=True)
class Variant:
    """One way to build the target: extra flags, and the sizes of its known sections."""

    name: str = "plain"
    flags: tuple[str, ...] = ()
    data: int = 16384
    bss: int = 65536
    rodata: int = 16384
    library: bool = False


def big(name: str, *flags: str, library: bool = False) -> Variant:
    return Variant(name, flags, data=1_000_001, bss=8_000_003, rodata=1_500_005, library=library)


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(),
        big("big"),
        big("static", "-static"),
        big("static-pie", "-static-pie", "-fPIE"),
        big("no-pie", "-no-pie", "-fno-pie"),
        big("noseparate-code", "-Wl,-z,noseparate-code"),
        big("old-style", "-no-pie", "-fno-pie", "-Wl,-z,noseparate-code"),
        big("norelro", "-Wl,-z,norelro"),
        big("now", "-Wl,-z,relro,-z,now"),
        big("lazy", "-Wl,-z,relro,-z,lazy"),
        Variant("execstack", ("-Wl,-z,execstack",)),
        Variant("stripped", ("-s",)),
        big("huge-pages-aligned", "-Wl,-z,max-page-size=0x200000"),
        big("gold", "-fuse-ld=gold"),
        big("lld", "-fuse-ld=lld"),
        big("library", library=True),
    )
}


@cache
def directory() -> Path:
    """Where the compiled targets are: PROCMEM_TEST_TARGETS, or one for this process.

    Readable by everyone, since some targets run as another user.
    """
    given = os.environ.get("PROCMEM_TEST_TARGETS")
    if given:
        return Path(given)
    made = make_directory()
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def make_directory() -> Path:
    """A new directory for compiled targets; the caller removes it."""
    made = Path(tempfile.mkdtemp(prefix="procmem-targets-"))
    made.chmod(0o755)
    return made


class CannotBuild(RuntimeError):
    """The compiler or the linker lacks what a variant needs."""


def build(variant: Variant | str = "plain") -> Path:
    """The path of the compiled variant; compiled once per directory, by whoever comes first."""
    if isinstance(variant, str):
        variant = VARIANTS[variant]
    source = TARGETS / "target.c"
    library = TARGETS / "library.c"
    flags = [
        "-std=gnu11",
        "-O1",
        "-g",
        "-Wall",
        "-Wextra",
        "-pthread",
        f"-DDATA_BYTES={variant.data}",
        f"-DBSS_BYTES={variant.bss}",
        f"-DRODATA_BYTES={variant.rodata}",
        *variant.flags,
    ]
    key = hashlib.sha256(repr((flags, variant.library)).encode() + source.read_bytes())
    place = directory() / f"{variant.name}-{key.hexdigest()[:12]}"
    binary = place / "target"
    if binary.exists():
        return binary
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise CannotBuild("no C compiler")
    with open(directory() / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if binary.exists():
            return binary
        place.mkdir(mode=0o755, exist_ok=True)
        extra: list[str] = []
        if variant.library:
            shared = place / "libtarget.so"
            run_compiler([compiler, *flags, "-fPIC", "-shared", str(library), "-o", str(shared)])
            extra = ["-DWITH_LIBRARY", str(shared), f"-Wl,-rpath,{place}"]
        making = place / "target.new"
        run_compiler([compiler, *flags, str(source), *extra, "-o", str(making)])
        making.rename(binary)
    return binary


def run_compiler(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or done.stderr:
        raise CannotBuild(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")


# ---- what the answers hold ----


@dataclass(frozen=True, order=True)
class Mapping:
    """Memory that a target has mapped: [start, end)."""

    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size

    @property
    def pages(self) -> int:
        return self.size // PAGE

    def page(self, index: int, count: int = 1) -> Mapping:
        """``count`` pages of it, from page ``index`` on."""
        return Mapping(self.start + index * PAGE, count * PAGE)


@dataclass(frozen=True)
class Truths:
    """What only the process itself knows; addresses of its parts, 0 where it has no such part."""

    pid: int
    tid: int
    page_size: int
    execs: int
    brk: int
    main: int
    data: int
    data_bytes: int
    bss: int
    bss_bytes: int
    rodata: int
    rodata_bytes: int
    relro: int
    image: int
    etext: int
    edata: int
    bss_start: int
    end: int
    stack: int
    argv: int
    argv0: int
    environ: int
    execfn: int
    loader: int
    vdso: int
    libc_text: int
    libc_data: int
    library_text: int = 0
    library_data: int = 0
    library_bss: int = 0
    library_rodata: int = 0
    library_relro: int = 0


@dataclass(frozen=True)
class Regions:
    """The first ``made`` pages of ``span`` are a region each; ``error`` is why there are no more.

    What is left of ``span`` then is one region more.
    """

    span: Mapping
    made: int
    error: TargetError | None
    perms: tuple[str, str]

    def __getitem__(self, index: int) -> tuple[Mapping, str]:
        if not 0 <= index < self.made:
            raise IndexError(index)
        return self.span.page(index), self.perms[index % 2]


@dataclass(frozen=True)
class Thread:
    """``local`` is the address of a variable on its stack, ``chunk`` what it got from malloc."""

    tid: int
    local: int
    chunk: int


@dataclass(frozen=True)
class Threads:
    """Sleeping threads; glibc maps ``guard`` bytes below ``stack`` bytes for each (2.27 on)."""

    stack: int
    guard: int
    threads: tuple[Thread, ...]


@dataclass(frozen=True)
class Worker:
    """A thread that is busy until it is stopped."""

    number: int
    tid: int


@dataclass(frozen=True)
class Storm:
    """Threads that map, unmap, split and merge within ``span`` as fast as they can."""

    span: Mapping
    workers: tuple[int, ...]
    #: Regions whose bounds and permissions never change.
    stable: tuple[Mapping, ...]
    #: Ranges that stay mapped throughout, in regions whose bounds and permissions change.
    kept: tuple[Mapping, ...]
    #: Ranges that are never mapped.
    holes: tuple[Mapping, ...]


@dataclass(frozen=True)
class StackGrowth:
    """The stack was touched from ``top`` down to ``bottom``."""

    top: int
    bottom: int


def hexed(name: Path_) -> str:
    return os.fsencode(name).hex() or "-"


# ---- the commands ----


class Commands:
    """What a target obeys.

    Every method that maps takes ``at``: "slot" (a place of its own, so that it is one region and
    merges with nothing), "any" (the kernel's choice) or an address. A refusal by the kernel raises
    ``TargetError``; the target serves on.
    """

    truths: Truths
    _files: list[bytes]

    @property
    def pid(self) -> int:
        return self.truths.pid

    def _ask(self, *words: object) -> dict[str, Any]:
        raise NotImplementedError

    def _map(self, *words: object) -> Mapping:
        answer = self._ask(*words)
        return Mapping(int(answer["address"]), int(answer["length"]))

    def ping(self) -> None:
        """Return when every command before has been obeyed."""
        self._ask("ping")

    def ask_truths(self) -> Truths:
        """The truths as of now (``brk`` and ``tid`` may have changed)."""
        self.truths = Truths(**self._ask("truths"))
        return self.truths

    # ---- mapping ----

    def map(self, pages: int, perms: str = "rw-p", *, at: At = "slot", flags: int = 0) -> Mapping:
        """Anonymous memory, private or shared by the last letter of ``perms``."""
        return self._map("map", at, pages * PAGE, perms, flags)

    def map_file(
        self,
        path: Path_,
        pages: int,
        perms: str = "r--p",
        *,
        offset: int = 0,
        at: At = "slot",
        flags: int = 0,
    ) -> Mapping:
        """A file or a device such as /dev/zero; ``offset`` in bytes."""
        name = hexed(path)
        return self._map("file", at, pages * PAGE, perms, offset, name, flags)

    def map_memfd(
        self,
        name: str | bytes,
        pages: int,
        perms: str = "rw-s",
        *,
        at: At = "slot",
        flags: int = 0,
    ) -> Mapping:
        """A memfd; ``flags`` of memfd_create."""
        return self._map("memfd", at, pages * PAGE, perms, hexed(name), flags)

    def map_shm(
        self,
        name: str | bytes,
        pages: int,
        perms: str = "rw-s",
        *,
        keep: bool = False,
        at: At = "slot",
    ) -> Mapping:
        """POSIX shared memory /dev/shm/NAME, unlinked at once, or with the target if ``keep``."""
        path = b"/dev/shm/" + os.fsencode(name)
        mapping = self._map("shm", at, pages * PAGE, perms, hexed(path), int(keep))
        if keep:
            self._files.append(path)
        return mapping

    def map_sysv(
        self,
        pages: int,
        perms: str = "rw-s",
        *,
        key: int = 0,
        huge: bool = False,
        at: At = "slot",
    ) -> Mapping:
        """System V shared memory, already removed when this returns. ``key`` 0 is private.

        Keys are the whole machine's: EEXIST where another process has it at the time.
        """
        flags = 0o4000 if huge else 0
        return self._map("sysv", at, pages * PAGE, perms, key, flags)

    def map_huge(self, size: int, perms: str = "rw-p", *, at: At = "slot") -> Mapping:
        """``size`` bytes of MAP_HUGETLB memory."""
        return self._map("map", at, size, perms, 0x40000)

    def map_secret(self, pages: int, perms: str = "rw-s", *, at: At = "slot") -> Mapping:
        """Memory of memfd_secret(2)."""
        return self._map("secret", at, pages * PAGE, perms)

    def map_uring(self, entries: int = 8) -> Mapping:
        """The submission and completion rings of an io_uring."""
        ring = self._map("uring", entries)
        return Mapping(ring.start, -(-ring.size // PAGE) * PAGE)

    def map_perf(self, pages: int = 1) -> Mapping:
        """The ring of a perf event: ``pages``, a power of two, and one page before them."""
        return self._map("perf", pages)

    def map_aio(self, events: int = 8) -> Mapping:
        """The ring of io_setup(2); the kernel chose its size, so the mapping's is 0."""
        return self._map("aio", events)

    def map_packet(self, blocks: int = 4) -> Mapping:
        """The receive ring of a packet socket."""
        return self._map("packet", blocks)

    def map_tcp(self, pages: int = 4) -> Mapping:
        """The zero-copy window of a TCP socket."""
        return self._map("tcp", pages * PAGE)

    def regions(
        self,
        count: int,
        *,
        touched: bool = False,
        path: Path_ | None = None,
        at: At = "slot",
    ) -> Regions:
        """``count`` regions of one page: rw-p and r--p in turn, or all r--p of the file ``path``.

        Where vm.max_map_count stops it, ``made`` and ``error`` of the answer say so.
        """
        kind = "file" if path is not None else "touched" if touched else "anon"
        name = "-" if path is None else hexed(path)
        answer = self._ask("regions", at, count, kind, name)
        number = int(answer["errno"])
        return Regions(
            Mapping(int(answer["address"]), int(answer["length"])),
            int(answer["made"]),
            TargetError(str(answer["call"]), number) if number else None,
            ("r--p", "r--p") if path is not None else ("rw-p", "r--p"),
        )

    # ---- changing what is mapped ----

    def unmap(self, mapping: Mapping) -> None:
        self._ask("unmap", mapping.start, mapping.size)

    def protect(self, mapping: Mapping, perms: str) -> None:
        self._ask("protect", mapping.start, mapping.size, perms)

    def protect_with_key(self, mapping: Mapping, perms: str = "rw-p") -> int:
        """Put it under a new memory protection key, and return that."""
        return int(self._ask("pkey", mapping.start, mapping.size, perms)["pkey"])

    def remap(self, mapping: Mapping, size: int, *, flags: int = 1) -> Mapping:
        """mremap(2); ``flags`` 1 is MREMAP_MAYMOVE, 5 adds MREMAP_DONTUNMAP."""
        return self._map("remap", mapping.start, mapping.size, size, flags)

    def madvise(self, mapping: Mapping, advice: Advice) -> None:
        """madvise(2), with an ``Advice``."""
        self._ask("madvise", mapping.start, mapping.size, int(advice))

    def lock(self, mapping: Mapping, *, on_fault: bool = False) -> None:
        self._ask("lock", mapping.start, mapping.size, int(on_fault))

    def unlock(self, mapping: Mapping) -> None:
        self._ask("unlock", mapping.start, mapping.size)

    def name(self, mapping: Mapping, name: str | bytes) -> None:
        """PR_SET_VMA_ANON_NAME."""
        self._ask("name", mapping.start, mapping.size, hexed(name))

    def seal(self, mapping: Mapping) -> None:
        """mseal(2)."""
        self._ask("seal", mapping.start, mapping.size)

    def touch(self, mapping: Mapping, pages: int | None = None) -> None:
        """Write one byte into each of the first ``pages`` pages (all of them)."""
        self._ask("touch", mapping.start, mapping.pages if pages is None else pages)

    def read(self, mapping: Mapping, pages: int | None = None) -> None:
        """Read one byte of each of the first ``pages`` pages (all of them)."""
        self._ask("read", mapping.start, mapping.pages if pages is None else pages)

    def poke(self, address: int, data: bytes) -> None:
        """Write ``data`` there."""
        self._ask("poke", address, data.hex() or "-")

    def grow_stack(self, pages: int) -> StackGrowth:
        """Touch ``pages`` pages of stack below where it is."""
        answer = self._ask("stack", pages)
        return StackGrowth(int(answer["top"]), int(answer["bottom"]))

    def brk(self, change: int) -> tuple[int, int]:
        """Move the program break by ``change`` bytes; the breaks before and after."""
        answer = self._ask("brk", change)
        return int(answer["before"]), int(answer["after"])

    def malloc(self, size: int) -> int:
        return self._map("malloc", size).start

    def free(self, address: int) -> None:
        self._ask("free", address)

    # ---- threads ----

    def threads(
        self,
        count: int = 1,
        *,
        stack: int = 0,
        guard: int = 0,
        malloc: int = 0,
        name: str | bytes = "",
    ) -> Threads:
        """``count`` threads that sleep; each calls malloc(``malloc``) first, if that is not 0.

        Sizes in bytes; 0 is glibc's default. The first thread makes glibc allocate: a heap.
        """
        answer = self._ask("threads", count, stack, guard, malloc, hexed(name))
        return Threads(
            int(answer["stack"]),
            int(answer["guard"]),
            tuple(Thread(**each) for each in answer["threads"]),
        )

    def join_threads(self) -> None:
        """End all sleeping threads; glibc keeps up to 40 MiB of their stacks mapped."""
        self._ask("join")

    def _worker(self, *words: object) -> Worker:
        answer = self._ask(*words)
        return Worker(int(answer["worker"]), int(answer["tid"]))

    def spin(self) -> Worker:
        """A thread that burns its CPU."""
        return self._worker("spin")

    def churn(self, mapping: Mapping) -> Worker:
        """A thread that touches and drops all pages of a mapping, over and over."""
        return self._worker("churn", mapping.start, mapping.pages)

    def forks(self) -> Worker:
        """A thread that makes children which exit at once, and reaps them."""
        return self._worker("forks")

    def storm(self, areas: int = 8, threads: int = 1) -> Storm:
        """Start a storm over so many areas of 24 pages; it is at full speed on return."""
        answer = self._ask("storm", areas, threads)
        span = Mapping(int(answer["address"]), int(answer["length"]))
        step = int(answer["area"])
        firsts = range(0, areas * step, step)
        return Storm(
            span,
            tuple(answer["workers"]),
            tuple(span.page(first + 16, 4) for first in firsts),
            tuple(
                span.page(first + start, count)
                for first in firsts
                for start, count in ((0, 4), (8, 8))
            ),
            tuple(span.page(first + 20, 4) for first in firsts),
        )

    def rounds(self, worker: Worker | int) -> int:
        """How often a worker has gone round so far."""
        number = worker if isinstance(worker, int) else worker.number
        return int(self._ask("rounds", number)["rounds"])

    def stop(self, worker: Worker | Storm | int) -> int:
        """End a worker, or all of a storm, and return its rounds."""
        if isinstance(worker, Storm):
            return sum(self.stop(number) for number in worker.workers)
        number = worker if isinstance(worker, int) else worker.number
        return int(self._ask("stop", number)["rounds"])

    def exit_leader(self) -> int:
        """End the thread that the process is named after; the TID of the one that serves on.

        From then on /proc/PID/maps is empty. Children made by fork() before die of it.
        """
        return int(self._ask("leader")["tid"])

    # ---- processes ----

    def exec(self, path: Path_ | None = None) -> Truths:
        """Replace itself by another target, or by itself; the new truths."""
        self.truths = Truths(**self._ask("exec", "-" if path is None else hexed(path)))
        return self.truths

    def fork(self, pid: int = 0) -> Child:
        """A child that shares every page with it and obeys commands of its own.

        With ``pid`` it gets that PID, which must be free; that takes CAP_CHECKPOINT_RESTORE.
        """
        truths = Truths(**self._ask("fork", pid))
        started.add(truths.pid)
        return Child(self, truths)

    def zombie(self) -> int:
        """The PID of a child that has exited and that nobody has waited for."""
        return int(self._ask("zombie")["pid"])

    def reap(self, pid: int) -> None:
        """Wait for a zombie or end a forked child."""
        self._ask("reap", pid)

    def comm(self, name: str | bytes) -> None:
        """Name the serving thread: the process, as long as its leader lives."""
        self._ask("comm", hexed(name))

    def dumpable(self, on: bool) -> None:
        """A process that is not dumpable hides its memory from its own user."""
        self._ask("dumpable", int(on))

    def personality(self, flags: int) -> None:
        """personality(2); it takes effect at the next exec."""
        self._ask("personality", flags)

    def limit(self, resource: int, value: int) -> None:
        """setrlimit(2), soft and hard alike."""
        self._ask("limit", resource, value)

    def chdir(self, path: Path_) -> None:
        self._ask("chdir", hexed(path))


class Child(Commands):
    """A forked child of a target. It obeys the same commands and ends with its parent."""

    def __init__(self, parent: Commands, truths: Truths) -> None:
        self.parent = parent
        self.truths = truths
        self._files = parent._files
        self._closed = False

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, *words: object) -> dict[str, Any]:
        return self.parent._ask("tell", self.pid, *words)

    def close(self) -> None:
        """End it and let its parent reap it."""
        if not self._closed:
            self._closed = True
            self.parent.reap(self.pid)


# ---- the target ----


class Target(Commands):
    """A running target; a context manager. It ends with the block, whatever happens in it."""

    def __init__(
        self,
        binary: Path_ | None = None,
        *,
        args: Sequence[str | bytes] | None = None,
        user: int | None = None,
        env: dict[str, str] | None = None,
        cwd: Path_ | None = None,
    ) -> None:
        """Start ``binary`` (the plain variant). ``args`` is the whole argv, argv[0] included.

        ``user`` starts it under that user and group ID, which takes root.
        """
        self._buffer = b""
        self._files: list[bytes] = []
        self._closed = False
        executable = os.fsencode(binary if binary is not None else build())
        self._process = subprocess.Popen(
            [os.fsencode(arg) for arg in args] if args is not None else [executable],
            executable=executable,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=env,
            cwd=cwd,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        started.add(self.pid)
        try:
            self.truths = Truths(**self._receive())
            # The signal follows the thread that started the target, not the process; end of file
            # on standard input serves where that thread may end first.
            if threading.current_thread() is threading.main_thread():
                self._ask("deathsig 1")
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the target, reap it and remove what it kept. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        process = self._process
        try:
            # At end of file it ends its own children, reaps them and leaves.
            with contextlib.suppress(OSError):
                if process.stdin is not None:
                    process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                if process.poll() is None:
                    process.send_signal(signal.SIGCONT)
                process.wait(300)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            for path in self._files:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def kill(self) -> None:
        """SIGKILL, and reap."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        """Send a signal to it, and only to it; nothing if it has been reaped."""
        self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for it to end by itself."""
        return self._process.wait(timeout)

    # ---- the line to it ----

    def _receive(self) -> dict[str, Any]:
        stream = self._process.stdout
        assert stream is not None
        deadline = time.monotonic() + PATIENCE
        # select() takes no descriptors above 1,023.
        waiting = select.poll()
        waiting.register(stream, select.POLLIN)
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not waiting.poll(left * 1000):
                raise TargetDied(f"target {self.pid} did not answer in {PATIENCE:.0f} s")
            got = os.read(stream.fileno(), 65536)
            if not got:
                code = self._process.wait(PATIENCE)
                raise TargetDied(f"target {self.pid} ended with status {code}")
            self._buffer += got
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise TargetError(str(answer["call"]), int(answer["errno"]))
        return answer

    def _send(self, *words: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        except BrokenPipeError:
            raise TargetDied(f"target {self.pid} ended with status {self.wait()}") from None

    def _ask(self, *words: object) -> dict[str, Any]:
        self._send(*words)
        return self._receive()

    # ---- its end, and its new lives ----

    def start_execs(self, regions: int = 0) -> None:
        """Exec itself over and over, with so many regions mapped before each exec."""
        self._ask("execs", regions)

    def stop_execs(self) -> int:
        """End that, and return how often it has been done."""
        self._send("ping")
        self.truths = Truths(**self._receive())
        self._receive()
        return self.truths.execs

    def exit(self, status: int = 0) -> int:
        """Let it exit by itself, and reap it."""
        self._send("exit", status)
        return self.wait()


# ---- hostile names ----


def copy_binary(to: Path_, binary: Path_ | None = None) -> bytes:
    """Copy a target to a path of any bytes, and return the path to start it by."""
    path = os.path.abspath(os.fsencode(to))
    shutil.copyfile(os.fsencode(binary if binary is not None else build()), path)
    os.chmod(path, 0o755)
    return path


def start_copy(
    to: Path_, binary: Path_ | None = None, *, then: Literal["", "delete", "replace"] = ""
) -> Target:
    """A target whose executable is ``to``; the file is deleted or replaced while it runs."""
    path = copy_binary(to, binary)
    # A file name may be as long as the file system allows, so the new file is not named after it.
    new = os.path.join(os.path.dirname(path), b"replacement")
    target = Target(path)
    try:
        if then == "replace":
            os.rename(copy_binary(new, binary), path)
        elif then == "delete":
            os.unlink(path)
    except BaseException:
        target.close()
        raise
    return target


def hostile_names(long: bool = True) -> dict[str, bytes]:
    """File names that break careless parsers of /proc/PID/maps, by what is hostile in them."""
    names = {
        "newline": b"new\nline",
        "newline first": b"\nfirst",
        "newline last": b"last\n",
        "looks like a line": b"x\n00400000-00401000 r-xp 00000000 00:00 0 ",
        "tab": b"tab\tbed",
        "carriage return": b"carriage\rreturn",
        "vertical tab, form feed": b"vertical\x0bform\x0c",
        "escape sequence": b"\x1b[31mred\x1b[0m\x1b]0;title\x07",
        "control bytes": bytes(range(1, 10)) + bytes(range(11, 32)) + b"\x7f",
        "next line": b"next\xc2\x85line \xe2\x80\xa8separator",
        "next line, latin-1": b"next\x85line",
        "not UTF-8": b"\xff\xfe\x80bytes",
        "UTF-8": "höhle-日本-🦊".encode(),
        "deleted": b"file (deleted)",
        "spaces": b" leading  double and trailing ",
        "one space": b" ",
        "brackets": b"[heap]",
        "bracket word": b"[anon:named]",
        "literal \\012": b"back\\012slash",
        "backslashes": b"back\\slash\\",
        "quotes": b"'single' \"double\" $(x) `y` %s",
        "equals": b"key=value",
        "colon": b"memfd:name",
    }
    if long:
        names["255 bytes"] = b"n" * 255
    return names


def kernel_thread() -> int | None:
    """The PID of a kernel thread, None in a PID namespace that has none."""
    try:
        words = Path("/proc/2/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    # PF_KTHREAD
    return 2 if int(words[6]) & 0x00200000 else None


def refused(error: OSError) -> bool:
    """Whether the kernel, its configuration or its policy lacks what was asked for."""
    return error.errno in {
        errno.ENOSYS,
        errno.EINVAL,
        errno.EPERM,
        errno.EACCES,
        errno.EOPNOTSUPP,
        errno.EAFNOSUPPORT,
        errno.ENODEV,
        errno.ENOENT,
    }


@contextlib.contextmanager
def needs(feature: str) -> Iterator[None]:
    """Skip the test, naming ``feature``, where the kernel refuses what the block asks for."""
    try:
        yield
    except OSError as error:
        if not refused(error):
            raise
        import pytest

        pytest.skip(f"kernel feature missing: {feature} ({error})")
