from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import procmem
from procmem.heap.others import allocator_name
from tests.support.allocating import compiled
from tests.support.blocking import until_asleep

LIBRARIES = {
    "jemalloc": "libjemalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
    "mimalloc": "libmimalloc.so.2",
}


def find_library(name: str) -> str:
    for directory in ("/usr/lib", "/usr/local/lib"):
        for found in Path(directory).rglob(name + "*"):
            return str(found)
    pytest.skip(f"{name} is not here")


def heap_at_first_line(*command: str | Path, **environment: str) -> procmem.Heap:
    """The heap of a program when it has written a line; it ends when its input does."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline()
            until_asleep(process.pid)
            return procmem.Process(process.pid).heap()
        finally:
            process.stdin.close()


def test_names_of_allocators() -> None:
    def name(*, glibc: bool = False, used: bool = False, **programs: str) -> str | None:
        return allocator_name(programs, glibc=glibc, used=used, paths=["/usr/lib/libc.so.6"])

    assert name() is None
    assert name(glibc=True, used=True) == "glibc malloc"
    assert name(glibc=True, jemalloc="libjemalloc.so.2 is mapped") == "jemalloc"
    # What a program contains for itself serves no malloc of others.
    assert name(glibc=True, used=True, jemalloc="_rjem_mallctl in db") == "glibc malloc"
    assert name(glibc=True, jemalloc="mallctl in redis") == "jemalloc"
    assert name(go="runtime.mheap_ in it") == "Go runtime"
    assert allocator_name({}, glibc=False, used=False, paths=["/lib/ld-musl-x86_64.so.1"]) == (
        "musl malloc"
    )


@pytest.mark.parametrize("name", LIBRARIES)
def test_allocators_that_are_loaded_before_malloc(name: str) -> None:
    library = find_library(LIBRARIES[name])
    code = "kept = [bytes(2000) for _ in range(20000)]; print('ready', flush=True); input()"
    heap = heap_at_first_line(sys.executable, "-c", code, LD_PRELOAD=library, PYTHONMALLOC="malloc")
    assert heap.allocator == name
    assert heap.trimmable == 0
    (own,) = (one for one in heap.others if one.name == name)
    assert own.resident > 20000 * 2000
    assert own.committed >= own.resident
    assert own.lazy_free is not None
    assert own.guess


def test_a_program_of_musl(tmp_path: Path) -> None:
    if shutil.which("musl-gcc") is None:
        pytest.skip("musl-gcc is not here")
    source = tmp_path / "musl.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
        "int main(void) { for (int i = 0; i < 3000; i++) memset(malloc(1000), 1, 1000);"
        ' puts("ready"); fflush(stdout); getchar(); return 0; }\n'
    )
    for flags in ([], ["-static"]):
        program = tmp_path / f"musl{len(flags)}"
        subprocess.run(["musl-gcc", *flags, "-o", program, source], check=True)
        heap = heap_at_first_line(program)
        assert heap.allocator == "musl malloc"
        assert heap.arenas == ()
        (own,) = (one for one in heap.others if one.name == "musl malloc")
        assert own.guess
        assert own.resident >= 3_000_000


def test_an_asan_program(tmp_path: Path) -> None:
    source = tmp_path / "asan.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
        "int main(void) { for (int i = 0; i < 3000; i++) memset(malloc(1000), 1, 1000);"
        ' puts("ready"); fflush(stdout); getchar(); return 0; }\n'
    )
    program = tmp_path / "asan"
    try:
        made = subprocess.run(
            ["cc", "-fsanitize=address", "-o", program, source], check=False, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("no C compiler here")
    if made.returncode:
        pytest.skip("no AddressSanitizer here")
    heap = heap_at_first_line(program, ASAN_OPTIONS="detect_leaks=0")
    assert heap.allocator == "AddressSanitizer"
    assert any(one.name == "AddressSanitizer heap" for one in heap.others)
    assert any(one.reserved for one in heap.others)


def test_a_go_program(tmp_path: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("go is not here")
    source = tmp_path / "main.go"
    source.write_text(
        'package main\nimport ("fmt"; "os")\nvar kept [][]byte\n'
        "func main() { for i := 0; i < 3000; i++ { b := make([]byte, 1000);"
        ' for j := range b { b[j] = 1 }; kept = append(kept, b) }; fmt.Println("ready");'
        " os.Stdin.Read(make([]byte, 1)) }\n"
    )
    environment = {**os.environ, "GOCACHE": str(tmp_path / "cache"), "CGO_ENABLED": "0"}
    made = subprocess.run(
        ["go", "build", "-o", tmp_path / "gone", source],
        check=False,
        capture_output=True,
        env=environment,
        cwd=tmp_path,
    )
    if made.returncode:
        pytest.skip("go can't build here")
    heap = heap_at_first_line(tmp_path / "gone")
    assert heap.allocator == "Go runtime"
    assert heap.arenas == ()
    (own,) = (one for one in heap.others if one.name == "Go heap")
    assert not own.guess
    assert own.resident >= 3_000_000


def test_a_jvm(tmp_path: Path) -> None:
    if shutil.which("javac") is None:
        pytest.skip("a JDK is not here")
    source = tmp_path / "Wait.java"
    source.write_text(
        "class Wait { public static void main(String[] a) throws Exception {"
        ' System.out.println("ready"); System.in.read(); } }'
    )
    made = subprocess.run(["javac", "-d", tmp_path, source], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("javac can't compile here")
    heap = heap_at_first_line("java", "-Xmx64m", "-cp", tmp_path, "Wait")
    assert heap.allocator == "glibc malloc"
    assert heap.arenas[0].system > 0
    (own,) = (one for one in heap.others if one.name == "JVM heap")
    assert own.guess
    assert own.reserved + own.committed >= 32 << 20


def test_v8() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not here")
    code = (
        "kept = Array.from({length: 1e5}, (_, i) => ({i}));"
        "console.log('ready'); process.stdin.resume()"
    )
    heap = heap_at_first_line("node", "-e", code)
    assert heap.allocator == "glibc malloc"
    assert heap.arenas[0].system > 0
    assert any(one.name.startswith("V8") and one.resident for one in heap.others)


def test_a_program_of_glibc_has_no_others(tmp_path: Path) -> None:
    heap = heap_at_first_line(compiled("heaps", str(tmp_path)))
    assert heap.allocator == "glibc malloc"
    assert heap.others == ()
