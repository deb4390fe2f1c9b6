"""Reading /proc: whose files they are, what went wrong, and what files are called."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from procmem import (
    AccessDenied,
    KernelThread,
    NoSuchProcess,
    Owner,
    ParseError,
    Process,
    ProcessChanged,
    ProcessError,
    Unsupported,
    ZombieProcess,
    format_maps,
    native,
    processes,
)
from procmem.procfs import ProcessFiles, files, parse_stat, pids
from tests.support.still import at_rest
from tests.support.targets import (
    Target,
    machine,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from procmem import RegionTable

    Start = Callable[..., Target]

READERS: dict[str, Callable[[Process], Any]] = {
    "maps": Process.maps,
    "smaps": Process.smaps,
    "residency": Process.residency,
    "rollup": Process.rollup,
    "memory": Process.memory,
    "threads": Process.threads,
    "reconcile": Process.reconcile,
    "region_at": lambda process: process.region_at(4096),
}
every_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


def whole(path: str | Path) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return b"".join(iter(lambda: file.read(65536), b""))


# ---- PIDs that are none ----


@pytest.mark.parametrize("pid", [-1, -(2**31), 2**31, 2**64, 2**200, 2**31 - 1, 0, 4194305])
def test_a_number_that_is_no_pid(pid: int) -> None:
    with pytest.raises(NoSuchProcess) as caught:
        Process(pid)
    assert caught.value.pid == pid
    assert str(pid) in str(caught.value)
    # As psutil has it for numbers that can't be a PID.
    assert isinstance(caught.value, ValueError) == (not 0 <= pid < 2**31)


@pytest.mark.parametrize("pid", ["1", "self", "", b"1", 1.0, 1.5, True, [], object(), ("1",)])
def test_what_is_no_number_is_a_type_error(pid: Any) -> None:
    with pytest.raises(TypeError, match="int"):
        Process(pid)


def test_the_errors_are_psutils_too(target: Target) -> None:
    zombie = target.zombie()
    with pytest.raises(psutil.ZombieProcess):
        Process(zombie).maps()
    with pytest.raises(psutil.NoSuchProcess):
        Process(zombie).maps()
    target.reap(zombie)
    with pytest.raises(psutil.NoSuchProcess) as caught:
        Process(zombie)
    assert isinstance(caught.value, psutil.Error)
    assert caught.value.pid == zombie


# ---- processes without memory ----


@every_reader
def test_a_zombie_is_told_as_one(target: Target, read: Callable[[Process], Any]) -> None:
    process = Process(target.zombie())
    with pytest.raises(ZombieProcess) as caught:
        read(process)
    assert caught.value.pid == process.pid
    assert process.faults().minor >= 0


@every_reader
def test_a_process_that_became_a_zombie(start: Start, read: Callable[[Process], Any]) -> None:
    target = start()
    process = Process(target.pid)
    process.maps()
    target._send("exit", 0)
    os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ZombieProcess):
        read(process)
    target.wait()
    with pytest.raises(NoSuchProcess):
        read(process)


@every_reader
def test_a_process_that_has_ended(target: Target, read: Callable[[Process], Any]) -> None:
    process = Process(target.pid)
    process.region_at(target.truths.main)
    target.kill()
    with pytest.raises(NoSuchProcess) as caught:
        read(process)
    assert not isinstance(caught.value, ZombieProcess)
    assert caught.value.pid == target.pid
    with pytest.raises(NoSuchProcess):
        process.faults()


@every_reader
def test_a_process_that_has_ended_after_its_directory_was_let_go(
    target: Target, read: Callable[[Process], Any]
) -> None:
    process = Process(target.pid)
    process.close()
    target.kill()
    with pytest.raises(NoSuchProcess):
        read(process)


def kernel_threads() -> list[int]:
    found = []
    for pid in pids():
        with contextlib.suppress(OSError, ParseError):
            if parse_stat(whole(f"/proc/{pid}/stat")).is_kernel_thread:
                found.append(pid)
    return found


@every_reader
def test_a_kernel_thread_has_no_memory(read: Callable[[Process], Any]) -> None:
    found = kernel_threads()
    if not found:
        pytest.skip("no kernel thread shows here (a PID namespace)")
    with pytest.raises(KernelThread) as caught:
        read(Process(found[0]))
    assert caught.value.pid == found[0]
    assert Process(found[0]).faults().minor >= 0


# ---- processes that may not be read ----


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("memory", "reconcile")])
def test_a_process_of_root_is_denied_to_others(target: Target, name: str) -> None:
    code = """
import sys, procmem, psutil
process = procmem.Process(int(sys.argv[1]))
try:
    getattr(process, sys.argv[2])(*map(int, sys.argv[3:]))
except psutil.AccessDenied as error:
    assert isinstance(error, procmem.AccessDenied)
    assert isinstance(error.__cause__, PermissionError)
    assert f"/proc/{process.pid}/" in error.__cause__.filename
    print(error.pid, error)
assert process.memory().rss
assert process.faults().minor
result = process.reconcile()
assert "maps" in result.unavailable and result.explained, result.unexplained
"""
    arguments: list[Any] = [target.pid, name, *([4096] if name == "region_at" else [])]
    done = machine.as_nobody(code, *arguments, modules=("procmem", "psutil"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{target.pid} process {target.pid}: /proc/{target.pid}/")
    assert "user 0" in done.stdout
    assert "root" in done.stdout


def test_a_process_with_more_privileges_is_denied(target: Target, is_root: bool) -> None:
    if is_root:
        pytest.skip("root may read a process that is not dumpable")
    target.dumpable(False)
    process = Process(target.pid)
    for name in ("maps", "smaps", "rollup", "residency"):
        with pytest.raises(AccessDenied) as caught:
            READERS[name](process)
        assert caught.value.__cause__ is not None
    assert process.memory().rss


def test_every_denial_says_which_file(is_root: bool) -> None:
    denied = []
    for process in processes():
        try:
            process.smaps()
        except AccessDenied as error:
            assert isinstance(error.__cause__, OSError)
            assert error.__cause__.errno in (errno.EACCES, errno.EPERM)
            assert error.__cause__.filename == f"/proc/{process.pid}/smaps"
            assert error.__cause__.filename in str(error)
            denied.append(process)
        except ProcessError:
            pass
    for process in denied:
        with contextlib.suppress(NoSuchProcess, ZombieProcess):
            usage = process.memory()
            assert usage.vsz is None or usage.vsz > 0


def test_a_proc_that_denies_the_files_of_others(target: Target) -> None:
    with machine.hidepid(1) as setting:
        setting.or_skip()
        code = """
import os, sys, procmem
root, other = sys.argv[1], int(sys.argv[2])
try:
    procmem.Process(other, root=root)
except procmem.AccessDenied as error:
    print("denied", error.__cause__.errno)
me = procmem.Process(root=root)
assert me.pid == os.getpid() and me.maps().find(id(me))
found = [process.pid for process in procmem.processes(root=root)]
assert os.getpid() in found and other not in found
"""
        done = machine.as_nobody(code, setting.path, target.pid)
        assert (done.returncode, done.stdout) == (0, f"denied {errno.EPERM}\n"), done.stderr


def test_a_proc_that_hides_others(target: Target) -> None:
    with machine.hidepid(2) as setting:
        setting.or_skip()
        code = """
import os, sys, procmem
root, other = sys.argv[1], int(sys.argv[2])
try:
    procmem.Process(other, root=root)
except procmem.NoSuchProcess:
    print("hidden")
found = [process.pid for process in procmem.processes(root=root)]
assert os.getpid() in found and other not in found
"""
        done = machine.as_nobody(code, setting.path, target.pid)
        assert (done.returncode, done.stdout) == (0, "hidden\n"), done.stderr


# ---- identity ----


@pytest.fixture
def tree(tmp_path: Path, target: Target) -> Path:
    """A saved /proc that holds the target."""
    save(target.pid, tmp_path / "proc")
    return tmp_path / "proc"


FILES = "stat statm status maps smaps smaps_rollup comm mountinfo".split()


def save(pid: int, to: Path, files: list[str] = FILES) -> Path:
    place = to / str(pid)
    place.mkdir(parents=True)
    saved = at_rest(Process(pid), lambda: [whole(f"/proc/{pid}/{name}") for name in files])
    for name, data in zip(files, saved, strict=True):
        (place / name).write_bytes(data)
    (place / "exe").symlink_to(os.readlink(f"/proc/{pid}/exe"))
    for task in os.listdir(f"/proc/{pid}/task"):
        (place / "task" / task).mkdir(parents=True)
        for name in ("comm", "stat", "syscall"):
            (place / "task" / task / name).write_bytes(whole(f"/proc/{pid}/task/{task}/{name}"))
    return place


def change_start_time(place: Path) -> None:
    head, bracket, rest = (place / "stat").read_bytes().rpartition(b")")
    fields = rest.split()
    fields[19] = b"1"
    (place / "stat").write_bytes(head + bracket + b" " + b" ".join(fields) + b"\n")


def test_a_pid_that_went_to_another_process(tree: Path, target: Target) -> None:
    process = Process(target.pid, root=tree)
    same = Process(target.pid, root=tree)
    process.maps()
    change_start_time(tree / str(target.pid))
    # As long as the directory is held it is the same process.
    assert process.maps()
    process.close()
    for read in (*READERS.values(), Process.faults):
        with pytest.raises(ProcessChanged) as caught:
            read(process)
        assert caught.value.reason == "pid reused"
        assert caught.value.pid == target.pid
    assert Process(target.pid, root=tree) != same


REUSE = """
import os, sys, time
import procmem

def start(pid):
    # In a namespace of its own nobody else takes the number.
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(pid - 1))
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    assert child == pid, (child, pid)
    return child, writer

def end(child):
    os.close(child[1])
    os.waitpid(child[0], 0)

first = start(3000)
held, dropped, asked = (procmem.Process(3000) for _ in range(3))
held.maps(); dropped.maps(); asked.region_at(4096)
dropped.close()
before = held.start_time
end(first)
while True:
    # The start time counts hundredths of a second.
    second = start(3000)
    if procmem.Process(3000).start_time != before:
        break
    end(second)
assert procmem.Process(3000).maps()
for process in (held, dropped, asked):
    for read in (process.maps, process.smaps, process.residency, process.rollup, process.memory,
                 process.faults, process.threads, process.reconcile,
                 lambda: process.region_at(4096)):
        try:
            read()
        except (procmem.ProcessChanged, procmem.NoSuchProcess) as error:
            assert getattr(error, "reason", "pid reused") == "pid reused", error
        else:
            raise AssertionError(f"{read} of another process")
assert held != procmem.Process(3000)
print("told apart")
end(second)
"""


def test_a_pid_that_truly_went_to_another_process(is_root: bool) -> None:
    if not is_root:
        pytest.skip("a PID namespace takes root")
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    possible = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if possible.returncode or not os.path.exists("/proc/sys/kernel/ns_last_pid"):
        pytest.skip(f"kernel feature missing: PID namespaces, ns_last_pid {possible.stderr}")
    done = subprocess.run(
        [*command, sys.executable, "-c", REUSE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "told apart\n"), done.stderr


# ---- exec and exit in mid-read ----


def seconds(count: float, enough: Callable[[], object]) -> Iterator[None]:
    """So many seconds, and as many more as it takes on a busy machine until there is enough."""
    begun = time.monotonic()
    while time.monotonic() < begun + count or not enough():
        assert time.monotonic() < begun + 120
        yield


def is_whole(table: RegionTable[Any]) -> bool:
    """Whether all is there that every image of the target has, from first to last line.

    execve(2) maps the program bit by bit: the vdso last, and then the stack gets its name.
    """
    text = table.filter(kind="text")
    loaded = bool(table.filter(path="[vdso]"))
    runs = any(region.owner is Owner.LIBRARY for region in text)
    return (
        table.ordered
        and (not LAST or table[-1].pathname == LAST)
        and (not loaded or any(region.owner is Owner.EXECUTABLE for region in text))
        and (not runs or (loaded and bool(table.filter(path="[stack]"))))
    )


LAST = "[vsyscall]" if whole("/proc/self/maps").rstrip().endswith(b"[vsyscall]") else None


def test_a_process_that_execs_all_the_time_is_read_whole_or_not_at_all(target: Target) -> None:
    process = Process(target.pid)
    exe = os.readlink(f"/proc/{target.pid}/exe")
    outcome: dict[str, int] = {}
    target.start_execs(regions=60)
    for _ in seconds(3, lambda: outcome.get("maps") and outcome.get("changed")):
        for name in ("maps", "smaps", "residency"):
            try:
                table = READERS[name](process)
            except (ProcessChanged, NoSuchProcess, AccessDenied) as error:
                assert isinstance(error, ProcessChanged), error
                assert error.reason == "exec"
                outcome["changed"] = outcome.get("changed", 0) + 1
            else:
                assert is_whole(table), format_maps(table).decode(errors="replace")
                assert table.exe == exe
                outcome[name] = outcome.get(name, 0) + 1
    assert target.stop_execs() > 1
    assert is_whole(process.maps())


def test_the_short_answers_of_a_process_that_execs(target: Target) -> None:
    process = Process(target.pid)
    target.start_execs(regions=10)
    seen = set()
    for _ in seconds(1.5, lambda: "memory" in seen):
        for name in ("rollup", "memory", "threads", "region_at"):
            try:
                answer = READERS[name](process)
            except ProcessChanged as error:
                assert error.reason == "exec"
            else:
                seen.add(name)
                if name == "memory":
                    assert answer.vsz
                if name == "rollup":
                    assert answer.rss
    target.stop_execs()
    assert process.reconcile().explained


def patched_feed(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> list[int]:
    """Does something once the first part of a file has been read."""
    done: list[int] = []
    close = native.Scan.finish

    def finish(scan: Any) -> None:
        close(scan)
        if not done:
            done.append(scan.count)
            act()

    monkeypatch.setattr(native.Scan, "finish", finish)
    return done


@pytest.mark.parametrize("name", ["maps", "smaps", "residency"])
def test_exec_between_the_last_byte_and_the_answer(
    target: Target, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = patched_feed(monkeypatch, target.exec)
    with pytest.raises(ProcessChanged) as caught:
        READERS[name](Process(target.pid))
    assert caught.value.reason == "exec"
    assert done
    assert "exec" in str(caught.value)


@pytest.mark.parametrize("name", ["maps", "smaps", "residency"])
def test_exit_between_the_last_byte_and_the_answer(
    start: Start, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = start()
    patched_feed(monkeypatch, target.kill)
    with pytest.raises(NoSuchProcess):
        READERS[name](Process(target.pid))


def test_processes_that_end_while_they_are_read(target: Target) -> None:
    worker = target.forks()
    outcomes: dict[str, int] = {}
    for _ in seconds(2, lambda: outcomes):
        children = whole(f"/proc/{target.pid}/task/{worker.tid}/children").split()
        for pid in map(int, children):
            for read in READERS.values():
                try:
                    answer = read(Process(pid))
                except (NoSuchProcess, ZombieProcess, ProcessChanged) as error:
                    outcomes[type(error).__name__] = outcomes.get(type(error).__name__, 0) + 1
                    assert not isinstance(error, ProcessChanged), error
                else:
                    if hasattr(answer, "consistent"):
                        assert is_whole(answer)
                    outcomes["read"] = outcomes.get("read", 0) + 1
    target.stop(worker)


def test_threads_of_this_process_may_read_at_once(target: Target) -> None:
    expected = Process(target.pid).maps()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(60):
                assert Process(target.pid).maps() == expected
                Process(target.pid).residency()
        except BaseException as error:  # noqa: BLE001 - it is shown in the main thread
            failures.append(error)

    workers = [threading.Thread(target=read) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


# ---- another root ----


def test_a_saved_tree_is_read_as_the_process_was(tree: Path, target: Target) -> None:
    saved, now = Process(target.pid, root=tree), Process(target.pid)
    assert saved.maps() == now.maps()
    assert format_maps(saved.maps()) == (tree / str(target.pid) / "maps").read_bytes()
    assert saved.maps().source == f"{tree}/{target.pid}/maps"
    assert saved.maps().exe == now.maps().exe
    assert saved.smaps().total("rss") == saved.rollup().rss
    # Pages of files may have been dropped since.
    without_files = {"rss": None, "rss_file": None}
    assert saved.memory()._replace(**without_files) == now.memory()._replace(**without_files)
    assert saved.faults() == now.faults()
    assert saved.start_time == now.start_time
    assert saved.region_at(target.truths.main) == now.region_at(target.truths.main)
    assert saved.region_at(1) is None
    assert [thread.tid for thread in saved.threads()] == [target.pid]
    assert [process.pid for process in processes(root=tree)] == [target.pid]
    assert [region.kind for region in saved.maps()] == [region.kind for region in now.maps()]
    result = saved.reconcile()
    assert result.explained
    assert "pagemap" in result.unavailable
    with pytest.raises(Unsupported) as caught:
        saved.residency()
    assert caught.value.feature == "pagemap"
    with pytest.raises(NoSuchProcess):
        Process(1 if target.pid != 1 else 2, root=tree)
    with pytest.raises(NoSuchProcess):
        Process(root=tree)


@pytest.mark.parametrize("missing", FILES)
def test_a_saved_tree_may_lack_files(tree: Path, target: Target, missing: str) -> None:
    (tree / str(target.pid) / missing).unlink()
    process = Process(target.pid, root=tree)
    needs = {
        "maps": {"maps", "region_at", "threads"},
        "smaps": {"smaps"},
        "smaps_rollup": {"rollup"},
        "status": {"memory"},
    }.get(missing, set())
    for name, read in READERS.items():
        if name == "residency":
            continue
        if name in needs:
            with pytest.raises(Unsupported) as caught:
                read(process)
            assert caught.value.feature == missing
            assert isinstance(caught.value.__cause__, FileNotFoundError)
            assert f"{tree}/{target.pid}/{missing}" in str(caught.value)
        else:
            answer = read(process)
            if name == "reconcile":
                assert missing in (*answer.unavailable, "comm", "mountinfo")
                assert answer.explained
    if missing == "stat":
        assert process.start_time is None
        with pytest.raises(Unsupported):
            process.faults()


def test_a_tree_with_nothing_but_maps(tmp_path: Path, target: Target) -> None:
    save(target.pid, tmp_path, ["maps"])
    shutil.rmtree(tmp_path / str(target.pid) / "task")
    process = Process(target.pid, root=tmp_path)
    assert process.maps() == Process(target.pid).maps()
    assert process.start_time is None
    process.close()
    assert process.maps()
    for name in ("smaps", "rollup", "residency", "memory", "threads"):
        with pytest.raises(Unsupported):
            READERS[name](process)
    assert len(process.reconcile().unavailable) >= 5


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["fifo", "writer", "directory", "loop", "empty", "junk"])
def test_anything_may_lie_in_a_tree_and_nothing_blocks(
    tree: Path, target: Target, name: str, what: str
) -> None:
    path = tree / str(target.pid) / name
    path.unlink()
    writer = -1
    if what in ("fifo", "writer"):
        os.mkfifo(path)
        if what == "writer":
            writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    elif what == "directory":
        path.mkdir()
    elif what == "loop":
        path.symlink_to(path)
    elif what == "empty":
        path.touch()
    else:
        path.write_bytes(b"\x00junk\xff\n" * 3)
    try:
        for read in (*READERS.values(), Process.faults):
            with contextlib.suppress(ParseError, Unsupported):
                answer = read(Process(target.pid, root=tree))
                if name == "maps" and read is READERS["maps"]:
                    raise AssertionError(f"{answer} was read from {what}")
    finally:
        if writer >= 0:
            os.close(writer)


def test_a_saved_kernel_thread_and_a_saved_zombie(tree: Path, target: Target) -> None:
    place = tree / str(target.pid)
    stat = (place / "stat").read_bytes()
    head, bracket, rest = stat.rpartition(b")")
    fields = rest.split()
    for name in ("maps", "smaps", "smaps_rollup"):
        (place / name).write_bytes(b"")
    process = Process(target.pid, root=tree)
    for state, flags, expected in (
        (b"Z", b"4", ZombieProcess),
        (b"S", b"2129984", KernelThread),
        (b"S", b"0", Unsupported),
    ):
        changed = [state, *fields[1:6], flags, *fields[7:]]
        (place / "stat").write_bytes(head + bracket + b" " + b" ".join(changed))
        shutil.rmtree(place / "task", ignore_errors=True)
        for name in ("maps", "smaps"):
            with pytest.raises(expected):
                READERS[name](process)
    with pytest.raises((ParseError, Unsupported)):
        process.rollup()


@pytest.mark.parametrize("root", ["/", "/etc/passwd", "/nonexistent", "/dev/null", "/sys", "\0"])
def test_a_root_that_is_no_proc(root: str) -> None:
    for call in (lambda: Process(1, root=root), lambda: list(processes(root=root))):
        with pytest.raises((Unsupported, ValueError)) as caught:
            call()
        if isinstance(caught.value, Unsupported):
            assert caught.value.feature == "proc"
            assert root in str(caught.value)


def test_a_root_that_is_no_proc_for_this_process(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        Process(root=tmp_path)
    os.mkfifo(tmp_path / "1")
    for pid in (1, None):
        with pytest.raises(ProcessError):
            Process(pid, root=tmp_path)


def test_a_root_that_may_not_be_entered(tree: Path, target: Target, is_root: bool) -> None:
    if is_root:
        tree.parent.chmod(0o711)
        tree.chmod(0o700)
        code = """
import sys, procmem
for call in (lambda: procmem.Process(int(sys.argv[2]), root=sys.argv[1]),
             lambda: list(procmem.processes(root=sys.argv[1]))):
    try:
        call()
    except (procmem.AccessDenied, procmem.Unsupported) as error:
        assert isinstance(error.__cause__, PermissionError)
        print(type(error).__name__)
"""
        # The directories above must let the other user pass.
        for above in tree.parents[:3]:
            if not os.stat(above).st_mode & 0o001 and str(above).startswith("/tmp/"):
                above.chmod(os.stat(above).st_mode | 0o011)
        done = machine.as_nobody(code, tree, target.pid)
        assert (done.returncode, done.stdout) == (0, "AccessDenied\nUnsupported\n"), done.stderr
        return
    tree.chmod(0)
    try:
        with pytest.raises(AccessDenied):
            Process(target.pid, root=tree)
        with pytest.raises(Unsupported):
            list(processes(root=tree))
    finally:
        tree.chmod(0o700)


def test_an_unreadable_file_of_a_tree(tree: Path, target: Target, is_root: bool) -> None:
    if is_root:
        pytest.skip("root may read every file")
    (tree / str(target.pid) / "maps").chmod(0)
    with pytest.raises(AccessDenied) as caught:
        Process(target.pid, root=tree).maps()
    assert isinstance(caught.value.__cause__, PermissionError)


def test_pids_lists_numbers_alone(tmp_path: Path) -> None:
    for name in ("12", "7", "self", "12a", "-3", " 4", "sys"):
        (tmp_path / name).mkdir()
    assert pids(tmp_path) == [7, 12]


# ---- what went wrong, in the error ----


def test_files_of_a_leader_that_has_exited_may_be_opened_and_empty(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before Linux 6.12; newer kernels refuse to open them."""
    worker = target.spin()
    original = files.MemoryFile.alive

    def alive(self: files.MemoryFile) -> bool:
        return "/task/" in self.path and original(self)

    def switch(self: ProcessFiles) -> bool:
        self._thread = worker.tid
        return True

    monkeypatch.setattr(files.MemoryFile, "alive", alive)
    monkeypatch.setattr(ProcessFiles, "use_living_thread", switch)
    with ProcessFiles(target.pid).memory("pagemap", beside_maps=True) as file:
        assert file.path == f"/proc/{target.pid}/task/{worker.tid}/pagemap"
        file.check()
    target.stop(worker)


def test_an_error_keeps_its_cause_and_path(target: Target) -> None:
    files = ProcessFiles(target.pid)
    with pytest.raises(Unsupported) as caught:
        files.read("no such file")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert f"/proc/{target.pid}/no such file" in str(caught.value)
    target.kill()
    with pytest.raises(NoSuchProcess) as ended:
        files.read("maps")
    assert isinstance(ended.value.__cause__, OSError)
    assert ended.value.__cause__.filename == f"/proc/{target.pid}/maps"


# ---- the short files ----


def test_the_huge_page_size_is_the_one_of_hugetlbfs(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {
        int(name.removeprefix("hugepages-").removesuffix("kB")) * 1024
        for name in os.listdir("/sys/kernel/mm/hugepages")
    }
    assert files.huge_page_size() in sizes
    monkeypatch.setattr(files, "system_file", lambda _: b"MemTotal: 4 kB\nHugePages_Free: 0\n")
    with pytest.raises(Unsupported, match=r"hugetlbpage.*CONFIG_HUGETLBFS"):
        files.huge_page_size()
    monkeypatch.setattr(files, "system_file", lambda _: None)
    with pytest.raises(Unsupported, match="meminfo is hidden"):
        files.huge_page_size()
