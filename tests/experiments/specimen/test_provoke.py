"""Page faults of each kind."""

from __future__ import annotations

import contextlib
import os

import pytest

from procmem.errors import BadArgument, Unsupported
from procmem.experiments import Specimen
from procmem.experiments.specimen.provoke import FAULTS
from tests.support.targets import machine

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


SIGNALS = {
    "null": (11, 1),
    "unmapped": (11, 1),
    "kernel": (11, 1),
    "non-canonical": (11, 128),
    "read-only": (11, 2),
    "text": (11, 2),
    "prot-none": (11, 2),
    "no-exec": (11, 2),
    "past-end": (7, 2),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_each_kind(kind: str) -> None:
    # Not that of another test, which takes it away again.
    with machine.swap() if kind == "swap" else contextlib.nullcontext() as setting:
        if setting is not None:
            setting.or_skip()
        provoked(kind)


def provoked(kind: str) -> None:
    with Specimen(cpu=min(os.sched_getaffinity(0)) if kind == "swap" else None) as s:
        try:
            step = s.fault(kind)
        except Unsupported as error:
            pytest.skip(str(error))
        assert step.agrees, step
        seen = step.fault and (step.fault.signal, step.fault.code)
        assert seen == SIGNALS.get(kind)
        counted = {"minor": (1, 0), "major": (0, 1), "swap": (0, 1)}.get(kind, (0, 0))
        assert (step.delta.minor, step.delta.major) == counted
        if kind == "null":
            assert step.fault is not None
            assert step.fault.address == 0


def test_an_unknown_kind_of_fault() -> None:
    with Specimen() as s, pytest.raises(BadArgument, match="no-exec"):
        s.fault("fatal")
