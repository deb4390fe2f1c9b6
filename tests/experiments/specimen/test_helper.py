"""The helper process: closed, forgotten, killed, interrupted, shared by threads."""

from __future__ import annotations

import gc
import os
import signal
import threading

import pytest

from procmem import GiB
from procmem.errors import BadArgument, NoSuchProcess
from procmem.experiments import Specimen, Step
from tests.support.specimens import PAGE, area, is_gone, moved

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the figures are of 4 KiB pages")


class TestLife:
    def test_closing_twice(self, specimen: Specimen) -> None:
        specimen.close()
        specimen.close()
        assert is_gone(specimen.pid)
        assert not specimen.is_alive
        with pytest.raises(BadArgument, match="closed"):
            specimen.mmap(PAGE)
        with pytest.raises(BadArgument, match="closed"):
            _ = specimen.figures

    def test_a_fork_of_its_owner_can_ask_nothing_of_it(self, specimen: Specimen) -> None:
        """Its model would know nothing of that."""
        mapped = area(specimen.mmap(PAGE))
        child = specimen.fork().child
        assert child is not None
        pid = os.fork()
        if not pid:
            refused = 0
            for ask in (specimen.touch, specimen.munmap):
                try:
                    ask(mapped)
                except BadArgument:
                    refused += 1
            child.close()
            specimen.close()
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
        assert moved(specimen.touch(mapped))["minor"] == 1
        assert child.is_alive
        child.close()

    def test_forgotten(self) -> None:
        specimen = Specimen()
        pid = specimen.pid
        del specimen
        gc.collect()
        assert is_gone(pid)

    def test_a_parent_closed_before_its_child(self) -> None:
        specimen = Specimen()
        child = specimen.fork().child
        assert child is not None
        specimen.close()
        assert is_gone(child.pid)
        with pytest.raises(NoSuchProcess):
            child.mmap(PAGE)
        child.close()

    def test_killed(self, specimen: Specimen) -> None:
        os.kill(specimen.pid, signal.SIGKILL)
        with pytest.raises(NoSuchProcess, match="killed by SIGKILL"):
            specimen.mmap(PAGE)
        assert not specimen.is_alive

    def test_killed_in_the_middle_of_a_step(self, specimen: Specimen) -> None:
        mapped = area(specimen.mmap(16 * GiB, prot="r", noreserve=True))
        timer = threading.Timer(0.05, os.kill, (specimen.pid, signal.SIGKILL))
        timer.start()
        with pytest.raises(NoSuchProcess):
            while True:  # reads zero pages, which take nothing but page tables
                specimen.read(mapped)
                specimen.madvise(mapped, "dontneed")
        timer.join()

    def test_a_fork_of_this_process_lets_it_live(self, specimen: Specimen) -> None:
        pid = os.fork()
        if not pid:
            specimen.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert moved(specimen.mmap(PAGE))["vsz"] == PAGE

    def test_an_interrupt_loses_no_step(self, specimen: Specimen) -> None:
        class Stop(Exception):
            pass

        def stop(*_: object) -> None:
            raise Stop

        mapped = area(specimen.mmap(8 * GiB, prot="r", noreserve=True))
        former = signal.signal(signal.SIGALRM, stop)
        try:
            with pytest.raises(Stop):
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                for _ in range(1000):
                    specimen.read(mapped)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, former)
        assert specimen.mmap(PAGE).delta.vsz == PAGE

    def test_several_threads(self, specimen: Specimen) -> None:
        wrong: list[Step] = []

        def work() -> None:
            for _ in range(50):
                mapped = specimen.mmap(pages=3)
                touched = specimen.touch(area(mapped), pages=2)
                wrong.extend(step for step in (mapped, touched) if not step.agrees)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
