"""`procmem record`."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from procmem import Recording
from procmem.cli import main
from procmem.cli.record import seconds
from procmem.snapshots.saved import MAGIC
from tests.support.blocking import until
from tests.support.recordings import COMMAND, command, mapping, three_frames

if TYPE_CHECKING:
    from procmem.experiments import Specimen


class TestCommands:
    def test_spans(self) -> None:
        assert [seconds(text) for text in ("100ms", "2", "0.5s", "2m", "1h", ".5")] == [
            0.1, 2, 0.5, 120, 3600, 0.5,
        ]  # fmt: skip
        for wrong in ("", "0", "-1", "ms", "1d", "1 s"):
            with pytest.raises(ValueError, match=f"^{wrong}$"):
                seconds(wrong)

    def test_record(self, specimen: Specimen, tmp_path: Path) -> None:
        path = tmp_path / "a.rec"
        words = [*COMMAND, "record", str(specimen.pid), "-o", str(path), "--for", "0.2s"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert "the time is over" in done.stdout
        assert len(Recording.load(path)) >= 1
        done = subprocess.run(
            [*words, "--json"], capture_output=True, text=True, check=False, timeout=60
        )
        assert json.loads(done.stdout)["ended"] == "the time is over"

    def test_a_report_of_what_was_recorded(self, specimen: Specimen, tmp_path: Path) -> None:
        path, whole, _ = three_frames(specimen, tmp_path)
        status, out, err = command("record", "--report", path)
        assert (status, err) == (0, "")
        assert f"Process {specimen.pid} " in out
        assert re.search(r"\n3 snapshots in [0-9.]+ ", out)
        status, out, _ = command("record", "--report", path, "--json")
        told = json.loads(out)
        assert (told["snapshots"], told["looks"]) == (3, None)
        assert told["details"] == {"smaps": 3}
        assert told["figures"]["vsz"]["peak"]["at"] == 2
        assert told["identity"]["pid"] == specimen.pid

        path.write_bytes(whole[:-3])
        status, out, err = command("record", "--report", path)
        assert (status, err) == (0, "")
        assert "2 snapshots" in out
        assert "the file was cut off" in out
        path.write_bytes(whole[:-3] + b"x" + whole[-2:])
        status, out, err = command("record", "--report", path)
        assert status == 1
        assert err.startswith(f"procmem record: {path}: snapshot 3, at byte ")
        assert err.count("\n") == 1
        assert "2 snapshots" in out
        path.write_bytes(b"something else")
        status, out, err = command("record", "--report", path)
        assert (status, out) == (1, "")
        assert "no recording" in err
        status, out, err = command("record", "--report", tmp_path / "none")
        assert (status, out) == (1, "")
        assert err == f"procmem record: {tmp_path}/none: No such file or directory\n"

    def test_usage(
        self, specimen: Specimen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for words in (
            [],
            [specimen.pid],
            ["-o", tmp_path / "a"],
            ["--report", "a", specimen.pid],
            ["--report", "a", "-o", "b"],
        ):
            with pytest.raises(SystemExit) as ended:
                main(["record", *map(str, words)])
            assert ended.value.code == 2
            assert "usage: procmem record" in capsys.readouterr().err

    def test_where_it_can_not_write(self, specimen: Specimen, tmp_path: Path) -> None:
        notes = tmp_path / "notes"
        notes.write_text("dear diary")
        cases = {
            notes: "it is there and no snapshot or recording: name another file, or overwrite it "
            "with --force",
            tmp_path / "no" / "a.rec": "No such file or directory",
            tmp_path: "Is a directory",
        }
        forced = {Path("/dev/full"): "No space left on device"}
        if os.path.exists("/dev/full"):
            cases |= forced
        for path, reason in cases.items():
            more = ["--force"] if path in forced else []
            status, out, err = command("record", specimen.pid, "-o", path, *more)
            assert (status, out, err) == (1, "", f"procmem record: {path}: {reason}\n")

    def test_a_full_disk_keeps_what_was_written(self, specimen: Specimen, tmp_path: Path) -> None:
        path = tmp_path / "a.rec"
        limit = f"ulimit -f 8; exec {sys.executable} -m procmem record {specimen.pid}"
        with mapping(specimen, 0.002):
            done = subprocess.run(
                ["sh", "-c", f"{limit} -o '{path}' --every 2ms --share 100"],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == f"procmem record: {path}: File too large\n"
        assert "the file could not be written" in " ".join(done.stdout.split())
        loaded = Recording.load(path)
        assert loaded.ended == ""
        assert f"\n{len(loaded)} snapshots" in done.stdout

    def test_output_that_is_no_file(self, specimen: Specimen) -> None:
        read, write = os.pipe()
        with os.fdopen(read, "rb") as end:
            words = [*COMMAND, "record", str(specimen.pid), "-o", f"/dev/fd/{write}", "--force"]
            done = subprocess.run(
                [*words, "--for", "0.2s"], pass_fds=[write], capture_output=True, text=True,
                check=False, timeout=60,
            )  # fmt: skip
            os.close(write)
            assert (done.returncode, done.stderr) == (0, "")
            assert end.read().startswith(MAGIC)
        assert "the time is over" in done.stdout

    @pytest.mark.parametrize("quiet", [False, True])
    def test_progress_on_a_terminal(self, specimen: Specimen, tmp_path: Path, quiet: bool) -> None:
        terminal, end = pty.openpty()
        words = [*COMMAND, "record", str(specimen.pid), "-o", str(tmp_path / "a.rec")]
        words += ["--for", "2s", *(["--quiet"] if quiet else [])]
        with os.fdopen(terminal, "rb", buffering=0) as screen:
            done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=end, check=False)
            os.write(end, b"!")
            os.close(end)
            told = b""
            while not told.endswith(b"!"):
                told += screen.read(4096)
        assert done.returncode == 0
        if quiet:
            assert told == b"!"
        else:
            assert b"snapshots, RSS" in told
            assert b"\n" not in told
            assert told.endswith(b"\r\x1b[K!")

    @pytest.mark.parametrize(
        "number, told", [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
    )
    def test_signals_end_a_recording_well(
        self, specimen: Specimen, tmp_path: Path, number: signal.Signals, told: str
    ) -> None:
        path = tmp_path / "a.rec"
        words = [*COMMAND, "record", str(specimen.pid), "-o", str(path)]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child, mapping(specimen):  # fmt: skip
            until(lambda: path.exists() and path.stat().st_size > 100)
            # The first snapshot is written before signals are heard, the second one is not.
            first = path.stat().st_size
            until(lambda: path.stat().st_size > first)
            child.send_signal(number)
            out, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, "")
        assert told in out
        assert Recording.load(path).ended == ""

    @pytest.mark.parametrize("command", ["record", "watch"])
    def test_what_is_not_there(self, command: str, tmp_path: Path) -> None:
        more = ["-o", str(tmp_path / "a")] if command == "record" else []
        words = [*COMMAND, command, "2147483646", *more]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"procmem {command}: process 2147483646: no such process\n"
        assert not (tmp_path / "a").exists()
