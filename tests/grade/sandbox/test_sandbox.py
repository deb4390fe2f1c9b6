"""The sandbox against programs that should not be let near a machine."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from procmem.grade import (
    Limits,
    OutputFlood,
    OverLimit,
    ProgramEnded,
    RunFailed,
    Sandbox,
    SandboxError,
    Submission,
    SubmissionError,
)
from procmem.grade.sandbox import cgroups, untrusted
from procmem.grade.sandbox.kinds import KINDS
from procmem.grade.sandbox.sandbox import why_not
from tests.support.paths import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

MiB = 1 << 20
LIMITS = Limits(
    cpu=1, wall=3, processes=32, file_size=8 * MiB, disk=32 * MiB, files=500, memory=64 * MiB
)
ROOT = os.geteuid() == 0


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("hostile")
    source = TARGETS / "hostile.c"
    try:
        subprocess.run(["gcc", "-O1", "-g", "-o", directory / "hostile", source], check=True)
    except FileNotFoundError:
        pytest.skip("no gcc here")
    return directory


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    if reason := why_not(chosen):
        pytest.skip(f"no sandbox of the kind {chosen}: {reason}")
    return chosen


@pytest.fixture
def box(kind: str) -> Sandbox:
    return Sandbox(kind, limits=LIMITS)


@pytest.fixture
def hostile(box: Sandbox, binary: Path) -> Iterator[Submission]:
    """A submission whose program is hostile; nothing of it may be left."""
    with Submission(binary, program=["./hostile"], sandbox=box) as made:
        job = made.job
        place = os.path.dirname(job.directory)
        groups = set() if job._cgroup is None else set(job._cgroup.directories.values())
        yield made
    assert not os.path.exists(place)
    assert not [path for path in groups if os.path.exists(path)]
    if ROOT:
        assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and owner(pid) == job.uid]


def owner(pid: str) -> int:
    with contextlib.suppress(OSError):
        return os.stat(f"/proc/{pid}").st_uid
    return -1


def walled(kind: str) -> None:
    """Skips where nothing keeps a user's programs apart."""
    if kind == "rlimits":
        pytest.skip("rlimits are no wall against that")


def ended(submission: Submission, *words: str) -> int:
    with submission.program().run(*words) as run:
        status = run.finish().status
        print(run.output)
    assert status is not None
    return status


# ---- what it may use ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["memory", "memory-shared"])
def test_memory_bombs(hostile: Submission, how: str) -> None:
    with hostile.program().run(how) as run, pytest.raises(OverLimit) as caught:
        run.pause()
    assert caught.value.limit == "memory"


def test_fork_bombs(hostile: Submission) -> None:
    with hostile.program().run("fork") as run:
        with pytest.raises(RunFailed):
            run.pause()
        # Its processes wait for each other's CPU: that is no time that others took from it.
        assert run._spent < 3 * LIMITS.wall
    with hostile.program().run("wait") as run:
        run.pause()


def test_output_floods(kind: str, binary: Path) -> None:
    """The bound on output comes before that on CPU time, however slow the processor."""
    patient = Sandbox(kind, limits=replace(LIMITS, cpu=120, wall=600))
    with (
        Submission(binary, program=["./hostile"], sandbox=patient) as made,
        made.program().run("flood") as run,
        pytest.raises(OutputFlood),
    ):
        run.pause()


@pytest.mark.parametrize("how, limit", [("file", "file_size"), ("files", "disk"),
                                            ("inodes", "files")])  # fmt: skip
def test_file_bombs(hostile: Submission, how: str, limit: str) -> None:
    with hostile.program().run(how) as run, pytest.raises(OverLimit) as caught:
        run.pause()
    assert caught.value.limit == limit


def test_files_that_are_memory(box: Sandbox, binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a tmpfs a cgroup's bound of memory may come first: the files are named all the same."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        os.chmod(place, 0o711)
        monkeypatch.setattr(tempfile, "tempdir", place)
        with Submission(binary, program=["./hostile"], sandbox=box) as made:
            with made.program().run("files") as run, pytest.raises(OverLimit) as caught:
                run.pause()
            assert caught.value.limit == "disk"


def test_cpu_bombs_in_a_build(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n\twhile :; do :; done\n")
    quick = Sandbox(box.kind, building=Limits(cpu=1, wall=10))
    with Submission(tmp_path, build=["make"], sandbox=quick) as submission:
        assert not submission.build.ok


# ---- what it may leave ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["daemon", "daemons"])
def test_daemons_die_with_their_run(hostile: Submission, how: str) -> None:
    name = uuid.uuid4().hex[:15]
    with hostile.program().run(how, name) as run, contextlib.suppress(ProgramEnded):
        run.pause()
    assert not named(name)


def named(name: str) -> list[str]:
    found = []
    for pid in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if pid.isdigit() and Path("/proc", pid, "comm").read_bytes().strip() == name.encode():
                found.append(pid)
    return found


def test_odd_files_are_removed(hostile: Submission) -> None:
    assert ended(hostile, "odd-names") == 0


def test_deep_trees_are_removed(hostile: Submission) -> None:
    with pytest.raises(OverLimit):
        ended(hostile, "deep")


def test_shared_memory_goes(hostile: Submission, kind: str) -> None:
    size = 1_000_000 + os.getpid()
    # Where no IPC namespace would remove it, none can be made.
    refused = kind in {"landlock", "rlimits"}
    assert ended(hostile, "shared-memory", f"{size}") == refused
    with contextlib.suppress(FileNotFoundError):
        # key, shmid, perms, size ...: others may make segments meanwhile.
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        assert f"{size}" not in [line.split()[3] for line in lines]


GRADER = """
import sys, time
from procmem.grade import Sandbox, Submission
with Submission({source!r}, program=["./hostile"], sandbox=Sandbox({kind!r})) as made:
    with made.program().run("wait") as run:
        run.pause()
        groups = list(made.job._cgroup.directories.values())
        print(run.pid, made.job.directory, *groups, flush=True)
        time.sleep(600)
"""


def test_nothing_outlives_a_grader_that_is_killed(kind: str, binary: Path) -> None:
    code = GRADER.format(source=str(binary), kind=kind)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as grader:
        assert grader.stdout is not None
        pid, directory, *groups = grader.stdout.readline().split()
        assert os.path.exists(f"/proc/{pid}")
        grader.kill()
    deadline = time.monotonic() + 300
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{pid}")
    while time.monotonic() < deadline:
        # What it left is removed by the next one.
        Sandbox(kind).job().close()
        if not any(map(os.path.exists, [directory, *groups])):
            break
    assert not [path for path in [directory, *groups] if os.path.exists(path)]


def test_several_graders_at_once(kind: str, binary: Path) -> None:
    code = GRADER.format(source=str(binary), kind=kind).replace("run.pid", "made.job.uid")
    graders = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        told = [grader.stdout.readline().split() for grader in graders]  # type: ignore[union-attr]
    finally:
        for grader in graders:
            grader.kill()
            grader.communicate()
    assert len({directory for _, directory, *_ in told}) == 3
    assert len({uid for uid, *_ in told}) == (3 if ROOT else 1)
    Sandbox(kind).job().close()


# ---- whom it may disturb --------------------------------------------------------------------


def test_killing_does_not_reach_others(hostile: Submission, box: Sandbox, binary: Path) -> None:
    if box.kind in {"landlock", "rlimits"} and not ROOT:
        pytest.skip("as an ordinary user all programs are one user's: nothing keeps signals apart")
    with (
        Submission(binary, program=["./hostile"], sandbox=box) as other,
        other.program().run("wait") as neighbour,
    ):
        neighbour.pause()
        for pid in (neighbour.pid, os.getpid()):
            with hostile.program().run("kill", f"{pid}") as run, contextlib.suppress(RunFailed):
                run.finish()
        neighbour.answer()
        neighbour.pause()
        neighbour.answer()
        assert neighbour.finish().status == 0


def test_neighbours_are_not_seen(hostile: Submission, box: Sandbox, binary: Path) -> None:
    if not ROOT:
        walled(str(box.kind))
    with (
        Submission(binary, program=["./hostile"], sandbox=box) as other,
        other.program().run("wait") as neighbour,
    ):
        neighbour.pause()
        for pid in (neighbour.pid, os.getpid()):
            assert ended(hostile, "ptrace", f"{pid}") == 0
        if box.kind != "rlimits":
            assert ended(hostile, "neighbours") == 0
        secret = os.path.join(other.directory, "hostile")
        names = [other.directory, secret, f"/proc/{neighbour.pid}/root{secret}"]
        assert ended(hostile, "read", *names) == 0
        assert ended(hostile, "write", secret, os.path.join(other.directory, "new")) == 0


def test_checks_results_and_homes_are_not_seen(hostile: Submission, kind: str, tmp_path: Path
                                               ) -> None:  # fmt: skip
    walled(kind)
    results = tmp_path / "results.json"
    results.write_text("{}")
    results.chmod(0o666)
    names = [__file__, str(results), str(tmp_path), os.path.expanduser("~"), "/root", "/home",
             "/etc/passwd", "/etc/shadow", "/var", os.path.dirname(hostile.directory),
             os.path.dirname(os.path.dirname(hostile.directory))]  # fmt: skip
    if kind == "landlock":
        names.remove(os.path.dirname(hostile.directory))
    assert ended(hostile, "read", *names) == 0
    assert ended(hostile, "write", str(results), str(tmp_path / "new"), "/usr/new") == 0
    assert results.read_text() == "{}"


def test_a_lab_below_usr_is_not_seen(kind: str, tmp_path: Path) -> None:
    walled(kind)
    hidden, beside = "/usr/include/linux/limits.h", "/usr/include/stdio.h"
    if not (os.path.exists(hidden) and os.path.exists(beside)):
        pytest.skip("no headers of the C library here")
    box = Sandbox(kind, hidden=(os.path.dirname(hidden),))
    script = f"cat {hidden} && echo seen; cat {beside} >/dev/null && gcc --version && echo well"
    with (
        Submission(tmp_path, program=["sh", "-c", script], sandbox=box) as made,
        made.program().run() as run,
    ):
        run.finish()
        assert run.output.splitlines()[-1] == "well"
        assert "seen" not in run.output


def test_no_network(hostile: Submission, kind: str) -> None:
    walled(kind)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ended(hostile, "connect", f"{server.getsockname()[1]}") == 0
    name = uuid.uuid4().hex
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0{name}")
        local.listen()
        if kind != "landlock":
            assert ended(hostile, "abstract", name) == 0


# Families of sockets that a network namespace does not hold: AF_VSOCK, AF_BLUETOOTH, AF_QIPCRTR.
@pytest.mark.parametrize("family", [40, 31, 42])
@pytest.mark.parametrize("how", ["family", "family-32"])
def test_families_that_reach_out_of_a_namespace(hostile: Submission, how: str, family: int) -> None:
    if how == "family-32" and os.uname().machine != "x86_64":
        pytest.skip("no 32-bit calls here")
    status = ended(hostile, how, f"{family}")
    assert status in {errno.EACCES, errno.ENOSYS}  # ENOSYS: this kernel has no 32-bit calls


def test_families_that_a_namespace_holds(hostile: Submission, kind: str) -> None:
    inside = kind != "landlock"
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        allowed = inside or family == socket.AF_UNIX
        told = ended(hostile, "family", f"{int(family)}")
        assert told in ({0, errno.EAFNOSUPPORT} if allowed else {errno.EACCES})


def test_nothing_waits_where_sigchld_is_ignored(kind: str, binary: Path) -> None:
    """bwrap(1) would wait for ever: the kernel sends no SIGCHLD that its parent ignored."""
    code = f"""
import signal, os
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from procmem.grade import Sandbox, Submission
with Submission({str(binary)!r}, program=["./hostile"], sandbox=Sandbox({kind!r})) as made:
    with made.program().run("wait") as run:
        run.pause()
        run.answer()
        print(run.finish().status)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr


def test_only_the_standard_descriptors(hostile: Submission) -> None:
    assert ended(hostile, "descriptors") == 3


@pytest.mark.parametrize("how", ["hide", "hide-in-turns"])
def test_who_hides_from_the_grader_has_failed(hostile: Submission, how: str) -> None:
    with hostile.program().run(how) as run:
        run.pause()
        run.answer()
        if ROOT and how == "hide":
            run.pause()
        elif how == "hide":
            with pytest.raises(RunFailed, match="hides from the grader"):
                run.pause()
        else:
            # It may be met while it shows itself; that is no fault of the machine's, either.
            with contextlib.suppress(RunFailed):
                run.pause()


def test_nothing_is_typed_into_its_terminal(hostile: Submission) -> None:
    assert ended(hostile, "type") in {0, 6}


def test_huge_words(hostile: Submission) -> None:
    with hostile.program().run("huge-words") as run:
        snapshot = run.pause()
        assert snapshot.regions.filter(kind="stack")[0].size > MiB


# ---- building -------------------------------------------------------------------------------


def test_a_makefile_that_destroys(box: Sandbox, tmp_path: Path) -> None:
    walled(str(box.kind))
    (tmp_path / "a.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "Makefile").write_text(
        "all:\n\trm -rf --no-preserve-root / 2>/dev/null || true\n\techo done\n"
    )
    with Submission(tmp_path, build=["make"], program=["./a"], sandbox=box) as submission:
        assert "done" in submission.build.output or not submission.build.ok
        with pytest.raises(SubmissionError):
            submission.program()
    assert (tmp_path / "a.c").exists()


def test_a_makefile_that_preloads(box: Sandbox, binary: Path, tmp_path: Path) -> None:
    assert binary.exists()  # there is a compiler
    shutil.copy(TARGETS / "hostile.c", tmp_path)
    (tmp_path / "evil.c").write_text("int getpid(void) { return 1; }\n")
    (tmp_path / "Makefile").write_text(
        textwrap.dedent("""\
        export LD_PRELOAD = $(CURDIR)/evil.so
        all: evil.so hostile
        \tenv | grep LD_PRELOAD
        evil.so: evil.c
        \tenv -u LD_PRELOAD gcc -shared -fPIC -o evil.so evil.c
        hostile: hostile.c
        \tenv -u LD_PRELOAD gcc -o hostile hostile.c
        """)
    )
    with Submission(tmp_path, build=["make"], program=["./hostile"], sandbox=box) as submission:
        assert "LD_PRELOAD" in submission.build.output
        assert ended(submission, "preloaded") == 0
        with submission.program().run("wait") as run:
            run.pause()
            assert not [path for path in run.libraries if "evil" in path]


def test_a_makefile_that_stays(box: Sandbox, tmp_path: Path) -> None:
    name = uuid.uuid4().hex[:15]
    (tmp_path / "Makefile").write_text(
        f"all:\n\tcp /bin/sleep {name}\n\tsetsid ./{name} 1000 >/dev/null 2>&1 &\n"
    )
    with Submission(tmp_path, build=["make"], sandbox=box) as submission:
        assert submission.build.ok, submission.build
        assert not named(name)


# ---- what is copied -------------------------------------------------------------------------


def test_what_is_copied(box: Sandbox, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "plain").write_text("1")
    (source / "sub" / "in").symlink_to("../plain")
    (source / "absolute").symlink_to(outside)
    (source / "relative").symlink_to("../outside")
    (source / "nowhere").symlink_to("none")
    (source / "loop").symlink_to("loop")
    os.mkfifo(source / "fifo")
    os.mknod(source / "socket", 0o600 | stat.S_IFSOCK)
    odd = b"new\nline \xff\x1b[2J"
    with open(os.path.join(os.fsencode(source), odd), "wb") as file:
        file.write(b"2")
    (source / "huge").touch()
    os.truncate(source / "huge", 1 << 40)
    if ROOT:
        os.mknod(source / "device", 0o020666, os.makedev(1, 5))
    with Submission(source, sandbox=box) as submission:
        there = sorted(os.listdir(os.fsencode(submission.directory)))
        assert there == sorted([b"loop", b"nowhere", b"plain", b"sub", odd])
        told = "\n".join(submission.notes)
        for words in ("absolute is a link to outside", "relative is a link to outside",
                      "fifo is a FIFO", "socket is a socket", "huge is too large"):  # fmt: skip
            assert words in told
        assert "\x1b" not in told
        assert submission.read("plain") == "1"
        for name in ("sub/in", "loop", "../outside", "/etc/passwd", "", "sub", "none"):
            with pytest.raises(SubmissionError):
                submission.read(name)


def test_too_many_files(box: Sandbox, tmp_path: Path) -> None:
    for at in range(LIMITS.files + 10):
        (tmp_path / f"{at}").touch()
    with Submission(tmp_path, sandbox=box) as submission:
        assert len(os.listdir(submission.directory)) == LIMITS.files
        assert "more than 500 files" in submission.notes[-1]


def test_files_that_change_under_the_grader(hostile: Submission) -> None:
    ended(hostile, "odd-names")
    for name in ("fifo", "link", "closed"):
        with pytest.raises(SubmissionError, match=name):
            hostile.path(name)


# ---- the kinds ------------------------------------------------------------------------------


def test_a_kind_that_is_not_there() -> None:
    with pytest.raises(SandboxError, match="there is no such kind"):
        Sandbox("castle").chosen()


def test_the_strongest_is_chosen() -> None:
    works = [kind for kind in KINDS if not why_not(kind)]
    assert Sandbox().chosen() == works[0]


def test_weak_ones_say_so(kind: str) -> None:
    assert bool(Sandbox(kind).warning()) is (kind == "rlimits")


@pytest.mark.skipif(not ROOT, reason="only root can give a job a user of its own")
def test_users_of_jobs(kind: str) -> None:
    with Sandbox(kind).job() as one, Sandbox(kind).job() as other:
        assert 0 not in {one.uid, other.uid}
        assert one.uid != other.uid


def test_cgroups_bound_memory_without_a_look(binary: Path, kind: str) -> None:
    if "memory" not in cgroups.parents():
        pytest.skip("no memory cgroup can be made here")
    with (
        Submission(binary, program=["./hostile"], sandbox=Sandbox(kind, limits=LIMITS)) as made,
        made.program().run("memory") as run,
    ):
        deadline = time.monotonic() + 300
        while (end := run._jailed.look()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
    assert end is not None
    assert end.signal == signal.SIGKILL
    # The sandbox's own first process is counted, too; with newer C libraries it takes 1.2 MiB.
    assert end.peak <= LIMITS.memory + 2 * MiB


def test_a_group_is_removed_however_long_its_last_process_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A busy machine gives what was killed its turn late: a second is no bound."""
    group = tmp_path / "group"
    group.mkdir()
    remove, now, tried = os.rmdir, 0.0, 0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def busy(path: str) -> None:
        nonlocal tried
        tried += 1
        if now < 5:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        remove(path)

    monkeypatch.setattr(cgroups, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now))
    monkeypatch.setattr(os, "rmdir", busy)
    cgroups.remove(str(group))
    assert tried > 500
    assert not group.exists()


def test_trees_are_removed_whole(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(500):
        os.mkdir("inner", dir_fd=fd)
        inner = os.open("inner", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("file", os.O_CREAT, 0, dir_fd=fd))
    os.fchmod(fd, 0)
    os.close(fd)
    (top / "link").symlink_to(tmp_path)
    (tmp_path / "kept").touch()
    untrusted.remove_tree(str(top))
    assert sorted(os.listdir(tmp_path)) == ["kept"]
    untrusted.remove_tree(str(top))
