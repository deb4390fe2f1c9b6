"""Fuzzes the Python code that reads files of other programs: ELF files with DWARF, snapshots.

scripts/fuzz.py runs it, in the Python that procmem is installed for. Each target mutates its
seeds and reads the result as the library would. A find is an exception of another type than the
library documents, or more memory than MEMORY or more time than SECONDS for one input; it is written
to FOUND. An INPUT is run once more.

    fuzz_files.py TARGET SECONDS SEED FOUND [INPUT...]
"""

from __future__ import annotations

import json
import lzma
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import procmem  # noqa: E402
from procmem.elf import program, size, sizes  # noqa: E402
from procmem.elf.debug import open_alternate, open_debug_file  # noqa: E402
from procmem.elf.headers import open_elf  # noqa: E402
from procmem.elf.image import Image  # noqa: E402
from procmem.elf.lines import Lines  # noqa: E402
from procmem.elf.symbols import SymbolTable, functions_named  # noqa: E402
from procmem.recording.recording import Recording  # noqa: E402
from procmem.snapshots import Snapshot, diff  # noqa: E402
from procmem.snapshots.saved import FRAME, MAGIC, frame, unpacker  # noqa: E402
from procmem.view.diff import diff_table, snapshot_summary  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

MEMORY = 2 << 30
SECONDS = 20
LARGEST = 256 * 1024

NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 16, 24, 64, 127, 128, 255, 0xFF00, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFF0,
    0xFFFFFFFF, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 64, (1 << 64) - 1,
)  # fmt: skip

SOURCE = """
inline __attribute__((noinline)) int both(int x) { return x * 3; }
template<class T> T made(T x) { T sum = x; for (int i = 0; i < 9; i++) sum += both(i); return sum; }
volatile int sink;
static int quiet(int x) { sink = x; return sink + made(x) + (int)made((long)x); }
int dead(int x) { return quiet(x) + 1; }
int main(int c, char **v) { return quiet(c) + (v != nullptr); }
"""
FLAGS = (
    ["-gdwarf-2"], ["-gdwarf-3", "-O2"], ["-gdwarf-4", "-ffunction-sections", "-Wl,--gc-sections"],
    ["-gdwarf-5"], ["-gdwarf-5", "-gz"], ["-gdwarf-4", "-gz=zlib-gnu"], ["-g", "-shared", "-fPIC"],
    ["-g", "-gsplit-dwarf"], ["-g", "-m32"], ["-g", "-c"], ["-g", "-static-pie"], ["-g1", "-O3"],
    ["-gdwarf-4", "-gdwarf64"], ["-g", "-flto"], ["-s"], ["-g", "-fuse-ld=gold"],
    ["-gdwarf-5", "-fuse-ld=lld"],
)  # fmt: skip


# ---- ELF files with DWARF ------------------------------------------------------------


def elf_seeds() -> Iterator[bytes]:
    """Small programs of the compilers that are here, and the files of the tests."""
    with tempfile.TemporaryDirectory() as place:
        source, out = Path(place) / "made.cc", Path(place) / "made"
        source.write_text(SOURCE)
        for compiler in ("g++", "clang++"):
            for flags in FLAGS:
                words = [compiler, "-nostdlib", "-Wl,-e,main", *flags, source, "-o", out]
                with suppress(OSError, subprocess.CalledProcessError):
                    subprocess.run(words, check=True, capture_output=True, cwd=place)
                    data = out.read_bytes()
                    if len(data) <= LARGEST:
                        yield data
        if shutil.which("dwz") and shutil.which("g++"):
            with suppress(subprocess.CalledProcessError):
                subprocess.run(
                    ["g++", "-nostdlib", "-Wl,-e,main", "-gdwarf-4", source, "-o", out],
                    check=True, capture_output=True,
                )  # fmt: skip
                shutil.copy(out, f"{out}2")
                subprocess.run(
                    ["dwz", "-m", f"{place}/common", out, f"{out}2"],
                    check=True,
                    capture_output=True,
                )
                yield out.read_bytes()
    with suppress(ImportError):
        from tests.support.elves import FILES

        yield from FILES.values()


def read_elf(path: Path) -> None:
    """Everything that procmem reads from an ELF file."""
    with suppress(procmem.ElfError):
        size(path).to_dict()
    with suppress(procmem.ElfError):
        for one in sizes(path):
            one.to_dict()
    with suppress(procmem.ElfError):
        program(path).to_dict()
    with suppress(procmem.ElfError), open_elf(path) as elf:
        Image(elf).sums()
    with suppress(procmem.ElfError), open_elf(path) as elf:
        functions_named([elf], ("main", "malloc"))
        reasons: list[str] = []
        other = open_debug_file(elf, os.fsencode(path), "/nonexistent", "", reasons)
        if other is not None:
            other.close()
    with suppress(procmem.ElfError), open_elf(path) as elf:
        table = SymbolTable([elf])
        code = [section for section in elf.sections if section.sh_flags & 4][:4]
        values = [
            section.sh_addr + step * section.sh_size // 8 for section in code for step in range(8)
        ]
        for value in (0, 1, *values, (1 << 64) - 1):
            found = table.find(value)
            if found is not None:
                found[0].encode("utf-8", "surrogateescape")
            table.section_at(value)
        lines = Lines(elf, lambda: open_alternate(elf, "/nonexistent", ""))
        for value in values:
            with suppress(procmem.ElfError):
                lines.at(value)


def mutate_bytes(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    """Damage by chance; most of it to numbers, at both ends of the file or in the middle."""
    room = len(data)
    if not room:
        return
    near = (chance.randrange(min(room, 64)), room - 1 - chance.randrange(min(room, 2600)))
    at = chance.choice((chance.randrange(room), chance.randrange(room), *near))
    match chance.randrange(9):
        case 0 | 1 | 2:
            width = chance.choice((1, 2, 4, 8))
            number = chance.choice((*NUMBERS, room, room - 1, room + 1, chance.randrange(1 << 16)))
            at = at // width * width
            data[at : at + width] = (number & (1 << 8 * width) - 1).to_bytes(width, "little")
        case 3 | 4:
            data[at] = chance.choice((0, 1, 127, 128, 129, 255, chance.randrange(256)))
        case 5:
            data[at] ^= 1 << chance.randrange(8)
        case 6:
            length = 1 + chance.randrange(chance.choice((4, 64, 4096)))
            data[at : at + length] = bytes([chance.choice((0, 255, 128, 65))]) * length
        case 7:
            other = chance.choice(seeds)
            length = 1 + chance.randrange(chance.choice((16, 512)))
            start = chance.randrange(max(1, len(other)))
            data[at : at + length] = other[start : start + length]
        case 8 if chance.random() < 0.2:
            del data[at:]


# ---- snapshots and recordings ------------------------------------------------------------


def saved_seeds() -> Iterator[bytes]:
    """A process of ours, in all details and formats."""
    with subprocess.Popen(
        ["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as child, tempfile.TemporaryDirectory() as place:  # fmt: skip
        try:
            path = Path(place) / "saved"
            process = procmem.Process(child.pid)
            several = []
            for detail in ("maps", "residency", "smaps"):
                snapshot = process.snapshot(detail)
                several.append(snapshot)
                yield snapshot.to_json().encode()
                yield MAGIC + frame(snapshot)
                yield MAGIC + frame(snapshot, quick=True)
            process.maps()[0].kind  # noqa: B018 - classifies all regions
            Snapshot.save_all(several * 2, path)
            yield path.read_bytes()
            yield Path(f"/proc/{child.pid}/maps").read_bytes()
            yield Path(f"/proc/{child.pid}/smaps").read_bytes()
        finally:
            child.kill()


def read_saved(path: Path) -> None:
    """Everything that procmem reads from a saved snapshot or a recording."""
    snapshots: list[Snapshot] = []
    with suppress(procmem.ProcmemError):
        snapshots = Snapshot.load_all(path)[:4]
        for one in snapshots:
            snapshot_summary(one)
            one.to_json()
            [region.kind for region in one.regions]
            one.regions.to_records()
            one.regions.by_kind()
        diff_table(diff(snapshots[0], snapshots[-1])) if snapshots else None
    with suppress(procmem.ProcmemError):
        recording = Recording.load(path, damaged=True)
        recording.peak()
        recording.growth()
        recording.suspects()
        recording.times, recording.details  # noqa: B018 - read from heads
        recording.diff()


ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 1 << 40, 1 << 63, 1 << 64, 10**30, 0.5, float("inf"), "", "x", "\udcff",
    "rw-p", "smaps", [], [1], {}, {"x": 1}, [[]], "\0", "a\nb",
)  # fmt: skip


def mutate_values(value: Any, chance: random.Random) -> None:
    """Makes one value somewhere within plain values another one."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = value[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.8:
            value = inner
            continue
        match chance.randrange(6):
            case 0:
                del value[key]
            case 1 if isinstance(value, list):
                value.insert(key, inner)
            case 2 if isinstance(inner, int):
                value[key] = inner + chance.choice((-1, 1, 1 << 12, 1 << 32))
            case _:
                value[key] = chance.choice(ODD)
        return


def mutate_saved(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    """Damage to the bytes, or to the values with a right checksum over them."""
    if chance.random() < 0.25:
        mutate_bytes(data, chance, seeds)
    elif data.startswith(MAGIC):
        with suppress(ValueError, zlib.error, lzma.LZMAError, struct.error):
            at = len(MAGIC)
            length, _ = FRAME.unpack_from(data, at)
            content = bytes(data[at + FRAME.size : at + FRAME.size + length])
            raw = bytearray(unpacker(content)(content, 1 << 26))
            end = 4 + int.from_bytes(raw[:4], "little")
            if chance.random() < 0.8:
                head = json.loads(raw[4:end])
                for _ in range(1 + chance.randrange(2)):
                    mutate_values(head, chance)
                text = json.dumps(head).encode()
                raw[:end] = len(text).to_bytes(4, "little") + text
            else:
                mutate_bytes(raw, chance, seeds)
            packed = zlib.compress(bytes(raw), 1)
            new = FRAME.pack(len(packed), zlib.crc32(packed)) + packed
            data[at : at + FRAME.size + length] = new
    elif data[:1] == b"{":
        with suppress(ValueError):
            values = json.loads(bytes(data))
            for _ in range(1 + chance.randrange(3)):
                mutate_values(values, chance)
            data[:] = json.dumps(values).encode()
    else:
        mutate_bytes(data, chance, seeds)


# ---- running ---------------------------------------------------------------------------

Mutate = "Callable[[bytearray, random.Random, list[bytes]], None]"

TARGETS: dict[str, tuple[Callable[[], Iterator[bytes]], Any, Callable[[Path], None]]] = {
    "dwarf": (elf_seeds, mutate_bytes, read_elf),
    "saved": (saved_seeds, mutate_saved, read_saved),
}


class TooSlow(BaseException):
    """An input that took more than SECONDS."""


def alarm(_signal: int, _frame: FrameType | None) -> None:
    raise TooSlow


def try_one(read: Callable[[Path], None], path: Path, data: bytes) -> bool:
    """Whether an input is read as it should be."""
    path.write_bytes(data)
    signal.alarm(SECONDS)
    try:
        read(path)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - each other one is a find
        traceback.print_exc()
        return False
    finally:
        signal.alarm(0)
    return True


def main() -> int:
    """Runs the command."""
    target, seconds, seed, found = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    make_seeds, mutate, read = TARGETS[target]
    signal.signal(signal.SIGALRM, alarm)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "input"
        if sys.argv[5:]:
            return int(not all(try_one(read, path, Path(x).read_bytes()) for x in sys.argv[5:]))
        seeds = list(make_seeds())
        print(f"fuzzing {target} from {len(seeds)} seeds, {seconds} s, seed {seed}", flush=True)
        chance = random.Random(seed)
        until = time.monotonic() + seconds
        count = 0
        tried: Iterator[bytes] = iter(seeds)
        while time.monotonic() < until:
            data = next(tried, None)
            if data is None:
                changed = bytearray(chance.choice(seeds))
                for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
                    mutate(changed, chance, seeds)
                data = bytes(changed[:LARGEST])
            count += 1
            if not try_one(read, path, data):
                Path(found).write_bytes(data)
                print(f"violated by input {count}: it is in {found}", file=sys.stderr)
                return 1
        print(f"{count} inputs: nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
