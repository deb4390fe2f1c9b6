"""Settings of the whole machine that a test needs: made, and set back.

Each helper is a context manager whose value is a ``Setting``. Where the machine does not allow it,
its ``reason`` says why; ``.or_skip()`` skips the test with that reason. Those who set the same
thing wait for each other, other test runs included.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from procmem.procfs import probes
from tests.support.paths import ROOT

from . import NOBODY, Path_

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "Setting",
    "active",
    "as_nobody",
    "exact_rss_or_skip",
    "hidepid",
    "hugepages",
    "hugetlbfs",
    "max_map_count",
    "memory_cgroup",
    "nobody_python",
    "remove_group",
    "swap",
]

#: The settings that are changed now and will be restored; empty after all tests.
active: list[str] = []

MARK = "procmem-test-"


@dataclass(frozen=True)
class Setting:
    """What a test asked for, or the ``reason`` why it can't have it (else empty)."""

    reason: str = ""
    path: Path = Path("/nonexistent")

    def __bool__(self) -> bool:
        return not self.reason

    def or_skip(self) -> Setting:
        """Skip the running test if the setting could not be made."""
        if self.reason:
            import pytest

            pytest.skip(self.reason)
        return self


@contextlib.contextmanager
def alone(what: str) -> Iterator[None]:
    """Hold ``what`` against every other test run on the machine, whoever's it is.

    Ordinary users set nothing, but may rely on what is set.
    """
    if what in active:
        # A second lock of the same file would wait for the first for ever.
        yield
        return
    place = os.path.join(tempfile.gettempdir(), f"{MARK}{what}.lock")
    descriptor = locked(place)
    active.append(what)
    try:
        yield
    finally:
        active.remove(what)
        # In a sticky directory only the file's owner and root may; the other one will.
        with contextlib.suppress(PermissionError):
            os.unlink(place)
        os.close(descriptor)


def locked(place: str) -> int:
    """A descriptor that holds the lock file."""
    while True:
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            # With O_CREAT alone, fs.protected_regular refuses another user's file.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(place, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644))
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever held it may have removed it: then the name is another file's, or nobody's.
            if os.path.samestat(os.fstat(descriptor), os.stat(place)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def exact_rss_or_skip() -> None:
    """Skips the running test where VmRSS, its parts and statm lag behind the page table."""
    if probes.counters_lag():
        import pytest

        pytest.skip("kernel feature missing: a VmRSS that does not lag behind the page table")


def not_root(what: str) -> str:
    return "" if os.geteuid() == 0 else f"{what} takes root"


def run(*command: str) -> str:
    """Why the command failed, or nothing."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    return "" if done.returncode == 0 else f"{command[0]}: {done.stderr.strip()}"


# ---- sysctls ----


@contextlib.contextmanager
def written(file: Path, value: int) -> Iterator[str]:
    """``value`` in a sysctl, and what was there put back; yields why not, or nothing."""
    try:
        before = file.read_text()
        file.write_text(str(value))
    except OSError as error:
        yield f"{file}: {error.strerror}"
        return
    try:
        yield ""
    finally:
        file.write_text(before)


@contextlib.contextmanager
def max_map_count(count: int) -> Iterator[Setting]:
    """At least ``count`` regions per process."""
    file = Path("/proc/sys/vm/max_map_count")
    with alone("max_map_count"):
        # Read under the lock: another run's raised value is put back when it ends.
        if int(file.read_text()) >= count:
            yield Setting()
        elif reason := not_root(f"raising {file}"):
            yield Setting(reason)
        else:
            with written(file, count) as why:
                yield Setting(why)


@contextlib.contextmanager
def hugepages(count: int) -> Iterator[Setting]:
    """``count`` free huge pages of the default size."""
    file = Path("/proc/sys/vm/nr_hugepages")
    if not file.exists():
        yield Setting("kernel feature missing: hugetlb pages")
        return
    with alone("hugepages"):
        if free_hugepages() >= count:
            yield Setting()
        elif reason := not_root("reserving huge pages"):
            yield Setting(reason)
        else:
            with written(file, int(file.read_text()) + count) as why:
                scarce = f"{count} huge pages could not be found in free memory"
                yield Setting(why or (scarce if free_hugepages() < count else ""))


def meminfo(key: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    return 0


def free_hugepages() -> int:
    return meminfo("HugePages_Free") - meminfo("HugePages_Rsvd")


def hugepage_size() -> int:
    """The default huge page size in bytes, 0 without hugetlb."""
    return meminfo("Hugepagesize") * 1024


# ---- mounts ----


@contextlib.contextmanager
def mounted(kind: str, *options: str) -> Iterator[Setting]:
    """A file system mounted on a directory of its own."""
    reason = not_root("mounting")
    if reason:
        yield Setting(reason)
        return
    place = Path(tempfile.mkdtemp(prefix=f"{MARK}{os.getpid()}-"))
    try:
        place.chmod(0o755)
        reason = run("mount", "-t", kind, *options, kind, str(place))
        if reason:
            yield Setting(reason)
            return
        active.append(str(place))
        try:
            yield Setting("", place)
        finally:
            failure = run("umount", str(place)) and run("umount", "--lazy", str(place))
            if failure:
                raise RuntimeError(failure)
            active.remove(str(place))
    finally:
        place.rmdir()


@contextlib.contextmanager
def memory_cgroup(limit: int) -> Iterator[Setting]:
    """A control group (version 1 or 2) that may have so many bytes; its value is its directory.

    Nobody adds swap meanwhile: what the group can't hold would go there, and could not come back.
    """
    reason = not_root("making a control group")
    if reason:
        yield Setting(reason)
        return
    with alone("swap"):
        if has_swap():
            yield Setting("there is swap: the group would use that")
            return
        yield from limited(limit)


def limited(limit: int) -> Iterator[Setting]:
    for root, file in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ):
        place = Path(root, f"{MARK}{os.getpid()}")
        try:
            place.mkdir()
        except OSError:
            continue
        try:
            try:
                place.joinpath(file).write_text(f"{limit}\n")
            except OSError:
                continue
            yield Setting("", place)
            return
        finally:
            remove_group(place)
    yield Setting("no memory control group can be made here")


def count_inside(group: Path) -> None:
    """Lets groups inside have counts of their own; in version 2 this one has no processes then."""
    control = group / "cgroup.subtree_control"
    if control.exists():
        control.write_text("+memory")


def remove_group(place: Path) -> None:
    """Removes a control group, which is empty only when the kernel has done with its last process.

    Raises:
        OSError: it is not empty after a minute.
    """
    deadline = time.monotonic() + 60
    while True:
        try:
            place.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextlib.contextmanager
def hidepid(level: int) -> Iterator[Setting]:
    """A /proc at ``path`` that hides others' processes: 1 their files, 2 their directories too."""
    with mounted("proc", "-o", f"hidepid={level}") as setting:
        # Before Linux 5.8 all mounts of a PID namespace share one set of options.
        if setting and "hidepid" in options_of("/proc"):
            yield Setting("kernel feature missing: options of its own for each proc mount")
        elif setting and "hidepid" not in options_of(str(setting.path)):
            yield Setting("kernel feature missing: hidepid mounts of proc")
        else:
            yield setting


def options_of(place: str) -> str:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        fields = line.split(" ")
        if fields[1] == place:
            return fields[3]
    return ""


@contextlib.contextmanager
def hugetlbfs(pages: int) -> Iterator[Setting]:
    """A hugetlbfs at ``path``, with so many huge pages free."""
    with hugepages(pages) as reserved:
        if not reserved:
            yield reserved
            return
        with mounted("hugetlbfs", "-o", "mode=1777") as setting:
            yield setting


# ---- swap ----


@contextlib.contextmanager
def swap(mebibytes: int = 256) -> Iterator[Setting]:
    """Somewhere to swap to: what the machine has, else a zram device, else a file."""
    with alone("swap"):
        reason = not_root("adding swap")
        if has_swap() or reason:
            yield Setting("" if has_swap() else reason)
            return
        reasons = []
        for kind in (zram, swap_file):
            with kind(mebibytes) as setting:
                if setting:
                    yield setting
                    return
                reasons.append(setting.reason)
        yield Setting("; ".join(reasons))


def has_swap() -> bool:
    return len(Path("/proc/swaps").read_text().splitlines()) > 1


@contextlib.contextmanager
def zram(mebibytes: int) -> Iterator[Setting]:
    """Swap on a zram device of its own."""
    control = Path("/sys/class/zram-control")
    if not control.exists():
        yield Setting("kernel feature missing: zram")
        return
    try:
        # Reading it is what adds the device.
        number = (control / "hot_add").read_text().strip()
    except OSError as error:
        yield Setting(f"zram: {error.strerror}")
        return
    device = Path(f"/dev/zram{number}")
    block = Path(f"/sys/block/zram{number}")
    try:
        reason = ""
        try:
            (block / "disksize").write_text(f"{mebibytes}M")
        except OSError as error:
            reason = f"zram: {error.strerror}"
        if reason:
            yield Setting(reason)
        else:
            with swapping_to(device) as setting:
                yield setting
    finally:
        (block / "reset").write_text("1")
        (control / "hot_remove").write_text(number)


@contextlib.contextmanager
def swap_file(mebibytes: int) -> Iterator[Setting]:
    """Swap in a file, on a file system that allows it."""
    descriptor, name = tempfile.mkstemp(prefix=f"{MARK}{os.getpid()}-swap-")
    try:
        # A file with holes is refused, so zeros are written.
        with open(descriptor, "wb") as file:
            file.writelines(bytes(1 << 20) for _ in range(mebibytes))
        with swapping_to(Path(name)) as setting:
            yield setting
    finally:
        os.unlink(name)


@contextlib.contextmanager
def swapping_to(place: Path) -> Iterator[Setting]:
    reason = run("mkswap", str(place)) or run("swapon", str(place))
    if reason:
        yield Setting(reason)
        return
    active.append(str(place))
    try:
        yield Setting("", place)
    finally:
        failure = run("swapoff", str(place))
        if failure:
            raise RuntimeError(failure)
        active.remove(str(place))


# ---- another user ----


@dataclass(frozen=True)
class Interpreter:
    """A Python that user 65534 can run, with the import path it needs."""

    executable: str = ""
    path: str = ""
    reason: str = ""


@cache
def nobody_python(*modules: str) -> Interpreter:
    """An interpreter for user 65534 that can import ``modules``, or the reason why there is none.

    The running interpreter may live where only its owner may go; then another of the same minor
    version, with this one's import path, may do.
    """
    reason = not_root("running as user 65534")
    if reason:
        return Interpreter(reason=reason)
    # The standard library is the other interpreter's own.
    prefixes = {sys.base_prefix, sys.base_exec_prefix}
    shared = [
        entry
        for entry in [str(ROOT), *sys.path]
        if entry and os.path.isdir(entry) and not any(entry.startswith(each) for each in prefixes)
    ]
    path = os.pathsep.join(dict.fromkeys(shared))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [shutil.which(name, path=os.defpath) for name in (version, "python3")]
    failures: dict[str, str] = {}
    for executable in filter(None, (sys.executable, *found)):
        if os.path.realpath(executable) in failures:
            continue
        imports = "".join(f"import {module}\n" for module in modules)
        check = f"import sys\nassert sys.version_info[:2] == {sys.version_info[:2]}\n{imports}"
        try:
            done = run_as_nobody(executable, path, ["-c", check])
        except OSError as error:
            failures[os.path.realpath(executable)] = error.strerror or str(error)
            continue
        if done.returncode == 0:
            return Interpreter(executable, path)
        failures[os.path.realpath(executable)] = done.stderr.strip().rpartition("\n")[2]
    reasons = "; ".join(f"{executable}: {why}" for executable, why in failures.items())
    return Interpreter(reason=f"no Python that user 65534 can run: {reasons}")


def run_as_nobody(
    executable: str, path: str, arguments: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [executable, *arguments],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        env={
            "PATH": os.defpath,
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
        },
        timeout=300,
    )


def as_nobody(
    code: str, *arguments: Path_ | int, modules: Sequence[str] = ("procmem",)
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` as user 65534 (``sys.argv[1:]`` are the arguments); skip where that can't be.

    The caller checks ``returncode``, ``stdout`` and ``stderr``.
    """
    interpreter = nobody_python(*modules)
    if interpreter.reason:
        import pytest

        pytest.skip(interpreter.reason)
    words = [str(each) if isinstance(each, int) else os.fsdecode(each) for each in arguments]
    return run_as_nobody(interpreter.executable, interpreter.path, ["-c", code, *words])
