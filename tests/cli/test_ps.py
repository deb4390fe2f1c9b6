"""procmem ps: its table from saved facts, and beside the installed ps."""

from __future__ import annotations

import os
import pty
import random
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem.procfs import parse_stat, parse_status
from procmem.regions import Counters
from procmem.view.ps import COLUMNS, FormatError, Row, parse_format, process_table
from tests.support import procps
from tests.support.blocking import until_asleep
from tests.support.procps import Tree, command, needs_ps, ours, theirs
from tests.support.targets import Target, kernel_thread, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Start = Callable[..., Target]

STAT = (
    b"42 (na me) S 1 42 42 0 -1 4194560 123 0 4 0 7 8 0 0 20 0 3 0 218000 8388608 400 "
    b"18446744073709551615 4194304 5242880 140736000000000 " + b"0 " * 23 + b"0\n"
)
STATUS = b"""\
Name:\tna me
State:\tS (sleeping)
Tgid:\t42
Pid:\t42
PPid:\t1
Uid:\t0\t1000\t0\t0
VmLck:\t       0 kB
VmSize:\t    8192 kB
VmRSS:\t    1600 kB
VmData:\t     300 kB
VmStk:\t     132 kB
Threads:\t3
"""


def row(stat: bytes = STAT, status: bytes = STATUS, **more: object) -> Row:
    return Row(42, parse_stat(stat), parse_status(status), **more)  # type: ignore[arg-type]


def table(form: str, *rows: Row, digits: int = 5, **more: object) -> str:
    lines = process_table(rows, parse_format(form, digits), **more)  # type: ignore[arg-type]
    return b"".join(lines).decode()


# ---- the table from saved facts -------------------------------------------------------


class TestTable:
    def test_the_four_columns(self) -> None:
        assert table("pid,rss,vsz,comm", row()) == (
            "  PID   RSS    VSZ COMMAND\n   42  1600   8192 na me\n"
        )

    def test_sizes(self) -> None:
        shown = table("rss,rssize,rsz,vsz,vsize,size,sz,trs,drs", row())
        assert shown.split() == (
            "RSS RSS RSZ VSZ VSZ SIZE SZ TRS DRS".split()
            + "1600 1600 1600 8192 8192 432 2048 1024 7168".split()
        )
        shown = table("sz", row(page_size=16384))
        assert shown.split() == ["SZ", "512"]

    def test_shares_of_memory(self) -> None:
        assert table("pmem=", row(memory_total=16000)) == "10.0\n"
        assert table("%mem=", row(memory_total=1600)) == "99.9\n"
        assert table("%mem=", row(memory_total=1_000_000)) == " 0.1\n"
        assert table("pmem=", row()) == "   -\n"

    def test_who_it_is(self) -> None:
        shown = table("ppid,tgid,uid,nlwp,thcount,min_flt,minflt,maj_flt,majflt,s,stat", row())
        assert shown == (
            " PPID  TGID   UID NLWP THCNT  MINFL MINFLT  MAJFL MAJFLT S STAT\n"
            "    1    42  1000    3     3    123    123      4      4 S Ssl\n"
        )

    def test_what_is_not_known_is_no_zero(self) -> None:
        assert table("uss,pss", row()) == "  USS   PSS\n    -     -\n"
        known = Counters({"Pss": 8192, "Private_Clean": 4096, "Private_Dirty": 1024})
        assert table("uss,pss", row(rollup=known)) == "  USS   PSS\n    5     8\n"
        assert table("uss,pss", row(rollup=Counters({"Pss": 8192}))).split()[2:] == ["-", "8"]

    def test_memory_of_another_thread(self) -> None:
        other = STATUS.replace(b"1600", b"77")
        gone = STATUS.partition(b"VmLck")[0] + b"Threads:\t2\n"
        seen = (parse_stat(STAT), parse_status(other))
        assert table("rss,nlwp", row(status=gone, memory=seen)).split()[2:] == ["77", "2"]

    def test_headings(self) -> None:
        assert table("pid=,rss=", row()) == "   42  1600\n"
        assert table("pid=,rss", row()) == "        RSS\n   42  1600\n"
        assert table("pid,rss=", row()) == "  PID      \n   42  1600\n"
        assert table("rss=MEMORY,comm=WHO", row()) == "MEMORY WHO\n  1600 na me\n"
        assert table("pid=,rss", row(), headings=False) == "   42  1600\n"

    def test_ids_are_as_wide_as_they_may_get(self) -> None:
        assert table("pid,rss", row(), digits=7) == "    PID   RSS\n     42  1600\n"
        assert table("pid,rss", row(), digits=3) == "PID   RSS\n 42  1600\n"
        assert table("pid:4,rss", row(), digits=7) == " PID   RSS\n  42  1600\n"

    def test_what_is_too_long_takes_blanks_behind(self) -> None:
        wide = row(status=STATUS.replace(b"1600", b"123456789"))
        assert table("rss,nlwp,pid", wide) == "  RSS NLWP   PID\n123456789 3   42\n"
        assert table("comm:2,rss", row()) == "COMMAND RSS\nna  1600\n"

    def test_the_last_column_ends_with_the_screen(self) -> None:
        long = {"cmdline": b"abc def " * 9}
        assert table("pid,args=", row(**long), screen=20).split("\n")[1] == "   42 abc def abc de"
        assert table("pid,args=", row(**long), screen=8).split("\n")[1] == "   42 abc def ab"
        assert (
            table("pid,args=", row(**long)).split("\n")[1] == "   42 " + "abc def " * 8 + "abc def"
        )

    def test_users(self) -> None:
        named = row(user="systemd-timesync")
        assert table("user=,pid=", named) == "systemd+    42\n"
        assert table("pid=,user=", named) == "   42 systemd-timesync\n"

    def test_wide_characters_take_two_cells(self) -> None:
        japan = row(cmdline="日本語日本語".encode(), utf8=True)
        assert table("args:5,pid", japan, utf8=True).split("\n")[1] == "日本     42"
        assert table("args:5,pid", row(cmdline="日本語".encode())).split("\n")[1] == "?????    42"

    def test_nothing_steers_a_terminal(self) -> None:
        hostile = bytes(byte for byte in range(256) if byte != 41)
        for utf8 in (False, True):
            shown = table(
                "pid,comm,args",
                row(STAT.replace(b"na me", hostile), cmdline=hostile, utf8=utf8),
                terminal=True,
                utf8=utf8,
            )
            assert not [c for c in shown if not c.isprintable() and c != "\n"]


@pytest.mark.parametrize(
    "form, message",
    [
        ("foo", 'unknown user-defined format specifier "foo"'),
        ("pid,PID", 'unknown user-defined format specifier "PID"'),
        ("=", 'unknown user-defined format specifier ""'),
        ("pid=a b", 'unknown user-defined format specifier "b"'),
        (",pid", "improper format list"),
        ("pid,,rss", "improper format list"),
        ("pid, rss", "improper format list"),
        ("", "improper format list"),
        ("pid:0", "column widths must be unsigned decimal numbers"),
        ("pid:05", "column widths must be unsigned decimal numbers"),
        ("pid:٣", "column widths must be unsigned decimal numbers"),
        ("pid:", "column widths must be unsigned decimal numbers"),
    ],
)
def test_formats_that_are_none(form: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_format(form)
    assert str(caught.value) == message


def test_widths_have_an_end() -> None:
    assert parse_format("pid:99999999999999999999")[0].width == 131072


# ---- the command line -------------------------------------------------------------------

P, Q = "{one}", "{other}"
WORDS = [
    ["-o", "pid,vsz,comm", "-p", P],
    ["-opid,vsz", f"-p{P}"],
    ["-o", "pid", "-p", f"{P},{Q}"],
    ["-o", "pid", "-p", f"{P} {Q}"],
    ["-o", "pid", "-p", f"{Q}\t{P}"],
    ["-o", "pid", "-p", f"{P}\n{Q}"],
    ["-o", "pid", "-p", P, "-p", Q],
    ["-o", "pid", "-p", f"{Q},{P},{Q}"],
    ["-o", "pid", "-p", "2147483647"],
    ["-o", "pid", "-p", f"2147483647,{P}"],
    ["-o", "pid", "-p", "abc"],
    ["-o", "pid", "-p", "0"],
    ["-o", "pid", "-p", "-1"],
    ["-o", "pid", "-p", ""],
    ["-o", "pid", "-p"],
    ["-o", "pid", "-p", f"{P},"],
    ["-o", "pid", "-p", f",{P}"],
    ["-o", "pid", "-p", f"{P},,{Q}"],
    ["-o", "pid", "-p", f" {P}"],
    ["-o", "pid", "-p", f"{P} "],
    ["-o", "pid", "-p", f"{P}, {Q}"],
    ["-o", "pid", "-p", "0{one:o}"],
    ["-o", "pid", "-p", "0x"],
    ["-o", "pid", "-p", "08"],
    ["-o", "pid", "-p", f"+{P}"],
    ["-o", "pid", "-p", "1e3"],
    ["-o", "pid", "-p", f"{P};{Q}"],
    ["-o", "pid", "-p", f"\v{P}"],
    ["-o", "pid", "-p", "2147483648"],
    ["-o", "pid", "-p", "99999999999999999999"],
    ["-o", "pid", "-q", f"{Q},{P},{Q}"],
    ["-o", "pid", "-q", "2147483647"],
    ["-o", "pid", "--quick-pid", P],
    ["-o", "pid", f"--quick-pid={P}"],
    ["-o", "pid", "--pid", P],
    ["-o", "pid", f"--pid={P},{Q}"],
    ["-o", "pid", "--pid", P, Q],
    ["-o", "pid", "--pid", P, "--pid", Q],
    ["-o", "pid", P],
    ["-o", "pid", Q, P],
    ["-o", "pid", f"{P},{Q}"],
    ["-o", "pid", f"{P} {Q}"],
    ["-o", "pid", P, "-p", Q],
    ["-o", "pid", "0{one:o}"],
    ["-o", "pid", "0"],
    ["-o", "pid=", "-p", P],
    ["-o", "pid=,rss=", "-p", "2147483647"],
    ["-o", "pid=,vsz", "-p", P],
    ["-o", "pid=PID,vsz", "-p", P],
    ["-o", "pid=PID", "-o", "vsz", "-p", P],
    ["-o", "pid=LONGER-THAN-IT", "-p", P],
    ["-o", "vsz=MEM", "-o", "comm=NAME", "-p", P],
    ["-o", "comm=LONGER-THAN-THE-COLUMN,vsz=", "-p", P],
    ["-o", "pid vsz", "-p", P],
    ["-o", "pid\tvsz", "-p", P],
    ["-o", "pid\nvsz", "-p", P],
    ["-o", "pid, vsz", "-p", P],
    ["-o", "pid,,vsz", "-p", P],
    ["-o", ",pid", "-p", P],
    ["-o", "pid,", "-p", P],
    ["-o", "pid ", "-p", P],
    ["-o", " pid", "-p", P],
    ["-o", ",", "-p", P],
    ["-o", " ", "-p", P],
    ["-o", "", "-p", P],
    ["-o", "foo", "-p", P],
    ["-o", "pid,foo", "-p", P],
    ["-o", "PID", "-p", P],
    ["-o", "pid;vsz", "-p", P],
    ["-o", "pid:10,vsz:3", "-p", P],
    ["-o", "pid:10=", "-p", P],
    ["-o", "pid:5=Q", "-p", P],
    ["-o", "pid=Q:5", "-p", P],
    ["-o", "pid=a=b", "-p", P],
    ["-o", "pid==", "-p", P],
    ["-o", "=x", "-p", P],
    ["-o", "pid=,", "-p", P],
    ["-o", "pid= vsz", "-p", P],
    ["-o", "pid=x y", "-p", P],
    ["-o", "pid=  x", "-p", P],
    ["-o", "pid=é,vsz", "-p", P],
    ["-o", "pid:0", "-p", P],
    ["-o", "pid:", "-p", P],
    ["-o", "pid:x", "-p", P],
    ["-o", "pid:5x", "-p", P],
    ["-o", "pid:-5", "-p", P],
    ["-o", "pid:5:6", "-p", P],
    ["-o", "pid:05", "-p", P],
    ["-o", "comm:4,vsz:3", "-p", P],
    ["-o", "comm:40,vsz", "-p", P],
    ["-o", "args:3,pid", "-p", P],
    ["--format", "pid", "-p", P],
    ["--format=pid,vsz", "-p", P],
    ["--format"],
    ["--format="],
    ["--no-headers", "-o", "pid", "-p", P],
    ["--no-heading", "-p", P, "-o", "pid"],
    ["--noheaders", f"-p{P}", "-opid"],
    ["--noheader", "-o", "pid", "-p", P],
    ["--no-headers=1", "-o", "pid", "-p", P],
    ["--pid="],
    ["--pid"],
    ["-p"],
    ["-o"],
    ["-op", P],
    ["-o", "-p", P],
    ["-p", "-o", "pid"],
    ["-"],
    ["--"],
    ["", "-o", "pid", "-p", P],
    ["-o", "pid", "--", "-p", P],
    ["-p", P, "-q", Q],
    ["-q", P, "-q", Q],
    ["-q", P, Q],
    ["-w", "-o", "pid,args", "-p", P],
    ["-ww", "-o", "pid,args", "-p", P],
]


@needs_ps
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_command_lines_are_understood_alike(words: list[str], start: Start) -> None:
    if "-p" in words and "{other}" in " ".join(words):
        procps.same_or_skip("ps", "order of -p")
    one, other = start().pid, start(args=["other", "x" * 300]).pid
    line = ["ps", *(word.format(one=one, other=other) for word in words)]
    for env in ({}, {"COLUMNS": "50"}):
        expected, mine = theirs(line, env=env), ours(line, env=env)
        assert (mine.out, mine.status) == (expected.out, expected.status)
        # ps's words come first; its help is its own, and it calls long headings by another name.
        said = expected.err.split(b"\n")[0]
        if b"--no-heading does" in said:
            said = said.replace(b"--no-heading does", b"--no-headers does")
        if said.startswith(b"error: "):
            assert mine.err.split(b"\n")[0] == said
        assert bool(mine.err) == bool(expected.err)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["aux"],
        ["ax"],
        ["o", "pid"],
        ["p1"],
        ["-f", "-p", "1"],
        ["-u", "root"],
        ["-C", "sh"],
        ["-l"],
        ["--ppid", "1"],
        ["--pid1"],
        ["--pi", "1"],
        ["--sort", "rss", "-p", "1"],
        ["--nonsense"],
        ["-o", "pid"],
        ["+1"],
        ["-o", "tty", "-p", "1"],
        ["-o", "%p", "-p", "1"],
    ],
    ids=" ".join,
)
def test_what_is_not_offered_is_refused(words: list[str]) -> None:
    answer = ours(["ps", *words])
    assert (answer.status, answer.out) == (1, b"")
    assert answer.err.startswith(b"error: ")
    assert b"usage: procmem ps" in answer.err


def test_help_and_version() -> None:
    answer = ours(["ps", "--help"])
    assert answer.status == 0
    for name in COLUMNS:
        assert name.encode() in answer.out
    assert ours(["ps", "--version"]).out.startswith(b"procmem ps ")


def test_columns_if_none_are_named(target: Target) -> None:
    answer = ours(["ps", "-p", str(target.pid)])
    assert answer.out == ours(["ps", "-o", "pid,rss,vsz,comm", "-p", str(target.pid)]).out


def test_all_processes() -> None:
    for option in ("-e", "-A", "-eopid="):
        answer = ours(["ps", option] if "o" in option else ["ps", option, "-o", "pid="])
        assert answer.status == 0
        shown = set(map(int, answer.out.split()))
        assert {os.getpid(), os.getppid()} <= shown


# ---- processes of every kind --------------------------------------------------------------

FORMATS = (
    "pid,rss,vsz,comm",
    "pid,ppid,tgid,uid,user,nlwp,stat,s,args",
    "pid,sz,size,drs,trs,args,comm",
    "pid,ucmd,ucomm,command,cmd",
    "pid,rssize,rsz,vsize,pmem,%mem,thcount,state",
    "pid,min_flt,minflt,maj_flt,majflt",
)


@needs_ps
@pytest.mark.parametrize("form", FORMATS)
def test_kernel_threads_and_zombies(form: str, target: Target) -> None:
    procps.same_or_skip("ps", "zombies")
    pids = [target.zombie()]
    thread = kernel_thread()
    if thread is not None:
        pids.append(thread)
    words = ["ps", "-o", form + ",uss,pss", "-p", ",".join(map(str, pids))]
    assert procps.settled(words)


@needs_ps
def test_a_thread_is_no_process(target: Target) -> None:
    thread = target.threads(1).threads[0].tid
    for option in ("-p", "-q"):
        words = ["ps", "-o", "pid,rss", option, str(thread)]
        assert ours(words) == theirs(words)
        assert ours(words).status == 1


@needs_ps
@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("columns", ["", "40", "81"])
def test_hostile_names(utf8: bool, columns: str, start: Start) -> None:
    procps.same_characters_or_skip("ps", utf8)
    pids = []
    for args in (
        [b"\x1b[31m", b"a\nb\tc", "é日本".encode() * 20, b"\xff\x01", b""],
        [bytes(range(1, 256))],
        ["\x80\xad\u0301\u200b\u202e\ufeff\ue000\u2028\u1160".encode()],
        [b"  x  ", b"  "],
    ):
        target = start(args=args)
        target.comm(args[0][:15])
        # It has answered, and is on its way to sleep.
        until_asleep(target.pid)
        pids.append(str(target.pid))
    env = {"COLUMNS": columns} if columns else {}
    for form in FORMATS:
        words = ["ps", "-o", form, "-p", ",".join(pids)]
        expected, mine = procps.of_one_time(words, utf8=utf8, env=env)
        assert mine == expected


def test_a_leader_that_exited_has_its_memory(start: Start) -> None:
    target = start()
    target.touch(target.map(200))
    before = ours(["ps", "-o", "rss=,vsz=,uss=", "-p", str(target.pid)]).out.split()
    target.exit_leader()
    after = ours(["ps", "-o", "rss=,vsz=,uss=", "-p", str(target.pid)]).out.split()
    # ps prints 0 for each.
    for was, now in zip(before, after, strict=True):
        assert int(now) >= int(was) - 64
        assert int(now) >= 800


def test_what_is_denied_is_no_zero(target: Target) -> None:
    target.dumpable(False)
    words = ["-o", "vsz=,uss=,pss=", "-p", str(target.pid)]
    if os.geteuid() == 0:
        code = "import sys\nfrom procmem.cli.ps import main\nsys.exit(main(sys.argv[1:]))"
        done = machine.as_nobody(code, *words)
        assert done.returncode == 0
        shown = done.stdout.split()
    else:
        shown = ours(["ps", *words]).out.decode().split()
    assert int(shown[0]) > 0
    assert shown[1:] == ["-", "-"]


@needs_ps
def test_users_with_and_without_a_name(start: Start, is_root: bool) -> None:
    pids = [str(start().pid)]
    if is_root:
        pids += [str(start(user=user).pid) for user in (65534, 54321, 1234567890)]
    for form in ("user,uid,pid", "pid,user", "user:20,pid", "user:4,uid:3,user"):
        words = ["ps", "-o", form, "-p", ",".join(pids)]
        assert ours(words) == theirs(words)


@needs_ps
def test_foreground_and_nice(start: Start) -> None:
    pid = str(start().pid)
    leader, follower = pty.openpty()
    code = (
        "import os, sys, termios, fcntl, time\n"
        "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.nice(3)\n"
        "print('ready', flush=True); time.sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=follower, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        until_asleep(child.pid)
        words = ["ps", "-o", "pid,stat,state", "-p", f"{pid},{child.pid}"]
        assert procps.settled(words)
        assert b" SNs+" in ours(words).out
    finally:
        child.kill()
        child.communicate()
        os.close(leader)
        os.close(follower)


# ---- every process, and none that exists ------------------------------------------------------


@needs_ps
@pytest.mark.parametrize("form", FORMATS)
def test_every_process_of_the_machine(form: str, target: Target) -> None:
    """Read only; one that moved between two readings is compared again."""
    pids = [*procps.listed(), target.pid]
    words = ["ps", "-o", form, "-p", ",".join(map(str, pids))]

    def rows(answer: procps.Answer) -> dict[bytes, bytes]:
        return {line.split()[0]: line for line in answer.out.split(b"\n")[1:] if line}

    before, mine, after = rows(theirs(words)), rows(ours(words)), rows(theirs(words))
    compared = 0
    for pid, line in before.items():
        if line == after.get(pid):
            if mine.get(pid) != line:
                alone = ["ps", "-o", form, "-p", pid.decode()]
                procps.settled(alone)
            compared += 1
    assert compared


@needs_ps
def test_unique_and_proportional_sizes_from_one_reading(tmp_path: Path, target: Target) -> None:
    tree = Tree(tmp_path / "proc")
    captured = [
        str(pid)
        for pid in [*procps.listed(), target.pid]
        if tree.capture(pid) and (tree.path / str(pid) / "smaps_rollup").exists()
    ]
    assert captured
    words = ["ps", "-o", "pid,uss,pss,rss,pmem", "-q", ",".join(captured)]
    assert tree.compare([words, [*words[:3], "-p", captured[0]]]) == 2


@needs_ps
@pytest.mark.parametrize("number", range(6))
def test_random_processes(number: int, tmp_path: Path) -> None:
    """Facts that no process could have, in random formats."""
    procps.same_characters_or_skip("ps", bool(number % 2))
    made = random.Random(number)
    tree = Tree(tmp_path / "proc")
    # Larger than any PID of this system: ps itself has one.
    pids = [str(pid) for pid in made.sample(range(5_000_000, 99_999_999), 12)]
    for pid in pids:
        random_process(made, tree, int(pid))
    commands: list[Sequence[str]] = []
    for _ in range(60):
        # ps prints those of -p in the order of the directory, which only /proc sorts.
        option = made.choice(["-p", "--pid", "-q"])
        chosen = made.sample(pids, made.randrange(1, 6) if option == "-q" else 1)
        commands.append(["ps", "-o", random_format(made), option, ",".join(chosen)])
    columns = {"COLUMNS": str(made.randrange(10, 100))} if number % 3 else {}
    assert tree.compare(commands, utf8=bool(number % 2), env=columns) == len(commands)


def random_format(made: random.Random) -> str:
    parts = []
    for _ in range(made.randrange(1, 7)):
        part = made.choice([*COLUMNS])
        if made.random() < 0.15:
            part += f":{made.randrange(1, 40)}"
        if made.random() < 0.2:
            part += "=" + made.choice(["", "X", "LONGER", "é", "日本"])
        parts.append(part)
    return made.choice([",", " "]).join(parts)


def random_process(made: random.Random, tree: Tree, pid: int) -> None:
    def number() -> int:
        return made.choice([0, 4, 99, 1000, made.getrandbits(made.randrange(1, 40))])

    comm = made.choice(
        [
            b"sleep",
            "日本é".encode(),
            "\x80a\u2028\u0378b".encode(),
            b"x" * 15,
            b"kworker/u8:0-events_unbound",
            bytes(made.choice([*range(1, 41), *range(42, 256)]) for _ in range(made.randrange(16))),
        ]
    )
    state = made.choice("SRDTI")
    text, data = number(), number()
    fields = [made.choice([1, pid]), 77, made.choice([1, pid]), 0, made.choice([77, -1]), 0]
    fields += [number(), 0, number(), 0, 0, 0, 0, 0, 20, made.choice([0, 5, -5])]
    fields += [number(), 0, 100, text + data, 9, 2**64 - 1, 4096, 4096 + text] + [0] * 25
    stat = b"%d (%b) %b %b\n" % (
        pid,
        comm,
        state.encode(),
        " ".join(map(str, fields)).encode(),
    )
    sizes = "".join(f"{name}:\t{number():8} kB\n" for name in ("VmLck", "VmRSS", "VmSize"))
    sizes += "".join(f"{name}:\t{number():8} kB\n" for name in ("VmData", "VmStk"))
    uid = made.choice([0, 1, 65534, 54321, 123456789])
    status = (
        f"Name:\tx\nState:\t{state} (x)\nTgid:\t{pid}\nPid:\t{pid}\n"
        f"PPid:\t{made.choice([1, 2, 99999])}\nUid:\t0\t{uid}\t0\t0\nGid:\t0\t0\t0\t0\n"
        f"{sizes}Threads:\t{made.choice([1, 2, 12345])}\n"
    )
    names = ("Rss", "Pss", "Private_Clean", "Private_Dirty", "Private_Hugetlb")
    rollup = "00400000-7ffd00000000 ---p 00000000 00:00 0                          [rollup]\n"
    rollup += "".join(f"{name + ':':16}{number():8} kB\n" for name in names)
    cmdline = made.choice(
        [
            b"",
            b"cmd\0arg\0",
            made.randbytes(60),
            "é日本 abcdefg\u0301\u200bxx日本語日本語日本語日本語".encode() + b"\0x",
            bytes(made.choice(b"\xc2\xe2\xf0\xc0\xf5\x80\x1bA\n\0") for _ in range(30)),
            b"abc def " * 20,
            "\x80\xad\u0301\u200b\u202e\ufeff\ue000\U0010ffff\u2028\u1160\u4dc0z".encode() * 2,
        ]
    )
    tree.add(
        pid,
        stat=stat,
        status=status.encode(),
        cmdline=cmdline,
        smaps_rollup=rollup.encode(),
    )


# ---- the surroundings ---------------------------------------------------------------------------


@needs_ps
def test_a_terminal(start: Start) -> None:
    """Its width cuts the last column, and no control byte gets there."""
    target = start(args=[b"\x1b[2J", "é日本".encode(), b"x" * 300])
    for env in ({}, {"COLUMNS": "33"}):
        shown = {}
        for name, words in (
            ("theirs", ["ps"]),
            ("ours", [sys.executable, "-m", "procmem", "ps"]),
        ):
            shown[name] = on_terminal(
                [*words, "-o", "pid,args", "-p", str(target.pid)],
                procps.environment(True, env),
            )
        assert shown["ours"] == shown["theirs"]
        assert b"\x1b" not in shown["ours"]


def on_terminal(words: Sequence[str], env: dict[str, str]) -> bytes:
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("4H", 24, 61, 0, 0))
    child = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env=env
    )
    os.close(follower)
    shown = b""
    while True:
        select.select([leader], [], [], 60)
        try:
            shown += os.read(leader, 65536)
        except OSError:  # EIO: the other side is closed
            break
    os.close(leader)
    child.wait()
    return shown


def test_it_is_a_command(target: Target) -> None:
    answer = command(["ps", "-o", "pid=,comm=", "-p", str(target.pid)])
    assert answer.out == b"%5d target\n" % target.pid or b"target" in answer.out
    assert (answer.status, answer.err) == (0, b"")
    assert Path(f"/proc/{target.pid}").exists()


def test_what_ps_lacks_is_the_kernels_own_figure(target: Target) -> None:
    """Swap, huge pages and KSM, beside the parts of smaps_rollup and status of the same process."""
    answer = ours(["ps", "-o", "swap=,huge=,hugetlb=,ksm=", "-p", str(target.pid)])
    rollup, status = procmem.Process(target.pid).rollup(), procmem.Process(target.pid).memory()
    parts = [rollup.get(name) for name in ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")]
    huge = sum(part for part in parts if isinstance(part, int))
    ksm = rollup.get("KSM")
    assert answer.out.split() == [
        b"%d" % (figure // 1024) if isinstance(figure, int) else b"-"
        for figure in (status.swap, huge, status.hugetlb or 0, ksm)
    ]
