"""Odd machines: what is inherited is set right, and what can't be is the grader's own error."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from procmem.grade.errors import MachineError
from procmem.grade.grading import proving
from procmem.grade.sandbox.inherited import above_standard, check_limits, without_traces
from procmem.grade.sandbox.kinds import KINDS
from procmem.grade.sandbox.limits import BUILDING, RUNNING
from procmem.grade.sandbox.sandbox import Sandbox, why_not
from tests.support.labs_made import LAZY, make_lab, make_submission
from tests.support.paths import ROOT as CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROOT = os.geteuid() == 0

CHECKS = """
from procmem.grade import PAGE, anonymous, points, stack_limit

@points(2, "a page")
def test_page(program):
    with program.run() as run:
        run.pause()
        run.answer()
        mapped = run.pause()
        run.answer()
        written = run.pause()
    assert anonymous(written).rss - anonymous(mapped).rss == PAGE
"""


class Machine:
    """A lab with one right submission, graded by the command in an odd process."""

    def __init__(self, place: Path) -> None:
        self.place = place
        toml = 'build = ["make"]\nprogram = ["./lazy"]\nfiles = ["lazy.c", "Makefile"]\n'
        self.lab = make_lab(place / "lab", CHECKS, toml)
        files = {"lazy.c": LAZY, "Makefile": "lazy: lazy.c\n"}
        self.right = make_submission(place / "subs" / "right", files)
        (place / "tmp").mkdir()

    def words(self, what: str) -> list[str]:
        procmem = [sys.executable, "-m", "procmem"]
        lab = str(self.lab.directory)
        if what == "check":
            return [*procmem, "lab", "check", str(self.right), "--lab", lab]
        if what == "doctor":
            return [*procmem, "doctor"]
        results = str(self.place / "results")
        return [*procmem, "grade", lab, str(self.place / "subs"), "-o", results, "-j", "1"]

    def run(
        self,
        what: str = "grade",
        *,
        script: str = "",
        environment: dict[str, str] | None = None,
        before: Callable[[], None] | None = None,
    ) -> tuple[int, str]:
        """Exit status and output; the script, of a shell that may mount, runs before."""
        words = self.words(what)
        if script:
            words = ["unshare", "-m", "sh", "-ec", f'{script}\nexec "$@"', "sh", *words]
        around = {**os.environ, "TMPDIR": str(self.place / "tmp"), **(environment or {})}
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=300, check=False, env=around,
            stdin=subprocess.DEVNULL, preexec_fn=before, cwd=CHECKOUT,
        )  # fmt: skip
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def is_right(self, **how: object) -> None:
        """Whether the right submission gets all points."""
        status, said = self.run(**how)  # type: ignore[arg-type]
        assert status == 0, said
        assert "2 of 2 all points" in said, said


@pytest.fixture
def odd(tmp_path: Path) -> Machine:
    for tool in ("gcc", "make"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here")
    return Machine(tmp_path)


@pytest.fixture
def mounts() -> None:
    """Skips where a test can't mount for itself alone."""
    if not ROOT or shutil.which("unshare") is None:
        pytest.skip("mounting needs root and unshare(1)")
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")


# ---- what can't be mended is told before the first submission ----


def refused(odd: Machine, script: str, words: str) -> None:
    for what in ("grade", "check"):
        status, said = odd.run(what, script=script)
        assert status == 1, said
        assert words in said
        assert " of 2" not in said  # no points at all
        assert "Traceback" not in said
        assert "ok " not in said
    assert not (odd.place / "results" / "submissions").exists()
    status, said = odd.run("doctor", script=script)
    assert status == 0
    assert "trial run no " in said


def test_noexec(odd: Machine, mounts: None) -> None:
    script = 'mount -t tmpfs -o noexec tmpfs "$TMPDIR"'
    words = f"programs can't be run in {odd.place}/tmp (mounted noexec): set TMPDIR"
    refused(odd, script, words)


# Room for Python's own trial of a temporary directory; and for a directory or two beside it.
@pytest.mark.parametrize("pages", [1, 4])
def test_a_full_disk(odd: Machine, mounts: None, pages: int) -> None:
    script = (
        'mount -t tmpfs -o size=64k tmpfs "$TMPDIR"\n'
        f'dd if=/dev/zero of="$TMPDIR/fill" bs=4k count={16 - pages} 2>/dev/null'
    )
    refused(odd, script, f"{odd.place}/tmp is full: free some space there, or set TMPDIR")


def test_no_room_for_more_files(odd: Machine, mounts: None) -> None:
    script = 'mount -t tmpfs -o nr_inodes=6 tmpfs "$TMPDIR"'
    refused(odd, script, f"{odd.place}/tmp ")


@pytest.mark.parametrize("options", ["ro", "size=4k"])
def test_another_place_is_taken_where_nothing_can_be_written(
    odd: Machine, mounts: None, options: str
) -> None:
    """As everywhere in Python (tempfile.gettempdir())."""
    odd.is_right(
        script=f'''mount -t tmpfs -o size=4k tmpfs "$TMPDIR"
        dd if=/dev/zero of="$TMPDIR/fill" bs=4k count=1 2>/dev/null
        mount -o remount,{options} "$TMPDIR"'''
    )


def test_no_terminal_left(odd: Machine, mounts: None) -> None:
    if os.path.islink("/dev/ptmx") or not os.path.exists("/dev/pts"):
        pytest.skip("/dev/ptmx is no device of its own here")
    script = (
        "mount -t devpts -o newinstance,ptmxmode=0666,max=1 devpts /dev/pts\nexec 9<>/dev/pts/ptmx"
    )
    refused(odd, script, "no terminal could be opened (pty(7))")


def test_no_compiler(odd: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def found(name: str) -> str | None:
        return None if name in ("cc", "gcc", "clang") else f"/usr/bin/{name}"

    monkeypatch.setattr(proving, "found", found)
    with pytest.raises(MachineError, match=r"no C compiler.*apt-get install gcc"):
        proving.prove(odd.lab.build, odd.lab.files)
    monkeypatch.setattr(proving, "found", lambda _: None)
    with pytest.raises(MachineError, match="scons is not installed"):
        proving.prove(("scons",), ("a.c",))


def test_labs_that_build_nothing_need_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "found", lambda _: None)
    proving.prove((), ("grow.py",))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_sandbox_is_proved(kind: str) -> None:
    if reason := why_not(kind):
        pytest.skip(f"no sandbox of the kind {kind}: {reason}")
    proving.prove(sandbox=Sandbox(kind))


READS = """#include <unistd.h>
int main(void) { char b; read(0, &b, 1); read(0, &b, 1); return STATUS; }
"""


@pytest.mark.parametrize(
    "source, words",
    [
        ("int main(void) { return 7; }", "it ended with status 7 without asking"),
        (READS.replace("STATUS", "7"),
         "a measurement is wrong: a program that mapped and wrote .* shows VSZ .0 and RSS .0"),
        (READS.replace("STATUS", "1"),
         "a program ended with status 1 instead of 7"),
        ("int main(void) {", "a program can't be built here: make ended with status 2: .*Error 1"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_named(source: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "SOURCE", source)
    with pytest.raises(MachineError, match=words):
        proving.prove()


def test_limits_that_can_not_be_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, option in (
        (resource.RLIMIT_AS, "-v"), (resource.RLIMIT_FSIZE, "-f"), (resource.RLIMIT_NOFILE, "-n"),
        (resource.RLIMIT_CPU, "-t"), (resource.RLIMIT_STACK, "-s"), (resource.RLIMIT_DATA, "-d"),
    ):  # fmt: skip

        def limited(asked: int, odd: int = limit) -> tuple[int, int]:
            least = 5 if asked == odd else resource.RLIM_INFINITY
            return least, least

        monkeypatch.setattr(resource, "getrlimit", limited)
        with pytest.raises(MachineError, match=f"`ulimit -H {option}` is 5? ?0?5?.* and must be"):
            check_limits(RUNNING, BUILDING)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (99, resource.RLIM_INFINITY))
    check_limits(RUNNING, BUILDING)


def test_too_few_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(proving, "tasks_of", lambda _: 30)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, 40))
    with pytest.raises(
        MachineError, match="`ulimit -H -u` is 40, and 30 of this user's are running"
    ):
        proving.check_processes()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (400, 400))
    proving.check_processes()


# ---- what is inherited is set right ----


@pytest.mark.parametrize("what", ["grade", "check"])
def test_signals_that_are_ignored_and_blocked(odd: Machine, what: str) -> None:
    def before() -> None:
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP, signal.SIGTERM,
                       signal.SIGALRM, signal.SIGUSR1, signal.SIGTTOU):  # fmt: skip
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    status, said = odd.run(what, before=before)
    assert status == 0, said
    assert "2 of 2" in said


@pytest.mark.parametrize("mask", [0o077, 0o777, 0])
def test_umask(odd: Machine, mask: int) -> None:
    odd.is_right(before=lambda: os.umask(mask) and None)


@pytest.mark.parametrize("hard", [False, True])
def test_limits(odd: Machine, hard: bool) -> None:
    if hard and not ROOT:
        pytest.skip("only root may raise hard limits")
    small = {
        resource.RLIMIT_NPROC: 20, resource.RLIMIT_FSIZE: 1 << 20, resource.RLIMIT_CORE: 0,
        resource.RLIMIT_STACK: 256 << 10, resource.RLIMIT_CPU: 20, resource.RLIMIT_DATA: 200 << 20,
    }  # fmt: skip

    def before() -> None:
        for limit, most in small.items():
            if hard and limit == resource.RLIMIT_STACK:
                continue
            _, old = resource.getrlimit(limit)
            resource.setrlimit(limit, (most, most if hard else old))

    if hard and not may_raise_limits():
        status, said = odd.run(before=before)
        assert status == 1
        assert "`ulimit -H -f` is 1,024 and must be at least" in said
        return
    odd.is_right(before=before)


def may_raise_limits() -> bool:
    """Whether root has CAP_SYS_RESOURCE: in some containers it has not."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        (line,) = (line for line in file if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> 24 & 1)


ODD = {
    "MAKEFLAGS": "-n", "CFLAGS": "-DODD -Werror -Dmain=x", "CC": "/no/such/cc", "LD_BIND_NOW": "1",
    "MALLOC_PERTURB_": "3", "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4096",
    "MALLOC_ARENA_MAX": "1",
    "LD_DEBUG": "libs", "TERM": "", "CPATH": "/no", "GCC_EXEC_PREFIX": "/no/", "COLUMNS": "x",
    "PYTEST_ADDOPTS": "--odd", "VALGRIND_OPTS": "--odd", "MAKEFILES": "/no",
}  # fmt: skip


@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_YY.ISO-8859-1", "de_DE.UTF-8", "C.UTF-8", ""])
def test_environment_and_locale(odd: Machine, locale: str) -> None:
    around = {name: value for name, value in ODD.items() if name != "LD_DEBUG"}
    odd.is_right(environment={**around, "LANG": locale, "LC_ALL": locale, "LANGUAGE": locale})


def test_an_environment_without_traces() -> None:
    assert without_traces({**ODD, "PATH": "/bin", "LD_LIBRARY_PATH": "/x"}) == {
        "PATH": "/bin", "LD_LIBRARY_PATH": "/x", "COLUMNS": "x",
    }  # fmt: skip


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2), (0, 2)])
def test_closed_descriptors(odd: Machine, closed: tuple[int, ...]) -> None:
    def before() -> None:
        for descriptor in closed:
            os.close(descriptor)

    status, said = odd.run(before=before)
    assert status == 0, said
    if 1 not in closed:
        assert "2 of 2 all points" in said
    assert "2,0,ok,2" in (odd.place / "results" / "grades.csv").read_text()


def test_above_standard() -> None:
    number = os.open(os.devnull, os.O_RDONLY)
    assert above_standard(number) == number
    os.close(number)


def test_no_shared_memory(odd: Machine, mounts: None) -> None:
    script = """
mkdir "$TMPDIR/dev"; mount -t tmpfs -o mode=755 tmpfs "$TMPDIR/dev"; cd "$TMPDIR/dev"
mkdir pts; mount -t devpts -o newinstance,ptmxmode=0666 devpts pts
for one in null zero full random urandom tty; do touch $one; mount --bind /dev/$one $one; done
ln -s pts/ptmx ptmx; ln -s /proc/self/fd fd
cd /; mount --rbind "$TMPDIR/dev" /dev; test ! -e /dev/shm"""
    odd.is_right(script=script)


@pytest.mark.parametrize("name", ["with space", "é", "x" * 150, "quote'\"$(x)"])
def test_names_of_the_temporary_directory(odd: Machine, name: str) -> None:
    place = odd.place / name
    place.mkdir()
    odd.is_right(environment={"TMPDIR": str(place)})
