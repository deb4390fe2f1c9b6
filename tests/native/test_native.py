"""Scan.feed_from(): the scanner reads a file by itself."""

from __future__ import annotations

import errno
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from procmem import ParseError, native

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

LINE = b"%x-%x rw-p 00000000 00:00 0 \n"


def maps(count: int) -> bytes:
    return b"".join(LINE % (n * 4096, n * 4096 + 4096) for n in range(1 << 20, (1 << 20) + count))


def scan_of(path: Path) -> native.Scan:
    scan = native.Scan(native.MAPS, str(path))
    fd = os.open(path, os.O_RDONLY)
    try:
        while scan.feed_from(fd):
            pass
    finally:
        os.close(fd)
    scan.finish()
    return scan


@pytest.mark.parametrize("size", [0, 1, 5_000])
def test_reads_to_the_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "maps"
    path.write_bytes(maps(size))
    assert size < 5_000 or path.stat().st_size > 2 * native.PART
    fed = native.Scan(native.MAPS, "fed")
    fed.feed(path.read_bytes())
    fed.finish()
    scan = scan_of(path)
    assert scan.count == size
    assert scan.column(0) == fed.column(0)


def test_a_text_of_exactly_one_part(tmp_path: Path) -> None:
    path = tmp_path / "maps"
    text = maps(3_000)
    head = text[: text.rindex(b"\n", 0, native.PART - 1) + 1]
    path.write_bytes(head[:-1] + b" " * (native.PART - len(head)) + b"\n")
    assert path.stat().st_size == native.PART
    assert scan_of(path).count == head.count(b"\n")


def test_a_bad_line_is_told_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "maps"
    path.write_bytes(maps(4_000) + b"no region\n" + maps(1))
    with pytest.raises(ParseError) as caught:
        scan_of(path)
    assert (caught.value.lineno, caught.value.line) == (4_001, b"no region")


def test_a_failed_read_is_an_os_error(tmp_path: Path) -> None:
    scan = native.Scan(native.MAPS, "a directory")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError) as caught:
            scan.feed_from(fd)
    finally:
        os.close(fd)
    assert caught.value.errno == errno.EISDIR


def test_signals_are_heard_while_reading() -> None:
    class Heard(Exception):
        pass

    def hear(number: int, frame: FrameType | None) -> None:
        raise Heard

    ours, theirs = os.pipe()
    text = maps(2_000)

    def write_on() -> None:
        try:
            for _ in range(4):
                os.write(theirs, text)
            signal.raise_signal(signal.SIGUSR1)
            while True:
                os.write(theirs, text)
        except BrokenPipeError:
            os.close(theirs)

    before = signal.signal(signal.SIGUSR1, hear)
    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        scan = native.Scan(native.MAPS, "a pipe")
        with pytest.raises(Heard):
            while scan.feed_from(ours):
                pass
    finally:
        os.close(ours)
        writer.join()
        signal.signal(signal.SIGUSR1, before)
