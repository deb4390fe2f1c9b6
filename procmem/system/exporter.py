"""Metrics of processes for Prometheus: memory by kind and use, served or written to a file."""

from __future__ import annotations

import os
import threading
import time
from typing import NamedTuple

from procmem._version import __version__
from procmem.errors import BadArgument, MissingExtra
from procmem.stopping import StopRequest
from procmem.system.rounds import Rounds, printable_label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any
    from wsgiref.simple_server import WSGIServer

    from typing_extensions import Self

    from procmem.system.rounds import Sizes

__all__ = ["Exporter", "MemoryCollector", "parse_address"]

FRESH = 1.0
"""Seconds for which a page of metrics is served again, however often it is asked for."""

SIZES = {
    "rss": ("procmem_rss_bytes", "Resident memory: shared pages count in each process."),
    "pss": ("procmem_pss_bytes", "Resident memory, each page divided among its mappings."),
    "uss": ("procmem_uss_bytes", "Resident memory that no other process maps."),
    "swap": ("procmem_swap_bytes", "Memory in swap."),
}


class MemoryCollector:
    """Turns the readings of Rounds into metrics; a collector of prometheus-client.

    Register it in a registry of your own to serve these metrics beside yours.

    Args:
        rounds: what is read; somebody has to call its turn().
        by: "name": sums over all processes with the same name and user; "pid": each process.

    Raises:
        MissingExtra: prometheus-client is not installed.
        BadArgument: by is neither.
    """

    def __init__(self, rounds: Rounds, by: str = "name") -> None:
        if by not in ("name", "pid"):
            raise BadArgument(f"by must be name or pid, not {by!r}")
        self.rounds = rounds
        self.by = by
        self._core = client_core()

    def describe(self) -> Iterable[Any]:
        """Nothing: registering it reads nothing."""
        return []

    def collect(self) -> Iterator[Any]:
        """The metrics as they are now."""
        core, rounds = self._core, self.rounds
        readings = rounds.readings
        who = ["name", "user"] if self.by == "name" else ["name", "user", "pid"]
        sums: dict[tuple[str, ...], dict[tuple[str, str], list[Sizes]]] = {}
        counts: dict[tuple[str, ...], int] = {}
        for one in readings:
            key: tuple[str, ...] = (printable_label(one.name), printable_label(one.user))
            key += (str(one.pid),) if self.by == "pid" else ()
            counts[key] = counts.get(key, 0) + 1
            for use, sizes in one.uses.items():
                sums.setdefault(key, {}).setdefault(use, []).append(sizes)
        for field, (title, says) in SIZES.items():
            family = core.GaugeMetricFamily(title, says, labels=[*who, "kind", "use"])
            for key, uses in sorted(sums.items()):
                for (kind, used_for), listed in sorted(uses.items()):
                    values = [getattr(sizes, field) for sizes in listed]
                    # What the kernel does not show of one is not 0.
                    if None not in values:
                        labels = [*key, printable_label(kind), printable_label(used_for)]
                        family.add_metric(labels, sum(values))
            yield family
        family = core.GaugeMetricFamily(
            "procmem_processes", "Processes that these sums are of.", labels=who
        )
        for key, number in sorted(counts.items()):
            family.add_metric(list(key), number)
        yield family
        yield from self._about()

    def _about(self) -> Iterator[Any]:
        """The metrics about the exporter itself."""
        core, rounds = self._core, self.rounds
        processes = core.GaugeMetricFamily(
            "procmem_left_out_processes",
            "Chosen processes without a reading: too expensive for the share of a CPU or not "
            "reached yet (budget), stopped for too long by it (stall), not to be read (denied).",
            labels=["reason"],
        )
        sizes = core.GaugeMetricFamily(
            "procmem_left_out_rss_bytes",
            "Resident memory of the chosen processes without a reading.",
            labels=["reason"],
        )
        for one in rounds.left_out:
            processes.add_metric([one.reason], one.processes)
            sizes.add_metric([one.reason], one.rss)
        yield processes
        yield sizes
        age = rounds.oldest_age
        if age is not None:
            yield core.GaugeMetricFamily(
                "procmem_oldest_reading_age_seconds",
                "Age of the oldest reading that is shown.",
                value=age,
            )
        yield core.CounterMetricFamily(
            "procmem_exporter_cpu_seconds",
            "CPU time that the exporter has used since it started.",
            value=rounds.spent,
        )
        yield core.GaugeMetricFamily(
            "procmem_exporter_cpu_limit_ratio",
            "The share of one CPU that reading may use.",
            value=rounds.share,
        )
        yield core.CounterMetricFamily(
            "procmem_exporter_rounds",
            "How often all chosen processes were read, or left out.",
            value=rounds.rounds,
        )
        if rounds.round_seconds is not None:
            yield core.GaugeMetricFamily(
                "procmem_exporter_last_round_duration_seconds",
                "How long the last round took, rests included.",
                value=rounds.round_seconds,
            )
        info = core.GaugeMetricFamily(
            "procmem_exporter_info", "The version of procmem.", labels=["version"]
        )
        info.add_metric([__version__], 1)
        yield info


class ListenAddress(NamedTuple):
    """Where to listen.

    Attributes:
        host: a name or an address.
        port: 0: the kernel chooses one.
    """

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        import ipaddress

        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_address(text: str) -> ListenAddress:
    """HOST:PORT, [IPv6]:PORT, :PORT or PORT; without a host: this machine alone.

    Raises:
        BadArgument

    >>> parse_address("9999"), parse_address("[::1]:80"), parse_address("0.0.0.0:1").loopback
    (ListenAddress(host='127.0.0.1', port=9999), ListenAddress(host='::1', port=80), False)
    """
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise BadArgument(f"{text!r}: write an IPv6 address in brackets, such as [::1]:9999")
    if not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise BadArgument(f"{text!r}: expected HOST:PORT, with a port from 0 to 65535")
    return ListenAddress(host or "127.0.0.1", int(port))


class Exporter:
    """Serves the memory of chosen processes as metrics, or writes them to a file.

    Processes are read one after the other at a bounded share of a CPU, whether or not anybody
    asks; a request gets the last readings, so that it never waits for one. Whoever asks more than
    once a second gets the same page again.

    Args:
        rounds: which processes are read, and at which share of a CPU.
        by: see MemoryCollector.
        clock: the time in seconds.

    Raises:
        MissingExtra: prometheus-client is not installed.
        BadArgument: by is neither "name" nor "pid".
    """

    def __init__(
        self,
        rounds: Rounds,
        *,
        by: str = "name",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        client_core()
        from prometheus_client import CollectorRegistry

        self.rounds = rounds
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(MemoryCollector(rounds, by))
        self._stop = StopRequest()
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._pages: dict[str, tuple[float, bytes]] = {}
        self._lock = threading.Lock()

    def page(self, accept: str = "") -> tuple[str, bytes]:
        """The metrics as text: its content type, and the bytes.

        Args:
            accept: the Accept header of the request, which chooses between Prometheus's format
                and OpenMetrics.
        """
        from prometheus_client.exposition import choose_encoder

        encoder, content_type = choose_encoder(accept)
        with self._lock:
            kept = self._pages.get(content_type)
            now = self._clock()
            if kept is None or not 0 <= now - kept[0] < FRESH:
                kept = self._pages[content_type] = (now, encoder(self._registry))
            return content_type, kept[1]

    def listen(self, address: ListenAddress) -> ListenAddress:
        """Begins to serve, in threads of its own.

        Returns:
            The address, with the port that the kernel chose.

        Raises:
            OSError: the address is in use, not this machine's, or not allowed to this user.
        """
        import socket
        from socketserver import ThreadingMixIn
        from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

        (family, *_, where), *_ = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )

        class MetricsServer(ThreadingMixIn, WSGIServer):
            address_family = family
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up is no error of ours."""

        class MetricsHandler(WSGIRequestHandler):
            timeout = 10  # a client that sends nothing

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                """Requests are not logged."""

        self._server = make_server(
            str(where[0]), address.port, self._answer, MetricsServer, MetricsHandler
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="procmem-exporter", daemon=True
        )
        self._thread.start()
        return ListenAddress(address.host, self._server.server_port)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """WSGI (PEP 3333)."""
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD")])
            return [b"GET /metrics\n"]
        if environ["PATH_INFO"] not in ("/metrics", "/"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"GET /metrics\n"]
        content_type, page = self.page(environ.get("HTTP_ACCEPT", ""))
        headers = [("Content-Type", content_type), ("Content-Length", str(len(page)))]
        start_response("200 OK", headers)
        return [page if environ["REQUEST_METHOD"] == "GET" else b""]

    def run(self) -> None:
        """Reads processes until stop() is called.

        Raises:
            Unsupported: there is no /proc any more.
        """
        while not self._stop.is_set():
            self._stop.wait(self.rounds.turn())

    def read_once(self) -> bool:
        """Reads all chosen processes once, at their share of a CPU; False: it was stopped."""
        before = self.rounds.rounds
        while self.rounds.rounds == before:
            wait = self.rounds.turn()
            if self.rounds.rounds > before:
                break
            if self._stop.wait(wait):
                return False
        return True

    def wait(self, seconds: float) -> bool:
        """Waits; True: it was stopped."""
        return self._stop.wait(seconds)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the metrics to a file, for the textfile collector of node_exporter.

        The file is written beside it and renamed, so that nobody reads half of it.

        Args:
            path: its name should end in .prom, which the collector looks for.

        Raises:
            OSError
        """
        from prometheus_client import write_to_textfile

        write_to_textfile(os.fspath(path), self._registry)

    def stop(self) -> None:
        """Ends run() and read_once(). A signal handler may call it."""
        self._stop.set()

    def close(self) -> None:
        """Ends the server; harmless if there is none."""
        self._stop.set()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def client_core() -> Any:
    """The module of prometheus-client that has families of metrics.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        from prometheus_client import core
    except ImportError:
        raise MissingExtra("exporter", "the exporter") from None
    return core
