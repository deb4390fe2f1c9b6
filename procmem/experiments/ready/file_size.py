"""The size of a file: what stat(2), lseek(2) and ftell(3) say, and when they differ."""

from __future__ import annotations

import os

from procmem.errors import BadArgument
from procmem.experiments.ready.story import Teller, experiment
from procmem.experiments.specimen.backing import memory_file
from procmem.experiments.specimen.interpreter import Interpreter, pipe_pair
from procmem.units import MiB

__all__ = ["file_size"]


@experiment(
    "file-size",
    "The size of a file",
    "How large is a file, by ftell and by stat? When do they differ?",
)
def file_size(tell: Teller, *, size: int = 1000) -> None:
    """Writes a file with stdio and asks for its size in every way.

    Args:
        size: bytes that are written at first; fewer than stdio's buffer has.
    """
    if not 0 < size < 4096:
        raise BadArgument(f"size must be 1 to 4,095, not {size}")
    with memory_file(0, 1) as fd, Interpreter([fd], stdio=True) as c:
        buffered(tell, c, fd, size)
        holes(tell, c, fd)
    with pipe_pair() as (read, write, _), Interpreter([read], stdio=True) as c:
        os.write(write, b"hello")
        c.ask(f"globals().update(file=libc.fdopen({read}, b'r'))")
        tell.claim(
            "a pipe with 5 bytes in it: fseek(3) to its end", "ESPIPE",
            c.ask("libc.fseek(file, 0, 2) and errno.errorcode[ctypes.get_errno()]"),
            "A pipe has no positions.",
        )  # fmt: skip
        tell.bytes("its st_size", 0, os.fstat(read).st_size, "FIONREAD of ioctl(2) has the 5.")


def buffered(tell: Teller, c: Interpreter, fd: int, size: int) -> None:
    c.ask(f"globals().update(file=libc.fdopen({fd}, b'w+'))")
    c.ask(f"write(file, bytes({size}))")
    tell.bytes(
        f"fwrite(3) of {size:,} bytes: ftell(3)", size, c.ask("libc.ftell(file)"),
        "It counts what is in stdio's buffer.",
    )  # fmt: skip
    tell.bytes(
        "the file's size by stat(2)", 0, os.fstat(fd).st_size,
        "The kernel knows nothing of the buffer.",
    )  # fmt: skip
    c.ask("libc.fflush(file)")
    tell.bytes("after fflush(3), by stat(2)", size, os.fstat(fd).st_size)
    tell.bytes("by lseek(2) to its end", size, os.lseek(fd, 0, os.SEEK_END))
    c.ask("libc.fseek(file, 0, 0)")
    tell.bytes(
        "fseek(3) to its start: ftell(3)", 0, c.ask("libc.ftell(file)"),
        "ftell(3) is a position. It is the size only at the end.",
    )  # fmt: skip
    c.ask("libc.fseek(file, 0, 2)")
    tell.bytes("fseek(3) to its end: ftell(3)", size, c.ask("libc.ftell(file)"))


def holes(tell: Teller, c: Interpreter, fd: int) -> None:
    c.ask(f"libc.fseek(file, {MiB}, 0)")
    tell.bytes(
        "fseek(3) to 1 MiB: ftell(3)", MiB, c.ask("libc.ftell(file)"),
        "A position may be beyond the end.",
    )  # fmt: skip
    before = os.fstat(fd).st_size
    c.ask("libc.fflush(file)")
    tell.bytes(
        "the file's size by stat(2)", before, os.fstat(fd).st_size, "Seeking writes nothing."
    )
    c.ask("write(file, b'x')")
    c.ask("libc.fflush(file)")
    after = os.fstat(fd)
    tell.bytes("write one byte there: by stat(2)", MiB + 1, after.st_size)
    disk = after.st_blocks * 512
    os.ftruncate(fd, 10)
    tell.bytes("ftruncate(2) to 10 bytes: by stat(2)", 10, os.fstat(fd).st_size)
    tell.bytes(
        "ftell(3)", MiB + 1, c.ask("libc.ftell(file)"),
        "The position stays: the next write makes a hole again.",
    )  # fmt: skip
    label = "its blocks (st_blocks × 512) are fewer"
    if disk >= 2 * MiB:
        tell.impossible(label, "files in memory have huge pages here (shmem_enabled)")
        return
    tell.claim(
        label, True, disk < after.st_size,
        f"{disk:,} bytes: what was skipped is a hole, which reads as zeros. ls -l prints st_size,"
        " du prints blocks.",
    )  # fmt: skip
