"""Reading what a blocked thread asked for; hostile addresses and processes that are gone."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from procmem.ipc.requests import memory_of, opening_of, path_at, request_of
from procmem.procfs.blocked import ThreadState

if TYPE_CHECKING:
    from pathlib import Path


def test_memory_that_can_be_read_and_that_can_not() -> None:
    text = ctypes.create_string_buffer(b"a text of this process")
    address = ctypes.addressof(text)
    assert memory_of(os.getpid(), address, 6) == b"a text"
    assert memory_of(os.getpid(), 16, 6) == b""
    assert memory_of(os.getpid(), 1 << 64, 6) == b""
    assert memory_of(os.getpid(), 0, 6) == b""
    assert path_at(os.getpid(), address, "/proc") == "a text of this process"
    assert path_at(os.getpid(), 16, "/proc") == ""


def test_a_file_that_is_opened_and_is_no_fifo(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    for name in (path, tmp_path / "missing", tmp_path):
        text = ctypes.create_string_buffer(os.fsencode(name))
        arguments = (0xFFFFFF9C, ctypes.addressof(text), 0, 0, 0, 0)
        thread = ThreadState(os.getpid(), os.getpid(), "S", "openat", arguments, 0)
        assert opening_of(thread) is None


def test_a_fifo_by_a_directory_descriptor(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    text = ctypes.create_string_buffer(b"fifo")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        arguments = (directory, ctypes.addressof(text), os.O_WRONLY, 0, 0, 0)
        found = opening_of(ThreadState(os.getpid(), os.getpid(), "S", "openat", arguments, 0))
        assert found is not None
        assert (found.inode, found.to) == ((tmp_path / "fifo").stat().st_ino, "write")
    finally:
        os.close(directory)


def test_a_thread_in_no_call() -> None:
    assert request_of(ThreadState(1, 1, "S", "", (), 0)) is None
    assert opening_of(ThreadState(1, 1, "S", "", (), 0)) is None
