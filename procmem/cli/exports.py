"""Files that commands write beside their output: pictures, and timelines for other programs."""

from __future__ import annotations

import contextlib
import io
from typing import NamedTuple

from procmem.cli.arguments import complain
from procmem.cli.formats import force_option
from procmem.errors import ProcmemError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import TextIO

__all__ = ["check_exports", "draw", "export_options", "exported"]


class ExportKind(NamedTuple):
    """A kind of file.

    Attributes:
        what: such a file in words.
        is_ours: whether a file that starts like this may be overwritten.
        made_of: what it is, for --help; {} is what the command shows.
    """

    what: str
    is_ours: Callable[[bytes], bool]
    made_of: str


def is_picture(start: bytes) -> bool:
    """Whether a file is a picture of ours; what draws is imported only where there is one."""
    from procmem.picture import svg

    return svg.is_picture(start)


def is_timeline(start: bytes) -> bool:
    """Whether a file is a timeline of ours."""
    from procmem.picture import timelines

    return timelines.is_timeline(start)


def is_flames(start: bytes) -> bool:
    """Whether a file is one of ours for speedscope."""
    from procmem.picture import timelines

    return timelines.is_flames(start)


def is_report(start: bytes) -> bool:
    """Whether a file is a report on a submission."""
    from procmem.grade.exports import texts

    return texts.is_report(start)


KINDS = {
    "report": ExportKind("report of procmem", is_report, "write {} as a page of HTML"),
    "svg": ExportKind("picture of procmem", is_picture, "draw {} as an SVG picture"),
    "perfetto": ExportKind(
        "timeline of procmem", is_timeline, "write {} for Perfetto (ui.perfetto.dev) and Chrome"
    ),
    "speedscope": ExportKind(
        "profile of procmem", is_flames, "write {} for speedscope (speedscope.app)"
    ),
}


def export_options(made: argparse.ArgumentParser, **shown: str) -> None:
    """Adds --svg and the like, and --force for their files.

    Args:
        made: the parser.
        shown: for each option, a key of KINDS, what is drawn or written, in words.
    """
    for name, what in shown.items():
        one = KINDS[name]
        made.add_argument(
            f"--{name}",
            metavar="FILE",
            help=f"also {one.made_of.format(what)}. An existing {one.what} is overwritten, any "
            "other file only with --force",
        )
    force_option(made, *(f"--{name}" for name in shown))
    made.set_defaults(exports=tuple(shown))


def check_exports(command: str, options: argparse.Namespace) -> bool:
    """Whether all files that are asked for can be written; prints why not."""
    asked = {name: getattr(options, name) for name in options.exports}
    if all(path is None for path in asked.values()):
        return True
    from procmem.snapshots.output import check_output

    fine = True
    for name, path in asked.items():
        if path == "-":
            complain(command, f"--{name}: name a file; stdout has the command's own output")
            fine = False
        elif path is not None:
            one = KINDS[name]
            try:
                check_output(path, force=options.force, is_ours=one.is_ours, what=one.what)
            except OSError as error:
                complain(command, f"{path}: {error.strerror}")
                fine = False
    return fine


def draw(
    command: str, options: argparse.Namespace, picture: Callable[[], str], name: str = "svg"
) -> int:
    """Writes the file of --svg, or of another option, if it is asked for; returns the status."""
    path = getattr(options, name)
    if path is None:
        return 0
    try:
        with exported(options, name) as file:
            file.write(picture())
    except OSError as error:
        complain(command, f"{path}: {error.strerror}")
        return 1
    return 0


@contextlib.contextmanager
def exported(options: argparse.Namespace, name: str) -> Iterator[TextIO]:
    """The file of an option, to write text to; it is in its place when all has been written.

    Raises:
        OSError: with the file's name.
    """
    from procmem.snapshots.output import replacing

    one = KINDS[name]
    path = getattr(options, name)
    with replacing(path, force=options.force, is_ours=one.is_ours, what=one.what) as file:
        text = io.TextIOWrapper(file, encoding="utf-8")
        try:
            yield text
            text.flush()
        except OSError as error:
            if isinstance(error, ProcmemError):
                raise
            raise OSError(error.errno, error.strerror, path) from error
        finally:
            with contextlib.suppress(OSError):  # it was told already
                text.detach()
