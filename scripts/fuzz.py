"""Fuzzes the code that reads files of other programs, for a given time.

Targets in C are the scanner of maps and smaps, the sizes of ELF files, the comparison of two
readings, the page map, who maps the same frames, the walk over a heap, and the placing of
breakpoints. Builds
procmem/native/fuzz_TARGET.c with AddressSanitizer and UndefinedBehaviorSanitizer: under libFuzzer
if a clang that has it is there (on Debian: apt-get install clang libclang-rt-14-dev), else with gcc
and the driver in fuzz_driver.h. Starts from the fixtures and this machine's own /proc/self; from
the ELF files of the tests and fresh ones of the compiler. Targets in Python are ELF files with
DWARF, and saved snapshots: scripts/fuzz_files.py.
Exit status 0: nothing found; 1: something found; 2: usage; 77: no compiler here has the sanitizers.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

NATIVE = ROOT / "procmem" / "native"
FIXTURES = ROOT / "tests" / "fixtures"
DICTIONARIES = {"scanner": ROOT / "scripts" / "fuzz.dict"}

NO_COMPILER = 77
SLACK = 120
"""Seconds that reading the seeds, and the last input, may take beyond the time given."""

FLAGS = [
    "-g",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fno-omit-frame-pointer",
    "-fno-sanitize-recover=all",
]
SANITIZERS = "address,undefined"
PROBES = {
    "libfuzzer": "int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n);"
    "int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n)"
    "{ return (d && n) * 0; }",
    "standalone": "int main(void) { return 0; }",
}

MODES = {"maps": 1, "smaps": 0}
"""The header's first byte, as fuzz_scanner.c reads it."""

SHORT = 3000
"""Bytes of a text that is tried more often than a whole one."""


class Engine(NamedTuple):
    """A way to build and run that was seen to work here."""

    kind: str
    compiler: str
    prefix: list[str]
    environment: dict[str, str]

    def compile_flags(self) -> list[str]:
        if self.kind == "libfuzzer":
            return [*FLAGS, f"-fsanitize=fuzzer,{SANITIZERS}"]
        return [*FLAGS, f"-fsanitize={SANITIZERS}", "-DSTANDALONE_FUZZ"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="how long (60)")
    parser.add_argument("--engine", choices=[*PROBES, "auto"], default="auto")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (1)")
    parser.add_argument(
        "--work",
        type=Path,
        help="keep the corpus and the finds in this folder (.fuzz); a corpus there is used",
    )
    parser.add_argument(
        "--target",
        choices=[*SEEDS, *IN_PYTHON],
        help="only this one; the time is shared else",
    )
    parser.add_argument(
        "input", nargs="*", type=Path, help="only run these inputs of --target, once each"
    )
    options = parser.parse_args()
    if options.input and not options.target:
        parser.error("an input goes with --target")

    targets = [options.target] if options.target else [*SEEDS, *IN_PYTHON]
    options.seconds = -(-options.seconds // len(targets))
    if options.target in IN_PYTHON:
        return fuzz_python(options.target, options)
    engine = find_engine(list(PROBES) if options.engine == "auto" else [options.engine])
    if engine is None:
        print(
            "fuzz: no compiler here has AddressSanitizer and UndefinedBehaviorSanitizer"
            " (on Debian: apt-get install gcc, or clang libclang-rt-14-dev)",
            file=sys.stderr,
        )
        return NO_COMPILER
    return max(
        fuzz_python(target, options) if target in IN_PYTHON else fuzz(engine, target, options)
        for target in targets
    )


def fuzz_python(target: str, options: argparse.Namespace) -> int:
    """A target in Python, in a process of its own: its memory is limited."""
    work = (options.work or ROOT / ".fuzz").resolve() / target
    work.mkdir(parents=True, exist_ok=True)
    found = work / f"found-by-seed-{options.seed}"
    words = [target, options.seconds, options.seed, found, *options.input]
    program = Path(__file__).with_name("fuzz_files.py")
    engine = Engine("python", sys.executable, [], {})
    command = [sys.executable, str(program), *map(str, words)]
    if run(engine, command, options.seconds + SLACK):
        print(f"fuzz: something was found in {target}; the input is in {found}", file=sys.stderr)
        return 1
    return 0


def fuzz(engine: Engine, target: str, options: argparse.Namespace) -> int:
    work = (options.work or ROOT / ".fuzz").resolve() / target
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        program = Path(place) / "fuzz"
        source = NATIVE / f"fuzz_{target}.c"
        subprocess.run(
            [*engine.compiler.split(), *engine.compile_flags(), "-o", program, source], check=True
        )
        seeds = Path(place) / "seeds"
        seeds.mkdir()
        count = 0
        for count, seed in enumerate(SEEDS[target](engine), 1):
            (seeds / f"{count:03}").write_bytes(seed)
        print(
            f"fuzzing {target} with {engine.kind} ({engine.compiler}) from {count} seeds,"
            f" {options.seconds} s, seed {options.seed}",
            flush=True,
        )
        command = command_line(engine, target, program, seeds, work, options)
        status = run(engine, command, options.seconds + SLACK)
    if status:
        print(f"fuzz: something was found in {target}; the input is in {work}", file=sys.stderr)
        return 1
    return 0


def find_engine(kinds: list[str]) -> Engine | None:
    for kind in kinds:
        candidates = ["clang"] if kind == "libfuzzer" else [os.environ.get("CC", ""), "gcc", "cc"]
        for compiler in candidates:
            if compiler and shutil.which(compiler.split()[0]):
                engine = try_engine(kind, compiler)
                if engine:
                    return engine
    return None


def try_engine(kind: str, compiler: str) -> Engine | None:
    """Builds and runs an empty program, in the ways that some machines need."""
    with tempfile.TemporaryDirectory() as place:
        program = Path(place) / "probe"
        engine = Engine(kind, compiler, [], {})
        built = subprocess.run(
            [*compiler.split(), *engine.compile_flags(), "-x", "c", "-", "-o", program],
            input=PROBES[kind],
            text=True,
            capture_output=True,
            check=False,
        )
        if built.returncode:
            return None
        # Older sanitizers need their shadow where a kernel with many random
        # bits may put something else.
        fixed = [shutil.which("setarch") or "setarch", platform.machine(), "-R"]
        # The leak checker traces its own process, which a container may forbid.
        for leaks in (1, 0):
            for prefix in (fixed, []):
                environment = {
                    "ASAN_OPTIONS": f"detect_leaks={leaks}",
                    "UBSAN_OPTIONS": "abort_on_error=1",
                }
                candidate = Engine(kind, compiler, prefix, environment)
                arguments = ["-runs=1"] if kind == "libfuzzer" else []
                if run(candidate, [str(program), *arguments], 60, quiet=True) == 0:
                    return candidate
    return None


def texts(_engine: Engine) -> Iterator[bytes]:
    """Texts of maps and smaps, each after a header of two bytes."""
    sources = [
        *sorted(FIXTURES.rglob("*maps")),
        Path("/proc/self/maps"),
        Path("/proc/self/smaps"),
    ]
    for count, source in enumerate(sources):
        try:
            text = source.read_bytes()
        except OSError as error:
            print(f"fuzz: without {source}: {error.strerror}", file=sys.stderr)
            continue
        header = bytes([MODES["smaps" if source.name.endswith("smaps") else "maps"], count & 255])
        yield header + text
        # The first regions say what the rest says, and are tried more often.
        if len(text) > SHORT:
            yield header + text[:SHORT]


def elf_files(engine: Engine) -> Iterator[bytes]:
    """ELF files, each after a header by which every read is complete."""
    with suppress(ImportError):
        from tests.support.elves import FILES

        yield from (bytes(2) + data for data in FILES.values() if data[:4] == b"\x7fELF")
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "made"
        for flags in (["-c"], ["-fPIC", "-shared", "-nostdlib", "-s"], ["-s"]):
            subprocess.run(
                [*engine.compiler.split(), *flags, "-x", "c", "-", "-o", made],
                input="int a = 1, b; const int c; int main(void) { return a + b; }",
                text=True,
                check=True,
            )
            yield bytes(2) + made.read_bytes()


def readings(_engine: Engine) -> Iterator[bytes]:
    """Records of two readings, six bytes for each, after a header."""
    chance = random.Random(1)
    for how in range(16):
        yield bytes([how * 17 & 127, chance.randrange(256)]) + chance.randbytes(6 * 2 ** (how % 8))


def page_tables(_engine: Engine) -> Iterator[bytes]:
    """Runs of like pages, two bytes for each, after a header."""
    chance = random.Random(2)
    for how in range(32):
        yield bytes([how, chance.randrange(256)]) + chance.randbytes(2 * 2 ** (how % 8))


def processes(_engine: Engine) -> Iterator[bytes]:
    """Pages of a few processes, two bytes for each, after a header."""
    chance = random.Random(4)
    for how in range(128):
        yield bytes([how, chance.randrange(256)]) + chance.randbytes(4 * 2 ** (how % 9))


def heaps(_engine: Engine) -> Iterator[bytes]:
    """Chunks or words of memory, two bytes for each, after a header."""
    chance = random.Random(3)
    for how in range(256):
        yield bytes([how, chance.randrange(256)]) + chance.randbytes(8 * 2 ** (how % 7))


def code(engine: Engine) -> Iterator[bytes]:
    """Code as compilers make it, after a header."""
    chance = random.Random(2)
    beginnings = bytes.fromhex("f30f1efa 55 4157 4883ec08 4885ff 31c0 8bc7 488b05e1641300 eb10 c3")
    yield bytes([40, 200]) + beginnings.ljust(4096, b"\x90")
    for data in elf_files(engine):
        for at in (0, 1024, 4096):
            if len(data) > at + 256:
                yield bytes([chance.randrange(256), chance.randrange(256)]) + data[at : at + 3000]


SEEDS: dict[str, Callable[[Engine], Iterator[bytes]]] = {
    "scanner": texts,
    "elfsize": elf_files,
    "compare": readings,
    "breakpoints": code,
    "pagemap": page_tables,
    "sharing": processes,
    "columns": processes,
    "heap": heaps,
}
"""What each target in C starts from."""

IN_PYTHON = ("dwarf", "saved")


def command_line(
    engine: Engine, target: str, program: Path, seeds: Path, work: Path, options: argparse.Namespace
) -> list[str]:
    inputs = [str(path.resolve()) for path in options.input]
    dictionary = DICTIONARIES.get(target)
    if engine.kind == "standalone":
        seconds = 0 if inputs else options.seconds
        inputs = inputs or [str(path) for path in sorted(seeds.iterdir())]
        found = work / f"found-by-seed-{options.seed}"
        return [
            str(program), str(seconds), str(options.seed), str(found),
            str(dictionary or os.devnull), *inputs,
        ]  # fmt: skip
    if inputs:
        return [str(program), *inputs]
    corpus = work / "corpus"
    corpus.mkdir(exist_ok=True)
    return [
        str(program),
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        f"-artifact_prefix={work}/",
        *([f"-dict={dictionary}"] if dictionary else []),
        "-max_len=16384",
        "-timeout=60",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        str(corpus),
        str(seeds),
    ]


def run(engine: Engine, command: list[str], limit: int, *, quiet: bool = False) -> int:
    try:
        return subprocess.run(
            [*engine.prefix, *command],
            env={**os.environ, **engine.environment},
            stdin=subprocess.DEVNULL,
            capture_output=quiet,
            timeout=limit,
            check=False,
        ).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        if not quiet:
            print(f"fuzz: {error}", file=sys.stderr)
        return -1


if __name__ == "__main__":
    sys.exit(main())
