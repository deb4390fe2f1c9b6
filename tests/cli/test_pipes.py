"""procmem pipes: a sentence, a row for each end, the same as JSON."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from procmem import AccessDenied, Process
from procmem.ipc.ends import Pipe, Pipes
from procmem.ipc.holders import BlockedThread, PipeEnd
from procmem.view.pipes import pipes_sentence, pipes_text
from tests.support.blocking import Children, needs_calls, until_blocked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.commands import Run


@pytest.fixture
def children() -> Iterator[Children]:
    with Children() as made:
        yield made


@needs_calls
def test_a_full_pipe_and_its_blocked_writer(run: Run, children: Children) -> None:
    _, write = children.pipe()
    child = children.start(lambda: os.write(write, bytes(1 << 20)), "write")
    inode = os.fstat(write).st_ino
    ran = run("pipes", child)
    assert ran.status == 0
    sentence = " ".join(ran.out.split("\n\n")[0].split())
    assert f"{child} (" in sentence
    assert f"writes to pipe {inode}" in sentence
    (row,) = [line for line in ran.out.splitlines() if line.startswith(f"{inode} ")]
    assert "full" in row
    assert str(os.getpid()) in ran.out


def test_json_has_every_field(run: Run, children: Children) -> None:
    read, write = children.pipe()
    os.write(write, b"abc")
    found = json.loads(run("pipes", "--json", os.getpid()).out)
    (pipe,) = [one for one in found["pipes"] if one["inode"] == os.fstat(read).st_ino]
    assert pipe["waiting"] == 3
    assert [end["fd"] for end in pipe["readers"]] == [read]
    assert pipe["readers"][0]["close_on_exec"] is True
    assert pipe["blocked"] == []
    assert found["denied"] == [] or os.geteuid() != 0


def test_all_pipes_fit_a_narrow_terminal(
    run: Run, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    children.pipe()
    monkeypatch.setenv("COLUMNS", "80")
    ran = run("pipes")
    assert ran.status == 0
    assert max(map(len, ran.out.splitlines())) <= 80


def test_columns_are_chosen(run: Run, children: Children) -> None:
    children.pipe()
    ran = run("pipes", os.getpid(), "--columns", "pid,fd")
    assert "PID" in ran.out
    assert "Capacity" not in ran.out
    assert run("pipes", "--columns", "nothing").status == 2
    assert run("pipes", "--columns", "pid", "--json").status == 2


def pipe(
    inode: int,
    *blocked: BlockedThread,
    waiting: int = 0,
    readers: bool = True,
    writers: bool = True,
) -> Pipe:
    """A pipe of 4096 bytes with a reader 1 (cat) and a writer 2 (yes), or without one."""
    ends = PipeEnd(1, 3, "cat", 1, inode), PipeEnd(2, 4, "yes", 2, inode)
    return Pipe(inode, 0, None, 4096, waiting, 1, waiting == 4096, ends[:1] if readers else (),
                ends[1:] if writers else (), readers, writers, blocked)  # fmt: skip


READS = [BlockedThread(10 + n, 10 + n, "read", "read") for n in range(5)]
WRITES = BlockedThread(2, 2, "write", "write")


def test_what_needs_attention_is_said_first_and_stands_first() -> None:
    found = Pipes(
        [*(pipe(n, one) for n, one in enumerate(READS)), pipe(7, writers=False),
         pipe(8, readers=False), pipe(9, WRITES, waiting=4096)], 2, [], 0,
    )  # fmt: skip
    assert pipes_sentence(found) == (
        "8 pipes, 4,096 bytes waiting to be read. Blocked: 2 (yes) writes to pipe 9, which is full."
        " No process can read from pipe 8: a write fails with SIGPIPE or EPIPE. No process can "
        "write to pipe 7: once empty, a read returns end of file. 5 threads wait for input."
    )
    table = pipes_text(found).split("\n\n")[1].splitlines()[2:]
    assert [line.split()[0] for line in table if line[:1] != " "] == list("97801234")


def test_who_waits_for_input_is_named_if_few_or_asked_about() -> None:
    few = Pipes([pipe(5, READS[0])], 2, [], 0)
    assert pipes_sentence(few) == "1 pipe, all empty. Waiting: 10 reads pipe 5."
    many = Pipes([pipe(n, one) for n, one in enumerate(READS)], 2, [], 0)
    assert pipes_sentence(many, 12, {12: "x.py"}) == (
        "5 pipes, all empty. Blocked: 12 (x.py) reads pipe 2. 4 threads wait for input."
    )
    twice = pipe(5, WRITES, WRITES._replace(tid=3), waiting=4096)
    assert "yes) writes to pipe 5, which is full (2 threads)." in pipes_sentence(
        Pipes([twice], 2, [], 0)
    )
    end = BlockedThread(1, 1, "poll", "end")
    assert pipes_sentence(Pipes([*many, pipe(9, end)], 2, [], 0)).endswith(
        "6 threads wait for input or the end of the other side."
    )


def test_processes_have_the_names_that_people_call_them() -> None:
    found = Pipes([pipe(5, WRITES, waiting=4096)], 2, [], 0)
    text = pipes_text(found, names={2: "gene\x1brate.py"})
    assert "2 (gene\\x1brate.py) writes to pipe 5" in text
    (row,) = [line for line in text.splitlines() if line.startswith("5 ")]
    assert "gene\\x1brate.py" in row
    assert "yes" not in text


@needs_calls
def test_a_script_is_named_in_place_of_its_interpreter(
    run: Run, tmp_path: Path, children: Children
) -> None:
    read, write = children.pipe()
    script = tmp_path / "listens.sh"
    script.write_text("read line <&0\n")
    with subprocess.Popen(["sh", script], stdin=read) as started:
        try:
            until_blocked(started.pid, "read")
            text = run("pipes", started.pid).out
        finally:
            children.close(write)
    assert f"{started.pid} (listens.sh) reads pipe" in " ".join(text.split())


def test_what_can_not_be_read_is_not_said_to_have_none(run: Run) -> None:
    user = os.geteuid()
    try:
        if not user:
            os.seteuid(65534)
        one, everything = run("pipes", 1), run("pipes")
        with pytest.raises(AccessDenied):
            Process(1).pipes()
    finally:
        os.seteuid(user)
    assert one.status == 1
    assert "/proc/1/fd" in one.err
    assert not one.out
    assert everything.status == 0
    assert "No pipe and no FIFO is open" not in everything.out
    assert pipes_sentence(Pipes([], 3, [1], 0)) == "No pipe and no FIFO can be seen."
    assert pipes_sentence(Pipes([], 3, [], 0)) == "No pipe and no FIFO is open."
