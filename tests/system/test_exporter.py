"""The exporter, scraped live: valid text, the kernel's figures, hostile names."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.system.exporter import Exporter, ListenAddress, MemoryCollector, parse_address
from procmem.system.rounds import ProcessChoice, Rounds, Sizes, UseReading
from tests.support.paths import ROOT
from tests.support.targets import PAGE, Target

parser = pytest.importorskip(
    "prometheus_client.parser", reason="prometheus-client is not installed (extra exporter)"
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

HOSTILE = f'a"b\\c\n{os.getpid()}'


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as one:
        one.comm(HOSTILE)
        yield one


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    rounds = Rounds(ProcessChoice(names=(HOSTILE,), users=(str(os.geteuid()),)), share=1.0)
    with Exporter(rounds) as one:
        yield one


PRIVATE = ("anon", "heap", "stack")
"""Kinds of anonymous memory: what other processes do changes no figure of it."""


def scrape(port: int, path: str = "/metrics", method: str = "GET", **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def samples(text: bytes) -> list[Any]:
    families = parser.text_string_to_metric_families(text.decode())
    return [sample for family in families for sample in family.samples]


def test_a_live_scrape_has_the_kernels_figures(target: Target, exporter: Exporter) -> None:
    target.touch(target.map(500))
    assert exporter.read_once()
    address = exporter.listen(ListenAddress("127.0.0.1", 0))
    status, headers, text = scrape(address.port)
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    found = samples(text)
    with procmem.Process(target.pid) as process:
        regions = process.smaps().filter(lambda region: region.kind.value in PRIVATE)

    def total(name: str) -> float:
        return float(
            sum(
                one.value
                for one in found
                if one.name == name
                and one.labels.get("name") == HOSTILE
                and one.labels.get("kind", "anon").rstrip("?") in PRIVATE
            )
        )

    for field in ("rss", "pss", "uss", "swap"):
        assert total(f"procmem_{field}_bytes") == regions.total(field)
    assert total("procmem_processes") == 1
    anon = [one for one in found if one.labels.get("kind", "").startswith("anon")]
    assert max(one.value for one in anon if one.name == "procmem_rss_bytes") >= 500 * PAGE
    values = {one.name: one.value for one in found if not one.labels}
    assert values["procmem_exporter_cpu_limit_ratio"] == 1
    assert values["procmem_exporter_rounds_total"] == 1
    assert values["procmem_exporter_cpu_seconds_total"] > 0
    out = {one.labels["reason"]: one.value for one in found if "left_out_pro" in one.name}
    assert out == {"budget": 0, "stall": 0, "denied": 0}


def test_each_process_by_its_pid(target: Target) -> None:
    rounds = Rounds(ProcessChoice(names=(HOSTILE,)), share=1.0)
    with Exporter(rounds, by="pid") as exporter:
        exporter.read_once()
        found = samples(exporter.page()[1])
    pids = {one.labels["pid"] for one in found if one.name == "procmem_processes"}
    assert f"{target.pid}" in pids


def test_every_family_follows_the_rules_of_names(target: Target, exporter: Exporter) -> None:
    exporter.read_once()
    for family in parser.text_string_to_metric_families(exporter.page()[1].decode()):
        assert family.name.startswith("procmem_")
        assert family.documentation
        # Base units, in the plural, last: bytes, seconds; a counter has _total behind it.
        assert (family.type == "counter") == any(
            sample.name.endswith("_total") for sample in family.samples
        )
        assert not any(unit in family.name for unit in ("_kb", "_mib", "_ms", "percent"))


def test_open_metrics_where_it_is_asked_for(target: Target, exporter: Exporter) -> None:
    exporter.read_once()
    content_type, text = exporter.page("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


class Fixed:
    """Readings that were made by hand."""

    share = 0.02
    spent = 1.5
    rounds = 3
    round_seconds = None
    oldest_age = None
    left_out = ()

    def __init__(self, *readings: UseReading) -> None:
        self.readings = readings


def reading(name: str, pid: int, sizes: Sizes) -> UseReading:
    return UseReading(pid, 1, name, "u", {("anon?", "Go heap?"): sizes}, 0.0)


def families_of(*readings: UseReading) -> dict[str, Any]:
    collector = MemoryCollector(Fixed(*readings))  # type: ignore[arg-type]
    return {family.name: family for family in collector.collect()}


def test_processes_of_a_name_are_summed() -> None:
    found = families_of(
        reading("web", 1, Sizes(4096, 2048, 1024, 0)), reading("web", 2, Sizes(8192, 8192, 0, 0))
    )
    (sample,) = found["procmem_rss_bytes"].samples
    assert sample.value == 12288
    assert sample.labels == {"name": "web", "user": "u", "kind": "anon?", "use": "Go heap?"}
    assert found["procmem_processes"].samples[0].value == 2


def test_what_the_kernel_does_not_show_is_no_sample() -> None:
    found = families_of(reading("web", 1, Sizes(4096, None, None, None)))
    assert len(found["procmem_rss_bytes"].samples) == 1
    assert found["procmem_pss_bytes"].samples == []


def test_names_that_are_no_text_are_escaped() -> None:
    name = b'\xff\n"\\'.decode("utf-8", "surrogateescape")
    collector = MemoryCollector(Fixed(reading(name, 1, Sizes(4096, 1, 1, 1))))  # type: ignore[arg-type]
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry)
    (sample,) = [one for one in samples(text) if one.name == "procmem_rss_bytes"]
    assert sample.labels["name"] == '\\xff\n"\\'


def test_a_page_is_made_once_a_second(target: Target) -> None:
    now = [0.0]
    rounds = Rounds(ProcessChoice(names=(HOSTILE,)), share=1.0)
    with Exporter(rounds, clock=lambda: now[0]) as exporter:
        before = exporter.page()[1]
        exporter.read_once()
        assert exporter.page()[1] == before
        now[0] += 1.0
        assert exporter.page()[1] != before


def test_requests_that_are_none_of_ours(exporter: Exporter) -> None:
    port = exporter.listen(ListenAddress("127.0.0.1", 0)).port
    assert scrape(port, "/etc/passwd")[0] == 404
    assert scrape(port, "/", "POST")[0] == 405
    status, headers, body = scrape(port, "/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 100
    # One that sends nonsense, and one that sends nothing, stop nobody else.
    with socket.create_connection(("127.0.0.1", port)) as silent:
        with socket.create_connection(("127.0.0.1", port)) as rude:
            rude.sendall(b"\xff\xfe\r\n\r\n")
        assert scrape(port)[0] == 200
        assert silent.fileno() >= 0


def test_it_ends_while_somebody_is_connected(exporter: Exporter) -> None:
    port = exporter.listen(ListenAddress("127.0.0.1", 0)).port
    with socket.create_connection(("127.0.0.1", port)):
        exporter.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_the_address_is_in_use(exporter: Exporter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        exporter.listen(ListenAddress("127.0.0.1", taken.getsockname()[1]))


def test_a_file_is_replaced_as_a_whole(target: Target, exporter: Exporter, tmp_path: Path) -> None:
    exporter.read_once()
    file = tmp_path / "procmem.prom"
    file.write_text("old")
    inode = file.stat().st_ino
    exporter.write(file)
    assert file.stat().st_ino != inode
    assert {one.name for one in samples(file.read_bytes())} >= {"procmem_rss_bytes"}
    assert [one.name for one in tmp_path.iterdir()] == ["procmem.prom"]
    with pytest.raises(FileNotFoundError):
        exporter.write(tmp_path / "nowhere/x.prom")


def test_a_stopped_exporter_returns(exporter: Exporter) -> None:
    exporter.stop()
    exporter.run()
    assert exporter.wait(300)


@pytest.mark.parametrize(
    "text, address, loopback",
    [
        ("9999", ("127.0.0.1", 9999), True),
        (":80", ("127.0.0.1", 80), True),
        ("localhost:0", ("localhost", 0), True),
        ("[::1]:65535", ("::1", 65535), True),
        ("0.0.0.0:9999", ("0.0.0.0", 9999), False),
        ("[::]:9999", ("::", 9999), False),
        ("example.org:1", ("example.org", 1), False),
    ],
)
def test_addresses(text: str, address: tuple[str, int], loopback: bool) -> None:
    found = parse_address(text)
    assert (tuple(found), found.loopback) == (address, loopback)


@pytest.mark.parametrize("text", ["", "x", "1:2:3", "::1:80", "h:", "h:65536", "h:-1", "h:\uff18"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(procmem.BadArgument):
        parse_address(text)


@pytest.mark.parametrize("name", ["procmem-alerts.yml", "procmem-dashboard.json"])
def test_the_samples_in_docs_use_metrics_that_there_are(exporter: Exporter, name: str) -> None:
    exporter.read_once()
    text = (ROOT / "docs/exporter" / name).read_text()
    if name.endswith("json"):
        assert len(json.loads(text)["panels"]) == 7
    there = {
        line.split()[2]
        for line in exporter.page()[1].decode().splitlines()
        if line.startswith("# TYPE")
    }
    used = set(re.findall(r"\bprocmem_\w+", text))
    assert len(used) > 2
    assert used <= there


def test_without_prometheus_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(procmem.MissingExtra, match=r"pip install 'procmem-live\[exporter\]'"):
        Exporter(Rounds())


def test_by_what() -> None:
    with pytest.raises(procmem.BadArgument, match="name or pid"):
        MemoryCollector(Rounds(), "kind")
