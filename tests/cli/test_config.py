"""The configuration: defaults only, checked, and only this user's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from procmem.cli.arguments import config_path
from procmem.regions.kinds import RegionKind
from tests.support.commands import shell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.commands import Run


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes the configuration."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("PROCMEM_CONFIG", str(path))

    def write(text: str) -> Path:
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


def kinds(run: Run, *words: str) -> set[str]:
    ran = run("maps", "--columns", "kind", *words, "self")
    assert (ran.status, ran.err) == (0, "")
    return {row[0] for row in ran.rows}


def test_defaults_by_command(run: Run, config: Callable[[str], Path]) -> None:
    plain = run("maps", "--no-config", "self").out
    config('[maps]\nby = "kind"\n[top]\nlimit = 3\n')
    assert run("maps", "self").out.startswith("Regions")
    assert run("maps", "--no-config", "self").out.split()[:2] == plain.split()[:2]
    assert run("reconcile", "self").status == 0


def test_the_command_line_wins(run: Run, config: Callable[[str], Path]) -> None:
    config('[maps]\nkind = ["heap", "stack"]\nunits = "MiB"\n')
    assert kinds(run) == {"heap", "stack"}
    # Not added to what the file has.
    assert kinds(run, "--kind", "text") == {"text"}
    assert run("maps", "self").out.split()[-1] == "MiB"
    assert run("maps", "--units", "KiB", "self").out.split()[-1] == "KiB"
    # A default of the file does not stand in the way of --json.
    ran = run("maps", "--json", "self")
    assert (ran.status, ran.err) == (0, "")
    assert {one["kind"] for one in json.loads(ran.out)[0]["regions"]} == {"heap", "stack"}


def test_one_of_options_that_exclude_each_other(run: Run, config: Callable[[str], Path]) -> None:
    config("[trace]\njson = true\n")
    assert json.loads(run("trace", "true").err)["returncode"] == 0
    ran = run("trace", "--strace", "true")
    assert ran.err.splitlines()[-1] == "+++ exited with 0 +++"


def test_json_is_a_format(run: Run, config: Callable[[str], Path]) -> None:
    config('[maps]\nformat = "csv"\n')
    assert run("maps", "self").out.startswith("pid,start,")
    assert json.loads(run("maps", "--json", "self").out)
    config("[maps]\njson = true\n")
    assert run("maps", "--format", "csv", "self").out.startswith("pid,start,")


def test_units_for_all_commands(run: Run, config: Callable[[str], Path]) -> None:
    config('units = "B"\n[maps]\nunits = "MiB"\n')
    assert run("maps", "self").out.split()[-1] == "MiB"
    assert "B" in run("sections", "--totals", "self").out.split()
    # One that has no such option is not disturbed.
    assert run("doctor", "--json").status == 0


def test_subcommands(run: Run, config: Callable[[str], Path]) -> None:
    config(
        "[lab.list]\njson = true\n[experiment.lazy-allocation]\npages = 77\n"
        "[experiment]\njson = true\n"
    )
    assert json.loads(run("lab", "list").out)[0]["name"]
    assert json.loads(run("experiment").out)[0]["name"]
    ran = run("experiment", "lazy-allocation")
    assert (ran.status, ran.err) == (0, "")
    assert "77" in ran.out


def test_trace_with_malloc_either_way(run: Run, config: Callable[[str], Path]) -> None:
    config("[trace]\nmalloc = false\n")
    assert "malloc" not in run("trace", "true").err
    path = config("[trace]\nno-malloc = true\n")
    assert run("trace", "true").err == (
        f"procmem trace: {path}:2: trace has no option 'no-malloc', did you mean 'malloc'? "
        f"(--no-config ignores the file)\n"
    )


@pytest.mark.parametrize(
    "text, said",
    [
        ('[map]\nby = "kind"\n', ":1: there is no command 'map', did you mean 'maps'?"),
        ('[maps]\n\nunit = "B"\n', ":3: maps has no option 'unit', did you mean 'units'?"),
        ('[maps]\nunits = "MB"\n', ":2: --units: there is no 'MB', did you mean 'MiB'?"),
        ("[maps]\nsmaps = 1\n", ":2: smaps: expected true or false, not 1"),
        ("[maps]\nsort = true\n", ":2: sort: expected text or a number, not true"),
        ("[maps]\nkind = [true]\n", ":2: kind: expected text or a number, or a list of them"),
        (
            '[maps]\nkind = ["heap", "stak"]\n',
            ":2: --kind: there is no 'stak', did you mean 'stack'",
        ),
        ("[maps]\nquiet = true\n", ":2: maps has no option 'quiet'"),
        ('[maps]\nroot = "/x"\n', ":2: --root can only be given on the command line"),
        ('[maps.self]\nby = "kind"\n', ":1: maps has no subcommand 'self'"),
        ("[pmap]\nx = true\n", ":1: pmap reads no configuration, as the original tool"),
        ('unit = "B"\n', ":1: 'unit' stands above the first section, where only color and units"),
        ("[maps]\nby = kind\n", ":2: Invalid value"),
        ("[maps\n", ":1: "),
        ("[maps]\nby = 'kind'\nby = 'use'\n", "Cannot overwrite a value"),
        ("a." * 3000 + "b = 1", ""),
        ('[maps]\nby = "\\u001b[31m"\n', "--by: there is no '\\x1b[31m'"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Run, config: Callable[[str], Path], text: str, said: str
) -> None:
    path = config(text)
    ran = run("maps", "self")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert ran.err.startswith(f"procmem maps: {path}")
    assert said in ran.err
    assert ran.err.endswith("(--no-config ignores the file)\n")
    assert run("maps", "--no-config", "self").status == 0
    assert run("maps", "--help").status == 0


def test_bytes_that_are_no_text(run: Run, config: Callable[[str], Path]) -> None:
    path = config("")
    path.write_bytes(b"[maps]\nby = '\xff'\n")
    assert f"{path}:2: not UTF-8" in run("maps", "self").err
    path.write_bytes(b"#" * (1 << 20) + b"#")
    assert "longer than 1 MiB" in run("maps", "self").err


def test_a_conflict_with_a_default_names_the_file(run: Run, config: Callable[[str], Path]) -> None:
    path = config("[maps]\njson = true\n")
    ran = run("maps", "--units", "MiB", "self")
    assert ran.status == 2
    assert f"the default of --json is from {path}:2, which --no-config ignores" in ran.err


def test_imitations_and_overview_read_none(run: Run, config: Callable[[str], Path]) -> None:
    config("broken")
    pid = os.getpid()
    for words in (["pmap", pid], ["ps", "-p", pid], ["size", sys.executable], ["--version"]):
        ran = run(*words)
        assert (ran.status, ran.err) == (0, "")


# ---- which file ---------------------------------------------------------------------


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROCMEM_CONFIG", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_path() is None
    usual = tmp_path / ".config/procmem/config.toml"
    usual.parent.mkdir(parents=True)
    usual.touch()
    assert config_path() == str(usual)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    assert config_path() is None
    other = tmp_path / "other/procmem/config.toml"
    other.parent.mkdir(parents=True)
    other.touch()
    assert config_path() == str(other)
    # The XDG specification: relative paths are ignored.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", "other")
    assert config_path() is None
    monkeypatch.setenv("PROCMEM_CONFIG", "/some/where")
    assert config_path() == "/some/where"
    monkeypatch.setenv("PROCMEM_CONFIG", "")
    assert config_path() is None


def test_what_cannot_be_read(run: Run, config: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert f"{path}: No such file or directory" in run("maps", "self").err
    path.mkdir()
    assert f"{path}: not an ordinary file" in run("maps", "self").err
    path.rmdir()
    os.mkfifo(path)
    assert f"{path}: not an ordinary file" in run("maps", "self").err


def test_one_that_others_can_write(
    run: Run, config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = config('[maps]\nby = "kind"\n')
    path.chmod(0o666)
    said = f"{path} can be written by others (chmod go-w makes it yours alone) and is not read"
    ran = run("maps", "self")
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    # Found in the usual place it is left out, and that is said.
    home = tmp_path / "home/procmem"
    home.mkdir(parents=True)
    path.rename(home / "config.toml")
    monkeypatch.delenv("PROCMEM_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home.parent))
    ran = run("maps", "self")
    assert ran.status == 0
    assert ran.out.startswith("Start")
    assert ran.err == (
        f"procmem maps: {home / 'config.toml'} can be written by others (chmod go-w makes it yours "
        f"alone) and is not read (--no-config hides this)\n"
    )
    assert run("maps", "--no-config", "self").err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user")
def test_one_of_another_user(config: Callable[[str], Path]) -> None:
    path = config('[maps]\nby = "kind"\n')
    path.parent.chmod(0o755)
    path.chmod(0o644)
    os.chown(path, 65534, 65534)
    env = {**os.environ, "PROCMEM_CONFIG": str(path)}
    done = shell("maps", "self", env=env)
    assert done.returncode == 2
    assert b"belongs to another user (UID 65534) and is not read" in done.stderr
    # root's is read by everybody.
    os.chown(path, 0, 0)
    assert shell("maps", "self", env=env).stdout.startswith(b"Regions")


def test_without_a_file_nothing_is_imported_for_it(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom procmem.cli import main\nstatus = main(['maps', 'self'])\n"
        "loaded = {'tomllib', 'tomli', 'procmem.cli.config', 'procmem.cli.examples'}\n"
        "sys.exit(status or len(loaded & set(sys.modules)))"
    )
    env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    env.pop("PROCMEM_CONFIG", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_each_kind_can_be_a_default(run: Run, config: Callable[[str], Path]) -> None:
    listed = ", ".join(f'"{kind.value}"' for kind in RegionKind)
    config(f"[maps]\nkind = [{listed}]\nrange = '0-'\nby = 'kind'\n")
    assert run("maps", "self").status == 0
