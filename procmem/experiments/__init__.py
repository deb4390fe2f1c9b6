"""Experiments: real calls on a quiet process, each step measured, predicted and explained."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.experiments.ready.brk import brk as brk
    from procmem.experiments.ready.copy import copy as copy
    from procmem.experiments.ready.copy_on_write import copy_on_write as copy_on_write
    from procmem.experiments.ready.faults import faults as faults
    from procmem.experiments.ready.file_mapping import file_mapping as file_mapping
    from procmem.experiments.ready.grow import grow as grow
    from procmem.experiments.ready.lazy_allocation import lazy_allocation as lazy_allocation
    from procmem.experiments.ready.malloc import malloc as malloc
    from procmem.experiments.ready.page_tables import page_tables as page_tables
    from procmem.experiments.ready.protection import protection as protection
    from procmem.experiments.ready.static_dynamic import static_dynamic as static_dynamic
    from procmem.experiments.ready.story import Claim, Story, Told
    from procmem.experiments.ready.threads import threads as threads
    from procmem.experiments.specimen.specimen import Area, Specimen
    from procmem.experiments.specimen.step import Delta, Figures, Step

_HOME_OF = {
    "Area": "specimen.specimen",
    "Claim": "ready.story",
    "Delta": "specimen.step",
    "Figures": "specimen.step",
    "Specimen": "specimen.specimen",
    "Step": "specimen.step",
    "Story": "ready.story",
    "Told": "ready.story",
}

__all__ = ["Area", "Claim", "Delta", "Figures", "Specimen", "Step", "Story", "Told"]
# Beside these, each ready experiment is a function here: EXPERIMENTS in story.py lists them.

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name in _HOME_OF:
            from importlib import import_module

            return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        if not name.startswith("_"):
            from procmem.experiments.ready.story import EXPERIMENTS, find

            if name.replace("_", "-") in EXPERIMENTS:
                return find(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from procmem.experiments.ready.story import EXPERIMENTS

    ready = (name.replace("-", "_") for name in EXPERIMENTS)
    return sorted({*globals(), *__all__, *ready})
