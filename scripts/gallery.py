"""Runs the commands of docs/gallery.md again and puts their output into the page.

    python3 scripts/gallery.py          # rewrites the page
    python3 scripts/gallery.py --print  # prints it instead

In a block of ```text each line that begins with "$ " is a command for sh(1), and what follows is
its output. The commands share a temporary directory. PID is a process that was started for them,
`cat` of /dev/zero, and is ended afterwards. "[...]" as a last line cuts the output to as many lines
as there were.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs/gallery.md"
WIDTH = 92
"""Columns of the terminal that the commands believe in."""
BLOCK = re.compile(r"^```text\n(.*?)^```$", re.M | re.S)
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
    with (
        tempfile.TemporaryDirectory() as directory,
        subprocess.Popen(
            ["cat", "/dev/zero"], stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"}
        ) as target,
    ):
        try:
            time.sleep(0.2)  # until it has started, and mapped its libraries
            environment = {
                **os.environ,
                "PATH": path,
                "COLUMNS": str(WIDTH),
                "PID": str(target.pid),
            }
            return BLOCK.sub(
                lambda found: f"```text\n{run_again(found[1], environment, directory)}```", page
            )
        finally:
            target.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run the commands of docs/gallery.md again.")
    parser.add_argument("--print", action="store_true", help="print the page, keep the file")
    options = parser.parse_args()
    result = refreshed(PAGE.read_text())
    if options.print:
        sys.stdout.write(result)
    else:
        PAGE.write_text(result)
