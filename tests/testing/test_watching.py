"""The process that measures: it ends with its parent's interest, and its end is an error."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from procmem.testing.watching import CantWatch, Watching


def watcher_of(watching: Watching) -> int:
    process = watching._process
    assert process is not None
    return process.pid


def test_it_ends_and_starts_again() -> None:
    watching = Watching()
    watching.end()
    assert watching.ask("begin")["rss"] > 0
    first = watcher_of(watching)
    watching.end()
    assert not Path(f"/proc/{first}").exists()
    assert watching.ask("begin")["rss"] > 0
    watching.end()


def test_it_is_killed() -> None:
    watching = Watching()
    watching.ask("begin")
    os.kill(watcher_of(watching), signal.SIGKILL)
    with pytest.raises(CantWatch, match="has ended"):
        watching.ask("end")
    watching.end()


def test_what_it_does_not_know() -> None:
    watching = Watching()
    with pytest.raises(CantWatch, match="nothing was begun"):
        watching.ask("end")
    with pytest.raises(CantWatch, match="no request is called 'sing'"):
        watching.ask("sing")
    watching.end()


def test_a_child_has_its_own() -> None:
    watching = Watching()
    watching.ask("begin")
    child = os.fork()
    if not child:
        try:
            own = watching.ask("begin")["rss"] > 0 and watching.ask("end")["vsz"] is not None
            watching.end()
            os._exit(0 if own else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert watching.ask("end")["vsz"] is not None
    watching.end()


def test_it_does_not_outlive_its_parent() -> None:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        watching = Watching()
        watching.ask("begin")
        os.write(write, b"%d" % watcher_of(watching))
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    watcher = int(os.read(read, 100))
    os.close(read)
    try:
        fd = os.pidfd_open(watcher)
    except ProcessLookupError:
        return
    import select

    assert select.select([fd], [], [], 300)[0], "the watcher goes on"
    os.close(fd)


def test_modules_of_the_tested_program_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json.py", "psutil.py", "lzma.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    watching = Watching()
    assert watching.ask("begin")["rss"] > 0
    watching.end()
