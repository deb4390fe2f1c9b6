"""`procmem watch`."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

from tests.support.recordings import COMMAND, mapping

if TYPE_CHECKING:
    from procmem.experiments import Specimen


class TestCommands:
    def test_watch(self, specimen: Specimen) -> None:
        words = [*COMMAND, "watch", str(specimen.pid), "--every", "20ms"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child, mapping(specimen):
            assert child.stdout is not None
            assert "VSZ +" in child.stdout.readline()
            assert "mapped" in child.stdout.readline()
            specimen.close()
            out = child.communicate(timeout=60)[0]
            assert child.returncode == 0
            assert re.search(r"^\d\d:\d\d:\d\d  the process ", out.splitlines()[-1])

    def test_watch_as_json(self, specimen: Specimen) -> None:
        words = [*COMMAND, "watch", str(specimen.pid), "--every", "20ms", "--json"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child, mapping(specimen):
            assert child.stdout is not None
            first = json.loads(child.stdout.readline())
            specimen.close()
            lines = child.communicate(timeout=60)[0].splitlines()
        assert first["vsz"] > 0
        assert json.loads(lines[-1])["ended"].startswith("the process ")
        assert all("changes" in json.loads(line) for line in lines[:-1])

    def test_a_reader_of_watch_may_go(self, specimen: Specimen) -> None:
        words = [*COMMAND, "watch", str(specimen.pid), "--every", "20ms"]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child, mapping(specimen):  # fmt: skip
            assert child.stdout is not None
            assert child.stderr is not None
            child.stdout.readline()
            child.stdout.close()
            assert child.wait(60) == 141
            assert child.stderr.read() == b""
