"""Where things are in the checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
FIXTURES = TESTS / "fixtures"
NATIVE = ROOT / "procmem" / "native"
TARGETS = TESTS / "support" / "targets"
