"""Captures files of /proc of live processes, for tests/fixtures.

    python scripts/capture_fixtures.py NAME [--example] [PID ...]

Writes tests/fixtures/NAME/PID/maps, smaps and so on, so that NAME is a small
/proc, and NAME/ORIGIN with kernel, machine and date. --example captures a
process of its own, which maps memory in many ways. A process that changed
while it was read is refused, so that the files of a dump agree with each other.
Read the files before committing them: file names may reveal private details of
the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
FILES = ["maps", "smaps", "smaps_rollup", "status", "stat", "statm", "comm", "cmdline"]
STILL = ["maps", "statm"]
"""Files that must read the same before and after."""

EXAMPLE = r"""
import ctypes, mmap, os, sys, threading
MIB = 1 << 20
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
kept = []

def mapped(size, protection=3, flags=0x22, fd=-1):
    address = libc.mmap(None, size, protection, flags, fd, 0)
    return None if address == ctypes.c_void_p(-1).value else address

def touch(address, pages):
    for page in range(pages):
        ctypes.memset(address + page * 4096, 1, 1)

half = mapped(MIB)                                   # half touched
touch(half, 128)
mapped(MIB)                                          # never touched
mapped(64 * MIB, 0)                                  # reserved, PROT_NONE
touch(mapped(256 * 1024, 3, 0x21), 4)                # shared and anonymous: /dev/zero (deleted)
named = mapped(128 * 1024)
touch(named, 2)
libc.prctl(0x53564d41, 0, ctypes.c_ulong(named), ctypes.c_ulong(128 * 1024), b"named")
huge = mapped(6 * MIB)
huge = (huge + 2 * MIB - 1) // (2 * MIB) * 2 * MIB
libc.madvise(ctypes.c_void_p(huge), ctypes.c_size_t(2 * MIB), 14)
touch(huge, 1)
locked = mapped(64 * 1024)
libc.mlock(ctypes.c_void_p(locked), ctypes.c_size_t(64 * 1024))
hugetlb = mapped(2 * MIB, 3, 0x40022)                # only where pages are set aside
memory = os.memfd_create("a name\nof two lines")
os.truncate(memory, 65536)
touch(mapped(65536, 3, 1, memory), 3)
shm = libc.shmget(0, 65536, 0o1600)
libc.shmat.restype = ctypes.c_void_p
touch(libc.shmat(shm, None, 0), 2)
libc.shmctl(shm, 0, None)
path = "/dev/shm/procmem example (deleted)"
with open(path, "w+b") as file:
    file.truncate(32768)
    touch(mapped(32768, 3, 1, file.fileno()), 1)
os.unlink(path)
with open("/bin/sh", "rb") as file:
    kept.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    kept[-1][:8192]
threading.stack_size(256 * 1024)
wait = threading.Event()
for _ in range(2):
    threading.Thread(target=wait.wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
wait.set()
"""


@contextlib.contextmanager
def example() -> Iterator[int]:
    """A process that holds memory of many kinds, of a Python that every machine has."""
    with subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", "-c", EXAMPLE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        cwd="/",
    ) as process:
        assert process.stdin is not None  # noqa: S101 asked for above
        assert process.stdout is not None  # noqa: S101
        if process.stdout.readline() != b"ready\n":
            raise SystemExit("the example did not start")
        yield process.pid
        process.stdin.close()


def read(path: Path) -> bytes | None:
    """The whole file; None if this user may not read it, or this kernel lacks it."""
    try:
        return path.read_bytes()
    except OSError as error:
        print(f"without {path}: {error.strerror}", file=sys.stderr)
        return None


def capture(pid: int, folder: Path) -> None:
    source = Path("/proc", str(pid))
    for _ in range(10):
        before = [read(source / name) for name in STILL]
        texts = {name: read(source / name) for name in FILES}
        if before == [read(source / name) for name in STILL] == [texts[name] for name in STILL]:
            break
    else:
        raise SystemExit(f"process {pid} changes faster than it can be read")
    if not texts["maps"]:
        raise SystemExit(f"process {pid} has no readable maps")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if text is not None:
            (folder / name).write_bytes(text)
    print(f"{folder}: {texts['maps'].count(b'%c' % 10)} regions")


def origin() -> str:
    now = dt.datetime.now(dt.timezone.utc)
    swap = "no " if len(Path("/proc/swaps").read_text().splitlines()) < 2 else ""
    return (
        f"captured by scripts/capture_fixtures.py on {now:%Y-%m-%d}\n"
        f"kernel: Linux {platform.release().partition('-')[0]}\n"
        f"machine: {platform.machine()}, pages of {os.sysconf('SC_PAGESIZE')} bytes,"
        f" {swap}swap\n"
        f"C library: {' '.join(platform.libc_ver())}\n"
        f"user: {'root' if os.geteuid() == 0 else 'an ordinary user'}\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", help="of the folder in tests/fixtures")
    parser.add_argument("pid", nargs="*", type=int)
    parser.add_argument("--example", action="store_true", help="start and capture a process")
    parser.add_argument("--into", type=Path, default=FIXTURES, help="another folder")
    options = parser.parse_args()
    if not options.pid and not options.example:
        parser.error("give PIDs or --example")
    folder = options.into / options.name
    said = []
    for pid in options.pid:
        capture(pid, folder / str(pid))
        said.append(f"{pid}: {(folder / str(pid) / 'comm').read_text().strip()}")
    if options.example:
        with example() as pid:
            capture(pid, folder / str(pid))
        said.append(f"{pid}: the example that the script starts")
    (folder / "ORIGIN").write_text(origin() + "".join(f"{line}\n" for line in said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
