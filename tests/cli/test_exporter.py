"""procmem exporter: served and written, and ended cleanly by a signal."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.targets import Target

pytest.importorskip(
    "prometheus_client", reason="prometheus-client is not installed (extra exporter)"
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commands import Run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_comes(number: int) -> None:
    with (
        Target() as target,
        subprocess.Popen(
            [
                *(sys.executable, "-m", "procmem", "exporter", "--listen", "0", "--share", "1"),
                *("--by", "pid", "--name", "target"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.fullmatch(
                r"procmem exporter: serving http://127\.0\.0\.1:(\d+)/metrics; Ctrl-C ends it\n",
                line,
            )
            assert found, line
            wanted = f'pid="{target.pid}"'
            text = ""
            while wanted not in text:
                connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
                connection.request("GET", "/metrics")
                text = connection.getresponse().read().decode()
                connection.close()
            process.send_signal(number)
            assert process.wait(60) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_a_file_is_written_once(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "memory.prom"
    with Target() as target:
        ran = run(
            *("exporter", "--textfile", file, "--share", 1, "--by", "pid", "--name", "target")
        )
        assert (ran.status, ran.out, ran.err) == (0, "", "")
        assert f'pid="{target.pid}"' in file.read_text()
    ran = run("exporter", "--textfile", tmp_path / "x", "--share", 1, "--name", "nobody")
    assert ran.status == 0
    assert "names end in .prom only" in ran.err
    ran = run("exporter", "--textfile", tmp_path / "no/x.prom", "--share", 1, "--name", "nobody")
    assert ran.status == 1
    assert ran.err.endswith("x.prom: No such file or directory\n")


@pytest.mark.parametrize(
    "words, message",
    [
        (("--listen", "nonsense"), "expected HOST:PORT"),
        (("--listen", "1", "--textfile", "x"), "one of them"),
        (("--share", "2"), "share must be above 0 and at most 1"),
        (("--share", "nan"), "expected a number above 0"),
        (("--every", "0"), "expected a number above 0"),
        (("extra",), "unexpected argument"),
    ],
)
def test_usage(run: Run, words: tuple[str, ...], message: str) -> None:
    ran = run("exporter", *words)
    assert (ran.status, ran.out) == (2, "")
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_an_address_that_can_not_be_had(run: Run) -> None:
    ran = run("exporter", "--listen", "192.0.2.1:9")
    assert ran.status == 1
    assert ran.err.startswith("procmem exporter: 192.0.2.1:9: ")
    assert ran.err.count("\n") == 1


def test_without_prometheus_client(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    ran = run("exporter")
    assert (ran.status, ran.out) == (1, "")
    assert "pip install 'procmem-live[exporter]'" in ran.err
