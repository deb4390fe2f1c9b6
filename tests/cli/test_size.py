"""`procmem size` beside GNU size 2.40: options, output, standard error, exit status."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.elves import FILES, Section, Segment, archive, elf, member
from tests.support.gnu_size import (
    DIFFERS,
    gnu,
    is_known,
    needs_size,
    ours,
    same,
    version,
)

VIEWS = [
    ["-B"], ["-A"], ["-G"], ["-x"], ["-o"], ["-t"], ["-A", "-x"], ["-A", "-o"], ["-G", "-x"],
    ["-G", "-o", "-t"], ["--common"], ["--common", "-A"], ["--common", "-t", "-G"],
]  # fmt: skip
ARGUMENTS = [
    [], ["gone"], ["."], ["/dev/null"], ["zero"], ["text"], ["fifo"], ["loop"], ["object.o/x"],
    ["x" * 300], [""], ["new\nline"], ["object.o", "gone", "text", "lib.a"], ["text", "gone"],
    ["--form=x", "text"], ["--format=sysvxyz", "short"], ["--format=", "short"],
    ["--format=gxx", "short"], ["--format", "b", "short"], ["--format=Sx", "short"], ["--format"],
    ["--radix=9", "short"], ["--radix=08", "short"], ["--radix=010", "short"],
    ["--radix=16x", "short"], ["--radix= 8", "short"], ["--radix=-16"], ["--radix=0x10"],
    ["--radix", "16", "short"], ["--rad=16", "short"], ["-x", "--radix=10", "short"],
    ["-q"], ["-?"], ["-H"], ["-l"], ["--bogus"], ["--t"], ["--common=3", "short"],
    ["--help", "--bogus"], ["-v", "--bogus"], ["--co", "object.o"], ["-AB", "short"],
    ["--target=elf64-little", "short"], ["--target=nope", "short"], ["--target=nope", "gone"],
    ["--target=nope", "zero"], ["@args"], ["@gone"], ["-f", "short"], ["--", "-x"],
    ["short", "-A"], ["-t", "gone"], ["-t", "-x"], ["-G", "-t", "-o", "gone"], ["-A", "-t", "high"],
    ["-tt", "short"], ["-dA", "short"], ["core", "object.o"], ["-A", "core", "object.o"],
    ["-G", "core", "-t"],
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "args").write_text("-x 'sho'rt \"odd-name\" w\\rap\n")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSIXLY_CORRECT", raising=False)
    return tmp_path


@needs_size
@pytest.mark.parametrize("name", FILES)
def test_each_file_in_each_view(folder: Path, name: str) -> None:
    if name == "group.o" and version() >= DIFFERS:
        pytest.skip("this GNU size shows .group sections behind the others")
    for view in VIEWS:
        assert ours([*view, name]) == gnu([*view, name])


@needs_size
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=" ".join)
def test_arguments(folder: Path, arguments: list[str]) -> None:
    assert ours(arguments) == gnu(arguments)


@needs_size
def test_a_file_that_may_not_be_read(folder: Path) -> None:
    (folder / "short").chmod(0)
    (folder / "closed").mkdir()
    (folder / "closed" / "short").write_bytes(FILES["short"])
    (folder / "closed").chmod(0)
    try:
        for name in ("short", "closed/short"):
            assert ours([name]) == gnu([name])
    finally:
        (folder / "closed").chmod(0o700)


@needs_size
def test_what_the_compiler_makes(folder: Path) -> None:
    if not shutil.which("gcc"):
        pytest.skip("no gcc here")
    (folder / "a.c").write_text(
        "#include <stdio.h>\n"
        "int common[100]; __thread int t, u = 3; const int c[9] = {1}; int d = 2;\n"
        '__attribute__((section(".odd,\\"aw\\",@nobits#"))) int odd[5];\n'
        '__attribute__((section("no.code"))) int f(void) { return t + u + d; }\n'
        'int main(void) { return printf("%d", f() + odd[1] + c[2]); }\n'
    )
    (folder / "b.cc").write_text(
        "template <class T> T f(T x) { static T y; return y += x; }\n"
        "inline int g() { static int z = 4; return ++z; }\n"
        "int h() { return f(1) + (int)f(2.0) + g(); }\n"
    )
    made = []
    for number, (source, *flags) in enumerate(
        [
            ("a.c", "-c", "-g"), ("a.c", "-c", "-fcommon"), ("a.c", "-c", "-m32"),
            ("a.c", "-c", "-ffunction-sections", "-fdata-sections"), ("a.c", "-c", "-flto"),
            ("b.cc", "-c", "-g"), ("b.cc", "-c", "-m32"), ("a.c", "-g", "-gz"), ("a.c", "-static"),
            ("a.c", "-shared", "-fPIC"), ("a.c", "-no-pie", "-Wl,--emit-relocs"),
            ("b.cc", "-r", "-nostdlib"), ("a.c", "-Wl,-z,separate-code", "-s"),
            ("a.c", "-static-pie"), ("b.cc", "-shared", "-fPIC", "-Wl,--hash-style=both"),
        ]
    ):  # fmt: skip
        name = f"made{number}"
        done = subprocess.run(["gcc", source, "-o", name, *flags], capture_output=True, check=False)
        if not done.returncode:
            made.append(name)
    assert len(made) > 3
    if shutil.which("objcopy"):
        for name in made[:3]:
            subprocess.run(["objcopy", "--only-keep-debug", name, f"{name}.debug"], check=True)
            made.append(f"{name}.debug")
    subprocess.run(["ar", "rc", "made.a", *made], check=True)
    subprocess.run(["ar", "rcT", "thin-made.a", *made, "made.a"], check=True)
    for view in VIEWS:
        for name in [*made, "made.a", "thin-made.a"]:
            assert ours([*view, name]) == gnu([*view, name]), (view, name)


@needs_size
def test_a_core_of_gcore(folder: Path) -> None:
    if not shutil.which("gcore"):
        pytest.skip("no gcore here (package gdb)")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as target:
        try:
            done = subprocess.run(
                ["gcore", "-o", "dump", str(target.pid)],
                capture_output=True, text=True, check=False, timeout=300,
            )  # fmt: skip
        finally:
            target.kill()
    name = f"dump.{target.pid}"
    if not (folder / name).exists():
        pytest.skip(f"gcore could not dump: {done.stderr[-200:]}")
    for view in VIEWS:
        assert ours([*view, name]) == gnu([*view, name])


# ---- hostile input ------------------------------------------------------------------

INTERESTING = (0, 1, 2, 3, 4, 7, 8, 16, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1, 1 << 40)
SEEDS = [FILES[name] for name in ("object.o", "group.o", "core", "riscv.so", "big32.o", "arm.o")]


def table_of(data: bytes) -> tuple[int, int]:
    """Where the section headers lie, and their end; of a core, the program headers."""
    order = "<" if data[5] == 1 else ">"
    if data[16:18] in (b"\4\0", b"\0\4"):
        return 64, 64 + 56 * 5
    if data[4] == 2:
        (at,), (count,) = struct.unpack_from(order + "Q", data, 40), struct.unpack_from(
            order + "H", data, 60
        )  # fmt: skip
        return at, at + count * 64
    (at,), (count,) = struct.unpack_from(order + "I", data, 32), struct.unpack_from(
        order + "H", data, 48
    )  # fmt: skip
    return at, at + count * 40


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    start, end = table_of(bytes(data))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.one_of(st.integers(0, 63), st.integers(start, end - 1)))
        if draw(st.booleans()):
            data[at] = draw(st.integers(0, 255))
        else:
            width = draw(st.sampled_from([1, 2, 4, 8]))
            at -= at % width
            value = draw(st.one_of(st.sampled_from(INTERESTING), st.integers(0, len(data) + 1)))
            order = "little" if data[5] == 1 else "big"
            part = (value % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
            data[at : at + width] = part
    length = draw(st.one_of(st.just(len(data)), st.integers(1, len(data))))
    return bytes(data[: len(data) if draw(st.integers(0, 9)) else length])


def judged(said: tuple[int, bytes, bytes]) -> tuple[int, bytes]:
    """What must agree on hostile files: GNU's further remarks on standard error need not."""
    status, out, _ = said
    return status, out if version() < DIFFERS else b"".join(sorted(out.splitlines(True)))


@needs_size
@settings(max_examples=150, deadline=None)
@given(data=mutants())
@example(data=FILES["wrap"])
def test_mutated_headers(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = str(tmp_path_factory.getbasetemp() / "mutant")
    Path(path).write_bytes(data)
    # Where a segment of a core holds an ELF header, GNU shows its notes once more.
    for view in (["-B"], ["-G"], ["-A"])[: 2 if data[16:17] == b"\4" else 3]:
        expected = gnu([*view, path])
        if expected.status < 0:  # it died of the input, or of the memory limit
            assert ours([*view, path]).status in (0, 1, 2, 3)
        elif not is_known(expected):
            assert judged(ours([*view, path])) == judged(expected)


@needs_size
def test_many_mutants_at_once(tmp_path: Path) -> None:
    """A thousand fixed mutants; GNU sizes them in a few runs."""
    chance = random.Random(5)
    paths = []
    for number in range(1000):
        data = bytearray(chance.choice(SEEDS))
        start, end = table_of(bytes(data))
        for _ in range(chance.choice((1, 1, 2))):
            at = chance.randrange(start, end) if chance.random() < 0.8 else chance.randrange(64)
            data[at] = chance.choice((0, 1, 2, 3, 4, 8, 9, 11, 17, 255, chance.randrange(256)))
        path = tmp_path / f"{number}"
        path.write_bytes(data)
        paths.append(str(path))
    for at in range(0, 1000, 100):
        some = paths[at : at + 100]
        if judged(ours(some)) != judged(gnu(some)):
            different = [
                path
                for path in some
                if not is_known(expected := gnu([path]))
                and judged(ours([path])) != judged(expected)
            ]
            assert different == []


@needs_size
def test_truncated_at_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("object.o", "core", "lib.a"):
        whole = FILES[name]
        lengths = range(1, len(whole), 1 if name == "object.o" else 7)
        paths = []
        for length in lengths:
            Path(f"{name}{length}").write_bytes(whole[:length])
            paths.append(f"{name}{length}")
        for at in range(0, len(paths), 200):
            some = paths[at : at + 200]
            assert judged(ours(some)) == judged(gnu(some))


# The peak that getrusage(2) tells is that of the process that forked, too.
PEAK = """
import sys, time
from procmem.cli.size import main
sys.stdout = open("/dev/null", "w")
main(sys.argv[1:])
peak = open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]
sys.stderr.write(f"\\n{time.process_time()} {peak}")
"""


def peak_of(path: Path, view: str) -> tuple[float, int]:
    """Seconds of a CPU and KiB of memory that the command takes."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PEAK,
            view,
            path,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    seconds, kib = done.stderr.rpartition("\n")[2].split()
    return float(seconds), int(kib)


@functools.cache
def hostile() -> dict[str, bytes]:
    sections = bytearray(
        elf([Section(f".{i}", 1, 6) for i in range(70_000)], type=2, shnum=0, shstrndx=0xFFFF)
    )
    (at,) = struct.unpack_from("<Q", sections, 40)
    struct.pack_into("<QI", sections, at + 32, 70_002, 70_001)
    segments = bytearray(
        elf(
            [Section("", 1, 6)],
            [Segment(1, 5, 0, i << 12, 64, 4096) for i in range(70_000)],
            type=4,
            phnum=0xFFFF,
        )
    )
    (at,) = struct.unpack_from("<Q", segments, 40)
    struct.pack_into("<I", segments, at + 44, 70_000)
    return {
        "sections": bytes(sections),
        "segments": bytes(segments),
        "chain": elf([Section("x", 3, 0, link=i % 60_000 + 1) for i in range(1, 60_001)]),
        "star": elf([Section("x", 3, 0, link=60_000) for _ in range(60_000)]),
        "relocations": elf(
            [Section(".t", 1, 6)]
            + [Section(".r", 4, 0, link=2, info=1, entsize=24) for _ in range(60_000)]
        ),
        "group": elf(
            [Section(".g", 17, 0, struct.pack("<I", 1) * 100_000, entsize=4, link=3, info=0)]
            + [Section(".t", 1, 0x200) for _ in range(1000)]
        ),
        "names": elf([Section("", 1, 2, fields={"name": 1}) for _ in range(3000)])
        .replace(b"\0.shstrtab\0", b"\0" + b"n" * 9 + b"\0"),
        "archive": archive(*[member(b"x/", b"") for _ in range(50_000)]),
    }  # fmt: skip


def test_hostile_files_cost_little(tmp_path: Path) -> None:
    for name, data in hostile().items():
        path = tmp_path / name
        path.write_bytes(data)
        for view in ("-B", "-A"):
            seconds, kib = peak_of(path, view)
            assert kib < 64 * 1024, (name, view)
            assert seconds < 30, (name, view)


# ---- ours alone ---------------------------------------------------------------------


def test_json(folder: Path) -> None:
    said = ours(["--json", "object.o", "lib.a", "gone"])
    assert said.status == 1
    assert b"gone" in said.err
    said = ours(["--json", "object.o", "names.a"])
    assert said.status == 0
    rows = json.loads(said.out)
    assert rows[0]["text"] == sum(
        one["size"] for one in rows[0]["sections"] if one["counts_as"] == "text"
    )
    assert rows[0]["program"]["kind"] == "object"
    assert [row["member"] for row in rows[1:]] == ["a b.o", "a", "", "abcdefghijklmno", "x"]


def test_explain(folder: Path) -> None:
    said = ours(["--explain", "object.o", "loaded"])
    assert said.status == 0
    text = said.out.decode()
    assert "read-only, with contents" in text
    assert "Of the\nrest, sections with contents are data" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "remainder" in text
    assert ours(["--explain", "gone"]).status == 1


def test_help_and_version(folder: Path) -> None:
    assert b"Exit status" not in ours(["--help"]).err
    assert ours(["-h"]).status == 0
    assert b"Binutils 2.40" in ours(["-V"]).out


def test_same_tells_differences(folder: Path) -> None:
    if shutil.which("size"):
        assert not same(["-v"])
