"""Fuzzes the scanner of maps and smaps, for a given time.

Builds procmem/native/fuzz_scanner.c with AddressSanitizer and
UndefinedBehaviorSanitizer: under libFuzzer if a clang that has it is there
(on Debian: apt-get install clang libclang-rt-14-dev), else with gcc and the
driver in that file. Starts from the fixtures and from this machine's own
/proc/self. Exit status 0: nothing found; 1: something was; 2: usage; 77: no
compiler here has the sanitizers.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "procmem" / "native"
FIXTURES = ROOT / "tests" / "fixtures"
DICTIONARY = ROOT / "scripts" / "fuzz.dict"

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
        help="keep the corpus and what is found in this folder (.fuzz; what lies there is used)",
    )
    parser.add_argument("input", nargs="*", type=Path, help="only run these inputs, once each")
    options = parser.parse_args()

    engine = find_engine(list(PROBES) if options.engine == "auto" else [options.engine])
    if engine is None:
        print(
            "fuzz: no compiler here has AddressSanitizer and UndefinedBehaviorSanitizer"
            " (on Debian: apt-get install gcc, or clang libclang-rt-14-dev)",
            file=sys.stderr,
        )
        return NO_COMPILER
    work = (options.work or ROOT / ".fuzz").resolve()
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        program = Path(place) / "fuzz_scanner"
        subprocess.run(
            [
                *engine.compiler.split(),
                *engine.compile_flags(),
                f"-I{NATIVE}",
                "-o",
                program,
                NATIVE / "fuzz_scanner.c",
            ],
            check=True,
        )
        seeds = Path(place) / "seeds"
        seeds.mkdir()
        count = write_seeds(seeds)
        print(
            f"fuzzing with {engine.kind} ({engine.compiler}) from {count} seeds,"
            f" {options.seconds} s, seed {options.seed}",
            flush=True,
        )
        command = command_line(engine, program, seeds, work, options)
        status = run(engine, command, options.seconds + SLACK)
    if status:
        print(f"fuzz: something was found; the input is in {work}", file=sys.stderr)
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
                candidate = Engine(
                    kind, compiler, prefix, {"ASAN_OPTIONS": f"detect_leaks={leaks}"}
                )
                arguments = ["-runs=1"] if kind == "libfuzzer" else []
                if run(candidate, [str(program), *arguments], 60, quiet=True) == 0:
                    return candidate
    return None


def write_seeds(folder: Path) -> int:
    """Puts texts of maps and smaps into the folder, each behind a header of two bytes."""
    sources = [
        *sorted(FIXTURES.rglob("*maps")),
        Path("/proc/self/maps"),
        Path("/proc/self/smaps"),
    ]
    count = 0
    for source in sources:
        try:
            text = source.read_bytes()
        except OSError as error:
            print(f"fuzz: without {source}: {error.strerror}", file=sys.stderr)
            continue
        mode = MODES["smaps" if source.name.endswith("smaps") else "maps"]
        # The first regions say what the rest says, and are tried more often.
        for length in (len(text), 3000):
            if length <= len(text):
                (folder / f"{count:03}").write_bytes(bytes([mode, count & 255]) + text[:length])
                count += 1
    return count


def command_line(
    engine: Engine, program: Path, seeds: Path, work: Path, options: argparse.Namespace
) -> list[str]:
    inputs = [str(path.resolve()) for path in options.input]
    if engine.kind == "standalone":
        seconds = 0 if inputs else options.seconds
        inputs = inputs or [str(path) for path in sorted(seeds.iterdir())]
        found = work / f"found-by-seed-{options.seed}"
        return [
            str(program), str(seconds), str(options.seed), str(found), str(DICTIONARY), *inputs,
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
        f"-dict={DICTIONARY}",
        "-max_len=16384",
        "-timeout=20",
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
