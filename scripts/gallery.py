"""Runs the commands of docs/gallery.md again and puts their output into the page.

    python3 scripts/gallery.py          # rewrites the page
    python3 scripts/gallery.py --print  # prints it instead

In a block of ```text each line that begins with "$ " is a command for sh(1), and what follows is
its output. The commands share a temporary directory. PID is a process that was started for them,
`cat` of /dev/zero. SERVER is another, which runs the block of ```python on the page, server.py, in
the same directory until that makes the file "ready"; as root it has a memory control group of its
own. Both are ended afterwards. "[...]" as a last line cuts the output to as many lines as there
were.

Best run in a PID namespace of its own, so that no other processes of the machine are shown:

    unshare --pid --fork --mount --mount-proc python3 scripts/gallery.py
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parent.parent / "docs/gallery.md"
WIDTH = 92
"""Columns of the terminal that the commands believe in."""
BLOCK = re.compile(r"^```text\n(.*?)^```$", re.M | re.S)
PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
CUT = "[...]\n"


def run_again(block: str, environment: dict[str, str], directory: str) -> str:
    """One block with its commands' output as it is now.

    Raises:
        RuntimeError: a command ended with another status than 0.
    """
    parts = re.split(r"^(\$ .*\n)", block, flags=re.M)
    text = parts[0]
    for command, old in zip(parts[1::2], parts[2::2], strict=True):
        done = subprocess.run(
            ["sh", "-c", command[2:]],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            message = f"{command[2:].strip()} ended with {done.returncode}: {done.stdout}"
            raise RuntimeError(message)
        new = done.stdout
        if old.endswith(CUT):
            new = "".join(new.splitlines(keepends=True)[: old.count("\n") - 1]) + CUT
        text += command + new
    return text


def refreshed(page: str) -> str:
    """The page with the output of each command as it is now."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "COLUMNS": str(WIDTH)}
    with tempfile.TemporaryDirectory() as directory, ExitStack() as ended:
        target = started(["cat", "/dev/zero"], directory, ended)
        time.sleep(0.2)  # until it has started, and mapped its libraries
        environment["PID"] = str(target.pid)
        program = PROGRAM.search(page)
        if program is not None:
            Path(directory, "server.py").write_text(program[1])
            group = ended.enter_context(control_group())
            server = started([sys.executable, "server.py"], directory, ended, group)
            while not Path(directory, "ready").exists() and server.poll() is None:
                time.sleep(0.1)
            time.sleep(0.5)  # until all its threads wait
            environment["SERVER"] = str(server.pid)
        return BLOCK.sub(
            lambda found: f"```text\n{run_again(found[1], environment, directory)}```", page
        )


GROUPS = (Path("/sys/fs/cgroup/memory/gallery"), Path("/sys/fs/cgroup/gallery"))
"""A memory control group of version 1 and of version 2."""


@contextmanager
def control_group() -> Iterator[Path | None]:
    """A memory control group until it is left; None: this user may not make one."""
    for group in GROUPS:
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            yield group
        finally:
            time.sleep(0.2)  # until what was killed has left it
            group.rmdir()
        return
    yield None


def started(
    command: list[str], directory: str, ended: ExitStack, group: Path | None = None
) -> subprocess.Popen[bytes]:
    """A process, in a control group if there is one, that is killed when `ended` is closed."""

    def join() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    process = ended.enter_context(
        subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            preexec_fn=join,  # noqa: PLW1509 - it has one thread
        )
    )
    ended.callback(process.kill)
    return process


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run the commands of docs/gallery.md again.")
    parser.add_argument("--print", action="store_true", help="print the page, keep the file")
    options = parser.parse_args()
    result = refreshed(PAGE.read_text())
    if options.print:
        sys.stdout.write(result)
    else:
        PAGE.write_text(result)
