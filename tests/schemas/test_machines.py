"""What the commands on the machine print is what their schemas say, and nothing else is."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from procmem.ipc.sockets import unix_sockets
from tests.support.schemas import complaints

if TYPE_CHECKING:
    from tests.support.commands import Run


@pytest.mark.parametrize("words", ["top --fast", "top --by user", "shm", "pipes"])
def test_the_whole_machine(run: Run, words: str) -> None:
    command, *more = words.split()
    value = json.loads(run(command, *more, "--json").out)
    assert value
    assert complaints("top by" if "--by" in more else command, value) == []


def test_connected_sockets_and_counters(run: Run) -> None:
    import socket

    pair, counter = socket.socketpair(), os.eventfd(3) if hasattr(os, "eventfd") else None
    try:
        value = json.loads(run("pipes", os.getpid(), "--json").out)
    finally:
        for one in pair:
            one.close()
        if counter is not None:
            os.close(counter)
    # Without sock_diag (CONFIG_UNIX_DIAG) ends of Unix sockets are not known.
    assert value["sockets"] or unix_sockets() is None
    assert complaints("pipes", value) == []


def test_size_json_is_format_json(run: Run) -> None:
    value = json.loads(run("size", "--json", "/proc/self/exe").out)
    assert value == json.loads(run("size", "--format=json", "/proc/self/exe").out)
    assert complaints("size", value) == []
