"""Pages: what the page tables of a process hold."""

from __future__ import annotations

from procmem.pages.residency import Residency, measure_residency

__all__ = ["Residency", "measure_residency"]
