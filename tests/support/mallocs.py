"""Steps of malloc, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procmem.experiments.specimen.step import Step

__all__ = ["PAGE", "K", "at", "good", "rss", "vsz"]

K = 1024
PAGE = 4 * K


def good(step: Step) -> Step:
    """Exact, and as the model has it, in every figure and in the address."""
    assert step.exact, step.reason
    assert step.agrees, (step.differences, step.delta, step.predicted)
    return step


def vsz(step: Step) -> int:
    return good(step).delta.vsz // K


def rss(step: Step) -> int:
    assert good(step).delta.rss is not None
    return (step.delta.rss or 0) // K


def at(step: Step) -> int:
    assert step.address
    return step.address
