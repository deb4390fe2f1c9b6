"""procmem exporter: the memory of chosen processes as metrics for Prometheus."""

from __future__ import annotations

import argparse
import contextlib
import math
import signal

from procmem.cli.arguments import Parser, complain
from procmem.errors import BadArgument, MissingExtra, ProcmemError
from procmem.system.exporter import Exporter, ListenAddress, parse_address
from procmem.system.rounds import ProcessChoice, Rounds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

DEFAULT = ListenAddress("127.0.0.1", 9999)


def main(argv: list[str]) -> int:
    """Runs the command; see `procmem exporter --help`."""
    made = Parser(
        prog="procmem exporter",
        description="Serves RSS, PSS, USS and swap of chosen processes, by kind and use, as "
        "metrics for Prometheus. Without a selection: of all processes.",
    )
    made.add_argument(
        "--listen",
        type=listen_address,
        metavar="ADDRESS",
        help="HOST:PORT or PORT (default: 127.0.0.1:9999, which only this machine reaches)",
    )
    made.add_argument(
        "--textfile",
        metavar="FILE",
        help="write FILE once and exit, for the textfile collector of node_exporter; with --every "
        "again and again",
    )
    made.add_argument(
        "--name", action="append", default=[], metavar="NAME", help="processes of this name"
    )
    made.add_argument(
        "--user", action="append", default=[], metavar="USER", help="processes of this user"
    )
    made.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="GROUP",
        help="processes of this service, container or control group, and of those below it "
        "(options may be repeated; of different options all must fit)",
    )
    made.add_argument(
        "--by",
        choices=("name", "pid"),
        default="name",
        help="sum up processes of the same name and user (the default), or show each",
    )
    made.add_argument(
        "--share",
        type=positive,
        default=0.02,
        metavar="PART",
        help="the share of one CPU that it may use (default: 0.02)",
    )
    made.add_argument(
        "--every",
        type=positive,
        metavar="SECONDS",
        help="read each process so often, at most (default: 15)",
    )
    made.add_argument(
        "--max-age",
        type=positive,
        default=300.0,
        metavar="SECONDS",
        help="leave out what could not be read for so long (default: 300)",
    )
    made.add_argument(
        "--max-stall",
        type=positive,
        metavar="SECONDS",
        help="leave out processes whose mmap calls might wait longer than this while they are read",
    )
    made.add_argument(
        "--root", default="/proc", metavar="DIR", help="read another /proc, such as a host's"
    )
    options = made.parse_args(argv)
    if options.listen and options.textfile:
        made.error("--listen and --textfile: one of them")
    try:
        rounds = Rounds(
            ProcessChoice(tuple(options.name), tuple(options.user), tuple(options.group)),
            share=options.share,
            every=options.every or 15.0,
            max_age=options.max_age,
            max_stall=options.max_stall,
            root=options.root,
        )
        exporter = Exporter(rounds, by=options.by)
    except BadArgument as error:
        made.error(str(error))
    except MissingExtra as error:
        complain("exporter", str(error))
        return 1
    with exporter, stopped_by_signals(exporter):
        if options.textfile:
            return write(exporter, options.textfile, options.every)
        return serve(exporter, options.listen or DEFAULT)


def listen_address(text: str) -> ListenAddress:
    try:
        return parse_address(text)
    except BadArgument as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"expected a number above 0, not {text!a}")
    return number


def serve(exporter: Exporter, address: ListenAddress) -> int:
    """Serves until a signal comes."""
    try:
        found = exporter.listen(address)
    except OSError as error:
        complain("exporter", f"{address.host}:{address.port}: {error.strerror or error}")
        return 1
    host = f"[{found.host}]" if ":" in found.host else found.host
    complain("exporter", f"serving http://{host}:{found.port}/metrics; Ctrl-C ends it")
    if not found.loopback:
        complain(
            "exporter",
            "other machines reach this address: names of processes and users are served to "
            "anybody who asks",
        )
    exporter.run()
    return 0


def write(exporter: Exporter, path: str, every: float | None) -> int:
    """Writes the file once, or again and again."""
    if not path.endswith(".prom"):
        complain("exporter", f"{path}: node_exporter reads files whose names end in .prom only")
    while True:
        try:
            if not exporter.read_once():
                return 0
            exporter.write(path)
        except OSError as error:
            if isinstance(error, ProcmemError):
                raise
            complain("exporter", f"{path}: {error.strerror or error}")
            return 1
        if every is None or exporter.wait(every):
            return 0


@contextlib.contextmanager
def stopped_by_signals(exporter: Exporter) -> Iterator[None]:
    """Lets SIGINT and SIGTERM end the exporter at the next turn."""

    def stop(*_: object) -> None:
        exporter.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
