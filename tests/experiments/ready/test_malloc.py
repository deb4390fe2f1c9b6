"""The experiment with malloc."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from procmem.experiments.model.chunks import Learned
from procmem.experiments.ready.story import find
from procmem.experiments.specimen.libc import Verdict
from procmem.view.experiment import story_text
from tests.support.mallocs import PAGE

if TYPE_CHECKING:
    from procmem.experiments import Specimen

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != PAGE, reason="the figures here are those of 4 KiB pages"
)


@pytest.mark.parametrize("name", ["malloc", "threads"])
def test_the_experiments_agree(glibc: Specimen, name: str) -> None:
    told = find(name)()
    assert not told.skipped
    assert told.agreed == told.total >= 15


def test_it_agrees_without_a_limit_of_the_stack(glibc: Specimen) -> None:
    """Mappings then start at the bottom of the address space (mmap_base() of mm/util.c)."""
    if resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY:
        pytest.skip("the stack may not be unlimited here (RLIMIT_STACK)")
    done = subprocess.run(
        ["sh", "-c", 'ulimit -s unlimited && exec "$@"', "sh",
         sys.executable, "-m", "procmem", "experiment", "malloc"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_malloc_and_threads_of_another_libc_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = Verdict(Learned(tcache=0, arena=17, dtv=5), "another libc", "another libc")
    monkeypatch.setattr("procmem.experiments.specimen.libc._verdict", strange)
    for name in ("malloc", "threads"):
        story = find(name)()
        assert story.agrees, story_text(story)
        assert story.not_judged > 10
