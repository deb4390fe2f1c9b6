"""Descriptors of pipes, sockets and eventfds, and the texts about them."""

from __future__ import annotations

import os

from procmem.ipc.holders import PipeEnd, number_after
from procmem.procfs.descriptors import READING


def test_fields_of_fdinfo() -> None:
    assert number_after(b"pos:\t0\neventfd-id: 38\n", b"eventfd-id:") == 38
    assert number_after(b"eventfd-count:               1f\n", b"eventfd-count:", 16) == 31
    assert number_after(b"Pid:\tnone\n", b"Pid:") is None
    assert number_after(b"", b"Pid:") is None


def test_a_descriptor_that_was_closed_has_no_flags() -> None:
    read, write = os.pipe()
    end = PipeEnd(os.getpid(), read, "x", READING, os.fstat(read).st_ino)
    gone = PipeEnd(os.getpid(), read, "x", READING, os.fstat(read).st_ino)
    assert end.close_on_exec
    os.close(read)
    os.close(write)
    assert end.close_on_exec
    assert gone.flags is gone.nonblocking is gone.close_on_exec is None
