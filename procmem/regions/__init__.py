"""Regions: the mappings of a process as typed objects."""

from __future__ import annotations

from procmem.regions.counters import Counters
from procmem.regions.perms import Device, Perms, VmFlags
from procmem.regions.region import MeasuredRegion, Region, ResidentRegion
from procmem.regions.table import RegionTable
from procmem.regions.text import format_maps, parse_maps, parse_rollup, parse_smaps

__all__ = [
    "Counters",
    "Device",
    "MeasuredRegion",
    "Perms",
    "Region",
    "RegionTable",
    "ResidentRegion",
    "VmFlags",
    "format_maps",
    "parse_maps",
    "parse_rollup",
    "parse_smaps",
]
