"""One process of the machine: names, sizes, control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import procmem
from procmem.procfs.sweep import Swept
from procmem.system.processes import MachineProcess, read_process, sums
from tests.support.sleepers import save_process
from tests.support.targets import PAGE, kernel_thread, machine

if TYPE_CHECKING:
    from tests.support.targets import Target


def read(pid: int, root: str = "/proc") -> MachineProcess:
    found = read_process(pid, root)
    assert found is not None
    return found


def test_its_sizes_are_those_of_rollup(target: Target) -> None:
    target.touch(target.map(1))  # what it needs for that is in memory now
    before = read(target.pid)
    mapping = target.map(100)
    target.touch(mapping, 60)
    after = read(target.pid)
    # Who else maps its libraries may change at any time; what it has in memory does not.
    rollup = procmem.Process(target.pid).rollup()
    assert (after.rss, after.swap, after.unread) == (rollup.rss, rollup.swap, "")
    assert after.counters is not None
    assert (after.pss, after.uss) == (after.counters.pss, after.counters.uss)
    assert after.rss is not None
    assert before.rss is not None
    assert after.rss - before.rss == 60 * PAGE
    assert (after.ppid, after.uid) == (os.getpid(), os.geteuid())


def test_what_has_no_memory_is_no_process(target: Target) -> None:
    zombie = target.zombie()
    assert read_process(zombie, "/proc") is None
    target.reap(zombie)
    assert read_process(zombie, "/proc") is None
    thread = kernel_thread()
    assert thread is None or read_process(thread, "/proc") is None


def test_a_process_whose_first_thread_has_ended(target: Target) -> None:
    mapping = target.map(50)
    target.touch(mapping)
    target.exit_leader()
    found = read(target.pid)
    assert found.rss is not None
    assert found.rss >= 50 * PAGE


def test_what_may_not_be_read_has_its_rss_alone(target: Target) -> None:
    target.dumpable(False)
    code = (
        "from procmem.system.processes import read_process\n"
        f"found = read_process({target.pid}, '/proc')\n"
        "print(found.rss, found.pss, found.uss, found.frees, found.unread, found.uid)"
    )
    done = machine.as_nobody(code, modules=("procmem.system.processes",))
    assert done.returncode == 0, done.stderr
    said = done.stdout.split(maxsplit=4)
    statm = Path(f"/proc/{target.pid}/statm").read_text().split()
    assert int(said[0]) == int(statm[1]) * PAGE
    assert said[1:4] == ["None", "None", "None"]
    assert said[4].rsplit(maxsplit=1) == ["Permission denied", str(os.geteuid())]


def test_a_saved_tree_without_the_file(target: Target, tmp_path: Path) -> None:
    tree = save_process(target.pid, tmp_path) / "tree"
    assert read(77, str(tree)).rss == procmem.Process(77, root=tree).rollup().rss
    (tree / "77" / "smaps_rollup").unlink()
    found = read(77, str(tree))
    assert "smaps_rollup" in found.unread
    assert found.pss is None


def test_a_script_is_called_by_its_name(tmp_path: Path) -> None:
    script = tmp_path / "the-script.py"
    script.write_text("input(chr(10))")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, script], stdin=pipe, stdout=pipe) as started:
        # execve(2) closes Popen's pipe before the new arguments are there.
        assert started.stdout is not None
        started.stdout.read(1)
        found = read(started.pid)
        assert found.name == "the-script.py"
        assert found.command == f"{sys.executable} {script}"
        assert started.stdin is not None
        started.stdin.write(b"\n")


def test_the_quick_parser_reads_what_the_other_reads(target: Target) -> None:
    text = Path(f"/proc/{target.pid}/smaps_rollup").read_bytes()
    assert dict(sums(text)) == dict(procmem.parse_rollup(text))


def test_a_text_in_another_form_is_parsed_in_full() -> None:
    text = b"1000-2000 ---p 00000000 00:00 0   [rollup]\nRss:  8 kB\nPss:  4 kB\nVendor 1 of 2\n"
    assert dict(sums(text)) == {"Rss": 8192, "Pss": 4096}


def test_its_control_group(target: Target) -> None:
    found = read(target.pid)
    assert found.cgroup is not None
    assert found.cgroup.startswith("/")
    pid = target.pid
    target.close()
    # It is asked for once, while the process is there.
    assert found.cgroup.startswith("/")
    late = MachineProcess(Swept(pid, 0, STAT % pid, b"", None, b""), None)
    assert late.cgroup is None
    assert late.service is None
    assert (late.name, late.command) == ("gone", "gone")


STAT = b"%d (gone) S 1" + b" 0" * 40
