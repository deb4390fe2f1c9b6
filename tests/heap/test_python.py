from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

import procmem

CODE = """
import random, sys
random.seed(3)
kept = [bytes(random.randrange(500)) for _ in range(100000)]
kept = [piece for piece in kept if random.random() < 0.5]
sys._debugmallocstats()
print("done", file=sys.stderr, flush=True)
sys.stdin.read(1)
"""
ROW = re.compile(r"\s*\d+\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*")


def interpreters() -> list[str]:
    found = {sys.executable}
    for minor in range(10, 16):
        path = shutil.which(f"python3.{minor}")
        if (
            path
            and subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0
        ):
            found.add(path)
    return sorted(found)


@pytest.mark.parametrize("python", interpreters())
def test_size_classes_equal_those_the_interpreter_prints(python: str) -> None:
    with subprocess.Popen(
        [python, "-I", "-c", CODE], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        truth = {}
        arenas = None
        for line in process.stderr:
            if line == "done\n":
                break
            if row := ROW.fullmatch(line):
                size, pools, in_use, free = map(int, row.groups())
                truth[size] = pools, in_use, free
            if match := re.match(r"# arenas allocated current\s+=\s+(\d+)", line):
                arenas = int(match[1])
        found = procmem.Process(process.pid).heap().python
        process.stdin.close()
    if arenas is None:
        assert found is None or found.pools == 0
        return
    assert found is not None
    assert len(found.arenas) == arenas
    assert found.classes.keys() == truth.keys()
    for size, blocks in found.classes.items():
        # Printing takes a few objects itself.
        assert abs(blocks.in_use - truth[size][1]) <= 3
        assert blocks.in_use + blocks.free == sum(truth[size][1:])
        assert blocks.pools == truth[size][0]
    assert sum(abs(one.in_use - truth[size][1]) for size, one in found.classes.items()) <= 10
    assert found.in_use == sum(size * one.in_use for size, one in found.classes.items())


def test_an_interpreter_without_the_allocator() -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            CODE.replace("_debugmallocstats", "getrefcount").replace(
                "getrefcount()", "getrefcount(0)"
            ),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONMALLOC": "malloc"},
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "done\n"
        heap = procmem.Process(process.pid).heap()
        process.stdin.close()
    assert heap.python is not None
    assert heap.python.pools == 0
    assert heap.in_use > 5_000_000
