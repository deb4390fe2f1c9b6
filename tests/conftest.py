"""Fixtures of all tests, and the check that no process, file or setting of theirs is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.support import targets
from tests.support.targets import CannotBuild, Target, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIRECTORY = "PROCMEM_TEST_TARGETS"
WORKER = "PROCMEM_TEST_WORKER"


# A deadline, and the check for slow inputs, are timed tests: other work on the machine would make
# them fail. The inputs are the same in each run; `--hypothesis-profile random` looks for new ones.
UNTIMED: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [hypothesis.HealthCheck.too_slow],
}
hypothesis.settings.register_profile("random", **UNTIMED)
hypothesis.settings.register_profile("procmem", derandomize=True, **UNTIMED)
hypothesis.settings.load_profile("procmem")


def pytest_configure(config: pytest.Config) -> None:
    # In the background of a script SIGINT is ignored, under nohup SIGHUP; programs that the tests
    # start, and interrupt, would inherit that.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            is_int = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_int else signal.SIG_DFL)
    use_executable_directory()
    # Workers of xdist inherit the controller's directory, so that each variant is compiled once.
    if DIRECTORY not in os.environ:
        made = targets.make_directory()
        os.environ[DIRECTORY] = str(made)
        config.add_cleanup(lambda: forget(made))
    # Every process that is started from here has it in its environment. This process does not:
    # /proc/PID/environ shows the environment at the start.
    os.environ[WORKER] = f"{os.getpid()}"
    # readline(3) sets them in the environment of xdist's workers; tables are cut to COLUMNS.
    os.environ.pop("COLUMNS", None)
    os.environ.pop("LINES", None)
    # Services that run tests set some of these; texts are compared without colours.
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        os.environ.pop(name, None)


def use_executable_directory() -> None:
    """Tests build programs and run them: not in a TMPDIR that is mounted noexec."""
    usual = tempfile.gettempdir()
    for place in (usual, "/var/tmp", "/tmp", os.getcwd()):
        if os.access(place, os.W_OK) and not os.statvfs(place).f_flag & os.ST_NOEXEC:
            if place != usual:
                os.environ["TMPDIR"] = tempfile.tempdir = place
            return
    raise pytest.UsageError(f"{usual} is mounted noexec: set TMPDIR to a directory for programs")


def forget(directory: Path) -> None:
    os.environ.pop(DIRECTORY, None)
    shutil.rmtree(directory, ignore_errors=True)


def started_by_us() -> Iterator[str]:
    """Processes that were started by this test process, or by one that it started."""
    mark = f"{WORKER}={os.getpid()}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or entry == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            environ = Path("/proc", entry, "environ").read_bytes()
            status = Path("/proc", entry, "status").read_text(errors="replace")
            parent = f"\nPPid:\t{os.getpid()}\n" in status
            if parent or mark in environ.split(b"\0"):
                words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
                yield f"process {entry} {words!r}"


def segments() -> Iterator[str]:
    """System V shared memory that was made by our targets."""
    with contextlib.suppress(FileNotFoundError):
        for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[4]) in targets.started:
                yield f"System V segment {fields[1]} of process {fields[4]}"


def leftovers() -> list[str]:
    mark = f"{machine.MARK}{os.getpid()}-"
    found = [f"setting {what}" for what in machine.active]
    found += started_by_us()
    found += segments()
    found += [f"/dev/shm/{name}" for name in os.listdir("/dev/shm") if name.startswith(mark)]
    for table in ("/proc/self/mounts", "/proc/swaps"):
        found += [line for line in Path(table).read_text().splitlines() if mark in line]
    return found


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail at the end of the session if a process, file, mount or setting of ours is still there.

    Under xdist each worker checks what it started itself.
    """
    yield
    if "procmem.grade.grading.client" in sys.modules:
        from procmem.grade.grading.client import end_servers

        end_servers()
    found = leftovers()
    # Orphans of a killed target exit by themselves, but maybe not yet.
    deadline = time.monotonic() + 300
    while found and time.monotonic() < deadline:
        time.sleep(0.01)
        found = leftovers()
    assert not found, f"left behind: {found}"


@pytest.fixture(scope="session")
def is_root() -> bool:
    return os.geteuid() == 0


@pytest.fixture(scope="session")
def target_binary() -> Path:
    """The plain target, compiled."""
    try:
        return targets.build()
    except CannotBuild as error:
        if "no C compiler" in str(error):
            pytest.skip("no gcc and no cc to build the test targets with")
        raise


@pytest.fixture
def target(target_binary: Path) -> Iterator[Target]:
    """A fresh target process, ended with the test."""
    with Target(target_binary) as started:
        yield started


@pytest.fixture
def start(target_binary: Path) -> Iterator[Callable[..., Target]]:
    """Start targets as ``Target(...)`` does; all are ended with the test."""
    with contextlib.ExitStack() as stack:

        def start_one(*args: object, **options: object) -> Target:
            return stack.enter_context(Target(*args, **options))  # type: ignore[arg-type]

        yield start_one


@pytest.fixture(scope="session")
def variant(target_binary: Path) -> Callable[[str], Path]:
    """The path of a variant by its name in ``targets.VARIANTS``; skips where it can't be built."""

    def built(name: str) -> Path:
        try:
            return targets.build(name)
        except CannotBuild as error:
            reason = str(error).partition("\n")[0]
            pytest.skip(f"this toolchain can't build the {name} target: {reason}")

    return built


@pytest.fixture
def shm_name() -> Callable[[str], bytes]:
    """A name for /dev/shm that no other test run uses, made from a part that may be hostile."""
    count = 0

    def make(part: str = "") -> bytes:
        nonlocal count
        count += 1
        return f"{machine.MARK}{os.getpid()}-{count}{part}".encode()

    return make
