"""The marks of the pytest plugin, in runs of pytest of their own: what passes and what fails."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

MODULE = '''
import asyncio, ctypes, mmap, os, socket, subprocess, sys, unittest
import pytest

PAGE = mmap.PAGESIZE
MiB = 1 << 20
ANON = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS
kept = []
count = {"runs": 0}
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

def area(size, touched=True, keep=False):
    """Shared memory, since the kernel joins private areas with the interpreter's beside them.

    No Python object is kept for it: that may take a page more.
    """
    at = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, ANON, -1, 0)
    if touched:
        ctypes.memset(at, 1, size)
    if not keep:
        libc.munmap(at, size)

@pytest.mark.limit_rss("64 MiB")
def test_rss_below(): area(4 * MiB)

@pytest.mark.limit_rss("64 MiB")
def test_rss_peak_too_high(): area(160 * MiB)

@pytest.mark.limit_rss("64 MiB")
def test_rss_kept_too_high(): area(150 * MiB, keep=True)

@pytest.mark.limit_rss(64 * MiB)
def test_rss_counts_from_the_start_of_the_test(): area(16 * MiB)

@pytest.mark.limit_rss("64 MiB")
def test_rss_not_touched(): area(256 * MiB, touched=False)

@pytest.mark.limit_vsz("64 MiB")
def test_vsz_below(): area(4 * MiB, touched=False)

@pytest.mark.limit_vsz("64 MiB")
def test_vsz_peak_too_high(): area(160 * MiB, touched=False)

@pytest.mark.limit_vsz("64 MiB")
def test_vsz_peak_too_high_again():
    "VmPeak is as high already."
    area(160 * MiB, touched=False)

@pytest.mark.no_growth
def test_steady(): area(MiB)

@pytest.mark.no_growth
def test_steady_python():
    numbers = [float(n) for n in range(10_000)]
    assert sum(numbers) == 49_995_000

@pytest.mark.no_growth
def test_grows_by_100_pages_each_time(): area(100 * PAGE, keep=True)

@pytest.mark.no_growth(pages=1050)
def test_may_grow_by_as_much(): area(100 * PAGE, keep=True)

@pytest.mark.no_growth(pages=950)
def test_grows_by_too_much(): area(100 * PAGE, keep=True)

@pytest.mark.no_growth(warmup=1, runs=1)
def test_grows_once_more():
    "Not in the first run, nor when it is measured again."
    count["once"] = count.get("once", 0) + 1
    if count["once"] == 2:
        area(100 * PAGE, keep=True)

def test_it_was_measured_again(): assert count["once"] == 3

@pytest.mark.no_growth(warmup=2, runs=5)
def test_runs_that_often(): count["runs"] += 1

def test_it_ran_that_often(): assert count["runs"] == 7

@pytest.mark.no_growth(runs=1, warmup=1)
@pytest.mark.parametrize("size", [1, 2])
def test_warm_caches_are_no_growth(size, tmp_path):
    if not (tmp_path / "made").exists():
        area(MiB, keep=True)
        (tmp_path / "made").touch()

@pytest.mark.no_leaked_maps
def test_no_maps(): area(MiB)

@pytest.mark.no_leaked_maps
def test_leaves_a_mapping(): area(3 * PAGE, keep=True)

@pytest.mark.no_leaked_maps
def test_leaves_a_file_mapped(tmp_path):
    path = tmp_path / "leaked file"
    path.write_bytes(bytes(PAGE))
    with path.open("r+b") as file:
        kept.append(mmap.mmap(file.fileno(), PAGE))

@pytest.mark.no_leaked_maps
def test_objects_are_no_leak():
    "Lists of 8,000 bytes: glibc maps blocks from 128 KiB on."
    kept.extend([object() for _ in range(1000)] for _ in range(100))

@pytest.mark.no_leaked_fds
def test_no_fds():
    with open("/dev/null"), socket.socket():
        pass

@pytest.mark.no_leaked_fds
def test_leaves_a_file_open(): kept.append(os.open("/dev/zero", os.O_RDONLY))

@pytest.mark.no_leaked_fds
@pytest.mark.no_leaked_maps
@pytest.mark.no_growth(runs=2)
def test_leaves_all():
    kept.append(os.dup(0))
    area(PAGE, keep=True)

@pytest.mark.no_growth
def test_a_failure_of_its_own(): assert 1 == 2

@pytest.mark.no_growth
def test_skips(): pytest.skip("for a reason")

@pytest.mark.xfail(strict=True)
@pytest.mark.no_growth
def test_expected_to_grow(): area(100 * PAGE, keep=True)

class TestOfUnittest(unittest.TestCase):
    def setUp(self): self.made = []

    @pytest.mark.no_growth
    def test_steady(self): self.made.append(1)

    @pytest.mark.no_growth
    def test_grows(self): area(100 * PAGE, keep=True)

@pytest.mark.limit_rss("32 MiB")
class TestMarkOfAClass:
    def test_one(self): area(MiB // 4)
    def test_two(self): area(128 * MiB)

def test_the_fixture(memory):
    with memory.measure() as used:
        area(64 * MiB, keep=True)
    "The interpreter itself takes, or gives back, an arena at most."
    assert 62 * MiB <= used.vsz <= 66 * MiB, used.why
    assert 62 * MiB <= used.own <= 66 * MiB, used.why
    assert "mmap" in used.why or "mapped" in used.why

def test_the_fixture_with_one_call(memory):
    from procmem import calls
    found = memory.bracket(calls.mmap, pages=5)
    assert found.delta.vsz == 5 * PAGE
    found.result.close()
'''

ASYNC = """
import asyncio, mmap, pytest
kept = []

@pytest.mark.asyncio
@pytest.mark.no_growth
async def test_steady(): await asyncio.sleep(0)

@pytest.mark.asyncio
@pytest.mark.no_growth
async def test_grows():
    await asyncio.sleep(0)
    made = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    made.write(bytes(1 << 20))
    kept.append(made)
"""


def outcomes(directory: Path, text: str, *arguments: str) -> dict[str, tuple[str, str]]:
    """The outcome of each test and its message, as pytest writes them to a file for CI systems."""
    (directory / "test_it.py").write_text(text)
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=out.xml"]
    ran = subprocess.run(
        [*command, *arguments],
        cwd=directory,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )  # fmt: skip
    found = {}
    if ran.returncode > 1:
        return {"": ("error", ran.stdout + ran.stderr)}
    for case in ET.parse(directory / "out.xml").iter("testcase"):
        result = next(iter(case), None)
        found[case.get("name", "")] = (
            ("passed", "")
            if result is None or result.tag in ("properties", "system-out", "system-err")
            else (result.tag, f"{result.get('message')}\n{result.text}")
        )
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    return outcomes(tmp_path_factory.mktemp("marks"), MODULE)


# 1,000 pages, give or take what the interpreter takes for itself or gives back.
GROWN = r"memory grew by (9[5-9]\d|1,0[0-4]\d) pages"

PASS = """
test_rss_below test_rss_counts_from_the_start_of_the_test test_rss_not_touched test_vsz_below
test_steady test_steady_python test_grows_once_more test_it_was_measured_again
test_may_grow_by_as_much test_runs_that_often test_it_ran_that_often
test_warm_caches_are_no_growth[1] test_warm_caches_are_no_growth[2] test_no_maps
test_objects_are_no_leak test_no_fds test_one test_the_fixture test_the_fixture_with_one_call
""".split()

FAIL = {
    "test_rss_peak_too_high": (
        "limit_rss is 64 MiB",
        "larger than before the test at its peak",
    ),
    "test_rss_kept_too_high": ("limit_rss is 64 MiB", r"RSS is 1[2-7]\d", "mapped"),
    "test_vsz_peak_too_high": (r"VSZ was 16\d.* MiB larger", "limit_vsz is 64 MiB"),
    "test_vsz_peak_too_high_again": (r"VSZ was 16\d.* MiB larger",),
    "test_grows_by_100_pages_each_time": (
        rf"{GROWN} \(.* MiB\) in 10 runs, after 3 to warm up: no_growth allows 0\.",
        r"A test that does nothing grew by [\d,]+ pages? here",
        "mapped",
    ),
    "test_grows_by_too_much": (GROWN, "no_growth allows 950"),
    "test_leaves_a_mapping": ("the test left memory mapped", "rw-s 12 KiB"),
    "test_leaves_a_file_mapped": ("leaked file",),
    "test_leaves_a_file_open": ("the test left files open", "/dev/zero"),
    "test_leaves_all": ("no_growth allows 0", "left memory mapped", "left files open"),
    "test_a_failure_of_its_own": ("assert 1 == 2",),
    "test_grows": (GROWN,),
    "test_two": ("limit_rss is 32 MiB",),
}


@pytest.mark.parametrize("name", PASS)
def test_passes(results: dict[str, tuple[str, str]], name: str) -> None:
    assert results[name] == ("passed", "")


@pytest.mark.skipif(os.sysconf("SC_PAGESIZE") != 4096, reason="the figures are of 4 KiB pages")
@pytest.mark.parametrize("name", FAIL)
def test_fails_and_says_why(results: dict[str, tuple[str, str]], name: str) -> None:
    outcome, message = results[name]
    assert outcome == "failure"
    for words in FAIL[name]:
        assert re.search(words, message)


def test_skips_and_expected_failures(results: dict[str, tuple[str, str]]) -> None:
    assert results["test_skips"][0] == "skipped"
    assert results["test_expected_to_grow"][0] == "skipped"


def test_every_test_of_the_module_was_judged(results: dict[str, tuple[str, str]]) -> None:
    others = {"test_skips", "test_expected_to_grow"}
    assert results.keys() == {*PASS, *FAIL, *others}


def test_coroutines(tmp_path: Path) -> None:
    if importlib.util.find_spec("pytest_asyncio") is None:
        pytest.skip("pytest-asyncio is not installed")
    found = outcomes(tmp_path, ASYNC)
    assert found["test_steady"] == ("passed", "")
    assert "no_growth allows 0" in found["test_grows"][1]


def test_with_xdist(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    found = outcomes(tmp_path, MODULE, "-n", "2", "-k", "rss or steady or each_time")
    assert found["test_rss_below"] == ("passed", "")
    assert found["test_rss_peak_too_high"][0] == "failure"
    assert re.search(GROWN, found["test_grows_by_100_pages_each_time"][1])


@pytest.mark.parametrize(
    "mark, words",
    [
        ("limit_rss", "missing 1 required positional argument: 'size'. Usage: limit_rss(size)"),
        ("limit_rss('8 apples')", "'apples' is not a unit of memory"),
        ("limit_rss(-1)", "a size is a whole number from 0 on, not -1"),
        ("no_growth(pages=-1)", "pages is a whole number from 0 on"),
        ("no_growth(runs=0)", "runs is a whole number from 1 on"),
        ("no_growth(run=3)", "unexpected keyword argument 'run'"),
        ("no_leaked_fds(1.5)", "warmup is a whole number"),
    ],
)
def test_wrong_arguments(tmp_path: Path, mark: str, words: str) -> None:
    text = f"import pytest\n@pytest.mark.{mark}\ndef test_it(): pass\n"
    found = outcomes(tmp_path, text)
    said = "".join(message for _, message in found.values())
    assert words in said
    assert "Traceback" not in said


def test_nothing_is_loaded_without_marks(tmp_path: Path) -> None:
    text = (
        "import sys\n"
        "def test_it(): assert not [m for m in sys.modules if m.startswith('procmem.')"
        " and m not in ('procmem.pytest_plugin', 'procmem._lazy')]\n"
    )
    assert outcomes(tmp_path, text) == {"test_it": ("passed", "")}


def test_marks_are_declared() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--markers"], capture_output=True, text=True, check=True
    )
    for name in ("limit_rss", "limit_vsz", "no_growth", "no_leaked_maps", "no_leaked_fds"):
        assert f"@pytest.mark.{name}(" in ran.stdout
