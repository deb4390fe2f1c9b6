"""Snapshots of a service's processes on many hosts, compared side by side."""

from __future__ import annotations

__all__: list[str] = []
