"""What a person calls a process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from procmem.process.naming import called, name_of, names_of
from procmem.procfs import ProcessFiles

if TYPE_CHECKING:
    from tests.support.targets import Target


@pytest.mark.parametrize(
    "comm, command, name",
    [
        ("sh", "sh", "sh"),
        ("python3", "python3 -m http.server", "http.server"),
        ("python3.11", "/usr/bin/python3.11 -W ignore /srv/app/manage.py run", "manage.py"),
        ("gunicorn", "/usr/bin/python3 /usr/bin/gunicorn app", "gunicorn"),
        ("bash", "bash /dev/fd/3", "bash"),
        ("python3", "python3 -c pass", "python3"),
        ("python3", "python3 -", "python3"),
        ("postgres", "postgres: checkpointer", "postgres"),
        ("worker-7", "python3 app.py", "worker-7"),
        ("", "", ""),
    ],
)
def test_names(comm: str, command: str, name: str) -> None:
    assert name_of(comm, command.split(" ")) == name


def test_the_name_of_a_live_process(target: Target) -> None:
    files = ProcessFiles(target.pid)
    comm = files.read("comm").decode().strip()
    assert called(files) == comm
    assert called(ProcessFiles(os.getpid())) != "?"
    target.close()
    assert called(files) == "?"


def test_names_of_several_processes(target: Target) -> None:
    gone = 1 << 30
    assert names_of([target.pid, gone, target.pid]) == {
        target.pid: called(ProcessFiles(target.pid))
    }
