"""How much memory the reader itself takes at its peak, against the length of the text."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.baselines import raw_read
from benchmarks.compare import Row, Skip, compare
from benchmarks.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.compare import Effort

__all__ = ["memory"]

# Each is run in a fresh interpreter, which has freed nothing that could be used
# again. ru_maxrss would not do: it is inherited over exec. So the peak is reset,
# and the growth is what it rose above what was resident.
READER = """
import os
import sys
{imports}
pid = int(sys.argv[1])

def kib(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))

def read(pid):
    return {expression}

read(os.getpid())  # what is loaded or made once only
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = kib("VmRSS:")
table = read(pid)
print((kib("VmHWM:") - before) * 1024)
"""

OURS = "from procmem import Process"
READERS = {
    "smaps()": (OURS, "Process(pid).smaps()"),
    "smaps(), every counter read out and kept": (
        OURS,
        "[(region, region._extras()) for region in Process(pid).smaps()]",
    ),
    "psutil memory_maps(grouped=False)": (
        "import psutil",
        "psutil.Process(pid).memory_maps(grouped=False)",
    ),
    "plain Python (split, dataclass)": (
        "from benchmarks.baselines import plain_smaps",
        "plain_smaps(pid)",
    ),
}


def memory(effort: Effort) -> Iterator[Row | Skip]:
    """The peak of VmRSS above where it was before."""
    size = effort.sizes[-1]
    # Bytes hardly differ from one time to the next.
    effort = replace(effort, rounds=min(effort.rounds, 5), budget=0)
    text = "length of the smaps text"
    with Target(size) as target:
        samples: dict[str, Callable[[], float]] = {text: lambda: raw_read(target.pid, "smaps")}
        samples |= {name: growth(target.pid, *reader) for name, reader in READERS.items()}
        try:
            found = compare("memory", size, samples, effort, unit="B")
        except subprocess.CalledProcessError as error:
            yield Skip("memory", "peak of VmRSS", error.stderr.decode().strip().split("\n")[-1])
            return
    for name in READERS:
        yield found.row(name, text, 1.0 if name == "smaps()" else None)


def growth(pid: int, imports: str, expression: str) -> Callable[[], float]:
    script = READER.format(imports=imports, expression=expression)

    def sample() -> float:
        words = [sys.executable, "-c", script, str(pid)]
        return float(subprocess.run(words, check=True, capture_output=True).stdout)

    return sample
