"""doctor(): features of the kernel, each as its probe finds it."""

from __future__ import annotations

import os

import pytest

import procmem
from procmem.procfs import probes


def found() -> dict[str, procmem.Feature]:
    features = procmem.doctor()
    names = {feature.name: feature for feature in features}
    assert len(names) == len(features)
    return names


def test_a_missing_feature_has_a_cost_and_one_that_is_there_has_none() -> None:
    for feature in found().values():
        assert feature.serves
        assert bool(feature.cost) is not feature.found, feature.name


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    "name, probe",
    [
        ("PROCMAP_QUERY", "has_procmap_query"),
        ("PAGEMAP_SCAN", "has_pagemap_scan"),
        ("page frame numbers", "shows_page_frames"),
        ("soft-dirty bits", "has_soft_dirty"),
        ("guard pages in pagemap", "shows_guard_pages"),
    ],
)
def test_it_asks_the_probes(
    name: str, probe: str, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, probe, lambda: there)
    assert found()[name].found is there


def test_a_probe_that_could_not_run_is_not_called_a_missing_feature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails() -> bool:
        raise OSError(24, os.strerror(24), "/proc/self/pagemap")

    monkeypatch.setattr(probes, "has_soft_dirty", fails)
    feature = found()["soft-dirty bits"]
    assert not feature.found
    assert feature.detail == f"not known: /proc/self/pagemap: {os.strerror(24)}"
