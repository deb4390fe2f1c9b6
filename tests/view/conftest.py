"""Fixtures of the tests of views."""

from __future__ import annotations

from tests.support.traced import place, program

__all__ = ["place", "program"]
