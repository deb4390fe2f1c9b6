"""Fixtures of the tests of traces."""

from __future__ import annotations

from tests.support.traced import place, program

__all__ = ["place", "program"]
