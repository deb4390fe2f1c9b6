"""procmem doctor: the features of this kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.commands import Run


def test_doctor(run: Run) -> None:
    ran = run("doctor")
    assert ran.status == 0
    names = {feature["name"] for feature in json.loads(run("doctor", "--json").out)}
    assert {"PAGEMAP_SCAN", "PROCMAP_QUERY", "exact VmRSS"} <= names
    assert all(name in ran.out for name in names)


def test_a_python_without_ctypes() -> None:
    """As where libffi was not there when Python was built."""
    code = (
        "import sys; sys.modules.update(ctypes=None, _ctypes=None)\n"
        "from procmem.cli import main; sys.exit(main(['doctor', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = {feature["name"]: feature["detail"] for feature in json.loads(done.stdout)}
    assert any("ctypes" in detail for detail in said.values())
