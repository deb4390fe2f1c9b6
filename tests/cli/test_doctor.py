"""procmem doctor: the features of this kernel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.commands import Run


def test_doctor(run: Run) -> None:
    ran = run("doctor")
    assert ran.status == 0
    names = {feature["name"] for feature in json.loads(run("doctor", "--json").out)}
    assert {"PAGEMAP_SCAN", "PROCMAP_QUERY", "exact VmRSS"} <= names
    assert all(name in ran.out for name in names)
