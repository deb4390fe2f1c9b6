"""Starting and ending a specimen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from procmem.errors import BadArgument, Unsupported
from procmem.experiments import Specimen
from procmem.experiments.specimen import launch as launching
from tests.support.specimens import KINDS, PAGE, area, is_gone, moved

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestLife:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind(self, kind: str) -> None:
        with Specimen(kind=kind) as specimen:
            mapped = specimen.mmap(pages=100)
            assert moved(mapped)["vsz"] == 100 * PAGE
            assert moved(specimen.touch(area(mapped), pages=7))["rss"] == 7 * PAGE
            child = specimen.fork().child
            assert child is not None
            assert moved(child.touch(area(mapped), pages=9))["minor"] == 9
            child.close()
            assert specimen.touch(0).fault is not None
            pid = specimen.pid
        assert is_gone(pid)

    def test_without_the_program_a_child_serves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(launching.PROGRAMS, "program", "no-such-program")
        with Specimen() as specimen:
            assert specimen.kind == "fork"
        with pytest.raises(Unsupported, match="no-such-program"):
            Specimen(kind="program")

    def test_pinned(self) -> None:
        cpu = min(os.sched_getaffinity(0))
        with Specimen(cpu=cpu) as specimen:
            assert os.sched_getaffinity(specimen.pid) == {cpu}
        with pytest.raises(BadArgument, match="cpu"):
            Specimen(cpu=1 << 20)

    def test_it_outlives_the_thread_that_started_it(self) -> None:
        made: list[Specimen] = []
        thread = threading.Thread(target=lambda: made.append(Specimen()))
        thread.start()
        thread.join()
        with made[0] as specimen:
            time.sleep(0.05)
            assert moved(specimen.mmap(PAGE))["vsz"] == PAGE

    def test_it_dies_with_its_parent(self) -> None:
        code = (
            "import os, sys\n"
            "from procmem.experiments import Specimen\n"
            "s = Specimen(); c = s.fork().child\n"
            "print(s.pid, c.pid, flush=True); os.kill(os.getpid(), 9)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == -9
        for pid in done.stdout.split():
            assert is_gone(int(pid))
