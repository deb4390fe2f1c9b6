"""What -o of snapshot and record may overwrite, and how."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import procmem
from procmem import Process, Recorder, Recording, Snapshot
from procmem.cli import main
from procmem.snapshots import output
from procmem.snapshots.output import replacing
from procmem.snapshots.saved import MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIARY = b"dear diary\n"
PID = str(os.getpid())

COMMANDS = {
    "snapshot": ["snapshot", PID, "-o"],
    "record": ["record", PID, "--for", "10ms", "--quiet", "-o"],
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Run:
    return Run(request.param, capfd)


class Run:
    def __init__(self, name: str, capfd: pytest.CaptureFixture[str]) -> None:
        self.name = name
        self.capfd = capfd

    def __call__(self, path: Path | str, *more: str) -> tuple[int, str, str]:
        status = main([*COMMANDS[self.name], str(path), *more])
        told = self.capfd.readouterr()
        return status, told.out, told.err

    def refuses(self, path: Path | str, reason: str, *more: str) -> None:
        """Says so in one line, before it prints anything else."""
        assert self(path, *more) == (1, "", f"procmem {self.name}: {path}: {reason}\n")


def written(path: Path) -> bool:
    return path.read_bytes().startswith(MAGIC) and len(Snapshot.load_all(path)) >= 1


def test_a_new_file_is_made(command: Run, tmp_path: Path) -> None:
    path = tmp_path / "a"
    status, out, err = command(path)
    assert (status, err) == (0, "")
    assert out
    assert written(path)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert os.listdir(tmp_path) == ["a"]


OTHERS = {
    "text": DIARY,
    "one byte": b"x",
    "almost": MAGIC[:-1],
    "json": b'{"format": "something else"}',
    "maps": Path("/proc/self/maps").read_bytes(),
    "elf": b"\x7fELF" + bytes(100),
    "zeros": bytes(100),
    "later": b"\n" + MAGIC,
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_file_stays(command: Run, tmp_path: Path, other: str) -> None:
    path = tmp_path / "notes"
    path.write_bytes(OTHERS[other])
    reason = "it is there and no snapshot or recording: name another file, or overwrite it with "
    command.refuses(path, f"{reason}--force")
    assert path.read_bytes() == OTHERS[other]
    assert os.listdir(tmp_path) == ["notes"]
    assert command(path, "--force")[0] == 0
    assert written(path)


def test_its_own_files_are_overwritten(command: Run, tmp_path: Path) -> None:
    one = Process().snapshot("maps")
    for number, make in enumerate(owns(one)):
        path = tmp_path / f"{number}"
        make(path)
        os.chmod(path, 0o640)
        status, out, err = command(path)
        assert (status, err) == (0, ""), out
        assert written(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


def owns(one: Snapshot) -> Iterator[Callable[[Path], object]]:
    """What makes a file that is procmem's."""
    yield lambda path: path.write_bytes(b"")
    yield one.save
    yield Recording([one, one]).save
    yield lambda path: path.write_text(one.to_json())
    yield lambda path: path.write_text(one.to_json(indent=2))
    yield lambda path: path.write_text(json.dumps([one.to_dict()], indent=1))
    # Cut off, but its own.
    yield lambda path: path.write_bytes(MAGIC + b"xyz")


def test_what_is_no_regular_file(command: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(tmp_path)  # its name may be too long for a socket
        listening.bind("socket")
        os.chdir(here)
    (tmp_path / "target").write_bytes(DIARY)
    mine = tmp_path / "mine"
    Process().snapshot("maps").save(mine)
    before = mine.read_bytes()
    for name, target in (
        ("link", "target"), ("own", "mine"), ("dangling", "nothing"), ("loop", "loop"),
    ):  # fmt: skip
        (tmp_path / name).symlink_to(target)
    way_out = "name a file, or write to it with --force"
    for name, told in (
        ("fifo", "a FIFO"),
        ("socket", "a socket"),
        ("link", "a symbolic link"),
        ("own", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("loop", "a symbolic link"),
        ("/dev/null", "a character device"),
        ("/dev/fd/1", "a symbolic link"),
    ):
        command.refuses(tmp_path / name, f"it is {told}: {way_out}")
    command.refuses(tmp_path, "Is a directory")
    command.refuses(tmp_path, "Is a directory", "--force")
    command.refuses(tmp_path / "loop", "Too many levels of symbolic links", "--force")
    assert (tmp_path / "target").read_bytes() == DIARY
    assert mine.read_bytes() == before
    assert not (tmp_path / "nothing").exists()
    for name, target in (("link", "target"), ("dangling", "nothing")):
        status, _, err = command(tmp_path / name, "--force")
        assert (status, err) == (0, "")
        assert (tmp_path / name).is_symlink()
        assert written(tmp_path / target)
    assert command("/dev/null", "--force")[::2] == (0, "")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_fifo_with_a_reader(command: Run, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    copy = tmp_path / "copy"
    with copy.open("wb") as out, subprocess.Popen(["cat", path], stdout=out) as reader:
        assert command(path, "--force")[::2] == (0, "")
        assert reader.wait(300) == 0
    assert written(copy)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_where_nothing_can_be_written(command: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DIARY)
    command.refuses(tmp_path / "none" / "x", "No such file or directory")
    command.refuses(tmp_path / "none" / "x", "No such file or directory", "--force")
    command.refuses(tmp_path / "file" / "x", "Not a directory")
    command.refuses(tmp_path / ("x" * 300), "File name too long")
    command.refuses("", "No such file or directory")
    # The file is looked at before the process.
    assert main([command.name, "2147483646", "-o", str(tmp_path / "none" / "x")]) == 1
    told = command.capfd.readouterr()
    assert told.err == f"procmem {command.name}: {tmp_path}/none/x: No such file or directory\n"
    # And it is not made where there is no process.
    with contextlib.suppress(SystemExit):
        assert main([command.name, "2147483646", "-o", str(tmp_path / "new")]) == 1
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_it_may_not_write(command: Run, tmp_path: Path) -> None:
    directory = tmp_path / "no"
    directory.mkdir()
    (directory / "own").write_bytes(MAGIC)
    (directory / "own").chmod(0o400)
    directory.chmod(0o500)
    command.refuses(directory / "x", "Permission denied")
    command.refuses(directory / "own", "Permission denied")
    directory.chmod(0o700)


def test_a_recording_that_is_being_written_stays(command: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    with Recorder(Process(), path=path):
        command.refuses(path, "another recorder writes to it")
        command.refuses(path, "another recorder writes to it", "--force")
    assert Recording.load(path)
    assert command(path)[0] == 0


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    Process().snapshot("maps").save(path)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    with pytest.raises(OSError, match="No space"), replacing(path):
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]
    limited = f"ulimit -f 1; exec {sys.executable} -m procmem snapshot {PID} -o {path}"
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"procmem snapshot: {path}: File too large\n"
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]


def test_in_python(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_bytes(DIARY)
    one = Process().snapshot("maps")
    with pytest.raises(FileExistsError):
        one.save(path)
    with pytest.raises(FileExistsError):
        Snapshot.save_all([one], path)
    with pytest.raises(FileExistsError):
        Recording([one]).save(path)
    with pytest.raises(FileExistsError):
        procmem.record(path=path)
    assert path.read_bytes() == DIARY
    one.save(path, force=True)
    assert procmem.load(path) == one
    procmem.record(path=path, force=True).close()
    assert len(Recording.load(path)) == 1


def test_a_file_that_comes_in_between_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    monkeypatch.setattr(output, "check_output", lambda *_, **__: path.write_bytes(DIARY) and None)
    with pytest.raises(FileExistsError):
        output.append_to(path)
    assert path.read_bytes() == DIARY
    path.unlink()
    monkeypatch.setattr(output, "check_output", lambda *_, **__: path.symlink_to("b"))
    with pytest.raises(OSError, match="symbolic links"):
        output.append_to(path)


def test_force_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["snapshot", PID, "--force"], ["record", "--report", "a", "--force"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize("form", [[], ["--json"], ["--strace"]])
def test_a_trace(form: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log"

    def trace(*more: str) -> int:
        return main(["trace", *form, "-o", str(path), *more, "--", "true"])

    def refused() -> bool:
        content = path.read_bytes()
        status, err = trace(), capfd.readouterr().err
        reason = "it is there and no trace: name another file, or overwrite it with --force"
        return (status, err) == (1, f"procmem trace: {path}: {reason}\n") and (
            path.read_bytes() == content
        )

    assert trace() == 0
    # strace(1) writes such files, too.
    assert refused() if form == ["--strace"] else trace() == 0
    path.write_bytes(DIARY)
    assert refused()
    assert trace("--force") == 0
    assert b"execve" in path.read_bytes()
    path.unlink()
    path.symlink_to("other")
    assert trace() == 1
    assert "symbolic link" in capfd.readouterr().err
    assert main(["trace", *form, "-o", "/dev/null", "true"]) == 0
    assert main(["trace", *form, "-o", str(tmp_path / "none" / "x"), "true"]) == 1
    assert "No such file" in capfd.readouterr().err
