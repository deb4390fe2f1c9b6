"""procmem demo: it ends what it starts."""

from __future__ import annotations

import pytest

import procmem
from tests.support.commands import shell


def test_demo_ends_what_it_starts() -> None:
    ran = shell("demo")
    assert ran.returncode == 0, ran.stderr
    assert b" 0 unexplained." in ran.stdout
    pid = int(ran.stdout.split(b"procmem maps ")[1].split()[0])
    with pytest.raises(procmem.NoSuchProcess):
        procmem.Process(pid)
