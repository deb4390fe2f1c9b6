"""Experiments: real calls on a quiet process, each step measured, predicted and explained."""

from __future__ import annotations

TYPE_CHECKING: bool = False
if TYPE_CHECKING:
    from procmem.experiments.ready.brk import brk as brk
    from procmem.experiments.ready.copy import copy as copy
    from procmem.experiments.ready.copy_on_write import copy_on_write as copy_on_write
    from procmem.experiments.ready.faults import faults as faults
    from procmem.experiments.ready.fifo import fifo as fifo
    from procmem.experiments.ready.file_mapping import file_mapping as file_mapping
    from procmem.experiments.ready.file_size import file_size as file_size
    from procmem.experiments.ready.grow import grow as grow
    from procmem.experiments.ready.lazy_allocation import lazy_allocation as lazy_allocation
    from procmem.experiments.ready.malloc import malloc as malloc
    from procmem.experiments.ready.page_tables import page_tables as page_tables
    from procmem.experiments.ready.pipe_atomicity import pipe_atomicity as pipe_atomicity
    from procmem.experiments.ready.pipe_capacity import pipe_capacity as pipe_capacity
    from procmem.experiments.ready.pipe_ends import pipe_ends as pipe_ends
    from procmem.experiments.ready.protection import protection as protection
    from procmem.experiments.ready.sharing import sharing as sharing
    from procmem.experiments.ready.static_dynamic import static_dynamic as static_dynamic
    from procmem.experiments.ready.stdio_buffer import stdio_buffer as stdio_buffer
    from procmem.experiments.ready.story import Claim, Story, Told
    from procmem.experiments.ready.threads import threads as threads
    from procmem.experiments.specimen.specimen import Area, Specimen
    from procmem.experiments.specimen.step import Delta, Figures, Step

__all__ = ["Area", "Claim", "Delta", "Figures", "Specimen", "Step", "Story", "Told"]
# Beside these, each ready experiment is a function here: EXPERIMENTS in story.py lists them.

if not TYPE_CHECKING:  # else a type checker would take any name for one of ours
    from procmem._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "ready.brk": "brk",
            "ready.copy": "copy",
            "ready.copy_on_write": "copy_on_write",
            "ready.faults": "faults",
            "ready.fifo": "fifo",
            "ready.file_mapping": "file_mapping",
            "ready.file_size": "file_size",
            "ready.grow": "grow",
            "ready.lazy_allocation": "lazy_allocation",
            "ready.malloc": "malloc",
            "ready.page_tables": "page_tables",
            "ready.pipe_atomicity": "pipe_atomicity",
            "ready.pipe_capacity": "pipe_capacity",
            "ready.pipe_ends": "pipe_ends",
            "ready.protection": "protection",
            "ready.sharing": "sharing",
            "ready.static_dynamic": "static_dynamic",
            "ready.stdio_buffer": "stdio_buffer",
            "ready.story": "Claim Story Told",
            "ready.threads": "threads",
            "specimen.specimen": "Area Specimen",
            "specimen.step": "Delta Figures Step",
        },
    )
