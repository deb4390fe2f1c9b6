"""Experiments: real calls on a quiet process, each step measured, predicted and explained."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from procmem.experiments.specimen import Area, Specimen
    from procmem.experiments.steps import Delta, Figures, Step

_HOME_OF = {
    "Area": "specimen",
    "Delta": "steps",
    "Figures": "steps",
    "Specimen": "specimen",
    "Step": "steps",
}

__all__ = ["Area", "Delta", "Figures", "Specimen", "Step"]


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
