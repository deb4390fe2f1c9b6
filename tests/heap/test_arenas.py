from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import procmem
from tests.support.allocating import Allocating, Shaped, anonymous
from tests.support.paths import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)

MADE = "not a heap that glibc 2.26 to 2.43 would make"
LIMITED = """
import json, resource, sys
import procmem
# Seconds of processor time, however busy the machine is; an emulated one takes ten times as long.
resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
print(json.dumps(procmem.Process(int(sys.argv[1])).heap().to_dict()))
"""


@pytest.mark.parametrize("kind", ["many", "ring", "huge", "chain"])
def test_arenas_that_a_hostile_process_makes_up(program: Path, kind: str) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        (main,) = procmem.Process(target.pid).heap().arenas
        target.ask(f"fake 5000 {kind} {main.address:x}")
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(target.pid)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        heap = json.loads(done.stdout)
    assert not heap["certain"]
    assert any(f"{MADE}, at 0x" in doubt for doubt in heap["doubts"])
    assert heap["arenas"][0]["address"] == main.address
    assert heap["arenas"][0]["in_use"] == main.in_use
    for one in heap["arenas"]:
        names = ("in_use", "tcache", "fast", "free", "top")
        assert all(one[name] >= 0 for name in names)
        assert sum(one[name] for name in names) == one["system"]
    assert len(heap["arenas"]) <= 4097
    # No text is longer for the number of lies.
    assert len(heap["doubts"]) < 100


def test_a_main_arena_whose_link_leads_nowhere(program: Path) -> None:
    with Allocating(program) as target:
        target.go(1, 3000)
        (main,) = procmem.Process(target.pid).heap().arenas
        (where,) = target.ask(f"fake 0 none {main.address:x}")
        heap = procmem.Process(target.pid).heap()
        (found,) = heap.arenas
        assert found._replace(locked=main.locked) == main
        assert any(f"{MADE}, at {int(where, 16) + 48:#x}: " in doubt for doubt in heap.doubts)


def test_two_c_libraries_in_one_process(tmp_path: Path) -> None:
    with Shaped(tmp_path, "second") as target:
        heap = procmem.Process(target.pid).heap()
        if not target.said.number:
            pytest.skip("dlmopen(3) can't load a second C library here")
        assert heap.doubts == ()
        first, second = heap.arenas
        assert first.main
        assert second.main
        assert second.system == target.said.arena
        assert second.in_use + second.tcache == target.said.uordblks
        assert second.free + second.fast + second.top == target.said.fordblks
        assert first.threads == second.threads == (target.pid,)


@pytest.mark.parametrize("flags", [(), ("-static",), ("-m32",)])
@pytest.mark.parametrize("shape", ["mixed", "pages", "top"])
def test_a_container_seen_from_outside(shape: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    with Shaped(tmp_path, shape, *flags, root=tmp_path / "root") as target:
        process = procmem.Process(target.pid)
        # Not by its name, which proc(5) has from the root of all, if these tests run in a chroot.
        assert os.path.samefile(f"/proc/{target.pid}/root", tmp_path / "root")
        assert os.readlink(f"/proc/{target.pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
        heap, said = process.heap(), target.said
        assert heap.doubts == ()
        assert heap.allocator == "glibc malloc"
        assert heap.in_use + heap.tcache == said.uordblks
        assert (heap.free, heap.system) == (said.fordblks, said.arena)
        assert (heap.mmaps, heap.mmapped) == (said.hblks, said.hblkhd)
        assert heap.arenas[0].threads == (target.pid,)
        before = anonymous(process)
        target.trim()
        assert before - anonymous(process) == heap.trimmable
        assert heap.trimmable > 10_000_000 or shape != "top"
        assert process.heap().trimmable == 0
